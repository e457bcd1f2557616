"""The result on the stick: the real disk image on a USB port, which is written to, and is read
afterwards by mtools as somebody would on another machine."""

import shutil
import subprocess

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
    return mtools(["mtype", f"::/reveille/{name}"], image).decode("ascii").replace("\r", "")


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
    set_options(stick, "save=none")
    before = stick.read_bytes()
    result = start(stick, "save=none")
    assert result.one("end")["ok"] == "1"
    with pytest.raises(subprocess.CalledProcessError):
        read(stick, "last.txt")
    assert len(before) == stick.stat().st_size


def test_a_read_only_stick_is_told_and_the_run_goes_on(stick):
    result = start(stick, "", mode="readonly=on,snapshot=off")
    assert "not-saved" in warnings(result)
    assert result.greetings() == [(1, 1), (2, 2), (3, 3)]
    assert result.one("end")["ok"] == "1"


def test_a_full_stick_is_told_and_the_run_goes_on(stick):
    set_options(stick, "")  # makes the file shorter
    free = int(mtools(["minfo", "::"], stick).decode().split("free clusters=")[1].split()[0])
    filler = stick.with_name("filler")
    filler.write_bytes(bytes(512 * free))
    subprocess.run(["mcopy", "-i", f"{stick}@@{PARTITION}", str(filler), "::/filler"], check=True)
    result = start(stick, "")
    assert "not-saved" in warnings(result)
    assert result.greetings() == [(1, 1), (2, 2), (3, 3)]


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
