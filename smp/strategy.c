// The strategies, and what follows from each. They differ in two things only: how many processors
// one sequence is for, and whether its first messages are addressed to each or to all but self. A
// new one is a row of the table here, its pass, and its name in enum smp_strategy: options, records
// and bounds are made of this table.

#include "sequence.h"

static void pass_parallel(struct smp *smp, uint32_t try, uint64_t *last_sent)
{
    const struct group all = {smp->missing, smp->missing_count, SEQUENCE_EACH};
    sequence_run(smp, all, smp->due, try, last_sent);
}

static void pass_one_by_one(struct smp *smp, uint32_t try, uint64_t *last_sent)
{
    for (size_t i = 0; i < smp->missing_count; i++) {
        const struct group one = {&smp->missing[i], 1, SEQUENCE_EACH};
        sequence_run(smp, one, 0, try, last_sent);
    }
}

static void pass_broadcast(struct smp *smp, uint32_t try, uint64_t *last_sent)
{
    // A round for some must not reach the others.
    const bool by_shorthand = try == 1 && smp->due == smp->want;
    const struct group all = {smp->missing, smp->missing_count,
                              by_shorthand ? SEQUENCE_ALL : SEQUENCE_EACH};
    sequence_run(smp, all, smp->due, try, last_sent);
}

// Somebody else's messages, and somebody else's waits.
static void pass_nothing(struct smp *smp, uint32_t try, uint64_t *last_sent)
{
    (void)smp, (void)try, (void)last_sent;
}

static const struct {
    const char *word;
    void (*pass)(struct smp *smp, uint32_t try, uint64_t *last_sent);
    bool in_turn;     // a try waits for each AP by itself
    bool reaches_all; // also processors that were not given
} strategies[] = {
    [SMP_PARALLEL] = {.word = "parallel", .pass = pass_parallel},
    [SMP_ONE_BY_ONE] = {.word = "one-by-one", .pass = pass_one_by_one, .in_turn = true},
    [SMP_BROADCAST] = {.word = "broadcast", .pass = pass_broadcast, .reaches_all = true},
    [SMP_FIRMWARE] = {.word = "firmware", .pass = pass_nothing},
};

bool strategy_is_known(enum smp_strategy strategy)
{
    return strategy < sizeof strategies / sizeof strategies[0];
}

void strategy_pass(struct smp *smp, uint32_t try, uint64_t *last_sent)
{
    strategies[smp->plan.strategy].pass(smp, try, last_sent);
}

uint32_t smp_strategy_count(void)
{
    return sizeof strategies / sizeof strategies[0];
}

const char *smp_strategy_word(uint32_t strategy)
{
    return strategy_is_known(strategy) ? strategies[strategy].word : "none";
}

bool smp_strategy_reaches_all(uint32_t strategy)
{
    return strategies[strategy].reaches_all;
}

struct smp_plan smp_plan_by_the_manual(enum smp_strategy strategy)
{
    return (struct smp_plan){
        .strategy = strategy,
        .init_us = SMP_INIT_MANUAL_US,
        .init_retry_us = SMP_INIT_MANUAL_US,
        .sipi_us = 200,
        .sipis = 2,
        .timeout_us = 100000,
        .turn_us = 100000,
    };
}

uint64_t smp_round_bound_us(const struct smp_plan *plan, enum smp_apic_mode mode, size_t count)
{
    const uint64_t want = count - 1;
    const uint64_t sipis = plan->sipis == SMP_SIPIS_AUTO ? 2 : plan->sipis;
    const uint64_t
        between = // with auto the wait goes on while APs arrive, half the time-out at most
        plan->sipis == SMP_SIPIS_AUTO ? plan->timeout_us / 2 : sipis * (uint64_t)plan->sipi_us;
    const uint64_t longest_init =
        plan->init_us > plan->init_retry_us ? plan->init_us : plan->init_retry_us;
    const uint64_t sequence = longest_init + between + plan->timeout_us;
    const uint64_t in_turn = strategies[plan->strategy].in_turn ? want : 1;
    const uint64_t sending = // a stuck xAPIC lets each message wait
        mode == SMP_XAPIC ? (1 + sipis) * want * SMP_APIC_IDLE_US : 0;
    return (sequence * in_turn + sending) * (plan->retries + 1ull);
}
