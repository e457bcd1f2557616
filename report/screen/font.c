// A glyph, row by row.

#include "font.h"

#include <stdbool.h>

void font_unpack(const struct font *font, char character, uint8_t rows[FONT_BYTES_MOST])
{
    const bool known = character >= FONT_FIRST && character <= FONT_LAST;
    const struct font_glyph *glyph = &font->glyphs[known ? character - FONT_FIRST : 0];
    const uint32_t row_bytes = (font->width + 7u) / 8u;
    const uint8_t *kept = font->rows + glyph->at;

    for (uint32_t y = 0; y < font->height; y++) {
        const bool changes = glyph->changes >> y & 1;
        for (uint32_t i = 0; i < row_bytes; i++, rows++)
            *rows = changes ? *kept++ : y > 0 ? rows[-(int32_t)row_bytes] : 0;
    }
}
