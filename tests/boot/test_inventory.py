"""Who is there: machines without a MADT, and what comes of a processor that arrives too late for it."""

import pytest

import qemu
import records
from conftest import Result, assert_all_greeted, assert_ended, consecutive
from test_inside import IMAGE, assert_given_back, of, sections, shell


def assert_by_mp_services(result, count):
    machine = result.one("machine")
    assert machine["inventory"] == "mp-services" and machine["cpus"] == str(count), machine
    told = [r["detail"] for r in result.all("warning") if r["what"] == "no-madt"]
    assert ["MP Services' list is used" in detail for detail in told].count(True) == 1, told
    assert not result.all("error"), result.tail()
    assert all("uid" not in r for r in result.all("cpu")), result.tail()


@pytest.mark.parametrize("smp, options", [
    ("16", ""),
    ("4", "rounds=3 wake=broadcast"),
    ("4", "apic=xapic wake=one-by-one"),
    ("1", ""),
])
def test_no_madt(boot, smp, options):
    """No ACPI at all, so no PM timer, no reset register and no SPCR either. (OVMF itself does not get
    as far as this on the older chipset, `pc`.)"""
    result = boot(machine="q35,acpi=off", smp=smp, options=options)
    assert_all_greeted(result, consecutive(int(smp)))
    assert_by_mp_services(result, int(smp))


@pytest.mark.parametrize("madt", ["none", "short", "cut", "nobody"])
def test_a_madt_that_cannot_be_used(boot, madt):
    result = boot(firmware=f"madt={madt}")
    assert_all_greeted(result, consecutive(4))
    assert_by_mp_services(result, 4)


@pytest.mark.parametrize("services", ["none", "absurd", "deaf"])
def test_neither_a_madt_nor_mp_services(boot, services):
    """Nobody's APIC ID is known: refused, with firmware alive."""
    result = boot(firmware=f"madt=none mp-services={services}", options="end=debug-exit")
    assert_ended(result, qemu.EXIT_REFUSED, ok="0", want="0")
    assert [r["what"] for r in result.all("error")] == ["no-madt"], result.tail()


@pytest.mark.parametrize("services", ["none", "absurd", "deaf"])
def test_mp_services_that_says_nothing(boot, services):
    """With a MADT nobody needs it."""
    result = boot(firmware=f"mp-services={services}")
    assert_all_greeted(result, consecutive(4))
    assert result.one("machine")["inventory"] == "madt"
    assert result.one("machine")["mp_services"] == ("4" if services == "deaf" else "0")


def test_sparse_ids_without_a_madt(boot):
    result = boot(machine="q35,acpi=off", smp="6,sockets=2,cores=3,threads=1")
    assert_all_greeted(result, {1: 1, 2: 2, 3: 4, 4: 5, 5: 6})
    assert_by_mp_services(result, 6)


def test_faults_without_a_madt(boot):
    """What inject= does to the MADT it does to the list that stands in for it."""
    result = boot(machine="q35,acpi=off", options="inject=ghost,duplicate:1")
    assert_ended(result, qemu.EXIT_NOT_ALL, ok="0", want="4", up="3", failed="1")
    assert result.one("machine")["duplicate"] == "1"
    assert result.cpu(4)["cause"] == "never-fetched"


def test_the_pre_flight_page_without_a_madt(boot):
    result = boot(machine="q35,acpi=off", options="dry-run=yes")
    assert result.one("end")["ok"] == "1", result.tail()
    assert_by_mp_services(result, 4)
    said = {line[2:16].strip(): line[16:] for line in result.lines if line.startswith("  ")}
    assert said["MADT"] == "not usable: MP Services lists 4 enabled, 0 disabled, 0 twice"
    assert said["MP Services"] == "counts 4, 4 enabled"


def test_inside_without_a_madt():
    result = shell([f"{IMAGE} exit=no log=quiet", f"{IMAGE} exit=no log=quiet wake=firmware",
                    "reset -c"], machine="q35,acpi=off")
    ours, firmwares = sections(result)
    for section in (ours, firmwares):
        assert of(section, "machine")[0]["inventory"] == "mp-services", result.tail()
        assert of(section, "end")[0]["up"] == "3", result.tail()
        assert_given_back(section, 3, ("no-madt", "table-nowhere"))


# The first that there is room for. At the exit firmware wakes everybody, and OVMF 2022.11 looks for who
# was plugged in behind the end of its own table: others than this one may reset the machine there, and OVMF 2025.02 does.
LATE = 2


def boot_and_plug(options, at):
    """Boots two processors and plugs in a third when the line that begins with `at` has come."""
    with qemu.Qemu(qemu.Machine(smp="2,maxcpus=4", options=options)) as vm:
        lines = []
        for line in vm.lines():
            lines.append(line)
            if line.startswith("REVEILLE ev=start "):
                slots = vm.qmp("query-hotpluggable-cpus")
                late, = [slot for slot in slots if slot["props"]["core-id"] == LATE]
            if line.startswith(at):
                vm.qmp("device_add", driver=late["type"], id="late", **late["props"])
        return Result.of(vm, lines)


@pytest.mark.parametrize("options, at, came", [
    ("wait=10 wake=broadcast", "Leaving firmware in", {"came": "1"}),
    ("wait=10 wake=parallel", "Leaving firmware in", {}),
    ("rounds=500 wake=broadcast", "Starting CPU 1", {"came": "1"}),
])
def test_plugged_in_after_the_tables_were_made(options, at, came):
    """One record for it, which says that the MADT has it as disabled, and that it came all the same."""
    result = boot_and_plug(options, at)
    if result.status == 0 and result.lines[-1].startswith("Saving to ") and at.startswith("Leaving"):
        pytest.skip("this firmware resets the machine at the exit")
    assert_ended(result, qemu.EXIT_OK, ok="1", want="1", up="1", failed="0")
    found = [r for r in result.all("cpu") if records.number(r["apic"]) == LATE]
    assert found == [{"ev": "cpu", "cpu": str(LATE), "apic": hex(LATE), "uid": str(LATE),
                      "state": "disabled", **came}], result.tail()
    assert len(result.all("cpu")) == 4, result.tail()
    said = [line for line in result.lines if "started although" in line]
    assert len(said) == len(came) and all("the MADT lists it as disabled" in line for line in said)


def test_the_madt_comes_first(boot):
    result = boot(smp="2")
    assert_all_greeted(result, consecutive(2))
    assert result.one("machine")["inventory"] == "madt"
    assert [records.number(r["uid"]) for r in result.all("cpu")] == [0, 1]
