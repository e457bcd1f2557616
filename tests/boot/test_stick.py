"""The result on the stick: the real disk image on a USB port, which is written to, and is read
afterwards by mtools as somebody would on another machine."""

import os
import re
import shutil
import subprocess
import time

import pytest

import qemu
import records
from conftest import Result, assert_volume_is_sound
from nvram import variables_of
from stick import PARTITION, mtools, read, set_options

@pytest.fixture
def stick(tmp_path):
    image = tmp_path / "stick.img"
    shutil.copyfile(qemu.BUILD / "reveille.img", image)
    return image


def place(image, name):
    """(bytes, clusters) of a file: where it lies on the volume."""
    volume = f"{image}@@{PARTITION}"
    clusters = subprocess.run(["mshowfat", "-i", volume, f"::/reveille/{name}"], check=True,
                              capture_output=True, text=True).stdout
    return len(mtools("mtype", image, f"::/reveille/{name}")), clusters


def names(image):
    listing = mtools("mdir -b", image, "::/reveille").decode()
    return sorted(line.rsplit("/", 1)[1] for line in listing.split())


def start(image, options, mode="snapshot=off", **words):
    set_options(image, options)
    with qemu.Qemu(qemu.Machine(stick=image, stick_mode=mode, **words)) as vm:
        result = Result.of(vm, list(vm.lines()))
    assert_volume_is_sound(image)
    return result


def warnings(result):
    return [record["what"] for record in result.all("warning")]


def test_make_stick_brings_the_whole_story_without_a_serial_port():
    done = subprocess.run(["make", "--no-print-directory", "stick"], cwd=qemu.ROOT, text=True,
                          capture_output=True, timeout=300, check=False,
                          env={k: v for k, v in os.environ.items() if k != "MAKEFLAGS"})
    assert done.returncode == 0, done.stdout + done.stderr
    stick = qemu.BUILD / "stick.img"
    assert_volume_is_sound(stick)
    assert names(stick) == ["last.rec", "last.txt", "previous.rec", "previous.txt"]
    text = read(stick, "last.txt")
    assert "Leaving firmware\n" in text
    for cpu in (1, 2, 3):
        assert f"Hello from CPU {cpu}! APIC ID: {cpu}\n" in text
    told = records.parse_records(read(stick, "last.rec").splitlines())
    assert told[0]["ev"] == "start"
    assert told[-1] == {"ev": "end", "ok": "1", "want": "3", "up": "3", "failed": "0"}
    assert [r["state"] for r in told if r["ev"] == "cpu"] == ["bsp"] + 3 * ["online"]


@pytest.mark.slow
def test_the_files_stay_where_they_are(stick):
    before = {name: place(stick, name) for name in ("last.txt", "last.rec")}
    start(stick, "again=yes", serial=False, reset_ends=False)
    assert "Hello from CPU 3" in read(stick, "last.txt")
    first = mtools("mtype", stick, "::/reveille/last.txt")
    start(stick, "again=yes cpus=1", serial=False, reset_ends=False)
    assert "Hello from CPU 1" in read(stick, "last.txt")
    assert "Hello from CPU 3" not in read(stick, "last.txt")  # nothing older shines through
    assert {name: place(stick, name) for name in before} == before
    assert len(first) == before["last.txt"][0]


def test_a_dry_run_leaves_the_files_where_they_are(stick):
    before = {name: place(stick, name) for name in names(stick)}
    start(stick, "dry-run=yes")
    assert "Pre-flight:" in read(stick, "last.txt")
    assert {name: place(stick, name) for name in names(stick)} == before


def test_a_summary_in_nvram_outlives_a_cold_start(stick, tmp_path):
    kept = tmp_path / "vars.fd"
    first = start(stick, "save=nvram inject=late:2", variables=kept)
    assert first.all("wake") and not warnings_of_nvram(first)
    unsaved = start(stick, "harvest=only", variables=kept, mode="readonly=on")
    second = start(stick, "harvest=only", variables=kept)  # so it was not deleted
    assert unsaved.one("nvram") == second.one("nvram")
    summary = second.one("nvram")["summary"]
    assert re.fullmatch(r"REVEILLE \S+ image=0x[0-9a-f]+ want=3 up=2 failed=1 late=2 on .+", summary)
    assert summary in read(stick, "previous.txt") and "ev=nvram" in read(stick, "previous.rec")
    assert "Leaving firmware" in read(stick, "last.txt")  # the beginning of that run is still there
    assert not second.all("wake")
    third = start(stick, "harvest=only", variables=kept)  # it was deleted
    assert not third.all("nvram")
    assert "nothing-to-harvest" in warnings(third)


def test_a_result_that_is_saved_is_not_told_by_its_summary_as_well(stick, tmp_path):
    kept = tmp_path / "vars.fd"
    result = start(stick, "save=nvram again=yes", variables=kept, reset_ends=False, goes_on=True)
    assert not warnings_of_nvram(result)
    assert "Saving the summary in NVRAM" in result.lines
    assert (result.one("harvest")["complete"], result.one("harvest")["saved"]) == ("1", "1")
    assert not result.all("nvram")
    assert "ReveilleLast" not in {name for name, _ in variables_of(kept)}


def warnings_of_nvram(result):
    return [what for what in warnings(result) if "nvram" in what]


@pytest.mark.slow
def test_nvram_is_left_as_it_was(stick, tmp_path):
    kept = tmp_path / "vars.fd"
    start(stick, "harvest=only", variables=kept)  # firmware makes its boot entries
    before = variables_of(kept)
    assert any(name == "BootOrder" for name, _ in before)
    for options in ("again=yes", "save=nvram"):  # every other boot is watched anyhow
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


def test_a_run_that_was_killed_leaves_its_beginning(stick):
    """The machine is gone in the middle of the wake, as without power: one waits for an AP that
    hangs."""
    set_options(stick, "inject=hang-real:2 timeout_us=60000000")
    with qemu.Qemu(qemu.Machine(stick=stick, stick_mode="snapshot=off")) as vm:
        for line in vm.lines():
            if line.startswith("Starting CPU 3"):
                break
        assert line.startswith("Starting CPU 3"), line
    assert_volume_is_sound(stick)
    assert read(stick, "last.txt").endswith(f"Leaving firmware\n{SAVING}\n")
    told = records.parse_records(read(stick, "last.rec").splitlines())
    assert told[0]["ev"] == "start" and told[-1]["ev"] == "bound"


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


def test_again_that_fell_back_does_not_disable_the_next_start(stick):
    """A start in the same memory that nobody asked for is a run of its own."""
    set_options(stick, "again=yes end=reset")
    with qemu.Qemu(qemu.Machine(stick=stick, stick_mode="readonly=on,snapshot=off", goes_on=True,
                                debug_exit=False, reset_ends=False)) as vm:
        lines, ends = [], 0
        for line in vm.lines():
            lines.append(line)
            ends += line.startswith("REVEILLE ev=end ")
            if ends == 2:
                break
    told = [r["ev"] for r in records.parse_records(lines) if r["ev"] in ("wake", "harvest", "end")]
    assert told == ["wake", "end", "harvest", "wake", "end"], lines[-20:]


@pytest.mark.parametrize("more", ["", " exit=no"])
def test_harvest_only_wakes_nobody(stick, more):
    result = start(stick, "harvest=only" + more)
    assert not result.all("error"), result.tail()
    assert "nothing-to-harvest" in warnings(result)
    assert result.one("end")["ok"] == "1"
    assert not result.all("wake")
    assert result.status == qemu.EXIT_OK


def test_save_none_leaves_the_stick_alone(stick):
    result = start(stick, "save=none")
    assert result.one("end")["ok"] == "1"
    assert names(stick) == ["last.rec", "last.txt", "previous.rec", "previous.txt"]
    assert read(stick, "last.txt") == read(stick, "last.rec") == "\n"


def test_a_read_only_stick_is_told_and_the_run_goes_on(stick):
    result = start(stick, "", mode="readonly=on,snapshot=off")
    assert "not-saved" in warnings(result)
    assert result.greetings() == [(1, 1), (2, 2), (3, 3)]
    assert result.one("end")["ok"] == "1"


REFUSED = "preload: a write is refused"
SAVING = "Saving to \\reveille: up to a minute if the volume is broken"


@pytest.mark.parametrize("answer, options, status", [
    ("device", "", qemu.EXIT_OK), ("no-media", "", qemu.EXIT_OK), ("changed", "", qemu.EXIT_OK),
    ("device", "again=yes", qemu.EXIT_OK), ("device", "exit=no end=debug-exit", qemu.EXIT_OK),
    ("device", "check=yes end=debug-exit", qemu.EXIT_OK), ("device", "rounds=0", qemu.EXIT_REFUSED)])
def test_a_volume_that_refuses_is_asked_once(boot, answer, options, status):
    """All that is refused comes from one attempt, which was told before it, and the run goes on."""
    result = boot(firmware=f"refuse-writes={answer}", options=options)
    attempts = [i for i, line in enumerate(result.lines)
                if line == REFUSED and result.lines[i - 1] != REFUSED]
    assert len(attempts) == 1, result.tail()
    assert result.lines[attempts[0] - 1] == SAVING
    told = [r["detail"] for r in result.all("warning") if r["what"] == "not-saved"]
    why = "the volume reported an error" if answer == "device" else "the volume is gone"
    assert told == [why + r": no \reveille\last.txt"], result.tail()
    assert result.status == status, result.tail()


def test_a_stick_that_is_pulled_out(stick):
    """It is gone when the count-down ends: told, nothing is written, and the run goes on."""
    set_options(stick, "wait=3")
    before = stick.read_bytes()
    with qemu.Qemu(qemu.Machine(stick=stick, stick_mode="snapshot=off")) as vm:
        lines = []
        for line in vm.lines():
            lines.append(line)
            if line.startswith("Leaving firmware in 3 s"):
                vm.qmp("device_del", id="stick")
        result = Result.of(vm, lines)
    told = [r["detail"] for r in result.all("warning") if r["what"] == "not-saved"]
    assert told == [r"the volume is gone: no \reveille\last.txt"], result.tail()
    assert result.one("end")["ok"] == "1" and result.status == qemu.EXIT_OK
    assert stick.read_bytes() == before


def fill(stick):
    free = int(mtools("minfo", stick, "::").decode().split("free clusters=")[1].split()[0])
    filler = stick.with_name("filler")
    filler.write_bytes(bytes(512 * free))
    mtools("mcopy", stick, str(filler), "::/filler")


@pytest.mark.parametrize("has_files", [True, False])
def test_a_full_stick(stick, has_files):
    """The files have their room from the beginning; without them it is told, and the run goes on."""
    set_options(stick, "")  # makes the file shorter
    if not has_files:
        mtools("mdeltree", stick, "::/reveille")
    fill(stick)
    result = start(stick, "")
    assert ("not-saved" in warnings(result)) == (not has_files)
    assert result.greetings() == [(1, 1), (2, 2), (3, 3)]
    if has_files:
        assert "Leaving firmware\n" in read(stick, "last.txt")


@pytest.mark.parametrize("options, file", [("again=yes", "last"), ("inject=bad-cr3:2", "previous")])
def test_a_full_stick_takes_what_the_next_start_brings(stick, options, file):
    set_options(stick, options)
    fill(stick)
    result = start(stick, options, reset_ends=False)
    assert "not-saved" not in warnings(result) and "no-next-start" not in warnings(result)
    assert result.one("harvest")["saved"] == "1"
    assert "Leaving firmware\n" in read(stick, f"{file}.txt")
    told = records.parse_records(read(stick, f"{file}.rec").splitlines())
    assert told[-1]["ev"] == ("end" if options == "again=yes" else "bound")


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


@pytest.mark.parametrize("options", ["check=yes", "colour=red rounds=0", "exit=no"])
def test_the_screen_stays_until_a_key(options):
    """A boot manager clears the screen when an image returns; nobody has read it by then."""
    boots, held = 0, False
    with qemu.Qemu(qemu.Machine(cpu="qemu64", options=f"{options} end=halt", goes_on=True)) as vm:
        for line in vm.lines():
            boots += line.startswith("BdsDxe: starting")
            if line.startswith("Press a key to return to firmware"):
                held = True
                assert boots == 1
                vm.qmp("send-key", keys=[{"type": "qcode", "data": "spc"}])
            if held and line.startswith("BdsDxe:"):
                return  # firmware goes on
    raise AssertionError("firmware did not come back" if held else "the screen did not stay")


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
