// MP Services at work. Surprise: how firmware parks its processors is not told anywhere, so it is
// tried. CR2 is nobody's while no page fault happens, firmware does not save it, and INIT clears it
// (SDM vol. 3A, "Processor State After Reset"): a mark that is still there the next time was not
// fetched by INIT.

#include "firmware_aps.h"

#include "hw.h"
#include "line.h"
#include "mp_services.h"

#define CR2_MARK 0x5256454c4c455245ull

static EFI_STATUS run_everywhere(struct mp_services *services, void(EFIAPI *procedure)(void *),
                                 void *argument)
{
    return services->startup_all_aps(services, procedure, FALSE, NULL, MP_TIMEOUT_US, argument,
                                     NULL);
}

// ---- how they wait ----

static void EFIAPI leave_mark(void *argument)
{
    struct firmware_aps *aps = argument;
    hw_write_cr2(CR2_MARK);
    atomic_fetch_add(&aps->ran, 1);
}

static void EFIAPI look_for_mark(void *argument)
{
    struct firmware_aps *aps = argument;
    if (hw_read_cr2() == CR2_MARK)
        atomic_fetch_add(&aps->unforgetting, 1);
    hw_write_cr2(0);
    atomic_fetch_add(&aps->ran, 1);
}

enum parking firmware_parking(const struct firmware *firmware, struct firmware_aps *aps)
{
    struct mp_services *services = mp_services_find(firmware->boot);
    struct mp_count count;

    atomic_store(&aps->ran, 0);
    atomic_store(&aps->unforgetting, 0);
    if (!mp_services_count(firmware->boot, &count) || count.enabled == 0 ||
        count.enabled > count.all)
        return PARKING_UNKNOWN;
    if (count.enabled == 1)
        return PARKING_NOBODY;
    if (EFI_ERROR(run_everywhere(services, leave_mark, aps)) ||
        EFI_ERROR(run_everywhere(services, look_for_mark, aps)) ||
        atomic_load(&aps->ran) != 2 * (count.enabled - 1))
        return PARKING_UNKNOWN;
    return atomic_load(&aps->unforgetting) == 0 ? PARKING_INIT : PARKING_OTHER;
}

const char *parking_word(enum parking parking)
{
    static const char *const words[] = {"unknown", "nobody", "init", "other"};
    return words[parking];
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

// ---- its wake ----

static uint32_t own_apic_id(void)
{
    const struct apic apic = apic_of(hw_rdmsr(MSR_IA32_APIC_BASE));
    return apic.operations->read_id(&apic);
}

static void EFIAPI visit(void *argument)
{
    const struct reveille *run = argument;
    struct lcpu *self = arena_find(&run->arena, own_apic_id());
    if (self)
        ap_visit(self);
}

static void EFIAPI visit_again(void *argument)
{
    const struct reveille *run = argument;
    struct lcpu *self = arena_find(&run->arena, own_apic_id());
    if (self)
        ap_visit_again(self);
}

void firmware_wake_round(struct reveille *run, uint64_t line_us, struct wake_result *result)
{
    struct mp_services *services = mp_services_find(run->firmware.boot);
    struct wake *wake = &run->wake;

    *result = (struct wake_result){0};
    wake_begin_round(wake);
    for (uint32_t slot = 1; slot <= run->plan.want; slot++)
        arena_account(&run->arena, slot)->tries = 1;
    const uint64_t start = hw_tsc();
    const EFI_STATUS status = services ? run_everywhere(services, visit, run) : EFI_UNSUPPORTED;
    wake_end_round(wake, start, result);
    if (EFI_ERROR(status)) {
        report_problem(&run->log, SEVERITY_ERROR, "mp-services",
                       "StartupAllAPs is absent, refused, or ran out of time");
        return;
    }
    const uint32_t first = wake_open_turns(wake);
    if (first != 0)
        (void)run_everywhere(services, visit_again, run);
    (void)wake_follow_turns(wake, first, line_us);
    run_show_journal(run);
}

// ---- whether it gets them back ----

static void EFIAPI come_back(void *argument)
{
    struct reveille *run = argument;
    struct firmware_aps *aps = &run->firmware_aps;
    const uint32_t apic_id = own_apic_id();
    struct lcpu *self = arena_find(&run->arena, apic_id);

    if (self)
        atomic_store(&self->back, 1);
    else if (atomic_load(&aps->strays) < RALLY_UNLISTED_MAX) {
        const uint32_t at = atomic_fetch_add(&aps->strays, 1);
        if (at < RALLY_UNLISTED_MAX)
            atomic_store(&aps->stray_ids[at], apic_id);
    }
    atomic_fetch_add(&aps->ran, 1);
}

struct taken_back firmware_takes_back(struct reveille *run)
{
    struct mp_services *services = mp_services_find(run->firmware.boot);
    const struct machine *machine = &run->machine;
    struct taken_back taken = {0};
    struct mp_count count;

    atomic_store(&run->firmware_aps.ran, 0);
    atomic_store(&run->firmware_aps.strays, 0);
    for (uint32_t i = 0; i < RALLY_UNLISTED_MAX; i++)
        atomic_store(&run->firmware_aps.stray_ids[i], RALLY_NO_ID);
    if (!services)
        return taken;
    taken.answered = !EFI_ERROR(run_everywhere(services, come_back, run));
    taken.ran = atomic_load(&run->firmware_aps.ran);
    taken.counts = mp_services_count(run->firmware.boot, &count) &&
                   count.all == machine->mp_services &&
                   count.enabled == machine->mp_services_enabled && taken.ran + 1 == count.enabled;
    return taken;
}

static bool stray_is_back(const struct firmware_aps *aps, uint32_t apic_id)
{
    const uint32_t strays = atomic_load(&aps->strays);
    for (uint32_t i = 0; i < strays && i < RALLY_UNLISTED_MAX; i++) {
        if (atomic_load(&aps->stray_ids[i]) == apic_id)
            return true;
    }
    return false;
}

bool everybody_is_back(const struct reveille *run, const struct taken_back *taken)
{
    const struct rally *rally = arena_rally(&run->arena);
    const uint32_t unlisted = atomic_load(&rally->unlisted_count);

    if (!taken->answered || !taken->counts)
        return false;
    if (unlisted > RALLY_UNLISTED_MAX)
        return false; // not all are known by name
    for (uint32_t i = 0; i < unlisted; i++) {
        const uint32_t apic_id = rally_unlisted_id(rally, i);
        const struct lcpu *lcpu = arena_find(&run->arena, apic_id);
        if (apic_id == RALLY_NO_ID) // nor this one
            return false;
        if (!(lcpu && atomic_load(&lcpu->back)) && !stray_is_back(&run->firmware_aps, apic_id))
            return false;
    }
    for (uint32_t slot = 1; slot <= run->plan.want; slot++) {
        const struct lcpu *lcpu = &arena_lcpu(&run->arena, slot)->lcpu;
        if (!atomic_load(&lcpu->back) && !stray_is_back(&run->firmware_aps, lcpu->apic_id))
            return false;
    }
    return true;
}

// ---- its account ----

void firmware_census_tell(struct reveille *run, const struct wake *wake)
{
    struct census *census = &run->census;

    if (!census->entries)
        return;
    (void)census_compare(census->entries, census->count, &run->machine, wake, &run->problems);
    census_report(&run->console, census->entries, census->count, wake);
    memory_free(&run->firmware, census->entries, census->pages);
}
