// Where evidence lies: in a processor's record, in the page's marks and trap cells, and in the list
// of those who found no record. Reads only; verdict.c judges.

#include "examine.h"

#include "inject.h"

// A trap before long mode lies in the AP's record or, earlier, in the page; a fault in long mode in
// its record.
static struct fault_evidence find_fault(const struct wake *wake, const struct lcpu *lcpu)
{
    struct trap trap;

    if (atomic_load_explicit(&lcpu->fault.valid, memory_order_acquire))
        return (struct fault_evidence){
            .valid = true,
            .mode = lcpu->fault.mode,
            .vector = lcpu->fault.vector,
            .error = lcpu->fault.error,
            .ip = lcpu->fault.ip,
            .cr2 = lcpu->fault.cr2,
        };
    if (!trampoline_trap_at(wake->trampoline, wake->page_phys, lcpu->trap + sizeof lcpu->trap,
                            &trap) &&
        !trampoline_trap_in_cell(wake->trampoline, wake->page_view, wake->page_phys, lcpu->apic_id,
                                 &trap))
        return (struct fault_evidence){.valid = false};
    return (struct fault_evidence){
        .valid = true,
        .mode = trap.mode,
        .vector = trap.vector,
        .error = trap.error,
        .ip = trap.ip_phys,
    };
}

static bool page_is_damaged(const struct wake *wake)
{
    size_t offset;
    return trampoline_verify(wake->trampoline, wake->page_view, wake->page_phys, wake->parameters,
                             &offset) != STATUS_OK;
}

bool examine_came_unasked(const struct wake *wake, uint32_t apic_id)
{
    const struct rally *rally = arena_rally(wake->arena);
    const uint32_t count = atomic_load_explicit(&rally->unlisted_count, memory_order_acquire);
    for (uint32_t i = 0; apic_id != RALLY_NO_ID && i < count && i < RALLY_UNLISTED_MAX; i++) {
        if (rally_unlisted_id(rally, i) == apic_id)
            return true;
    }
    return false;
}

struct evidence examine(const struct wake *wake, uint32_t slot)
{
    const struct lcpu *lcpu = &arena_lcpu(wake->arena, slot)->lcpu;
    const struct account *account = arena_account(wake->arena, slot);
    const uint8_t mark = trampoline_mark(wake->page_view, lcpu->apic_id);
    const struct fault_evidence fault = find_fault(wake, lcpu);
    struct evidence evidence = {
        .stage = wake_stage(lcpu, wake->generation),
        .mark =
            mark <= STAGE_PROTECTED ? mark : STAGE_NONE, // beyond: an injected fault nobody took
        .up = account->up,
        .greeted = account->greeted,
        .lost = account->lost,
        .by_firmware = wake->plan->wake == WAKE_FIRMWARE,
        .no_nx = lcpu->no_nx,
        .fault = fault,
    };
    // What takes a look at the whole page is asked only where nothing else speaks.
    if (evidence.stage == STAGE_NONE && !evidence.greeted && !fault.valid) {
        evidence.mark_shared = account->mark_shared;
        evidence.page_damaged = page_is_damaged(wake);
        evidence.stray = examine_came_unasked(wake, lcpu->apic_id);
    }
    return evidence;
}

// Faults on purpose that keep a processor from ever fetching what could leave a trace.
static bool was_silenced(const struct wake *wake, uint32_t slot)
{
    const uint32_t faults =
        arena_account(wake->arena, slot)->faults | arena_account(wake->arena, 0)->faults;
    return fault_is_set(faults, FAULT_NO_INIT) || fault_is_set(faults, FAULT_NO_SIPI) ||
           fault_is_set(faults, FAULT_LOST_SIPI) || fault_is_set(faults, FAULT_BAD_VECTOR) ||
           fault_is_set(faults, FAULT_BAD_COPY);
}

bool examine_answers(const struct wake *wake, uint32_t slot)
{
    const struct evidence evidence = examine(wake, slot);

    return evidence.up || evidence.greeted || evidence.lost < wake->generation ||
           evidence.stage != STAGE_NONE || evidence.fault.valid || evidence.stray ||
           (evidence.mark != STAGE_NONE && !evidence.mark_shared) || was_silenced(wake, slot);
}

uint32_t evidence_stage(const struct evidence *evidence)
{
    if (evidence->greeted)
        return STAGE_GREETED;
    if (evidence->stage != STAGE_NONE)
        return evidence->stage;
    return evidence->mark_shared ? STAGE_NONE : evidence->mark;
}
