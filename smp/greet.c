// The greetings, after the timed wake: whoever came says hello, one after another.
// Surprise: the turn goes from AP to AP, each naming the next, and the BSP only watches. With one
// message a greeting from the BSP, N processors that wait would cost N rounds of looking.

#include "hw.h"
#include "inject.h"
#include "wake.h"
#include "watch.h"

static const struct lcpu *lcpu_of(const struct wake *wake, uint32_t slot)
{
    return &arena_lcpu(wake->arena, slot)->lcpu;
}

// Waits for one AP to greet, at most `ticks`.
static int wait_for_greeting(const struct wake *wake, uint32_t slot, uint64_t ticks)
{
    struct watch watch = watch_start(hw_tsc(), ticks);
    for (;;) {
        const bool late = watch_is_over(&watch, hw_tsc());
        if (wake_stage(lcpu_of(wake, slot), wake->generation) == STAGE_GREETED)
            return 1;
        if (late)
            return 0;
        hw_pause();
    }
}

// Up, checked in, without a fault, not greeted yet, and not asked in vain too often.
static int may_greet(const struct wake *wake, uint32_t slot)
{
    const struct account *account = arena_account(wake->arena, slot);
    const struct lcpu *lcpu = lcpu_of(wake, slot);
    return account->up && !account->greeted && account->unheard < GREETING_TURNS &&
           wake_stage(lcpu, wake->generation) >= STAGE_READY &&
           !atomic_load_explicit(&lcpu->fault.valid, memory_order_acquire);
}

// Chains those who are to greet, each naming the next; returns the first, 0 if there is none.
static uint32_t chain_greeters(const struct wake *wake)
{
    uint32_t next = 0;
    for (uint32_t slot = (uint32_t)wake->plan->want; slot >= 1; slot--) {
        if (!may_greet(wake, slot))
            continue;
        struct lcpu *lcpu = &arena_lcpu(wake->arena, slot)->lcpu;
        lcpu->greet_next = next;
        next = lcpu->index;
    }
    return next;
}

// inject=nmi: to those who are in C now. Each has until `ticks` to leave its evidence.
static void send_nmis(struct wake *wake, uint64_t ticks)
{
    for (uint32_t slot = 1; slot <= wake->plan->want; slot++) {
        const struct account *account = arena_account(wake->arena, slot);
        const struct lcpu *lcpu = lcpu_of(wake, slot);
        if (!fault_is_set(account->faults, FAULT_NMI) || !account->up)
            continue;
        struct watch watch = watch_start(hw_tsc(), ticks);
        (void)wake->apic.operations->send(&wake->apic, lcpu->apic_id,
                                          ICR_VECTOR(0) | ICR_DELIVERY_NMI | ICR_PHYSICAL |
                                              ICR_ASSERT | ICR_EDGE | ICR_TO_DESTINATION);
        while (!atomic_load_explicit(&lcpu->fault.valid, memory_order_acquire) &&
               !watch_is_over(&watch, hw_tsc()))
            hw_pause();
    }
}

void wake_await_idle_faults(const struct wake *wake, uint64_t us)
{
    const uint64_t ticks = clock_ticks(&wake->clock, us);

    for (uint32_t slot = 1; slot <= wake->plan->want; slot++) {
        const struct account *account = arena_account(wake->arena, slot);
        const struct lcpu *lcpu = lcpu_of(wake, slot);
        struct watch watch = watch_start(hw_tsc(), ticks);
        while (fault_is_set(account->faults, FAULT_UD_IDLE) && account->up &&
               !atomic_load_explicit(&lcpu->fault.valid, memory_order_acquire) &&
               !watch_is_over(&watch, hw_tsc()))
            hw_pause();
    }
}

uint32_t wake_open_turns(struct wake *wake)
{
    const uint32_t first = chain_greeters(wake);
    atomic_store_explicit(&arena_rally(wake->arena)->turn, first, memory_order_release);
    return first;
}

uint32_t wake_follow_turns(struct wake *wake, uint32_t first, uint64_t line_us)
{
    struct rally *rally = arena_rally(wake->arena);
    const uint64_t ticks = clock_ticks(&wake->clock, line_us);
    uint32_t greeted = 0, next = first;

    for (uint32_t slot = 1; slot <= wake->plan->want; slot++) {
        struct account *account = arena_account(wake->arena, slot);
        const struct lcpu *lcpu = lcpu_of(wake, slot);
        // The chain as it was made: an AP may have checked in, or met a fault, since then.
        if (lcpu->index != next)
            continue;
        next = lcpu->greet_next;
        uint32_t turn = lcpu->index;
        // A turn that cannot be taken back has been handed on, and that comes after the greeting.
        if (wait_for_greeting(wake, slot, ticks) ||
            !atomic_compare_exchange_strong(&rally->turn, &turn, lcpu->greet_next)) {
            account->greeted = 1;
            greeted++;
        } else {
            account->unheard++;
        }
    }
    return greeted;
}

uint32_t wake_greet(struct wake *wake, uint64_t line_us)
{
    send_nmis(wake, clock_ticks(&wake->clock, line_us));
    return wake_follow_turns(wake, wake_open_turns(wake), line_us);
}

void wake_close(struct wake *wake)
{
    atomic_store_explicit(&arena_rally(wake->arena)->turn, TURN_CLOSED, memory_order_release);
}
