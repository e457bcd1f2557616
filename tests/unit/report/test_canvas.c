// Canvas: pixel formats, rotations and bounds, against a slow model that puts one pixel at a time.
// Every frame buffer is malloc'ed to its exact size, so that ASan sees one pixel too many.
#include "canvas.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define UNTOUCHED 0xa5a5a5a5u

static const uint32_t turns[] = {0, 90, 180, 270};

static struct framebuffer framebuffer_of(uint32_t width, uint32_t height, uint32_t pitch)
{
    return (struct framebuffer){.phys = 0x1000,
                                .bytes = (uint64_t)pitch * height * 4,
                                .width = width,
                                .height = height,
                                .pitch_pixels = pitch,
                                .red_mask = 0xff0000,
                                .green_mask = 0xff00,
                                .blue_mask = 0xff,
                                .pixel_bytes = 4};
}

static uint32_t *pixels_for(const struct framebuffer *framebuffer)
{
    const size_t count = framebuffer->bytes / 4;
    uint32_t *pixels = malloc(count * sizeof *pixels);
    assert_non_null(pixels);
    for (size_t i = 0; i < count; i++)
        pixels[i] = UNTOUCHED;
    return pixels;
}

static void test_formats(void **state)
{
    static const struct {
        uint32_t red, green, blue, pixel;
    } formats[] = {
        {0xff0000, 0xff00, 0xff, 0x804020},         // BGR in memory
        {0xff, 0xff00, 0xff0000, 0x204080},         // RGB in memory
        {0xff000000, 0xff0000, 0xff00, 0x80402000}, // shifted by a byte
        {0x3ff00000, 0xffc00, 0x3ff, (0x80u << 2) << 20 | (0x40u << 2) << 10 | 0x20u << 2},
        {0xf800, 0x7e0, 0x1f, (0x80u >> 3) << 11 | (0x40u >> 2) << 5 | 0x20u >> 3},
        {1, 2, 4, 1}, // a bit each: the highest of each colour
    };

    (void)state;
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        struct framebuffer framebuffer = framebuffer_of(2, 2, 2);
        struct canvas canvas;
        framebuffer.red_mask = formats[i].red;
        framebuffer.green_mask = formats[i].green;
        framebuffer.blue_mask = formats[i].blue;
        uint32_t *pixels = pixels_for(&framebuffer);
        canvas_open(&canvas);
        assert_true(canvas_add(&canvas, &framebuffer, pixels, 0));
        canvas_fill(&canvas, 1, 1, 1, 1, 0x804020);
        assert_int_equal(pixels[3], formats[i].pixel);
        assert_int_equal(pixels[2], UNTOUCHED);
        free(pixels);
    }
}

static void test_bytes_of_a_pixel(void **state)
{
    static const struct {
        uint32_t masks, bytes;
    } cases[] = {
        {0, 0},        {1, 1},         {0xff, 1},       {0x100, 2},
        {0x7fff, 2},   {0xffff, 2},    {0x10000, 3},    {0xffffff, 3},
        {0x800000, 3}, {0x1000000, 4}, {0x3fffffff, 4}, {0xffffffff, 4},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(framebuffer_pixel_bytes(cases[i].masks), cases[i].bytes);
}

static void test_insane_ones_are_refused(void **state)
{
    struct canvas canvas;
    uint32_t pixel[64];

    (void)state;
    canvas_open(&canvas);
#define REFUSED(change)                                    \
    do {                                                   \
        struct framebuffer bad = framebuffer_of(8, 8, 8);  \
        assert_true(framebuffer_is_sane(&bad));            \
        change;                                            \
        assert_false(framebuffer_is_sane(&bad));           \
        assert_false(canvas_add(&canvas, &bad, pixel, 0)); \
    } while (0)
    REFUSED(bad.phys = 0);
    REFUSED(bad.phys = 0x1002);
    REFUSED(bad.phys = UINT64_MAX - 3);
    REFUSED(bad.width = 0);
    REFUSED(bad.height = 0);
    REFUSED(bad.pitch_pixels = 7);
    REFUSED(bad.bytes -= 1);
    REFUSED(bad.height = UINT32_MAX);
    REFUSED(bad.pitch_pixels = UINT32_MAX);
    REFUSED(bad.red_mask = 0);
    REFUSED(bad.green_mask = 0);
    REFUSED(bad.blue_mask = 0);
    REFUSED(bad.red_mask = 0x1ff00);     // overlaps green
    REFUSED(bad.red_mask = 0xf0f00000u); // not one run
    REFUSED(bad.pixel_bytes = 0);
    REFUSED(bad.pixel_bytes = 2); // red lies beyond
    REFUSED((bad.pixel_bytes = 5, bad.bytes *= 2));
#undef REFUSED
    assert_int_equal(canvas.count, 0);
    canvas_fill(&canvas, 0, 0, UINT32_MAX, UINT32_MAX, 0xffffff); // on nothing
}

static void test_no_more_than_there_is_room_for(void **state)
{
    const struct framebuffer framebuffer = framebuffer_of(4, 2, 4);
    uint32_t *pixels = pixels_for(&framebuffer);
    struct canvas canvas;

    (void)state;
    canvas_open(&canvas);
    for (size_t i = 0; i < FRAMEBUFFERS_MAX; i++)
        assert_true(canvas_add(&canvas, &framebuffer, pixels, 0));
    assert_false(canvas_add(&canvas, &framebuffer, pixels, 0));
    free(pixels);
}

// Where a logical pixel lies on the panel.
static size_t place(const struct framebuffer *framebuffer, uint32_t rotate, uint32_t x, uint32_t y)
{
    const uint32_t width = framebuffer->width, height = framebuffer->height;
    uint32_t across = x, down = y;

    if (rotate == 90) {
        across = width - 1 - y;
        down = x;
    } else if (rotate == 180) {
        across = width - 1 - x;
        down = height - 1 - y;
    } else if (rotate == 270) {
        across = y;
        down = height - 1 - x;
    }
    return (size_t)down * framebuffer->pitch_pixels + across;
}

static void check_box(uint32_t rotate, const struct box *box)
{
    const struct framebuffer framebuffer = framebuffer_of(7, 5, 9);
    uint32_t *pixels = pixels_for(&framebuffer), *model = pixels_for(&framebuffer);
    struct canvas canvas;

    canvas_open(&canvas);
    assert_true(canvas_add(&canvas, &framebuffer, pixels, rotate));
    const bool turned = rotate == 90 || rotate == 270;
    assert_int_equal(canvas.width, turned ? 5 : 7);
    assert_int_equal(canvas.height, turned ? 7 : 5);
    canvas_fill(&canvas, box->x, box->y, box->width, box->height, 0x123456);
    for (uint32_t y = 0; y < canvas.height; y++) {
        for (uint32_t x = 0; x < canvas.width; x++) {
            if (x >= box->x && y >= box->y && (uint64_t)x < (uint64_t)box->x + box->width &&
                (uint64_t)y < (uint64_t)box->y + box->height)
                model[place(&framebuffer, rotate, x, y)] = 0x123456;
        }
    }
    assert_memory_equal(pixels, model, framebuffer.bytes);
    free(pixels);
    free(model);
}

static void test_boxes_in_all_rotations(void **state)
{
    static const struct box boxes[] = {
        {0, 0, 1, 1},  {1, 2, 3, 2},
        {0, 0, 7, 5},  {4, 4, 100, 100},
        {6, 0, 1, 5},  {7, 0, 1, 1},
        {0, 7, 1, 1},  {2, 1, 0, 3},
        {2, 1, 3, 0},  {1, 1, UINT32_MAX, UINT32_MAX},
        {3, 3, 2, 99}, {UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX},
    };

    (void)state;
    for (size_t turn = 0; turn < sizeof turns / sizeof turns[0]; turn++) {
        for (size_t i = 0; i < sizeof boxes / sizeof boxes[0]; i++)
            check_box(turns[turn], &boxes[i]);
    }
}

static void test_two_targets_get_the_smaller_size(void **state)
{
    const struct framebuffer wide = framebuffer_of(20, 4, 20), high = framebuffer_of(8, 10, 8);
    uint32_t *one = pixels_for(&wide), *other = pixels_for(&high);
    struct canvas canvas;

    (void)state;
    canvas_open(&canvas);
    assert_true(canvas_add(&canvas, &wide, one, 0));
    assert_true(canvas_add(&canvas, &high, other, 90));
    assert_int_equal(canvas.width, 10);
    assert_int_equal(canvas.height, 4);
    canvas_fill(&canvas, 9, 3, 5, 5, 1);
    assert_int_equal(one[3 * 20 + 9], 1);
    assert_int_equal(other[place(&high, 90, 9, 3)], 1);
    free(one);
    free(other);
}

static void check_glyph(const struct font *font, uint32_t scale, char character, uint32_t rotate)
{
    const uint32_t size = 40u * scale;
    const struct framebuffer framebuffer = framebuffer_of(size, size, size);
    uint32_t *pixels = pixels_for(&framebuffer), *model = pixels_for(&framebuffer);
    const uint32_t row_bytes = (font->width + 7u) / 8u;
    uint8_t glyph[FONT_BYTES_MOST];
    struct canvas canvas;

    font_unpack(font, character, glyph);
    canvas_open(&canvas);
    assert_true(canvas_add(&canvas, &framebuffer, pixels, rotate));
    canvas_glyph(&canvas, font, scale, 3, 2, character, 0xffffff, 0x10);
    for (uint32_t y = 0; y < font->height * scale; y++) {
        for (uint32_t x = 0; x < font->width * scale; x++) {
            const uint32_t column = x / scale, row = y / scale;
            const bool ink = glyph[row * row_bytes + column / 8] >> (7 - column % 8) & 1;
            model[place(&framebuffer, rotate, 3 + x, 2 + y)] = ink ? 0xffffff : 0x10;
        }
    }
    assert_memory_equal(pixels, model, framebuffer.bytes);
    free(pixels);
    free(model);
}

static void test_glyphs(void **state)
{
    static const char characters[] = {' ', '!', 'A', 'g', '@', '~', '\n', '\x7f', (char)0xe4};

    (void)state;
    for (size_t i = 0; i < FONT_COUNT; i++) {
        for (uint32_t scale = 1; scale <= 3; scale++) {
            for (size_t c = 0; c < sizeof characters; c++)
                check_glyph(&fonts[i], scale, characters[c], turns[(c + scale) % 4]);
        }
    }
}

// Boxes of all widths at all distances from a word's border, and letters.
static void draw_scene(const struct canvas *canvas)
{
    static const color colors[] = {0xff0000, 0xff00, 0xff, 0xffffff, 0x123456, 0x804020};

    for (uint32_t i = 0; i < 24; i++)
        canvas_fill(canvas, i % 5 * 9 + i / 4 % 4, i * 2, i % 9 + 1, 2,
                    colors[i % (sizeof colors / sizeof colors[0])]);
    (void)canvas_text(canvas, &fonts[0], 1, 2, 40, "24 bits", 0xd8d8d8, 0x3a3a3a);
    canvas_fill(canvas, 1, 57, 60, 3, 0xd55e00);
}

static uint32_t bits_of(uint32_t value, uint32_t mask)
{
    const uint32_t lowest = mask & -mask, most = mask / lowest;
    return (most >= 0xff ? value * ((most + 1) / 0x100) : value / (0x100 / (most + 1))) * lowest;
}

static void check_depth(const struct framebuffer *model_of, const uint32_t *model,
                        struct framebuffer depth, uint32_t rotate)
{
    struct canvas canvas;

    depth.bytes = framebuffer_drawn_bytes(&depth);
    uint8_t *pixels = malloc(depth.bytes);
    assert_non_null(pixels);
    memset(pixels, UNTOUCHED & 0xff, depth.bytes);
    canvas_open(&canvas);
    assert_true(canvas_add(&canvas, &depth, pixels, rotate));
    draw_scene(&canvas);
    for (size_t i = 0; i < model_of->bytes / 4; i++) {
        uint32_t expected = UNTOUCHED, found = UNTOUCHED;
        if (model[i] != UNTOUCHED)
            expected = bits_of(model[i] >> 16 & 0xff, depth.red_mask) |
                       bits_of(model[i] >> 8 & 0xff, depth.green_mask) |
                       bits_of(model[i] & 0xff, depth.blue_mask) |
                       (depth.pixel_bytes < 4 ? UNTOUCHED << 8 * depth.pixel_bytes : 0);
        memcpy(&found, pixels + i * depth.pixel_bytes, depth.pixel_bytes);
        assert_int_equal(found, expected);
    }
    free(pixels);
}

static void test_the_same_picture_in_every_depth(void **state)
{
    static const struct {
        uint32_t bytes, red, green, blue;
    } depths[] = {
        {4, 0xff, 0xff00, 0xff0000}, {4, 0x3ff00000, 0xffc00, 0x3ff}, {3, 0xff0000, 0xff00, 0xff},
        {3, 0xff, 0xff00, 0xff0000}, {3, 0xf800, 0x7e0, 0x1f}, // a pixel with unused bits
        {2, 0xf800, 0x7e0, 0x1f},    {2, 0x7c00, 0x3e0, 0x1f},        {1, 0xe0, 0x1c, 0x03},
    };

    (void)state;
    for (size_t turn = 0; turn < sizeof turns / sizeof turns[0]; turn++) {
        const struct framebuffer framebuffer = framebuffer_of(71, 67, 75); // lines begin anywhere
        uint32_t *model = pixels_for(&framebuffer);
        struct canvas canvas;
        canvas_open(&canvas);
        assert_true(canvas_add(&canvas, &framebuffer, model, turns[turn]));
        draw_scene(&canvas);
        for (size_t i = 0; i < sizeof depths / sizeof depths[0]; i++) {
            struct framebuffer depth = framebuffer;
            depth.pixel_bytes = depths[i].bytes;
            depth.red_mask = depths[i].red;
            depth.green_mask = depths[i].green;
            depth.blue_mask = depths[i].blue;
            check_depth(&framebuffer, model, depth, turns[turn]);
        }
        free(model);
    }
}

static void test_text_is_cut_at_the_edge(void **state)
{
    const struct framebuffer framebuffer = framebuffer_of(20, 10, 20);
    uint32_t *pixels = pixels_for(&framebuffer);
    struct canvas canvas;

    (void)state;
    canvas_open(&canvas);
    assert_true(canvas_add(&canvas, &framebuffer, pixels, 0));
    assert_int_equal(canvas_text(&canvas, &fonts[0], 1, 4, 2, "long text", 1, 2),
                     4 + 9 * fonts[0].width);
    assert_int_equal(pixels[19], UNTOUCHED);
    free(pixels);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_bytes_of_a_pixel),
        cmocka_unit_test(test_insane_ones_are_refused),
        cmocka_unit_test(test_no_more_than_there_is_room_for),
        cmocka_unit_test(test_boxes_in_all_rotations),
        cmocka_unit_test(test_two_targets_get_the_smaller_size),
        cmocka_unit_test(test_glyphs),
        cmocka_unit_test(test_the_same_picture_in_every_depth),
        cmocka_unit_test(test_text_is_cut_at_the_edge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
