// A round: what the last one left is cleared, then a pass after the other sends to those who are
// missing, and what the APs stamped becomes numbers only after the last wait. Nothing here prints
// or allocates.

#include "engine.h"
#include "sequence.h"
#include "sort.h"
#include "tell.h"
#include "watch.h"

static enum status refuse(struct smp *smp, enum status status, const char *what, const char *text)
{
    problem_tell(&smp->host.problems, SEVERITY_ERROR, what, "%s", text);
    return status;
}

static enum status check_start(struct smp *smp, const struct smp_plan *plan)
{
    if (!smp->proved)
        return refuse(smp, STATUS_INVALID, "order",
                      "nobody can be woken before smp_fill_page has found all in order");
    if (!strategy_is_known(plan->strategy) || plan->sipis > 4 || plan->timeout_us == 0 ||
        plan->parking >= SMP_PARKINGS)
        return refuse(smp, STATUS_INVALID, "plan", "the plan has a value that there is not");
    if (!is_slot_0(smp))
        return refuse(smp, STATUS_WRONG_CPU, "wrong-cpu",
                      "the first processor of the list is not the one that runs this");
    return STATUS_OK;
}

enum status smp_start(struct smp *smp, const struct smp_plan *plan)
{
    struct rally *rally = arena_rally(&smp->arena);
    const enum status status = check_start(smp, plan);

    if (status != STATUS_OK)
        return status;

    // An AP waits for its turn as long as a round and everybody's turn can take.
    const uint64_t patience_us = smp_round_bound_us(plan, smp->apic_mode, smp->arena.count) +
                                 smp->arena.count * (uint64_t)plan->turn_us;

    smp->plan = *plan;
    smp->apic.operations->enable();
    rally->late_us = plan->timeout_us;
    rally->ticks_per_us = clock_ticks(&smp->clock, 1);
    rally->turn_wait_ticks = clock_ticks(&smp->clock, patience_us);
    atomic_store_explicit(&rally->parking, plan->parking, memory_order_relaxed);
    smp->is_started = true;
    return STATUS_OK;
}

static void keep_missing(struct smp *smp)
{
    size_t kept = 0;
    for (size_t i = 0; i < smp->missing_count; i++) {
        if (!has_arrived(smp, smp->missing[i]))
            smp->missing[kept++] = smp->missing[i];
    }
    smp->missing_count = kept;
}

// A call that an AP is in when it is put back is over.
static void close_call(struct book *book)
{
    book->closed = book->ticket;
    book->called = 0;
}

static void list_all(struct smp *smp)
{
    for (uint32_t slot = 1; slot <= smp->want; slot++) {
        smp->missing[slot - 1] = slot;
        close_call(arena_book(&smp->arena, slot));
    }
}

// What those left who are not woken now is evidence still; and where two share a mark it is
// nobody's.
static void clear_marks(const struct smp *smp, size_t count)
{
    if (count == smp->want)
        trampoline_clear_marks(smp->page_view);
    for (size_t i = 0; i < count && count != smp->want; i++) {
        if (!arena_book(&smp->arena, smp->missing[i])->mark_shared)
            trampoline_forget(smp->page_view, arena_lcpu(&smp->arena, smp->missing[i])->apic_id);
    }
}

static void begin_round(struct smp *smp, size_t count)
{
    struct rally *rally = arena_rally(&smp->arena);

    smp->round++;
    rally->park = smp->page_phys + PAGE_PARK;
    smp->due = (uint32_t)(smp->missing_count = count);
    clear_marks(smp, count);
    for (size_t i = 0; i < count; i++) {
        const uint32_t slot = smp->missing[i];
        struct lcpu *lcpu = arena_lcpu(&smp->arena, slot);
        struct book *book = arena_book(&smp->arena, slot);
        if (stage_of(smp, slot) == STAGE_DONE)
            book->done = 1; // perhaps after its turn was taken back
        book->round = smp->round;
        book->arrived = 0;
        book->handed_over = 0;
        book->astray = 0;
        book->put_back = 0;
        lcpu->round = smp->round;
        lcpu->has_turn = !book->done && book->unheard < SMP_TURNS && smp->plan.turn_us != 0 &&
                         book->closed == book->ticket;
        atomic_store_explicit(&lcpu->call.first, book->closed, memory_order_relaxed);
        sequence_open_book(smp, slot, 1);
        sequence_forget(smp, slot); // who is not sent an INIT has left nothing in this round
    }
    // Turns that are closed stay so in a round for some.
    if (count == smp->want)
        atomic_store_explicit(&rally->turn, 0, memory_order_relaxed);
    atomic_store_explicit(&rally->arrived, 0, memory_order_relaxed);
    atomic_store_explicit(&rally->generation, smp->round, memory_order_release);
}

void smp_begin_round(struct smp *smp)
{
    list_all(smp);
    begin_round(smp, smp->want);
}

// Was it a further STARTUP of its last sequence that woke it, and not the first?
static bool was_helped(const struct book *book, const struct lcpu *lcpu)
{
    return book->startups > 1 && lcpu->tsc_real >= book->startup_tsc;
}

void smp_end_round(struct smp *smp, uint64_t start, struct smp_round *round)
{
    smp->started = start;
    round->round = smp->round;
    for (uint32_t slot = 1; slot <= smp->want; slot++) {
        struct book *book = arena_book(&smp->arena, slot);
        const struct lcpu *lcpu = arena_lcpu(&smp->arena, slot);
        if (book->round != smp->round)
            continue;
        if (!has_arrived(smp, slot) || book->given_up) {
            book->lost++;
            continue;
        }
        const uint64_t stamp = lcpu->tsc_c; // by the AP's own counter, which may be behind
        const uint64_t us = stamp > start ? clock_us(&smp->clock, stamp - start) : 0;
        if (book->tries > 1)
            round->retried++;
        else if (smp->plan.sipis == SMP_SIPIS_AUTO && was_helped(book, lcpu))
            round->helped++;
        book->us = us;
        book->arrived = 1;
        smp->values[round->arrived++] = us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
    }
    const struct spread spread = spread_of(smp->values, round->arrived);
    round->first_us = spread.min;
    round->median_us = spread.median;
    round->last_us = spread.max;
}

void wake_listed(struct smp *smp, size_t count, struct smp_round *round)
{
    const uint64_t sent_before = smp->apic.icr_writes;

    *round = (struct smp_round){0};
    if (!may_send(smp))
        return;
    smp->unsent = 0;
    // The last STARTUP of the round before may still be on its way, and must not start whom this
    // round's INIT has just reset.
    if (smp->round > 0)
        smp_wait_us(smp, smp->plan.sipi_us);
    begin_round(smp, count);
    const uint64_t start = smp->started = hw_tsc(); // now: a fault may end this round
    uint64_t last_sent = start;
    for (uint32_t try = 1; try <= smp->plan.retries + 1 && smp->missing_count > 0; try++) {
        strategy_pass(smp, try, &last_sent);
        keep_missing(smp);
    }
    round->send_us = clock_us(&smp->clock, last_sent - start);
    round->icr_writes = smp->apic.icr_writes - sent_before;
    round->unsent = smp->unsent;
    smp_end_round(smp, start, round);
}

void smp_wake(struct smp *smp, struct smp_round *round)
{
    list_all(smp);
    wake_listed(smp, smp->want, round);
}

enum status smp_wake_slots(struct smp *smp, const uint32_t *slots, size_t count,
                           struct smp_round *round)
{
    size_t listed = 0;

    if (!is_slot_0(smp))
        return STATUS_WRONG_CPU;
    if (!may_send(smp) || smp->looping)
        return STATUS_BUSY;
    for (uint32_t slot = 1; slot <= smp->want; slot++)
        arena_book(&smp->arena, slot)->listed = 0;
    for (; listed < count; listed++) {
        const uint32_t slot = slots[listed];
        if (slot == 0 || slot > smp->want || arena_book(&smp->arena, slot)->listed)
            return STATUS_INVALID;
        arena_book(&smp->arena, slot)->listed = 1;
    }
    for (size_t i = 0; i < count; i++) {
        smp->missing[i] = slots[i];
        close_call(arena_book(&smp->arena, slots[i]));
    }
    wake_listed(smp, count, round);
    return STATUS_OK;
}

void smp_await_late(struct smp *smp)
{
    struct watch watch = watch_start(hw_tsc(), clock_ticks(&smp->clock, smp->plan.timeout_us));

    // The list may be that of a later round, for some.
    smp->missing_count = smp->want;
    for (uint32_t slot = 1; slot <= smp->want; slot++)
        smp->missing[slot - 1] = slot;
    keep_missing(smp);
    while (smp->missing_count > 0 && !watch_is_over(&watch, hw_tsc())) {
        hw_pause();
        keep_missing(smp);
    }
}

enum status smp_hold(struct smp *smp)
{
    const uint32_t unsent = smp->unsent;

    // A message to all but self has woken more than are given, and only another reaches them.
    if (smp->broadcast)
        (void)smp_send(smp, 0, ICR_INIT);
    for (uint32_t slot = 1; slot <= smp->want && !smp->broadcast; slot++)
        (void)smp_send(smp, slot, ICR_INIT);
    for (uint32_t slot = 1; slot <= smp->want; slot++)
        arena_book(&smp->arena, slot)->put_back = 1;
    smp_wait_us(smp, SMP_INIT_MANUAL_US);
    return smp->unsent == unsent ? STATUS_OK : STATUS_TIMEOUT;
}

void smp_seal(struct smp *smp)
{
    smp->is_started = false;
    trampoline_close(smp->page_view);
    arena_seal(&smp->arena, smp->page_phys + PAGE_PARK);
}
