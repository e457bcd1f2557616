"""NMIs at random moments of the wake: a line and an account, never a reset.

QEMU's inject-nmi goes through LINT1, which the BSP has open and which INIT masks on APs, so the BSP is
the one that is hit; an AP's own NMI is inject=nmi's. The moment is drawn from a fixed seed per test.
"""

import random

import pytest

import qemu
from conftest import Result

ROUNDS = 3000
NMIS = 30


@pytest.mark.parametrize("seed", range(4))
def test_nmis_during_the_wake(seed):
    draw = random.Random(seed)
    first = draw.randrange(2, ROUNDS // 4)
    options = f"log=quiet end=halt rounds={ROUNDS}"
    with qemu.Qemu(qemu.Machine(smp="16", cpu="qemu64", options=options)) as vm:
        lines, rounds = [], 0
        for line in vm.lines():
            lines.append(line)
            if line.startswith("REVEILLE ev=end "):
                break  # it waits for somebody now
            rounds += line.startswith("REVEILLE ev=wake")
            if line.startswith("REVEILLE ev=wake") and rounds == first:
                for _ in range(NMIS):
                    vm.qmp("inject-nmi")
        # The line that the BSP was writing when it was hit stays as far as it had come.
        struck = next((i for i, line in enumerate(lines) if "stopped:" in line), 0)
        lines = lines[:struck - 1] + lines[struck:] if struck else lines
        result = Result.of(vm, lines)
    assert len(result.all("start")) == 1, result.tail()
    told = [line for line in lines if "stopped: vector 2 (NMI)" in line]
    assert told and all(line.startswith("CPU 0 (APIC ID 0) ") for line in told), result.tail()
    assert len(told) == 1 and rounds < ROUNDS, result.tail()
    # The BSP stopped, and gave its account before it did.
    assert result.one("end")["ok"] == "0"
    assert len(result.all("cpu")) == 16, result.tail()
