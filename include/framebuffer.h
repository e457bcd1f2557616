// A frame buffer, as firmware described it and before anybody believed it: facts for who finds it,
// maps it and draws on it, who need not know each other. It is written and never read.
#pragma once

#include <stdint.h>

#define FRAMEBUFFERS_MAX 4u

// A pixel is some bytes, the lowest first; a mask says which of their bits are a colour's.
struct framebuffer {
    uint64_t phys;          // of the first pixel; may lie above 4 GiB
    uint64_t bytes;         // that firmware says there are
    uint32_t width, height; // pixels, of the panel as it is wired: a portrait panel is taller
    uint32_t pitch_pixels;  // from one line to the next, at least width
    uint32_t red_mask, green_mask, blue_mask;
    uint32_t pixel_bytes; // 1 to 4
};

// Bytes of all its lines, of one that is sane (report/screen/canvas.h).
static inline uint64_t framebuffer_drawn_bytes(const struct framebuffer *framebuffer)
{
    return (uint64_t)framebuffer->pitch_pixels * framebuffer->height * framebuffer->pixel_bytes;
}
