// What a setting is worth. Surprise: with sipis=auto a second STARTUP makes up for a wait that was
// too short, so who needed it has not arrived at the first try.

#include "sweep.h"

#include <stdbool.h>

static uint32_t least_of(uint32_t left, uint32_t right)
{
    return left < right ? left : right;
}

struct sweep_result sweep_start(uint32_t want)
{
    return (struct sweep_result){.first_try = want, .arrived = want, .first_us = UINT32_MAX};
}

void sweep_add(const struct smp_round *round, uint32_t want, struct sweep_result *result)
{
    const uint32_t first_try = round->arrived - round->retried - round->helped;

    result->lost += want - first_try;
    result->first_try = least_of(result->first_try, first_try);
    result->arrived = least_of(result->arrived, round->arrived);
    if (round->arrived > 0 && round->first_us < result->first_us)
        result->first_us = (uint32_t)round->first_us;
    if (round->icr_writes > result->icr_writes)
        result->icr_writes = round->icr_writes;
}

void sweep_finish(uint32_t *medians_us, uint32_t *lasts_us, size_t rounds,
                  struct sweep_result *result)
{
    result->median_us = spread_of(medians_us, rounds);
    result->last_us = spread_of(lasts_us, rounds);
}

// Words among numbers (auto) are no answer to which number is the smallest.
static bool can_be_best(const struct sweep *sweep, const struct sweep_result *result,
                        size_t setting)
{
    return result->lost == 0 && (sweep->key == SWEEP_WAKE || sweep_is_number(sweep, setting));
}

static bool is_better(const struct sweep *sweep, const struct sweep_result *results, size_t left,
                      size_t right)
{
    if (sweep->key == SWEEP_WAKE)
        return results[left].last_us.median < results[right].last_us.median;
    return sweep->values[left] < sweep->values[right];
}

size_t sweep_best(const struct sweep *sweep, const struct sweep_result *results, size_t count)
{
    size_t best = count;

    for (size_t i = 0; i < count; i++) {
        if (can_be_best(sweep, &results[i], i) &&
            (best == count || is_better(sweep, results, i, best)))
            best = i;
    }
    return best;
}
