// The screen after the exit: text above, the wall and the result's code below.
#pragma once

#include "canvas.h"
#include "console.h"
#include "evidence.h"
#include "machine.h"
#include "options.h"
#include "qr.h"
#include "outcome.h"
#include "screen.h"
#include "wall.h"

struct display {
    struct canvas canvas;
    struct wall_layout layout;
    struct screen screen;
    struct qr code;
    struct wall_cpu *cells; // NULL: there is no screen
    size_t room;            // for so many
};

// A canvas of every frame buffer, and what stands where on it. Returns the bytes that display_open
// wants; 0 where nothing can be drawn on, or firmware will not be left.
size_t display_plan(const struct machine *machine, const struct options *options,
                    struct display *display);

// Lines are collected from now on in `memory`; with log=debug the records, too.
void display_open(struct display *display, void *memory, enum log_level log);
struct console_sink display_sink(struct display *display);

// How many pixels a line may cost to draw; 0 where there is no screen.
uint64_t display_pixels(const struct display *display);

// At the end: the wall, and the code. NULL evidence: nobody was woken.
void display_finish(struct display *display, const struct machine *machine,
                    const struct evidence *evidence, const struct outcome *outcome,
                    struct console *console);
