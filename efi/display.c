// The screen after the exit: a canvas on every frame buffer that firmware had, text above, the wall
// below. Surprise: lines are collected in RAM long before the first one is drawn, so what was said
// while firmware lived stands on the screen too.

#include "display.h"

#include "hw.h"
#include "summary.h"
#include "wall_cells.h"

// Room for processors that no table lists, beside those of the inventory.
#define CELLS_MORE SMP_UNLISTED_MAX

static uint32_t rotation(const struct options *options, const struct framebuffer *framebuffer)
{
    if (options->rotate != ROTATE_AUTO)
        return options->rotate;
    return framebuffer->height > framebuffer->width ? 90 : 0; // as such panels are built in
}

size_t display_plan(const struct machine *machine, const struct options *options,
                    struct display *display)
{
    canvas_open(&display->canvas);
    for (size_t i = 0; i < machine->framebuffer_count; i++) {
        const struct framebuffer *framebuffer = &machine->framebuffers[i];
        (void)canvas_add(&display->canvas, framebuffer, (void *)(uintptr_t)framebuffer->phys,
                         rotation(options, framebuffer));
    }
    if (display->canvas.count == 0 || options->exit == ANSWER_NO || options->check == ANSWER_YES)
        return 0;
    wall_plan(&display->canvas, &display->layout);
    display->room = machine->inventory.count + CELLS_MORE;
    return display->room * sizeof *display->cells +
           screen_bytes(&display->canvas, display->layout.text_height);
}

void display_open(struct display *display, void *memory, enum log_level log)
{
    display->cells = memory;
    screen_open(&display->screen, &display->canvas, display->layout.text_height,
                display->cells + display->room);
    display->screen.records = log == LOG_DEBUG;
}

struct console_sink display_sink(struct display *display)
{
    return (struct console_sink){screen_write_line, &display->screen, screen_paint,
                                 screen_rewrite_line};
}

uint64_t display_pixels(const struct display *display)
{
    return display->cells ? canvas_pixels(&display->canvas) : 0;
}

static bool is_dark(const void *context, uint32_t x, uint32_t y)
{
    return qr_is_dark(context, x, y);
}

// The compact result, for whoever has a telephone at hand and no serial port. False: no room.
static bool make_code(struct display *display, const struct machine *machine,
                      const struct evidence *evidence, const struct outcome *outcome)
{
    char buffer[QR_TEXT_MOST + 1];
    struct line line;

    line_start(&line, buffer, sizeof buffer);
    summary_write(machine, evidence, outcome, VERSION, &line);
    return qr_make(&display->code, line.text, line.length) &&
           wall_code_fits(&display->layout, display->code.side);
}

void display_finish(struct display *display, const struct machine *machine,
                    const struct evidence *evidence, const struct outcome *outcome,
                    struct console *console)
{
    char buffer[LINE_BYTES];
    struct line line;

    if (!display->cells)
        return;
    const bool code = make_code(display, machine, evidence, outcome);
    if (!code)
        console_tell(console, "The screen is too small for the result's code");
    console_flush(console);
    const size_t count =
        wall_cells(&machine->inventory, evidence, &machine->clock, display->cells, display->room);
    line_start(&line, buffer, sizeof buffer);
    summary_headline(outcome, &line);
    wall_draw(&display->canvas, &display->layout, display->cells, count, line.text, outcome->ok);
    if (code)
        wall_draw_code(&display->canvas, &display->layout, display->code.side, is_dark,
                       &display->code);
    hw_drain_writes();
}
