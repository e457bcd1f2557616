// Committing faults. The mirror of the engine's verdict: each fault here has one right cause there,
// and a test for each pair. Surprise: an injected fault must not be caught by the proofs, so it
// comes after them.

#include "inject.h"

#include "lapic.h"
#include "line.h"
#include "madt_edit.h"
#include "page.h"
#include "tell.h"

#define XAPIC_ID_MAX 0xfeu
#define GHOST_UID    (CPU_UID_UNKNOWN - 1)

static bool is_of_madt(enum fault_kind kind)
{
    return kind == FAULT_GHOST || kind == FAULT_UNLISTED || kind == FAULT_DUPLICATE;
}

// Faults that are no single AP's.
static bool is_of_machine(enum fault_kind kind)
{
    return is_of_madt(kind) || kind == FAULT_NO_LOW_PAGE || kind == FAULT_BAD_JOURNAL;
}

static bool is_of_messages(enum fault_kind kind)
{
    return kind == FAULT_NO_INIT || kind == FAULT_NO_SIPI || kind == FAULT_LOST_SIPI ||
           kind == FAULT_BAD_VECTOR;
}

bool inject_has(const struct injector *injector, enum fault_kind kind)
{
    for (size_t i = 0; i < injector->count; i++) {
        if (injector->faults[i].kind == kind)
            return true;
    }
    return false;
}

// Is this fault for the AP in this slot? Without a CPU it is for the last one. None is for slot 0,
// since CPU 0 cannot be named; so what is sent to all but self is never withheld.
static bool is_for(const struct injector *injector, const struct injection *fault, uint32_t slot)
{
    return fault->cpu == FAULT_ANY_CPU ? slot == injector->plan->want
                                       : fault->cpu == injector->plan->cpus[slot].cpu;
}

static bool slot_has(const struct injector *injector, uint32_t slot, enum fault_kind kind)
{
    for (size_t i = 0; i < injector->count; i++) {
        const struct injection *fault = &injector->faults[i];
        if (fault->kind == kind && is_for(injector, fault, slot))
            return true;
    }
    return false;
}

// The slot that a fault is for; 0 if that CPU is not woken.
static uint32_t slot_of(const struct injector *injector, const struct injection *fault)
{
    for (uint32_t slot = (uint32_t)injector->plan->want; slot >= 1; slot--) {
        if (is_for(injector, fault, slot))
            return slot;
    }
    return 0;
}

// Adds what becomes of this fault; false: it cannot be injected.
static bool add_verdict(struct line *line, const struct injector *injector,
                        const struct injection *fault)
{
    const enum smp_strategy strategy = injector->plan->messages.strategy;

    if (smp_strategy_reaches_all(strategy) && is_of_messages(fault->kind)) {
        line_add_format(line,
                        " cannot be injected with wake=%s: one message reaches everybody; use "
                        "wake=parallel",
                        smp_strategy_word(strategy));
        return false;
    }
    if (!is_of_machine(fault->kind) && slot_of(injector, fault) == 0) {
        line_add_text(line, " is for a CPU that is not woken in this run");
        return false;
    }
    line_add_text(line, " IS INJECTED ON PURPOSE: this run is a trial");
    return true;
}

enum status inject_check(const struct injector *injector, const struct problems *problems)
{
    enum status status = STATUS_OK;
    char buffer[LINE_BYTES];
    struct line line;

    for (size_t i = 0; i < injector->count; i++) {
        const struct injection *fault = &injector->faults[i];
        line_start(&line, buffer, sizeof buffer);
        line_add_text(&line, fault_word(fault->kind));
        if (fault->cpu != FAULT_ANY_CPU)
            line_add_format(&line, ":%u", (uint64_t)fault->cpu);
        const bool can_be = add_verdict(&line, injector, fault);
        problem_tell(problems, can_be ? SEVERITY_WARNING : SEVERITY_ERROR, "inject", "%s",
                     line.text);
        if (!can_be)
            status = STATUS_INVALID;
    }
    return status;
}

// ---- the MADT ----

size_t inject_madt_bytes(const struct acpi_table *madt)
{
    return madt->length + INJECTIONS_MAX * MADT_X2APIC_BYTES;
}

static bool is_known(const struct inventory *inventory, uint32_t apic_id)
{
    for (size_t i = 0; i < inventory->count; i++) {
        if (inventory->cpus[i].apic_id == apic_id)
            return true;
    }
    return false;
}

// The highest ID that an xAPIC can address and no entry bears.
static uint32_t free_id(const struct inventory *inventory, uint32_t taken)
{
    uint32_t apic_id = XAPIC_ID_MAX;
    while (apic_id > 0 && (is_known(inventory, apic_id) || taken-- > 0))
        apic_id--;
    if (apic_id > 0)
        return apic_id;
    // Every ID of eight bits is taken: one beyond them, above the broadcast ID.
    for (apic_id = XAPIC_ID_MAX + 2; is_known(inventory, apic_id) || taken-- > 0;)
        apic_id++;
    return apic_id;
}

static bool edits_madt(const struct options *options)
{
    for (size_t i = 0; i < options->inject_count; i++) {
        if (is_of_madt(options->inject[i].kind))
            return true;
    }
    return false;
}

bool inject_edit_madt(const struct acpi_table *madt, const struct inventory *inventory,
                      const struct options *options, uint8_t *copy, struct acpi_table *edited)
{
    uint32_t ghosts = 0;

    if (inventory->enabled < 2 || !edits_madt(options))
        return false;
    const uint32_t last = inventory->enabled - 1;
    struct madt_draft draft = madt_copy(madt, copy);
    for (size_t i = 0; i < options->inject_count; i++) {
        const struct injection *injection = &options->inject[i];
        const struct cpu *cpu = &inventory->cpus[injection->cpu < last ? injection->cpu : last];
        if (injection->kind == FAULT_GHOST)
            madt_add(&draft, &(struct cpu){.apic_id = free_id(inventory, ghosts++),
                                           .uid = GHOST_UID,
                                           .listing = CPU_LISTED});
        else if (injection->kind == FAULT_DUPLICATE)
            madt_add(&draft, cpu);
        else if (injection->kind == FAULT_UNLISTED)
            madt_remove(&draft, cpu->apic_id);
    }
    *edited = madt_finish(&draft);
    return true;
}

// ---- the APs ----

// What the engine calls those that an AP commits by itself, and the page's.
static bool find_defect(enum fault_kind kind, enum smp_defect *defect)
{
    static const struct {
        enum fault_kind kind;
        enum smp_defect defect;
    } known[] = {
        {FAULT_HANG_REAL, SMP_HANG_IN_REAL}, {FAULT_HANG_PROTECTED, SMP_HANG_IN_PROTECTED},
        {FAULT_HANG_LONG, SMP_HANG_IN_LONG}, {FAULT_HANG_C, SMP_HANG_IN_C},
        {FAULT_UD_REAL, SMP_UD_IN_REAL},     {FAULT_UD_PROTECTED, SMP_UD_IN_PROTECTED},
        {FAULT_UD_LONG, SMP_UD_IN_LONG},     {FAULT_UD_C, SMP_UD_IN_C},
        {FAULT_UD_IDLE, SMP_UD_WHEN_DONE},   {FAULT_LATE, SMP_LATE},
        {FAULT_BAD_STACK, SMP_BAD_STACK},    {FAULT_BAD_ENTRY, SMP_BAD_ENTRY},
        {FAULT_BAD_CR3, SMP_BAD_CR3},        {FAULT_WRONG_ID, SMP_WRONG_ID},
        {FAULT_BAD_COPY, SMP_BAD_PAGE},
    };

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (known[i].kind == kind) {
            *defect = known[i].defect;
            return true;
        }
    }
    return false;
}

void inject_arm(struct smp *smp, const struct injector *injector)
{
    for (size_t i = 0; i < injector->count; i++) {
        const struct injection *fault = &injector->faults[i];
        const uint32_t slot = slot_of(injector, fault);
        enum smp_defect defect;
        if (slot != 0 && find_defect(fault->kind, &defect))
            smp_break(smp, slot, defect);
    }
}

bool inject_is_mute(const struct injector *injector, uint32_t slot)
{
    return slot_has(injector, slot, FAULT_MUTE);
}

// ---- the messages ----

bool inject_has_messages(const struct injector *injector)
{
    for (size_t i = 0; i < injector->count; i++) {
        if (is_of_messages(injector->faults[i].kind))
            return true;
    }
    return false;
}

// Is this fault for this message? A lost STARTUP without a CPU goes round, from AP to AP.
static bool is_for_message(const struct injector *injector, const struct injection *fault,
                           const struct smp_message *message)
{
    if (fault->kind == FAULT_LOST_SIPI && fault->cpu == FAULT_ANY_CPU)
        return message->slot == (message->round - 1) % (uint32_t)injector->plan->want + 1;
    return is_for(injector, fault, message->slot);
}

// The first try of a round alone: a further one is to make up for it.
static bool is_withheld(enum fault_kind kind, uint32_t delivery, uint32_t try)
{
    if (try > 1 || kind == FAULT_BAD_VECTOR)
        return false;
    return delivery == (kind == FAULT_NO_INIT ? ICR_DELIVERY_INIT : ICR_DELIVERY_STARTUP);
}

bool inject_filter(void *context, struct smp_message *message)
{
    const struct injector *injector = context;
    const uint32_t delivery = message->command & ICR_DELIVERY_MASK;

    for (size_t i = 0; i < injector->count; i++) {
        const struct injection *fault = &injector->faults[i];
        if (!is_of_messages(fault->kind) || !is_for_message(injector, fault, message))
            continue;
        if (is_withheld(fault->kind, delivery, message->attempt))
            return false;
        if (fault->kind == FAULT_BAD_VECTOR && delivery == ICR_DELIVERY_STARTUP)
            message->command = (message->command & ~ICR_VECTOR(0xff)) |
                               ICR_VECTOR(injector->decoy_page / PAGE_BYTES);
    }
    return true;
}

// ---- what became of them ----

bool inject_silences(const struct injector *injector, uint32_t slot)
{
    for (size_t i = 0; i < injector->count; i++) {
        const struct injection *fault = &injector->faults[i];
        const bool everybodys = fault->kind == FAULT_BAD_COPY || // the page is
                                (fault->kind == FAULT_LOST_SIPI && fault->cpu == FAULT_ANY_CPU);
        if (everybodys || (is_of_messages(fault->kind) && is_for(injector, fault, slot)))
            return true;
    }
    return false;
}

void inject_send_nmis(struct smp *smp, const struct injector *injector, uint64_t us)
{
    for (uint32_t slot = 1; slot <= injector->plan->want; slot++) {
        if (!slot_has(injector, slot, FAULT_NMI) || !smp_examine(smp, slot).arrived)
            continue;
        (void)smp_send(smp, slot, ICR_NMI);
        (void)smp_await_fault(smp, slot, us);
    }
}

void inject_await_idle_faults(const struct smp *smp, const struct injector *injector, uint64_t us)
{
    for (uint32_t slot = 1; slot <= injector->plan->want; slot++) {
        if (slot_has(injector, slot, FAULT_UD_IDLE) && smp_examine(smp, slot).arrived)
            (void)smp_await_fault(smp, slot, us);
    }
}
