"""The run that did not end: a reset in the middle of the wake is told by the next start."""

import qemu
from conftest import Result, assert_ended


def boots(options, starts):
    """Runs through resets until `starts` runs have ended or begun; returns all of its lines."""
    with qemu.Qemu(qemu.Machine(options=options, reset_ends=False)) as vm:
        lines, ends = [], 0
        for line in vm.lines():
            lines.append(line)
            ends += line.startswith("REVEILLE ev=end")
        return Result.of(vm, lines)


def test_a_reset_is_told_by_the_next_start():
    # One by one: nobody else is under way when it dies.
    result = boots("inject=bad-cr3:2 wake=one-by-one", 2)
    assert len(result.all("start")) == 2, result.tail()
    previous = result.one("previous")
    assert previous["step"] == "waking" and previous["cpu"] == "2", previous
    assert previous["stage"] == "protected" and previous["in_a_row"] == "1", previous
    assert "The previous run ended in a reset while CPU 2 went from protected to long mode" \
        in result.lines
    # The second run commits no fault again, and everybody comes.
    assert result.greetings() == [(1, 1), (2, 2), (3, 3)]
    assert_ended(result, qemu.EXIT_OK, ok="1", want="3", up="3", failed="0")


def test_a_cold_start_tells_nothing(boot):
    result = boot()
    assert not result.all("previous")
    assert not [line for line in result.lines if "previous run" in line]
