"""build/host/fadt on whole tables: those of real machines in tests/data/fadt against a reading that
was made without our parser, and damaged ones.
"""
import csv
import os
import pathlib
import re
import struct
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
FADT = ROOT / os.environ.get("REVEILLE_BUILD", "build") / "host" / "fadt"
CORPUS = ROOT / "tests" / "data" / "fadt"
READING = "revision pm1a_event pm_timer power_button i8042 reset".split()


def run(*arguments):
    """Exit code and records of one run. The time-out only turns a hang into a failure."""
    done = subprocess.run([FADT, *map(str, arguments)], capture_output=True, timeout=60)
    assert done.stderr == b"", done.stderr.decode(errors="replace")
    return done.returncode, [dict(re.findall(r'(\w+)=("(?:[^"\\]|\\.)*"|[^ "]+)', line))
                             for line in done.stdout.decode("ascii").splitlines()]


def index():
    with open(CORPUS / "index.tsv", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def test_every_table_has_its_line():
    assert {row["name"] for row in index()} == {path.name for path in CORPUS.glob("*.aml")}
    assert len(index()) == 40


def test_real_machines_are_read_as_they_are():
    wrong = {}
    for row in index():
        code, records = run(CORPUS / row["name"])
        want = {"ev": "fadt", **{key: row[key] for key in READING}}
        if (code, records) != (0, [want]):
            wrong[row["name"]] = records
    assert wrong == {}


def test_a_block_that_only_the_extended_field_names():
    """Without such tables the corpus would show nothing of them."""
    tables = {row["name"]: (CORPUS / row["name"]).read_bytes() for row in index()}
    only = [name for name, table in tables.items() if struct.unpack_from("<I", table, 56) == (0,)
            and len(table) >= 160 and struct.unpack_from("<Q", table, 152) != (0,)]
    fixed = {row["name"] for row in index() if row["power_button"] == "fixed"}
    assert len(only) > 5 and fixed & set(only)


GOOD = (CORPUS / "msi-ms-7-ms-7d23.aml").read_bytes()


def mend(table):
    return table[:9] + bytes([-(sum(table) - table[9]) % 256]) + table[10:]


def changed(offset, value):
    return GOOD[:offset] + value + GOOD[offset + len(value):]


@pytest.mark.parametrize("table, code, problems, pm1a", [
    (GOOD[:-1], 1, ["fadt-cut"], "0x1800"),
    (GOOD[:115], 1, ["fadt-cut", "fadt-short"], "0x0"),
    (GOOD + b"more", 0, ["trailing-bytes"], "0x1800"),
    (changed(9, bytes([GOOD[9] ^ 1])), 1, ["fadt-checksum"], "0x1800"),
    (mend(changed(4, b"\x40\0\0\0")[:64]), 1, ["fadt-short"], "0x0"),
    (changed(4, b"\xff\xff\xff\xff"), 1, ["fadt-cut"], "0x1800"),
    (changed(4, b"\x23\0\0\0"), 2, ["no-fadt"], None),
    (changed(0, b"APIC"), 2, ["no-fadt"], None),
    (GOOD[:35], 2, ["no-fadt"], None),
    (b"", 2, ["no-fadt"], None),
])
def test_a_damaged_table(tmp_path, table, code, problems, pm1a):
    (tmp_path / "table").write_bytes(table)
    got, records = run(tmp_path / "table")
    assert (got, [r["what"] for r in records if "what" in r]) == (code, problems)
    assert [r["pm1a_event"] for r in records if r["ev"] == "fadt"] == ([pm1a] if pm1a else [])


def test_nothing_to_read(tmp_path):
    for path in (tmp_path / "absent", tmp_path):
        code, records = run(path)
        assert (code, [record["what"] for record in records]) == (2, ["no-file"])


@pytest.mark.parametrize("arguments", [[], ["a", "b"]])
def test_usage(arguments):
    done = subprocess.run([FADT, *arguments], capture_output=True, timeout=60)
    assert done.returncode == 2 and b"usage" in done.stderr
