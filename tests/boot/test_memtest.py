"""memtest86+ with the engine in place of its own start, and beside it as it is: what a person sees on its screen."""

import os
import re

import pytest

import memtest
import qemu

FRAME = "-" * 80
# Above 4 MiB, where it has loaded itself, and what firmware keeps, which lies below 16 MiB and behind 224 MiB of 256.
SAMPLES = range(16 << 20, 200 << 20, 4 << 20)
# Nobody's ID in 8 bits; firmware leaves the x2APIC on for the other.
WIDE_IDS = {"smp": "2,sockets=300,cores=1,threads=1,maxcpus=300", "cpu": "qemu64,+x2apic", "extra": tuple(
    word for socket in (260, 299)
    for word in ("-device", f"qemu64-x86_64-cpu,x2apic=on,socket-id={socket},core-id=0,thread-id=0"))}


@pytest.fixture(scope="module")
def images():
    try:
        return memtest.build()
    except memtest.NoSource as e:
        pytest.skip(str(e))


@pytest.fixture
def stock(images):
    return images[0]


@pytest.fixture
def ours(images):
    return images[1]


def seen(esp, name, pattern, **words):
    """The rows of the screen that `pattern` is on, of a machine with little memory to look at."""
    with qemu.Qemu(memtest.machine(esp, **{"mem": 128, **words})) as vm:
        return memtest.await_screen(vm, pattern, f"test-{name}")


def assert_started(rows, count, of=None, mode="xapic"):
    """So many processors test memory, of so many, and it is said so."""
    screen = "\n".join(rows)
    assert f"SMP: {count}T (PAR)" in rows[7], screen
    assert re.search(r"Errors: 0$", rows[8]), screen
    assert any(re.fullmatch(rf"Reveille: {count} of {of or count} processors started \({mode}\), "
                            r"the last after \d+ us", row) for row in rows), screen


def assert_missing(rows, cpu, apic_id):
    """That one is named on the frame, where nothing is drawn over it, and below in the engine's words."""
    screen = "\n".join(rows)
    assert re.fullmatch(rf"-+ CPU {cpu} failed to start -+", rows[9]), screen
    assert (f"CPU {cpu} (APIC ID {apic_id}) failed to start: it never executed an instruction of the\ntrampoline\n"
            in screen), screen


def test_all_processors_at_work(ours):
    rows = seen(ours, "4", memtest.ALL_AT_WORK)
    assert_started(rows, 4)
    assert rows[9] == FRAME, "\n".join(rows)


def test_64_processors(ours):
    rows = seen(ours, "64", memtest.NEXT_TURN, smp="64", mem=64)
    assert_started(rows, 64)


def test_apic_ids_that_have_no_8_bits(stock, ours):
    rows = seen(stock, "stock-wide-ids", memtest.ALL_AT_WORK, **WIDE_IDS)
    assert "SMP: Disabled" in rows[7], "\n".join(rows)
    rows = seen(ours, "wide-ids", memtest.ALL_AT_WORK, **WIDE_IDS)
    assert_started(rows, 4, mode="x2apic")


def test_a_processor_that_never_comes(stock, ours):
    rows = seen(stock, "stock-dead", memtest.STOCK_FAILS, firmware="madt=one-more")
    assert "Failed to start CPU core 4." in "\n".join(rows)
    with qemu.Qemu(memtest.machine(ours, firmware="madt=one-more load-options=console=ttyS0", serial=True,
                                   mem=128)) as vm:
        rows = memtest.await_screen(vm, memtest.ALL_AT_WORK, "test-dead")
        said = os.read(vm.port, 1 << 16)
    assert_started(rows, 4, of=5)
    assert_missing(rows, cpu=4, apic_id=4)
    # And whoever has no screen:
    assert b"CPU 4 (APIC ID 4) failed to start: it never executed an instruction of the " in said


def test_no_memory_is_left_out_for_one_that_never_comes(ours):
    """Those behind it in the list take its share: after test 3 no word is what test 2 wrote, its own address."""
    with qemu.Qemu(memtest.machine(ours, firmware="madt=one-between")) as vm:
        rows = memtest.await_screen(vm, r"Test #(?:[4-9]|10) .*Using: All Cores", "test-dead-between")
        words = {at: int(vm.monitor(f"xp /1gx {at:#x}").split()[-1], 16) for at in SAMPLES}
    assert_started(rows, 4, of=5)
    assert_missing(rows, cpu=1, apic_id=4)
    left_out = [hex(at) for at, word in words.items() if word == at]
    assert left_out == []
