// Fonts: the printable ASCII characters of Debian's Spleen in three sizes, converted at build time
// (tools/font.py). Whole-number scaling makes the larger ones.
#pragma once

#include <stdint.h>

#define FONT_FIRST ' '
#define FONT_LAST  '~'
#define FONT_COUNT 3u // smallest first

struct font {
    uint8_t width, height; // pixels
    const uint8_t *glyphs; // FONT_FIRST..FONT_LAST; rows of whole bytes, the left pixel highest
};

extern const struct font fonts[FONT_COUNT];
