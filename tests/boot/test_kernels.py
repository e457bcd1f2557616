"""The second user of the engine, examples/kernel/ and examples/kernel-rust/: a kernel that knows no UEFI, by GRUB from
a BIOS, in QEMU and in Bochs.

Surprise: in Bochs a register that a processor has not is #GP, for which this kernel has no handler: whoever touches one
by anything but an access that survives is gone.
"""

import pathlib
import re
import shutil

import pytest

import bochs
import qemu
import example
from conftest import Result, consecutive, keep_log
from test_bochs import UNPROVED

pytestmark = pytest.mark.skipif(not example.GRUB.exists() or not shutil.which("grub-mkrescue"),
                                reason="GRUB for a BIOS is not installed (tools/setup example)")
needs_bochs = pytest.mark.skipif(shutil.which(bochs.PROGRAM) is None, reason="Bochs is not installed (tools/setup bochs)")

# How a CPU is lost, the word of the command line that loses it, and the engine's own sentence.
HANGS = {"hang": "it checked in on time, but its turn was never completed",
         "hang-call": "it started, but did not return from a call in time"}

# The one in Rust is not everywhere to be had.
RUST = pytest.param("rust", marks=pytest.mark.skipif(not pathlib.Path("/usr/bin/rustc").exists(),
                                                     reason="rustc is not installed (tools/setup rust)"))


def assert_registers_exist(complaints):
    """Bochs complains of nothing but of registers that include/msr.h says nothing proves; who touches one survives."""
    for complaint in set(complaints):
        missing = re.fullmatch(r"\[CPU\d+ *\] (?:RD|WR)MSR: Unknown register (0x\w+)", complaint)
        assert missing and int(missing[1], 16) in UNPROVED, complaint


def boot(machine, kernel="c"):
    emulator = example.Bochs if isinstance(machine, bochs.Machine) else example.Qemu
    with emulator(machine, kernel) as vm:
        lines = list(vm.lines())
        if emulator is example.Bochs:
            vm.described = repr(machine)
            keep_log(vm)
            assert_registers_exist(vm.complaints())
        return Result.of(vm, lines)


def assert_works(result, apic_ids, mode, lost=None, hang=None):
    """Exactly what the kernel says when these APs are there, {CPU: APIC ID}, and one may be lost on purpose."""
    count, left = len(apic_ids), len(apic_ids) - (lost is not None)
    greeted = sorted(item for item in apic_ids.items() if hang != "hang" or item[0] != lost)
    result.has(rf"{count + 1} processors, {mode}, TSC \d+ kHz")
    first = next(n for n, line in enumerate(result.lines) if " processors, " in line)
    assert result.lines[first + 1:] == [
        *(f"Hello from CPU {cpu}! APIC ID: {apic_id}" for cpu, apic_id in greeted),
        *([f"Barrier: passed by 0 of {count}"] if hang == "hang-call" else []),
        f"Barrier: passed by {left} of {left}",
        f"Sum: right, by {left + 1} processors",
        *([f"CPU {lost} (APIC ID {apic_ids[lost]}) failed: {HANGS[hang]}"] if lost else []),
        f"The end: {left + 1} of {count + 1} processors work"], result.tail()
    assert result.status in (None, qemu.EXIT_NOT_ALL if lost else qemu.EXIT_OK), result.tail()
    assert not result.timed_out, result.tail()


# ---- QEMU ----


@pytest.mark.parametrize("board, cpu, mode", [("pc", "qemu64", "xapic"), ("q35", "qemu64,+x2apic", "x2apic")])
@pytest.mark.parametrize("kernel", ["c", "clang", RUST])
def test_all_greet(kernel, board, cpu, mode):
    assert_works(boot(qemu.Machine(machine=board, cpu=cpu), kernel), consecutive(4), mode)


@pytest.mark.parametrize("kernel", ["c", RUST])
def test_id_above_255(kernel):
    second = "qemu64-x86_64-cpu,x2apic=on,socket-id=299,core-id=0,thread-id=0"
    assert_works(boot(qemu.Machine(smp="1,sockets=300,cores=1,threads=1,maxcpus=300", cpu="qemu64,+x2apic",
                                   extra=("-device", second)), kernel), {1: 299}, "x2apic")


@pytest.mark.parametrize("kernel", ["c", RUST])
def test_alone(kernel):
    """No AP, and so nobody to meet."""
    result = boot(qemu.Machine(smp="1", cpu="qemu64"), kernel)
    assert result.lines[-3:] == ["1 processors, xapic, " + result.lines[-3].split(", ", 2)[2],
                                 "Sum: right, by 1 processors", "The end: 1 of 1 processors work"], result.tail()


@pytest.mark.parametrize("hang, board, cpu, mode", [("hang", "pc", "qemu64", "xapic"),
                                                    ("hang-call", "q35", "max", "x2apic")])
@pytest.mark.parametrize("kernel", ["c", RUST])
def test_one_hangs(kernel, hang, board, cpu, mode):
    machine = qemu.Machine(machine=board, cpu=cpu, options=f"{hang}=2")
    assert_works(boot(machine, kernel), consecutive(4), mode, lost=2, hang=hang)


def test_too_little_memory_is_told():
    """The engine's memory for 128 processors is not there: a refusal, and nothing is sent."""
    result = boot(qemu.Machine(smp="128", mem=4))
    assert result.lines[-1] == "The end: nobody was woken", result.tail()
    assert result.status == qemu.EXIT_REFUSED and not result.greetings(), result.tail()


# ---- Bochs ----


@needs_bochs
@pytest.mark.slow
@pytest.mark.parametrize("model, mode, kernel, hang", [
    ("corei7_haswell_4770", "x2apic", "c", None),
    ("ryzen", "xapic", "clang", "hang"),
])
def test_every_register_exists(model, mode, kernel, hang):
    machine = bochs.Machine(model=model, mem=128, options=f"{hang}=2" if hang else "")
    assert_works(boot(machine, kernel), consecutive(4), mode, lost=2 if hang else None, hang=hang)


@needs_bochs
@pytest.mark.slow
@pytest.mark.parametrize("kernel", [RUST])
def test_every_register_exists_for_rust(kernel):
    assert_works(boot(bochs.Machine(model="turion64_tyler", mem=128), kernel), consecutive(4), "xapic")


# ---- what it is made of ----


def test_it_is_small():
    """Fewer than 500 lines, comments and all."""
    folder = qemu.ROOT / "examples/kernel"
    assert sum(len(file.read_text().splitlines()) for file in folder.iterdir()) < 500


def test_it_has_no_back_door():
    """Of the tree it includes reveille.h and its own header, and no other."""
    includes = {line.split()[1] for file in (qemu.ROOT / "examples/kernel").glob("*.[chS]")
                for line in file.read_text().splitlines() if line.startswith("#include")}
    assert {name for name in includes if name[0] == '"'} == {'"machine.h"', '"reveille.h"'}
