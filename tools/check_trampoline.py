#!/usr/bin/env python3
"""Proves that the trampoline's object is plain bytes: what is copied to another page still works.

No relocation, no undefined symbol, no bytes outside .text, the labels that the field knows, and
sizes that fit a page. Surprise: a flat link at 0 would resolve a relocation in silence and leave an
address that only holds at 0; so it is the object that is examined, never the linked file.
"""

import struct
import sys

MAX_BYTES = 4096
MAX_CODE_BYTES = 576  # nine cache lines; 512 until a processor had to be asked for its NX

ET_REL, EM_X86_64 = 1, 62
SHT_PROGBITS, SHT_SYMTAB, SHT_RELA, SHT_NOBITS, SHT_REL = 1, 2, 4, 8, 9
SHF_ALLOC = 0x2
SHN_UNDEF, SHN_COMMON = 0, 0xFFF2
STT_SECTION, STT_FILE = 3, 4

ORDER = ("x86_start16_begin", "x86_start16_end", "lcpu_start32", "lcpu_start64")
DATA_LABELS = ("x86_bpt_pml4_addr", "lcpus")


class Unproved(Exception):
    """A promise that the object does not keep."""


def need(condition, message):
    if not condition:
        raise Unproved(message)


def text_at(table, offset):
    end = table.find(b"\0", offset)
    need(0 <= offset < len(table) and end >= 0, "a name reaches beyond its table")
    return table[offset:end].decode("ascii", "replace")


class Section:
    def __init__(self, file, offset):
        (self.name_offset, self.type, self.flags, _, self.offset, self.size, self.link, self.info,
         _, self.entry_bytes) = struct.unpack_from("<IIQQQQIIQQ", file, offset)
        if self.type == SHT_NOBITS:
            self.bytes = b""
        else:
            need(self.offset + self.size <= len(file), "a section reaches beyond the file")
            self.bytes = file[self.offset : self.offset + self.size]
        self.name = ""


def read_sections(file):
    need(file[:6] == b"\x7fELF\x02\x01", "not a little-endian ELF64 file")
    need(len(file) >= 64, "the ELF header is cut")
    kind, machine = struct.unpack_from("<HH", file, 16)
    need(kind == ET_REL and machine == EM_X86_64, "not a relocatable x86-64 object")
    (table,) = struct.unpack_from("<Q", file, 40)
    entry, count, names = struct.unpack_from("<HHH", file, 58)
    need(entry == 64 and table + 64 * count <= len(file), "the section headers are cut")
    sections = [Section(file, table + 64 * i) for i in range(count)]
    need(names < count, "no section names")
    for section in sections:
        section.name = text_at(sections[names].bytes, section.name_offset)
    return sections


def read_symbols(sections):
    """All symbols but the null one, as (name, value, section index)."""
    symbols = []
    for table in sections:
        if table.type != SHT_SYMTAB:
            continue
        need(table.link < len(sections), "a symbol table has no names")
        names = sections[table.link].bytes
        for offset in range(24, table.size - 23, 24):
            name, info, _, index, value, _ = struct.unpack_from("<IBBHQQ", table.bytes, offset)
            if info & 0xF not in (STT_SECTION, STT_FILE):
                symbols.append((text_at(names, name), value, index))
    return symbols


def prove_plain(sections, symbols):
    for section in sections:
        if section.type in (SHT_REL, SHT_RELA) and section.size > 0:
            need(section.info < len(sections), f"{section.name} applies to no section")
            target = sections[section.info]
            # Debug information is relocated by the linker, and is not copied.
            need(
                not target.flags & SHF_ALLOC,
                f"{section.size // section.entry_bytes if section.entry_bytes else '?'} "
                f"relocations against {target.name}",
            )
        if section.flags & SHF_ALLOC and section.name != ".text":
            need(section.size == 0, f"{section.name} holds {section.size} bytes; only .text may")
    for name, _, index in symbols:
        need(index not in (SHN_UNDEF, SHN_COMMON), f"undefined symbol {name}")


def prove_labels(text_index, text, symbols):
    """Returns the number of bytes of code, or None where the source does not mark it."""
    labels = {}
    for name, value, index in symbols:
        if index == text_index:
            need(value <= text.size, f"{name} at {value} is outside .text")
            labels[name] = value
    for name in ORDER + DATA_LABELS:
        need(name in labels, f"no label {name} in .text")
    need(labels[ORDER[0]] == 0, f"{ORDER[0]} is at {labels[ORDER[0]]}, not at 0")
    places = [labels[name] for name in ORDER]
    need(
        places[0] < places[1] <= places[2] < places[3],
        "the stages are not in order: "
        + ", ".join(f"{name} {labels[name]}" for name in ORDER),
    )
    need("image_end" in labels, "no label image_end in .text")
    need(
        labels["image_end"] == text.size,
        f"image_end is at {labels['image_end']}, but .text has {text.size} bytes",
    )
    if "code_begin" not in labels or "code_end" not in labels:
        return None
    code = labels["code_end"] - labels["code_begin"]
    need(0 < code <= MAX_CODE_BYTES, f"{code} bytes of code, not 1 to {MAX_CODE_BYTES}")
    return code


def prove_patches(text, symbols):
    """Every entry of the relocation table names a place where the assembler left its target: else an
    instruction was encoded shorter than the macro believes, and the copier would overwrite its neighbour."""
    labels = {name: value for name, value, _ in symbols}
    need("patches" in labels, "no label patches in .text")
    for at in range(labels["patches"], labels["image_end"], 6):
        place, width, target = struct.unpack_from("<HHH", text.bytes, at)
        held = int.from_bytes(text.bytes[place : place + width], "little")
        need(held == target, f"the operand at {place:#x} holds {held:#x}, its entry says {target:#x}")


def main(arguments):
    if len(arguments) != 2:
        print("usage: check_trampoline.py OBJECT", file=sys.stderr)
        return 2
    path = arguments[1]
    try:
        with open(path, "rb") as file:
            sections = read_sections(file.read())
        symbols = read_symbols(sections)
        index = next((i for i, s in enumerate(sections) if s.name == ".text"), None)
        need(index is not None, "no .text section")
        text = sections[index]
        need(text.type == SHT_PROGBITS, ".text holds no bytes")
        need(0 < text.size <= MAX_BYTES, f".text has {text.size} bytes, not 1 to {MAX_BYTES}")
        prove_plain(sections, symbols)
        code = prove_labels(index, text, symbols)
        prove_patches(text, symbols)
    except (Unproved, OSError, struct.error) as error:
        print(f"check_trampoline: {path}: {error}", file=sys.stderr)
        return 1
    marked = "" if code is None else f" code={code} limit={MAX_CODE_BYTES}"
    print(f"trampoline: bytes={text.size} limit={MAX_BYTES}{marked} relocations=0 undefined=0")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
