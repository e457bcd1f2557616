// The sum of all waits. Surprise: most of it is what never happens together, so it is far above any
// run; it is not an estimate.

#include "bound.h"

#include "drill.h"
#include "null.h"
#include "smp.h"

// Said once in a run: the late page's four lines, two null trampolines, a sweep's end, rounds,
// stages, times, the journal's and the screen's complaints, a fault of the BSP's own, ev=end; and
// room.
#define LINES_ONCE 24u

// Of an exercise: its record, two sentences, and a warning.
#define LINES_OF_A_DRILL 4u

// A reader that is busy, and what is not waited for but worked: a second, and for each processor
// and round what one more added at most to a whole run in docs/bench.md, 20 ms with 512 of them on
// an emulator. A pixel of a frame buffer that is not cached, behind a server's slow bus: 4 bytes at
// 8 MB/s.
#define BUSY_READER_US  10000000u
#define WORK_US         1000000u
#define WORK_EACH_US    20000u
#define PIXELS_PER_US   2u
#define PAINTS_OF_A_RUN 3u // before the first round, before the wall, and the wall

// A hypervisor may give us half of the time.
#define SHARE_OF_TIME 2u

static uint64_t plus(uint64_t left, uint64_t right)
{
    uint64_t sum;
    return __builtin_add_overflow(left, right, &sum) ? UINT64_MAX : sum;
}

static uint64_t times(uint64_t left, uint64_t right)
{
    uint64_t product;
    return __builtin_mul_overflow(left, right, &product) ? UINT64_MAX : product;
}

static size_t settings_of(const struct options *options)
{
    return options->sweep.count > 0 ? options->sweep.count : 1;
}

static uint64_t rounds_of(const struct options *options, const struct plan *plan)
{
    return times(settings_of(options), plan->rounds);
}

// A round with the pause before it, and the evidence of injected faults.
static uint64_t round_us(const struct plan *plan, size_t faults)
{
    const uint64_t wake_us = smp_round_bound_us(&plan->messages, plan->apic_mode, plan->want + 1);
    return plus(plan->messages.sipi_us + faults * (uint64_t)GREETING_US, wake_us);
}

// Nobody greets, as often as they are asked.
static uint64_t greetings_us(const struct options *options, const struct plan *plan)
{
    const uint64_t rounds = rounds_of(options, plan);
    return times(plan->want, (rounds < SMP_TURNS ? rounds : SMP_TURNS) * plan->messages.turn_us);
}

static uint64_t all_rounds_us(const struct options *options, const struct machine *machine,
                              const struct plan *plan, size_t faults)
{
    uint64_t sum = 0;

    if (options->sweep.count == 0)
        return times(plan->rounds, round_us(plan, faults));
    for (size_t setting = 0; setting < options->sweep.count; setting++) {
        struct options one;
        struct plan with = *plan;
        sweep_options(options, setting, &one);
        with.messages = plan_messages(machine, &one);
        sum = plus(sum, times(plan->rounds, round_us(&with, faults)));
    }
    return sum;
}

static uint64_t null_us(const struct options *options, const struct plan *plan)
{
    const uint64_t modes = options->bench == BENCH_NONE ? 0 : NULL_LONG + 1;
    const uint64_t one =
        plan->messages.init_us + plan->messages.timeout_us + 2 * (uint64_t)SMP_APIC_IDLE_US;
    return modes * (1 + NULL_WARM_ROUNDS) * one;
}

// How often an AP of this run is sent a sequence.
static uint64_t tries_of(const struct options *options, const struct plan *plan)
{
    return times(rounds_of(options, plan), plan->want * (plan->messages.retries + 1ull));
}

// A broadcast wakes who is in no table; a message to one can wake one under another ID.
static uint64_t unlisted_lines(const struct options *options, const struct plan *plan)
{
    const bool broadcast = smp_strategy_reaches_all(plan->messages.strategy) ||
                           options->bench != BENCH_NONE ||
                           (options->sweep.count > 0 && options->sweep.key == SWEEP_WAKE);
    return broadcast || plan->want > SMP_UNLISTED_MAX ? SMP_UNLISTED_MAX + 1 : plan->want;
}

// What the BSP says.
static uint64_t own_lines(const struct options *options, const struct machine *machine,
                          const struct plan *plan)
{
    // Twice: a fault of the BSP's own in the middle of it begins it anew.
    const uint64_t account =
        2 * (machine->inventory.count + 2 * plan->want + unlisted_lines(options, plan));
    const uint64_t before_and_debug = 2 * plan->want;
    const uint64_t of_drills = options->run == RUN_NONE ? 0 : LINES_OF_A_DRILL * DRILL_STEPS;
    const uint64_t of_rounds = plus(rounds_of(options, plan), settings_of(options));
    return plus(account + before_and_debug + of_drills + LINES_ONCE, of_rounds);
}

// How often an AP may stop, and say so: in each try, and then in a call.
static uint64_t stops_of(const struct options *options, const struct plan *plan)
{
    return plus(tries_of(options, plan), options->run == RUN_NONE ? 0 : plan->want);
}

// What the APs say: that they stopped, and in each round hello.
static uint64_t ap_lines(const struct options *options, const struct plan *plan)
{
    return plus(stops_of(options, plan), times(rounds_of(options, plan), plan->want));
}

uint64_t bound_serial_us(const struct options *options, const struct machine *machine,
                         const struct plan *plan, const struct bound_facts *facts)
{
    const uint64_t lines = plus(own_lines(options, machine, plan), ap_lines(options, plan));
    return facts->port ? plus(times(lines, 2 * facts->line_us), BUSY_READER_US) : 0;
}

// An AP may die with the console in its hands whenever it stops. We wait for a dead one when we
// have something to say, and then have the console ourselves.
static uint64_t dead_owners_us(const struct options *options, const struct machine *machine,
                               const struct plan *plan, uint64_t lock_us)
{
    const uint64_t dead = stops_of(options, plan), waits = own_lines(options, machine, plan);
    return times(dead < waits ? dead : waits, lock_us);
}

uint64_t bound_run_us(const struct options *options, const struct machine *machine,
                      const struct plan *plan, const struct bound_facts *facts)
{
    const uint64_t rounds = rounds_of(options, plan);
    const uint64_t paints = times(plus(rounds, PAINTS_OF_A_RUN), facts->pixels / PIXELS_PER_US + 1);
    const uint64_t work = times(plus(rounds, 1), machine->inventory.count * (uint64_t)WORK_EACH_US);
    uint64_t sum = WORK_US;

    sum = plus(sum, null_us(options, plan));
    sum = plus(sum, all_rounds_us(options, machine, plan, facts->faults));
    sum = plus(sum, greetings_us(options, plan));
    sum = plus(sum, plan->messages.timeout_us); // for who is late
    sum = plus(sum, drill_bound_us(options, plan));
    sum = plus(sum, bound_serial_us(options, machine, plan, facts));
    sum = plus(sum, dead_owners_us(options, machine, plan, facts->lock_us));
    sum = plus(sum, plus(paints, work));
    return times(sum, SHARE_OF_TIME);
}
