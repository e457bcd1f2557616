// A sweep's settings, each over all its rounds, and which one is best. Pure.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "options.h"
#include "smp.h"
#include "sort.h"

struct sweep_result {
    uint32_t first_try; // in the worst round: arrived by the first STARTUP of the first sequence
    uint32_t arrived;   // in the worst round: arrived at all
    uint64_t lost;      // over all rounds: did not arrive at the first try
    uint32_t first_us;  // the earliest arrival of all; UINT32_MAX: there was none
    struct spread median_us; // of the rounds' medians
    struct spread last_us;   // of the rounds' last arrivals
    uint64_t icr_writes;     // in the round that needed most
};

// Before the first round of a setting in which `want` APs are woken.
struct sweep_result sweep_start(uint32_t want);

// After each of its rounds.
void sweep_add(const struct smp_round *round, uint32_t want, struct sweep_result *result);

// After its last: the rounds' medians and last arrivals, which are sorted in place.
void sweep_finish(uint32_t *medians_us, uint32_t *lasts_us, size_t rounds,
                  struct sweep_result *result);

// Of the first `count` settings, which were run to their end: the one with the smallest number, or
// the fastest strategy, at which nobody was ever lost. `count`: there is none.
size_t sweep_best(const struct sweep *sweep, const struct sweep_result *results, size_t count);
