#!/usr/bin/env python3
"""The engine for other kernels: one header and one C file, made of the tree's own sources.

    engine.py VERSION ap_start.bin ap_start.elf FOLDER

Nothing is written twice: the files below are put one behind the other, each under a banner with its name, and with
its comments. What a kernel would trip over is changed on the way: includes go, what the header does not declare
becomes static, what two files call by the same name is renamed, what nobody needs is left out, assembler becomes
top-level asm, the trampoline an array of bytes.

Surprise: this is no parser of C. It relies on how the tree is written (clang-format, one declaration at a time, no
typedefs), and what it does not understand is a failure, never a guess.
"""

import dataclasses
import pathlib
import re
import shutil
import struct
import subprocess
import sys

from check_rooms import code_of

ROOT = pathlib.Path(__file__).resolve().parent.parent
KIT = ROOT / "tools" / "engine"  # what stands in the folder as it is

# The header's parts, in this order; the first comment of DOOR, which shows how all is used, comes first of all.
DOOR = "smp/smp.h"
HEADERS = ("include/status.h", "include/problem.h", DOOR, "engine/survey.h")

# The C file's parts, in this order: what a part includes stands before it.
BLOB = "trampoline/ap_start.S"
SOURCES = (
    "hw/lib/mem.h", "include/page.h", "include/control.h", "include/msr.h", "include/lapic.h", "hw/gate.h", "hw/hw.h",
    "hw/lib/clock.h", "hw/lib/line.h", "hw/lib/tell.h", "hw/lib/sort.h", "hw/lib/watch.h",
    "trampoline/image_layout.h", "trampoline/handoff.h", "trampoline/trampoline.h",
    "smp/records.h", "smp/arena.h", "smp/apic.h", "smp/page_table.h", "smp/fault.h", "smp/engine.h",
    "smp/address_space.h", "smp/sequence.h",
    "machine/phys.h", "machine/acpi.h", "machine/madt.h", "machine/inventory.h", "machine/processor.h",
    "engine/cpu_features.h",

    "hw/hw.c", "hw/safe_msr.S", "hw/await_nmi.S",
    "hw/lib/clock.c", "hw/lib/line.c", "hw/lib/tell.c", "hw/lib/sort.c", "hw/lib/watch.c",
    BLOB, "trampoline/trampoline.c",
    "smp/open.c", "smp/arena.c", "smp/address_space.c", "smp/page_table.c", "smp/apic.c", "smp/message.c",
    "smp/wake.c", "smp/strategy.c", "smp/sequence.c", "smp/turns.c", "smp/ap.c", "smp/serve.c", "smp/call.c",
    "smp/barrier.c", "smp/fault.c", "smp/fault_entry.S", "smp/examine.c", "smp/verdict.c", "smp/story.c",
    "machine/madt.c", "machine/inventory.c", "machine/processor.c",
    "engine/cpu_features.c", "engine/describe.c", "engine/listing.c", "engine/tsc_rate.c",
)
# What runs before the first message or after the last one: small before fast.
UNHURRIED = ("trampoline/", "smp/open.c", "smp/arena.c", "smp/address_space.c", "smp/page_table.c", "smp/examine.c",
             "smp/verdict.c", "smp/story.c", "machine/", "engine/", "hw/lib/line.c", "hw/lib/tell.c", "hw/lib/sort.c")
# Of these rooms every file belongs to the engine; the blob's assembler source stands for the array.
WHOLE_ROOMS = ("smp", "trampoline", "engine")
NOT_NEEDED = {"trampoline/blob.S"}

# The tree's names, and what a kernel calls them.
PREFIXES = (("smp_", "rv_"), ("SMP_", "RV_"), ("engine_", "rv_"), ("ENGINE_", "RV_"), ("STATUS_", "RV_STATUS_"),
            ("SEVERITY_", "RV_SEVERITY_"), ("problems_", "rv_problems_"))
TAGS = (("struct smp", "struct rv"), ("enum status", "enum rv_status"), ("enum severity", "enum rv_severity"),
        ("struct problems", "struct rv_problems"))
# What whoever links the engine has to bring.
HOST_BRINGS = {"memcpy", "memmove", "memset", "memcmp"}
MIXED = re.compile(r'//[^\n]*|"(?:[^"\\\n]|\\.)*"')
WORD = re.compile(r"(?:\b(?:struct|union|enum) )?\b[A-Za-z_]\w*")  # a tag is no other name
ATTRIBUTE = re.compile(r"__attribute__\(\(.*?\)\)+")
BANNER = "// " + "=" * 97


class Unfit(Exception):
    """A source that is written in a way that this tool does not know."""


def need(condition, message):
    if not condition:
        raise Unfit(message)


# ---- reading ----

@dataclasses.dataclass
class Item:
    """A declaration, definition, directive or remark at the top level of a file."""
    path: str
    kind: str  # remark, define, type, prototype, function, variable, extern, other, asm
    comment: list  # lines right above it
    text: str
    paragraph: int  # items of one have no blank line between them
    names: set = dataclasses.field(default_factory=set)
    before: str = ""  # the text as the tree has it

    def __post_init__(self):
        self.before = self.text

    @property
    def code(self):
        return code_of(self.text)

    def mentions(self):
        return set(WORD.findall(self.text if self.kind == "asm" else self.code)) - self.names

    def is_static(self):
        return bool(re.match(r"(__attribute__\(\(\w+\)\) )?static\b", self.text))


def names_in_braces(code):
    """The constants of an enum."""
    body = code[code.index("{") + 1:code.rindex("}")]
    return {WORD.match(part.strip())[0] for part in body.split(",") if part.strip()}


def classify(text):
    """(kind, names) of a declaration."""
    code = ATTRIBUTE.sub("", code_of(text)).strip()
    flat = " ".join(code.split())
    if match := re.match(r"# ?define (\w+)", flat):
        return "define", {match[1]}
    if flat.startswith("#") or re.fullmatch(r"[A-Z_]+\(\w+\)", flat) or flat.startswith("_Static_assert"):
        return "other", set()
    if match := re.match(r"(enum ?\w*) \{", flat):
        return "type", {match[1]} | names_in_braces(flat)
    if match := re.match(r"((?:struct|union) \w+)(?: \{.*\})?;$", flat):
        return "type", {match[1]}
    if match := re.match(r"([^=({]*?)(\w+)\(", flat):
        return ("function" if flat.endswith("}") else "prototype"), {match[2]}
    head = flat.partition("=")[0].partition("{")[0] if flat.startswith("static const struct {") is False else flat
    if flat.startswith("static const struct {"):
        head = flat[flat.index("}") + 1:].partition("=")[0]
    names = {WORD.findall(part.partition("[")[0])[-1] for part in head.rstrip(";").split(",")}
    return ("extern" if flat.startswith("extern") else "variable"), names


def end_of(lines, at):
    """The line behind the declaration that begins at this one."""
    depth, text = 0, ""
    for end in range(at, len(lines)):
        text = code_of("\n".join(lines[at:end + 1]))
        depth = sum(text.count(c) for c in "({[") - sum(text.count(c) for c in ")}]")
        if depth == 0 and (text.rstrip().endswith((";", "}")) or re.fullmatch(r"[A-Z_]+\(\w+\)\s*", text)):
            return end + 1
    raise Unfit(f"a declaration without an end: {lines[at]}")


def end_of_directive(lines, at):
    while lines[at].endswith("\\"):
        at += 1
    return at + 1


def items_of(path, text):
    """([Item], [quoted includes], [headers of the compiler])"""
    items, quoted, system, comment = [], [], [], []
    lines, at, paragraph = text.split("\n"), 0, 0

    def remark():
        if comment:
            items.append(Item(path, "remark", [], "\n".join(comment), paragraph))
            comment.clear()

    while at < len(lines):
        line = lines[at]
        if not line.strip():
            remark()
            paragraph += 1
            at += 1
        elif line.startswith("//"):
            if not line.startswith("// clang-format"):
                comment.append(line)
            at += 1
        elif match := re.match(r'#\s*include ("([^"]+)"|<([^>]+)>)', line):
            remark()
            (quoted if match[2] else system).append(match[2] or match[3])
            at += 1
        elif line.startswith("#pragma once"):
            remark()
            at += 1
        elif line.startswith("#ifdef __ASSEMBLER__"):
            at = lines.index("#endif", at) + 1
        else:
            need(line[0] != " ", f"{path}: indented at the top level: {line}")
            end = end_of_directive(lines, at) if line[0] == "#" else end_of(lines, at)
            kind, names = classify("\n".join(lines[at:end]))
            items.append(Item(path, kind, list(comment), "\n".join(lines[at:end]), paragraph, names))
            comment.clear()
            at = end
    remark()
    return items, quoted, system


def check_order(path, quoted, before):
    """What a part includes must stand before it."""
    for name in quoted:
        need(any(name == other.rpartition("/")[2] for other in before), f"{path} includes {name}, which no list has")


def check_rooms_are_whole(root=ROOT):
    listed = {*HEADERS, *SOURCES, *NOT_NEEDED}
    for room in WHOLE_ROOMS:
        for file in sorted((root / room).glob("*.[chS]")):
            path = f"{room}/{file.name}"
            need(path in listed, f"{path} is in no list of tools/engine.py: add it to SOURCES")


# ---- assembler ----

def numbers_of(texts):
    """{name: number} of the plain constants of some headers."""
    return {name: value for text in texts for name, value in re.findall(r"^#define (\w+)\s+(0x[0-9a-f]+|\d+)\b", text, re.M)}


def asm_of(path, text, numbers):
    """A file of assembler as one item: top-level asm. Its labels are local, and need no linker."""
    text = re.sub(r"^#.*\n", "", text, flags=re.M)
    head, _, body = text.partition("\n\n")
    labels = set(re.findall(r"\.globl\s+(\w+)", text)) | set(re.findall(r"^access (\w+)", text, re.M))
    out, macros = ["__asm__(", '    "    .pushsection .text\\n"'], []
    for line in body.strip("\n").split("\n"):
        code, slashes, comment = line.partition("//")
        code = code.rstrip()
        if re.match(r"\s*\.(globl|hidden|section|text)\b", code):
            continue
        if match := re.match(r"\.macro (\w+)", code):
            macros.append(match[1])
        code = re.sub(r"\b[A-Z][A-Z0-9_]+\b", lambda word: numbers.get(word[0], word[0]), code)
        code = code.replace("\\", "\\\\").replace('"', '\\"').expandtabs(4)
        code = f'    "{code}\\n"' if code else ""
        comment = f"// {comment.strip()}" if slashes else ""
        out.append(f"{code:<40} {comment}" if code and comment else f"    {comment}" if comment else code)
    out += [f'    "    .purgem {macro}\\n"' for macro in macros]
    out += ['    "    .popsection\\n");']
    item = Item(path, "asm", [], "\n".join(out), 1, labels)
    return [Item(path, "remark", [], head, 0), item] if head.startswith("//") else [item]


# ---- the trampoline ----

@dataclasses.dataclass
class Trampoline:
    """The assembled trampoline: its bytes, and {offset: [labels]}."""
    binary: pathlib.Path
    labels: dict

    def __post_init__(self):
        self.image = pathlib.Path(self.binary).read_bytes()

def labels_of(elf):
    """{offset: [labels]} of the trampoline."""
    listed = subprocess.run(["nm", "-n", elf], capture_output=True, text=True, check=True).stdout
    labels = {}
    for line in listed.splitlines():
        value, kind, name = line.split()
        if kind in "tT" and not name.startswith(("patched_", "_", "code_")):
            labels.setdefault(int(value, 16), []).append(name)
    return {at: [name for name in names if name not in ("etext", "edata", "end")] for at, names in labels.items()}


def name_of_offset(labels, offset):
    return " or ".join(labels.get(offset, [])) or "the page's own data"


def patch_rows(image, at, count, labels):
    for index in range(count):
        entry = image[at + 6 * index:at + 6 * index + 6]
        offset, width, target = struct.unpack("<HHH", entry)
        row = "".join(f"0x{byte:02x}, " for byte in entry)
        yield f"    {row}// the {width} bytes at 0x{offset:03x} hold page + 0x{target:03x}, {name_of_offset(labels, target)}"


def label_row(labels, at):
    return [f"    // 0x{at:03x}: {', '.join(labels[at])}"] if labels.get(at) else []


def plain_rows(trampoline, start, end):
    labels = trampoline.labels
    stops = sorted({start, end, *(at for at in labels if start < at < end and labels[at])})
    for at, stop in zip(stops, stops[1:]):
        yield from label_row(labels, at)
        for row in range(at, stop, 12):
            yield "    " + " ".join(f"0x{byte:02x}," for byte in trampoline.image[row:min(row + 12, stop)])


def code_rows(trampoline, places):
    """Each instruction of the code on a line of its own, in the mode that a processor reads it in."""
    for (start, mode), (stop, _) in zip(places, places[1:]):
        listed = subprocess.run(["objdump", "-D", "-w", "-b", "binary", "-m", "i386", "-M", mode,
                                 f"--start-address={start}", f"--stop-address={stop}", trampoline.binary],
                                capture_output=True, text=True, check=True).stdout
        for at, data, code in re.findall(r"^ +([0-9a-f]+):\t([0-9a-f ]+)\t(.*)$", listed, re.M):
            yield from label_row(trampoline.labels, int(at, 16))
            yield f"    {' '.join(f'0x{byte},' for byte in data.split()):<42} // {' '.join(code.split())}"


def blob_of(trampoline, numbers):
    """The trampoline as an array of bytes. Its header says where its relocation table is."""
    image, place = trampoline.image, {name: at for at, names in trampoline.labels.items() for name in names}

    def header(name):
        return struct.unpack_from("<H", image, int(numbers[name], 0))[0]
    patches, count = header("IMAGE_PATCHES_OFFSET"), header("IMAGE_PATCH_COUNT")
    need(header("IMAGE_BYTES_OFFSET") == len(image), "the trampoline's header does not tell its length")
    need(patches + 6 * count == len(image), "the trampoline's relocation table does not end it")
    modes = [(place["start16"], "i8086"), (place["lcpu_start32"], "i386"), (place["lcpu_start64"], "x86-64"),
             (place["traps_real"], "")]
    text = ["static const uint8_t trampoline_blob[] = {", *plain_rows(trampoline, 0, place["start16"]),
            *code_rows(trampoline, modes), *plain_rows(trampoline, place["traps_real"], patches),
            f"    // 0x{patches:03x}: the relocation table", *patch_rows(image, patches, count, trampoline.labels), "};"]
    written = bytes(int(byte, 16) for line in text for byte in re.findall(r"0x([0-9a-f]{2}),", line.partition("//")[0]))
    need(written == image, "the trampoline's bytes are not all written")
    size = "static const uint64_t trampoline_blob_bytes = sizeof trampoline_blob;"
    remark = ("// The AP's way from STARTUP to C, assembled: in 16 bits up to lcpu_start32, in 32 bits up to\n"
              "// lcpu_start64. It depends on no address: where it has to, its relocation table says so, and\n"
              "// the copier below fills it in.")
    return [Item(BLOB, "remark", [], remark, 0),
            Item(BLOB, "variable", [], "\n".join(text), 1, {"trampoline_blob"}),
            Item(BLOB, "variable", [], size, 2, {"trampoline_blob_bytes"})]


def drop_what_is_defined_before(parts):
    """The copier's declarations of the array, which stands right above it here."""
    made = set().union(*(item.names for item in parts[BLOB]))
    for path in SOURCES:
        parts[path] = [item for item in parts[path] if item.kind != "extern" or not item.names <= made]


# ---- what is needed ----

def reachable(items, roots):
    """The items that the roots need. What has no name (an assertion) is needed by itself."""
    by_name = {}
    for item in items:
        for name in item.names:
            by_name.setdefault(name, []).append(item)
    kept = set()
    todo = [item for item in items if item.kind == "other"] + [i for name in sorted(roots) for i in by_name.get(name, [])]
    while todo:
        item = todo.pop()
        if id(item) in kept or item.kind == "remark":
            continue
        kept.add(id(item))
        todo += [i for name in item.mentions() for i in by_name.get(name, [])]
    return kept


# ---- names ----

def clashes(items):
    """{path: {name: new name}} for what is a file's own, and another file uses the name for something."""
    defined, mentioned = {}, {}
    for item in items:
        for name in item.names:
            defined.setdefault(name, set()).add(item.path)
        for name in item.mentions() | item.names:
            mentioned.setdefault(name, set()).add(item.path)
    renames = {}
    for item in items:
        own = item.path.endswith(".c") and (item.is_static() or item.kind in ("define", "type"))
        for name in item.names if own else ():
            others = (mentioned if item.kind == "define" else defined)[name] - {item.path}
            if others:
                unit = item.path.rpartition("/")[2].partition(".")[0]
                renames.setdefault(item.path, {})[name] = f"{unit.upper() if name.isupper() else unit}_{name}"
    return renames


def replace_code(text, change):
    """Applies a function to what is neither comment nor string."""
    out, at = [], 0
    for match in MIXED.finditer(text):
        out += [change(text[at:match.start()]), match[0]]
        at = match.end()
    return "".join(out) + change(text[at:])


def rename(item, names):
    """A field of that name stays as it is."""
    def change(code):
        return re.sub(r"(?<![\w.])(?<!->)" + WORD.pattern, lambda word: names.get(word[0], word[0]), code)
    item.text = replace_code(item.text, change)
    item.names = {names.get(name, name) for name in item.names}


def rename_clashes(parts):
    renames = clashes([item for path in (*HEADERS, *SOURCES) for item in parts[path]])
    for path, names in renames.items():
        for item in parts[path]:
            rename(item, names)


def public_names(items):
    return {name for item in items for name in item.names}


def words_for_kernels(names):
    """[(pattern, replacement)]: the tree's names as a kernel has them, in code and comments alike."""
    words = {}
    for name in sorted(name.split()[-1] for name in names):  # a tag without its `struct`
        for prefix, new in PREFIXES:
            if name.startswith(prefix):
                words[name] = new + name[len(prefix):]
    rules = [(re.compile(rf"\b{re.escape(old)}\b(?!\.h)"), new) for old, new in TAGS]
    if words:
        every = "|".join(sorted(map(re.escape, words), key=len, reverse=True))
        rules.append((re.compile(rf"\b(?:{every})\b"), lambda match: words[match[0]]))
    for old, new in PREFIXES[:2]:  # what a comment abbreviates, and members of a family: smp_barrier_...
        rules.append((re.compile(rf"\b{old}(?=\w)"), new))
    rules += [(re.compile(r"\b(smp/)?smp\.h\b"), "reveille.h"), (re.compile(r"\b(engine/)?survey\.h\b"), "reveille.h"),
              (re.compile(r"\bsmp\b(?!/)"), "rv")]
    return rules


def translate(text, rules):
    for pattern, new in rules:
        text = pattern.sub(new, text)
    return text


# ---- columns ----

def opened(line, stack):
    """The columns behind the brackets that are still open at the line's end."""
    stack = list(stack)
    for column, character in enumerate(code_of(line)):
        if character in "([{":
            stack.append(column + 1)
        elif character in ")]}" and stack:
            stack.pop()
    return stack


def align_brackets(old, new):
    """A line that began below an open bracket does so again, wherever the bracket has moved."""
    was, now, out = [], [], []
    for before, after in zip(old, new):
        indent = len(before) - len(before.lstrip())
        if was and before.strip() and indent == was[-1] and not before.lstrip().startswith("//"):
            after = " " * now[-1] + after.lstrip()
        out.append(after)
        was, now = opened(before, was), opened(after, now)
    return out


def comment_column(line):
    """Where a comment begins that may stand below another; a line that is a comment may have one in it, too."""
    column = line.rfind("//")
    return column if column > 2 else -1


def split(line):
    column = comment_column(line)
    return (line[:column].rstrip(), line[column:]) if column > 0 else (line, "")


def align_comments(old, new):
    """Comments that stood below one another do so again; right behind the longest line, if they did."""
    columns = [comment_column(line) for line in old]
    out, at = list(new), 0
    while at < len(old):
        end = at + 1
        while end < len(old) and columns[end] == columns[at]:
            end += 1
        was, now = ([split(line)[0] for line in lines[at:end]] for lines in (old, new))
        if columns[at] > 0 and any(was):
            tight = max(map(len, was)) + 1 == columns[at]
            column = max(0 if tight else columns[at], max(map(len, now)) + 1)
            out[at:end] = [f"{code:<{column}}{split(line)[1]}" for code, line in zip(now, new[at:end])]
        at = end
    return out


def align(old, new):
    """Lines of a text whose names have other lengths now."""
    old, new = old.split("\n"), new.split("\n")
    need(len(old) == len(new), "a text has other lines than before")
    return "\n".join(align_comments(old, align_brackets(old, new)))


# ---- writing ----

def make_static(item, public, in_assembler, called_by_assembler):
    """Nothing leaves the C file but what the header declares, and what the host brings."""
    if item.names & (public | HOST_BRINGS) or item.is_static() or item.kind not in ("function", "prototype", "variable", "extern"):
        return
    text = item.text.removeprefix("extern ")
    if item.names <= in_assembler:
        item.text = f"ASSEMBLED extern {text}"
    elif item.names & called_by_assembler:
        item.text = f"__attribute__((used)) static {text}"
    else:
        item.text = f"static {text}"


def write_part(path, items, kept, rules):
    """A file under its banner; nothing, if nothing of it is needed. A remark stays if something behind it does, and
    the comment above a group, whichever of the group is left."""
    out, remarks, comment = [], [], []
    last = None  # item that was looked at, or written
    written = None

    def say(text):
        return align(text, translate(text, rules))

    for item in items:
        if item.kind == "remark":
            remarks.append(item.text)
            continue
        if last is None or item.paragraph != last.paragraph:
            comment = []
        comment, last = item.comment or comment, item
        if id(item) not in kept:
            continue
        for text in dict.fromkeys(remarks[:1] * (written is None) + remarks[-1:]):
            out += ["", say(text)]
        if remarks or written is None or item.paragraph != written.paragraph:
            out.append("")
        out += [say("\n".join(comment))] * bool(comment)
        out += [align(item.before, translate(item.text, rules))]
        remarks, comment, written = [], [], item
    return ["", BANNER, f"// {path}", BANNER, *out] if written else []


def tidy(lines):
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n") + "\n"


def notice(file, version):
    return [f"// {file}: the engine of Reveille {version}, which wakes the processors of an x86-64 machine and knows what",
            "// became of each. Made by `make engine` of the files that the banners name: change those, not this.",
            "// SPDX-License-Identifier: BSD-2-Clause"]


def write_header(version, parts, rules):
    """The public headers, behind the comment that shows how they are used."""
    door = parts[DOOR][0]
    need(door.kind == "remark", f"{DOOR} does not begin with its comment")
    system = sorted({name for path in HEADERS for name in parts[path + "<>"]})
    out = ["#ifndef REVEILLE_H", "#define REVEILLE_H", "", *[f"#include <{name}>" for name in system], "",
           f'#define RV_VERSION "{version}"', "", "#ifdef __cplusplus", 'extern "C" {', "#endif"]
    for path in HEADERS:
        items = [item for item in parts[path] if item is not door]
        out += write_part(path, items, {id(item) for item in items}, rules)
    out += ["", "#ifdef __cplusplus", "}", "#endif", "", "#endif"]
    return tidy([*notice("reveille.h", version), "//", align(door.text, translate(door.text, rules)), "", *out])


GUARDS = """
// Compiled in another way it would fail on an AP only, which has no FPU, no SSE and no canary at FS.
#if !defined(__x86_64__)
#error "reveille.c is for x86-64"
#endif
#if defined(__SSE__)
#error "compile reveille.c with -mgeneral-regs-only, and with -mno-red-zone"
#endif
#if defined(__SSP__) || defined(__SSP_STRONG__) || defined(__SSP_ALL__)
#error "compile reveille.c with -fno-stack-protector"
#endif

// Stands in this file's own assembler.
#define ASSEMBLED __attribute__((visibility("hidden")))"""


# clang's -O2 would make the whole half as big again; with GCC's there is no need.
SMALL = """
#if defined(__clang__) && defined(__OPTIMIZE__)
#pragma clang attribute push(__attribute__((minsize)), apply_to = function)
#endif"""
SMALL_END = """
#if defined(__clang__) && defined(__OPTIMIZE__)
#pragma clang attribute pop
#endif"""


def write_source(version, parts, public, rules):
    items = [item for path in SOURCES for item in parts[path]]
    assembled = [item for item in items if item.kind == "asm"]
    in_assembler = set().union(*(item.names for item in assembled))
    functions = {name for item in items if item.kind == "function" for name in item.names}
    called = {name for item in assembled for name in WORD.findall(item.text)} & functions
    kept = reachable(items, public)
    for item in items:
        make_static(item, public, in_assembler, called)
    system = sorted({name for path in SOURCES for name in parts.get(path + "<>", ())})
    out = ['#include "reveille.h"', "", *[f"#include <{name}>" for name in system], GUARDS]
    for path in SOURCES:
        part = write_part(path, parts[path], kept, rules)
        small = part and path.endswith(".c") and path.startswith(UNHURRIED)
        out += [SMALL, *part, SMALL_END] if small else part
    return tidy([*notice("reveille.c", version), "", *out])


def read_parts(trampoline, root=ROOT):
    """{path: [Item]}, and under "path<>" the headers of the compiler that it includes."""
    parts, before = {}, []
    texts = {path: (root / path).read_text(encoding="utf-8") for path in (*HEADERS, *SOURCES)}
    numbers = numbers_of(text for path, text in texts.items() if path.endswith(".h"))
    for path in (*HEADERS, *SOURCES):
        if path == BLOB:
            parts[path] = blob_of(trampoline, numbers)
        elif path.endswith(".S"):
            parts[path] = asm_of(path, texts[path], numbers)
        else:
            parts[path], quoted, parts[path + "<>"] = items_of(path, texts[path])
            check_order(path, quoted, before)
        before.append(path)
    drop_what_is_defined_before(parts)
    rename_clashes(parts)
    return parts


def make(version, trampoline, root=ROOT):
    """(reveille.h, reveille.c)"""
    check_rooms_are_whole(root)
    parts = read_parts(trampoline, root)
    header_items = [item for path in HEADERS for item in parts[path]]
    public = public_names(header_items)
    rules = words_for_kernels(public)
    header = write_header(version, parts, rules)
    source = write_source(version, parts, public, rules)
    for name, text in (("reveille.h", header), ("reveille.c", source)):
        left = re.search(r".*\b(smp_|SMP_)\w+.*", text)
        need(not left, f"{name} still says {left[0].strip() if left else ''}")
    return header, source


def main(arguments):
    if len(arguments) != 4:
        sys.exit("usage: engine.py VERSION ap_start.bin ap_start.elf FOLDER")
    version, binary, elf, folder = arguments
    folder = pathlib.Path(folder)
    try:
        header, source = make(version, Trampoline(binary, labels_of(elf)))
    except Unfit as error:
        sys.exit(f"engine: {error}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "reveille.h").write_text(header, encoding="utf-8")
    (folder / "reveille.c").write_text(source, encoding="utf-8")
    shutil.copyfile(ROOT / "LICENSE", folder / "LICENSE")
    for file in sorted(KIT.iterdir()):
        text = file.read_text(encoding="utf-8").replace("@VERSION@", version)
        (folder / file.name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
