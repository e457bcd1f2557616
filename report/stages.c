// Stamps into spans. Surprise: real mode is measured across two counters, the AP's and the BSP's,
// and one may be behind. Such an AP has no time to real mode, but all its others.

#include "stages.h"

uint64_t stage_ns(const struct smp_account *account, enum smp_stage stage,
                  const struct clock *clock)
{
    const uint64_t stamp = stage == SMP_STAGE_REAL        ? account->tsc_real
                           : stage == SMP_STAGE_PROTECTED ? account->tsc_protected
                           : stage == SMP_STAGE_LONG      ? account->tsc_long
                                                          : account->tsc_c;
    const uint64_t since = stage == SMP_STAGE_REAL ? account->started : account->tsc_real;
    const uint64_t khz = (clock->tsc_hz + 999) / 1000;

    // Stamps are valid from protected mode on. An AP that firmware woke was in C from the start.
    if (account->stage < SMP_STAGE_PROTECTED || account->stage < stage || account->tsc_real == 0 ||
        stamp < since)
        return 0;
    return (stamp - since) * 1000000 / khz;
}

static size_t collect(const struct evidence *evidence, enum smp_stage stage,
                      const struct clock *clock, uint32_t *values)
{
    size_t count = 0;

    for (uint32_t slot = 1; slot < evidence->count; slot++) {
        const uint64_t ns = stage_ns(&evidence->accounts[slot], stage, clock);
        if (ns > 0)
            values[count++] = ns < UINT32_MAX ? (uint32_t)ns : UINT32_MAX;
    }
    return count;
}

static struct spread spread_at(const struct evidence *evidence, enum smp_stage stage,
                               const struct clock *clock, uint32_t *scratch)
{
    return spread_of(scratch, collect(evidence, stage, clock, scratch));
}

struct stages stages_of(const struct evidence *evidence, const struct clock *clock,
                        uint32_t *scratch)
{
    return (struct stages){
        .cpus = collect(evidence, SMP_STAGE_PROTECTED, clock, scratch),
        .real = spread_at(evidence, SMP_STAGE_REAL, clock, scratch),
        .protected = spread_at(evidence, SMP_STAGE_PROTECTED, clock, scratch),
        .long_mode = spread_at(evidence, SMP_STAGE_LONG, clock, scratch),
        .c = spread_at(evidence, SMP_STAGE_C, clock, scratch),
    };
}
