"""docs/contract.md says what the sources write, and the other way round; and the page is no more forgiving than it says.

Surprise: what is collected from C is collected by patterns: an event, key or word has to stand as a string in the call
that writes it. One that does not is still found by the boots, whose records are held against the page.
"""

import os
import pathlib
import re
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tools"))

import check_rooms  # noqa: E402
import contract  # noqa: E402
import qemu  # noqa: E402
import records  # noqa: E402
from test_docs import options  # noqa: E402

TEXT = contract.PAGE.read_text(encoding="utf-8")
STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
WORD = r"[a-z0-9]+(?:-[a-z0-9]+)*"


def sources():
    """C of the image and of the host programs that print records, without comments and characters."""
    text = "\n".join(text for path, text in sorted(check_rooms.read_sources().items())
                     if path.endswith((".c", ".h")) and not path.startswith("tests/"))
    return check_rooms.NOT_CODE.sub(lambda match: match[0] if match[0].startswith('"') else "", text)


SOURCES = sources()
STRINGS = set(STRING.findall(SOURCES))


def strings_in_calls(function):
    """The strings in all calls of functions whose name matches."""
    return {word for call in re.findall(rf"\b(?:{function})\(([^;{{}}]*);", SOURCES) for word in STRING.findall(call)}


def test_every_event_that_is_written_is_on_the_page():
    written = strings_in_calls(r"record_start|report_start_record")
    assert len(written) > 20
    assert written - contract.events(TEXT).keys() == set()


def test_every_event_of_the_page_is_written():
    assert contract.events(TEXT).keys() - STRINGS == set()


def keys_of_the_page():
    return {key for keys in contract.events(TEXT).values() for key in keys}


def test_every_key_that_is_written_is_on_the_page():
    written = set(re.findall(r'\brecord_add_\w+\(\s*[^",;]+,\s*"(\w+)"', SOURCES))
    written |= set(re.findall(r'" (\w+)=%', SOURCES)) & {"ratio"}
    assert len(written) > 120
    assert written - keys_of_the_page() == set()


def test_every_key_of_the_page_is_written():
    in_formats = set(re.findall(r"(?:^| )(\w+)=%", "\n".join(STRINGS), re.M))
    assert keys_of_the_page() - STRINGS - in_formats == set()


def test_every_word_of_a_value_is_in_the_sources():
    for event, keys in contract.events(TEXT).items():
        for name, key in keys.items():
            for word in key.words:
                assert word in STRINGS, f"ev={event} {name}={word}"


def test_what_is_wrong_has_a_word_on_the_page():
    told = set(re.findall(rf'\bSEVERITY_\w+,\s*"({WORD})"', SOURCES))
    assert len(told) > 60
    assert told - contract.words(TEXT) == set()
    assert contract.words(TEXT) - STRINGS == set()


def test_the_options():
    rows = dict(re.findall(r"^\| `([a-z_-]+)` \| `([^`]*)`", contract.section(TEXT, "## Options"), re.M))
    assert rows == {key: default for key, default, _ in options()}


def test_the_commands():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(make(?: [a-z-]+)?)` \|", contract.section(TEXT, "## Commands"), re.M)
    assert sorted(rows) == sorted(re.findall(r"^## (make(?: [a-z-]+)?)(?= )", makefile, re.M))


def test_the_ends():
    """QEMU's status is twice the byte and one."""
    rows = re.findall(r"\| (\d+) \| (0x\w+) \|", contract.section(TEXT, "## How a run ends"))
    assert [int(status) for status, _ in rows] == [qemu.EXIT_OK, qemu.EXIT_NOT_ALL, qemu.EXIT_REFUSED]
    written = re.search(r"EXIT_OK = (0x\w+), EXIT_FAILED = (0x\w+), EXIT_REFUSED = (0x\w+)", SOURCES).groups()
    assert [byte for _, byte in rows] == list(written)
    assert all(int(status) == 2 * int(byte, 16) + 1 for status, byte in rows)


@pytest.mark.parametrize("page", ["README.md", *sorted(f"docs/{file.name}" for file in (ROOT / "docs").glob("*.md"))])
def test_the_records_shown_on_our_pages(page):
    """Some are cut there, and end in dots."""
    shown = [line.strip() for line in (ROOT / page).read_text(encoding="utf-8").splitlines()
             if line.startswith("    REVEILLE ev=")]
    for record in records.parse_records(line for line in shown if not line.endswith("...")):
        assert contract.faults(record) == [], record


def test_the_records_of_logs():
    """Those of any runs, if there are some: REVEILLE_LOGS names their folder, which is empty where a run of all
    tests begins to fill it."""
    folder = os.environ.get("REVEILLE_LOGS")
    logs = sorted(pathlib.Path(folder).rglob("*.log")) if folder else []
    if not logs:
        pytest.skip("REVEILLE_LOGS names no folder of logs")
    for log in logs:
        assert contract.faults_of_log(log.read_bytes()) == [], log


END = "REVEILLE ev=end ok=1 want=3 up=3 failed=0"


@pytest.mark.parametrize("line, told", [
    (END, []),
    ("REVEILLE ev=nothing", ["ev=nothing is not in contract.md"]),
    ("REVEILLE ev=end ok=1 want=3 up=3", ["ev=end has no failed="]),
    (END + " more=1", ["ev=end more= is not in contract.md"]),
    (END.replace("ok=1", "ok=2"), ["ev=end ok=2 is not what contract.md says"]),
    (END.replace("want=3", "want=0x3"), ["ev=end want=0x3 is not what contract.md says"]),
    ("REVEILLE ev=bound seconds=-1", ["ev=bound seconds=-1 is not what contract.md says"]),
    ("REVEILLE ev=cpu cpu=0 apic=0x0 state=bsp", []),
    ("REVEILLE ev=cpu cpu=0 apic=0x00 state=bsp", ["ev=cpu apic=0x00 is not what contract.md says"]),
    ("REVEILLE ev=cpu cpu=0 apic=0X0 state=bsp", ["ev=cpu apic=0X0 is not what contract.md says"]),
    ("REVEILLE ev=cpu cpu=0 apic=0x0 state=lost", ["ev=cpu state=lost is not what contract.md says"]),
    ("REVEILLE ev=error what=no-madt detail=x", []),
    ("REVEILLE ev=error what=no-luck detail=x", ["ev=error what=no-luck is not in contract.md"]),
])
def test_what_the_page_refuses(line, told):
    record = records.parse_record(line)
    assert contract.faults(record) == told
    if told:
        with pytest.raises(ValueError, match="^ev="):
            contract.checked([record])
    else:
        assert contract.checked([record]) == [record]


def test_a_log():
    log = f"\x1b[2J{END}\r\nHello\r\n{END} x=1\r\nREVEILLE ev\r\nREVEILLE ev=en".encode("ascii")
    assert contract.faults_of_log(log) == ["3: ev=end x= is not in contract.md",
                                           "4: damaged record at column 8: 'REVEILLE ev'"]


@pytest.mark.parametrize("row", [
    "| seconds | decimal | always | no quotes |",
    "| `seconds` | decimal | always |",
    "| `seconds` `seconds` | decimal | always | |",
])
def test_a_row_of_another_shape_is_not_passed_over(row):
    with pytest.raises(ValueError, match="contract.md"):
        contract.events(f"### `ev=bound`\n\n| key | value | when | meaning |\n|---|---|---|---|\n{row}\n")


def test_a_kind_of_value_that_is_unknown():
    with pytest.raises(KeyError):
        contract.events("### `ev=bound`\n\n| `seconds` | number | always | |\n")
