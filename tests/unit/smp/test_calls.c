// Calls, loops, barriers, parking, hand-over and rescue, with threads of the host as processors
// (threads.h), under ThreadSanitizer: act after act, each by a script that a seed makes. In each
// some processors return at once, some in time, some too late, some never, some meet a fault, and
// some sleep through the store that is to wake them; what the engine says of each has to be what
// was made to happen. What they work on is plain memory, so that an order that is missing is a
// race.
//
// Usage: test_calls [ACTS [SEED]]. A failure names the seed of its run, which may be run alone.
#define _GNU_SOURCE // MAP_32BIT

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "engine.h"
#include "threads.h"

#define ACTS_DEFAULT 3000u
#define ACTS_OF_RUN  12u

#define PATIENCE_US  4000u // of smp_wait; a nudge comes after 1,000
#define ITEMS_MOST   200u
#define PHASES       4u
#define MEMORY_BYTES (4u << 20)

// What a processor does in a call.
enum deed {
    DEED_RETURN,
    DEED_SLOW, // in time
    DEED_LATE, // after everybody has given it up: some act lets it go on
    DEED_HANG,
    DEED_FAULT,
    DEEDS,
};

struct actor {
    enum smp_call_state state; // as it has to be between acts
    enum deed deed;            // in this act
    bool is_called;            // in it
    uint32_t runs;             // calls of work, likewise
    uint32_t worked;           // plain: the AP writes, and the caller reads behind smp_wait
};

static struct {
    uint64_t seed, random;
    uint32_t count;
    enum smp_parking parking;
    struct actor actors[CORES_MAX];
} run;

static struct smp *smp;
static struct smp_setup setup;
static uint32_t told[ACTS_OF_RUN], *told_now;      // what a call tells its processors: plain
static uint8_t items[ACTS_OF_RUN + 1][ITEMS_MOST]; // of each act; the last, of nobody's
static uint8_t *items_now;
static bool lets_late_go; // in the caller's own part of the loop
static _Atomic bool may_go[CORES_MAX];
static _Atomic uint64_t stuck_from[CORES_MAX], stuck_to[CORES_MAX];
static struct smp_barrier barrier;
static uint32_t phases[PHASES], writers[PHASES]; // plain: whose phase it is writes
static _Atomic uint64_t handed[CORES_MAX];
static enum status passed[CORES_MAX];

#define CHECK(condition, slot, ...)                                             \
    do {                                                                        \
        if (!(condition)) {                                                     \
            fprintf(stderr, __VA_ARGS__);                                       \
            fail_msg(" (slot %u; alone: test_calls 1 %#llx)", (unsigned)(slot), \
                     (unsigned long long)run.seed);                             \
        }                                                                       \
    } while (0)

static uint32_t below(uint32_t limit)
{
    return (uint32_t)(threads_random(&run.random) >> 33) % limit;
}

static bool one_in(uint32_t odds)
{
    return below(odds) == 0;
}

static void on_problem(void *context, enum severity severity, const char *what, const char *detail)
{
    (void)context, (void)severity;
    fail_msg("seed %#llx: %s: %s", (unsigned long long)run.seed, what, detail);
}

// ---- on the processors ----

static void do_deed(uint32_t slot, enum deed deed)
{
    if (deed == DEED_SLOW)
        threads_dally(PATIENCE_US / 8);
    while (deed == DEED_LATE && !atomic_load_explicit(&may_go[slot], memory_order_relaxed))
        hw_pause();
    if (deed == DEED_FAULT)
        threads_fault(6, (uintptr_t)do_deed, 0);
    while (deed == DEED_HANG)
        hw_pause();
}

static void work(void *context, const struct smp_self *who)
{
    struct actor *actor = &run.actors[who->slot];

    CHECK(context >= (void *)told && who->cpu == who->slot && &cores[who->slot] == self, who->slot,
          "work came to another processor");
    do_deed(who->slot, actor->deed);
    actor->worked = *(const uint32_t *)context;
    actor->runs++;
}

// Those who are late come back to a loop that is over; then another is under way.
static void let_late_go(void)
{
    lets_late_go = false;
    for (uint32_t slot = 1; slot < run.count; slot++) {
        if (run.actors[slot].state == SMP_CALL_RUNS)
            atomic_store_explicit(&may_go[slot], true, memory_order_relaxed);
    }
    threads_let_pass(2 * STEP_US); // in which they look
}

static void body(void *context, uint64_t first, uint64_t end, const struct smp_self *who)
{
    const struct actor *actor = &run.actors[who->slot];
    uint8_t *const mine = context;

    CHECK(first < end && end <= ITEMS_MOST, who->slot, "a chunk from %u to %u", (unsigned)first,
          (unsigned)end);
    if (who->slot == 0) {
        struct smp_calls calls;
        CHECK(smp_wait(smp, 1, &calls) == STATUS_BUSY &&
                  smp_call(smp, 0, work, told) == STATUS_BUSY,
              0, "a call in the midst of a loop");
    }
    if (who->slot == 0 && lets_late_go)
        let_late_go();
    atomic_store(&stuck_from[who->slot], first);
    atomic_store(&stuck_to[who->slot], end);
    if (who->slot != 0)
        do_deed(who->slot, actor->deed);
    for (uint64_t i = first; i < end; i++)
        mine[i]++;
    atomic_store(&stuck_to[who->slot], first);
}

static void meet(uint32_t slot)
{
    for (uint32_t phase = 0; phase < PHASES; phase++) {
        if (writers[phase] == slot)
            phases[phase] = phase + 1;
        passed[slot] = smp_barrier_wait(&barrier, 2 * PATIENCE_US);
        if (passed[slot] != STATUS_OK) { // and so it stays
            CHECK(smp_barrier_wait(&barrier, PATIENCE_US) == STATUS_TIMEOUT, slot,
                  "a broken barrier let it pass");
            return;
        }
        CHECK(phases[phase] == phase + 1, slot, "it left the barrier before all had come");
    }
}

static void meet_there(void *context, const struct smp_self *who)
{
    (void)context;
    if (run.actors[who->slot].deed == DEED_HANG)
        do_deed(who->slot, DEED_HANG);
    meet(who->slot);
}

static void live_on(uint64_t argument)
{
    atomic_store(&handed[argument], argument);
    for (;;)
        hw_pause();
}

// ---- what has to become of them ----

static bool is_missed(const struct actor *actor)
{
    return actor->is_called && actor->deed >= DEED_LATE;
}

// Chooses what those who will be called do, and says who they are.
static uint32_t choose_deeds(uint32_t first, uint32_t last, uint32_t odds)
{
    uint32_t count = 0;

    for (uint32_t slot = 1; slot < run.count; slot++) {
        struct actor *actor = &run.actors[slot];
        actor->is_called = slot >= first && slot <= last && actor->state == SMP_CALL_WAITS;
        if (actor->is_called) { // else it may read it yet
            actor->deed = one_in(odds) ? below(DEEDS) : DEED_RETURN;
            atomic_store_explicit(&may_go[slot], false, memory_order_relaxed);
        }
        atomic_store_explicit(&cores[slot].fate.misses_stores, one_in(4), memory_order_relaxed);
        atomic_store_explicit(&cores[slot].fate.lingers, one_in(4), memory_order_relaxed);
        count += actor->is_called;
    }
    return count;
}

// A processor that takes no chunk does not come to its deed.
static void judge(enum status status, const struct smp_calls *calls, bool is_loop)
{
    uint32_t called = 0, missing = 0, first = 0;

    for (uint32_t slot = 1; slot < run.count; slot++) {
        struct actor *actor = &run.actors[slot];
        called += actor->is_called;
        if (is_loop && is_missed(actor) && smp_call_of(smp, slot).state == SMP_CALL_WAITS)
            actor->is_called = false; // the others were faster
        if (!is_missed(actor))
            continue;
        first = missing++ == 0 ? slot : first;
        actor->state = actor->deed == DEED_FAULT ? SMP_CALL_FAULTED : SMP_CALL_RUNS;
    }
    CHECK(calls->called == called && calls->missing == missing &&
              calls->returned == called - missing && calls->first_missing == first,
          first, "%u called, %u returned, %u missing from %u on; wanted %u, %u, %u from %u",
          calls->called, calls->returned, calls->missing, calls->first_missing, called,
          called - missing, missing, first);
    CHECK(status == (missing ? STATUS_TIMEOUT : STATUS_OK), 0, "status %d", (int)status);
}

static enum smp_parking parking_of(uint32_t slot)
{
    return run.parking == SMP_PARK_MWAIT && slot == CORE_WITHOUT_MONITOR ? SMP_PARK_NMI
                                                                         : run.parking;
}

static void check_states(void)
{
    for (uint32_t slot = 1; slot < run.count; slot++) {
        const struct actor *actor = &run.actors[slot];
        const struct smp_call_account account = smp_call_of(smp, slot);
        const struct smp_account all = smp_examine(smp, slot);
        const enum smp_cause cause = actor->state == SMP_CALL_FAULTED ? SMP_CAUSE_FAULT
                                     : actor->state == SMP_CALL_RUNS  ? SMP_CAUSE_NO_RETURN
                                                                      : SMP_CAUSE_NONE;
        CHECK(account.state == actor->state, slot, "is in state %d, and has to be in %d",
              (int)account.state, (int)actor->state);
        CHECK(account.state != SMP_CALL_WAITS || account.parking == parking_of(slot), slot,
              "is parked by %s", smp_parking_word(account.parking));
        CHECK(smp_verdict(&all) == cause, slot, "the cause is %s",
              smp_cause_word(smp_verdict(&all)));
    }
}

// Who is late, and may go on, is back once everybody has done what there is to do.
static void find_the_late(void)
{
    for (uint32_t slot = 1; slot < run.count; slot++) {
        struct actor *actor = &run.actors[slot];
        if (actor->state == SMP_CALL_RUNS && actor->deed == DEED_LATE &&
            atomic_load_explicit(&may_go[slot], memory_order_relaxed))
            actor->state = SMP_CALL_WAITS;
        actor->is_called = false;
    }
}

// ---- acts ----

static void act_call(void)
{
    const uint32_t one = one_in(2) ? 1 + below(run.count - 1) : 0;
    const uint32_t called = choose_deeds(one ? one : 1, one ? one : run.count - 1, 3);
    uint32_t before[CORES_MAX];
    struct smp_calls calls;

    for (uint32_t slot = 1; slot < run.count; slot++)
        before[slot] = run.actors[slot].is_called ? run.actors[slot].runs : 0;
    const enum status status = smp_call(smp, one, work, told_now);
    CHECK(status == (called ? STATUS_OK : STATUS_BUSY), one, "a call: status %d", (int)status);
    judge(smp_wait(smp, PATIENCE_US, &calls), &calls, false);
    for (uint32_t slot = 1; slot < run.count; slot++) {
        const struct actor *actor = &run.actors[slot];
        if (!actor->is_called || is_missed(actor))
            continue;
        CHECK(actor->worked == *told_now, slot, "did not work");
        CHECK(actor->runs == before[slot] + 1, slot, "worked %u times", actor->runs - before[slot]);
    }
}

static void act_loop(void)
{
    const struct smp_loop loop = {
        .count = below(ITEMS_MOST + 1), .grain = below(9), .body = body, .context = items_now};
    struct smp_loop_result result;
    uint64_t done = 0;

    lets_late_go = one_in(2);
    for (uint32_t slot = 0; slot < CORES_MAX; slot++) {
        atomic_store(&stuck_from[slot], 0);
        atomic_store(&stuck_to[slot], 0);
    }
    (void)choose_deeds(1, run.count - 1, 6);
    const enum status status = smp_for(smp, &loop, PATIENCE_US, &result);
    judge(status, &result.calls, true);
    // Those in the hands of who is missing are told, and nobody reads what it may still write.
    bool lost[ITEMS_MOST] = {false};
    for (uint32_t slot = 1; slot < run.count; slot++) {
        const struct smp_call_account account = smp_call_of(smp, slot);
        if (!is_missed(&run.actors[slot]))
            continue;
        CHECK(account.first == atomic_load(&stuck_from[slot]) &&
                  account.end == atomic_load(&stuck_to[slot]),
              slot, "it has not the items that are told of it");
        for (uint64_t i = account.first; i < account.end; i++)
            lost[i] = true;
    }
    for (uint32_t i = 0; i < ITEMS_MOST; i++) {
        if (!lost[i])
            CHECK(items_now[i] == (i < loop.count), 0, "item %u was done %u times", i,
                  items_now[i]);
        done += !lost[i] && i < loop.count;
    }
    CHECK(result.done == done, 0, "%llu items are told", (unsigned long long)result.done);
}

static void act_barrier(void)
{
    uint32_t called = choose_deeds(1, run.count - 1, 1000), hang = 0;
    struct smp_calls calls;

    for (uint32_t slot = 1; slot < run.count; slot++) {
        struct actor *actor = &run.actors[slot];
        if (!actor->is_called)
            continue;
        actor->deed = one_in(8) ? DEED_HANG : DEED_RETURN;
        // Here the caller meets them before it waits, and only who waits nudges.
        atomic_store_explicit(&cores[slot].fate.misses_stores, false, memory_order_relaxed);
        hang += actor->deed == DEED_HANG;
    }
    for (uint32_t phase = 0; phase < PHASES; phase++) {
        const uint32_t slot = phase % run.count;
        phases[phase] = 0;
        writers[phase] = run.actors[slot].is_called ? slot : 0;
    }
    smp_barrier_open(smp, called + 1, &barrier);
    if (called > 0)
        CHECK(smp_call(smp, 0, meet_there, NULL) == STATUS_OK, 0, "no call to the barrier");
    meet(0);
    judge(smp_wait(smp, 4 * PATIENCE_US, &calls), &calls, false);
    for (uint32_t slot = 0; slot < run.count; slot++) {
        if (slot == 0 || (run.actors[slot].is_called && !is_missed(&run.actors[slot])))
            CHECK(passed[slot] == (hang ? STATUS_TIMEOUT : STATUS_OK), slot, "status %d at it",
                  (int)passed[slot]);
    }
}

static void act_park(void)
{
    struct smp_calls calls;

    run.parking = below(SMP_PARKINGS);
    (void)choose_deeds(1, 0, 1);
    CHECK(smp_park(smp, run.parking, PATIENCE_US, &calls) == STATUS_OK && calls.missing == 0, 0,
          "%u cannot be parked", calls.missing);
}

static void act_hand_over(void)
{
    static _Alignas(16) uint8_t stack[64];
    const uint32_t slot = 1 + below(run.count - 1);
    struct actor *actor = &run.actors[slot];
    const struct smp_handover to = {
        .entry = (uintptr_t)live_on, .stack = (uintptr_t)(stack + 64), .argument = slot};

    (void)choose_deeds(1, 0, 1);
    const enum status status = smp_hand_over(smp, slot, &to, PATIENCE_US);
    CHECK(status == (actor->state == SMP_CALL_WAITS ? STATUS_OK : STATUS_BUSY), slot,
          "handed over: status %d", (int)status);
    if (actor->state != SMP_CALL_WAITS)
        return;
    actor->state = SMP_CALL_GONE;
    threads_let_pass(2 * STEP_US); // it is told to go only now
    CHECK(atomic_exchange(&handed[slot], 0) == slot, slot, "did not go on where it was sent");
}

// Some, or whoever is lost, by INIT; the others go on.
static void act_rescue(void)
{
    const bool all_lost = one_in(2);
    uint32_t slots[CORES_MAX];
    struct smp_round round;
    size_t count = 0;

    for (uint32_t slot = 1; slot < run.count; slot++) {
        if (all_lost ? run.actors[slot].state != SMP_CALL_WAITS : one_in(2))
            slots[count++] = slot;
    }
    CHECK(smp_wake_slots(smp, slots, count, &round) == STATUS_OK && round.arrived == count, 0,
          "%u of %u arrived", round.arrived, (unsigned)count);
    for (size_t i = 0; i < count; i++)
        run.actors[slots[i]].state = SMP_CALL_WAITS;
}

// Each call that is the caller's own processor's, from another one.
static void trespass(void *context, const struct smp_self *who)
{
    const struct smp_loop loop = {.count = 1, .body = body, .context = items[ACTS_OF_RUN]};
    const struct smp_handover to = {.entry = 1, .stack = 16};
    const uint32_t slot = who->slot;
    struct smp_round round;
    struct smp_calls calls;
    struct smp_loop_result result;

    const enum status answers[] = {
        smp_call(smp, 0, trespass, NULL),       smp_wait(smp, 1, &calls),
        smp_park(smp, SMP_PARK_NMI, 1, &calls), smp_for(smp, &loop, 1, &result),
        smp_hand_over(smp, slot, &to, 1),       smp_wake_slots(smp, &slot, 1, &round),
    };
    for (uint32_t i = 0; i < sizeof answers / sizeof answers[0]; i++)
        CHECK(answers[i] == STATUS_WRONG_CPU, slot, "answer %u is %d", i, (int)answers[i]);
    run.actors[slot].worked = *(const uint32_t *)context;
}

static void act_trespass(void)
{
    const uint32_t called = choose_deeds(1, run.count - 1, 1000);
    struct smp_calls calls;

    for (uint32_t slot = 1; slot < run.count; slot++) {
        if (run.actors[slot].is_called)
            run.actors[slot].deed = DEED_RETURN;
    }
    (void)smp_call(smp, 0, trespass, told_now);
    judge(smp_wait(smp, PATIENCE_US, &calls), &calls, false);
    for (uint32_t slot = 1; slot < run.count && called > 0; slot++) {
        if (run.actors[slot].is_called)
            CHECK(run.actors[slot].worked == *told_now, slot, "did not try");
    }
}

static void act_mistake(void)
{
    const uint32_t twice[] = {1, 1}, none = run.count;
    struct smp_round round;
    struct smp_calls calls;
    struct smp_loop_result result;
    const struct smp_loop endless = {.count = UINT64_MAX, .body = body};

    CHECK(smp_call(smp, run.count, work, NULL) == STATUS_INVALID, 0, "a slot too many");
    CHECK(smp_call(smp, 1, NULL, NULL) == STATUS_INVALID, 0, "nothing to call");
    CHECK(smp_wake_slots(smp, twice, 2, &round) == STATUS_INVALID, 0, "twice");
    CHECK(smp_wake_slots(smp, &none, 1, &round) == STATUS_INVALID, 0, "nobody's slot");
    CHECK(smp_park(smp, SMP_PARKINGS, 1, &calls) == STATUS_INVALID, 0, "no such parking");
    CHECK(smp_for(smp, &endless, 1, &result) == STATUS_INVALID, 0, "too many items");
    CHECK(smp_wait(smp, 1, &calls) == STATUS_OK && calls.called == 0, 0, "nobody is called");
}

// ---- a run ----

static void open_engine(void)
{
    static struct smp_cpu cpus[CORES_MAX];
    static struct smp_region code;
    const uint64_t entry = (uintptr_t)ap_main / PAGE_BYTES * PAGE_BYTES;
    const enum smp_apic_mode mode = below(2) ? SMP_X2APIC : SMP_XAPIC;
    const struct smp_plan plan = {
        .strategy = below(SMP_FIRMWARE),
        .init_us = 25,
        .init_retry_us = 25,
        .sipi_us = 25,
        .sipis = below(3),
        .timeout_us = 1000,
        .parking = run.parking,
    };
    uint32_t ids[CORES_MAX];

    for (uint32_t slot = 0; slot < run.count; slot++)
        cpus[slot] = (struct smp_cpu){slot, ids[slot] = 2 * slot + 1};
    threads_power_on(ids, run.count, run.seed, mode);
    code = (struct smp_region){"code", entry, entry, 2 * PAGE_BYTES, SMP_EXECUTE | SMP_NEEDED};
    setup.cpus = cpus;
    setup.count = run.count;
    setup.features = (struct smp_features){
        .phys_bits = 46, .id_leaf = 0xb, .gib_pages = true, .no_execute = true};
    setup.apic_mode = mode;
    setup.apic_phys = setup.apic_view = APIC_VIEW;
    setup.tsc_hz = TSC_HZ;
    setup.regions = &code;
    setup.region_count = 1;
    setup.host = (struct smp_host){.problems = {on_problem, NULL}};
    if (smp_open(&setup, &smp) != STATUS_OK || smp_map_page(smp, PAGE_PHYS) != STATUS_OK ||
        smp_fill_page(smp, page) != STATUS_OK)
        fail_msg("the engine was not opened");
    assert_int_equal(smp_start(smp, &plan), STATUS_OK);
}

static void play(uint64_t seed)
{
    static void (*const acts[])(void) = {act_call,      act_call,    act_loop,    act_loop,
                                         act_barrier,   act_park,    act_rescue,  act_rescue,
                                         act_hand_over, act_mistake, act_trespass};
    struct smp_round round;

    memset(&run, 0, sizeof run);
    run.seed = seed;
    run.random = seed * 0x9e3779b97f4a7c15ull + 1;
    run.count = 2 + below(one_in(8) ? CORES_MAX - 1 : 6);
    run.parking = below(SMP_PARKINGS);
    open_engine();
    smp_wake(smp, &round);
    CHECK(round.arrived == run.count - 1, 0, "%u arrived", round.arrived);
    for (uint32_t slot = 1; slot < run.count; slot++)
        run.actors[slot].state = SMP_CALL_WAITS;
    memset(items, 0, sizeof items);
    for (uint32_t act = 0; act < ACTS_OF_RUN; act++) {
        items_now = items[act];
        told_now = &told[act];
        *told_now = below(UINT32_MAX);
        acts[below(sizeof acts / sizeof acts[0])]();
        if (one_in(4)) {
            let_late_go();
        } else if (act % 2 == 1) {
            find_the_late(); // the next act finds the others on their way
            continue;
        }
        threads_settle();
        find_the_late();
        check_states();
    }
    CHECK(smp_hold(smp) == STATUS_OK, 0, "nobody is held");
    CHECK(smp_call(smp, 0, work, told) == STATUS_BUSY, 0, "who is held was called");
    threads_power_off();
}

static int strike(void **state)
{
    (void)state;
    threads_power_off();
    return 0;
}

static uint32_t acts_wanted = ACTS_DEFAULT;
static uint64_t first_seed = 1;

static void test_acts(void **state)
{
    uint32_t acts = 0;

    (void)state;
    for (uint64_t seed = first_seed; acts < acts_wanted; seed++, acts += ACTS_OF_RUN)
        play(seed);
    print_message("%u acts\n", acts);
}

int main(int count, char **words)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(test_acts, strike)};

    if (count > 1)
        acts_wanted = (uint32_t)strtoul(words[1], NULL, 0);
    if (count > 2)
        first_seed = strtoull(words[2], NULL, 0);
    // One address for everybody, or ThreadSanitizer would not know that the bytes are the same.
    void *memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    if (memory == MAP_FAILED)
        return 1;
    setup.memory = (struct smp_memory){(uintptr_t)memory, memory, MEMORY_BYTES};
    threads_start();
    return cmocka_run_group_tests_name("calls", tests, NULL, NULL);
}
