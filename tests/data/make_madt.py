#!/usr/bin/python3
"""Makes the hand-broken MADTs of tests/data/madt/ and the first seeds of tests/fuzz/corpus/acpi/.

Run by hand when a table is added; what it writes is committed, and is the same every time.
"""
import pathlib
import struct

ENABLED, ONLINE_CAPABLE = 1, 2
HERE = pathlib.Path(__file__).parent
# Where fuzz_acpi.c puts its input in physical memory.
MEMORY_BASE = 0x10000


def type0(uid, apic_id, flags=ENABLED):
    return struct.pack("<BBBBI", 0, 8, uid, apic_id, flags)


def type9(uid, apic_id, flags=ENABLED):
    return struct.pack("<BBHIII", 9, 16, 0, apic_id, flags, uid)


def with_sum(table, field=9):
    """The table with the byte at `field` set so that all its bytes sum up to 0."""
    rest = table[:field] + b"\0" + table[field + 1:]
    return rest[:field] + bytes([-sum(rest) % 256]) + rest[field + 1:]


def table(signature, body, revision=3, length=None):
    claimed = 36 + len(body) if length is None else length
    header = struct.pack("<4sIBB6s8sIII", signature, claimed, revision, 0, b"RVEIL", b"TESTDATA", 1,
                         0, 0)
    return with_sum(header + body)


def madt(*entries, **fields):
    return table(b"APIC", struct.pack("<II", 0xFEE00000, 1) + b"".join(entries), **fields)


IOAPIC = struct.pack("<BBBBII", 1, 12, 0, 0, 0xFEC00000, 0)
GOOD = madt(type0(0, 0), type0(1, 1), IOAPIC, type0(2, 4), type9(3, 0x100))
TABLES = {
    "length-zero": madt(type0(0, 0), type0(1, 1), b"\x00\x00\x02\x02\x01\x00\x00\x00", type0(3, 3)),
    "length-one": madt(type0(0, 0), b"\x7f\x01", type0(1, 1)),
    "type0-too-short": madt(type0(0, 0), b"\x00\x04\x01\x01", type0(2, 2)),
    "type9-too-short": madt(type9(0, 0), b"\x09\x08\x00\x00\x01\x00\x00\x00", type9(2, 2)),
    "entry-beyond-end": madt(type0(0, 0), type0(1, 1), b"\x09\x10\x00\x00\x02\x00"),
    "one-byte-left": madt(type0(0, 0), b"\x00"),
    "cut-file": GOOD[:-10],
    "cut-header": GOOD[:40],
    "claims-4-gib": madt(type0(0, 0), type0(1, 1), length=0xFFFFFFFF),
    "claims-too-little": madt(type0(0, 0), length=43),
    "bad-checksum": GOOD[:9] + bytes([GOOD[9] ^ 0x55]) + GOOD[10:],
    "no-entries": madt(),
    "bsp-only": madt(type0(0, 0)),
    "all-disabled": madt(type0(0, 0, 0), type0(1, 1, ONLINE_CAPABLE)),
    "impossible-ids": madt(type0(0, 0), type0(1, 0xFF), type9(2, 0xFF), type9(3, 0xFFFFFFFF)),
    "both-forms": madt(type0(0, 0), type0(1, 2), type9(0, 0), type9(1, 2), type9(2, 0x102)),
    "online-capable": madt(type0(0, 0, ENABLED | ONLINE_CAPABLE), type0(1, 1, ONLINE_CAPABLE),
                           revision=5),
    "wakeup-mailbox": madt(type0(0, 0), struct.pack("<BBHIQ", 16, 16, 0, 0, 0x1000)),
    "trailing-bytes": GOOD + type0(9, 9),
    "other-signature": b"FACP" + GOOD[4:],
    "empty-file": b"",
}


def memory(revision, rsdt, xsdt, tables, rsdp_length=36):
    """A physical memory for the fuzzer: RSDP, then an RSDT and an XSDT of the tables, then these."""
    rsdt_at, xsdt_at = 40, 40 + 36 + 4 * len(tables)
    place = xsdt_at + 36 + 8 * len(tables)
    addresses = []
    for one in tables:
        addresses.append(MEMORY_BASE + place)
        place += len(one)
    rsdp = with_sum(struct.pack("<8sB6sBI", b"RSD PTR ", 0, b"RVEIL", revision,
                                MEMORY_BASE + rsdt_at if rsdt else 0), 8)
    rsdp = with_sum(rsdp + struct.pack("<IQB3x", rsdp_length,
                                       MEMORY_BASE + xsdt_at if xsdt else 0, 0), 32)
    return b"".join([
        rsdp.ljust(rsdt_at, b"\0"),
        table(b"RSDT", struct.pack(f"<{len(tables)}I", *addresses), 1),
        table(b"XSDT", struct.pack(f"<{len(tables)}Q", *addresses), 1), *tables])


FACP = table(b"FACP", b"\0" * 8)
SECOND = madt(type0(7, 7))
SEEDS = {
    "revision0": memory(0, True, False, [FACP, GOOD, SECOND]),
    "revision2": memory(2, True, True, [FACP, GOOD, SECOND]),
    "xsdt-only": memory(2, False, True, [GOOD]),
    "rsdp-short": memory(2, True, True, [GOOD], rsdp_length=24),
    "xsdt-bad": memory(2, True, True, [GOOD]).replace(b"XSDT", b"XXXX"),
    "many": memory(2, True, True, [FACP] * 6 + [madt(type0(i, i)) for i in range(4)]),
    "madt-cut": memory(2, True, True, [TABLES["claims-4-gib"]]),
    "madt-length-zero": memory(0, True, False, [TABLES["length-zero"]]),
    "bare-both-forms": TABLES["both-forms"],
    "bare-impossible-ids": TABLES["impossible-ids"],
    "bare-wakeup-mailbox": TABLES["wakeup-mailbox"],
}


def main():
    for name, content in TABLES.items():
        (HERE / "madt" / f"broken-{name}.aml").write_bytes(content)
    for name, content in SEEDS.items():
        (HERE.parent / "fuzz" / "corpus" / "acpi" / name).write_bytes(content)


main()
