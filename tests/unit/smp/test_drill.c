// What run= has APs do (trial/drill.c), with threads of the host as processors (threads.h), under
// ThreadSanitizer: who hangs, who has taken a fault, who sleeps through a store, and what is left
// to be measured with.
#define _GNU_SOURCE // MAP_32BIT

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "drill.h"
#include "engine.h"
#include "threads.h"

#define CPUS         6u
#define TIMEOUT_US   2000u
#define MEMORY_BYTES (4u << 20)

static struct smp *smp;
static struct smp_setup setup;
static struct smp_cpu cpus[CPUS];
static struct options options;
static struct plan plan;
static struct injection faults[CPUS];
static struct injector injector;
static struct drill_ground *ground;
static const struct clock tsc = {TSC_HZ};

static void on_problem(void *context, enum severity severity, const char *what, const char *detail)
{
    (void)context, (void)severity;
    fail_msg("%s: %s", what, detail);
}

static void hang(uint32_t cpu)
{
    faults[injector.count++] = (struct injection){FAULT_HANG_CALL, cpu};
}

static void wake(size_t count, enum smp_parking parking)
{
    struct smp_round round;

    plan.messages.parking = parking;
    assert_int_equal(smp_start(smp, &plan.messages), STATUS_OK);
    smp_wake(smp, &round);
    assert_int_equal(round.arrived, count - 1);
    threads_settle();
    drill_open(&injector, ground);
}

// An engine for so many processors. What APs were called with before is still theirs.
static void open_engine(size_t count)
{
    static struct smp_region code;
    static uint8_t grounds[16][sizeof(struct drill_ground) + 64];
    static size_t used;
    const uint64_t entry = (uintptr_t)ap_main / PAGE_BYTES * PAGE_BYTES;
    uint32_t ids[CPUS];

    ground = (void *)(((uintptr_t)grounds[used++] + 63) / 64 * 64);
    for (uint32_t slot = 0; slot < count; slot++)
        cpus[slot] = (struct smp_cpu){slot, ids[slot] = 2 * slot + 1};
    threads_power_on(ids, count, used, SMP_X2APIC);
    code = (struct smp_region){"code", entry, entry, 2 * PAGE_BYTES, SMP_EXECUTE | SMP_NEEDED};
    setup.cpus = cpus;
    setup.count = count;
    setup.features = (struct smp_features){
        .phys_bits = 46, .id_leaf = 0xb, .gib_pages = true, .no_execute = true};
    setup.apic_mode = SMP_X2APIC;
    setup.apic_phys = setup.apic_view = APIC_VIEW;
    setup.tsc_hz = TSC_HZ;
    setup.regions = &code;
    setup.region_count = 1;
    setup.host = (struct smp_host){.problems = {on_problem, NULL}};
    assert_int_equal(smp_open(&setup, &smp), STATUS_OK);
    assert_int_equal(smp_map_page(smp, PAGE_PHYS), STATUS_OK);
    assert_int_equal(smp_fill_page(smp, page), STATUS_OK);
    plan = (struct plan){
        .messages = {.strategy = SMP_PARALLEL,
                     .init_us = 25,
                     .init_retry_us = 25,
                     .sipi_us = 25,
                     .sipis = 1,
                     .timeout_us = TIMEOUT_US},
        .apic_mode = SMP_X2APIC,
        .rounds = 1,
        .want = count - 1,
        .cpus = cpus,
    };
    injector = (struct injector){.faults = faults, .plan = &plan};
    options = (struct options){.run = RUN_ALL, .park = SMP_PARK_PAUSE};
}

static int strike(void **state)
{
    (void)state;
    threads_power_off();
    return 0;
}

static struct drill_result drill(enum drill what, enum smp_parking park)
{
    const struct drill_setup with = {smp, &plan, &tsc, ground};
    const struct drill_step step = {what, park};
    return drill_run(&with, &step);
}

static void leave(void)
{
    const struct drill_setup with = {smp, &plan, &tsc, ground};
    drill_close(&with);
    threads_settle();
}

static enum smp_cause cause_of(uint32_t slot)
{
    const struct smp_account account = smp_examine(smp, slot);
    return smp_verdict(&account);
}

static void assert_whole(const struct drill_result *result, uint32_t aps)
{
    assert_int_equal(result->aps, aps);
    assert_int_equal(result->lost, 0);
    assert_int_equal(result->missing, 0);
    assert_true(result->rounds > 0);
    assert_true(result->right);
    assert_true(result->all_ns.min <= result->all_ns.median);
    assert_true(result->all_ns.median <= result->all_ns.max);
}

// Measured with the rest, who are all well.
static void assert_without(const struct drill_result *result, uint32_t aps, uint32_t slot)
{
    assert_int_equal(result->aps, aps);
    assert_int_equal(result->lost, 1);
    assert_int_equal(result->missing, 1);
    assert_int_equal(result->first_missing, slot);
    assert_true(result->rounds > 0);
    assert_true(result->right);
    assert_int_equal(cause_of(slot), SMP_CAUSE_NO_RETURN);
}

// ---- what is asked ----

static void test_steps(void **state)
{
    struct drill_step steps[DRILL_STEPS];

    (void)state;
    options.park = SMP_PARK_NMI;
    options.run = RUN_NONE;
    assert_int_equal(drill_steps(&options, steps), 0);
    options.run = RUN_CALL;
    assert_int_equal(drill_steps(&options, steps), 1);
    assert_int_equal(steps[0].drill, DRILL_CALL);
    assert_int_equal(steps[0].park, SMP_PARK_NMI);
    options.run = RUN_BARRIER;
    assert_int_equal(drill_steps(&options, steps), 1);
    assert_int_equal(steps[0].drill, DRILL_BARRIER);
    assert_int_equal(steps[0].park, SMP_PARK_PAUSE); // whatever is asked
    options.run = RUN_SUM;
    assert_int_equal(drill_steps(&options, steps), 1);
    assert_int_equal(steps[0].drill, DRILL_SUM);
    options.run = RUN_PARK;
    assert_int_equal(drill_steps(&options, steps), SMP_PARKINGS);
    options.run = RUN_ALL;
    assert_int_equal(drill_steps(&options, steps), DRILL_STEPS);
    for (uint32_t park = 0; park < SMP_PARKINGS; park++) {
        assert_int_equal(steps[park].drill, DRILL_CALL);
        assert_int_equal(steps[park].park, park);
    }
    assert_int_equal(steps[SMP_PARKINGS].drill, DRILL_BARRIER);
    assert_int_equal(steps[SMP_PARKINGS].park, SMP_PARK_PAUSE);
    assert_int_equal(steps[SMP_PARKINGS + 1].park, SMP_PARK_NMI);
    assert_int_equal(steps[SMP_PARKINGS + 1].drill, DRILL_SUM);
    assert_string_equal(drill_word(DRILL_BARRIER), "barrier");
}

// ---- all are well ----

static void test_every_exercise(void **state)
{
    (void)state;
    open_engine(CPUS);
    wake(CPUS, SMP_PARK_PAUSE);
    for (enum smp_parking park = SMP_PARK_INIT; park < SMP_PARKINGS; park++) {
        for (enum drill what = DRILL_CALL; what <= DRILL_SUM; what++) {
            const struct drill_result result = drill(what, park);
            assert_whole(&result, CPUS - 1);
            // One has no MONITOR.
            assert_int_equal(result.parking, park == SMP_PARK_MWAIT ? SMP_PARKINGS : park);
            if (park != SMP_PARK_INIT)
                assert_int_equal(result.rounds, what == DRILL_SUM ? DRILL_SUMS : DRILL_ROUNDS);
        }
    }
    leave();
    for (uint32_t slot = 1; slot < CPUS; slot++) {
        assert_int_equal(smp_call_of(smp, slot).parking, SMP_PARK_INIT);
        assert_true(threads_is_asleep(&cores[slot])); // in the page
        assert_int_equal(cause_of(slot), SMP_CAUSE_NONE);
    }
    threads_power_off();
}

static void test_one_ap(void **state)
{
    (void)state;
    open_engine(2);
    wake(2, SMP_PARK_MWAIT);
    for (enum drill what = DRILL_CALL; what <= DRILL_SUM; what++) {
        const struct drill_result result = drill(what, SMP_PARK_MWAIT);
        assert_whole(&result, 1);
        assert_int_equal(result.parking, SMP_PARK_MWAIT);
    }
    leave();
    threads_power_off();
}

// Who sleeps through a store is late by the nudge, and not lost. It sleeps as a rule: it may also
// see the call before it has gone to sleep.
static void test_a_store_that_is_not_seen(void **state)
{
    (void)state;
    open_engine(3);
    wake(3, SMP_PARK_MWAIT);
    cores[2].fate.misses_stores = true;
    for (enum drill what = DRILL_CALL; what <= DRILL_SUM; what += DRILL_SUM) {
        const struct drill_result result = drill(what, SMP_PARK_MWAIT);
        assert_whole(&result, 2);
        if (what == DRILL_CALL)
            assert_true(result.all_ns.max >= SMP_NUDGE_US * 1000u);
    }
    cores[2].fate.misses_stores = false;
    leave();
    threads_power_off();
}

// ---- and when some are not ----

static void test_one_that_hangs(void **state)
{
    (void)state;
    for (enum drill what = DRILL_CALL; what <= DRILL_SUM; what++) {
        for (enum smp_parking park = SMP_PARK_INIT; park < SMP_PARKINGS; park += SMP_PARK_PAUSE) {
            open_engine(4);
            hang(2);
            wake(4, park);
            const struct drill_result result = drill(what, park);
            assert_without(&result, 2, 2);
            for (enum drill next = DRILL_CALL; next <= DRILL_SUM; next++) {
                const struct drill_result after = drill(next, SMP_PARK_MWAIT);
                assert_whole(&after, 2);
            }
            leave();
            assert_int_equal(cause_of(2), SMP_CAUSE_NO_RETURN);
            threads_power_off();
        }
    }
}

// Without a CPU it is the last; and nobody is left.
static void test_all_hang(void **state)
{
    (void)state;
    open_engine(3);
    hang(1);
    hang(FAULT_ANY_CPU);
    wake(3, SMP_PARK_MWAIT);
    struct drill_result result = drill(DRILL_BARRIER, SMP_PARK_MWAIT);
    assert_int_equal(result.aps, 0);
    assert_int_equal(result.missing, 2);
    assert_int_equal(result.first_missing, 1);
    assert_int_equal(result.rounds, 0);
    result = drill(DRILL_CALL, SMP_PARK_PAUSE);
    assert_int_equal(result.aps, 0);
    assert_int_equal(result.missing, 0);
    leave();
    threads_power_off();
}

static void test_one_that_took_a_fault(void **state)
{
    (void)state;
    open_engine(4);
    wake(4, SMP_PARK_PAUSE);
    threads_send_nmi(&cores[1]);
    threads_settle();
    for (enum drill what = DRILL_CALL; what <= DRILL_SUM; what++) {
        const struct drill_result result = drill(what, SMP_PARK_NMI);
        assert_whole(&result, 2);
    }
    leave();
    assert_int_equal(cause_of(1), SMP_CAUSE_FAULT);
    threads_power_off();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps),
        cmocka_unit_test_teardown(test_every_exercise, strike),
        cmocka_unit_test_teardown(test_one_ap, strike),
        cmocka_unit_test_teardown(test_a_store_that_is_not_seen, strike),
        cmocka_unit_test_teardown(test_one_that_hangs, strike),
        cmocka_unit_test_teardown(test_all_hang, strike),
        cmocka_unit_test_teardown(test_one_that_took_a_fault, strike),
    };

    // One address for everybody, or ThreadSanitizer would not know that the bytes are the same.
    void *memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    if (memory == MAP_FAILED)
        return 1;
    setup.memory = (struct smp_memory){(uintptr_t)memory, memory, MEMORY_BYTES};
    threads_start();
    return cmocka_run_group_tests_name("drill", tests, NULL, NULL);
}
