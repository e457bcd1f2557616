// The run while firmware lives (exit=no): wake, report, and give the processors back. Surprise:
// what cannot be given back is kept. Memory that a processor may still touch is never freed, even
// if that leaks; a processor that went astray in memory of somebody else would be worse. This image
// is not ours to keep: firmware unloads it, so nothing in what is kept leads into it any more.

#include "run.h"

#include "firmware_aps.h"
#include "processors.h"
#include "watch.h"

#define TIMER_TICK_100NS 10000u   // 1 ms
#define TIMER_US         1000000u // firmware's tick has 10 to 55 ms

// Does firmware still get its timer's interrupts?
static bool timer_runs(const struct firmware *firmware, const struct clock *clock)
{
    EFI_EVENT event;
    bool runs = false;

    if (EFI_ERROR(firmware->boot->CreateEvent(EVT_TIMER, TPL_APPLICATION, NULL, NULL, &event)))
        return false;
    firmware->boot->SetTimer(event, TimerRelative, TIMER_TICK_100NS);
    struct watch watch = watch_start(hw_tsc(), clock_ticks(clock, TIMER_US));
    while (!runs && !watch_is_over(&watch, hw_tsc()))
        runs = !EFI_ERROR(firmware->boot->CheckEvent(event));
    firmware->boot->CloseEvent(event);
    return runs;
}

// A processor that ignored our messages may ignore firmware's as well, and firmware would wait for
// it without end.
static bool firmware_may_be_asked(const struct reveille *run)
{
    const struct census *census = &run->census;

    return (run->parking == PARKING_INIT || run->plan.wake == SMP_FIRMWARE) && census->entries &&
           census->count == run->machine.mp_services &&
           census_allows_asking(census->entries, census->count, &run->wake);
}

// How the give-back went, and what memory has to be kept.
struct giveback {
    struct taken_back taken;
    const char *difference; // of the BSP; NULL: none
    bool timer, everybody;
};

static void report_giveback(struct reveille *run, const struct giveback *giveback)
{
    const uint32_t enabled = run->machine.mp_services_enabled;
    char buffer[LINE_BYTES];
    struct line line;

    record_start(&line, buffer, sizeof buffer, "giveback");
    record_add_text(&line, "parking", parking_word(run->parking));
    record_add_decimal(&line, "aps", enabled > 0 ? enabled - 1 : 0);
    record_add_decimal(&line, "back", giveback->taken.ran);
    record_add_decimal(&line, "timer", giveback->timer);
    record_add_text(&line, "bsp", giveback->difference ? giveback->difference : "same");
    record_add_decimal(&line, "freed", giveback->everybody);
    record_add_decimal(&line, "answered", giveback->taken.answered);
    record_add_text(&line, "counts", giveback->taken.counts ? "same" : "other");
    console_record(&run->voice.console, 0, &line);
    if (giveback->difference)
        report_problem(&run->voice.log, SEVERITY_WARNING, "bsp-changed",
                       "the BSP is not as firmware left it: see bsp= above");
    if (!giveback->timer)
        report_problem(&run->voice.log, SEVERITY_WARNING, "timer-dead",
                       "firmware's timer does not tick any more; a reset brings it back");
    if (!giveback->everybody)
        report_problem(&run->voice.log, SEVERITY_WARNING, "not-back",
                       "firmware has not got every processor back: their memory is kept, and "
                       "leaving firmware may hang; a reset brings them back");
}

// Puts everybody to sleep who was sent a message of ours.
static bool hold(struct reveille *run)
{
    if (run->plan.wake == SMP_FIRMWARE)
        return true;
    run_open_window(run);
    const enum status status = wake_hold(&run->wake);
    run_close_window(run);
    if (status != STATUS_OK)
        report_problem(&run->voice.log, SEVERITY_WARNING, "not-held",
                       "the local APIC did not take an INIT: firmware is not asked, since it would "
                       "wait for its own without end");
    return status == STATUS_OK;
}

// Firmware's own wake is tried on every AP. False: something is not as it was.
static bool give_back(struct reveille *run, enum keep *keep)
{
    struct giveback giveback = {0};
    struct bsp_state now;
    const bool held = hold(run);

    processors_read_census(&run->firmware, run->machine.mp_services, &run->census);
    if (held && firmware_may_be_asked(run))
        giveback.taken = firmware_takes_back(run);
    bsp_read(&run->firmware, &run->machine.processor, &now);
    giveback.difference = bsp_difference(&run->firmware_bsp, &now);
    giveback.timer = timer_runs(&run->firmware, &run->machine.clock);
    giveback.everybody = run->plan.want == 0 || everybody_is_back(run, &giveback.taken);
    report_giveback(run, &giveback);
    *keep = giveback.everybody ? KEEP_NOTHING : KEEP_WHAT_APS_TOUCH;
    if (!giveback.everybody)
        wake_seal(&run->wake);
    return giveback.everybody && giveback.timer && !giveback.difference;
}

EFI_STATUS run_inside(struct reveille *run)
{
    enum keep keep;

    firmware_stop_watchdog(&run->firmware);
    bsp_read(&run->firmware, &run->machine.processor, &run->firmware_bsp);
    ap_locate(&arena_lcpu(&run->arena, 0)->lcpu);
    run_wake(run);
    run_report(run);
    note_drop(run->note);
    const bool given_back = give_back(run, &keep);
    const bool good = given_back && run->outcome.ok;
    firmware_census_tell(run, &run->wake);
    run_tell_end(run);
    run_free(run, keep);
    end_inside(&run->options, good ? EXIT_OK : EXIT_FAILED);
    if (!given_back)
        return EFI_DEVICE_ERROR;
    return run->stopped ? EFI_ABORTED : good ? EFI_SUCCESS : EFI_DEVICE_ERROR;
}
