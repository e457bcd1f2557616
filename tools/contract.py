#!/usr/bin/env python3
"""Records held against docs/contract.md, whose tables say which keys each event has and what their values are.

contract.py LOG... checks every record in logs of runs. Surprise: the page itself is the table that is read,
so a record that it does not have is an error here, while whoever reads records elsewhere passes over it.
"""

import functools
import pathlib
import re
import sys

import qemu
import records

PAGE = pathlib.Path(__file__).resolve().parent.parent / "docs/contract.md"

_EVENT = re.compile(r"^### `ev=([a-z-]+)`$")
_ROW = re.compile(r"^\| ((?:`\w+` ?)+) \| ([^|]*) \| ([^|]*) \| [^|]*\|$")
_WORD = re.compile(r"`([^`]+)`")

_KINDS = {
    "decimal": r"\d+",
    "hex": r"0x(?:0|[1-9a-f][0-9a-f]*)",
    "fraction": r"\d+\.\d",
    "0 or 1": r"[01]",
    "text": r".*",
    "word": r"[a-z0-9-]+",
}


class Key:
    """What the page says of a key: `values`, a pattern, its `words` if it has them, and whether each such record has it."""

    def __init__(self, value, when):
        self.words = _WORD.findall(value) if value.startswith("`") else []
        kind = "|".join(map(re.escape, self.words)) or _KINDS[value.partition(",")[0]]
        self.values = re.compile(kind)
        self.always = when == "always"


def events(text):
    """{event: {key: Key}} of the page's text."""
    found, keys = {}, None
    for line in text.splitlines():
        if heading := _EVENT.match(line):
            keys = found.setdefault(heading[1], {})
        elif line.startswith("#"):
            keys = None
        elif keys is not None and line.startswith("|") and not line.startswith(("| key |", "|---")):
            row = _ROW.match(line)
            if not row:
                raise ValueError(f"{PAGE.name}: not a row of a record: {line}")
            for name in _WORD.findall(row[1]):
                if name in keys:
                    raise ValueError(f"{PAGE.name}: {name} twice")
                keys[name] = Key(row[2].strip(), row[3].strip())
    return found


def section(text, heading):
    """What stands below a heading, up to the next of its level or above."""
    level = heading.partition(" ")[0]
    after = text.partition(f"\n{heading}\n")[2]
    return re.split(rf"^#{{1,{len(level)}}} ", after, maxsplit=1, flags=re.M)[0]


def words(text):
    """The words that what= has in warnings and errors."""
    rows = [line for line in section(text, "## Words of warnings and errors").splitlines() if line.startswith("| ")]
    return {word for row in rows[1:] for word in _WORD.findall(row.rsplit("|", 2)[1])}


@functools.cache
def _page():
    text = PAGE.read_text(encoding="utf-8")
    return events(text), words(text)


def faults(record):
    """What is wrong with a record (a dictionary of records.parse_record), as sentences."""
    known, what = _page()
    event = record["ev"]
    if event not in known:
        return [f"ev={event} is not in {PAGE.name}"]
    keys = known[event]
    found = [f"ev={event} has no {key}=" for key in keys if keys[key].always and key not in record]
    for key, value in record.items():
        if key == "ev":
            continue
        if key not in keys:
            found.append(f"ev={event} {key}= is not in {PAGE.name}")
        elif not keys[key].values.fullmatch(value):
            found.append(f"ev={event} {key}={value} is not what {PAGE.name} says")
        elif key == "what" and value not in what:
            found.append(f"ev={event} what={value} is not in {PAGE.name}")
    return found


def checked(found):
    """These records, if all are as the page says; else ValueError."""
    for record in found:
        if wrong := faults(record):
            raise ValueError(f"{'; '.join(wrong)}: {record}")
    return found


def faults_of_log(log):
    """What is wrong with the records in a log's bytes, as `line number: sentence`. A last line without its end is
    passed over: the machine is gone."""
    found = []
    for number, raw in enumerate(log.split(b"\n")[:-1], 1):
        for line in qemu.clean_line(raw):
            try:
                record = records.parse_record(line)
                wrong = faults(record) if record else []
            except ValueError as error:
                wrong = [str(error)]
            found += [f"{number}: {fault}" for fault in wrong]
    return found


def main(paths):
    wrong = 0
    for path in paths:
        for fault in faults_of_log(pathlib.Path(path).read_bytes()):
            print(f"{path}:{fault}", file=sys.stderr)
            wrong += 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
