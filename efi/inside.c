// The run while firmware lives (exit=no): wake, report, and give the processors back. Surprise:
// what cannot be given back is kept. Memory that a processor may still touch is never freed, even
// if that leaks; a processor that went astray in memory of somebody else would be worse. This image
// is not ours to keep: firmware unloads it, so nothing in what is kept leads into it any more.

#include "run.h"

#include "firmware_aps.h"
#include "hw.h"

#define TIMER_TICK_100NS 10000u   // 1 ms
#define TIMER_US         1000000u // firmware's tick has 10 to 55 ms

// Does firmware still get its timer's interrupts?
static bool timer_runs(const struct firmware *firmware, const struct clock *clock)
{
    const uint64_t ticks = clock_ticks(clock, TIMER_US);
    EFI_EVENT event;
    bool runs = false;

    if (EFI_ERROR(firmware->boot->CreateEvent(EVT_TIMER, TPL_APPLICATION, NULL, NULL, &event)))
        return false;
    firmware->boot->SetTimer(event, TimerRelative, TIMER_TICK_100NS);
    const uint64_t start = hw_tsc();
    while (!runs && hw_tsc() - start < ticks)
        runs = !EFI_ERROR(firmware->boot->CheckEvent(event));
    firmware->boot->CloseEvent(event);
    return runs;
}

enum status run_check_return(struct reveille *run)
{
    const enum parking parking = firmware_parking(&run->firmware, &run->firmware_aps);

    run->parking = parking;
    if (run->machine.low_page == 0) {
        report_problem(&run->log, SEVERITY_ERROR, "no-low-page",
                       "with exit=no a page of boot services cannot be used; try exit=yes");
        return STATUS_NOT_FOUND;
    }
    if (parking == PARKING_INIT || parking == PARKING_NOBODY || run->plan.wake == WAKE_FIRMWARE)
        return STATUS_OK;
    report_problem(
        &run->log, run->options.force == ANSWER_YES ? SEVERITY_WARNING : SEVERITY_ERROR, "parking",
        parking == PARKING_OTHER
            ? "firmware's processors wait for a word in memory and not for INIT: once taken, they "
              "do not come back, and firmware waits for them for ever when it is left; use "
              "exit=yes, or force=yes"
            : "it cannot be found out how firmware's processors wait, so perhaps it waits for them "
              "for ever when it is left; use exit=yes, or force=yes");
    return run->options.force == ANSWER_YES ? STATUS_OK : STATUS_UNSUPPORTED;
}

// A processor that ignored real messages may ignore firmware's as well, and firmware would wait for
// it without end.
static bool firmware_may_be_asked(const struct reveille *run)
{
    if (run->parking != PARKING_INIT)
        return run->plan.wake == WAKE_FIRMWARE;
    return run->options.inject_count > 0 || run->wake.missing_count == 0;
}

static void report_giveback(struct reveille *run, uint32_t back, const char *difference, bool freed)
{
    char buffer[LINE_BYTES];
    struct line line;

    record_start(&line, buffer, sizeof buffer, "giveback");
    record_add_text(&line, "parking", parking_word(run->parking));
    record_add_decimal(&line, "aps",
                       run->machine.mp_services_enabled > 0 ? run->machine.mp_services_enabled - 1
                                                            : 0);
    record_add_decimal(&line, "back", back);
    record_add_decimal(&line, "timer", timer_runs(&run->firmware, &run->machine.clock));
    record_add_text(&line, "bsp", difference ? difference : "same");
    record_add_decimal(&line, "freed", freed);
    console_record(&run->console, 0, &line);
}

// Firmware's own wake is tried on every AP. Returns what memory has to be kept.
static enum keep give_back(struct reveille *run)
{
    struct bsp_state now;
    uint32_t back = 0;
    bool held = true;

    if (run->plan.wake != WAKE_FIRMWARE) {
        run_open_window(run);
        held = wake_hold(&run->wake) == STATUS_OK;
        run_close_window(run);
    }
    if (!held)
        report_problem(&run->log, SEVERITY_WARNING, "not-held",
                       "the local APIC did not take an INIT: firmware is not asked, since it would "
                       "wait for its own messages in the same way and without end");
    if (held && firmware_may_be_asked(run))
        back = firmware_takes_back(run);
    bsp_read(run, &now);
    const char *difference = bsp_difference(&run->firmware_bsp, &now);
    const bool all = run->plan.want == 0 || everybody_is_back(run);
    report_giveback(run, back, difference, all);
    if (difference)
        report_problem(&run->log, SEVERITY_WARNING, "bsp-changed",
                       "the BSP is not as firmware left it: see bsp= above");
    if (!all)
        report_problem(&run->log, SEVERITY_WARNING, "not-back",
                       "firmware has not got every processor back: their memory is kept, and "
                       "leaving firmware may hang; a reset brings them back");
    if (all)
        return KEEP_NOTHING;
    wake_seal(&run->wake);
    return KEEP_WHAT_APS_TOUCH;
}

// A line that the journal had no room for was on the serial port alone.
static void tell_left_out(struct reveille *run)
{
    char buffer[LINE_BYTES];
    struct line line;

    if (run->journal.left_out == 0)
        return;
    line_start(&line, buffer, sizeof buffer);
    line_add_format(&line,
                    "%u lines found no room and stand on the serial port only; use log=quiet "
                    "or fewer rounds",
                    (uint64_t)run->journal.left_out);
    report_problem(&run->log, SEVERITY_WARNING, "journal-full", line.text);
}

EFI_STATUS run_inside(struct reveille *run)
{
    CHAR16 name[] = L"last";

    bsp_read(run, &run->firmware_bsp);
    run_wake(run);
    run_report(run);
    note_drop(run->note);
    const enum keep keep = give_back(run);
    firmware_census(run, &run->wake);
    tell_left_out(run);
    const bool saved = stick_save(&run->firmware, &run->journal, name, STICK_CUT, &run->problems);
    report_end(&run->console, &run->outcome);
    if (saved)
        (void)stick_save(&run->firmware, &run->journal, name, STICK_CUT,
                         &run->problems); // with the last record
    run_free(run, keep);
    end_inside(&run->options, run->outcome.ok ? EXIT_OK : EXIT_FAILED);
    return run->stopped ? EFI_ABORTED : run->outcome.ok ? EFI_SUCCESS : EFI_DEVICE_ERROR;
}
