// What each processor left, put together as its account: from its record, from the page's marks and
// trap cells, and from the list of those who found no record. Reads only; verdict.c judges.

#include "engine.h"

// A trap before long mode lies in the AP's record or, earlier, in a cell of the page; a fault in
// long mode in its record. An AP that reached its record met no trap on the way: what stands in the
// cell, which sixteen APs or more may share, is another's.
static bool find_trap(const struct smp *smp, const struct lcpu *lcpu, uint32_t stage,
                      struct trap *trap)
{
    if (!smp->page_view)
        return false;
    return trampoline_trap_at(&smp->trampoline, smp->page_phys, lcpu->trap + sizeof lcpu->trap,
                              trap) ||
           (stage == STAGE_NONE && trampoline_trap_in_cell(&smp->trampoline, smp->page_view,
                                                           smp->page_phys, lcpu->apic_id, trap));
}

static struct smp_fault find_fault(const struct smp *smp, const struct lcpu *lcpu, uint32_t stage)
{
    struct trap trap;

    if (atomic_load_explicit(&lcpu->fault.valid, memory_order_acquire))
        return (struct smp_fault){
            .valid = true,
            .mode = lcpu->fault.mode,
            .vector = lcpu->fault.vector,
            .error = lcpu->fault.error,
            .ip = lcpu->fault.ip,
            .cr2 = lcpu->fault.cr2,
        };
    if (!find_trap(smp, lcpu, stage, &trap))
        return (struct smp_fault){.valid = false};
    return (struct smp_fault){
        .valid = true,
        .mode = trap.mode,
        .vector = trap.vector,
        .error = trap.error,
        .ip = trap.ip_phys,
    };
}

static bool page_is_damaged(const struct smp *smp)
{
    size_t offset;
    return trampoline_verify(&smp->trampoline, smp->page_view, smp->page_phys, &smp->parameters,
                             &offset) != STATUS_OK;
}

static enum smp_stage mark_of(const struct smp *smp, const struct book *book, uint32_t apic_id)
{
    const uint8_t mark = smp->page_view ? trampoline_mark(smp->page_view, apic_id) : STAGE_NONE;
    return mark <= STAGE_PROTECTED && mark > book->mark_before // beyond: a defect that nobody met
               ? mark
               : book->mark_before;
}

// What an AP writes behind the stage that it has come to: what INIT left it, its stamps, and why it
// goes no further. One that is on its way just now may not have written all of it.
static void copy_way(const struct lcpu *lcpu, struct smp_account *account)
{
    account->tsc_real = lcpu->tsc_real;
    account->tsc_protected = lcpu->tsc_protected;
    account->tsc_long = lcpu->tsc_long;
    account->bist = lcpu->bist;
    account->signature = lcpu->signature;
    account->cr0 = lcpu->cr0;
    account->cr4 = lcpu->cr4;
    account->efer = lcpu->efer;
    account->apic_base = lcpu->apic_base;
    account->no_nx = lcpu->no_nx;
}

static bool is_given_up(const struct smp *smp, uint32_t slot)
{
    const enum smp_call_state state = smp_call_of(smp, slot).state;

    return (state == SMP_CALL_SENT || state == SMP_CALL_RUNS) &&
           !arena_book(&smp->arena, slot)->called;
}

struct smp_account smp_examine(const struct smp *smp, uint32_t slot)
{
    const struct lcpu *lcpu = arena_lcpu(&smp->arena, slot);
    const struct book *book = arena_book(&smp->arena, slot);
    const uint32_t stage = stage_of(smp, slot); // first: it says what else is there
    struct smp_account account = {
        .slot = slot,
        .cpu = lcpu->cpu,
        .apic_id = lcpu->apic_id,
        .entry = lcpu->entry,
        .stack = lcpu->stack,
        .stage = stage,
        .mark = mark_of(smp, book, lcpu->apic_id),
        .arrived = book->arrived,
        // Perhaps after its turn was over. Where there are no turns, it has checked in.
        .done = book->done || stage == STAGE_DONE ||
                (smp->plan.turn_us == 0 && stage >= STAGE_READY && book->arrived),
        .lost = book->lost,
        .in_call = is_given_up(smp, slot),
        .by_firmware = smp->plan.strategy == SMP_FIRMWARE,
        .fault = find_fault(smp, lcpu, stage),
        .tries = book->tries,
        .us = book->us,
        .started = smp->started,
    };
    if (stage != STAGE_NONE)
        copy_way(lcpu, &account);
    if (stage >= STAGE_C)
        account.tsc_c = lcpu->tsc_c;
    account.startup_helped = book->startups > 1 && account.tsc_real >= book->startup_tsc;
    // What takes a look at the whole page is asked only where nothing else speaks.
    if (account.stage == SMP_STAGE_NONE && !account.done && !account.fault.valid &&
        smp->page_filled) {
        account.mark_shared = book->mark_shared;
        account.page_damaged = page_is_damaged(smp);
        account.stray = smp_came_unlisted(smp, lcpu->apic_id);
    }
    return account;
}

enum smp_stage smp_account_stage(const struct smp_account *account)
{
    if (account->done)
        return SMP_STAGE_DONE;
    if (account->stage != SMP_STAGE_NONE)
        return account->stage;
    return account->mark_shared ? SMP_STAGE_NONE : account->mark;
}

size_t smp_count(const struct smp *smp)
{
    return smp->arena.count;
}

uint32_t smp_rounds(const struct smp *smp)
{
    return smp->round;
}

uint32_t smp_slot_of(const struct smp *smp, uint32_t apic_id)
{
    return arena_find(&smp->arena, apic_id);
}

uint32_t smp_unlisted_count(const struct smp *smp)
{
    return atomic_load_explicit(&arena_rally(&smp->arena)->unlisted_count, memory_order_acquire);
}

uint32_t smp_unlisted_id(const struct smp *smp, uint32_t place)
{
    return place < SMP_UNLISTED_MAX
               ? atomic_load_explicit(&arena_rally(&smp->arena)->unlisted_ids[place],
                                      memory_order_acquire)
               : SMP_NO_ID;
}

bool smp_came_unlisted(const struct smp *smp, uint32_t apic_id)
{
    const uint32_t count = smp_unlisted_count(smp);

    for (uint32_t i = 0; apic_id != SMP_NO_ID && i < count && i < SMP_UNLISTED_MAX; i++) {
        if (smp_unlisted_id(smp, i) == apic_id)
            return true;
    }
    return false;
}

// ---- after a reset ----

uint64_t smp_records_phys(const struct smp *smp)
{
    return arena_page_phys(&smp->arena, 0);
}

// A record of that engine: numbered, tied to the same rally as slot 0's, in the round that was
// under way.
static bool is_under_way(const struct lcpu *bsp, const struct lcpu *lcpu, uint32_t round)
{
    const uint32_t stage = stage_in_round(lcpu, round);
    return lcpu->rally == bsp->rally && lcpu->rally != NULL && bsp->cpu == 0 && lcpu->cpu != 0 &&
           stage > STAGE_NONE && stage < STAGE_READY;
}

size_t smp_read_remains(const void *records, size_t count, uint32_t round, size_t capacity,
                        struct smp_under_way *found)
{
    const struct lcpu_page *pages = records;
    size_t under_way = 0;

    for (size_t slot = 1; slot < count; slot++) {
        const struct lcpu *lcpu = &pages[slot].lcpu;
        if (!is_under_way(&pages[0].lcpu, lcpu, round))
            continue;
        if (under_way < capacity)
            found[under_way] =
                (struct smp_under_way){lcpu->cpu, lcpu->apic_id, stage_in_round(lcpu, round)};
        under_way++;
    }
    return under_way;
}
