"""How a run ends on machines that are not QEMU's usual one: nobody can be heard, the FADT is a new
or an old one, or QEMU keeps its name to itself."""

import re
import shutil
import subprocess
import time

import pytest

import qemu
import records
from conftest import assert_all_greeted, assert_ended, consecutive
from picture import GREETED, Picture
from stick import read

# QEMU that says so nowhere: end=auto takes it for a machine.
NAMELESS = {"cpu": "max,hypervisor=off,tcg-cpuid=off",
            "machine": "q35,x-oem-id=ACME,x-oem-table-id=BOARD",
            "extra": ("-smbios", "type=1,manufacturer=ACME,product=Laptop 9")}
NOBODY = "no key or power button works here"


def ends(lines):
    return [line for line in lines if line.startswith("The end:")]


@pytest.mark.parametrize("log", ["normal", "quiet"])
def test_where_nobody_can_be_heard_the_machine_resets_itself_for_its_result(log):
    """And the next start comes to rest."""
    machine = qemu.Machine(**NAMELESS, firmware="fadt=no-button", options=f"linger=2 log={log}",
                           reset_ends=False, goes_on=True)
    with qemu.Qemu(machine) as vm:
        lines, seen = [], 0
        for line in vm.lines():
            lines.append(line)
            seen += line.startswith("REVEILLE ev=end ")
            if seen == 2:
                break
        told = records.parse_records(lines)
        assert ends(lines) == [f"The end: {NOBODY}. The machine resets in 2 s: start it from the same "
                               "stick again to save the result"], lines[-30:]
        assert not [line for line in lines if line.startswith("Resetting in")]  # the screen has it
        assert [r["ev"] for r in told if r["ev"] in ("wake", "harvest", "end")] == [
            "wake", "end", "harvest", "end"], lines[-30:]
        harvest, = [r for r in told if r["ev"] == "harvest"]
        assert (harvest["complete"], harvest["saved"]) == ("1", "1")
        saved = read(vm.home / "esp.img", "last.rec")
        assert records.parse_records(saved.splitlines())[-1]["ev"] == "end"


def counted(vm):
    """The seconds that the last screen shows, once it shows any."""
    while time.monotonic() < vm.deadline:
        path = vm.home / "screen.ppm"
        vm.qmp("screendump", filename=str(path))
        picture = Picture.read(path)
        shown = [match[1] for row in picture.text() if (match := re.fullmatch(r"Resetting in (\d+) s\s*", row))]
        if shown:
            assert len(shown) == 1 and GREETED in picture.tiles(), picture.text()
            return int(shown[0])
        time.sleep(1)  # reading a picture takes the machine's processor from the guest
    raise AssertionError("no count-down on the screen")


def test_the_screen_counts_down_and_a_start_that_finds_nothing_does_not_reset_again(boot, tmp_path):
    """The memory is gone with the machine, in the middle of the count-down."""
    stick = tmp_path / "stick.img"
    with qemu.Qemu(qemu.Machine(**NAMELESS, firmware="fadt=no-button", options="linger=3600")) as vm:
        for line in vm.lines():
            if line.startswith("The end:"):
                break
        first = counted(vm)
        while (second := counted(vm)) == first:
            pass
        assert 3600 >= first > second
        shutil.copyfile(vm.home / "esp.img", stick)
    result = boot(**NAMELESS, stick=stick, stick_mode="snapshot=off")
    assert "memory-cleared" in [record["what"] for record in result.all("warning")]
    assert ends(result.lines) == [f"The end: {NOBODY}. The machine is halted: switch it off by hand"]
    assert_ended(result, None, ok="1", want="3", up="3")


@pytest.mark.parametrize("options", ["save=none", "end=halt"])
def test_without_a_result_or_by_request_such_a_machine_halts(boot, options):
    result = boot(**NAMELESS, firmware="fadt=no-button", options=f"linger=1 {options}")
    assert ends(result.lines) == [f"The end: {NOBODY}. The machine is halted: switch it off by hand"]
    assert_ended(result, None, ok="1", want="3", up="3")
    assert not result.timed_out


def press(machine, press_it):
    """The lines of a machine on which somebody does that at the end."""
    machine.goes_on = True  # until it is gone, and not for so many seconds
    with qemu.Qemu(machine) as vm:
        lines = []
        for line in vm.lines():
            lines.append(line)
            if line.startswith("The end: "):
                press_it(vm)
        assert vm.status == 0, lines[-20:]
        return lines


def press_key(vm):
    vm.qmp("send-key", keys=[{"type": "qcode", "data": "ret"}])


def press_power(vm):
    vm.qmp("system_powerdown")


def test_a_power_button_that_only_the_extended_field_names():
    lines = press(qemu.Machine(firmware="fadt=extended", options="end=halt"), press_power)
    assert lines[-1] == "Powering the machine off"


def test_a_fadt_older_than_the_flag_of_the_8042():
    """QEMU's i440fx has a FADT of revision 1."""
    lines = press(qemu.Machine(machine="pc", options="end=halt"), press_key)
    assert ends(lines) == ["The end: press a key to restart, or the power button to switch off. USB "
                           "keyboards do not work here, PS/2 and built-in ones do"]
    assert lines[-1] == "Resetting the machine"


def test_an_old_fadt_and_no_8042():
    lines = press(qemu.Machine(machine="pc,i8042=off", options="end=halt"), press_power)
    assert ends(lines) == ["The end: press the power button to switch off; no key works here"]


def test_a_quiet_end_says_which_key_ends_it():
    lines = press(qemu.Machine(options="log=quiet end=halt"), press_key)
    assert len(ends(lines)) == 1 and "press a key to restart" in ends(lines)[0]


@pytest.mark.parametrize("words", [
    {"cpu": "max,tcg-cpuid=off"},  # as KVM's kvm=off
    {"cpu": "max,hypervisor=off,tcg-cpuid=off"},
    {"cpu": "max,hypervisor=off,tcg-cpuid=off", "extra": NAMELESS["extra"]},  # the ACPI tables tell
    {"cpu": "max,hypervisor=off,tcg-cpuid=off", "machine": NAMELESS["machine"]},  # SMBIOS tells
], ids=["unnamed", "hidden", "by-acpi", "by-smbios"])
def test_qemu_that_hides_its_name_is_left(boot, words):
    assert_all_greeted(boot(smp="2", **words), consecutive(2))


def test_the_oldest_machine_of_qemu_is_left(boot):
    told = subprocess.run(["qemu-system-x86_64", "-machine", "help"], check=True, capture_output=True, text=True)
    found = re.findall(r"^pc-q35-(\d+)\.(\d+) ", told.stdout, re.MULTILINE)
    major, minor = min((int(major), int(minor)) for major, minor in found)
    assert_all_greeted(boot(machine=f"pc-q35-{major}.{minor}", smp="2"), consecutive(2))


def test_qemu_that_says_its_name_nowhere_is_a_machine(boot):
    result = boot(**NAMELESS, smp="2")
    assert len(ends(result.lines)) == 1
    assert_ended(result, None, ok="1", want="1", up="1")
