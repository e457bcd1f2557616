"""Pictures of a guest's screen: a PPM of QEMU's screendump, turned upright; its text by glyphs; the
tiles of its wall; and the same as a PNG for people.

Surprise: text is read by the fonts that the image was built from, so a glyph that is drawn wrong is
a character that is not found.
"""

import glob
import pathlib
import struct
import subprocess
import tempfile
import zlib

import font

INK_TEXT, GREETED, FAILED, ASLEEP = (0xD8D8D8, 0x56B4E9, 0xD55E00, 0x3A3A3A)
COLUMNS, ROWS = 80, 25  # that the font has to leave room for
_INKED = b"0" + 255 * b"1"
UNKNOWN = "\ufffd"
_FONTS = sorted(font.parse(pathlib.Path(path).read_bytes())
                for size in ("8x16", "12x24", "16x32")
                for path in glob.glob(f"/usr/share/consolefonts/spleen-{size}.psfu.gz"))


class Picture:
    def __init__(self, width, height, pixels):
        self.width, self.height, self.pixels = width, height, pixels  # 3 bytes each

    @classmethod
    def read(cls, path):
        magic, width, height, depth, pixels = _fields(pathlib.Path(path).read_bytes())
        assert (magic, depth) == (b"P6", 255)
        assert len(pixels) == 3 * width * height
        return cls(width, height, pixels)

    def pixel(self, x, y):
        at = 3 * (y * self.width + x)
        return int.from_bytes(self.pixels[at:at + 3], "big")

    def upright(self):
        """What somebody sees who turns the panel: its right edge is the top."""
        turned = bytearray(len(self.pixels))
        for row, x in enumerate(range(self.width - 1, -1, -1)):
            start, end = 3 * row * self.height, 3 * (row + 1) * self.height
            for channel in range(3):
                turned[start + channel:end:3] = self.pixels[3 * x + channel::3 * self.width]
        return Picture(self.height, self.width, bytes(turned))

    def type(self):
        """(width, height, scale, glyphs) of the text: the largest that leaves 80 by 25."""
        best = (*_FONTS[0][:2], 1, _FONTS[0][2])
        for width, height, glyphs in _FONTS:
            scale = min(self.width // (width * COLUMNS), self.height // (height * ROWS))
            if scale >= 1 and height * scale > best[1] * best[2]:
                best = (width, height, scale, glyphs)
        return best

    def text(self):
        """The text's rows, blanks at their ends left out."""
        width, height, scale, glyphs = self.type()
        characters = {_bits(glyph, width, height): chr(font.FIRST + i)
                      for i, glyph in enumerate(glyphs)}
        rows = self._text_rows()
        found = []
        for top in range(0, rows * height * scale, height * scale):
            lines = [self._ink(top + y * scale, scale) for y in range(height)]
            found.append("".join(
                characters.get(tuple(line[left:left + width] for line in lines), UNKNOWN)
                for left in range(0, self.width // (width * scale) * width, width)).rstrip())
        return found

    def _text_rows(self):
        _, height, scale, _ = self.type()
        rows = self.height // (height * scale)
        return max(rows * 2 // 5, min(rows, 8))

    def _ink(self, y, step):
        """One line of pixels as "0" and "1", every step-th: every ink of a text has some green."""
        line = self.pixels[3 * y * self.width:3 * (y + 1) * self.width]
        return line[1::3 * step].translate(_INKED).decode()

    def tiles(self):
        """The colour of every tile on the wall, row by row: what stands below a black line."""
        _, height, scale, _ = self.type()
        high = height * scale
        first = self._text_rows() * high + high // 2 + 5 * high // 2
        legend = high if high > 16 else 2 * high  # two lines on small screens
        last = self.height - legend - high // 2 - high // 2
        lower = self.height - self._text_rows() * high
        right = self.width - min(lower // 2, self.width // 3)
        colours, above = [], b""
        for y in range(first, last):
            line = self.pixels[3 * y * self.width:3 * (y * self.width + right)]
            if line.strip(b"\0") and not above.strip(b"\0"):
                colours += _runs(line)
            above = line
        return colours

    def code(self):
        """What a reader of QR codes finds."""
        with tempfile.NamedTemporaryFile(suffix=".png") as file:
            self.png(pathlib.Path(file.name))
            return subprocess.run(["zbarimg", "-q", "--raw", file.name], check=True,
                                  capture_output=True, text=True).stdout.rstrip("\n")

    def png(self, path):
        rows = b"".join(b"\0" + self.pixels[3 * y * self.width:3 * (y + 1) * self.width]
                        for y in range(self.height))
        header = struct.pack(">2I5B", self.width, self.height, 8, 2, 0, 0, 0)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header)
                         + _chunk(b"IDAT", zlib.compress(rows, 9)) + _chunk(b"IEND", b""))


def _fields(data):
    words, at = [], 0
    while len(words) < 4:
        end = at
        while not data[end:end + 1].isspace():
            end += 1
        words.append(data[at:end])
        at = end + 1
    return words[0], int(words[1]), int(words[2]), int(words[3]), data[at:]


def _bits(glyph, width, height):
    row_bytes = (width + 7) // 8
    rows = (glyph[y * row_bytes:(y + 1) * row_bytes] for y in range(height))
    return tuple("".join(f"{byte:08b}" for byte in row)[:width] for row in rows)


def _runs(line):
    """The colour at the left end of each run that is not black."""
    colours, before = [], b"\0\0\0"
    for x in range(0, len(line), 3):
        pixel = line[x:x + 3]
        if any(pixel) and not any(before):
            colours.append(int.from_bytes(pixel, "big"))
        before = pixel
    return colours


def _chunk(kind, data):
    return (struct.pack(">I", len(data)) + kind + data
            + struct.pack(">I", zlib.crc32(kind + data)))
