// Drill: exercises for the APs that stay awake after the last round (run=), by smp.h alone: empty
// calls in each way of parking, a barrier, a sum. Each is tried once before it is measured, and
// goes on with the rest when a processor does not return. Surprise: one that was given up may come
// back at any time and touch what it was called with. So that is never used again, and never moves.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "clock.h"
#include "inject.h"
#include "options.h"
#include "plan.h"
#include "smp.h"
#include "sort.h"

enum drill {
    DRILL_CALL,    // of a function that does nothing: by all at once, and by one after another
    DRILL_BARRIER, // all meet, this processor among them; parked by SMP_PARK_PAUSE
    DRILL_SUM,     // all add up the same numbers as this one did alone
};

// One exercise: what, and how APs wait in it.
struct drill_step {
    enum drill drill;
    enum smp_parking park;
};

#define DRILL_STEPS ((size_t)SMP_PARKINGS + 2)

// What `run=` and `park=` come to, in order; returns how many there are.
size_t drill_steps(const struct options *options, struct drill_step steps[DRILL_STEPS]);
const char *drill_word(enum drill drill); // "call"

// What is measured in one go: so many rounds, but no longer than this, since an emulator takes its
// time; and of rounds that a processor does not return from, so many, each of which may take all of
// its time-out.
#define DRILL_ROUNDS 200u
#define DRILL_US     200000u
#define DRILL_LOST   2u

// A sum of as many numbers as take one processor so long: short against a person's patience, long
// against a call; so many times by all.
#define DRILL_SUM_US  100000u
#define DRILL_SUMS    5u
#define DRILL_SUMS_US (10 * DRILL_SUM_US)

// What APs read and write, in memory that each of them has at the same address. The caller's, to be
// all 0 before drill_open.
struct drill_meeting {
    _Alignas(64) struct smp_barrier barrier;
    uint64_t timeout_us;
    _Atomic uint32_t last; // pass; UINT32_MAX: not known yet
    const struct injector *injector;
};

struct drill_total {
    _Alignas(64) _Atomic uint64_t sum;
};

struct drill_ground {
    const struct injector *injector;                // who is to hang
    struct drill_meeting meetings[DRILL_LOST + 1u]; // another behind each that somebody may still
    struct drill_total totals[DRILL_LOST + 1u];     // have in his hands
    // This processor's alone.
    uint32_t broken, given_up; // meetings and totals that are used up
    uint32_t samples[DRILL_ROUNDS];
};

struct drill_setup {
    struct smp *smp;
    const struct plan *plan;
    const struct clock *clock;
    struct drill_ground *ground;
};

struct drill_result {
    uint32_t aps;                 // that took part to its end
    uint32_t parking;             // enum smp_parking, as they did wait; SMP_PARKINGS: not all alike
    uint32_t rounds;              // that were measured
    uint32_t lost;                // that were not completed in time
    uint32_t missing;             // APs that did not return, or took a fault
    uint32_t first_missing;       // the lowest slot of those who were missing first; 0: none
    struct spread all_ns, one_ns; // of a round; a call by one AP (DRILL_CALL)
    uint64_t items;               // DRILL_SUM: numbers that were added up,
    uint32_t alone_ns;            // by this processor alone,
    bool right;                   // and by all each time to the same sum; else true
};

// Once, before the first exercise.
void drill_open(const struct injector *injector, struct drill_ground *ground);

// One exercise, with those who wait for a call. Messages may be sent. Nobody waited, if
// aps and missing are 0.
struct drill_result drill_run(const struct drill_setup *setup, const struct drill_step *step);

// Behind the last: all who still return leave our code, to where only an INIT reaches them.
void drill_close(const struct drill_setup *setup);

// The longest that all of it can take, whatever the processors do.
uint64_t drill_bound_us(const struct options *options, const struct plan *plan);
