// Canvas: what is drawn once appears on every frame buffer. Logical coordinates, turned for each
// panel. Surprise: a frame buffer is never read, and no pixel outside the bytes that firmware
// claimed, and that its lines need, is ever written.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "font.h"
#include "framebuffer.h"

// 0xRRGGBB.
typedef uint32_t color;

struct box {
    uint32_t x, y, width, height; // pixels
};

struct canvas_target {
    uint8_t *pixels;
    uint32_t width, height, pitch; // of the panel as it is wired, in pixels
    uint32_t pixel_bytes;          // 1 to 4
    uint32_t rotate;               // 0, 90, 180, 270: clockwise, from logical to panel
    struct channel {
        uint8_t shift, bits;
    } red, green, blue;
};

struct canvas {
    struct canvas_target targets[FRAMEBUFFERS_MAX];
    size_t count;
    uint32_t width, height; // logical; the smallest of all targets
};

// Bytes of a pixel, by the highest bit of all its masks together, the reserved bits' included: so
// firmware counts them, too. 0 for no bit.
uint32_t framebuffer_pixel_bytes(uint32_t masks);

// Is this a frame buffer that can be drawn on: 1 to 4 bytes for a pixel, masks within them that are
// runs of bits and do not overlap, all lines within its bytes?
bool framebuffer_is_sane(const struct framebuffer *framebuffer);

// Starts without a target: everything drawn is lost.
void canvas_open(struct canvas *canvas);

// Adds a sane frame buffer, seen at `pixels` (its physical address where that is mapped as such).
// `rotate` is 0, 90, 180 or 270. False: there are FRAMEBUFFERS_MAX already, or it is not sane.
bool canvas_add(struct canvas *canvas, const struct framebuffer *framebuffer, void *pixels,
                uint32_t rotate);

// Of all frame buffers together.
uint64_t canvas_pixels(const struct canvas *canvas);

// What lies outside is cut off.
void canvas_fill(const struct canvas *canvas, uint32_t x, uint32_t y, uint32_t width,
                 uint32_t height, color fill);

// One character, `scale` times enlarged; what the font has not is a blank.
void canvas_glyph(const struct canvas *canvas, const struct font *font, uint32_t scale, uint32_t x,
                  uint32_t y, char character, color ink, color paper);

// A text in one line. Returns the x behind it.
uint32_t canvas_text(const struct canvas *canvas, const struct font *font, uint32_t scale,
                     uint32_t x, uint32_t y, const char *text, color ink, color paper);
