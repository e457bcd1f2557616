// The wall: a tile for each processor, which shows how far it came by colour and by a sign, and
// when it reached each stage by a bar; how high it is says which kind of core it is, where there
// are several. Grouped as the processors sit: packages apart, threads of a core close together.
// Draws the lower part of the canvas, below the text.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "canvas.h"
#include "screen.h"

enum wall_state {
    WALL_ASLEEP,
    WALL_REAL,
    WALL_PROTECTED,
    WALL_LONG,
    WALL_UP,
    WALL_GREETED,
    WALL_FAILED,
    WALL_UNLISTED,
    WALL_BSP,
    WALL_STATES,
};

// Of a processor with several kinds of cores.
enum wall_kind { WALL_ANY_CORE, WALL_P_CORE, WALL_E_CORE, WALL_LP_CORE, WALL_KINDS };

#define WALL_STAGES 4u // real, protected, long, C

struct wall_cpu {
    uint32_t index; // of an unlisted one: its APIC ID, shown behind a #
    uint32_t package, core, thread;
    enum wall_kind kind;
    enum wall_state state;
    enum wall_state reached;  // of a failed one: the last stage it showed
    uint32_t us[WALL_STAGES]; // since the first message; 0: not reached
};

// Where things lie on a canvas, in pixels.
struct wall_layout {
    uint32_t text_height;              // the upper part, whole rows of the screen's type
    uint32_t left, top, width, height; // the tiles' area
    uint32_t headline_top, legend_top;
    uint32_t code_left, code_top, code_side; // a square for a code at the bottom right
};

void wall_plan(const struct canvas *canvas, struct wall_layout *layout);

// Sorts the processors as they sit and draws all: headline, tiles, legend. `good` says whether the
// headline tells a success.
void wall_draw(const struct canvas *canvas, const struct wall_layout *layout, struct wall_cpu *cpus,
               size_t count, const char *headline, bool good);

// Is the layout's square large enough for a code of `modules` by `modules`, a pixel each at least?
bool wall_code_fits(const struct wall_layout *layout, uint32_t modules);

// Draws, where it fits, a square of `modules` by `modules` with the quiet zone around it, dark on
// white, as large as fits the layout's square. `is_dark` is asked for each.
void wall_draw_code(const struct canvas *canvas, const struct wall_layout *layout, uint32_t modules,
                    bool (*is_dark)(const void *context, uint32_t x, uint32_t y),
                    const void *context);
