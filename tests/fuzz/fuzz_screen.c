// Fuzzer: frame buffers that firmware describes at random, in every pixel format and rotation, with
// text, wall and code drawn on them. The pixels lie in memory of exactly the size that was claimed.
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "canvas.h"
#include "qr.h"
#include "screen.h"
#include "wall.h"

#define BYTES_MOST (1u << 20)

static void require(bool holds)
{
    if (!holds)
        abort();
}

static bool is_dark(const void *context, uint32_t x, uint32_t y)
{
    return qr_is_dark(context, x, y);
}

static void draw(const struct canvas *canvas, const uint8_t *text, size_t size)
{
    struct wall_layout layout;
    struct screen screen;
    struct qr code;
    char line[128];

    wall_plan(canvas, &layout);
    require(layout.text_height <= canvas->height);
    void *shadow = malloc(screen_bytes(canvas, layout.text_height) + 1);
    require(shadow != NULL);
    screen_open(&screen, canvas, layout.text_height, shadow);
    screen.records = true;
    for (size_t at = 0; at < size; at += sizeof line - 1) {
        const size_t bytes = size - at < sizeof line - 1 ? size - at : sizeof line - 1;
        memcpy(line, text + at, bytes);
        line[bytes] = '\0';
        screen_write_line(&screen, line);
    }
    screen_paint(&screen);
    if (qr_make(&code, (const char *)text, size < QR_TEXT_MOST ? size : QR_TEXT_MOST) &&
        wall_code_fits(&layout, code.side))
        wall_draw_code(canvas, &layout, code.side, is_dark, &code);
    free(shadow);
}

static uint32_t word(const uint8_t *data)
{
    return data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 | (uint32_t)data[3] << 24;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct {
        uint32_t bytes, red, green, blue;
    } formats[] = {
        {4, 0xff0000, 0xff00, 0xff},
        {4, 0xff, 0xff00, 0xff0000},
        {4, 0xff000000, 0xff0000, 0xff00},
        {4, 0x3ff00000, 0xffc00, 0x3ff},
        {3, 0xff0000, 0xff00, 0xff},
        {3, 0xff, 0xff00, 0xff0000},
        {2, 0xf800, 0x7e0, 0x1f},
        {2, 0x7c00, 0x3e0, 0x1f},
        {1, 0xe0, 0x1c, 0x3},
    };
    struct canvas canvas;

    if (size < 24)
        return 0;
    const size_t format = data[16] % (sizeof formats / sizeof formats[0]);
    const struct framebuffer framebuffer = {
        .phys = 0x100000,
        .bytes = word(data) % BYTES_MOST,
        .width = word(data + 4) % 1024,
        .height = word(data + 8) % 1024,
        .pitch_pixels = word(data + 12) % 1200,
        .red_mask = data[17] & 0x80 ? word(data + 16) : formats[format].red,
        .green_mask = formats[format].green,
        .blue_mask = formats[format].blue,
        .pixel_bytes = data[18] & 0x80 ? data[18] % 8 : formats[format].bytes,
    };
    uint8_t *pixels = malloc(framebuffer.bytes);
    require(pixels != NULL);
    canvas_open(&canvas);
    if (canvas_add(&canvas, &framebuffer, pixels, 90u * (data[19] % 4)))
        draw(&canvas, data + 20, size - 20);
    free(pixels);
    return 0;
}
