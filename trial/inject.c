// Committing faults. The mirror of verdict.c: each fault here has one right cause there, and a test
// for each pair. Surprise: an injected fault must not be caught by the proofs, so it comes after
// them.

#include "inject.h"

#include "line.h"
#include "madt_edit.h"
#include "option_faults.h"
#include "page.h"

#define XAPIC_ID_MAX 0xfeu
#define GHOST_UID    (CPU_UID_UNKNOWN - 1)

bool inject_has(const struct options *options, enum fault_kind kind)
{
    for (size_t i = 0; i < options->inject_count; i++) {
        if (options->inject[i].kind == kind)
            return true;
    }
    return false;
}

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

// The slot that a fault is for; 0 if that CPU is not woken. Without a CPU it is the last one.
static uint32_t slot_of(const struct injection *injection, const struct plan *plan)
{
    if (injection->cpu == FAULT_ANY_CPU)
        return (uint32_t)plan->want;
    for (uint32_t slot = 1; slot <= plan->want; slot++) {
        if (plan->lcpus[slot].cpu == injection->cpu)
            return slot;
    }
    return 0;
}

static const char *refusal(const struct injection *injection, const struct plan *plan)
{
    if (plan->wake == WAKE_BROADCAST && is_of_messages(injection->kind))
        return "cannot be injected with wake=broadcast: one message reaches every AP; use "
               "parallel";
    if (!is_of_machine(injection->kind) && slot_of(injection, plan) == 0)
        return "is for a CPU that is not woken in this run";
    return NULL;
}

enum status inject_check(const struct options *options, const struct plan *plan,
                         const struct problems *problems)
{
    enum status status = STATUS_OK;
    char buffer[LINE_BYTES];
    struct line line;

    for (size_t i = 0; i < options->inject_count; i++) {
        const struct injection *injection = &options->inject[i];
        const char *wrong = refusal(injection, plan);
        line_start(&line, buffer, sizeof buffer);
        line_add_text(&line, fault_word(injection->kind));
        if (injection->cpu != FAULT_ANY_CPU)
            line_add_format(&line, ":%u", (uint64_t)injection->cpu);
        line_add_format(&line, " %s",
                        wrong ? wrong : "IS INJECTED ON PURPOSE: this run is a trial");
        problems->tell(problems->context, wrong ? SEVERITY_ERROR : SEVERITY_WARNING, "inject",
                       line.text);
        if (wrong)
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

static uint8_t code_of(enum fault_kind kind)
{
    switch (kind) {
    case FAULT_HANG_PROTECTED:
        return INJECT_HANG_PROTECTED;
    case FAULT_UD_PROTECTED:
        return INJECT_UD_PROTECTED;
    case FAULT_HANG_LONG:
        return INJECT_HANG_LONG;
    case FAULT_UD_LONG:
        return INJECT_UD_LONG;
    case FAULT_HANG_C:
        return INJECT_HANG_C;
    case FAULT_UD_C:
        return INJECT_UD_C;
    case FAULT_LATE:
        return INJECT_LATE;
    case FAULT_MUTE:
        return INJECT_MUTE;
    case FAULT_UD_IDLE:
        return INJECT_UD_IDLE;
    default:
        return INJECT_NONE;
    }
}

static void arm_one(enum fault_kind kind, uint32_t slot, const struct arena *arena, uint32_t pml4)
{
    struct lcpu *lcpu = &arena_lcpu(arena, slot)->lcpu;

    if (code_of(kind) != INJECT_NONE)
        lcpu->inject = code_of(kind);
    if (kind == FAULT_BAD_STACK)
        lcpu->stack = arena_stack(arena, slot) - GUARD_BYTES / 2; // in the guard page
    if (kind == FAULT_BAD_ENTRY)
        lcpu->entry = 0;       // the null page
    if (kind == FAULT_BAD_CR3) // the page behind the window is empty: nothing is mapped
        lcpu->cr3_error = (uint32_t)(arena->phys + arena->window_offset) - pml4;
    if (kind == FAULT_WRONG_ID)
        arena_falsify_id(arena, lcpu->apic_id);
}

void inject_arm(const struct options *options, const struct plan *plan, const struct arena *arena,
                uint32_t pml4)
{
    if (plan->want == 0)
        return;
    for (size_t i = 0; i < options->inject_count; i++) {
        const struct injection *injection = &options->inject[i];
        const uint32_t slot = slot_of(injection, plan);
        if (is_of_machine(injection->kind) || slot == 0)
            continue;
        if (injection->kind == FAULT_LOST_SIPI && injection->cpu == FAULT_ANY_CPU) {
            arena_account(arena, 0)->faults |= 1u << FAULT_LOST_SIPI; // the BSP's: each in turn
            continue;
        }
        // The page is everybody's: that it is damaged stands in the BSP's account.
        arena_account(arena, injection->kind == FAULT_BAD_COPY ? 0 : slot)->faults |=
            1u << injection->kind;
        arm_one(injection->kind, slot, arena, pml4);
    }
}

bool inject_message(uint32_t faults, uint32_t try, uint32_t decoy_page, uint32_t *command)
{
    const uint32_t delivery = *command & ICR_DELIVERY_MASK;
    const bool no_sipi =
        fault_is_set(faults, FAULT_NO_SIPI) || fault_is_set(faults, FAULT_LOST_SIPI);

    if (try == 1 && delivery == ICR_DELIVERY_INIT && fault_is_set(faults, FAULT_NO_INIT))
        return false;
    if (try == 1 && delivery == ICR_DELIVERY_STARTUP && no_sipi)
        return false;
    if (delivery == ICR_DELIVERY_STARTUP && fault_is_set(faults, FAULT_BAD_VECTOR))
        *command = (*command & ~ICR_VECTOR(0xff)) | ICR_VECTOR(decoy_page / PAGE_BYTES);
    return true;
}
