"""Debian 13's OVMF, built with SMM and the Memory Attribute protocol: the machine's mirror has it, or these
tests are skipped and say why. SMM has handlers on every processor, and variables are written by it alone;
with the protocol the preloader makes firmware strict, as it made itself on other machines: memory is not
executed that is written, and the image has the rights of its sections."""

import pytest

import qemu
from conftest import assert_all_greeted, assert_ended, consecutive

MACHINE = "q35,smm=on"


@pytest.fixture(scope="module", name="ovmf")
def fetched_ovmf():
    try:
        return qemu.newer_ovmf()
    except qemu.Failure as e:
        pytest.skip(str(e))


def test_with_smm(boot, ovmf):
    result = boot(machine=MACHINE, ovmf=ovmf, options="rounds=2")
    assert_all_greeted(result, consecutive(4))
    assert result.one("platform")["bios"].startswith("2025.02")


def test_its_variables_are_written_by_smm(boot, ovmf):
    result = boot(machine=MACHINE, ovmf=ovmf, options="save=nvram", cpu="qemu64")
    assert_all_greeted(result, consecutive(4))
    result.has("Saving the summary in NVRAM")


def test_what_is_written_is_not_executed(ovmf):
    """The control for the tests below."""
    machine = qemu.Machine(machine=MACHINE, ovmf=ovmf, firmware="strict execute=2")  # EfiLoaderData
    with qemu.Qemu(machine) as vm:
        seen = next((line for line in vm.lines() if "X64 Exception Type - 0E" in line
                     or line.startswith(("REVEILLE ", "preload: that memory"))), None)
    assert seen and "X64 Exception Type - 0E" in seen


def test_strict(boot, ovmf):
    """By all of the image, faults in every mode and a screen included."""
    faults = {1: "ud-c", 2: "hang-long", 3: "late", 4: "ud-real", 5: "bad-stack"}
    result = boot(machine=MACHINE, ovmf=ovmf, firmware="strict", smp="8", options="rounds=2 log=debug inject="
                  + ",".join(f"{fault}:{cpu}" for cpu, fault in faults.items()))
    result.has("preload: no page is both written and executed")
    causes = {cpu: result.cpu(cpu).get("cause") for cpu in range(1, 8)}
    assert causes == {1: "fault", 2: "stopped-in-long", 3: "late", 4: "fault", 5: "fault", 6: None, 7: None}
    assert_ended(result, qemu.EXIT_NOT_ALL, ok="0", want="7", up="2", failed="5")


@pytest.mark.parametrize("options", ["exit=no rounds=2", "exit=no wake=firmware", "dry-run=yes"])
def test_strict_inside_firmware(boot, ovmf, options):
    result = boot(machine=MACHINE, ovmf=ovmf, firmware="strict", options=options, goes_on=True)
    result.has("preload: no page is both written and executed")
    result.has("preload: the image returned")
    assert result.one("end")["ok"] == "1", result.tail()
    if "exit=no" in options:
        assert result.greetings() == sorted(consecutive(4).items()), result.tail()
        assert result.one("giveback")["freed"] == "1"


def test_exit_no_of_a_failed_ap(boot, ovmf):
    result = boot(machine=MACHINE, ovmf=ovmf, firmware="strict", options="exit=no inject=hang-c:2 retries=0",
                  goes_on=True)
    result.has("preload: the image returned an error")
    assert result.cpu(2)["cause"] == "stopped-in-c"
    assert [cpu for cpu, _ in result.greetings()] == [1, 3]
