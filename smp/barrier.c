// A barrier that a dead processor cannot hold for ever. One word has it all: who is here, which
// time it is, and whether it is broken; so whoever moves it moves all at once.

#include "clock.h"
#include "engine.h"
#include "watch.h"

#define BROKEN     (1ull << 63)
#define TIME       (1ull << 32) // one more time that it was passed
#define HERE(word) ((uint32_t)(word))

// The header is read by C++ as well, which has no _Atomic.
static uint64_t load(const struct smp_barrier *barrier)
{
    return __atomic_load_n(&barrier->state, __ATOMIC_ACQUIRE);
}

static bool move(struct smp_barrier *barrier, uint64_t *seen, uint64_t next)
{
    return __atomic_compare_exchange_n(&barrier->state, seen, next, false, __ATOMIC_ACQ_REL,
                                       __ATOMIC_ACQUIRE);
}

void smp_barrier_open(const struct smp *smp, uint32_t count, struct smp_barrier *barrier)
{
    *barrier = (struct smp_barrier){.ticks_per_us = clock_ticks(&smp->clock, 1), .count = count};
}

// The word behind the last one's arrival: nobody is here, and the next time has come.
static uint64_t passed(uint64_t word)
{
    return (word - HERE(word) + TIME) & ~BROKEN;
}

enum status smp_barrier_wait(struct smp_barrier *barrier, uint64_t timeout_us)
{
    struct watch watch = watch_start(hw_tsc(), timeout_us * barrier->ticks_per_us);
    uint64_t word = load(barrier);
    bool is_last;

    do {
        if (word & BROKEN)
            return STATUS_TIMEOUT;
        is_last = HERE(word) + 1 >= barrier->count;
    } while (!move(barrier, &word, is_last ? passed(word) : word + 1));
    const uint64_t next = passed(word);
    while (!is_last) {
        const bool late = watch_is_over(&watch, hw_tsc());
        word = load(barrier);
        if (passed(word) != next) // somebody was the last, whatever has come since
            return STATUS_OK;
        if (word & BROKEN)
            return STATUS_TIMEOUT;
        if (late && move(barrier, &word, word | BROKEN))
            return STATUS_TIMEOUT;
        hw_pause();
    }
    return STATUS_OK;
}
