"""Registers and features that one processor has and another has not, and what is switched between
firmware's world and ours.

Surprise: QEMU raises #GP for hardly any MSR that does not exist. It does for those of the x2APIC's range
that no processor has, and one of them is what log=debug reads.
"""

import re

import pytest

import qemu
import records
from conftest import Result, assert_all_greeted, assert_ended, consecutive, skip_unless_started
from test_inside import of, sections, shell, IMAGE

# OVMF of 2026.
NO_NX = "itself takes it for granted that all have NX if one has, and resets the machine"
MARKS = 0x800  # of the page below 1 MiB, behind its code: trampoline/image_layout.h

ONE_EACH = "1,maxcpus=4,sockets=4,cores=1,threads=1"


def processors(*words):
    """QEMU's words for CPUs 1 to 3, each with more of its own."""
    extra = []
    for socket, more in enumerate(words, start=1):
        extra += ["-device", f"max-x86_64-cpu,socket-id={socket},core-id=0,thread-id=0{more}"]
    return tuple(extra)


@pytest.mark.parametrize("vendor", ["", ",vendor=GenuineIntel"])  # Intel's can be switched on again
def test_an_ap_without_nx_is_named(boot, vendor):
    extra = processors(vendor, ",nx=off" + vendor, vendor)
    result = boot(smp=ONE_EACH, cpu="max" + vendor, options="timeout_us=100000", extra=extra)
    skip_unless_started(result, NO_NX)
    assert result.greetings() == [(1, 1), (3, 3)], result.tail()
    failed = result.cpu(2)
    assert (failed["state"], failed["stage"], failed["cause"]) == ("failed", "protected", "no-nx")
    result.has("CPU 2 failed: it has no NX, or .*")
    assert_ended(result, qemu.EXIT_NOT_ALL, ok="0", want="3", up="2", failed="1")


def test_the_null_trampolines_spare_an_ap_without_nx(boot):
    result = boot(smp=ONE_EACH, options="bench=null-long timeout_us=100000 cpus=1,3 retries=0",
                  extra=processors("", ",nx=off", ""))
    skip_unless_started(result, NO_NX)
    null = result.one("null")
    assert (null["mode"], null["up"]) == ("long", "2"), null
    assert result.greetings() == [(1, 1), (3, 3)], result.tail()


def test_nobody_has_nx(boot):
    """The BSP neither: then the page tables do without it, and all come."""
    assert_all_greeted(boot(cpu="max,nx=off"), consecutive(4))


@pytest.mark.parametrize("cpu, apic", [("max", "x2apic"), ("qemu64", "xapic")])
def test_a_register_that_does_not_exist(boot, cpu, apic):
    result = boot(cpu=cpu, options="log=debug")
    assert_all_greeted(result, consecutive(4))
    assert result.one("machine")["apic"] == apic
    assert result.one("platform")["missing_msr"] == "fault"  # on firmware's IDT
    assert [r["missing_msr"] for r in result.all("aswoken")] == ["fault"] * 3  # on each AP's own


def test_a_register_that_does_not_exist_inside(boot):
    """The APs on firmware's IDT, and the Shell that goes on."""
    result = shell([f"{IMAGE} exit=no log=debug wake=firmware", f"{IMAGE} exit=no log=debug",
                    "echo still here", "reset -s"])
    runs = sections(result)
    assert len(runs) == 2 and "still here" in result.lines, result.tail()
    for run in runs:
        assert of(run, "end")[0]["ok"] == "1" and of(run, "platform")[0]["missing_msr"] == "fault"
        assert of(run, "giveback")[0]["bsp"] == "same"
    assert [r["missing_msr"] for r in of(runs[1], "aswoken")] == ["fault"] * 3


def test_each_tells_its_own_microcode(boot):
    result = boot(smp=ONE_EACH, options="log=debug",
                  extra=processors("", ",ucode-rev=0x1234", ""))
    assert_all_greeted(result, consecutive(4))
    own = {r["cpu"]: records.number(r["microcode"]) for r in result.all("aswoken")}
    assert own["2"] == 0x1234 and own["1"] == own["3"] == records.number(
        result.one("platform")["microcode"])


def test_what_processors_end_with():
    """As QEMU has it when all is over: everybody on our tables; an AP halted in the page, its caches on, the
    protections on, and the last mark left that it could leave without a record of its own."""
    lines = []
    with qemu.Qemu(qemu.Machine(options="end=halt")) as vm:
        for line in vm.lines():
            lines.append(line)
            if line.startswith("The end: "):
                break
        page = records.number(Result.of(vm, lines).one("trampoline")["page"])
        seen = vm.monitor("info registers -a").split("CPU#")[1:]
        marks = vm.monitor(f"xp /4xb {page + MARKS:#x}").split(": ")[1].split()
    assert len(seen) == 4 and [int(mark, 16) for mark in marks[1:]] == [2] * 3, marks
    for text in seen:
        own = {name: int(value, 16) for name, value in
               re.findall(r"\b(CS |SS |TR |CR0|CR4|EFER|RIP)=(\w+)", text)}
        assert (own["CS "], own["SS "], own["TR "]) == (0x18, 0x10, 0x20), text
        if text.startswith("0"):
            continue
        assert own["CR0"] == 0x80010033, text  # PG WP NE ET MP PE, and neither CD nor NW
        assert (own["CR4"], own["EFER"]) == (0x60, 0xD00), text  # PAE MCE; NXE LMA LME
        assert page <= own["RIP"] < page + MARKS and "HLT=1" in text, text


def test_the_kind_of_tsc_is_told(boot):
    machine = boot(smp="1").one("machine")
    assert machine["tsc_invariant"] == "0"  # QEMU's own has no such bit


def test_nvram_keeps_firmwares_apic_mode(boot):
    """SetVariable may end in SMM, which may know the mode alone that firmware left."""
    result = boot(options="save=nvram")
    assert_all_greeted(result, consecutive(4))
    machine = result.one("machine")
    assert machine["apic_at_entry"] == machine["apic"] == "xapic", machine
