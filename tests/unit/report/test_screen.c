// Screen and wall: what stands in the shadow, how little is painted, and canvases and machines of
// every size. Every buffer is malloc'ed to its exact size.
#include "screen.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "palette.h"
#include "wall.h"

#define UNTOUCHED 0xa5a5a5a5u

struct rig {
    uint32_t width, height;
    uint32_t *pixels;
    void *memory;
    struct canvas canvas;
    struct screen screen;
};

static void poison(struct rig *rig)
{
    for (size_t i = 0; i < (size_t)rig->width * rig->height; i++)
        rig->pixels[i] = UNTOUCHED;
}

static void set_up(struct rig *rig, uint32_t width, uint32_t height, uint32_t text_height)
{
    const struct framebuffer framebuffer = {
        0x1000, (uint64_t)width * height * 4, width, height, width, 0xff0000, 0xff00, 0xff, 4};

    rig->width = width;
    rig->height = height;
    rig->pixels = malloc((size_t)width * height * 4);
    assert_non_null(rig->pixels);
    canvas_open(&rig->canvas);
    assert_true(canvas_add(&rig->canvas, &framebuffer, rig->pixels, 0));
    rig->memory = malloc(screen_bytes(&rig->canvas, text_height) + 1);
    assert_non_null(rig->memory);
    screen_open(&rig->screen, &rig->canvas, text_height, rig->memory);
    poison(rig);
}

static void tear_down(struct rig *rig)
{
    free(rig->memory);
    free(rig->pixels);
}

static void assert_row(const struct rig *rig, uint32_t row, const char *expected)
{
    char text[512];
    const struct screen *screen = &rig->screen;
    size_t length = screen->columns;

    for (size_t x = 0; x < length; x++)
        text[x] = screen->wanted[row * length + x].character;
    while (length > 0 && text[length - 1] == ' ')
        length--;
    text[length] = '\0';
    assert_string_equal(text, expected);
}

static size_t touched(const struct rig *rig)
{
    size_t count = 0;
    for (size_t i = 0; i < (size_t)rig->width * rig->height; i++)
        count += rig->pixels[i] != UNTOUCHED;
    return count;
}

static void test_only_what_changed_is_painted(void **state)
{
    struct rig rig;

    (void)state;
    set_up(&rig, 640, 400, 400);
    const size_t one = (size_t)rig.screen.type.width * rig.screen.type.height;
    screen_write_line(&rig.screen, "ab c");
    assert_int_equal(touched(&rig), 0); // writing draws nothing
    screen_paint(&rig.screen);
    assert_int_equal(touched(&rig), 3 * one); // a blank on black is black
    poison(&rig);
    screen_paint(&rig.screen);
    assert_int_equal(touched(&rig), 0);
    screen_write_line(&rig.screen, "d");
    screen_paint(&rig.screen);
    assert_int_equal(touched(&rig), one);
    tear_down(&rig);
}

static void test_a_scrolled_line_that_is_the_same_costs_nothing(void **state)
{
    struct rig rig;

    (void)state;
    set_up(&rig, 640, 400, 400);
    for (uint32_t i = 0; i < rig.screen.rows; i++)
        screen_write_line(&rig.screen, i == 0 ? "first" : "same");
    screen_paint(&rig.screen);
    poison(&rig);
    screen_write_line(&rig.screen, "same");
    screen_paint(&rig.screen);
    // "first" became "same": 5 cells, all others are as they were.
    assert_int_equal(touched(&rig), 5 * (size_t)rig.screen.type.width * rig.screen.type.height);
    assert_row(&rig, 0, "same");
    assert_row(&rig, rig.screen.rows - 1, "same");
    tear_down(&rig);
}

static void test_long_lines_wrap_at_a_blank(void **state)
{
    struct rig rig;
    char line[400];

    (void)state;
    set_up(&rig, 640, 400, 400);
    assert_int_equal(rig.screen.columns, 80);
    memset(line, 'a', 70);
    strcpy(line + 70, " word and the rest");
    screen_write_line(&rig.screen, line);
    assert_row(&rig, 1, "the rest");
    memset(line, 'b', 165); // no blank: cut where the row ends
    line[165] = '\0';
    screen_write_line(&rig.screen, line);
    assert_row(&rig, 4, "bbbbb");
    screen_write_line(&rig.screen, "");
    screen_write_line(&rig.screen, "after an empty line");
    assert_row(&rig, 5, "");
    assert_row(&rig, 6, "after an empty line");
    tear_down(&rig);
}

// A count-down: it stays in its place, whatever its length, and what came before it stands.
static void test_a_line_that_changes(void **state)
{
    struct rig rig;
    char line[200];

    (void)state;
    set_up(&rig, 640, 400, 400);
    screen_write_line(&rig.screen, "before");
    memset(line, 'a', sizeof line - 1);
    line[sizeof line - 1] = '\0';
    screen_rewrite_line(&rig.screen, line); // three rows
    assert_row(&rig, 1, line + 199 - 80);
    screen_rewrite_line(&rig.screen, "10 s");
    screen_rewrite_line(&rig.screen, "9 s");
    assert_row(&rig, 0, "before");
    assert_row(&rig, 1, "9 s");
    assert_row(&rig, 2, "");
    assert_row(&rig, 3, "");
    screen_write_line(&rig.screen, "after");
    screen_rewrite_line(&rig.screen, "8 s"); // another line came in between
    assert_row(&rig, 1, "9 s");
    assert_row(&rig, 2, "after");
    assert_row(&rig, 3, "8 s");
    tear_down(&rig);
}

static void test_a_line_that_changes_at_the_bottom(void **state)
{
    struct rig rig;

    (void)state;
    set_up(&rig, 640, 400, 400);
    const uint32_t last = rig.screen.rows - 1;
    for (uint32_t i = 0; i < rig.screen.rows; i++)
        screen_write_line(&rig.screen, i == last ? "before" : "earlier");
    screen_rewrite_line(&rig.screen, "2 s");
    screen_rewrite_line(&rig.screen, "1 s");
    assert_row(&rig, last - 1, "before");
    assert_row(&rig, last, "1 s");
    tear_down(&rig);
    set_up(&rig, 640, 400, 16);
    assert_int_equal(rig.screen.rows, 1);
    screen_rewrite_line(&rig.screen,
                        "two rows of a screen that has one: the first one is lost, and "
                        "the second one stands there");
    screen_rewrite_line(&rig.screen, "1 s");
    assert_row(&rig, 0, "1 s");
    tear_down(&rig);
}

static void test_records_are_for_the_wire(void **state)
{
    struct rig rig;

    (void)state;
    set_up(&rig, 640, 400, 400);
    screen_write_line(&rig.screen, "REVEILLE ev=cpu cpu=1");
    screen_write_line(&rig.screen, "REVEILLE ev=warning what=x");
    assert_row(&rig, 0, "REVEILLE ev=warning what=x");
    rig.screen.records = true;
    screen_write_line(&rig.screen, "REVEILLE ev=cpu cpu=1");
    assert_row(&rig, 1, "REVEILLE ev=cpu cpu=1");
    tear_down(&rig);
}

static void test_the_largest_type_that_leaves_80_by_25(void **state)
{
    static const struct {
        uint32_t width, height, type_height;
    } sizes[] = {
        {640, 400, 16},        {640, 480, 16},        {1280, 800, 32}, {1920, 1080, 32},
        {2560, 1440, 32 + 16}, {3840, 2160, 64 + 16}, {320, 200, 16},  {1, 1, 16},
    };

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const struct canvas canvas = {.width = sizes[i].width, .height = sizes[i].height};
        const struct type type = screen_type(&canvas);
        assert_int_equal(type.height, sizes[i].type_height);
        if (sizes[i].width >= 640 && sizes[i].height >= 400) {
            assert_true(canvas.width / type.width >= 80);
            assert_true(canvas.height / type.height >= 25);
        }
    }
}

// ---- the wall ----

static size_t count_pixels(const struct rig *rig, uint32_t from_row, color wanted)
{
    size_t count = 0;
    for (size_t i = (size_t)from_row * rig->width; i < (size_t)rig->width * rig->height; i++)
        count += rig->pixels[i] == wanted;
    return count;
}

static struct wall_cpu *cpus_of(size_t count)
{
    struct wall_cpu *cpus = calloc(count, sizeof *cpus);
    assert_non_null(cpus);
    for (size_t i = 0; i < count; i++)
        cpus[i] = (struct wall_cpu){.index = (uint32_t)i,
                                    .package = (uint32_t)(i / 32),
                                    .core = (uint32_t)(i / 2),
                                    .thread = i % 2,
                                    .state = i == 0 ? WALL_BSP : WALL_GREETED,
                                    .us = {10, 20, 30, 40}};
    return cpus;
}

static void test_every_size_of_screen_and_machine(void **state)
{
    static const uint32_t sizes[][2] = {{1, 1},     {8, 8},     {16, 4000}, {4000, 16},
                                        {320, 200}, {640, 480}, {1280, 800}};
    static const size_t counts[] = {1, 2, 64, 512, 4096};

    (void)state;
    for (size_t size = 0; size < sizeof sizes / sizeof sizes[0]; size++) {
        for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
            struct wall_cpu *cpus = cpus_of(counts[i]);
            struct wall_layout layout;
            struct rig rig;
            set_up(&rig, sizes[size][0], sizes[size][1], 0);
            wall_plan(&rig.canvas, &layout);
            assert_true(layout.text_height <= rig.height);
            wall_draw(&rig.canvas, &layout, cpus, counts[i], "All of them came", true);
            // The text above is not the wall's.
            for (size_t at = 0; at < (size_t)layout.text_height * rig.width; at++)
                assert_int_equal(rig.pixels[at], UNTOUCHED);
            if (sizes[size][0] == 1280 && counts[i] > 1)
                assert_true(count_pixels(&rig, layout.top, TILE_GREETED) > 2 * counts[i]);
            tear_down(&rig);
            free(cpus);
        }
    }
}

static void test_every_state_has_its_own_look(void **state)
{
    static const color fills[WALL_STATES] = {TILE_ASLEEP, TILE_REAL,     TILE_PROTECTED,
                                             TILE_LONG,   TILE_UP,       TILE_GREETED,
                                             TILE_FAILED, TILE_UNLISTED, INK_TEXT};
    struct wall_layout layout;
    struct rig rig;

    (void)state;
    for (int shown = 0; shown < WALL_STATES; shown++) {
        struct wall_cpu cpus[2] = {{.state = (enum wall_state)shown}, {.index = 1, .core = 1}};
        cpus[1].state = (enum wall_state)shown;
        set_up(&rig, 1280, 800, 0);
        wall_plan(&rig.canvas, &layout);
        wall_draw(&rig.canvas, &layout, cpus, 2, "", true);
        for (int other = 0; other < WALL_STATES; other++) {
            if (other != shown && fills[other] != INK_TEXT) // the legend's words
                assert_int_equal(count_pixels(&rig, layout.top, fills[other]), 0);
        }
        assert_true(count_pixels(&rig, layout.top, fills[shown]) > 100);
        tear_down(&rig);
    }
}

// 512 processors on a common laptop's screen: not by colour alone.
static void test_small_tiles_bear_signs(void **state)
{
    struct wall_cpu *cpus = cpus_of(512);
    struct wall_layout layout;
    struct rig rig;
    size_t ink = 0;

    (void)state;
    set_up(&rig, 1280, 800, 0);
    wall_plan(&rig.canvas, &layout);
    wall_draw(&rig.canvas, &layout, cpus, 512, "", true);
    // The first core: two threads, side by side.
    uint32_t end = layout.left;
    while (rig.pixels[(size_t)layout.top * rig.width + end] != INK_PAPER)
        end++;
    for (uint32_t y = layout.top; y < layout.top + 16; y++) {
        for (uint32_t x = layout.left; x < end; x++)
            ink += rig.pixels[(size_t)y * rig.width + x] == INK_PAPER;
    }
    assert_in_range(ink, 20, 300); // two signs
    tear_down(&rig);
    free(cpus);
}

static void test_the_legend_has_room_for_all(void **state)
{
    static const color fills[WALL_STATES] = {TILE_ASLEEP, TILE_REAL,     TILE_PROTECTED,
                                             TILE_LONG,   TILE_UP,       TILE_GREETED,
                                             TILE_FAILED, TILE_UNLISTED, INK_TEXT};
    static const uint32_t sizes[][2] = {{640, 480}, {1280, 800}, {1366, 768}, {2560, 1440}};

    (void)state;
    for (size_t size = 0; size < sizeof sizes / sizeof sizes[0]; size++) {
        struct wall_cpu *cpus = cpus_of(WALL_STATES);
        struct wall_layout layout;
        struct rig rig;
        for (size_t i = 0; i < WALL_STATES; i++)
            cpus[i].state = (enum wall_state)i;
        set_up(&rig, sizes[size][0], sizes[size][1], 0);
        wall_plan(&rig.canvas, &layout);
        wall_draw(&rig.canvas, &layout, cpus, WALL_STATES, "", true);
        for (size_t i = 0; i < WALL_STATES; i++)
            assert_true(count_pixels(&rig, layout.legend_top, fills[i]) > 50);
        // The code's place stays free.
        for (uint32_t y = layout.legend_top; y < rig.height; y++) {
            for (uint32_t x = layout.code_left; x < rig.width; x++)
                assert_int_equal(rig.pixels[(size_t)y * rig.width + x], INK_PAPER);
        }
        tear_down(&rig);
        free(cpus);
    }
}

static bool checkered(const void *context, uint32_t x, uint32_t y)
{
    (void)context;
    return (x + y) % 2;
}

static void test_a_code_has_its_quiet_zone(void **state)
{
    const uint32_t modules = 29;
    struct wall_layout layout;
    struct rig rig;

    (void)state;
    set_up(&rig, 1280, 800, 0);
    wall_plan(&rig.canvas, &layout);
    wall_draw_code(&rig.canvas, &layout, modules, checkered, NULL);
    const uint32_t scale = layout.code_side / (modules + 8);
    const uint32_t left = rig.width - (modules + 8) * scale,
                   top = rig.height - (modules + 8) * scale;
    assert_true(scale >= 4);
    assert_true(left >= layout.code_left && top >= layout.code_top);
    for (uint32_t y = top; y < rig.height; y++) {
        for (uint32_t x = left; x < rig.width; x++) {
            const uint32_t column = (x - left) / scale, row = (y - top) / scale;
            const bool inside =
                column >= 4 && column < modules + 4 && row >= 4 && row < modules + 4;
            const bool dark = inside && checkered(NULL, column - 4, row - 4);
            assert_int_equal(rig.pixels[(size_t)y * rig.width + x], dark ? 0 : 0xffffff);
        }
    }
    wall_draw_code(&rig.canvas, &layout, 4000, checkered, NULL); // does not fit: nothing
    tear_down(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_what_changed_is_painted),
        cmocka_unit_test(test_a_scrolled_line_that_is_the_same_costs_nothing),
        cmocka_unit_test(test_long_lines_wrap_at_a_blank),
        cmocka_unit_test(test_a_line_that_changes),
        cmocka_unit_test(test_a_line_that_changes_at_the_bottom),
        cmocka_unit_test(test_records_are_for_the_wire),
        cmocka_unit_test(test_the_largest_type_that_leaves_80_by_25),
        cmocka_unit_test(test_every_size_of_screen_and_machine),
        cmocka_unit_test(test_every_state_has_its_own_look),
        cmocka_unit_test(test_small_tiles_bear_signs),
        cmocka_unit_test(test_the_legend_has_room_for_all),
        cmocka_unit_test(test_a_code_has_its_quiet_zone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
