// From accounts to one word. An AP is up or it has a cause: there is nothing between.

#include "outcome.h"

void outcome_add(struct outcome *outcome, const struct smp_account *account)
{
    const enum smp_cause cause = smp_verdict(account);

    if (cause == SMP_CAUSE_NONE)
        outcome->up++;
    else
        outcome->failed++;
    outcome->want++;
    outcome->unreturned += cause == SMP_CAUSE_NO_RETURN;
    outcome->ok = outcome->failed == 0;
}

struct outcome outcome_of(const struct evidence *evidence)
{
    struct outcome outcome = evidence ? OUTCOME_DONE : OUTCOME_OPEN;

    for (uint32_t slot = 1; evidence && slot < evidence->count; slot++)
        outcome_add(&outcome, &evidence->accounts[slot]);
    if (evidence && evidence->wrong_sum) {
        outcome.wrong_sum = true;
        outcome.ok = false;
    }
    return outcome;
}

struct outcome outcome_cut_short(struct outcome outcome)
{
    outcome.ok = false;
    return outcome;
}
