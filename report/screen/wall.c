// Tiles as large as the area allows. Surprise: there is no formula for how large that is, since
// packages and cores take gaps; sizes are tried from the largest down, by the same walk that draws.

#include "wall.h"

#include "line.h"
#include "palette.h"

#define LEGEND_COLUMNS 5u  // of an entry, besides its word: its sign, and what parts it from others
#define KINDS_COLUMNS  31u // of the entries of all kinds: a number of three digits before each word

#define TILES_LEAST 6u   // so many would fill a row, where that is more than TILE_MOST
#define TILE_MOST   144u // pixels; on a large panel alone too small to be read from two metres
#define TILE_LEAST  3u
#define BAR_PART    6u // of a tile's height, where that has 12 pixels
#define SIGN_WIDE   8u
#define SIGN_HIGH   19u // the smallest type, and a bar
#define QUIET_ZONE  4u  // modules; ISO/IEC 18004

static const struct look {
    color fill, ink;
    char sign;
    const char *word;
} looks[WALL_STATES] = {
    [WALL_ASLEEP] = {TILE_ASLEEP, INK_TEXT, '.', "asleep"},
    [WALL_REAL] = {TILE_REAL, INK_TEXT, 'r', "real"},
    [WALL_PROTECTED] = {TILE_PROTECTED, INK_TEXT, 'p', "protected"},
    [WALL_LONG] = {TILE_LONG, INK_PAPER, 'l', "long"},
    [WALL_UP] = {TILE_UP, INK_PAPER, '^', "up"},
    [WALL_GREETED] = {TILE_GREETED, INK_PAPER, '+', "greeted"},
    [WALL_FAILED] = {TILE_FAILED, INK_PAPER, '!', "failed"},
    [WALL_UNLISTED] = {TILE_UNLISTED, INK_PAPER, '?', "unlisted"},
    [WALL_BSP] = {INK_TEXT, INK_PAPER, '*', "BSP"},
};

// How high a tile is, and the words.
static const struct shape {
    uint32_t missing_eighths; // above it, so that tiles stand on one line
    const char *word;
} shapes[WALL_KINDS] = {
    [WALL_ANY_CORE] = {0, ""},
    [WALL_P_CORE] = {0, " P"},
    [WALL_E_CORE] = {2, " E"},
    [WALL_LP_CORE] = {4, " LP"},
};

// What a processor was in before it reached each stage.
static const enum wall_state before_stage[WALL_STAGES] = {WALL_ASLEEP, WALL_REAL, WALL_PROTECTED,
                                                          WALL_LONG};

static uint32_t length_of(const char *text)
{
    uint32_t length = 0;

    while (text[length])
        length++;
    return length;
}

// Of a legend with every state and kind in it; one more line is enough where they do not fit.
static uint32_t legend_height(const struct canvas *canvas, uint32_t width)
{
    uint32_t columns = 1 + KINDS_COLUMNS;

    for (size_t state = 0; state < WALL_STATES; state++)
        columns += length_of(looks[state].word) + LEGEND_COLUMNS;
    return columns * fonts[0].width <= width ? screen_type(canvas).height : 2 * fonts[0].height;
}

void wall_plan(const struct canvas *canvas, struct wall_layout *layout)
{
    const struct type type = screen_type(canvas);
    const uint32_t rows = canvas->height / type.height;
    const uint32_t text_rows = rows * 2 / 5 > 8 ? rows * 2 / 5 : rows < 8 ? rows : 8;
    const uint32_t margin = type.width;

    *layout = (struct wall_layout){.text_height = text_rows * type.height, .left = margin};
    const uint32_t lower = canvas->height - layout->text_height;
    layout->code_side = lower / 2 < canvas->width / 3 ? lower / 2 : canvas->width / 3;
    layout->code_left = canvas->width - layout->code_side;
    layout->code_top = canvas->height - layout->code_side;
    layout->width = layout->code_left > 2 * margin ? layout->code_left - 2 * margin : 0;
    layout->headline_top = layout->text_height + type.height / 2;
    layout->top = layout->headline_top + 5 * type.height / 2;
    // Where there is no room for a legend it lies below the canvas.
    const uint32_t legend = legend_height(canvas, layout->width);
    layout->legend_top =
        lower >= legend + type.height ? canvas->height - legend - type.height / 2 : canvas->height;
    layout->height = layout->legend_top > layout->top + type.height / 2
                         ? layout->legend_top - type.height / 2 - layout->top
                         : 0;
}

// ---- sitting ----

static bool sits_before(const struct wall_cpu *left, const struct wall_cpu *right)
{
    if (left->package != right->package)
        return left->package < right->package;
    if (left->core != right->core)
        return left->core < right->core;
    return left->thread != right->thread ? left->thread < right->thread
                                         : left->index < right->index;
}

// Shell sort: in place, and nearly sorted lists cost nothing.
static void seat(struct wall_cpu *cpus, size_t count)
{
    for (size_t gap = count / 2; gap > 0; gap /= 2) {
        for (size_t i = gap; i < count; i++) {
            const struct wall_cpu moved = cpus[i];
            size_t j = i;
            for (; j >= gap && sits_before(&moved, &cpus[j - gap]); j -= gap)
                cpus[j] = cpus[j - gap];
            cpus[j] = moved;
        }
    }
}

// How packages stand apart: each on rows of its own while there are few, else by a gap.
enum packages { PACKAGES_ONE_CPU_EACH, PACKAGES_BY_ROWS, PACKAGES_BY_GAPS };

#define PACKAGES_BY_ROWS_MOST 8u

struct walk {
    const struct wall_layout *layout;
    enum packages packages;
    uint32_t width, height; // of a tile
    uint32_t gap;           // between cores; threads have a quarter of it, packages half a tile
    uint32_t x, y;
};

static struct walk start_walk(const struct wall_layout *layout, uint32_t width, uint32_t least_high,
                              enum packages packages)
{
    return (struct walk){
        .layout = layout,
        .packages = packages,
        .width = width,
        .height = width * 3 / 4 > least_high ? width * 3 / 4 : least_high,
        .gap = width / 8 > 1 ? width / 8 : 1,
    };
}

static bool same_core(const struct wall_cpu *left, const struct wall_cpu *right)
{
    return left->package == right->package && left->core == right->core;
}

// The width of the core that begins at `at`, 0 if another's thread stands before it.
static uint32_t core_width(const struct walk *walk, const struct wall_cpu *cpus, size_t count,
                           size_t at)
{
    size_t threads = 1;

    if (at > 0 && same_core(&cpus[at - 1], &cpus[at]))
        return 0;
    while (at + threads < count && same_core(&cpus[at], &cpus[at + threads]))
        threads++;
    return (uint32_t)threads * (walk->width + walk->gap / 4);
}

// Moves to the place of tile `at`. False: beyond the area.
static bool step(struct walk *walk, const struct wall_cpu *cpus, size_t count, size_t at)
{
    const struct wall_layout *layout = walk->layout;
    const uint32_t core = core_width(walk, cpus, count, at);
    bool wrap = false;

    if (at > 0) {
        const bool package = cpus[at - 1].package != cpus[at].package;
        walk->x += walk->width;
        if (package && walk->packages == PACKAGES_BY_GAPS)
            walk->x += walk->width / 2;
        else
            walk->x += core > 0 ? walk->gap : walk->gap / 4;
        wrap = package && walk->packages == PACKAGES_BY_ROWS;
        if (wrap)
            walk->y += walk->gap;
    }
    // A core stays together where it fits at all.
    if (wrap || walk->x + walk->width > layout->width ||
        (core <= layout->width && walk->x + core > layout->width + walk->gap / 4 && walk->x > 0)) {
        walk->x = 0;
        walk->y += walk->height + walk->gap;
    }
    return walk->width <= layout->width && walk->y + walk->height <= layout->height;
}

static bool fits(struct walk walk, const struct wall_cpu *cpus, size_t count)
{
    size_t i = 0;

    while (i < count && step(&walk, cpus, count, i))
        i++;
    return i == count;
}

// The walk with the largest tiles. A sign on each is worth more than their shape: before they lose
// it they become narrow, and then as high as there is room, for a larger sign.
static struct walk largest_walk(const struct wall_layout *layout, const struct wall_cpu *cpus,
                                size_t count, enum packages packages)
{
    const uint32_t part = layout->width / TILES_LEAST, most = part > TILE_MOST ? part : TILE_MOST;

    for (uint32_t width = most; width >= SIGN_WIDE; width -= width > 16 ? 2 : 1) {
        struct walk walk = start_walk(layout, width, SIGN_HIGH, packages);
        if (!fits(walk, cpus, count))
            continue;
        for (; walk.height < 2 * width && walk.height > width * 3 / 4; walk.height++) {
            struct walk higher = walk;
            higher.height++;
            if (!fits(higher, cpus, count))
                break;
        }
        return walk;
    }
    for (uint32_t width = most; width > TILE_LEAST; width -= width > 16 ? 2 : 1) {
        const struct walk walk = start_walk(layout, width, 2, packages);
        if (fits(walk, cpus, count))
            return walk;
    }
    return start_walk(layout, TILE_LEAST, 2, packages);
}

// ---- drawing ----

// The largest type of which `columns` by `rows` characters fit; no font where none does.
static struct type type_for(uint32_t width, uint32_t height, uint32_t columns, uint32_t rows)
{
    struct type best = {NULL, 0, 0, 0};

    for (size_t i = 0; i < FONT_COUNT; i++) {
        const uint32_t wide = width / (fonts[i].width * columns);
        const uint32_t high = height / (fonts[i].height * rows);
        const uint32_t scale = wide < high ? wide : high;
        if (scale >= 1 && fonts[i].height * scale > best.height)
            best = (struct type){&fonts[i], scale, fonts[i].width * scale, fonts[i].height * scale};
    }
    return best;
}

// The time that bars show: from the first of all that came to real mode to the last that reached
// anything. What lies before is the wait after INIT, the same for all.
struct span {
    uint32_t from, to; // microseconds
};

// A piece for each stage, as long as the processor was on its way to it.
static void draw_bar(const struct canvas *canvas, const struct wall_cpu *cpu, struct box box,
                     struct span span)
{
    const uint32_t whole = span.to > span.from ? span.to - span.from : 1;
    uint32_t from = 0;

    canvas_fill(canvas, box.x, box.y, box.width, box.height, INK_PAPER);
    for (size_t stage = 0; stage < WALL_STAGES && cpu->us[stage] != 0; stage++) {
        const uint32_t us = cpu->us[stage] > span.from ? cpu->us[stage] - span.from : 0;
        const uint64_t to = (uint64_t)us * box.width / whole;
        if (to <= from)
            continue;
        const uint32_t end = to < box.width ? (uint32_t)to : box.width;
        canvas_fill(canvas, box.x + from, box.y, end - from, box.height,
                    looks[before_stage[stage]].fill);
        from = end;
    }
    // Where it ended, however thin.
    if (cpu->us[0] != 0)
        canvas_fill(canvas, box.x + (from > 2 ? from - 2 : 0), box.y, 2, box.height, TILE_UP);
}

// What is left out of a tile of this height. Where it has room for a sign, that stays.
static uint32_t lowered_by(uint32_t height, enum wall_kind kind)
{
    const uint32_t by = height * shapes[kind].missing_eighths / 8, least = fonts[0].height;

    return height < least || height - by >= least ? by : height - least;
}

static void draw_tile(const struct canvas *canvas, const struct wall_cpu *cpu, uint32_t x,
                      uint32_t y, uint32_t width, uint32_t height, struct span span)
{
    const struct look *look = &looks[cpu->state];
    const uint32_t bar = height >= 2 * BAR_PART ? height / BAR_PART : 0;
    const uint32_t above = lowered_by(height - bar, cpu->kind), face = height - bar - above;
    char text[16];
    struct line line;

    line_start(&line, text, sizeof text);
    if (cpu->state == WALL_UNLISTED) // it has no index
        line_add_text(&line, "#");
    line_add_decimal(&line, cpu->index);
    const size_t digits = line.length;

    y += above;
    canvas_fill(canvas, x, y, width, face, look->fill);
    if (bar > 0)
        draw_bar(canvas, cpu, (struct box){x, y + face, width, bar}, span);
    text[digits] = look->sign;
    text[digits + 1] = cpu->state == WALL_FAILED ? looks[cpu->reached].sign : '\0';
    text[digits + 2] = '\0';
    uint32_t signs = cpu->state == WALL_FAILED ? 2 : 1;
    struct type both = type_for(width, face, (uint32_t)digits + signs, 1);
    if (!both.font && signs == 2) { // who it is, before how far it came
        text[digits + --signs] = '\0';
        both = type_for(width, face, (uint32_t)digits + signs, 1);
    }
    const struct type alone = type_for(width, face, 1, 1);
    if (both.font) {
        const uint32_t wide = ((uint32_t)digits + signs) * both.width;
        (void)canvas_text(canvas, both.font, both.scale, x + (width - wide) / 2,
                          y + (face - both.height) / 2, text, look->ink, look->fill);
    } else if (alone.font) {
        canvas_glyph(canvas, alone.font, alone.scale, x + (width - alone.width) / 2,
                     y + (face - alone.height) / 2, look->sign, look->ink, look->fill);
    } else if (cpu->state != WALL_GREETED && cpu->state != WALL_BSP && width >= 6) {
        // Too small for a sign: a notch tells it from those that are well, whatever the colour.
        canvas_fill(canvas, x + width / 3, y + face / 3, (width + 2) / 3, (face + 2) / 3,
                    look->ink);
    }
}

// Where the next entry of the legend begins.
struct pen {
    const struct canvas *canvas;
    const struct wall_layout *layout;
    struct type type;
    uint32_t x, y;
};

// False: an entry of so many columns is too wide for any line.
static bool start_entry(struct pen *pen, uint32_t columns)
{
    const uint32_t wide = columns * pen->type.width;

    if (wide > pen->layout->width)
        return false;
    if (pen->x + wide > pen->layout->left + pen->layout->width) {
        pen->x = pen->layout->left;
        pen->y += pen->type.height;
    }
    return true;
}

// Behind its sign.
static void end_entry(struct pen *pen, const char *word)
{
    pen->x = canvas_text(pen->canvas, pen->type.font, pen->type.scale, pen->x + pen->type.width / 2,
                         pen->y, word, INK_TEXT, INK_PAPER);
    pen->x += pen->type.width;
}

static void draw_kinds(struct pen *pen, const uint32_t *counts)
{
    const struct type *type = &pen->type;
    char text[16];
    struct line line;

    for (size_t kind = WALL_ANY_CORE + 1; kind < WALL_KINDS; kind++) {
        line_start(&line, text, sizeof text);
        line_add_decimal(&line, counts[kind]);
        line_add_text(&line, shapes[kind].word);
        if (counts[kind] == 0 || !start_entry(pen, (uint32_t)line.length + LEGEND_COLUMNS))
            continue;
        const uint32_t above = type->height * shapes[kind].missing_eighths / 8;
        canvas_fill(pen->canvas, pen->x, pen->y + above, 3 * type->width, type->height - above,
                    INK_FAINT);
        pen->x += 3 * type->width;
        end_entry(pen, text);
    }
}

// The words for what stands on the wall, beside the code: in one line, or in the smallest type and
// as many as there are.
static void draw_legend(const struct canvas *canvas, const struct wall_layout *layout,
                        const bool *present, const uint32_t *kinds)
{
    const struct type small = {&fonts[0], 1, fonts[0].width, fonts[0].height};
    uint32_t columns = 1;

    for (size_t state = 0; state < WALL_STATES; state++)
        columns += present[state] ? length_of(looks[state].word) + LEGEND_COLUMNS : 0;
    if (kinds[WALL_P_CORE] + kinds[WALL_E_CORE] + kinds[WALL_LP_CORE] > 0)
        columns += KINDS_COLUMNS;
    const struct type one_line = type_for(layout->width, screen_type(canvas).height, columns, 1);
    struct pen pen = {canvas, layout, one_line.font ? one_line : small, layout->left,
                      layout->legend_top};
    // First what became of them, then the pieces of the bars.
    for (size_t i = 0; i < WALL_STATES; i++) {
        const size_t state = (i + WALL_UP) % WALL_STATES;
        const char sign[] = {' ', looks[state].sign, ' ', '\0'};
        if (!present[state] || !start_entry(&pen, length_of(looks[state].word) + LEGEND_COLUMNS))
            continue;
        pen.x = canvas_text(canvas, pen.type.font, pen.type.scale, pen.x, pen.y, sign,
                            looks[state].ink, looks[state].fill);
        end_entry(&pen, looks[state].word);
    }
    draw_kinds(&pen, kinds);
}

static void draw_headline(const struct canvas *canvas, const struct wall_layout *layout,
                          const char *headline, bool good)
{
    const uint32_t length = length_of(headline);

    if (length == 0 || layout->top <= layout->headline_top)
        return;
    const struct type type = type_for(canvas->width - 2 * layout->left,
                                      (layout->top - layout->headline_top) * 9 / 10, length, 1);
    if (type.font)
        (void)canvas_text(canvas, type.font, type.scale, layout->left, layout->headline_top,
                          headline, good ? INK_GOOD : INK_BAD, INK_PAPER);
}

void wall_draw(const struct canvas *canvas, const struct wall_layout *layout, struct wall_cpu *cpus,
               size_t count, const char *headline, bool good)
{
    bool present[WALL_STATES] = {false};
    uint32_t kinds[WALL_KINDS] = {0};
    struct span span = {UINT32_MAX, 0};
    size_t packages = count > 0;

    canvas_fill(canvas, 0, layout->text_height, canvas->width, canvas->height - layout->text_height,
                INK_PAPER);
    draw_headline(canvas, layout, headline, good);
    seat(cpus, count);
    for (size_t i = 0; i < count; i++) {
        present[cpus[i].state] = true;
        kinds[cpus[i].kind]++;
        if (i > 0 && cpus[i].package != cpus[i - 1].package)
            packages++;
        for (size_t stage = 0; stage < WALL_STAGES; stage++) {
            present[before_stage[stage]] |= cpus[i].us[stage] > 0;
            span.to = cpus[i].us[stage] > span.to ? cpus[i].us[stage] : span.to;
        }
        if (cpus[i].us[0] > 0 && cpus[i].us[0] < span.from)
            span.from = cpus[i].us[0];
    }
    const enum packages apart = packages == count                   ? PACKAGES_ONE_CPU_EACH
                                : packages <= PACKAGES_BY_ROWS_MOST ? PACKAGES_BY_ROWS
                                                                    : PACKAGES_BY_GAPS;
    struct walk walk = largest_walk(layout, cpus, count, apart);
    for (size_t i = 0; i < count && step(&walk, cpus, count, i); i++)
        draw_tile(canvas, &cpus[i], layout->left + walk.x, layout->top + walk.y, walk.width,
                  walk.height, span);
    draw_legend(canvas, layout, present, kinds);
}

bool wall_code_fits(const struct wall_layout *layout, uint32_t modules)
{
    return layout->code_side >= modules + 2 * QUIET_ZONE;
}

void wall_draw_code(const struct canvas *canvas, const struct wall_layout *layout, uint32_t modules,
                    bool (*is_dark)(const void *context, uint32_t x, uint32_t y),
                    const void *context)
{
    const uint32_t scale = layout->code_side / (modules + 2 * QUIET_ZONE);
    const uint32_t side = (modules + 2 * QUIET_ZONE) * scale;
    const uint32_t left = canvas->width - side, top = canvas->height - side;

    canvas_fill(canvas, left, top, side, side, 0xffffff);
    for (uint32_t y = 0; y < modules; y++) {
        for (uint32_t x = 0; x < modules; x++) {
            if (is_dark(context, x, y))
                canvas_fill(canvas, left + (x + QUIET_ZONE) * scale, top + (y + QUIET_ZONE) * scale,
                            scale, scale, INK_PAPER);
        }
    }
}
