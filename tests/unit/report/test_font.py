"""tools/font.py: both formats, plain and gzipped; files that end early or lie about themselves."""

import gzip
import pathlib
import random
import struct
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "tools"))

import font  # noqa: E402

PRINTABLE = range(font.FIRST, font.LAST + 1)


def glyph(code, size):
    return bytes((code + i) & 0xFF for i in range(size))


def psf1(mode=0, height=16, glyphs=None, table=b""):
    count = 512 if mode & 1 else 256
    glyphs = glyphs or b"".join(glyph(code, height) for code in range(count))
    return struct.pack("<2s2B", font.PSF1_MAGIC, mode, height) + glyphs + table


def psf2(width=12, height=24, count=128, start=32, flags=0, size=None, glyphs=None, table=b""):
    size = (width + 7) // 8 * height if size is None else size
    glyphs = b"".join(glyph(code, size) for code in range(count)) if glyphs is None else glyphs
    return struct.pack("<4s7I", font.PSF2_MAGIC, 0, start, flags, count, size, height,
                       width) + glyphs + table


def test_psf1_by_number():
    assert font.parse(psf1()) == (8, 16, [glyph(code, 16) for code in PRINTABLE])


def test_psf1_by_its_table():
    # Glyph 1 is every printable character, after a unit that means nothing.
    table = struct.pack("<H", 0xFFFF) + b"".join(struct.pack("<H", c) for c in PRINTABLE)
    table += struct.pack("<H", 0xFFFF) * 255
    assert font.parse(psf1(mode=2, table=table))[2] == [glyph(1, 16)] * len(PRINTABLE)


def test_psf2_by_its_table():
    table = b"\xff".join(chr(127 - i).encode() for i in range(128)) + b"\xff"
    width, height, glyphs = font.parse(psf2(flags=1, table=table))
    assert (width, height) == (12, 24)
    assert glyphs == [glyph(127 - code, 48) for code in PRINTABLE]


def test_gzipped_is_the_same():
    assert font.parse(gzip.compress(psf2())) == font.parse(psf2())


@pytest.mark.parametrize("whole", [psf1(), psf2(), gzip.compress(psf2())],
                         ids=["psf1", "psf2", "gzip"])
def test_every_shorter_file_is_refused(whole):
    for length in range(len(whole) - 1):
        with pytest.raises(font.BadFont):
            # A glyph behind '~' may be missing from what is read, but not from the file.
            font.parse(whole[:length])


@pytest.mark.parametrize("data", [
    b"", b"\x00" * 64, psf1(height=0), psf2(width=0), psf2(width=65), psf2(height=129),
    psf2(size=47), psf2(start=31), psf2(start=1 << 31), psf2(count=0, glyphs=b""),
    psf2(count=1 << 31, glyphs=b""), psf2(count=64), psf2(flags=1, table=b"\xff" * 127),
    psf1(mode=2, table=b"\xff\xff" * 255), gzip.compress(bytes(font.MAX_BYTES + 1))])
def test_a_font_that_lies_is_refused(data):
    with pytest.raises(font.BadFont):
        font.parse(data)


def test_the_c_table_counts_and_sorts():
    text = font.source([("font_8x16", *font.parse(psf1()))])
    assert "const struct font fonts[FONT_COUNT]" in text
    assert text.count("// 0x") == len(PRINTABLE)


def unpack(changes, kept, height, row_bytes):
    """What report/screen/font.c makes of a packed glyph."""
    rows, above, at = b"", bytes(row_bytes), 0
    for y in range(height):
        if changes >> y & 1:
            above = kept[at:at + row_bytes]
            at += row_bytes
        rows += above
    assert at == len(kept)
    return rows


@pytest.mark.parametrize("glyph", [
    bytes(32), b"\xff" * 32, bytes(range(32)), b"\0\0" * 5 + b"\x18\0" * 6 + bytes(10)])
def test_packing_loses_nothing(glyph):
    changes, kept = font.pack(16, 16, glyph)
    assert unpack(changes, kept, 16, 2) == glyph
    assert len(kept) <= len(glyph)


def test_a_font_that_is_too_large_is_refused():
    with pytest.raises(font.BadFont):
        font.source([("font", 16, 33, [bytes(66)] * len(PRINTABLE))])


def test_random_damage_is_refused_or_read_whole():
    """What a fuzzer would do, with a seed that stays."""
    dice = random.Random(4)
    table = b"\xff".join(chr(127 - i).encode() for i in range(128)) + b"\xff"
    for _ in range(3000):
        data = bytearray(dice.choice([psf1(), psf2(), psf2(flags=1, table=table), psf1(mode=3)]))
        for _ in range(dice.randint(1, 6)):
            data[dice.randrange(min(len(data), dice.choice([8, 40, len(data)])))] = dice.randrange(256)
        del data[dice.randrange(1, len(data) + 1):]
        try:
            width, height, glyphs = font.parse(bytes(data))
        except font.BadFont:
            continue
        assert len(glyphs) == len(PRINTABLE)
        assert {len(g) for g in glyphs} == {(width + 7) // 8 * height}


def test_no_font_at_all_is_refused_and_says_what_to_do(capsys):
    with pytest.raises(SystemExit) as e:
        font.main([])
    assert "make setup" in str(e.value) and capsys.readouterr().out == ""
