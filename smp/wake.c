// Sending and waiting. The strategies differ in two things only: how many processors one sequence
// is for, and whether it is addressed to each or to all but self. Surprise: the shared counter of
// arrivals is only a hint. An AP that a retry reset on its way counts twice, so the records have
// the last word.

#include "wake.h"

#include <stdbool.h>

#include "hw.h"
#include "inject.h"
#include "mem.h"
#include "sort.h"
#include "watch.h"

// A sequence is sent to slots[0..count-1]. With `all` one message reaches everybody.
struct group {
    const uint32_t *slots;
    size_t count;
    enum { GROUP_EACH, GROUP_ALL } address;
};

uint32_t wake_stage(const struct lcpu *lcpu, uint32_t generation)
{
    const uint32_t state = atomic_load_explicit(&lcpu->state, memory_order_acquire);
    if (state >> STATE_STAGE_BITS != generation)
        return STAGE_NONE;
    return state & ((1u << STATE_STAGE_BITS) - 1);
}

bool wake_helped_by_startup(const struct account *account, const struct lcpu *lcpu)
{
    return account->startups > 1 && lcpu->tsc_real >= account->startup_tsc;
}

static const struct lcpu *lcpu_of(const struct wake *wake, uint32_t slot)
{
    return &arena_lcpu(wake->arena, slot)->lcpu;
}

static int has_come(const struct wake *wake, uint32_t slot)
{
    return wake_stage(lcpu_of(wake, slot), wake->generation) >= STAGE_C;
}

static int group_has_come(const struct wake *wake, const struct group *group)
{
    for (size_t i = 0; i < group->count; i++) {
        if (!has_come(wake, group->slots[i]))
            return 0;
    }
    return 1;
}

void wake_wait_us(const struct wake *wake, uint64_t us)
{
    struct watch watch = watch_delay(hw_tsc(), clock_ticks(&wake->clock, us));

    while (!watch_is_over(&watch, hw_tsc()))
        hw_pause();
}

// Has the whole group come? Asks the shared counter while that says no.
static bool all_have_come(const struct wake *wake, const struct group *group, uint32_t arrived,
                          uint32_t expected)
{
    return arrived >= expected && group_has_come(wake, group);
}

// Polls until the whole group has come, or nobody has for `quiet_us`; at most `us`. Who has not
// come while others do may only be behind them, so each arrival lets the quiet begin anew.
static bool poll_us(const struct wake *wake, const struct group *group, uint32_t expected,
                    uint64_t quiet_us, uint64_t us)
{
    const struct rally *rally = arena_rally(wake->arena);
    const uint64_t start = hw_tsc();
    struct watch quiet = watch_start(start, clock_ticks(&wake->clock, quiet_us));
    struct watch whole = watch_start(start, clock_ticks(&wake->clock, us));
    uint32_t seen = atomic_load_explicit(&rally->arrived, memory_order_acquire);

    quiet.stops =
        UINT32_MAX; // on a busy host a look is longer than this one's share; `whole` ends it
    for (;;) {
        const uint64_t now = hw_tsc();
        const uint32_t arrived = atomic_load_explicit(&rally->arrived, memory_order_acquire);
        if (all_have_come(wake, group, arrived, expected))
            return true;
        const bool is_quiet = watch_is_over(&quiet, now) && arrived == seen;
        if (watch_is_over(&whole, now) || is_quiet)
            return false;
        if (arrived != seen)
            quiet.watched = 0;
        seen = arrived;
        hw_pause();
    }
}

// The watch for who is slow: until nobody has come for `sipi_us`, half the time-out at most.
static bool poll_while_they_come(const struct wake *wake, const struct group *group,
                                 uint32_t expected)
{
    return poll_us(wake, group, expected, wake->plan->sipi_us, wake->plan->timeout_us / 2);
}

static bool send_one(struct wake *wake, uint32_t apic_id, uint32_t command)
{
    const bool sent = wake->apic.operations->send(&wake->apic, apic_id, command) == STATUS_OK;
    if (!sent)
        wake->unsent++;
    return sent;
}

// The faults of one AP in this round: its own, and lost-sipi where it goes round.
static uint32_t faults_of(const struct wake *wake, uint32_t slot)
{
    const uint32_t everywhere = arena_account(wake->arena, 0)->faults;
    const uint32_t unlucky = (wake->generation - 1) % (uint32_t)wake->plan->want + 1;
    return arena_account(wake->arena, slot)->faults | (slot == unlucky ? everywhere : 0);
}

// Sends one message to one AP, unless its faults withhold it. Returns whether it was sent.
static bool send_to(struct wake *wake, uint32_t slot, uint32_t command)
{
    uint32_t own = command | ICR_TO_DESTINATION;
    const uint32_t faults = faults_of(wake, slot);
    const uint32_t try = arena_account(wake->arena, slot)->tries;

    return (faults == 0 || inject_message(faults, try, wake->decoy_page, &own)) &&
           send_one(wake, lcpu_of(wake, slot)->apic_id, own);
}

// Sends STARTUP to the group: by shorthand, or to each. With sipis=auto nobody who has come is sent
// more.
static void send_startup(struct wake *wake, const struct group *group)
{
    const uint32_t startup = ICR_STARTUP(wake->page_phys / PAGE_BYTES);

    if (group->address == GROUP_ALL) {
        send_one(wake, 0, startup | ICR_TO_ALL_BUT_SELF);
        return;
    }
    for (size_t i = 0; i < group->count; i++) {
        if (wake->plan->sipis != SIPIS_AUTO || !has_come(wake, group->slots[i]))
            send_to(wake, group->slots[i], startup);
    }
}

// What an AP left in the try before is forgotten. For the first try this is done before the round,
// since there it would delay the first message by everybody's share.
static void begin_try(const struct wake *wake, uint32_t slot, uint32_t try)
{
    struct account *account = arena_account(wake->arena, slot);
    struct lcpu *lcpu = &arena_lcpu(wake->arena, slot)->lcpu;

    account->tries = try;
    account->startups = 1;
    account->held = 0;
    account->given_up = 0;
    atomic_store_explicit(&lcpu->fault.valid, 0, memory_order_relaxed);
    memset(lcpu->trap, 0, sizeof lcpu->trap);
    lcpu->no_nx = 0;
}

// Begins a sequence: INIT to everyone in the group who has not come. Who is late needs none, and
// would only be put to sleep again.
static void send_init(struct wake *wake, const struct group *group, uint32_t try)
{
    if (group->address == GROUP_ALL) { // a first try
        wake->broadcast = true;
        send_one(wake, 0, ICR_INIT | ICR_TO_ALL_BUT_SELF);
        return;
    }
    for (size_t i = 0; i < group->count; i++) {
        struct account *account = arena_account(wake->arena, group->slots[i]);
        account->held = 0;
        if (has_come(wake, group->slots[i]))
            continue;
        if (try > 1)
            begin_try(wake, group->slots[i], try);
        account->held = send_to(wake, group->slots[i], ICR_INIT);
    }
}

// An AP may have come after it was looked at and before its INIT reached it. By now it is held, and
// writes nothing: its record must not say that it is there. For use after the wait that follows
// INIT.
static void forget_the_held(const struct wake *wake, const struct group *group)
{
    for (size_t i = 0; i < group->count; i++) {
        if (arena_account(wake->arena, group->slots[i])->held)
            atomic_store_explicit(&arena_lcpu(wake->arena, group->slots[i])->lcpu.state, STAGE_NONE,
                                  memory_order_relaxed);
    }
}

// Notes, before a STARTUP goes out, for whom it is.
static void note_startup(const struct wake *wake, const struct group *group, uint32_t count,
                         uint64_t now)
{
    for (size_t i = 0; i < group->count; i++) {
        struct account *account = arena_account(wake->arena, group->slots[i]);
        if (wake->plan->sipis == SIPIS_AUTO && has_come(wake, group->slots[i]))
            continue;
        account->startups = count;
        account->startup_tsc = now;
    }
}

// A processor in real mode has no record in reach: its fault waits in its mark.
static void arm_real_mode(const struct wake *wake)
{
    for (size_t i = 0; i < wake->missing_count; i++) {
        const uint32_t faults = arena_account(wake->arena, wake->missing[i])->faults;
        const uint32_t apic_id = lcpu_of(wake, wake->missing[i])->apic_id;
        if (fault_is_set(faults, FAULT_HANG_REAL))
            trampoline_set_mark(wake->page_view, apic_id, INJECT_HANG_REAL);
        if (fault_is_set(faults, FAULT_UD_REAL))
            trampoline_set_mark(wake->page_view, apic_id, INJECT_UD_REAL);
    }
}

// The last time-out of this round is over: who comes from now on is late, even if others are still
// waited for.
static void give_up(const struct wake *wake, const struct group *group)
{
    for (size_t i = 0; i < group->count; i++)
        arena_account(wake->arena, group->slots[i])->given_up = !has_come(wake, group->slots[i]);
}

// One full sequence for one group.
static void run_sequence(struct wake *wake, struct group group, uint32_t expected, uint32_t try,
                         uint64_t *last_sent)
{
    const struct plan *plan = wake->plan;
    const uint32_t sipis = plan->sipis == SIPIS_AUTO ? 2 : plan->sipis;

    // Before the first message nobody can have come, and a look at them would only delay it.
    if (try > 1 && group_has_come(wake, &group))
        return;
    send_init(wake, &group, try);
    wake_wait_us(wake, try == 1 ? plan->init_us : plan->init_retry_us);
    if (try > 1)
        forget_the_held(wake, &group);
    for (uint32_t sent = 1; sent <= sipis; sent++) {
        if (sent > 1)
            note_startup(wake, &group, sent, hw_tsc());
        send_startup(wake, &group);
        *last_sent = hw_tsc();
        if (sent == sipis)
            break;
        if (plan->sipis != SIPIS_AUTO)
            wake_wait_us(wake, plan->sipi_us);
        else if (poll_while_they_come(wake, &group, expected))
            return;
        else
            group.address = GROUP_EACH; // the second STARTUP is for stragglers
    }
    if (!poll_us(wake, &group, expected, plan->timeout_us, plan->timeout_us) &&
        try == plan->retries + 1)
        give_up(wake, &group);
}

// One pass over everyone who is missing.
static void run_pass(struct wake *wake, uint32_t try, uint64_t *last_sent)
{
    const struct plan *plan = wake->plan;
    const uint32_t already = (uint32_t)(plan->want - wake->missing_count);

    if (try > 1)
        arm_real_mode(wake);
    if (plan->wake == WAKE_ONE_BY_ONE) {
        for (size_t i = 0; i < wake->missing_count; i++) {
            const struct group one = {&wake->missing[i], 1, GROUP_EACH};
            run_sequence(wake, one, 0, try, last_sent);
        }
        return;
    }
    const struct group all = {
        wake->missing,
        wake->missing_count,
        plan->wake == WAKE_BROADCAST && try == 1 ? GROUP_ALL : GROUP_EACH,
    };
    run_sequence(wake, all, already + (uint32_t)wake->missing_count, try, last_sent);
}

static void keep_missing(struct wake *wake)
{
    size_t kept = 0;
    for (size_t i = 0; i < wake->missing_count; i++) {
        if (!has_come(wake, wake->missing[i]))
            wake->missing[kept++] = wake->missing[i];
    }
    wake->missing_count = kept;
}

void wake_begin_round(struct wake *wake)
{
    struct rally *rally = arena_rally(wake->arena);

    wake->generation++;
    rally->park = wake->page_phys + PAGE_PARK;
    wake->missing_count = wake->plan->want;
    trampoline_clear_marks(wake->page_view);
    for (uint32_t slot = 1; slot <= wake->plan->want; slot++) {
        struct lcpu *lcpu = &arena_lcpu(wake->arena, slot)->lcpu;
        struct account *account = arena_account(wake->arena, slot);
        wake->missing[slot - 1] = slot;
        account->up = 0;
        if (wake_stage(lcpu, wake->generation - 1) == STAGE_GREETED)
            account->greeted = 1; // perhaps after its turn was taken back
        lcpu->greet = !account->greeted && account->unheard < GREETING_TURNS;
        atomic_store_explicit(&lcpu->state, STAGE_NONE, memory_order_relaxed);
        begin_try(wake, slot, 1);
    }
    arm_real_mode(wake);
    atomic_store_explicit(&rally->arrived, 0, memory_order_relaxed);
    atomic_store_explicit(&rally->generation, wake->generation, memory_order_release);
}

// What the APs stamped becomes numbers only after the last wait.
void wake_end_round(struct wake *wake, uint64_t start, struct wake_result *result)
{
    for (uint32_t slot = 1; slot <= wake->plan->want; slot++) {
        struct account *account = arena_account(wake->arena, slot);
        if (!has_come(wake, slot) || account->given_up) {
            account->lost++;
            continue;
        }
        const uint64_t stamp =
            lcpu_of(wake, slot)->tsc_c; // by the AP's own counter, which may be behind
        const uint64_t us = stamp > start ? clock_us(&wake->clock, stamp - start) : 0;
        if (account->tries > 1)
            result->retried++;
        else if (wake->plan->sipis == SIPIS_AUTO &&
                 wake_helped_by_startup(account, lcpu_of(wake, slot)))
            result->helped++;
        account->us = us;
        account->up = 1;
        wake->values[result->up++] = us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
    }
    const struct spread spread = spread_of(wake->values, result->up);
    result->first_us = spread.min;
    result->median_us = spread.median;
    result->last_us = spread.max;
}

void wake_round(struct wake *wake, struct wake_result *result)
{
    const uint64_t sent_before = wake->apic.icr_writes;

    *result = (struct wake_result){0};
    wake->unsent = 0;
    // The last STARTUP of the round before may still be on its way, and must not start whom this
    // round's INIT has just reset.
    if (wake->generation > 0)
        wake_wait_us(wake, wake->plan->sipi_us);
    wake_begin_round(wake);
    const uint64_t start = wake->started = hw_tsc();
    uint64_t last_sent = start;
    for (uint32_t try = 1; try <= wake->plan->retries + 1 && wake->missing_count > 0; try++) {
        run_pass(wake, try, &last_sent);
        keep_missing(wake);
    }
    result->send_us = clock_us(&wake->clock, last_sent - start);
    result->icr_writes = wake->apic.icr_writes - sent_before;
    result->unsent = wake->unsent;
    wake_end_round(wake, start, result);
}

void wake_await_late(struct wake *wake)
{
    struct watch watch = watch_start(hw_tsc(), clock_ticks(&wake->clock, wake->plan->timeout_us));

    while (wake->missing_count > 0 && !watch_is_over(&watch, hw_tsc())) {
        hw_pause();
        keep_missing(wake);
    }
}

enum status wake_hold(struct wake *wake)
{
    const uint32_t unsent = wake->unsent;

    // A broadcast woke more than are listed, and only another reaches them.
    if (wake->broadcast)
        send_one(wake, 0, ICR_INIT | ICR_TO_ALL_BUT_SELF);
    for (uint32_t slot = 1; slot <= wake->plan->want && !wake->broadcast; slot++)
        send_one(wake, lcpu_of(wake, slot)->apic_id, ICR_INIT | ICR_TO_DESTINATION);
    wake_wait_us(wake, PLAN_INIT_MANUAL_US);
    return wake->unsent == unsent ? STATUS_OK : STATUS_TIMEOUT;
}

void wake_seal(const struct wake *wake)
{
    trampoline_close(wake->page_view);
    arena_close(wake->arena, wake->page_phys + PAGE_PARK);
}
