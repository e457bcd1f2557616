// The wall, drawn into memory and looked at: gaps that tell threads from cores and cores from
// packages, bars with a piece for each stage, and the sign on each tile.
#include "wall.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "palette.h"

#define WIDTH    1280u
#define HEIGHT   800u
#define CPUS_MAX 64u

static uint32_t pixels[WIDTH * HEIGHT];
static struct canvas canvas;
static struct wall_layout layout;

static void draw(struct wall_cpu *cpus, size_t count)
{
    const struct framebuffer framebuffer = {.phys = 0x1000,
                                            .bytes = sizeof pixels,
                                            .width = WIDTH,
                                            .height = HEIGHT,
                                            .pitch_pixels = WIDTH,
                                            .red_mask = 0xff0000,
                                            .green_mask = 0xff00,
                                            .blue_mask = 0xff,
                                            .pixel_bytes = 4};

    memset(pixels, 0, sizeof pixels);
    canvas_open(&canvas);
    assert_true(canvas_add(&canvas, &framebuffer, pixels, 0));
    wall_plan(&canvas, &layout);
    wall_draw(&canvas, &layout, cpus, count, "", true);
}

// Pieces of one colour along a row of pixels, black ones among them.
struct piece {
    uint32_t x, width;
    color fill;
};

static size_t pieces_of_row(uint32_t x, uint32_t width, uint32_t y, struct piece *pieces,
                            size_t room)
{
    size_t count = 0;

    for (uint32_t at = x; at < x + width; at++) {
        const color fill = pixels[y * WIDTH + at];
        if (count > 0 && pieces[count - 1].fill == fill) {
            pieces[count - 1].width++;
            continue;
        }
        assert_true(count < room);
        pieces[count++] = (struct piece){at, 1, fill};
    }
    return count;
}

// The first row of tiles: its gaps, from left to right. Returns how many tiles stand in it.
static size_t gaps_of_row(uint32_t y, color fill, uint32_t gaps[CPUS_MAX])
{
    struct piece pieces[2 * CPUS_MAX];
    const size_t count = pieces_of_row(layout.left, layout.width, y, pieces, 2 * CPUS_MAX);
    size_t tiles = 0;

    for (size_t i = 0; i < count; i++) {
        if (pieces[i].fill != fill)
            continue;
        if (tiles > 0)
            gaps[tiles - 1] = pieces[i].x - pieces[i - 1].x;
        tiles++;
    }
    return tiles;
}

static void greeted(struct wall_cpu *cpus, size_t count, uint32_t threads, uint32_t cores)
{
    for (uint32_t i = 0; i < count; i++)
        cpus[i] = (struct wall_cpu){.index = i,
                                    .package = i / threads / cores,
                                    .core = i / threads % cores,
                                    .thread = i % threads,
                                    .state = WALL_GREETED};
}

static void test_threads_stand_closer_than_cores(void **state)
{
    struct wall_cpu cpus[4];
    uint32_t gaps[CPUS_MAX];

    (void)state;
    greeted(cpus, 4, 2, 2);
    draw(cpus, 4);
    assert_int_equal(gaps_of_row(layout.top, TILE_GREETED, gaps), 4);
    assert_true(gaps[0] > 0);
    assert_int_equal(gaps[0], gaps[2]);
    assert_true(gaps[1] >= 2 * gaps[0]);
}

// Few packages begin rows of their own, many stand apart by a gap that is wider than a core's.
static void test_packages_stand_apart(void **state)
{
    struct wall_cpu cpus[CPUS_MAX];
    uint32_t gaps[CPUS_MAX];

    (void)state;
    greeted(cpus, 8, 2, 2);
    draw(cpus, 8);
    assert_int_equal(gaps_of_row(layout.top, TILE_GREETED, gaps), 4);
    uint32_t rows = 0;
    for (uint32_t y = layout.top; y < layout.top + layout.height; y++)
        rows += pixels[y * WIDTH + layout.left] == TILE_GREETED &&
                pixels[(y - 1) * WIDTH + layout.left] != TILE_GREETED;
    assert_int_equal(rows, 2);

    greeted(cpus, 36, 2, 2); // nine packages
    draw(cpus, 36);
    const size_t tiles = gaps_of_row(layout.top, TILE_GREETED, gaps);
    assert_in_range(tiles, 5, 36);
    for (size_t i = 0; i + 1 < tiles; i++) {
        const bool package = i % 4 == 3, core = i % 2 == 1;
        if (package)
            assert_true(gaps[i] > gaps[1]);
        else
            assert_int_equal(gaps[i], core ? gaps[1] : gaps[0]);
    }
}

// The bar lies at the tile's lower end, below its face.
static size_t pieces_of_bar(uint32_t left, uint32_t width, struct piece *pieces, size_t room)
{
    uint32_t y = layout.top;

    while (pixels[y * WIDTH + left] == TILE_GREETED)
        y++;
    return pieces_of_row(left, width, y, pieces, room);
}

#define ASSERT_PIECE(piece, from, part, colour)                                   \
    do {                                                                          \
        assert_int_equal((piece).fill, colour);                                   \
        assert_in_range((piece).x + 1, left + (from) + 1 - 1, left + (from) + 2); \
        assert_in_range((piece).width + 1, (part), (part) + 2);                   \
    } while (0)

// From the first who came to real mode, 100 us, to the last who came to C, 900 us.
static void test_a_bar_has_a_piece_for_each_stage(void **state)
{
    struct wall_cpu cpus[] = {
        {.index = 1, .core = 0, .state = WALL_GREETED, .us = {200, 300, 500, 900}},
        {.index = 2, .core = 1, .state = WALL_GREETED, .us = {100, 200, 300, 500}},
        {.index = 3, .core = 2, .state = WALL_GREETED, .us = {500, 0, 0, 0}},
        {.index = 4, .core = 3, .state = WALL_GREETED},
    };
    struct piece tiles[16], pieces[16];

    (void)state;
    draw(cpus, 4);
    const size_t count = pieces_of_row(layout.left, layout.width, layout.top, tiles, 16);
    assert_in_range(count, 7, 8);
    const uint32_t width = tiles[0].width, part = width / 8;

    uint32_t left = tiles[0].x;
    assert_int_equal(pieces_of_bar(left, width, pieces, 16), 5);
    ASSERT_PIECE(pieces[0], 0, part, TILE_ASLEEP);
    ASSERT_PIECE(pieces[1], part, part, TILE_REAL);
    ASSERT_PIECE(pieces[2], 2 * part, 2 * part, TILE_PROTECTED);
    ASSERT_PIECE(pieces[3], 4 * part, 4 * part - 2, TILE_LONG);
    ASSERT_PIECE(pieces[4], width - 2, 2, TILE_UP);

    left = tiles[2].x;
    assert_int_equal(pieces_of_bar(left, width, pieces, 16), 5);
    ASSERT_PIECE(pieces[0], 0, part, TILE_REAL);
    ASSERT_PIECE(pieces[1], part, part, TILE_PROTECTED);
    ASSERT_PIECE(pieces[2], 2 * part, 2 * part - 2, TILE_LONG);
    ASSERT_PIECE(pieces[3], 4 * part - 2, 2, TILE_UP);
    ASSERT_PIECE(pieces[4], 4 * part, 4 * part, INK_PAPER);

    left = tiles[4].x; // in real mode it stopped
    assert_int_equal(pieces_of_bar(left, width, pieces, 16), 3);
    ASSERT_PIECE(pieces[0], 0, 4 * part - 2, TILE_ASLEEP);
    ASSERT_PIECE(pieces[1], 4 * part - 2, 2, TILE_UP);
    ASSERT_PIECE(pieces[2], 4 * part, 4 * part, INK_PAPER);

    left = tiles[6].x; // it left no stamp
    assert_int_equal(pieces_of_bar(left, width, pieces, 16), 1);
    assert_int_equal(pieces[0].fill, INK_PAPER);
}

// Its rows above the bar, and where the first of them is.
static uint32_t face_of(uint32_t left, uint32_t *top)
{
    uint32_t y = layout.top, rows = 0;

    while (pixels[y * WIDTH + left] != TILE_GREETED)
        y++;
    *top = y;
    while (pixels[(y + rows) * WIDTH + left] == TILE_GREETED)
        rows++;
    return rows;
}

// All stand on one line; the words and numbers are in the legend.
static void test_kinds_differ_in_height(void **state)
{
    struct wall_cpu cpus[] = {
        {.index = 1, .core = 0, .kind = WALL_P_CORE, .state = WALL_GREETED},
        {.index = 2, .core = 1, .kind = WALL_E_CORE, .state = WALL_GREETED},
        {.index = 3, .core = 2, .kind = WALL_LP_CORE, .state = WALL_GREETED},
        {.index = 4, .core = 3, .state = WALL_GREETED},
    };
    struct piece tiles[16];
    uint32_t tops[4], rows[4];

    (void)state;
    draw(cpus, 4);
    uint32_t low = layout.top;
    while (pixels[low * WIDTH + layout.left] == TILE_GREETED)
        low++;
    assert_in_range(pieces_of_row(layout.left, layout.width, low - 1, tiles, 16), 7, 8);
    for (size_t i = 0; i < 4; i++) {
        rows[i] = face_of(tiles[2 * i].x, &tops[i]);
        assert_int_equal(tops[i] + rows[i], low);
    }
    assert_int_equal(rows[0], rows[3]);
    assert_int_equal(rows[1], rows[0] - rows[0] * 2 / 8);
    assert_int_equal(rows[2], rows[0] - rows[0] * 4 / 8);
}

// Is this text anywhere on the picture, in any size?
static bool shows(const char *text, color ink, color fill)
{
    static uint32_t shape[WIDTH * HEIGHT];
    const uint32_t length = (uint32_t)strlen(text);

    for (size_t i = 0; i < FONT_COUNT; i++) {
        for (uint32_t scale = 1; scale <= 9; scale++) {
            const uint32_t width = fonts[i].width * scale * length,
                           height = fonts[i].height * scale;
            const struct framebuffer framebuffer = {.phys = 0x1000,
                                                    .bytes = width * height * 4,
                                                    .width = width,
                                                    .height = height,
                                                    .pitch_pixels = width,
                                                    .red_mask = 0xff0000,
                                                    .green_mask = 0xff00,
                                                    .blue_mask = 0xff,
                                                    .pixel_bytes = 4};
            struct canvas small;
            canvas_open(&small);
            assert_true(canvas_add(&small, &framebuffer, shape, 0));
            (void)canvas_text(&small, &fonts[i], scale, 0, 0, text, ink, fill);
            for (uint32_t y = layout.top; y < layout.top + layout.height - height; y++) {
                for (uint32_t x = layout.left; x < layout.left + layout.width - width; x++) {
                    uint32_t row = 0;
                    while (row < height && memcmp(&pixels[(y + row) * WIDTH + x],
                                                  &shape[row * width], width * 4) == 0)
                        row++;
                    if (row == height)
                        return true;
                }
            }
        }
    }
    return false;
}

static void test_every_state_has_its_sign(void **state)
{
    static const struct {
        struct wall_cpu cpu;
        const char *text;
        color ink, fill;
    } cases[] = {
        {{.index = 0, .state = WALL_BSP}, "0*", INK_PAPER, INK_TEXT},
        {{.index = 7, .state = WALL_GREETED}, "7+", INK_PAPER, TILE_GREETED},
        {{.index = 12, .state = WALL_ASLEEP}, "12.", INK_TEXT, TILE_ASLEEP},
        {{.index = 3, .state = WALL_UP}, "3^", INK_PAPER, TILE_UP},
        {{.index = 171, .state = WALL_UNLISTED}, "#171?", INK_PAPER, TILE_UNLISTED},
        {{.index = 9, .state = WALL_FAILED, .reached = WALL_LONG}, "9!l", INK_PAPER, TILE_FAILED},
        {{.index = 9, .state = WALL_FAILED, .reached = WALL_REAL}, "9!r", INK_PAPER, TILE_FAILED},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct wall_cpu cpu = cases[i].cpu;
        draw(&cpu, 1);
        if (!shows(cases[i].text, cases[i].ink, cases[i].fill))
            fail_msg("%s is not on its tile", cases[i].text);
    }
    assert_false(shows("9!p", INK_PAPER, TILE_FAILED));
}

// Six of them would fill a row, however large the panel is.
static void test_few_processors_have_large_tiles(void **state)
{
    struct wall_cpu cpus[2];
    struct piece tiles[8];

    (void)state;
    greeted(cpus, 2, 1, 2);
    draw(cpus, 2);
    (void)pieces_of_row(layout.left, layout.width, layout.top, tiles, 8);
    assert_int_equal(tiles[0].width, layout.width / 6);
}

// A module has a pixel at least, and the quiet zone around the code four modules.
static void test_room_for_a_code(void **state)
{
    (void)state;
    layout.code_side = 29;
    assert_true(wall_code_fits(&layout, 21));
    layout.code_side = 28;
    assert_false(wall_code_fits(&layout, 21));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_stand_closer_than_cores),
        cmocka_unit_test(test_packages_stand_apart),
        cmocka_unit_test(test_a_bar_has_a_piece_for_each_stage),
        cmocka_unit_test(test_kinds_differ_in_height),
        cmocka_unit_test(test_every_state_has_its_sign),
        cmocka_unit_test(test_few_processors_have_large_tiles),
        cmocka_unit_test(test_room_for_a_code),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
