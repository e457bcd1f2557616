// Fonts: the printable ASCII characters of Debian's Spleen in three sizes, converted at build time
// (tools/font.py). Whole-number scaling makes the larger ones.
// Surprise: a glyph is kept as the rows that differ from the one above them, which is a third of
// it.
#pragma once

#include <stdint.h>

#define FONT_FIRST      ' '
#define FONT_LAST       '~'
#define FONT_COUNT      3u // smallest first
#define FONT_ROWS_MOST  32u
#define FONT_BYTES_MOST (FONT_ROWS_MOST * 2u)

struct font_glyph {
    uint32_t changes; // bit y: row y is not the row above; above the first is an empty one
    uint32_t at;      // of its first kept row, in the font's rows
};

struct font {
    uint8_t width, height;           // pixels; at most 16 and FONT_ROWS_MOST
    const struct font_glyph *glyphs; // FONT_FIRST..FONT_LAST
    const uint8_t *rows;             // of whole bytes, the left pixel highest
};

extern const struct font fonts[FONT_COUNT];

// The rows of a character, one behind the other; what the font has not is a blank.
void font_unpack(const struct font *font, char character, uint8_t rows[FONT_BYTES_MOST]);
