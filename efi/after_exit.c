// The run's steps after the exit. Nothing of firmware is called but to keep a summary where
// save=nvram asks for it, and to switch the machine off; whatever goes wrong becomes a record, and
// the run goes on to its end.

#include "run.h"

#include "bound.h"
#include "graphics.h"
#include "leave.h"
#include "line.h"
#include "memory.h"
#include "nvram.h"
#include "summary.h"

static void tell_left_out(struct reveille *run)
{
    voice_tell_left_out(&run->voice);
}

static void drop_note(struct reveille *run)
{
    note_drop(run->note);
}

// There twice: a fault on the way costs the sink that it was in, and not the record.
static void tell_end(struct reveille *run)
{
    if (!run->end_told)
        report_end(&run->voice.console, &run->outcome);
    run->end_told = true;
}

static const struct wake *wake_of(const struct reveille *run)
{
    return run->wake.generation > 0 ? &run->wake : NULL;
}

static void finish_display(struct reveille *run)
{
    if (run->window_is_open)
        display_finish(&run->voice.display, &run->machine, wake_of(run), &run->outcome,
                       &run->voice.console);
}

// Firmware's code: by now all is told, should it not come back.
static void keep_summary(struct reveille *run)
{
    char buffer[LINE_BYTES];
    struct line line;

    if (!run->window_is_open || run->options.save != SAVE_NVRAM)
        return;
    line_start(&line, buffer, sizeof buffer);
    summary_write(&run->machine, wake_of(run), &run->outcome, VERSION, &line);
    nvram_save(&run->firmware, &line, &run->voice.console);
}

static void leave_machine(struct reveille *run)
{
    end_run(&run->firmware, &run->machine, &run->options, run->next, &run->voice.journal,
            &run->voice.console, run->outcome.ok ? EXIT_OK : EXIT_FAILED);
}

_Noreturn void run_end(struct reveille *run)
{
    static void (*const steps[])(struct reveille *) = {
        drop_note, tell_left_out, tell_end, tell_end, finish_display, keep_summary, leave_machine,
    };

    while (run->ending < sizeof steps / sizeof steps[0])
        steps[run->ending++](run);
    hw_halt();
}

// Where the BSP goes on after a fault of its own: the account of what is known, from its beginning
// if the fault broke into it, and the end.
#define ACCOUNTS_MOST 2u
static void bsp_stopped(void *context)
{
    struct reveille *run = context;

    if (run->accounts++ < ACCOUNTS_MOST)
        report_cpus(&run->voice.console, &run->machine, &run->wake, &run->outcome);
    run->outcome.ok = false;
    run_end(run);
}

void run_expect_faults(struct reveille *run)
{
    struct rally *rally = arena_rally(&run->arena);
    rally->bsp_context = run;
    rally->bsp_stopped = bsp_stopped;
}

void run_keep_note(struct reveille *run, enum note_step step, uint32_t round)
{
    note_keep(run->note, &run->arena, step, round, run->past.resets);
}

// How long the rest can take; and the part of it that is the serial port's is all that it gets.
static void tell_bound(struct reveille *run)
{
    const struct options *options = &run->options;
    struct console *console = &run->voice.console;
    const uint64_t serial_us = bound_serial_us(options, &run->machine, &run->plan, console);

    report_bound(console, bound_run_us(options, &run->machine, &run->plan, console,
                                       display_pixels(&run->voice.display)));
    uart_limit_waits(&console->uart, clock_ticks(&run->machine.clock, serial_us));
}

// A run that dies leaves at least its beginning. And where this finds no room, the result will not
// either: then no reset takes it from the screen.
static enum next_start arrange_next_start(struct reveille *run)
{
    CHAR16 name[] = L"last";
    struct journal *journal = &run->voice.journal;
    const struct problems *problems = &run->voice.problems;

    const bool saved = run->options.save != SAVE_NONE &&
                       harvest_own(journal, name, STICK_BLANK, &run->stick, &run->past, problems);
    struct journal *kept = saved && last_run_keeps(journal->head) ? journal : NULL;
    if (run->options.again == ANSWER_YES && next_start_ask(kept, &run->stick, problems))
        return NEXT_BY_FIRMWARE;
    if (end_resets_itself(&run->machine, &run->options) &&
        next_start_allows_reset(kept, &run->past, &run->stick, problems))
        return NEXT_BY_RESET;
    return NEXT_BY_HAND;
}

void run_leave(struct reveille *run)
{
    uint32_t attempts;

    tell_bound(run);
    console_tell(&run->voice.console, "Leaving firmware", 0);
    run->next = arrange_next_start(run);
    uart_drain(&run->voice.console.uart);
    firmware_stop_watchdog(&run->firmware);
    voice_hide_firmware(&run->voice);
    if (run->voice.display_memory)
        graphics_clear(&run->firmware);
    console_flush(
        &run->voice.console); // the exit may never return, and the screen is not black then
    run_keep_note(run, NOTE_LEAVING, 0);
    const enum status status = memory_read_map(&run->firmware) == STATUS_OK
                                   ? leave_firmware(&run->firmware, &attempts)
                                   : STATUS_NO_SPACE;
    if (status != STATUS_OK) {
        report_problem(
            &run->voice.log, SEVERITY_ERROR, "exit-refused",
            "ExitBootServices was refused every time; boot services cannot be used any more");
        run_end(run);
    }
    hw_disable_interrupts();
}

void run_report(struct reveille *run)
{
    if (run->options.sweep.count == 0)
        report_rounds(&run->voice.console, &run->plan, run->rounds_us);
    report_stages(&run->voice.console, &run->wake);
    report_aswoken(&run->voice.console, &run->wake);
    report_flags(&run->wake, &run->voice.problems);
    run->accounts++;
    report_cpus(&run->voice.console, &run->machine, &run->wake, &run->outcome);
    run->times.reported = hw_tsc();
    report_times(&run->voice.console, &run->machine.clock, &run->times);
}
