"""Records: the lines of Reveille that begin with the word REVEILLE, as dictionaries.

The one parser for run.py, debug.py, the boot tests and the reports. It is strict on purpose: a line
that starts like a record and is none raises ValueError, since a torn line means that two writers
met.
"""

import re

WORD = "REVEILLE"

# One ` key=value`: the value is bare (no blank, no quote) or quoted with \" and \\ inside.
_PAIR = re.compile(r' ([A-Za-z_][A-Za-z0-9_]*)=(?:"((?:[^"\\]|\\["\\])*)"|([^ "]*))')


def parse_record(line):
    """The record in this line (without its line end), or None if it is no record."""
    if line != WORD and not line.startswith(WORD + " "):
        return None
    record, at = {}, len(WORD)
    while at < len(line):
        pair = _PAIR.match(line, at)
        if not pair:
            raise ValueError(f"damaged record at column {at}: {line!r}")
        key, quoted, bare = pair.groups()
        if key in record:
            raise ValueError(f"key {key} twice: {line!r}")
        record[key] = bare if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        at = pair.end()
    if next(iter(record), None) != "ev":
        raise ValueError(f"a record has to begin with ev=: {line!r}")
    return record


def parse_records(lines):
    """All records in these lines, in order."""
    return [record for line in lines if (record := parse_record(line)) is not None]


def number(text):
    """A value as an integer: decimal, or hexadecimal with 0x."""
    return int(text, 16 if text.startswith("0x") else 10)
