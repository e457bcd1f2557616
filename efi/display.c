// The screen after the exit: a canvas on every frame buffer that firmware had, text above, the wall
// below. Surprise: lines are collected in RAM long before the first one is drawn, so what was said
// while firmware lived stands on the screen too.

#include "run.h"

#include "hw.h"
#include "mem.h"
#include "summary.h"
#include "wall_cells.h"

// Room for processors that no table lists, beside those of the inventory.
#define CELLS_MORE RALLY_UNLISTED_MAX

static uint32_t rotation(const struct options *options, const struct framebuffer *framebuffer)
{
    if (options->rotate != ROTATE_AUTO)
        return options->rotate;
    return framebuffer->height > framebuffer->width ? 90 : 0; // as such panels are built in
}

void display_open(struct reveille *run)
{
    struct display *display = &run->display;
    const struct machine *machine = &run->machine;

    canvas_open(&display->canvas);
    for (size_t i = 0; i < machine->framebuffer_count; i++) {
        const struct framebuffer *framebuffer = &machine->framebuffers[i];
        (void)canvas_add(&display->canvas, framebuffer, (void *)(uintptr_t)framebuffer->phys,
                         rotation(&run->options, framebuffer));
    }
    if (display->canvas.count == 0 || run->options.exit == ANSWER_NO ||
        run->options.check == ANSWER_YES)
        return;
    wall_plan(&display->canvas, &display->layout);
    const size_t shadow = screen_bytes(&display->canvas, display->layout.text_height);
    display->room = machine->inventory.count + CELLS_MORE;
    display->pages = (shadow + display->room * sizeof *display->cells) / PAGE_BYTES + 1;
    display->memory = memory_allocate(&run->firmware, display->pages);
    if (!display->memory) {
        report_problem(&run->log, SEVERITY_WARNING, "no-screen",
                       "no memory for the screen's shadow: nothing is shown after the exit");
        return;
    }
    display->cells = display->memory;
    screen_open(&display->screen, &display->canvas, display->layout.text_height,
                display->cells + display->room);
    display->screen.records = run->options.log == LOG_DEBUG;
    run->console.sinks[SINK_SCREEN] = (struct console_sink){screen_write_line, &display->screen,
                                                            screen_paint, screen_rewrite_line};
    // What was said before there was a screen.
    const char *text;
    for (size_t at = 0; (text = journal_next(&run->journal, &at)) != NULL;)
        screen_write_line(&display->screen, text);
}

void display_close(struct reveille *run)
{
    run->console.sinks[SINK_SCREEN].write_line = NULL;
    if (run->display.memory)
        memory_free(&run->firmware, run->display.memory, run->display.pages);
}

static const char *headline(const struct outcome *outcome, struct line *line, char *buffer,
                            size_t bytes)
{
    line_start(line, buffer, bytes);
    if (outcome->failed > 0)
        line_add_format(line, "%u of %u processors failed to start", (uint64_t)outcome->failed,
                        (uint64_t)outcome->want);
    else if (!outcome->ok)
        line_add_text(line, "The run was cut short");
    else if (outcome->want == 1)
        line_add_text(line, "The processor started");
    else
        line_add_format(line, "All %u processors started", (uint64_t)outcome->want);
    return line->text;
}

static bool is_dark(const void *context, uint32_t x, uint32_t y)
{
    return qr_is_dark(context, x, y);
}

// The compact result, for whoever has a telephone at hand and no serial port. False: no room.
static bool make_code(struct reveille *run, const struct wake *wake)
{
    struct display *display = &run->display;
    char buffer[QR_TEXT_MOST + 1];
    struct line line;

    line_start(&line, buffer, sizeof buffer);
    summary_write(&run->machine, wake, &run->outcome, VERSION, &line);
    return qr_make(&display->code, line.text, line.length) &&
           wall_code_fits(&display->layout, display->code.side);
}

void display_finish(struct reveille *run)
{
    struct display *display = &run->display;
    const struct wake *wake = run->wake.generation > 0 ? &run->wake : NULL;
    char buffer[LINE_BYTES];
    struct line line;

    if (!display->memory || !run->window_is_open)
        return;
    const bool code = make_code(run, wake);
    if (!code)
        console_tell(&run->console, "The screen is too small for the result's code", 0);
    console_flush(&run->console);
    const size_t count = wall_cells(&run->machine, wake, display->cells, display->room);
    wall_draw(&display->canvas, &display->layout, display->cells, count,
              headline(&run->outcome, &line, buffer, sizeof buffer), run->outcome.ok);
    if (code)
        wall_draw_code(&display->canvas, &display->layout, display->code.side, is_dark,
                       &display->code);
    hw_drain_writes();
}
