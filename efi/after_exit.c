// The run's steps after the exit. Nothing of firmware is called but to keep a summary where
// save=nvram asks for it, and to switch the machine off; whatever goes wrong becomes a record, and
// the run goes on to its end.

#include "run.h"

#include "bound.h"
#include "hw.h"

void run_tell_left_out(struct reveille *run)
{
    char buffer[LINE_BYTES];
    struct line line;

    journal_reserve(&run->journal, 0);
    if (run->journal.left_out == 0)
        return;
    line_start(&line, buffer, sizeof buffer);
    line_add_format(&line,
                    "%u lines found no room in the result that is saved; use log=quiet or fewer "
                    "rounds",
                    (uint64_t)run->journal.left_out);
    report_problem(&run->log, SEVERITY_WARNING, "journal-full", line.text);
}

static void drop_note(struct reveille *run)
{
    note_drop(run->note);
}

// There twice: a fault on the way costs the sink that it was in, and not the record.
static void tell_end(struct reveille *run)
{
    if (!run->end_told)
        report_end(&run->console, &run->outcome);
    run->end_told = true;
}

// Firmware's code: by now all is told, should it not come back.
static void keep_summary(struct reveille *run)
{
    if (run->window_is_open)
        nvram_save(run);
}

static void leave_machine(struct reveille *run)
{
    end_run(&run->firmware, &run->machine, &run->options, run->resets_itself ? &run->journal : NULL,
            &run->console, run->outcome.ok ? EXIT_OK : EXIT_FAILED);
}

_Noreturn void run_end(struct reveille *run)
{
    static void (*const steps[])(struct reveille *) = {
        drop_note,      run_tell_left_out, tell_end,      tell_end,
        display_finish, keep_summary,      leave_machine,
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
        report_cpus(&run->console, &run->machine, &run->wake, &run->outcome);
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
    note_keep(run->note, &run->arena, step, round, run->resets);
}

// How long the rest can take; and the part of it that is the serial port's is all that it gets.
static void tell_bound(struct reveille *run)
{
    const struct options *options = &run->options;
    struct console *console = &run->console;
    const uint64_t serial_us = bound_serial_us(options, &run->machine, &run->plan, console);
    const uint64_t pixels = run->display.memory ? canvas_pixels(&run->display.canvas) : 0;

    report_bound(console, bound_run_us(options, &run->machine, &run->plan, console, pixels));
    uart_limit_waits(&console->uart, clock_ticks(&run->machine.clock, serial_us));
}

void run_leave(struct reveille *run)
{
    CHAR16 name[] = L"last";

    tell_bound(run);
    console_tell(&run->console, "Leaving firmware", 0);
    // A run that dies leaves at least this. And where this finds no room, the result will not
    // either: then no reset takes it from the screen.
    run->saved = run->options.save != SAVE_NONE && run_save(run, name, STICK_BLANK, &run->problems);
    if (run->options.again == ANSWER_YES)
        run_ask_for_another_start(run);
    if (run->options.again == ANSWER_NO)
        run_allow_reset(run);
    uart_drain(&run->console.uart);
    run_stop_watchdog(run);
    run->console.firmware.write_line = NULL;
    if (run->display.memory)
        graphics_clear(run);
    console_flush(&run->console); // the exit may never return, and the screen is not black then
    run_keep_note(run, NOTE_LEAVING, 0);
    const enum status status = memory_read_map(&run->firmware) == STATUS_OK
                                   ? leave_firmware(&run->firmware)
                                   : STATUS_NO_SPACE;
    if (status != STATUS_OK) {
        report_problem(
            &run->log, SEVERITY_ERROR, "exit-refused",
            "ExitBootServices was refused every time; boot services cannot be used any more");
        run_end(run);
    }
    hw_disable_interrupts();
}

void run_report(struct reveille *run)
{
    if (run->options.sweep.count == 0)
        report_rounds(&run->console, &run->plan, run->rounds_us);
    report_stages(&run->console, &run->wake);
    report_aswoken(&run->console, &run->wake);
    report_flags(&run->wake, &run->problems);
    run->accounts++;
    report_cpus(&run->console, &run->machine, &run->wake, &run->outcome);
    run->times.reported = hw_tsc();
    report_times(&run->console, &run->machine.clock, &run->times);
}
