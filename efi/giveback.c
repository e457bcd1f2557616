// Surprise: what cannot be given back is kept. Memory that a processor may still touch is never
// freed, even if that leaks; a processor that went astray in memory of somebody else would be
// worse. This image is not ours to keep: firmware unloads it, so nothing in what is kept leads into
// it any more.

#include "giveback.h"

#include "census.h"
#include "hw.h"
#include "memory.h"
#include "processors.h"
#include "report_line.h"
#include "tell.h"
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

// What was found when the processors went back.
struct findings {
    enum parking parking;
    struct taken_back taken;
    const char *difference; // of the BSP; NULL: none
    bool timer, everybody;
};

static void report(struct voice *voice, const struct machine *machine, const struct findings *found)
{
    const uint32_t enabled = machine->mp_services_enabled;
    struct report_line out;

    struct line *line = report_start_record(&out, "giveback");
    record_add_text(line, "parking", parking_word(found->parking));
    record_add_decimal(line, "aps", enabled > 0 ? enabled - 1 : 0);
    record_add_decimal(line, "back", found->taken.ran);
    record_add_decimal(line, "timer", found->timer);
    record_add_text(line, "bsp", found->difference ? found->difference : "same");
    record_add_decimal(line, "freed", found->everybody);
    record_add_decimal(line, "answered", found->taken.answered);
    record_add_text(line, "counts", found->taken.counts ? "same" : "other");
    console_record(&voice->console, 0, line);
    if (found->difference)
        problem_tell(&voice->problems, SEVERITY_WARNING, "bsp-changed",
                     "the BSP is not as firmware left it: see bsp= above");
    if (!found->timer)
        problem_tell(&voice->problems, SEVERITY_WARNING, "timer-dead",
                     "firmware's timer does not tick any more; a reset brings it back");
    if (!found->everybody)
        problem_tell(
            &voice->problems, SEVERITY_WARNING, "not-back",
            "firmware has not got every processor back: their memory is kept, and leaving firmware "
            "may hang; a reset brings them back");
}

// Puts everybody to sleep who was sent a message of ours.
static bool hold(const struct plan *plan, struct window *window, struct smp *smp,
                 const struct voice *voice)
{
    if (plan->messages.strategy == SMP_FIRMWARE)
        return true;
    window_open(window);
    const enum status status = smp_hold(smp);
    window_close(window);
    if (status != STATUS_OK)
        problem_tell(
            &voice->problems, SEVERITY_WARNING, "not-held",
            "the local APIC did not take an INIT: firmware is not asked, since it would wait for "
            "its own without end");
    return status == STATUS_OK;
}

static void tell_census(const struct firmware *firmware, const struct machine *machine,
                        const struct evidence *evidence, struct voice *voice, struct census *census)
{
    if (!census->entries)
        return;
    census_compare(census->entries, census->count, machine, evidence, &voice->problems);
    census_report(&voice->console, census->entries, census->count, evidence);
    memory_free(firmware, census->entries, census->pages);
}

struct giveback giveback(const struct firmware *firmware, const struct machine *machine,
                         const struct plan *plan, const struct injector *injector,
                         enum parking parking, struct evidence *evidence, struct window *window,
                         struct smp *smp, struct voice *voice)
{
    struct findings found = {.parking = parking};
    struct bsp_state now;
    struct census census;

    const bool held = hold(plan, window, smp, voice);
    processors_read_census(firmware, machine->mp_services, &census);
    // A processor that ignored our messages may ignore firmware's as well, and firmware would wait
    // for it without end. Who has come since the account was given has not.
    evidence_take(smp, evidence);
    if (held && (parking == PARKING_INIT || plan->messages.strategy == SMP_FIRMWARE) &&
        census.entries && census.count == machine->mp_services &&
        census_allows_asking(census.entries, census.count, evidence, injector))
        found.taken = firmware_takes_back(firmware, smp, machine);
    bsp_read(firmware, &machine->processor, &now);
    found.difference = bsp_difference(&window->before, &now);
    found.timer = timer_runs(firmware, &machine->clock);
    found.everybody = plan->want == 0 || found.taken.everybody;
    report(voice, machine, &found);
    if (!found.everybody)
        smp_seal(smp);
    tell_census(firmware, machine, evidence, voice, &census);
    return (struct giveback){
        .good = found.everybody && found.timer && !found.difference,
        .keep = found.everybody ? KEEP_NOTHING : KEEP_WHAT_APS_TOUCH,
    };
}

void giveback_tell_census(const struct firmware *firmware, const struct machine *machine,
                          struct voice *voice)
{
    struct census census;

    processors_read_census(firmware, machine->mp_services, &census);
    tell_census(firmware, machine, NULL, voice, &census);
}
