"""The result on the stick: the real disk image on a USB port, which is written to, and is read
afterwards by mtools as somebody would on another machine."""

import re
import shutil
import struct
import subprocess
import time

import pytest

import qemu
import records
from conftest import Result

PARTITION = 1 << 20  # bytes before the file system


@pytest.fixture
def stick(tmp_path):
    image = tmp_path / "stick.img"
    shutil.copyfile(qemu.BUILD / "reveille.img", image)
    return image


def mtools(words, image, **more):
    command = [words[0], *words[1:-1], "-i", f"{image}@@{PARTITION}", words[-1]]
    return subprocess.run(command, check=True, capture_output=True, **more).stdout


def read(image, name):
    """A file without the blanks behind it."""
    raw = mtools(["mtype", f"::/reveille/{name}"], image).decode("ascii")
    return raw.replace("\r", "").rstrip() + "\n"


def place(image, name):
    """(bytes, clusters) of a file: where it lies on the volume."""
    volume = f"{image}@@{PARTITION}"
    clusters = subprocess.run(["mshowfat", "-i", volume, f"::/reveille/{name}"], check=True,
                              capture_output=True, text=True).stdout
    return len(mtools(["mtype", f"::/reveille/{name}"], image)), clusters


def names(image):
    listing = mtools(["mdir", "-b", "::/reveille"], image).decode()
    return sorted(line.rsplit("/", 1)[1] for line in listing.split())


def set_options(image, options):
    config = image.with_name("reveille.cfg")
    config.write_text(options + "\n")
    subprocess.run(["mcopy", "-o", "-i", f"{image}@@{PARTITION}", str(config), "::/reveille.cfg"],
                   check=True)


def start(image, options, mode="snapshot=off", **words):
    set_options(image, options)
    with qemu.Qemu(qemu.Machine(stick=image, stick_mode=mode, **words)) as vm:
        lines = list(vm.lines())
        result = Result(lines, bytes(vm.raw), vm.status, vm.timed_out, vm.stderr())
    volume = image.with_name("volume.fat")
    volume.write_bytes(image.read_bytes()[PARTITION:PARTITION + (64 << 20)])
    checked = subprocess.run(["/sbin/fsck.fat", "-n", str(volume)], capture_output=True, text=True,
                             check=False)
    assert checked.returncode == 0, checked.stdout
    return result


def warnings(result):
    return [record["what"] for record in result.all("warning")]


def test_again_brings_the_whole_story_without_a_serial_port(stick):
    result = start(stick, "again=yes", serial=False, reset_ends=False)
    assert result.status == qemu.EXIT_OK, result.tail()
    assert names(stick) == ["last.rec", "last.txt"]
    text = read(stick, "last.txt")
    assert "Leaving firmware\n" in text
    for cpu in (1, 2, 3):
        assert f"Hello from CPU {cpu}! APIC ID: {cpu}\n" in text
    told = records.parse_records(read(stick, "last.rec").splitlines())
    assert told[0]["ev"] == "start"
    assert told[-1] == {"ev": "end", "ok": "1", "want": "3", "up": "3", "failed": "0"}
    assert [r["state"] for r in told if r["ev"] == "cpu"] == ["bsp"] + 3 * ["online"]


def test_the_files_stay_where_they_are(stick):
    before = {name: place(stick, name) for name in ("last.txt", "last.rec")}
    start(stick, "again=yes", serial=False, reset_ends=False)
    assert "Hello from CPU 3" in read(stick, "last.txt")
    first = mtools(["mtype", "::/reveille/last.txt"], stick)
    start(stick, "again=yes cpus=1", serial=False, reset_ends=False)
    assert "Hello from CPU 1" in read(stick, "last.txt")
    assert "Hello from CPU 3" not in read(stick, "last.txt")  # nothing older shines through
    assert {name: place(stick, name) for name in before} == before
    assert len(first) == before["last.txt"][0]


def test_a_summary_in_nvram_outlives_a_cold_start(stick, tmp_path):
    kept = tmp_path / "vars.fd"
    first = start(stick, "save=nvram inject=late:2", variables=kept)
    assert first.all("wake") and not warnings_of_nvram(first)
    second = start(stick, "harvest=only", variables=kept)
    summary = second.one("nvram")["summary"]
    assert re.fullmatch(r"REVEILLE \S+ image=0x[0-9a-f]+ want=3 up=2 failed=1 late=2 on .+", summary)
    assert summary in read(stick, "last.txt") and "ev=nvram" in read(stick, "last.rec")
    assert not second.all("wake")
    third = start(stick, "harvest=only", variables=kept)  # it was deleted
    assert not third.all("nvram")
    assert "nothing-to-harvest" in warnings(third)


def warnings_of_nvram(result):
    return [what for what in warnings(result) if "nvram" in what]


def variables_of(store):
    """{(name, GUID): data} of the valid variables in an OVMF store (MdeModulePkg, "Variable
    Format"): a header of 60 bytes with state, attributes, sizes and GUID."""
    data, at, found = store.read_bytes(), 0, {}
    at = data.index(b"\x78\x2c\xf3\xaa\x7b\x94\x9a\x43") + 28  # behind the store's header
    while data[at:at + 2] == b"\xaa\x55":
        state, name_bytes, bytes_ = data[at + 2], *struct.unpack_from("<II", data, at + 36)
        body = at + 60
        name = data[body:body + name_bytes].decode("utf-16-le").rstrip("\0")
        if state == 0x3F:  # added, and not deleted
            found[name, data[at + 44:at + 60]] = data[body + name_bytes:body + name_bytes + bytes_]
        at = (body + name_bytes + bytes_ + 3) & ~3
    return found


def test_nvram_is_left_as_it_was(stick, tmp_path):
    kept = tmp_path / "vars.fd"
    start(stick, "harvest=only", variables=kept)  # firmware makes its boot entries
    before = variables_of(kept)
    assert any(name == "BootOrder" for name, _ in before)
    for options in ("", "again=yes", "save=nvram", "harvest=only"):
        start(stick, options, variables=kept, reset_ends=options != "again=yes")
        after = variables_of(kept)
        changed = {name for name, guid in before.keys() | after.keys()
                   if before.get((name, guid)) != after.get((name, guid))}
        # MTC counts firmware's own starts.
        assert changed - {"MTC"} == ({"ReveilleLast"} if options == "save=nvram" else set())


def test_nothing_to_see_is_told(stick):
    start(stick, "", serial=False, vga="none")
    assert "what=nothing-to-see" in read(stick, "last.rec")


def test_a_run_that_died_leaves_what_it_said(stick):
    # Wrong page tables reset the machine in the middle of the wake.
    result = start(stick, "inject=bad-cr3:2 again=yes", reset_ends=False)
    harvest = result.one("harvest")
    assert (harvest["complete"], harvest["saved"]) == ("0", "1"), harvest
    assert result.status == qemu.EXIT_OK, result.tail()
    text = read(stick, "last.txt")
    assert "Leaving firmware\n" in text
    assert "Hello from CPU" not in text
    assert "ev=end" not in read(stick, "last.rec")


def test_a_run_that_goes_on_keeps_the_one_before(stick):
    result = start(stick, "inject=bad-cr3:2", reset_ends=False)
    assert result.greetings() == [(1, 1), (2, 2), (3, 3)]
    assert result.one("harvest")["complete"] == "0"
    assert names(stick) == ["last.rec", "last.txt", "previous.rec", "previous.txt"]
    # The beginning of the second run, which nobody has harvested.
    assert read(stick, "last.txt").endswith("Leaving firmware\n")
    assert "what=inject" in read(stick, "last.rec")


def test_a_machine_that_forgets_does_not_start_for_ever(stick):
    # Without the warm reset there is nothing in memory at the second start.
    first = start(stick, "again=yes")
    assert first.all("wake")
    second = start(stick, "again=yes")
    assert "nothing-to-harvest" in warnings(second)
    assert not second.all("wake")
    assert second.one("end")["ok"] == "1"
    third = start(stick, "again=yes")  # by hand: a run of its own
    assert third.all("wake")


def test_again_without_a_place_for_the_result_is_one_run(stick):
    result = start(stick, "again=yes", mode="readonly=on,snapshot=off", reset_ends=False)
    assert "no-next-start" in warnings(result)
    assert len(result.all("start")) == 1
    assert result.status == qemu.EXIT_OK


def test_harvest_only_wakes_nobody(stick):
    result = start(stick, "harvest=only")
    assert "nothing-to-harvest" in warnings(result)
    assert result.one("end")["ok"] == "1"
    assert not result.all("wake")
    assert result.status == qemu.EXIT_OK


def test_save_none_leaves_the_stick_alone(stick):
    result = start(stick, "save=none")
    assert result.one("end")["ok"] == "1"
    assert names(stick) == ["last.rec", "last.txt"]
    assert read(stick, "last.txt") == read(stick, "last.rec") == "\n"


def test_a_read_only_stick_is_told_and_the_run_goes_on(stick):
    result = start(stick, "", mode="readonly=on,snapshot=off")
    assert "not-saved" in warnings(result)
    assert result.greetings() == [(1, 1), (2, 2), (3, 3)]
    assert result.one("end")["ok"] == "1"


@pytest.mark.parametrize("has_files", [True, False])
def test_a_full_stick(stick, has_files):
    """The files have their room from the beginning; without them it is told, and the run goes on."""
    set_options(stick, "")  # makes the file shorter
    if not has_files:
        subprocess.run(["mdeltree", "-i", f"{stick}@@{PARTITION}", "::/reveille"], check=True)
    free = int(mtools(["minfo", "::"], stick).decode().split("free clusters=")[1].split()[0])
    filler = stick.with_name("filler")
    filler.write_bytes(bytes(512 * free))
    subprocess.run(["mcopy", "-i", f"{stick}@@{PARTITION}", str(filler), "::/filler"], check=True)
    result = start(stick, "")
    assert ("not-saved" in warnings(result)) == (not has_files)
    assert result.greetings() == [(1, 1), (2, 2), (3, 3)]
    if has_files:
        assert "Leaving firmware\n" in read(stick, "last.txt")


KEYS = {" ": "spc", "=": "equal", "-": "minus", ",": "comma", "\r": "ret", "\b": "backspace"}


def type_in(vm, text):
    for character in text:
        vm.qmp("send-key", keys=[{"type": "qcode", "data": KEYS.get(character, character)}])
        time.sleep(0.3)  # a PS/2 keyboard's queue is short, and firmware looks now and then


def test_options_can_be_typed_in_the_count_down():
    with qemu.Qemu(qemu.Machine(options="rounds=2\ncpus=2 # one\nwait=600")) as vm:
        lines = []
        for line in vm.lines():
            lines.append(line)
            if line.startswith("Leaving firmware in 600 s"):
                type_in(vm, "e")
            if line.startswith("Edit the options"):  # rounds=2 cpus=2 wait=600
                type_in(vm, len("2 wait=600") * "\b" + "1,3\r")
        assert vm.status == qemu.EXIT_OK, lines[-20:]
    told = records.parse_records(lines)
    assert told[-1] == {"ev": "end", "ok": "1", "want": "2", "up": "2", "failed": "0"}
    assert len([r for r in told if r["ev"] == "start"]) == 2
    assert len([r for r in told if r["ev"] == "wake"]) == 2
    assert [r["state"] for r in told if r["ev"] == "cpu"] == ["bsp", "online", "skipped", "online"]


def test_any_key_stops_the_run():
    with qemu.Qemu(qemu.Machine(options="wait=600")) as vm:
        lines = []
        for line in vm.lines():
            lines.append(line)
            if line.startswith("Leaving firmware in 600 s"):
                vm.qmp("send-key", keys=[{"type": "qcode", "data": "spc"}])
        assert vm.status == qemu.EXIT_REFUSED
    told = records.parse_records(lines)
    assert told[-1]["ev"] == "end"
    assert "stopped" in [r["what"] for r in told if r["ev"] == "warning"]
    assert not [r for r in told if r["ev"] == "wake"]
