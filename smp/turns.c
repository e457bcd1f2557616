// The turns, after the timed wake: whoever arrived runs the caller's function, one after another.
// Surprise: the turn goes from AP to AP, each naming the next, and the caller's processor only
// watches. With one message a turn from it, N processors that wait would cost N rounds of looking.

#include "engine.h"
#include "watch.h"

// Waits for one AP to have run the function, at most its turn.
static bool wait_until_done(const struct smp *smp, uint32_t slot)
{
    struct watch watch = watch_start(hw_tsc(), clock_ticks(&smp->clock, smp->plan.turn_us));

    for (;;) {
        const bool late = watch_is_over(&watch, hw_tsc());
        if (stage_of(smp, slot) == STAGE_DONE)
            return true;
        if (late)
            return false;
        hw_pause();
    }
}

// Arrived, checked in, without a fault, not done yet, and not asked in vain too often.
static bool may_have_turn(const struct smp *smp, uint32_t slot)
{
    const struct book *book = arena_book(&smp->arena, slot);

    return book->arrived && !book->done && book->unheard < SMP_TURNS &&
           stage_of(smp, slot) >= STAGE_READY &&
           !atomic_load_explicit(&arena_lcpu(&smp->arena, slot)->fault.valid, memory_order_acquire);
}

// Chains those who are to have a turn, each naming the next; returns the first, 0 if there is none.
static uint32_t chain(const struct smp *smp)
{
    uint32_t next = 0;

    for (uint32_t slot = smp->want; slot >= 1; slot--) {
        if (!may_have_turn(smp, slot))
            continue;
        arena_lcpu(&smp->arena, slot)->next_turn = next;
        next = slot;
    }
    return next;
}

uint32_t smp_open_turns(struct smp *smp)
{
    const uint32_t first = chain(smp);
    atomic_store_explicit(&arena_rally(&smp->arena)->turn, first, memory_order_release);
    return first;
}

// Along the chain as it was made: an AP may have checked in, or met a fault, since then.
uint32_t smp_follow_turns(struct smp *smp, uint32_t first)
{
    struct rally *rally = arena_rally(&smp->arena);
    uint32_t done = 0;

    for (uint32_t slot = first; slot != 0; slot = arena_lcpu(&smp->arena, slot)->next_turn) {
        struct book *book = arena_book(&smp->arena, slot);
        uint32_t turn = slot;
        // A turn that cannot be taken back has been handed on, and that comes after the function.
        if (wait_until_done(smp, slot) ||
            !atomic_compare_exchange_strong(&rally->turn, &turn,
                                            arena_lcpu(&smp->arena, slot)->next_turn)) {
            book->done = 1;
            done++;
        } else {
            book->unheard++;
        }
    }
    return done;
}

uint32_t smp_take_turns(struct smp *smp)
{
    return smp_follow_turns(smp, smp_open_turns(smp));
}

void smp_close_turns(struct smp *smp)
{
    atomic_store_explicit(&arena_rally(&smp->arena)->turn, TURN_CLOSED, memory_order_release);
}
