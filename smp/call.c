// Work for APs that are awake: what the caller's processor writes, rings, waits for, and knows of
// each. Surprise: an AP that does not come back is left alone. Its ticket is what tells its answer
// from one to a later call, and no call is written where one is still read.

#include "engine.h"
#include "watch.h"

static enum smp_call_state state_of(const struct smp *smp, uint32_t slot)
{
    const struct lcpu *lcpu = arena_lcpu(&smp->arena, slot);
    const struct book *book = arena_book(&smp->arena, slot);

    if (slot == 0 || !has_arrived(smp, slot) || book->put_back)
        return SMP_CALL_ABSENT;
    if (book->handed_over)
        return SMP_CALL_GONE;
    if (atomic_load_explicit(&lcpu->fault.valid, memory_order_acquire))
        return SMP_CALL_FAULTED;
    if (atomic_load_explicit(&lcpu->way.serving, memory_order_acquire) != book->round)
        return SMP_CALL_ABSENT;
    if (atomic_load_explicit(&lcpu->way.ended, memory_order_acquire) == book->ticket)
        return SMP_CALL_WAITS;
    return atomic_load_explicit(&lcpu->way.begun, memory_order_acquire) == book->ticket
               ? SMP_CALL_RUNS
               : SMP_CALL_SENT;
}

// Of one that is absent: is it in C, on its way to where it takes calls, with no turn before it?
static bool is_coming(const struct smp *smp, uint32_t slot, enum smp_call_state state)
{
    const struct lcpu *lcpu = arena_lcpu(&smp->arena, slot);
    const uint32_t stage = stage_of(smp, slot);
    const uint32_t turn =
        atomic_load_explicit(&arena_rally(&smp->arena)->turn, memory_order_relaxed);

    if (state != SMP_CALL_ABSENT || stage < STAGE_C || smp->plan.strategy == SMP_FIRMWARE ||
        arena_book(&smp->arena, slot)->put_back)
        return false;
    return stage == STAGE_DONE || !lcpu->has_turn || turn == TURN_CLOSED;
}

static enum smp_parking parking_of(const struct smp *smp, uint32_t slot)
{
    return atomic_load_explicit(&arena_lcpu(&smp->arena, slot)->way.parking, memory_order_relaxed);
}

static bool has_begun(const struct smp *smp, uint32_t slot)
{
    return atomic_load_explicit(&arena_lcpu(&smp->arena, slot)->way.begun, memory_order_acquire) ==
           arena_book(&smp->arena, slot)->ticket;
}

struct smp_call_account smp_call_of(const struct smp *smp, uint32_t slot)
{
    if (slot > smp->want)
        return (struct smp_call_account){.state = SMP_CALL_ABSENT};
    const struct call_way *way = &arena_lcpu(&smp->arena, slot)->way;
    const struct book *book = arena_book(&smp->arena, slot);
    struct smp_call_account account = {.state = state_of(smp, slot)};

    if (account.state == SMP_CALL_WAITS) {
        account.parking = parking_of(smp, slot);
        account.work_ticks = way->tsc_ended - way->tsc_begun;
    }
    if ((account.state == SMP_CALL_WAITS || account.state == SMP_CALL_RUNS) &&
        way->tsc_begun > book->called_tsc)
        account.wake_ticks = way->tsc_begun - book->called_tsc;
    if (has_begun(smp, slot)) { // else they are of another loop
        account.first = atomic_load_explicit(&way->from, memory_order_relaxed);
        account.end = atomic_load_explicit(&way->to, memory_order_relaxed);
    }
    return account;
}

// ---- calling ----

static bool is_any_called(const struct smp *smp)
{
    for (uint32_t slot = 1; slot <= smp->want; slot++) {
        if (arena_book(&smp->arena, slot)->called)
            return true;
    }
    return false;
}

// An NMI that ends a wait. Its handler knows by the flag that it is no fault, and clears it. Where
// the flag still stands, the NMI of a call before is on its way, and does for both: a second would
// find the flag cleared, and be a fault.
static enum status nudge(struct smp *smp, uint32_t slot)
{
    _Atomic uint32_t *nudged = &arena_lcpu(&smp->arena, slot)->way.nudged;

    if (atomic_exchange_explicit(nudged, 1, memory_order_acq_rel) != 0)
        return STATUS_OK;
    const enum status status = smp_send(smp, slot, ICR_NMI);
    if (status != STATUS_OK)
        atomic_store_explicit(nudged, 0, memory_order_relaxed);
    return status;
}

// Writes the call into the record of an AP that waits.
static void write_call(const struct smp *smp, uint32_t slot, const struct call *what)
{
    struct call *call = &arena_lcpu(&smp->arena, slot)->call;

    call->kind = what->kind;
    call->loop = what->loop;
    call->loop_of = what->loop_of; // the widest
}

// Lets it see the call; one that is parked by INIT sees it when it is woken.
static enum status ring(struct smp *smp, uint32_t slot)
{
    struct lcpu *lcpu = arena_lcpu(&smp->arena, slot);
    struct book *book = arena_book(&smp->arena, slot);
    const bool by_nmi = parking_of(smp, slot) == SMP_PARK_NMI;

    book->closed = book->ticket++;
    book->called = 1;
    book->called_tsc = hw_tsc();
    if (smp->called_tsc == 0)
        smp->called_tsc = book->called_tsc;
    atomic_store_explicit(&lcpu->call.ticket, book->ticket, memory_order_release);
    const enum status status = by_nmi ? nudge(smp, slot) : STATUS_OK;
    book->nudged = by_nmi && status == STATUS_OK;
    return status;
}

// Who has only just arrived is waited for, all together as long as for one that has not. Once: one
// that is stuck on this way would delay every call.
static void await_coming(const struct smp *smp, uint32_t first, uint32_t last)
{
    struct watch watch = watch_start(hw_tsc(), clock_ticks(&smp->clock, smp->plan.timeout_us));

    for (uint32_t slot = first; slot <= last; slot++) {
        struct book *book = arena_book(&smp->arena, slot);
        while (!book->astray && is_coming(smp, slot, state_of(smp, slot))) {
            book->astray = watch_is_over(&watch, hw_tsc());
            hw_pause();
        }
    }
}

// Calls those in slots `first` to `last` who wait; returns how many.
static uint32_t call_range(struct smp *smp, uint32_t first, uint32_t last, const struct call *what,
                           enum status *status)
{
    struct smp_round round;
    uint32_t called = 0, asleep = 0; // for whom an INIT is needed, as they do wait

    *status = STATUS_OK;
    if (!is_any_called(smp))
        smp->called_tsc = 0;
    await_coming(smp, first, last);
    for (uint32_t slot = first; slot <= last && *status == STATUS_OK; slot++) {
        if (state_of(smp, slot) != SMP_CALL_WAITS)
            continue;
        called++;
        if (parking_of(smp, slot) == SMP_PARK_INIT)
            smp->missing[asleep++] = slot;
        write_call(smp, slot, what);
        *status = ring(smp, slot); // where one message is stuck, so are the others
    }
    if (asleep > 0)
        wake_listed(smp, asleep, &round);
    return called;
}

static enum status call(struct smp *smp, uint32_t slot, const struct call *what)
{
    enum status status;

    if (!is_slot_0(smp))
        return STATUS_WRONG_CPU;
    if (slot > smp->want)
        return STATUS_INVALID;
    if (!may_send(smp) || smp->looping)
        return STATUS_BUSY;
    const uint32_t called =
        call_range(smp, slot == 0 ? 1 : slot, slot == 0 ? smp->want : slot, what, &status);
    return called == 0 ? STATUS_BUSY : status;
}

enum status smp_call(struct smp *smp, uint32_t slot,
                     void (*work)(void *context, const struct smp_self *self), void *context)
{
    const struct call what = {.kind = CALL_WORK, .work = {work, context}};
    return work ? call(smp, slot, &what) : STATUS_INVALID;
}

// ---- waiting ----

// A store that was not seen, though it woke nobody: Intel's erratum APL30, and the like.
static void nudge_if_asleep(struct smp *smp, uint32_t slot)
{
    struct book *book = arena_book(&smp->arena, slot);
    const enum smp_parking parking = parking_of(smp, slot);

    if (!book->nudged && state_of(smp, slot) == SMP_CALL_SENT &&
        (parking == SMP_PARK_MWAIT || parking == SMP_PARK_NMI))
        book->nudged = nudge(smp, slot) == STATUS_OK;
}

// All of them, since who is waited for just now may be one that never returns.
static void nudge_sleepers(struct smp *smp)
{
    for (uint32_t slot = 1; slot <= smp->want; slot++) {
        if (arena_book(&smp->arena, slot)->called)
            nudge_if_asleep(smp, slot);
    }
}

// Until this AP has returned, or never will, or `whole` is over. `soon` is the time for nudges.
static bool wait_for(struct smp *smp, uint32_t slot, struct watch *soon, struct watch *whole)
{
    for (;;) {
        const uint64_t now = hw_tsc();
        const bool late = watch_is_over(whole, now), was_time = soon->watched == soon->ticks;
        const enum smp_call_state state = state_of(smp, slot);
        if (state == SMP_CALL_WAITS)
            return true;
        if (late)
            nudge_if_asleep(smp, slot); // or it would sleep through all that is to come
        if (late ||
            (state != SMP_CALL_SENT && state != SMP_CALL_RUNS && !is_coming(smp, slot, state)))
            return false;
        if (watch_is_over(soon, now) && !was_time)
            nudge_sleepers(smp);
        hw_pause();
    }
}

static enum status wait_for_all(struct smp *smp, uint64_t timeout_us, struct smp_calls *calls)
{
    const uint64_t start = hw_tsc();
    struct watch soon = watch_start(start, clock_ticks(&smp->clock, SMP_NUDGE_US));
    struct watch whole = watch_start(start, clock_ticks(&smp->clock, timeout_us));

    *calls = (struct smp_calls){0};
    for (uint32_t slot = 1; slot <= smp->want; slot++) {
        struct book *book = arena_book(&smp->arena, slot);
        if (!book->called)
            continue;
        calls->called++;
        if (wait_for(smp, slot, &soon, &whole))
            calls->returned++;
        else if (calls->missing++ == 0)
            calls->first_missing = slot;
        book->called = 0;
    }
    if (calls->called > 0)
        calls->ticks = hw_tsc() - smp->called_tsc;
    smp->called_tsc = 0;
    return calls->missing == 0 ? STATUS_OK : STATUS_TIMEOUT;
}

enum status smp_wait(struct smp *smp, uint64_t timeout_us, struct smp_calls *calls)
{
    *calls = (struct smp_calls){0};
    if (!is_slot_0(smp))
        return STATUS_WRONG_CPU;
    return smp->looping ? STATUS_BUSY : wait_for_all(smp, timeout_us, calls);
}

enum status smp_park(struct smp *smp, enum smp_parking parking, uint64_t timeout_us,
                     struct smp_calls *calls)
{
    const struct call look = {.kind = CALL_NOTHING};
    _Atomic uint32_t *const wanted = &arena_rally(&smp->arena)->parking;
    enum status status;

    *calls = (struct smp_calls){0};
    if (!is_slot_0(smp))
        return STATUS_WRONG_CPU;
    if (parking >= SMP_PARKINGS)
        return STATUS_INVALID;
    if (!may_send(smp) || smp->looping || is_any_called(smp))
        return STATUS_BUSY;
    smp->plan.parking = parking;
    if (atomic_exchange_explicit(wanted, parking, memory_order_acq_rel) == parking)
        return STATUS_OK;
    (void)call_range(smp, 1, smp->want, &look, &status);
    const enum status waited = wait_for_all(smp, timeout_us, calls);
    return status != STATUS_OK ? status : waited;
}

// ---- loops ----

static uint64_t items_done(const struct smp *smp, uint32_t slot)
{
    return atomic_load_explicit(&arena_lcpu(&smp->arena, slot)->way.done, memory_order_relaxed);
}

// Items that this loop's APs have finished, also one that is stuck in a later chunk.
static uint64_t count_done(const struct smp *smp, uint32_t number)
{
    uint64_t done = 0;

    for (uint32_t slot = 1; slot <= smp->want; slot++) {
        const struct call *call = &arena_lcpu(&smp->arena, slot)->call;
        if (call->kind == CALL_LOOP && call->loop == number && has_begun(smp, slot))
            done += items_done(smp, slot);
    }
    return done;
}

static uint64_t grain_of(const struct smp *smp, const struct smp_loop *loop)
{
    const uint64_t chunks = 8 * (uint64_t)smp->arena.count;
    return loop->grain ? loop->grain : loop->count / chunks + 1;
}

enum status smp_for(struct smp *smp, const struct smp_loop *loop, uint64_t timeout_us,
                    struct smp_loop_result *result)
{
    struct rally *rally = arena_rally(&smp->arena);
    struct lcpu *own = arena_lcpu(&smp->arena, 0);
    const struct smp_self self = {0, own->cpu, own->apic_id};
    enum status status;

    *result = (struct smp_loop_result){0};
    if (!is_slot_0(smp))
        return STATUS_WRONG_CPU;
    if (!loop->body || loop->count >= CURSOR_ITEMS)
        return STATUS_INVALID;
    if (!may_send(smp) || smp->looping || is_any_called(smp))
        return STATUS_BUSY;
    smp->loops = smp->loops % CURSOR_LOOPS + 1; // never 0
    const struct call what = {
        .kind = CALL_LOOP,
        .loop = smp->loops,
        .loop_of = {loop->body, loop->context, loop->count, grain_of(smp, loop)},
    };
    atomic_store_explicit(&rally->cursor, (uint64_t)smp->loops << CURSOR_ITEM_BITS,
                          memory_order_release);
    (void)call_range(smp, 1, smp->want, &what, &status);
    atomic_store_explicit(&own->way.done, 0, memory_order_relaxed);
    smp->looping = true; // the body is the caller's code, and might call anything
    struct watch soon = watch_start(hw_tsc(), clock_ticks(&smp->clock, SMP_NUDGE_US));
    while (run_chunk(&what, &own->way, &rally->cursor, &self)) {
        const bool was_time = soon.watched == soon.ticks;
        if (watch_is_over(&soon, hw_tsc()) && !was_time)
            nudge_sleepers(smp); // or they would sleep while this processor works alone
    }
    smp->looping = false;
    status = wait_for_all(smp, timeout_us, &result->calls);
    result->done = items_done(smp, 0) + count_done(smp, smp->loops);
    return status;
}

// ---- for good ----

static bool is_nudged(const struct smp *smp, uint32_t slot)
{
    return atomic_load_explicit(&arena_lcpu(&smp->arena, slot)->way.nudged, memory_order_acquire);
}

enum status smp_hand_over(struct smp *smp, uint32_t slot, const struct smp_handover *to,
                          uint64_t timeout_us)
{
    const struct call what = {.kind = CALL_HAND_OVER, .handover = *to};
    struct watch soon = watch_start(hw_tsc(), clock_ticks(&smp->clock, SMP_NUDGE_US));
    struct watch whole = watch_start(soon.last, clock_ticks(&smp->clock, timeout_us));

    if (slot == 0 || to->entry == 0 || to->stack % 16 != 0 || to->stack == 0 ||
        to->cr3 % PAGE_BYTES != 0)
        return STATUS_INVALID;
    const uint64_t called_tsc = smp->called_tsc; // of others
    const enum status status = call(smp, slot, &what);
    if (status != STATUS_OK && status != STATUS_TIMEOUT)
        return status;
    struct book *book = arena_book(&smp->arena, slot);
    book->called = 0;
    smp->called_tsc = called_tsc;
    while (!has_begun(smp, slot) || is_nudged(smp, slot)) {
        const uint64_t now = hw_tsc();
        if (watch_is_over(&whole, now))
            return STATUS_TIMEOUT;
        if (watch_is_over(&soon, now))
            nudge_if_asleep(smp, slot);
        hw_pause();
    }
    book->handed_over = 1;
    atomic_store_explicit(&arena_lcpu(&smp->arena, slot)->call.leave, book->ticket,
                          memory_order_release);
    return STATUS_OK;
}
