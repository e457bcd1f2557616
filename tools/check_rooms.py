#!/usr/bin/env python3
"""Holds the rooms: who may include whom, the engine's one door, no circles, no UEFI outside efi/.

It reads every #include "..." of the image's rooms, and of the object files (if named) the symbols that they
define and need: two files that call each other through a common header are a circle, too.

Surprise: KNOWN lists what is wrong today. What is listed there and no longer wrong is an error as well, so
the list can only become shorter.
"""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Left a room, right what it may include. A room may always include itself and include/. A word with a dot is
# one file of a room that is closed otherwise.
ARROWS = """
efi              efi/mp efi/keep efi/firmware report report/console report/screen trial trial/options smp machine hw hw/lib
efi/mp           efi/firmware report report/console report/screen trial trial/options smp machine hw hw/lib
efi/keep         efi/firmware report report/console report/screen trial trial/options smp machine hw hw/lib
efi/firmware     report report/console report/screen trial trial/options smp machine hw hw/lib

report           report/console report/screen trial trial/options smp machine hw hw/lib
report/console   hw hw/lib
report/screen    hw hw/lib

trial            trial/options engine smp machine hw hw/lib
trial/options    smp hw/lib

engine           smp machine hw hw/lib
smp              trampoline hw hw/lib
trampoline       hw/lib

machine          hw hw/lib
hw               hw/lib
hw/lib
include
"""
# smp and trampoline are one engine; trampoline/handoff.h is what its C and its assembler agree on.

ENGINE = ("smp", "trampoline")
DOOR = "smp/smp.h"
DOOR_IS_SHUT = True  # True: nobody else includes any other header of the engine
# Who may look into the engine all the same: its own tests and fuzzers, and the fake processors that walk through it.
INSIDERS = ("tests/unit/smp", "tests/unit/trampoline", "tests/fake", "tests/fuzz")

# Objects that are one unit with another: an assembler entry with the C that it enters, and the image's entry, which
# calls efi_main as a C runtime would.
ONE_UNIT = {"smp/fault_entry": "smp/fault", "efi/firmware/relocate": "efi/main"}

# Tests that include a .c file: mem.c has the C library's own names, and is tried under others; hw.c has those of the
# tests' machine, and relocate.c needs what the linker makes.
INCLUDED_SOURCES = {("tests/unit/hw/test_mem.c", "hw/lib/mem.c"), ("tests/unit/hw/test_hw.c", "hw/hw.c"),
                    ("tests/unit/efi/test_relocate.c", "efi/firmware/relocate.c")}

UEFI_ROOM = "efi"
UEFI_HEADER = re.compile(r'#\s*include\s*[<"](efi\w*\.h)')
UEFI_TYPE = re.compile(r"\b(EFI_[A-Z]\w*|UINTN|INTN|UINT(?:8|16|32|64)|CHAR(?:8|16)|BOOLEAN|EFIAPI)\b")

# What is wrong today. Delete an entry with its cause; add none.
KNOWN = """
"""

ADVICE = {
    "arrow": "ARROWS has no such arrow: move what both need into a room below, or hand it in as an argument",
    "door": f"the engine is used through {DOOR} alone: include that, and add there what is missing",
    "circle": "files that include each other: let one of them not know the other, or move what both need into a third",
    "calls": "files that need each other's functions: let the caller above decide, and the one below return a status",
    "symbol": "ARROWS has no such arrow: hand the function in as a callback, or move it into a room below",
    "name": "an include names no folder, so a name stands once in the image's rooms: rename one",
    "path": "a header's name is its own: include it by its name alone, and as a file that is there",
    "uefi": "firmware's types end at efi/: translate there, and hand on our own types",
    "source": "include the header, and link the object",
    "makefile": "PURE_ROOMS and EFI_ROOMS in the Makefile, ARROWS and the folders have the same rooms",
    "stale": "is right by now: delete it from KNOWN in tools/check_rooms.py",
}

INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.M)
NOT_CODE = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)+\'', re.S)


def room_of(path):
    return path.rpartition("/")[0]


def name_of(path):
    return path.rpartition("/")[2]


def unit_of(path):
    """foo.c, foo.S and foo.h are one: the unit foo of their room."""
    return path.rpartition(".")[0]


def code_of(text):
    """The text without comments, strings and characters; lines stay where they are."""
    return NOT_CODE.sub(lambda match: "\n" * match[0].count("\n"), text)


def arrows_of(text):
    """{room: what it may include} of a table like ARROWS."""
    rows = [line.split() for line in text.splitlines() if line.strip()]
    return {row[0]: {row[0], "include", *row[1:]} for row in rows}


def rooms_of_makefile(text):
    lines = re.findall(r"^(?:PURE|EFI)_ROOMS\s*:=\s*(.*)$", text, re.M)
    return set(" ".join(lines).split())


def circles(graph):
    """Sets of nodes that lie on common circles, of {node: {node}}; each as a shortest circle through its first node."""
    reach = {}
    for node in graph:
        seen, todo = set(), [node]
        while todo:
            new = graph.get(todo.pop(), set()) - seen
            seen |= new
            todo += new
        reach[node] = seen
    found, done = [], set()
    for node in sorted(graph):
        if node in reach[node] and node not in done:
            members = {other for other in reach[node] if node in reach.get(other, set())}
            done |= members
            found.append((sorted(members), shortest_circle(graph, node)))
    return found


def shortest_circle(graph, start):
    ways = [[start]]
    seen = set()
    while ways:
        way = ways.pop(0)
        for node in sorted(graph.get(way[-1], set())):
            if node == start:
                return way + [start]
            if node not in seen:
                seen.add(node)
                ways.append(way + [node])
    raise ValueError(f"{start} is on no circle")


class Tree:
    """The sources {path: text} of the rooms and of who else includes their headers, and what they include."""

    def __init__(self, sources, arrows):
        self.sources = sources
        self.arrows = arrows
        self.inside = sorted(path for path in sources if room_of(path) in arrows)
        self.by_name = {}
        for path in self.inside:
            self.by_name.setdefault(name_of(path), []).append(path)

    def includes(self, path):
        """[(as written, the file of a room, or None)]"""
        text = re.sub(r"//[^\n]*", "", self.sources[path])
        return [(word, self.by_name.get(name_of(word), [None])[0]) for word in INCLUDE.findall(text)]

    def may(self, path, target):
        allowed = self.arrows[room_of(path)]
        return room_of(target) in allowed or target in allowed


def wrong_includes(tree, door_is_shut):
    for path in sorted(tree.sources):
        is_ours = room_of(path) in tree.arrows
        for word, target in tree.includes(path):
            if word.endswith(".c") and (path, target) not in INCLUDED_SOURCES:
                yield "source", f"{path} includes {word}"
            if is_ours and (target is None or "/" in word):
                yield "path", f"{path} includes {word}"
            if target is None:
                continue
            if is_ours and not tree.may(path, target):
                yield "arrow", f"{path} includes {target}"
                continue
            is_insider = room_of(path) in ENGINE + INSIDERS and path != DOOR  # whose includes all others would see
            if door_is_shut and room_of(target) in ENGINE and target != DOOR and not is_insider:
                yield "door", f"{path} includes {target}"


def wrong_names(tree):
    for name, paths in sorted(tree.by_name.items()):
        if len(paths) > 1:
            yield "name", f"{name} stands in {' and '.join(map(room_of, paths))}"


def wrong_uefi(tree):
    for path in tree.inside:
        if path.startswith(UEFI_ROOM + "/"):
            continue
        for header in UEFI_HEADER.findall(tree.sources[path]):
            yield "uefi", f"{path} includes <{header}>"
        for word in sorted(set(UEFI_TYPE.findall(code_of(tree.sources[path])))):
            yield "uefi", f"{path} says {word}"


def wrong_circles(tree):
    graph = {}
    for path in tree.inside:
        targets = {unit_of(target) for _, target in tree.includes(path) if target}
        graph.setdefault(unit_of(path), set()).update(targets - {unit_of(path)})
    for members, way in circles(graph):
        yield "circle", f"{' '.join(members)} ({' -> '.join(way)})"


def wrong_rooms(tree, makefile):
    written = rooms_of_makefile(makefile) | {"include"}
    folders = {room_of(path) for path in tree.sources if path.split("/")[0] in
               {room.split("/")[0] for room in tree.arrows}}
    for room in sorted(written | folders | set(tree.arrows)):
        missing = [place for place, rooms in (("the Makefile", written), ("ARROWS", tree.arrows),
                                              ("the tree", folders)) if room not in rooms]
        if missing:
            yield "makefile", f"{room} is not in {' and '.join(missing)}"


def wrong_symbols(tree, objects, door_is_shut):
    """Of {object: (symbols it defines, symbols it needs)}, an object being named as its source is."""
    home = {symbol: ONE_UNIT.get(name, name) for name, (defined, _) in objects.items() for symbol in defined}
    public = set(re.findall(r"\w+", code_of(tree.sources.get(DOOR, ""))))
    graph, why = {}, {}
    for name, (_, needed) in sorted(objects.items()):
        name = ONE_UNIT.get(name, name)
        graph.setdefault(name, set())
        for symbol in sorted(needed):
            target = home.get(symbol, name)
            if target == name:
                continue
            graph[name].add(target)
            why.setdefault((name, target), symbol)
            if not tree.may(name, DOOR if symbol in public else target):
                yield "symbol", f"{name} needs {target} ({symbol})"
            elif door_is_shut and symbol not in public and room_of(target) in ENGINE and room_of(name) not in ENGINE:
                yield "door", f"{name} needs {symbol} of {target}"
    for members, way in circles(graph):
        steps = "".join(f" -{why[a, b]}-> {b}" for a, b in zip(way, way[1:]))
        yield "calls", f"{' '.join(members)} ({way[0]}{steps})"


def faults(sources, makefile, objects=None, arrows=ARROWS, known=KNOWN, door_is_shut=DOOR_IS_SHUT):
    """Everything wrong, as lines. What stands in parentheses behind a fault explains it, and is not in `known`."""
    tree = Tree(sources, arrows_of(arrows))
    found = [*wrong_includes(tree, door_is_shut), *wrong_names(tree), *wrong_uefi(tree), *wrong_circles(tree),
             *wrong_rooms(tree, makefile)]
    if objects is not None:
        found += wrong_symbols(tree, objects, door_is_shut)
    left = {line.strip() for line in known.splitlines() if line.strip()}
    told = {}
    for rule, what in found:
        told.setdefault(f"{rule}: {what.partition(' (')[0]}", f"{rule}: {what}: {ADVICE[rule]}")
    lines = [line for key, line in told.items() if key not in left]
    stale = left - set(told)
    if objects is None:
        stale = {key for key in stale if not key.startswith(("symbol:", "calls:"))}
    return lines + [f"{key}: {ADVICE['stale']}" for key in sorted(stale)]


def read_sources(root=ROOT):
    """{path: text} of the rooms, the tests and the tools."""
    tops = {room.split("/")[0] for room in arrows_of(ARROWS)} | {"tests", "tools"}
    files = [file for top in sorted(tops) for file in (root / top).rglob("*.[chS]")]
    return {str(file.relative_to(root)): file.read_text(encoding="utf-8") for file in files}


def read_objects(folder, names):
    """{name: (symbols it defines, symbols it needs)} of object files NAME in a folder."""
    objects = {}
    for name in names:
        listed = subprocess.run(["nm", "-g", "-P", pathlib.Path(folder) / name], capture_output=True, text=True, check=True)
        symbols = [line.split()[:2] for line in listed.stdout.splitlines()]
        objects[unit_of(name)] = ({symbol for symbol, kind in symbols if kind not in "Uw"},
                                  {symbol for symbol, kind in symbols if kind in "Uw"})
    return objects


def main(arguments=()):
    """check_rooms.py [FOLDER OBJECT...]"""
    objects = read_objects(arguments[0], arguments[1:]) if arguments else None
    found = faults(read_sources(), (ROOT / "Makefile").read_text(encoding="utf-8"), objects)
    for fault in found:
        print(f"check_rooms: {fault}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
