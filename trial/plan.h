// The plan of a run: facts and wishes in; who is woken, by what messages, how often, out. Pure.
// Whatever cannot work is told and refused here, while an error can still be returned to firmware.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "machine.h"
#include "options.h"
#include "problem.h"
#include "smp.h"
#include "status.h"

// An AP's turn to greet: its line at the slowest rate, twice over: 2 * 80 characters * 10 bits /
// 1200 baud, rounded up.
#define GREETING_US 2000000u

struct plan {
    struct smp_plan messages;
    enum smp_apic_mode apic_mode;
    uint32_t rounds;
    size_t want;          // APs to wake; cpus holds want + 1 entries
    struct smp_cpu *cpus; // the caller's memory: [0] the BSP, then the APs in CPU order
};

// Refuses, by its name, a guest in which our way of waking processors kills the one that tries it.
// Before anything else is asked of the machine: what only looks may be fatal there, too.
enum status plan_check_guest(const struct machine *machine, const struct problems *problems);

// Decides. `cpus` is memory for inventory.enabled entries. Everything wrong is told.
// Returns STATUS_OK, or STATUS_INVALID / STATUS_UNSUPPORTED where nothing may be woken.
enum status plan_make(const struct machine *machine, const struct options *options,
                      const struct problems *problems, struct smp_cpu *cpus, struct plan *plan);

// The messages alone, which are no choice of processors: strategy, delays, time-outs.
struct smp_plan plan_messages(const struct machine *machine, const struct options *options);

// What the engine relies on in each processor, by the BSP's.
struct smp_features plan_features(const struct machine *machine);
