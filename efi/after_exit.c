// The run's steps after the exit. Nothing of firmware is called but to keep a summary where
// save=nvram asks for it, and to switch the machine off; whatever goes wrong becomes a record, and
// the run goes on to its end.

#include "run.h"

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

_Noreturn void run_end(struct reveille *run)
{
    note_drop(run->note);
    run_tell_left_out(run);
    report_end(&run->console, &run->outcome);
    arena_rally(&run->arena)->bsp_stopped = NULL; // the end is told once
    display_finish(run);
    if (run->window_is_open)
        nvram_save(run); // firmware's code: by now all is told, should it not come back
    end_run(&run->firmware, &run->machine, &run->options, &run->console,
            run->outcome.ok ? EXIT_OK : EXIT_FAILED);
}

// Where the BSP goes on after a fault of its own: the account of what is known, and the end.
static void bsp_stopped(void *context)
{
    struct reveille *run = context;
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

void run_leave(struct reveille *run)
{
    uint32_t attempts;

    CHAR16 name[] = L"last";

    if (run->options.again == ANSWER_YES)
        run_ask_for_another_start(run);
    console_tell(&run->console, "Leaving firmware", 0);
    if (run->options.save != SAVE_NONE) // a run that dies leaves at least this
        (void)run_save(run, name, STICK_BLANK, &run->problems);
    uart_drain(&run->console.uart);
    run_stop_watchdog(run);
    run->console.sinks[SINK_FIRMWARE].write_line = NULL;
    if (run->display.memory)
        graphics_clear(run);
    console_flush(&run->console); // the exit may never return, and the screen is not black then
    run_keep_note(run, NOTE_LEAVING, 0);
    const enum status status = memory_read_map(&run->firmware) == STATUS_OK
                                   ? leave_firmware(&run->firmware, &attempts)
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
    report_cpus(&run->console, &run->machine, &run->wake, &run->outcome);
    run->times.reported = hw_tsc();
    report_times(&run->console, &run->machine.clock, &run->times);
}
