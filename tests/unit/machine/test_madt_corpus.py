"""build/host/madt on whole tables: those of real machines in ../shared/madt against their independent
census, and the fixtures of tests/data/madt against what stands here.
"""
import csv
import os
import pathlib
import re
import struct
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
BUILD = ROOT / os.environ.get("REVEILLE_BUILD", "build")
MADT = BUILD / "host" / "madt"
CORPUS = ROOT.parent / "shared" / "madt"
FIXTURES = ROOT / "tests" / "data" / "madt"
RECORD = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|[^ "]+)')


def run(*arguments):
    """Exit code and records of one run. The time-out only turns a hang into a failure."""
    done = subprocess.run([MADT, *map(str, arguments)], capture_output=True, timeout=60)
    assert done.stderr == b"", done.stderr.decode(errors="replace")
    records = []
    for line in done.stdout.decode("ascii").splitlines():
        assert line.startswith("REVEILLE ev="), line
        records.append(dict(RECORD.findall(line)))
    return done.returncode, records


def events(records, event):
    return [record for record in records if record["ev"] == event]


def census():
    if not (CORPUS / "index.tsv").is_file():
        return []
    with open(CORPUS / "index.tsv", newline="") as index:
        return list(csv.DictReader(index, delimiter="\t", quoting=csv.QUOTE_NONE))


def check_cpus(inventory, cpus):
    """The ev=cpu records must be what the inventory has counted."""
    enabled, disabled = int(inventory["enabled"]), int(inventory["disabled"])
    states = ["bsp"] * min(enabled, 1) + ["listed"] * (enabled - 1) + ["disabled"] * disabled
    assert [cpu["state"] for cpu in cpus] == states
    assert [int(cpu["cpu"]) for cpu in cpus] == list(range(len(cpus)))
    assert len({cpu["apic"] for cpu in cpus[:enabled]}) == enabled


def test_the_program_is_built():
    assert MADT.is_file(), f"{MADT} is missing: `make host` builds it"


@pytest.mark.skipif(not census(), reason=f"no census of real machines at {CORPUS}")
def test_every_table_of_the_corpus_has_its_line():
    assert {row["name"] for row in census()} == {path.stem for path in CORPUS.glob("*.aml")}


@pytest.mark.parametrize("row", [
    pytest.param(row, id=row["name"]) for row in census()
] or [pytest.param(None, marks=pytest.mark.skip(reason=f"no tables of real machines at {CORPUS}"))])
def test_agrees_with_census(row):
    code, records = run(CORPUS / f"{row['name']}.aml")
    inventory, = events(records, "inventory")
    type0 = [int(number) for number in row["type0_en/dis/onlinecap"].split("/")]
    type9 = [int(number) for number in row["type9_en/dis/onlinecap"].split("/")]
    usable = int(row["usable_ids"])
    good = row["checksum_ok"] == "yes"
    assert int(inventory["enabled"]) == usable
    assert int(inventory["disabled"]) == type0[1] + type9[1]
    assert int(inventory["duplicate"]) + int(inventory["impossible"]) == \
        type0[0] + type9[0] - usable
    assert inventory["revision"] == row["revision"]
    assert inventory["truncated"] == "0"
    assert inventory["checksum"] == ("ok" if good else "bad")
    assert code == (0 if good else 1)
    assert len(events(records, "warning")) == (0 if good else 1)
    assert not events(records, "error")
    check_cpus(inventory, events(records, "cpu"))


# name: (exit code, the COUNTS, APIC IDs of all ev=cpu, problems told)
EXPECTED = {
    "qemu-1cpu": (0, "1 0 0 0 0 ok", "0", ""),
    "qemu-4cpu": (0, "4 0 0 0 0 ok", "0 1 2 3", ""),
    "qemu-6cpu-sparse": (0, "6 0 0 0 0 ok", "0 1 2 4 5 6", ""),
    "qemu-2of6cpu": (0, "2 4 0 0 0 ok", "0 1 2 3 4 5", ""),
    "qemu-300-sparse": (
        0, "2 298 0 0 0 ok", "0 299 " + " ".join(map(str, range(1, 299))), ""),
    "broken-all-disabled": (0, "0 2 0 0 0 ok", "0 1", "no-processor"),
    "broken-bad-checksum": (1, "4 0 0 0 0 bad", "0 1 4 256", "madt-checksum"),
    "broken-both-forms": (0, "3 0 2 0 0 ok", "0 2 258", "duplicate-id"),
    "broken-bsp-only": (0, "1 0 0 0 0 ok", "0", ""),
    "broken-claims-4-gib": (1, "2 0 0 0 1 bad", "0 1", "madt-cut"),
    "broken-claims-too-little": (2, None, "", "no-madt"),
    "broken-cut-file": (1, "3 0 0 0 1 bad", "0 1 4", "madt-cut madt-entry"),
    "broken-cut-header": (2, None, "", "no-madt"),
    "broken-empty-file": (2, None, "", "no-madt"),
    "broken-entry-beyond-end": (1, "2 0 0 0 1 ok", "0 1", "madt-entry"),
    "broken-impossible-ids": (0, "2 0 0 2 0 ok", "0 255", "impossible-id"),
    "broken-length-one": (1, "1 0 0 0 1 ok", "0", "madt-entry"),
    "broken-length-zero": (1, "2 0 0 0 1 ok", "0 1", "madt-entry"),
    "broken-no-entries": (0, "0 0 0 0 0 ok", "", "no-processor"),
    "broken-one-byte-left": (1, "1 0 0 0 1 ok", "0", "madt-entry"),
    "broken-online-capable": (0, "1 1 0 0 0 ok", "0 1", ""),
    "broken-other-signature": (2, None, "", "no-madt"),
    "broken-trailing-bytes": (0, "4 0 0 0 0 ok", "0 1 4 256", "trailing-bytes"),
    "broken-type0-too-short": (1, "1 0 0 0 1 ok", "0", "madt-entry"),
    "broken-type9-too-short": (1, "1 0 0 0 1 ok", "0", "madt-entry"),
    "broken-wakeup-mailbox": (0, "1 0 0 0 0 ok", "0", "wakeup-mailbox"),
}
COUNTS = "enabled disabled duplicate impossible truncated checksum".split()


def test_every_fixture_is_expected():
    assert {path.stem for path in FIXTURES.glob("*.aml")} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_fixture(name):
    code, counts, ids, problems = EXPECTED[name]
    got, records = run(FIXTURES / f"{name}.aml")
    assert got == code
    assert [r["what"] for r in records if r["ev"] in ("warning", "error")] == problems.split()
    assert [int(cpu["apic"], 16) for cpu in events(records, "cpu")] == list(map(int, ids.split()))
    inventories = events(records, "inventory")
    if counts is None:
        assert inventories == []
    else:
        inventory, = inventories
        assert " ".join(inventory[key] for key in COUNTS) == counts
        check_cpus(inventory, events(records, "cpu"))


@pytest.mark.parametrize("word", ["4", "0x4", "0X4", "004"])
def test_bsp_as_told(word):
    code, records = run("--bsp", word, FIXTURES / "qemu-6cpu-sparse.aml")
    assert code == 0
    cpus = events(records, "cpu")
    assert [cpu["apic"] for cpu in cpus] == ["0x4", "0x0", "0x1", "0x2", "0x5", "0x6"]
    assert [cpu["uid"] for cpu in cpus] == ["3", "0", "1", "2", "4", "5"]


def test_bsp_that_is_not_listed():
    code, records = run("--bsp", "0x30", FIXTURES / "qemu-4cpu.aml")
    inventory, = events(records, "inventory")
    cpus = events(records, "cpu")
    assert code == 0
    assert inventory["enabled"] == "5"
    assert [record["what"] for record in events(records, "warning")] == ["bsp-not-listed"]
    assert cpus[0] == {"ev": "cpu", "cpu": "0", "apic": "0x30", "state": "bsp"}
    check_cpus(inventory, cpus)


@pytest.mark.parametrize("word", ["", "x", "-1", "+1", " 1", "0x", "1x", "0xffffffff", "4294967295",
                                  "99999999999999999999999"])
def test_bsp_that_is_no_apic_id(word):
    code, records = run("--bsp", word, FIXTURES / "qemu-4cpu.aml")
    assert code == 2
    assert [record["what"] for record in records] == ["bad-apic-id"]


def test_nothing_to_read(tmp_path):
    endless = tmp_path / "too-long"
    with open(endless, "wb") as file:
        file.truncate((16 << 20) + 1)
    for path in (tmp_path / "absent", tmp_path, endless):
        code, records = run(path)
        assert code == 2
        assert [record["what"] for record in records] == ["no-file"]


@pytest.mark.parametrize("arguments", [[], ["--bsp"], ["--bsp", "1"], ["a", "b", "c"]])
def test_usage(arguments):
    done = subprocess.run([MADT, *arguments], capture_output=True, timeout=60)
    assert done.returncode == 2
    assert done.stdout + done.stderr != b""


def test_output_that_cannot_be_written():
    with open("/dev/full", "wb") as full:
        done = subprocess.run([MADT, FIXTURES / "qemu-4cpu.aml"], stdout=full,
                              stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 2
    assert b"cannot be written" in done.stderr


def test_seventy_thousand_entries(tmp_path):
    """Every ID once as type 9 and, where it has room, once more as type 0."""
    entries = b"".join(struct.pack("<BBHIII", 9, 16, 0, 69999 - i, 1, i) for i in range(70000))
    entries += b"".join(struct.pack("<BBBBI", 0, 8, 0, i, 1) for i in range(255))
    table = struct.pack("<4sIBB6s8sIII", b"APIC", 44 + len(entries), 5, 0, b"", b"", 0, 0, 0)
    table += struct.pack("<II", 0xFEE00000, 1) + entries
    table = table[:9] + bytes([-sum(table) % 256]) + table[10:]
    path = tmp_path / "70000.aml"
    path.write_bytes(table)
    code, records = run("--bsp", "35000", path)
    inventory, = events(records, "inventory")
    assert code == 0
    assert " ".join(inventory[key] for key in COUNTS) == "70000 0 255 0 0 ok"
    cpus = events(records, "cpu")
    order = [35000] + [i for i in range(69999, -1, -1) if i != 35000]
    assert [int(cpu["apic"], 16) for cpu in cpus] == order
