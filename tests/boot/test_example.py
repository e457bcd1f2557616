"""build/engine/example.c keeps its promise: in somebody else's kernel, of which it knows six functions and a table, it
wakes every processor, says so of each, and has all of them share a loop. Then one of them is given away for good, from
each way of parking, and taken back.

Surprise: that kernel is an EFI application (tests/firmware/example/host.c) which brings nothing else of ours.
"""

import re
import shutil

import pytest

import qemu

ITEMS = 1000000
WAYS_TO_PARK = 4
BEYOND_XAPIC = 299


@pytest.fixture(scope="session")
def esp(tmp_path_factory):
    """A volume with that application alone."""
    folder = tmp_path_factory.mktemp("example")
    (folder / "EFI/BOOT").mkdir(parents=True)
    shutil.copyfile(qemu.BUILD / "firmware/example.EFI", folder / "EFI/BOOT/BOOTX64.EFI")
    return folder


def assert_all_awake(result, apic_ids):
    """Each has greeted, in order; each has its sentence; and the sum that all of them made is right."""
    said = [line for line in result.lines if re.match(r"example: |CPU |Hello from", line)]
    count = len(apic_ids)
    greetings = [f"Hello from a processor: CPU {cpu:02}" for cpu in range(1, count + 1)]
    assert said[1:count + 1] == greetings, result.tail()
    for cpu, (apic_id, line) in enumerate(zip(apic_ids, said[count + 1:]), 1):
        assert re.fullmatch(rf"CPU {cpu} \(APIC ID {apic_id}\) started in \d+ us", line), result.tail()
    assert said[2 * count + 1:] == [f"example: awake {count + 1}", f"example: sum {ITEMS * (ITEMS - 1) // 2}",
                                    f"example: given and taken back {WAYS_TO_PARK}"], result.tail()
    assert result.status == qemu.EXIT_OK, result.tail()


@pytest.mark.parametrize("cpu", ["max", "qemu64"])
def test_every_processor_of_a_foreign_kernel(boot, esp, cpu):
    """By x2APIC, which example.c takes where there is one, and by xAPIC."""
    assert_all_awake(boot(esp=esp, cpu=cpu), [1, 2, 3])


def test_sparse_ids(boot, esp):
    assert_all_awake(boot(esp=esp, smp="6,sockets=2,cores=3,threads=1"), [1, 2, 4, 5, 6])


def test_an_id_that_no_xapic_has(boot, esp):
    sockets = BEYOND_XAPIC + 1
    assert_all_awake(boot(
        esp=esp, cpu="qemu64,+x2apic", smp=f"1,sockets={sockets},cores=1,threads=1,maxcpus={sockets}",
        extra=("-device", f"qemu64-x86_64-cpu,x2apic=on,socket-id={BEYOND_XAPIC},core-id=0,thread-id=0")), [BEYOND_XAPIC])
