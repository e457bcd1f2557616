"""Memory that is not ours: firmware whose free memory cannot be read, machines with very little of it,
and places that somebody else has taken. Under tests/firmware/protect.c every look at memory that
nobody allocated is a page fault, which ends the machine without a last record."""

import pytest

import qemu
from conftest import Result, assert_all_greeted, consecutive, skip_unless_started


def test_a_look_at_free_memory_ends_the_machine():
    """The control for the tests below: what they forbid is noticed."""
    with qemu.Qemu(qemu.Machine(firmware="protect=probe")) as vm:
        seen = next((line for line in vm.lines() if "X64 Exception Type - 0E" in line
                     or line.startswith("REVEILLE ")), None)
    assert seen and "X64 Exception Type - 0E" in seen


@pytest.mark.parametrize("options", ["", "save=none", "save=none rounds=3"])
def test_free_memory_cannot_be_read(boot, options):
    result = boot(firmware="protect", options=options)
    assert_all_greeted(result, consecutive(4))


def test_free_memory_cannot_be_read_inside_firmware(boot):
    """exit=no: everything is given back, and the preloader goes on."""
    result = boot(firmware="protect", options="exit=no rounds=2", goes_on=True)
    result.has("preload: the image returned")
    assert result.greetings() == sorted(consecutive(4).items()), result.tail()
    assert result.one("giveback")["freed"] == "1"


def test_free_memory_cannot_be_read_by_a_harvest():
    """again=yes: the second start, whose free memory is closed again, fetches the first one's result."""
    machine = qemu.Machine(firmware="protect", options="again=yes", reset_ends=False, goes_on=True)
    with qemu.Qemu(machine) as vm:
        result = Result.of(vm, list(vm.lines()))
    assert len(result.all("start")) == 2, result.tail()
    harvest = result.one("harvest")
    assert harvest["complete"] == harvest["saved"] == "1", harvest


# 32 MiB is where places for the last run's note and journal begin: on small machines firmware's own
# memory lies there too.
@pytest.mark.parametrize("mem", range(48, 129, 8))
def test_small_machines(boot, mem):
    result = boot(mem=mem, cpu="qemu64,+x2apic", smp="3")
    if mem < 56:
        skip_unless_started(result, f"has no room for an image in {mem} MiB")
    assert_all_greeted(result, consecutive(3))


# In KiB: all places for the note and the journal, and some of them.
@pytest.mark.parametrize("step, options", [(256, ""), (1024, ""), (1024, "exit=no")])
def test_places_are_taken(boot, step, options):
    result = boot(firmware=f"take-places={step}", options=options, goes_on=options != "")
    assert result.greetings() == sorted(consecutive(4).items()), result.tail()
    assert result.one("end")["ok"] == "1"
    if options:
        result.has("preload: the image returned")
    else:
        assert result.status == qemu.EXIT_OK


@pytest.mark.parametrize("mem", [48, 64])
def test_small_machines_inside_firmware(boot, mem):
    """Too small for a Shell: the preloader, which changes nothing, is who goes on afterwards."""
    result = boot(firmware=" ", options="exit=no", mem=mem, cpu="qemu64,+x2apic", smp="3", goes_on=True)
    if mem < 56:
        skip_unless_started(result, f"has no room for an image in {mem} MiB")
    result.has("preload: the image returned")
    assert result.greetings() == sorted(consecutive(3).items()), result.tail()
