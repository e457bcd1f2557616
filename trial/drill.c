// The exercises. What runs on APs comes first. Surprise: they wait for a barrier with PAUSE,
// however they do between calls. Only smp_wait wakes one that slept through its call, and this
// processor is in the barrier then.

#include "drill.h"

#include "hw.h"

// ---- on the APs ----

// inject=hang-call.
static void hang_if_asked(const struct injector *injector, const struct smp_self *self)
{
    if (!inject_hangs_in_call(injector, self->slot))
        return;
    for (;;) // and reads nothing that is given back meanwhile
        hw_pause();
}

static void do_nothing(void *context, const struct smp_self *self)
{
    hang_if_asked(context, self);
}

// The caller's processor says which pass is the last before it comes to it, so whoever has passed
// that one knows.
static void meet(void *context, const struct smp_self *self)
{
    struct drill_meeting *meeting = context;

    hang_if_asked(meeting->injector, self);
    for (uint32_t pass = 1; smp_barrier_wait(&meeting->barrier, meeting->timeout_us) == STATUS_OK;
         pass++) {
        if (pass >= atomic_load_explicit(&meeting->last, memory_order_acquire))
            return;
    }
}

// Some work that no compiler makes a formula of: each bit of the result hangs on each of the input.
static uint64_t stir(uint64_t number)
{
    number = (number ^ (number >> 30)) * 0xbf58476d1ce4e5b9;
    number = (number ^ (number >> 27)) * 0x94d049bb133111eb;
    return number ^ (number >> 31);
}

static void add_up(void *context, uint64_t first, uint64_t end, const struct smp_self *self)
{
    struct drill_total *total = context;
    uint64_t sum = 0;

    (void)self;
    for (uint64_t number = first; number < end; number++)
        sum += stir(number);
    atomic_fetch_add_explicit(&total->sum, sum, memory_order_relaxed);
}

// ---- counting ----

static uint32_t ns_of(const struct clock *clock, uint64_t ticks)
{
    const uint64_t khz = (clock->tsc_hz + 999) / 1000;
    const uint64_t ns = ticks * 1000000 / khz; // ticks are of seconds: below 2^40
    return ns < UINT32_MAX ? (uint32_t)ns : UINT32_MAX;
}

static bool waits(const struct smp *smp, uint32_t slot)
{
    return smp_call_of(smp, slot).state == SMP_CALL_WAITS;
}

static uint32_t count_waiting(const struct smp *smp)
{
    uint32_t count = 0;

    for (uint32_t slot = 1; slot < smp_count(smp); slot++)
        count += waits(smp, slot);
    return count;
}

static uint32_t parking_of(const struct smp *smp)
{
    uint32_t parking = SMP_PARKINGS;

    for (uint32_t slot = 1; slot < smp_count(smp); slot++) {
        const struct smp_call_account account = smp_call_of(smp, slot);
        if (account.state != SMP_CALL_WAITS)
            continue;
        if (parking != SMP_PARKINGS && parking != account.parking)
            return SMP_PARKINGS;
        parking = account.parking;
    }
    return parking;
}

static void add_missing(const struct smp_calls *calls, struct drill_result *result)
{
    if (calls->missing == 0)
        return;
    result->lost++;
    if (result->missing == 0)
        result->first_missing = calls->first_missing;
    result->missing += calls->missing;
}

// One go: when it began, and what it is limited by.
struct go {
    uint64_t start;
    uint32_t rounds_most, most_us;
    uint32_t rounds; // so far, the first of which is not measured
};

static struct go start_go(uint32_t rounds_most, uint32_t most_us)
{
    return (struct go){.start = hw_tsc(), .rounds_most = rounds_most, .most_us = most_us};
}

static uint32_t measured(const struct go *go)
{
    return go->rounds > 0 ? go->rounds - 1 : 0;
}

// However long it takes, one round is measured, unless too many are lost.
static bool goes_on(const struct drill_setup *setup, const struct go *go,
                    const struct drill_result *result)
{
    return go->rounds <= go->rounds_most && result->lost <= DRILL_LOST &&
           (measured(go) == 0 || hw_tsc() - go->start < clock_ticks(setup->clock, go->most_us));
}

static void add_round(const struct drill_setup *setup, uint64_t ticks, struct go *go)
{
    if (go->rounds > 0)
        setup->ground->samples[go->rounds - 1] = ns_of(setup->clock, ticks);
    go->rounds++;
}

// With those who are left; the wait for the others does not count.
static void go_on_without(const struct smp_calls *calls, struct go *go, struct drill_result *result)
{
    add_missing(calls, result);
    if (calls->missing > 0)
        go->start = hw_tsc();
}

static struct spread spread_of_go(const struct drill_setup *setup, const struct go *go)
{
    return spread_of(setup->ground->samples, measured(go));
}

// ---- empty calls ----

// By the AP in this slot, 0: by all. False: nobody could be called.
static bool call(const struct drill_setup *setup, uint32_t slot, struct go *go,
                 struct drill_result *result)
{
    void *const injector = (void *)(uintptr_t)setup->ground->injector;
    struct smp_calls calls;

    const enum status status = smp_call(setup->smp, slot, do_nothing, injector);
    if (status != STATUS_OK && status != STATUS_TIMEOUT) // a message that did not leave is awaited
        return false;
    (void)smp_wait(setup->smp, setup->plan->messages.timeout_us, &calls);
    go_on_without(&calls, go, result);
    if (calls.missing == 0)
        add_round(setup, calls.ticks, go);
    return true;
}

static void drill_all(const struct drill_setup *setup, struct drill_result *result)
{
    struct go go = start_go(DRILL_ROUNDS, DRILL_US);

    while (goes_on(setup, &go, result) && call(setup, 0, &go, result))
        ;
    result->rounds = measured(&go);
    result->all_ns = spread_of_go(setup, &go);
}

static uint32_t next_waiting(const struct smp *smp, uint32_t slot)
{
    const uint32_t aps = (uint32_t)smp_count(smp) - 1;

    for (uint32_t i = 0; i < aps; i++) {
        slot = slot % aps + 1;
        if (waits(smp, slot))
            return slot;
    }
    return 0;
}

static void drill_each(const struct drill_setup *setup, struct drill_result *result)
{
    struct go go = start_go(DRILL_ROUNDS, DRILL_US);
    uint32_t slot = 0;

    while (goes_on(setup, &go, result) && (slot = next_waiting(setup->smp, slot)) != 0 &&
           call(setup, slot, &go, result))
        ;
    result->one_ns = spread_of_go(setup, &go);
}

// ---- a barrier ----

// This processor's passes. False: the barrier is broken.
static bool lead(const struct drill_setup *setup, struct drill_meeting *meeting, struct go *go,
                 const struct drill_result *result)
{
    uint64_t before = hw_tsc();

    for (uint32_t pass = 1;; pass++) {
        const bool is_last = go->rounds == go->rounds_most || !goes_on(setup, go, result);
        if (is_last)
            atomic_store_explicit(&meeting->last, pass, memory_order_release);
        if (smp_barrier_wait(&meeting->barrier, meeting->timeout_us) != STATUS_OK)
            return false;
        const uint64_t now = hw_tsc();
        add_round(setup, now - before, go);
        before = now;
        if (is_last)
            return true;
    }
}

static void drill_barrier(const struct drill_setup *setup, struct drill_result *result)
{
    const uint32_t timeout_us = setup->plan->messages.timeout_us;
    bool passed = false;

    while (!passed && setup->ground->broken <= DRILL_LOST) {
        struct drill_meeting *meeting = &setup->ground->meetings[setup->ground->broken];
        struct go go = start_go(DRILL_ROUNDS, DRILL_US);
        struct smp_calls calls;

        meeting->timeout_us = timeout_us;
        meeting->injector = setup->ground->injector;
        atomic_store_explicit(&meeting->last, UINT32_MAX, memory_order_relaxed);
        smp_barrier_open(setup->smp, count_waiting(setup->smp) + 1, &meeting->barrier);
        const enum status status = smp_call(setup->smp, 0, meet, meeting);
        if (status != STATUS_OK && status != STATUS_TIMEOUT)
            return;
        passed = lead(setup, meeting, &go, result);
        (void)smp_wait(setup->smp, timeout_us, &calls);
        add_missing(&calls, result);
        if (!passed || calls.missing > 0)
            setup->ground->broken++;
        if (!passed) {
            result->lost += calls.missing == 0; // somebody came late
            continue;
        }
        result->rounds = measured(&go);
        result->all_ns = spread_of_go(setup, &go);
    }
}

// ---- a sum ----

// By this processor alone; returns the ticks that it took.
static uint64_t add_up_alone(uint64_t items, uint64_t *sum)
{
    static const struct smp_self self = {0};
    struct drill_total total = {0};

    const uint64_t start = hw_tsc();
    add_up(&total, 0, items, &self);
    const uint64_t ticks = hw_tsc() - start;
    *sum = atomic_load_explicit(&total.sum, memory_order_relaxed);
    return ticks;
}

// Tried with so many, a second time, since code runs slower the first time. By a clock with less
// than a tick for each nothing can be told.
#define ITEMS_TRIED 4096u

static uint64_t choose_items(const struct drill_setup *setup)
{
    uint64_t sum;

    (void)add_up_alone(ITEMS_TRIED, &sum);
    const uint64_t ticks = add_up_alone(ITEMS_TRIED, &sum);
    const uint64_t wanted = clock_ticks(setup->clock, DRILL_SUM_US);
    return ticks < ITEMS_TRIED || ticks > wanted ? ITEMS_TRIED : wanted / ticks * ITEMS_TRIED;
}

static void drill_sum(const struct drill_setup *setup, struct drill_result *result)
{
    struct go muster = start_go(1, DRILL_US);
    uint64_t right_sum;

    // Who hangs does so here: in a loop the others may be faster, and leave it nothing to do.
    if (!call(setup, 0, &muster, result))
        return;
    result->items = choose_items(setup);
    result->alone_ns = ns_of(setup->clock, add_up_alone(result->items, &right_sum));
    struct go go = start_go(DRILL_SUMS, DRILL_SUMS_US);
    while (goes_on(setup, &go, result) && setup->ground->given_up <= DRILL_LOST) {
        struct drill_total *total = &setup->ground->totals[setup->ground->given_up];
        const struct smp_loop loop = {.count = result->items, .body = add_up, .context = total};
        struct smp_loop_result done;

        atomic_store_explicit(&total->sum, 0, memory_order_relaxed);
        const uint64_t start = hw_tsc();
        const enum status status =
            smp_for(setup->smp, &loop, setup->plan->messages.timeout_us, &done);
        const uint64_t ticks = hw_tsc() - start;
        if (status != STATUS_OK && status != STATUS_TIMEOUT)
            break;
        go_on_without(&done.calls, &go, result);
        if (done.calls.missing > 0) {
            setup->ground->given_up++;
            continue; // all numbers anew
        }
        result->right = result->right && done.done == result->items &&
                        atomic_load_explicit(&total->sum, memory_order_relaxed) == right_sum;
        add_round(setup, ticks, &go);
    }
    result->rounds = measured(&go);
    result->all_ns = spread_of_go(setup, &go);
}

// ---- all of it ----

const char *drill_word(enum drill drill)
{
    static const char *const words[] = {
        [DRILL_CALL] = "call", [DRILL_BARRIER] = "barrier", [DRILL_SUM] = "sum"};
    return words[drill];
}

size_t drill_steps(const struct options *options, struct drill_step steps[DRILL_STEPS])
{
    const enum run_choice run = options->run;
    size_t count = 0;

    if (run == RUN_CALL)
        steps[count++] = (struct drill_step){DRILL_CALL, options->park};
    for (uint32_t park = 0; park < SMP_PARKINGS && (run == RUN_PARK || run == RUN_ALL); park++)
        steps[count++] = (struct drill_step){DRILL_CALL, (enum smp_parking)park};
    if (run == RUN_BARRIER || run == RUN_ALL)
        steps[count++] = (struct drill_step){DRILL_BARRIER, SMP_PARK_PAUSE};
    if (run == RUN_SUM || run == RUN_ALL)
        steps[count++] = (struct drill_step){DRILL_SUM, options->park};
    return count;
}

void drill_open(const struct injector *injector, struct drill_ground *ground)
{
    ground->injector = injector;
}

struct drill_result drill_run(const struct drill_setup *setup, const struct drill_step *step)
{
    struct drill_result result = {.right = true};
    struct smp_calls calls;

    (void)smp_park(setup->smp, step->park, setup->plan->messages.timeout_us, &calls);
    add_missing(&calls, &result);
    result.parking = parking_of(setup->smp);
    if (count_waiting(setup->smp) == 0)
        return result;
    switch (step->drill) {
    case DRILL_CALL:
        drill_all(setup, &result);
        drill_each(setup, &result);
        break;
    case DRILL_BARRIER:
        drill_barrier(setup, &result);
        break;
    case DRILL_SUM:
        drill_sum(setup, &result);
        break;
    }
    result.aps = count_waiting(setup->smp);
    return result;
}

void drill_close(const struct drill_setup *setup)
{
    struct smp_calls calls;
    (void)smp_park(setup->smp, SMP_PARK_INIT, setup->plan->messages.timeout_us, &calls);
}

// ---- how long it can take ----

// A call in the slowest way that is not yet an error, and a processor that does not return.
static uint64_t call_bound_us(const struct plan *plan, enum smp_parking park)
{
    const struct smp_plan *messages = &plan->messages;
    const uint64_t stuck = plan->apic_mode == SMP_XAPIC ? SMP_APIC_IDLE_US : 0;
    const uint64_t by_init =
        messages->sipi_us + smp_round_bound_us(messages, plan->apic_mode, plan->want + 1);
    const uint64_t by_nmi = 2 * plan->want * stuck; // one to call, one to nudge

    return (park == SMP_PARK_INIT ? by_init : by_nmi) + messages->timeout_us;
}

// A go is over when its time is, but has a round that is tried and one that is measured, and begins
// anew behind a lost one. So of two goes DRILL_LOST rounds are lost and four are slow, or one lost
// too many takes the place of the last.
static uint64_t step_bound_us(const struct plan *plan, const struct drill_step *step)
{
    const uint64_t timeout_us = plan->messages.timeout_us;
    const uint64_t call_us = call_bound_us(plan, step->park);

    switch (step->drill) {
    case DRILL_CALL:
        return (DRILL_LOST + 4) * (DRILL_US + call_us);
    case DRILL_BARRIER:
        return (DRILL_LOST + 1) * (DRILL_US + call_us + 3 * timeout_us);
    case DRILL_SUM:
        break;
    }
    return 2 * DRILL_SUM_US + (DRILL_LOST + 3) * (DRILL_SUMS_US + DRILL_SUM_US + call_us);
}

uint64_t drill_bound_us(const struct options *options, const struct plan *plan)
{
    struct drill_step steps[DRILL_STEPS];
    const size_t count = drill_steps(options, steps);
    enum smp_parking before = options->park;
    uint64_t sum = 0;

    for (size_t i = 0; i < count; i++) {
        sum += step_bound_us(plan, &steps[i]);
        sum += steps[i].park != before ? call_bound_us(plan, before) : 0;
        before = steps[i].park;
    }
    return count > 0 ? sum + call_bound_us(plan, before) : 0;
}
