"""compare_logs.py OLD NEW...: what two runs of the boot tests said, boot by boot; exit status 1 if they differ.

A folder is what `REVEILLE_LOGS=FOLDER` leaves of a run: NAME.log, the bytes of a boot's serial port, and
NAME.machine, what was booted. Boots are paired by machine, those of the same name first, so that a test
that shares another's boot, or that was renamed, still finds it.
What a busy host makes differ, a second STARTUP say, is gone in another run: name more than one NEW.
Surprise: what the host or the firmware decides is masked (times, addresses, how far somebody came before a
key stopped him), and nothing else: a word, a count or a cause that has changed is a difference.
"""

import argparse
import dataclasses
import difflib
import pathlib
import re
import sys

import qemu

# Keys whose value is a time, or a clock's rate or state; those of the plan, which options set, are none.
_TIME_KEY = re.compile(r"(?:\w+_(?:us|ns|hz)|us|ratio|seconds|tsc_real)")
_PLANNED = ("init_us", "sipi_us", "timeout_us")
# The image and where firmware put it: a change of the code is not a change of what it says.
_OF_THE_BUILD = {"image": ("bytes", "crc")}
# Large numbers that are no addresses.
_NO_ADDRESS = ("firmware_rev", "microcode", "signature", "cr0", "cr4", "efer")
_PAIR = re.compile(r'([A-Za-z_][A-Za-z0-9_]*)=("(?:[^"\\]|\\.)*"|[^ "]*)')
_HEX = re.compile(r"\b0x([0-9a-f]+)\b", re.IGNORECASE)
_GUID = re.compile(r"\b[0-9A-F]{8}(?:-[0-9A-F]{4}){3}-[0-9A-F]{12}\b")  # of a disk that was made for the boot
_DECIMAL = re.compile(r"-?\d+(?:\.\d+)?")

# Lines of others: Linux, the Shell's list of memory and its count-down.
_OF_OTHERS = re.compile(r"\[ *\d+\.\d{6}\]|\s*\w+\s+[0-9A-F]{8,16}-[0-9A-F]{8,16} |"
                        r"\s*(?:BS_|RT_|Loader|Available|Reserved|ACPI_|MMIO|Total)\w*\s*:\s|EFI stub: |"
                        r"Press ESC in \d seconds to skip startup.nsh")
# Of a host, not of the image: one clock against another.
_OF_THE_HOST = re.compile(r"REVEILLE ev=warning what=tsc-disagrees ")
# Whoever comes first writes first.
_BY_WHOEVER_COMES = re.compile(r"Hello from CPU |CPU \d+ \(APIC ID \d+\) stopped: ")
# A run that somebody outside stopped: how many rounds it had made is his doing.
_STOPPED_BY_HAND = (re.compile(r"CPU 0 \(APIC ID 0\) stopped: vector 2 \(NMI\)"),
                    re.compile(r"REVEILLE ev=warning what=stopped-by-key "))


def _mask_addresses(text):
    """Addresses lie above the first page, so that an APIC ID, a port or an error code stays."""
    return _HEX.sub(lambda m: "0x?" if int(m[1], 16) >= 4096 else m[0], text)


def _mask_pair(event, key, value):
    time = _TIME_KEY.fullmatch(key) and key not in _PLANNED and _DECIMAL.fullmatch(value)
    if time or key in _OF_THE_BUILD.get(event, ()):
        return f"{key}=?"
    if key in _NO_ADDRESS:
        return f"{key}={value}"
    if (event, key) == ("trampoline", "vector"):  # the page's number
        return f"{key}=?"
    return f"{key}={_mask_addresses(value)}"


def masked(line):
    """A line without what may differ from one boot to the next."""
    if line.startswith("REVEILLE ev="):
        event = line[len("REVEILLE ev="):].split(" ", 1)[0]
        return _PAIR.sub(lambda m: _mask_pair(event, m[1], m[2]), line)
    return _GUID.sub("?", _mask_addresses(line))


def lines_of(raw):
    """What is compared of the bytes of a serial port: a list of masked lines."""
    found = [line.rstrip() for part in raw.split(b"\n") for line in qemu.clean_line(part)]
    found = [masked(line) for line in _without_menu(found)
             if not _OF_OTHERS.match(line) and not _OF_THE_HOST.match(line)]
    if any(stopped.match(line) for stopped in _STOPPED_BY_HAND for line in found):
        found = _without_rounds(found)
    while found and not found[-1]:
        found.pop()
    return _in_order(found)


def _without_menu(lines):
    """Without firmware's menu, which is drawn when the image has returned, until the next start."""
    in_menu = False
    for line in lines:
        in_menu = not line.startswith("REVEILLE ev=start ") and (in_menu or '"UiApp"' in line)
        if not in_menu:
            yield line


def _without_rounds(lines):
    """A run that was stopped by hand: rounds and settings of a sweep that are alike as one, without their
    numbers, and not the line that was cut."""
    kept = []
    for line in lines:
        if _STOPPED_BY_HAND[1].match(line):
            line = re.sub(r"\b\d+ of (?=\d+ )", "? of ", line)
        if _STOPPED_BY_HAND[0].match(line) and kept and not kept[-1].startswith(("REVEILLE ev=wake ", "REVEILLE ev=end ")):
            kept.pop()  # what the BSP was writing
        line = re.sub(r"^(REVEILLE ev=wake .*)round=\d+", r"\1round=?", line)
        line = re.sub(r"^(REVEILLE ev=rounds )rounds=\d+", r"\1rounds=?", line)
        line = re.sub(r"^(REVEILLE ev=sweep key=\w+ )value=\w+", r"\1value=?", line)
        if line and not (line in kept and line.startswith(("REVEILLE ev=wake ", "REVEILLE ev=sweep "))):
            kept.append(line)
    if any(map(_STOPPED_BY_HAND[0].match, kept)):  # nobody reads on
        kept = [line for line in kept if not line.startswith("The end: ")]
    return kept


def _in_order(lines):
    """Lines of processors that come in any order, side by side, in one order."""
    done, block = [], []
    for line in lines:
        if _BY_WHOEVER_COMES.match(line):
            block.append(line)
            continue
        done += [*sorted(block), line]
        block = []
    return done + sorted(block)


@dataclasses.dataclass
class Boot:
    name: str
    machine: str  # empty: not told
    lines: list


def read(folder, masks=()):
    """The boots of a folder, by name; what matches one of the masks counts as the same."""
    boots = []
    for path in sorted(pathlib.Path(folder).glob("*.log")):
        machine = path.with_suffix(".machine")
        boots.append(Boot(path.stem, machine.read_text(encoding="utf-8") if machine.exists() else "",
                          [_hidden(line, masks) for line in lines_of(path.read_bytes())]))
    return boots


def _hidden(line, masks):
    for mask in masks:
        line = re.sub(mask, "?", line)
    return line


def _test(name):
    """NAME.2 is the second boot of the test NAME."""
    return name.rpartition(".")[0]


def partner(boot, boots):
    """The boot that this one is compared with, or None: of the same machine and name, else test, else the
    same machine, else name. Among several, one that says the same comes first."""
    def best(fits):
        found = [other for other in boots if fits(other)]
        return next((other for other in found if other.lines == boot.lines), found[0] if found else None)

    def same(other):
        return boot.machine and boot.machine == other.machine
    return (best(lambda other: same(other) and other.name == boot.name)
            or best(lambda other: same(other) and _test(other.name) == _test(boot.name))
            or best(same) or best(lambda other: other.name == boot.name))


def compare(old, new):
    """(lines to print, number of differing pairs, of old boots without a partner, of pairs)."""
    said, differing, alone = [], 0, 0
    for boot in old:
        other = partner(boot, new)
        if other is None:
            alone += 1
            said.append(f"ALONE {boot.name}")
        elif other.lines != boot.lines:
            differing += 1
            said.append(f"DIFFERS {boot.name}" + (f" (as {other.name})" if other.name != boot.name else ""))
            said += list(difflib.unified_diff(boot.lines, other.lines, lineterm="", n=1))[2:]
    return said, differing, alone, len(old) - alone


def main():
    parser = argparse.ArgumentParser(description="Compares the boots of two runs of the boot tests.")
    parser.add_argument("old", type=pathlib.Path)
    parser.add_argument("new", type=pathlib.Path, nargs="+")
    parser.add_argument("--mask", action="append", default=[], metavar="REGEX",
                        help="a change that is meant: what matches counts as the same")
    words = parser.parse_args()
    folders = {folder: read(folder, words.mask) for folder in [words.old, *words.new]}
    if empty := [str(folder) for folder, boots in folders.items() if not boots]:
        sys.exit(f"compare_logs: no logs in {' '.join(empty)}")
    old, new = folders[words.old], [boot for folder in words.new for boot in folders[folder]]
    said, differing, alone, pairs = compare(old, new)
    for line in said:
        print(line)
    print(f"{pairs} boots compared, {differing} differ; {alone} of before have no partner")
    return 1 if differing or alone else 0


if __name__ == "__main__":
    sys.exit(main())
