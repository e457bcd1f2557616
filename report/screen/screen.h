// Screen: a text console on a canvas. Lines go into a shadow in RAM, from any processor and at any
// time; only screen_paint draws, and only the cells that have changed. Surprise: it scrolls in the
// shadow, so a frame buffer is neither read nor copied.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "canvas.h"

// What is asked of a font: the largest that gives as many.
#define SCREEN_COLUMNS_LEAST 80u
#define SCREEN_ROWS_LEAST    25u

// A font at a scale, and what it comes to.
struct type {
    const struct font *font;
    uint32_t scale;
    uint32_t width, height; // of a character, in pixels
};

// The largest type that gives 80 columns and 25 rows on this canvas; the smallest font where none
// does.
struct type screen_type(const struct canvas *canvas);

struct cell {
    char character;
    uint8_t tone;
};

struct screen {
    const struct canvas *canvas;
    struct type type;
    uint32_t columns, rows;
    uint32_t row;        // of the next line
    bool records;        // show records too, and not only warnings and errors
    uint32_t changing;   // rows of the line that may be rewritten, the last ones; 0: there is none
    struct cell *wanted; // rows * columns each, the caller's memory
    struct cell *shown;
};

// Bytes that screen_open needs for the upper `height` pixels of the canvas.
size_t screen_bytes(const struct canvas *canvas, uint32_t height);

// An empty screen on the upper `height` pixels. What the canvas shows there is taken to be black.
void screen_open(struct screen *screen, const struct canvas *canvas, uint32_t height, void *memory);

// A console's sink: a line at the bottom, wrapped, in a tone by what it says. A record is not
// shown, unless it is a warning or an error. Draws nothing.
void screen_write_line(void *screen, const char *text);

// The same in place of the line that this wrote before, if that is still the last one.
void screen_rewrite_line(void *screen, const char *text);

// Draws what has changed since the last time. For one processor at a time.
void screen_paint(void *screen);
