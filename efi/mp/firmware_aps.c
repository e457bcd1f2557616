// MP Services at work. Surprise: how firmware parks its processors is not told anywhere, so it is
// tried. CR2 is nobody's while no page fault happens, firmware does not save it, and INIT clears it
// (SDM vol. 3A, "Processor State After Reset"): a mark that is still there the next time was not
// fetched by INIT.

#include "firmware_aps.h"

#include "hw.h"
#include "mem.h"
#include "memory.h"
#include "mp_services.h"
#include "page.h"
#include "tell.h"

#define CR2_MARK 0x5256454c4c455245ull

static EFI_STATUS run_everywhere(struct mp_services *services, void(EFIAPI *procedure)(void *),
                                 void *argument)
{
    return services->startup_all_aps(services, procedure, FALSE, NULL, MP_TIMEOUT_US, argument,
                                     NULL);
}

// ---- how they wait ----

// What firmware's APs, run by firmware itself, count.
struct parked {
    _Atomic uint32_t ran;          // procedures that were run
    _Atomic uint32_t unforgetting; // processors that kept a mark which INIT takes away
};

static void EFIAPI leave_mark(void *argument)
{
    struct parked *parked = argument;
    hw_write_cr2(CR2_MARK);
    atomic_fetch_add(&parked->ran, 1);
}

static void EFIAPI look_for_mark(void *argument)
{
    struct parked *parked = argument;
    if (hw_read_cr2() == CR2_MARK)
        atomic_fetch_add(&parked->unforgetting, 1);
    hw_write_cr2(0);
    atomic_fetch_add(&parked->ran, 1);
}

enum parking firmware_parking(const struct firmware *firmware)
{
    static struct parked parked; // an AP that firmware has lost may write there late
    struct mp_services *services = mp_services_find(firmware->boot);
    struct mp_count count;

    atomic_store(&parked.ran, 0);
    atomic_store(&parked.unforgetting, 0);
    if (!mp_services_count(firmware->boot, &count) || count.enabled == 0 ||
        count.enabled > count.all)
        return PARKING_UNKNOWN;
    if (count.enabled == 1)
        return PARKING_NOBODY;
    if (EFI_ERROR(run_everywhere(services, leave_mark, &parked)) ||
        EFI_ERROR(run_everywhere(services, look_for_mark, &parked)) ||
        atomic_load(&parked.ran) != 2 * (count.enabled - 1))
        return PARKING_UNKNOWN;
    return atomic_load(&parked.unforgetting) == 0 ? PARKING_INIT : PARKING_OTHER;
}

const char *parking_word(enum parking parking)
{
    static const char *const words[] = {"unknown", "nobody", "init", "other"};
    return words[parking];
}

enum status firmware_check_return(enum parking parking, const struct plan *plan, uint32_t low_page,
                                  const struct options *options, const struct problems *problems)
{
    if (low_page == 0) {
        problem_tell(problems, SEVERITY_ERROR, "no-low-page",
                     "with exit=no a page of boot services cannot be used; try exit=yes");
        return STATUS_NOT_FOUND;
    }
    if (parking == PARKING_INIT || parking == PARKING_NOBODY ||
        plan->messages.strategy == SMP_FIRMWARE)
        return STATUS_OK;
    problem_tell(
        problems, options->force == ANSWER_YES ? SEVERITY_WARNING : SEVERITY_ERROR, "parking",
        parking == PARKING_OTHER
            ? "firmware's processors wait for a word in memory and not for INIT: once taken, they "
              "cannot be returned, and leaving firmware would hang; use exit=yes, or force=yes"
            : "it is unknown how firmware's processors wait, so leaving firmware after the wake may "
              "hang; use exit=yes, or force=yes");
    return options->force == ANSWER_YES ? STATUS_OK : STATUS_UNSUPPORTED;
}

// ---- its wake ----

static void EFIAPI visit(void *smp)
{
    smp_visit(smp);
}

static void EFIAPI visit_turn(void *smp)
{
    smp_visit_turn(smp);
}

void firmware_wake_round(const struct firmware *firmware, struct smp *smp,
                         const struct problems *problems, struct smp_round *round)
{
    struct mp_services *services = mp_services_find(firmware->boot);

    *round = (struct smp_round){0};
    smp_begin_round(smp);
    const uint64_t start = hw_tsc();
    const EFI_STATUS status = services ? run_everywhere(services, visit, smp) : EFI_UNSUPPORTED;
    smp_end_round(smp, start, round);
    if (EFI_ERROR(status)) {
        problem_tell(problems, SEVERITY_ERROR, "mp-services",
                     "StartupAllAPs is absent, refused, or ran out of time");
        return;
    }
    const uint32_t first = smp_open_turns(smp);
    if (first != 0)
        (void)run_everywhere(services, visit_turn, smp);
    (void)smp_follow_turns(smp, first);
}

// ---- whether it gets them back ----

// Those who came back, by APIC ID: a bit for each that is woken, and a list of the others.
struct returned {
    const struct smp *smp;
    _Atomic uint32_t ran;
    _Atomic uint8_t *slots; // by slot: 1 if it is back
    _Atomic uint32_t strays;
    _Atomic uint32_t stray_ids[SMP_UNLISTED_MAX]; // SMP_NO_ID until it is written
};

static void EFIAPI come_back(void *argument)
{
    struct returned *returned = argument;
    struct smp_self self;

    if (smp_find_self(returned->smp, &self))
        atomic_store(&returned->slots[self.slot], 1);
    else if (atomic_load(&returned->strays) < SMP_UNLISTED_MAX) {
        const uint32_t at = atomic_fetch_add(&returned->strays, 1);
        if (at < SMP_UNLISTED_MAX)
            atomic_store(&returned->stray_ids[at], self.apic_id);
    }
    atomic_fetch_add(&returned->ran, 1);
}

static bool is_back(const struct returned *returned, uint32_t apic_id)
{
    const uint32_t slot = smp_slot_of(returned->smp, apic_id);
    const uint32_t strays = atomic_load(&returned->strays);

    if (slot != UINT32_MAX && atomic_load(&returned->slots[slot]))
        return true;
    for (uint32_t i = 0; i < strays && i < SMP_UNLISTED_MAX; i++) {
        if (atomic_load(&returned->stray_ids[i]) == apic_id)
            return true;
    }
    return false;
}

static bool everybody_is_back(const struct returned *returned)
{
    const struct smp *smp = returned->smp;
    const uint32_t unlisted = smp_unlisted_count(smp);

    for (uint32_t i = 0; i < unlisted; i++) {
        const uint32_t apic_id = smp_unlisted_id(smp, i); // SMP_NO_ID: not known by name
        if (apic_id == SMP_NO_ID || !is_back(returned, apic_id))
            return false;
    }
    for (uint32_t slot = 1; slot < smp_count(smp); slot++) {
        if (!is_back(returned, smp_examine(smp, slot).apic_id))
            return false;
    }
    return true;
}

// By firmware, with the list in memory of our own: an AP that firmware has lost may write there
// late.
static void ask_everybody(const struct firmware *firmware, const struct machine *machine,
                          struct returned *returned, struct taken_back *taken)
{
    struct mp_services *services = mp_services_find(firmware->boot);
    struct mp_count count;

    taken->answered = !EFI_ERROR(run_everywhere(services, come_back, returned));
    taken->ran = atomic_load(&returned->ran);
    taken->counts =
        mp_services_count(firmware->boot, &count) && count.all == machine->mp_services &&
        count.enabled == machine->mp_services_enabled && taken->ran + 1 == count.enabled;
    taken->everybody = taken->answered && taken->counts && everybody_is_back(returned);
}

struct taken_back firmware_takes_back(const struct firmware *firmware, const struct smp *smp,
                                      const struct machine *machine)
{
    const size_t bytes = sizeof(struct returned) + smp_count(smp);
    const size_t pages = (bytes + PAGE_BYTES - 1) / PAGE_BYTES;
    struct taken_back taken = {0};

    struct returned *returned =
        mp_services_find(firmware->boot) ? memory_allocate(firmware, pages) : NULL;
    if (!returned)
        return taken;
    memset(returned, 0, pages * PAGE_BYTES);
    returned->smp = smp;
    returned->slots = (_Atomic uint8_t *)(returned + 1);
    for (uint32_t i = 0; i < SMP_UNLISTED_MAX; i++)
        atomic_init(&returned->stray_ids[i], SMP_NO_ID);
    ask_everybody(firmware, machine, returned, &taken);
    if (taken.answered && taken.counts) // else one may come, and write there
        memory_free(firmware, returned, pages);
    return taken;
}
