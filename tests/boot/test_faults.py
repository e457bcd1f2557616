"""What goes wrong on a machine that runs: a fault on a processor is told by one line and stops it
alone."""

import re

import qemu
from conftest import Result, assert_ended


def test_nmi_on_the_bsp_is_told():
    """QEMU's NMI arrives at LINT1, which the BSP has open and APs have masked since their INIT."""
    with qemu.Qemu(qemu.Machine(options="end=halt")) as vm:
        lines = []
        for line in vm.lines():
            lines.append(line)
            if line.startswith("The end: "):  # and not at ev=end, which may still be on its way to the screen
                vm.qmp("inject-nmi")
        result = Result.of(vm, lines)
    told = [line for line in lines if "stopped:" in line]
    assert len(told) == 1, result.tail()
    assert re.match(r"CPU 0 \(APIC ID 0\) stopped: vector 2 \(NMI\), .*RIP 0x[1-9a-f]", told[0])
    # The end was told already, and is told once.
    assert result.one("end")["ok"] == "1"


def test_one_that_does_not_come_is_counted_and_ends_the_run_in_35(boot):
    result = boot(options="inject=ud-long:2 retries=0")
    assert result.greetings() == [(1, 1), (3, 3)]
    assert result.cpu(2)["state"] == "failed"
    assert_ended(result, qemu.EXIT_NOT_ALL, ok="0", want="3", up="2", failed="1")


def faults_told(result, cpu):
    """(vector, line) of each sentence about a fault of this processor."""
    lines = [line for line in result.lines if line.startswith(f"CPU {cpu} (APIC ID {cpu}) stopped:")]
    return [re.search(r"vector (\d+)", line)[1] for line in lines]


def test_a_fault_in_the_sentence_about_a_fault(boot):
    """The journal is not mapped: CPU 0 faults in a sentence, and again in the one about that fault. It
    ends there, with the account by the serial port alone."""
    result = boot(options="inject=bad-journal")
    assert faults_told(result, 0) == ["14", "14"], result.tail()
    assert [result.cpu(cpu)["state"] for cpu in range(4)] == ["bsp"] + 3 * ["failed"]
    assert_ended(result, qemu.EXIT_NOT_ALL, ok="0", want="3", up="0", failed="3")


def test_a_fault_after_the_greeting(boot):
    """Whoever stops when the round is over has greeted, and has failed."""
    result = boot(options="inject=ud-idle:2 rounds=2")
    assert result.greetings() == [(1, 1), (2, 2), (3, 3)]
    assert faults_told(result, 2) == ["6", "6"], result.tail()
    record = result.cpu(2)
    assert (record["state"], record["stage"], record["cause"]) == ("failed", "greeted", "fault"), record
    assert (record["mode"], record["vector"]) == ("c", "6"), record
    assert_ended(result, qemu.EXIT_NOT_ALL, ok="0", want="3", up="2", failed="1")
