// Stages: how long APs took from one stage of their way to the next, by their own stamps. Pure.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "clock.h"
#include "evidence.h"
#include "smp.h"
#include "sort.h"

// When an AP reached a stage in the last round, in nanoseconds: real mode since the round's first
// message, a later one since its own first instruction. 0: it did not, or left no stamp.
uint64_t stage_ns(const struct smp_account *account, enum smp_stage stage,
                  const struct clock *clock);

// The same of all APs, as a spread for each stage, in nanoseconds; what is longer than UINT32_MAX
// counts as that.
struct stages {
    size_t cpus; // APs that left stamps
    struct spread real, protected, long_mode, c;
};

// `scratch` is memory for evidence->count numbers.
struct stages stages_of(const struct evidence *evidence, const struct clock *clock,
                        uint32_t *scratch);
