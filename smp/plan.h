// The plan: facts and options in, who is woken and by what messages out. Pure. Whatever cannot work
// is told and refused here, while an error can still be returned to firmware.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "apic.h"
#include "lcpu.h"
#include "machine.h"
#include "options.h"
#include "problem.h"
#include "status.h"

// SDM vol. 3A, "MP Initialization Protocol Algorithm": 10 ms between INIT and STARTUP.
#define PLAN_INIT_MANUAL_US 10000u

struct plan {
    enum wake_strategy wake;
    const struct apic_operations *apic;
    uint32_t init_us;       // in the first sequence of a round
    uint32_t init_retry_us; // in every further one
    uint32_t sipi_us;
    uint32_t sipis; // SIPIS_AUTO or 1..4
    uint32_t timeout_us;
    uint32_t retries;
    uint32_t rounds;
    size_t want;             // APs to wake; lcpus holds want + 1 entries
    struct lcpu_plan *lcpus; // the caller's memory: [0] the BSP, then the APs in CPU order
};

// Refuses, by its name, a guest in which our way of waking processors kills the one that tries it.
// Before anything else is asked of the machine: what only looks may be fatal there, too.
enum status plan_check_guest(const struct machine *machine, const struct problems *problems);

// Decides. `lcpus` is memory for inventory.enabled entries. Everything wrong is told.
// Returns STATUS_OK, or STATUS_INVALID / STATUS_UNSUPPORTED where nothing may be woken.
enum status plan_make(const struct machine *machine, const struct options *options,
                      const struct problems *problems, struct lcpu_plan *lcpus, struct plan *plan);

// The part of it that is no choice of processors: strategy, delays, time-outs, how often.
void plan_set_times(const struct machine *machine, const struct options *options,
                    struct plan *plan);

// The longest that the wake of one round can take by this plan, in microseconds, if no AP ever
// answers and this processor is not stopped (watch.h).
uint64_t plan_round_bound_us(const struct plan *plan);
