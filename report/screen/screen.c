// The text console. Surprise: a line that is drawn twice in the same place costs nothing the second
// time, and a scrolled screen costs only the characters that differ.

#include "screen.h"

#include "mem.h"
#include "palette.h"

enum tone { TONE_PLAIN, TONE_GOOD, TONE_BAD, TONE_FAINT };

static const color inks[] = {[TONE_PLAIN] = INK_TEXT,
                             [TONE_GOOD] = INK_GOOD,
                             [TONE_BAD] = INK_BAD,
                             [TONE_FAINT] = INK_FAINT};

struct type screen_type(const struct canvas *canvas)
{
    struct type best = {&fonts[0], 1, fonts[0].width, fonts[0].height};

    for (size_t i = 0; i < FONT_COUNT; i++) {
        const uint32_t wide = canvas->width / (fonts[i].width * SCREEN_COLUMNS_LEAST);
        const uint32_t high = canvas->height / (fonts[i].height * SCREEN_ROWS_LEAST);
        const uint32_t scale = wide < high ? wide : high;
        if (scale >= 1 && fonts[i].height * scale > best.height)
            best = (struct type){&fonts[i], scale, fonts[i].width * scale, fonts[i].height * scale};
    }
    return best;
}

static uint32_t columns_of(const struct canvas *canvas, const struct type *type)
{
    return canvas->width / type->width;
}

size_t screen_bytes(const struct canvas *canvas, uint32_t height)
{
    const struct type type = screen_type(canvas);
    return 2 * sizeof(struct cell) * columns_of(canvas, &type) * (height / type.height);
}

void screen_open(struct screen *screen, const struct canvas *canvas, uint32_t height, void *memory)
{
    const struct type type = screen_type(canvas);

    *screen = (struct screen){
        .canvas = canvas,
        .type = type,
        .columns = columns_of(canvas, &type),
        .rows = height / type.height,
    };
    const size_t cells = (size_t)screen->columns * screen->rows;
    screen->wanted = memory;
    screen->shown = screen->wanted + cells;
    for (size_t i = 0; i < 2 * cells; i++)
        screen->wanted[i] = (struct cell){' ', TONE_PLAIN};
}

static bool begins(const char *text, const char *word)
{
    while (*word && *text == *word) {
        text++;
        word++;
    }
    return *word == '\0';
}

static bool contains(const char *text, const char *word)
{
    for (; *text; text++) {
        if (begins(text, word))
            return true;
    }
    return false;
}

static uint8_t tone_of(const char *text)
{
    if (begins(text, "REVEILLE ev=error") || contains(text, " failed: ") ||
        contains(text, " stopped: "))
        return TONE_BAD;
    if (begins(text, "REVEILLE ev=warning") || begins(text, "  "))
        return TONE_BAD;
    if (begins(text, "Hello "))
        return TONE_GOOD;
    return begins(text, "REVEILLE ") ? TONE_FAINT : TONE_PLAIN;
}

static void clear_row(struct screen *screen, uint32_t row)
{
    struct cell *cells = screen->wanted + (size_t)row * screen->columns;

    for (uint32_t x = 0; x < screen->columns; x++)
        cells[x] = (struct cell){' ', TONE_PLAIN};
}

static void scroll(struct screen *screen)
{
    const size_t cells = (size_t)screen->columns * (screen->rows - 1);

    memmove(screen->wanted, screen->wanted + screen->columns, cells * sizeof(struct cell));
    screen->row = screen->rows - 1;
    clear_row(screen, screen->row);
}

// How much of a text goes into one row: all of it, or up to a blank in the row's last third.
static size_t piece(const char *text, size_t columns)
{
    size_t length = 0;

    while (length < columns && text[length])
        length++;
    if (!text[length])
        return length;
    for (size_t at = length; at > columns * 2 / 3; at--) {
        if (text[at] == ' ')
            return at;
    }
    return length;
}

// How many rows it takes, as far as they are still there.
static uint32_t write_rows(struct screen *screen, const char *text, uint8_t tone)
{
    uint32_t rows = 0;

    do {
        if (screen->row == screen->rows)
            scroll(screen);
        struct cell *row = screen->wanted + (size_t)screen->row * screen->columns;
        const size_t length = piece(text, screen->columns);
        for (size_t x = 0; x < length; x++)
            row[x] = (struct cell){text[x], tone};
        text += length;
        while (length > 0 && *text == ' ')
            text++;
        screen->row++;
        rows += rows < screen->rows;
    } while (*text);
    return rows;
}

void screen_write_line(void *context, const char *text)
{
    struct screen *screen = context;
    const uint8_t tone = tone_of(text);

    if (screen->columns == 0 || screen->rows == 0)
        return;
    if (begins(text, "REVEILLE ") && !screen->records && tone != TONE_BAD)
        return;
    (void)write_rows(screen, text, tone);
    screen->changing = 0;
}

void screen_rewrite_line(void *context, const char *text)
{
    struct screen *screen = context;

    if (screen->columns == 0 || screen->rows == 0)
        return;
    for (; screen->changing > 0; screen->changing--)
        clear_row(screen, --screen->row);
    screen->changing = write_rows(screen, text, tone_of(text));
}

void screen_paint(void *context)
{
    struct screen *screen = context;

    for (uint32_t y = 0; y < screen->rows; y++) {
        for (uint32_t x = 0; x < screen->columns; x++) {
            const size_t at = (size_t)y * screen->columns + x;
            const struct cell cell = screen->wanted[at];
            if (cell.character == screen->shown[at].character &&
                (cell.tone == screen->shown[at].tone || cell.character == ' '))
                continue;
            canvas_glyph(screen->canvas, screen->type.font, screen->type.scale,
                         x * screen->type.width, y * screen->type.height, cell.character,
                         inks[cell.tone], INK_PAPER);
            screen->shown[at] = cell;
        }
    }
}
