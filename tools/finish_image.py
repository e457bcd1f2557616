#!/usr/bin/env python3
"""Finishes the UEFI image that objcopy made, and proves that it is what the build promises.

Sets what objcopy leaves open: section rights, NX_COMPAT, the time stamp (SOURCE_DATE_EPOCH), the
checksum. Surprise: the proofs read the finished bytes anew; nothing is written unless all hold.
Names of fields are those of the PE/COFF specification.
"""

import os
import struct
import sys

MAX_BYTES = 256 * 1024
PAGE = 4096

MACHINE_X64 = 0x8664
FILE_RELOCS_STRIPPED = 0x0001
FILE_LARGE_ADDRESS_AWARE = 0x0020
MAGIC_PE32_PLUS = 0x20B
SUBSYSTEM_EFI_APPLICATION = 10
DLL_DYNAMIC_BASE = 0x0040
DLL_NX_COMPAT = 0x0100
DIRECTORY_BASE_RELOCATION = 5

SCN_CODE = 0x00000020
SCN_INITIALIZED_DATA = 0x00000040
SCN_UNINITIALIZED_DATA = 0x00000080
SCN_EXECUTE = 0x20000000
SCN_READ = 0x40000000
SCN_WRITE = 0x80000000

CODE = SCN_CODE | SCN_EXECUTE | SCN_READ
CONSTANT = SCN_INITIALIZED_DATA | SCN_READ
DATA = SCN_INITIALIZED_DATA | SCN_READ | SCN_WRITE
CLEARED = SCN_UNINITIALIZED_DATA | SCN_READ | SCN_WRITE  # by the image's entry; no bytes in the file

# Every section that the linker script can make. The entry only reads .dynamic and .relr.
RIGHTS = {
    ".text": CODE,
    ".rodata": CONSTANT,
    ".reloc": CONSTANT,
    ".sbat": CONSTANT,
    ".data": DATA,
    ".dynamic": CONSTANT,
    ".relr": CONSTANT,
    ".dynsym": CONSTANT,
    ".bss": CLEARED,
}
REQUIRED = (".text", ".rodata", ".data", ".dynamic", ".reloc", ".sbat")

# ELF, inside .dynamic and .relr.
DT_NULL, DT_RELASZ, DT_RELRSZ, DT_RELR, DT_RELRENT = 0, 8, 35, 36, 37
RELR_BYTES = 8
RELR_MAP_BITS = 63


class Unproved(Exception):
    """A promise that the image does not keep."""


def need(condition, message):
    if not condition:
        raise Unproved(message)


class Section:
    def __init__(self, image, header):
        name, self.virtual_size, self.rva, self.raw_size, self.raw_offset = struct.unpack_from(
            "<8sIIII", image, header
        )
        self.name = name.rstrip(b"\0").decode("ascii", "replace")
        self.header = header
        (self.rights,) = struct.unpack_from("<I", image, header + 36)
        self.end = self.rva + self.virtual_size

    def bytes_of(self, image):
        return image[self.raw_offset : self.raw_offset + min(self.raw_size, self.virtual_size)]


class Headers:
    """Where things stand in the file; the fields themselves are read where they are checked."""

    def __init__(self, image):
        need(len(image) >= 64 and image[:2] == b"MZ", "no DOS header")
        (pe,) = struct.unpack_from("<I", image, 0x3C)
        need(pe + 24 + 112 <= len(image) and image[pe : pe + 4] == b"PE\0\0", "no PE header")
        self.coff = pe + 4
        self.optional = pe + 24
        machine, count, _, self.symbol_table, self.symbols, optional_bytes, self.characteristics = (
            struct.unpack_from("<HHIIIHH", image, self.coff)
        )
        (magic,) = struct.unpack_from("<H", image, self.optional)
        need(machine == MACHINE_X64, f"machine 0x{machine:x} is not x86-64")
        need(magic == MAGIC_PE32_PLUS, f"magic 0x{magic:x} is not PE32+")
        table = self.optional + optional_bytes
        need(table + 40 * count <= len(image), f"{count} section headers reach beyond the file")
        self.sections = [Section(image, table + 40 * i) for i in range(count)]
        self.table_end = table + 40 * count

    def section(self, name):
        return next((s for s in self.sections if s.name == name), None)

    def dword(self, image, offset):
        return struct.unpack_from("<I", image, self.optional + offset)[0]


ENTRY_POINT, SECTION_ALIGNMENT, FILE_ALIGNMENT = 16, 32, 36
SIZE_OF_IMAGE, SIZE_OF_HEADERS, CHECKSUM = 56, 60, 64
SUBSYSTEM, DLL_CHARACTERISTICS, DIRECTORIES = 68, 70, 112


def checksum(image, field):
    """The sum of all 16-bit words, carries added back in, the field as 0, plus the length."""
    data = bytes(image[:field]) + bytes(4) + bytes(image[field + 4 :])
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"<{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total + len(image)


def finish(image, time_stamp):
    headers = Headers(image)
    characteristics = headers.characteristics | FILE_LARGE_ADDRESS_AWARE
    struct.pack_into("<I", image, headers.coff + 4, time_stamp)
    if headers.symbols == 0:
        struct.pack_into("<I", image, headers.coff + 8, 0)
    struct.pack_into("<H", image, headers.coff + 18, characteristics)
    # The image is linked at 0 and moved by every loader: it lives with any base.
    struct.pack_into(
        "<H", image, headers.optional + DLL_CHARACTERISTICS, DLL_NX_COMPAT | DLL_DYNAMIC_BASE
    )
    for section in headers.sections:
        need(section.name in RIGHTS, f"section {section.name} is not known here")
        struct.pack_into("<I", image, section.header + 36, RIGHTS[section.name])
    field = headers.optional + CHECKSUM
    struct.pack_into("<I", image, field, checksum(image, field))


def prove_headers(image, headers):
    need(len(image) <= MAX_BYTES, f"{len(image)} bytes, more than {MAX_BYTES}")
    need(headers.symbols == 0 and headers.symbol_table == 0, "a symbol table is left")
    need(not headers.characteristics & FILE_RELOCS_STRIPPED, "marked as not relocatable")
    subsystem, dll = struct.unpack_from("<HH", image, headers.optional + SUBSYSTEM)
    need(subsystem == SUBSYSTEM_EFI_APPLICATION, f"subsystem {subsystem} is no EFI application")
    need(dll == DLL_NX_COMPAT | DLL_DYNAMIC_BASE, f"DllCharacteristics 0x{dll:x}")
    alignment = headers.dword(image, SECTION_ALIGNMENT)
    need(alignment == PAGE, f"SectionAlignment {alignment}, not {PAGE}")
    field = headers.optional + CHECKSUM
    need(headers.dword(image, CHECKSUM) == checksum(image, field), "wrong checksum")


def prove_sections(image, headers):
    size_of_headers = headers.dword(image, SIZE_OF_HEADERS)
    file_alignment = headers.dword(image, FILE_ALIGNMENT)
    need(headers.table_end <= size_of_headers <= PAGE, f"SizeOfHeaders {size_of_headers}")
    for name in REQUIRED:
        need(headers.section(name) is not None, f"no {name} section")
    end = PAGE
    raw_end = size_of_headers
    for s in headers.sections:
        need(s.virtual_size > 0, f"{s.name} is empty")
        need(s.rva % PAGE == 0, f"{s.name} at 0x{s.rva:x} is not on a page")
        need(s.rva >= end, f"{s.name} at 0x{s.rva:x} overlaps what is before it")
        if s.rights == CLEARED:
            need(s.raw_size == 0, f"{s.name} has bytes in the file")
        else:
            need(s.raw_size >= s.virtual_size,
                 f"{s.name} has fewer bytes in the file than in memory")
        if s.raw_size > 0:
            need(s.raw_offset >= raw_end, f"{s.name} overlaps what is before it in the file")
            need(s.raw_offset % file_alignment == 0, f"{s.name} is not aligned in the file")
            raw_end = s.raw_offset + s.raw_size
        need(raw_end <= len(image), f"{s.name} reaches beyond the file")
        both = SCN_WRITE | SCN_EXECUTE
        need(s.rights & both != both, f"{s.name} is both writable and executable")
        need(s.rights == RIGHTS.get(s.name), f"{s.name} has rights 0x{s.rights:08x}")
        end = (s.end + PAGE - 1) // PAGE * PAGE
    size_of_image = headers.dword(image, SIZE_OF_IMAGE)
    need(size_of_image == end, f"SizeOfImage 0x{size_of_image:x}, not 0x{end:x}")
    entry = headers.dword(image, ENTRY_POINT)
    text = headers.section(".text")
    need(text.rva <= entry < text.end, f"entry point 0x{entry:x} is not in .text")
    need(headers.section(".sbat").bytes_of(image).startswith(b"sbat,1,"), ".sbat is no SBAT")


def prove_base_relocations(image, headers):
    """A loader walks these blocks and refuses the image for a page outside it."""
    reloc = headers.section(".reloc")
    directory = DIRECTORIES + 8 * DIRECTORY_BASE_RELOCATION
    rva, size = headers.dword(image, directory), headers.dword(image, directory + 4)
    need(rva == reloc.rva and 8 <= size <= reloc.virtual_size, "the directory misses .reloc")
    blocks = image[reloc.raw_offset : reloc.raw_offset + size]
    offset = 0
    while offset < size:
        need(offset + 8 <= size, ".reloc ends inside a block")
        page, block = struct.unpack_from("<II", blocks, offset)
        need(8 <= block <= size - offset and block % 4 == 0, f".reloc has a block of {block} bytes")
        need(page % PAGE == 0, f".reloc names 0x{page:x}, not a page")
        limit = headers.dword(image, SIZE_OF_IMAGE)
        need(page < limit, f".reloc names 0x{page:x}, beyond the image")
        offset += block


def relocated_words(entries):
    """The addresses that RELR entries name: an even one is an address, an odd one a map of the 63
    words behind the last."""
    word = None
    for entry in entries:
        if entry % 2 == 0:
            yield entry
            word = entry + 8
            continue
        need(word is not None, ".relr begins with a map")
        yield from (word + 8 * bit for bit in range(RELR_MAP_BITS) if entry >> (bit + 1) & 1)
        word += 8 * RELR_MAP_BITS


def prove_self_relocation(image, headers):
    """What the entry will do: only add the base, and only to .data."""
    dynamic = headers.section(".dynamic").bytes_of(image)
    tags = {}
    for tag, value in struct.iter_unpack("<QQ", dynamic[: len(dynamic) // 16 * 16]):
        if tag == DT_NULL:
            break
        tags[tag] = value
    else:
        raise Unproved(".dynamic has no end")
    need(tags.get(DT_RELASZ, 0) == 0, "relocations that are not RELR")
    relr, size = tags.get(DT_RELR, 0), tags.get(DT_RELRSZ, 0)
    if size == 0:
        return
    section = headers.section(".relr")
    need(section is not None, "relocations, but no .relr section")
    need(section.rva == relr and size <= section.virtual_size, "DT_RELR is not .relr")
    need(tags.get(DT_RELRENT) == RELR_BYTES and size % RELR_BYTES == 0, "odd .relr entries")
    data = headers.section(".data")
    limit = headers.dword(image, SIZE_OF_IMAGE)
    entries = [entry for entry, in struct.iter_unpack("<Q", section.bytes_of(image)[:size])]
    for place in relocated_words(entries):
        need(place % 8 == 0 and data.rva <= place <= data.end - 8,
             f"relocation at 0x{place:x}, outside .data")
        (value,) = struct.unpack_from("<Q", data.bytes_of(image), place - data.rva)
        need(value <= limit, f"relocation at 0x{place:x} points to 0x{value:x}")


def main(arguments):
    if len(arguments) != 2:
        print("usage: finish_image.py IMAGE", file=sys.stderr)
        return 2
    path = arguments[1]
    try:
        time_stamp = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
        need(0 <= time_stamp < 1 << 32, "SOURCE_DATE_EPOCH does not fit into 32 bits")
        with open(path, "rb") as file:
            image = bytearray(file.read())
        finish(image, time_stamp)
        headers = Headers(image)
        prove_headers(image, headers)
        prove_sections(image, headers)
        prove_base_relocations(image, headers)
        prove_self_relocation(image, headers)
        with open(path, "wb") as file:
            file.write(image)
    except (Unproved, OSError, ValueError, struct.error) as error:
        print(f"finish_image: {path}: {error}", file=sys.stderr)
        return 1
    sizes = " ".join(f"{s.name}={s.virtual_size}" for s in headers.sections)
    print(f"{os.path.basename(path)}: bytes={len(image)} limit={MAX_BYTES} {sizes}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
