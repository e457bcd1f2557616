"""The real image under OVMF in Bochs: a second implementation of the architecture says the same as QEMU.

Surprise: Bochs counts its time in instructions, so a boot says the same bytes each time, and its log names each
register of a model that is touched and that the model has not. OVMF finds no ACPI tables there.
"""

import re
import shutil

import pytest

import bochs
import qemu
import records
from conftest import (Result, Watched, assert_all_greeted, assert_ended, assert_volume_is_sound, consecutive,
                      describe, keep_log)
from test_inside import IMAGE, assert_given_back, of, sections
from test_matrix import MESSAGES, OWN, assert_verdicts, inject, placed

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which(bochs.PROGRAM) is None, reason="Bochs is not installed (tools/setup bochs)"),
]

# What firmware touches by itself, whatever the processor: IA32_PLATFORM_ID, MSR_SEV_STATUS.
FIRMWARES = {0x17, 0xC0010131}
EXTD = 1 << 10  # of IA32_APIC_BASE: which mode INIT leaves, the emulators do not agree on
HEADER = (qemu.ROOT / "include/msr.h").read_text(encoding="ascii")
UNPROVED = {int(number, 16) for number in re.findall(r"^#define MSR_\w+ +(0x[0-9a-f]+) +// none", HEADER, re.M)}
# Of all else that Bochs complains of, this is firmware's; then an x2APIC register that no processor has, and the
# way out of the Shell.
HARMLESS = (r"\[UHCI +\] read from non existent offset 0x14 \(port #3\)",
            r"\[CMOS +\] write to control register 0x0d ignored \(read-only\)",
            r"\[APIC\w+ *\] read_x2apic: not supported apic register 0x00000ff0",
            r"\[ACPI +\] >>PANIC<< ACPI control: soft power off")

HASWELL = {"model": "corei7_haswell_4770", "smp": "8,sockets=2,cores=2,threads=2"}  # x2APIC, leaf 0xB
RYZEN = {"model": "ryzen", "smp": "8"}  # xAPIC; with cores and threads OVMF divides by zero
TURION = {"model": "turion64_tyler", "smp": "8,sockets=4,cores=2"}  # leaf 0x80000008; a register it has not is #GP


def assert_no_complaint(complaints):
    """No register was touched that the model has not, but where that is survived; nor anything else amiss."""
    for complaint in set(complaints):
        if missing := re.fullmatch(r"\[CPU\d+ *\] (?:RD|WR)MSR: Unknown register (0x\w+)", complaint):
            assert int(missing[1], 16) in UNPROVED | FIRMWARES, complaint
        else:
            assert any(re.fullmatch(pattern, complaint) for pattern in HARMLESS), complaint


def boot(**machine):
    with bochs.Bochs(bochs.Machine(**machine)) as vm:
        vm.described = describe(vm)
        lines = []
        for line in vm.lines():
            if Watched.shown:
                print(line, flush=True)
            lines.append(line)
        keep_log(vm)
        result = Result.of(vm, lines)
        assert not vm.timed_out and result.all("end"), result.tail()
        assert_no_complaint(vm.complaints())
        assert_volume_is_sound(vm.home / "esp.img")
    return result


def assert_warned(result, *more):
    """No error, and of warnings these: no ACPI, and what the options and the model are good for."""
    assert not result.all("error"), result.tail()
    warned = sorted(r["what"] for r in result.all("warning"))
    assert warned == sorted(["no-rsdp", "no-madt", *more]), result.tail()


def assert_machine(result, apic, invariant):
    machine = result.one("machine")
    assert (machine["apic_at_entry"], machine["apic"], machine["inventory"]) == ("xapic", apic, "mp-services")
    assert (machine["cpus"], machine["mp_services"], machine["tsc_invariant"]) == ("8", "8", invariant)
    # Its time is its count of instructions: the TSC's rate is known.
    assert records.number(machine["tsc_hz"]) == pytest.approx(bochs.INSTRUCTIONS_PER_S, rel=1e-2)
    assert result.one("start")["hypervisor"] == "none"


def places(result):
    return [tuple(int(r[key]) for key in ("package", "core", "thread")) for r in result.all("cpu")[1:]]


# ---- three rounds ----


@pytest.mark.parametrize("machine, wake, apic, invariant, more", [
    (HASWELL, "parallel", "x2apic", "1", ()),
    (RYZEN, "broadcast", "xapic", "1", ()),
    (TURION, "broadcast", "xapic", "0", ("tsc-varies",)),
], ids=["haswell", "ryzen", "turion64"])
def test_three_rounds(machine, wake, apic, invariant, more):
    result = boot(options=f"rounds=3 log=debug wake={wake}", **machine)
    assert_all_greeted(result, consecutive(8), status=None)
    assert_machine(result, apic, invariant)
    assert_warned(result, *more)
    wakes = result.all("wake")
    assert [(r["wake"], r["round"], r["retried"]) for r in wakes] == [(wake, n, "0") for n in "123"]
    assert {r["icr_writes"] for r in wakes} == {"2" if wake == "broadcast" else "14"}
    # Where Bochs has to answer for what OVMF reads on Intel's and ryzen, it does so for the x2APIC's range only
    # where it has one.
    missing = "value" if machine is RYZEN else "fault"
    assert result.one("platform")["missing_msr"] == missing
    woken = result.all("aswoken")
    assert [r["cpu"] for r in woken] == [str(n) for n in range(1, 8)]
    for record in woken:
        assert (record["bist"], record["missing_msr"], record["microcode"]) == ("0x0", missing, "0x0")
        assert record["cr4"] == record["efer"] == "0x0"
        assert records.number(record["apic_base"]) & ~EXTD == 0xFEE00800
    if machine is HASWELL:
        assert len(set(places(result))) == 7  # Bochs's leaf 0xB is not the manual's: docs/bochs.md
    else:
        _, cores, threads = map(int, bochs.count(machine["smp"]).split(":"))
        assert places(result) == [(n // threads // cores, n // threads % cores, n % threads) for n in range(1, 8)]


# ---- faults ----

FIRST, SECOND = placed(dict(list(OWN.items())[:7])), placed(dict(list(OWN.items())[7:]))


@pytest.mark.parametrize("machine, options, faults, more", [
    (HASWELL, "wake=broadcast retries=0", FIRST, ()),
    (RYZEN, "wake=parallel retries=0", SECOND, ()),
    (TURION, "wake=one-by-one timeout_us=300000", placed(MESSAGES), ("tsc-varies",)),
], ids=["haswell", "ryzen", "turion64"])
def test_faults(machine, options, faults, more):
    result = boot(options=f"{options} {inject(faults)}", **machine)
    assert_verdicts(result, faults)
    failed = [cpu for cpu, (_, right) in faults.items() if right.state == "failed"]
    healthy = [cpu for cpu in range(1, 8) if cpu not in failed]
    assert result.greetings() == [(cpu, cpu) for cpu in healthy], result.tail()
    assert_ended(result, None, want="7", up=str(len(healthy)), failed=str(len(failed)), ok="0")
    assert_warned(result, *more, *["inject"] * len(faults))


# ---- firmware alive, and a reset ----


def test_given_back_to_firmware():
    """What INIT does to a processor that firmware has set up, Bochs knows by itself: MTRRs stay, for one. From 3.0
    on CR2 does, too, against the manual: Reveille has no other mark of who waits for INIT, and does not begin."""
    wakes = ["parallel", "firmware", "broadcast"]
    script = ["fs0:", *(f"{IMAGE} exit=no wake={wake}" for wake in wakes), "echo still here", "reset -s", ""]
    result = boot(shell="\n".join(script), goes_on=True, model="turion64_tyler")
    runs = sections(result)
    assert len(runs) == 3 and "still here" in result.lines, result.tail()
    greeted = []
    for run, wake in zip(runs, wakes):
        if bochs.version() >= (3, 0) and wake != "firmware":
            assert [r["what"] for r in of(run, "error")] == ["parking"], run
            continue
        greeted += [(1, 1), (2, 2), (3, 3)]
        assert of(run, "end") == [{"ev": "end", "ok": "1", "want": "3", "up": "3", "failed": "0"}], run
        if bochs.version() < (3, 0):
            assert_given_back(run, 3, ("no-rsdp", "no-madt", "tsc-varies"))
        else:
            back, = of(run, "giveback")
            assert (back["parking"], back["back"], back["freed"], back["counts"]) == ("other", "3", "1", "same")
    assert result.greetings() == greeted


def test_wrong_page_tables_end_in_a_triple_fault():
    """On the processor that was given them, and no other. Bochs 2 then ends, Bochs 3 stops that one alone."""
    with bochs.Bochs(bochs.Machine(options="inject=bad-cr3:2")) as vm:
        result = Result.of(vm, list(vm.lines()))
        why = vm.stderr()
    if result.status is None:
        failed = result.cpu(2)
        assert (failed["state"], failed["cause"]) == ("failed", "stopped-in-protected"), result.tail()
        assert result.greetings() == [(1, 1), (3, 3)], result.tail()
        return
    assert not result.all("end"), result.tail()
    assert "Starting CPU 2..." in result.lines and not result.greetings(), result.tail()
    assert re.match(r"\[CPU2 +\] >>PANIC<< exception\(\): 3rd \(14\) exception with no resolution", why), why
