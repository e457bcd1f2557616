#!/usr/bin/env python3
"""Console fonts (PSF1 and PSF2, plain or gzipped) to a C table of the printable ASCII characters.

    font.py FONT... > font_data.c

The glyph of a character is found by the font's own Unicode table where it has one, else by its
number. Every length in a file is believed only after a check.
"""

import gzip
import io
import re
import struct
import sys

FIRST, LAST = 0x20, 0x7E
PSF1_MAGIC, PSF2_MAGIC = b"\x36\x04", b"\x72\xb5\x4a\x86"
MAX_BYTES = 16 << 20


class BadFont(Exception):
    """The file is no console font, or lies about itself."""


def need(condition, message):
    if not condition:
        raise BadFont(message)


def unpack(data):
    """The file's bytes, unzipped."""
    if data[:2] != b"\x1f\x8b":
        return data
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, EOFError) as e:
        raise BadFont(f"damaged gzip: {e}") from None
    need(len(data) <= MAX_BYTES, "unzips to more than 16 MiB")
    return data


def psf1_unicode(table, glyphs):
    places, at, glyph = {}, 0, 0
    while glyph < glyphs:
        need(at + 2 <= len(table), "its Unicode table ends early")
        (unit,) = struct.unpack_from("<H", table, at)
        at += 2
        if unit == 0xFFFF:
            glyph += 1
        elif unit < 0xFFFE:
            places.setdefault(unit, glyph)
    return places


def psf2_unicode(table, glyphs):
    parts = table.split(b"\xff")
    need(len(parts) > glyphs, "its Unicode table ends early")
    places = {}
    for glyph, part in enumerate(parts[:glyphs]):
        for character in part.split(b"\xfe")[0].decode("utf-8", "replace"):
            places.setdefault(ord(character), glyph)
    return places


def parse(data):
    """(width, height, [glyph bytes of 0x20..0x7e]); a glyph's rows are whole bytes, the left pixel highest."""
    data = unpack(data)
    if data[:2] == PSF1_MAGIC:
        need(len(data) >= 4, "too short for a header")
        mode, height = data[2], data[3]
        need(height > 0, "its glyphs have no height")
        width, count, start, size = 8, 512 if mode & 1 else 256, 4, height
        unicode_of = psf1_unicode if mode & 6 else None
    elif data[:4] == PSF2_MAGIC:
        need(len(data) >= 32, "too short for a header")
        _, start, flags, count, size, height, width = struct.unpack_from("<7I", data, 4)
        need(0 < width <= 64 and 0 < height <= 128, f"glyphs of {width}x{height}")
        need(size == (width + 7) // 8 * height, f"{size} bytes for a glyph of {width}x{height}")
        need(32 <= start <= len(data), "its glyphs begin beyond the file")
        need(0 < count <= 65536, f"{count} glyphs")
        unicode_of = psf2_unicode if flags & 1 else None
    else:
        raise BadFont("neither PSF1 nor PSF2")
    end = start + count * size
    need(end <= len(data), "its glyphs reach beyond the file")
    places = unicode_of(data[end:], count) if unicode_of else {c: c for c in range(count)}
    glyphs = []
    for code in range(FIRST, LAST + 1):
        need(code in places and places[code] < count, f"it has no glyph for {chr(code)!r}")
        at = start + places[code] * size
        glyphs.append(data[at:at + size])
    return width, height, glyphs


def pack(width, height, glyph):
    """(bits of the rows that differ from the one above, those rows) of one glyph."""
    row_bytes = (width + 7) // 8
    above, changes, kept = bytes(row_bytes), 0, b""
    for y in range(height):
        row = glyph[y * row_bytes:(y + 1) * row_bytes]
        if row != above:
            changes |= 1 << y
            kept += row
        above = row
    return changes, kept


def source(fonts):
    """The C table of [(name, width, height, glyphs)]."""
    lines = ["// Made by tools/font.py. The glyphs are Spleen's (BSD-2-Clause, see LICENSES.md).",
             '#include "font.h"', ""]
    for name, width, height, glyphs in fonts:
        need(width <= 16 and height <= 32, f"{width}x{height} is larger than font.h has room for")
        table, rows = [], b""
        for code, glyph in enumerate(glyphs, FIRST):
            changes, kept = pack(width, height, glyph)
            table.append(f"    {{0x{changes:08x}, {len(rows)}}}, // 0x{code:02x}")
            rows += kept
        lines += [f"static const struct font_glyph {name}_glyphs[] = {{", *table, "};",
                  f"static const uint8_t {name}_rows[] = {{"]
        lines += [f"    {', '.join(f'0x{byte:02x}' for byte in rows[at:at + 16])},"
                  for at in range(0, len(rows), 16)]
        lines += ["};", ""]
    lines.append("const struct font fonts[FONT_COUNT] = {")
    lines += [f"    {{{width}, {height}, {name}_glyphs, {name}_rows}},"
              for name, width, height, _ in fonts]
    lines += ["};", f'_Static_assert(FONT_COUNT == {len(fonts)}, "font.h counts them");', ""]
    return "\n".join(lines)


def main(paths):
    if not paths:
        sys.exit("font: no console font is installed: `make setup` installs what is missing")
    fonts = []
    for path in paths:
        with open(path, "rb") as file:
            try:
                width, height, glyphs = parse(file.read(MAX_BYTES))
            except BadFont as e:
                sys.exit(f"font: {path}: {e}")
        fonts.append((re.sub(r"\W", "_", f"font_{width}x{height}"), width, height, glyphs))
    fonts.sort(key=lambda font: font[1])
    try:
        sys.stdout.write(source(fonts))
    except BadFont as e:
        sys.exit(f"font: {e}")


if __name__ == "__main__":
    main(sys.argv[1:])
