"""The screen after the exit, as somebody sees it who has no serial port: pictures of the guest, read
by glyphs and by colours. The pictures stay in build/screens/."""

import collections
import re
import struct
import time
import zlib

import pytest

import qemu
import records
from conftest import assert_all_greeted, consecutive
from picture import ASLEEP, FAILED, GREETED, INK_TEXT, UNKNOWN, Picture

END = "The end: press a key to restart"
LOOK_S = 2  # reading a picture takes the machine's processor from the guest


def look(vm, name, **which):
    path = vm.home / f"{name}.ppm"
    vm.qmp("screendump", filename=str(path), **which)
    return Picture.read(path)


def last_picture(vm, name, upright=False, **which):
    """The last screen: the one that says so, once it no longer changes."""
    before = None
    while time.monotonic() < vm.deadline:
        picture = look(vm, name, **which)
        picture = picture.upright() if upright else picture
        if picture.pixels == before and any(END in row for row in picture.text()):
            picture.png(qemu.BUILD / f"screens/{name}.png")
            return picture
        before = picture.pixels
        time.sleep(LOOK_S)
    picture.png(qemu.BUILD / f"screens/{name}.png")
    raise AssertionError(f"no last screen; see build/screens/{name}.png")


def machine(**words):
    chosen = qemu.from_environment()
    options = "end=halt " + words.pop("options", "")
    return qemu.Qemu(qemu.Machine(accel=chosen.accel, ovmf=chosen.ovmf, serial=False,
                                  debug_exit=False, options=options, **words))


def warnings(result):
    return [record["what"] for record in result.all("warning")]


def assert_text(picture, *sentences):
    text = picture.text()
    assert not any(UNKNOWN in row for row in text), "\n".join(text)
    for sentence in sentences:
        assert any(sentence in row for row in text), "\n".join(text)


@pytest.mark.slow
@pytest.mark.parametrize("count", [4, 16, 64, 255])
def test_the_wall(count):
    with machine(smp=str(count)) as vm:
        picture = last_picture(vm, f"wall-{count}")
    assert_text(picture, f"Hello from CPU {count - 1}! APIC ID: {count - 1}", END)
    assert collections.Counter(picture.tiles()) == {INK_TEXT: 1, GREETED: count - 1}
    assert f" want={count - 1} up={count - 1} failed=0 on " in picture.code()


def image_crc():
    """CRC-32 of the image's code and constants."""
    image, crc = (qemu.BUILD / "BOOTX64.EFI").read_bytes(), 0
    for name in (b".text", b".rodata"):
        bytes_there, _, _, start = struct.unpack_from("<4I", image,
                                                      image.index(name.ljust(8, b"\0")) + 8)
        crc = zlib.crc32(image[start:start + bytes_there], crc)
    return crc


def test_who_failed_and_why():
    with machine(smp="16", options="inject=hang-long:2,ud-protected:7 retries=0") as vm:
        picture = last_picture(vm, "wall-failed")
    assert_text(picture, "CPU 2 failed: ", "CPU 7 failed: ")
    tiles = picture.tiles()
    assert collections.Counter(tiles) == {INK_TEXT: 1, GREETED: 13, FAILED: 2}
    assert [i for i, tile in enumerate(tiles) if tile == FAILED] == [2, 7]
    code = picture.code()
    assert f" image=0x{image_crc():x} " in code
    assert re.fullmatch(r"REVEILLE \S+ image=0x[0-9a-f]+ want=15 up=13 failed=2 stopped-in-long=2 "
                        r"fault=7 on Standard PC .*, QEMU TCG CPU.*", code), code


def test_the_code_says_what_the_records_say():
    options = "end=halt inject=hang-long:2,ud-protected:5,hang-long:6 retries=0"
    with qemu.Qemu(qemu.Machine(smp="8", options=options, debug_exit=False)) as vm:
        lines = []
        for line in vm.lines():
            lines.append(line)
            if line.startswith("The end:"):
                break
        code = last_picture(vm, "code-and-records").code()
    told = records.parse_records(lines)
    end, causes = told[-1], {}
    for cpu in told:
        if cpu["ev"] == "cpu" and cpu["state"] == "failed":
            causes.setdefault(cpu["cause"], []).append(cpu["cpu"])
    words = dict(word.split("=", 1) for word in code.split(" on ")[0].split()[2:])
    assert int(words.pop("image"), 16) == records.number(
        next(r for r in told if r["ev"] == "image")["crc"])
    assert words == {**{key: end[key] for key in ("want", "up", "failed")},
                     **{cause: ",".join(cpus) for cause, cpus in causes.items()}}
    assert causes


@pytest.mark.parametrize("name, words, size", [
    ("vga-640x480", {"options": "screen=640x480"}, (640, 480)),
    ("vga-2560x1440", {"options": "screen=2560x1440"}, (2560, 1440)),
    ("ramfb", {"vga": "none", "extra": ("-device", "ramfb")}, None),
    ("panel-1920x1080", {"vga": "none", "extra": ("-device", "VGA,edid=on,xres=1920,yres=1080")},
     (1920, 1080)),
])
def test_other_sizes(name, words, size):
    with machine(**words) as vm:
        picture = last_picture(vm, name)
    assert size is None or (picture.width, picture.height) == size
    assert_text(picture, "Hello from CPU 3! APIC ID: 3", "Leaving firmware")
    assert collections.Counter(picture.tiles()) == {INK_TEXT: 1, GREETED: 3}
    assert " want=3 up=3 failed=0 on " in picture.code()


def test_early_warnings_and_who_was_not_asked():
    # Rows enough for one warning more: a busy host makes clocks disagree.
    with machine(options="colour=red cpus=1 screen=1920x1080") as vm:
        picture = last_picture(vm, "early")
    assert_text(picture, "unknown-key", "Hello from CPU 1! APIC ID: 1")
    assert collections.Counter(picture.tiles()) == {INK_TEXT: 1, GREETED: 1, ASLEEP: 2}


def test_a_portrait_panel():
    extra = ("-device", "VGA,edid=on,xres=800,yres=1280")
    with machine(vga="none", extra=extra) as vm:
        picture = last_picture(vm, "portrait", upright=True)
    assert (picture.width, picture.height) == (1280, 800)
    assert_text(picture, "Hello from CPU 3! APIC ID: 3")
    assert collections.Counter(picture.tiles()) == {INK_TEXT: 1, GREETED: 3}


@pytest.mark.parametrize("options", ["", "screen=1920x1080"])
def test_two_screens_show_the_same(options):
    extra = ("-device", "VGA,id=first", "-device", "secondary-vga,id=second")
    with machine(vga="none", extra=extra, options=options) as vm:
        first = last_picture(vm, "first", device="first")
        second = last_picture(vm, "second", device="second")
    assert first.text() == second.text()
    if options:
        assert (first.width, first.height) == (second.width, second.height) == (1920, 1080)
    if (first.width, first.height) == (second.width, second.height):
        assert first.pixels == second.pixels


def test_24_bits_a_pixel():
    """All that QEMU's Cirrus has of this size."""
    with qemu.Qemu(qemu.Machine(vga="cirrus", options="screen=1024x768 end=halt",
                                debug_exit=False)) as vm:
        lines = []
        for line in vm.lines():
            lines.append(line)
            if line.startswith("The end:"):
                break
        picture = last_picture(vm, "cirrus")
    said = [r for r in records.parse_records(lines) if r["ev"] == "screen" and "skipped" not in r]
    assert [(r["width"], r["format"], r["bits"]) for r in said] == [("1024", "masks", "24")]
    assert (picture.width, picture.height) == (1024, 768)
    assert_text(picture, "Hello from CPU 3! APIC ID: 3", "Leaving firmware")
    assert collections.Counter(picture.tiles()) == {INK_TEXT: 1, GREETED: 3}
    assert " want=3 up=3 failed=0 on " in picture.code()


@pytest.mark.parametrize("base, why", [
    ("0xb8000", "its frame buffer lies below 1 MiB"),  # what VGA text has
    ("0x2000000", "its frame buffer lies in RAM that is in use"),  # where our own memory is
])
def test_a_frame_buffer_that_is_memory(boot, base, why):
    """It is not painted over, and the run is as good as one without a screen."""
    result = boot(firmware=f"framebuffer={base}")
    assert_all_greeted(result, consecutive(4))
    screens = result.all("screen")
    assert screens and {screen["skipped"] for screen in screens} == {why}
    assert "no-screen" in warnings(result)


def test_a_mode_that_is_not_there(boot):
    result = boot(options="screen=1234x567")
    assert_all_greeted(result, consecutive(4))
    assert "no-such-mode" in warnings(result)
    assert [r for r in result.all("screen") if "skipped" not in r]


@pytest.mark.parametrize("vga, extra", [("none", ()), ("none", ("-device", "virtio-gpu-pci"))])
def test_without_a_frame_buffer(boot, vga, extra):
    result = boot(vga=vga, extra=extra)
    assert result.one("end")["ok"] == "1"
    assert result.status == qemu.EXIT_OK
    drawn = [record for record in result.all("screen") if "skipped" not in record]
    assert drawn == []
    assert ("no-screen" in warnings(result)) == bool(extra)  # without an output nobody looks for one


def test_screen_off_draws_nothing():
    with qemu.Qemu(qemu.Machine(options="screen=off end=halt", debug_exit=False)) as vm:
        for line in vm.lines():
            if line.startswith("The end:"):
                break
        picture = look(vm, "off")
    assert not {GREETED, FAILED} & set(picture.tiles())  # the picture is firmware's
    assert not any(END in row for row in picture.text())


def test_records_tell_the_screens(boot):
    result = boot(options="log=quiet")
    screen = next(r for r in result.all("screen") if "skipped" not in r)
    assert records.number(screen["width"]) >= 640
    assert records.number(screen["base"]) > 1 << 20
