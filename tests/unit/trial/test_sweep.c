// A sweep: what a setting's rounds add up to, and which setting is best. Surprise: the best number
// is the smallest at which nobody was ever lost, however slow; the best strategy is the fastest.
#include "sweep.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_nothing_was_run(void **state)
{
    const struct sweep_result result = sweep_start(3);

    (void)state;
    assert_int_equal(result.first_try, 3);
    assert_int_equal(result.arrived, 3);
    assert_int_equal(result.lost, 0);
    assert_int_equal(result.first_us, UINT32_MAX);
    assert_int_equal(result.icr_writes, 0);
}

// Whoever needed a further sequence or a second STARTUP is lost at the first try.
static void test_rounds_add_up(void **state)
{
    struct sweep_result result = sweep_start(5);

    (void)state;
    sweep_add(&(struct smp_round){.arrived = 5, .first_us = 30, .icr_writes = 10}, 5, &result);
    assert_int_equal(result.lost, 0);
    assert_int_equal(result.first_us, 30);
    sweep_add(
        &(struct smp_round){
            .arrived = 5, .retried = 1, .helped = 1, .first_us = 20, .icr_writes = 14},
        5, &result);
    assert_int_equal(result.first_try, 3);
    assert_int_equal(result.arrived, 5);
    assert_int_equal(result.lost, 2);
    sweep_add(&(struct smp_round){.arrived = 4, .first_us = 25, .icr_writes = 12}, 5, &result);
    assert_int_equal(result.first_try, 3);
    assert_int_equal(result.arrived, 4);
    assert_int_equal(result.lost, 3);
    assert_int_equal(result.first_us, 20);
    assert_int_equal(result.icr_writes, 14);
    sweep_add(&(struct smp_round){.arrived = 5, .first_us = 40}, 5, &result); // a better one
    assert_int_equal(result.first_try, 3);
    assert_int_equal(result.arrived, 4);
    assert_int_equal(result.lost, 3);
}

// A round in which nobody arrived says nothing about the earliest arrival.
static void test_nobody_arrived(void **state)
{
    struct sweep_result result = sweep_start(5);

    (void)state;
    sweep_add(&(struct smp_round){.icr_writes = 5}, 5, &result);
    assert_int_equal(result.first_us, UINT32_MAX);
    assert_int_equal(result.lost, 5);
    assert_int_equal(result.first_try, 0);
    assert_int_equal(result.arrived, 0);
    sweep_add(&(struct smp_round){.arrived = 5, .first_us = 70}, 5, &result);
    assert_int_equal(result.first_us, 70);
}

static void test_spreads(void **state)
{
    uint32_t medians_us[] = {30, 10, 20}, lasts_us[] = {50, 90, 40};
    struct sweep_result result = sweep_start(5);

    (void)state;
    sweep_finish(medians_us, lasts_us, 3, &result);
    assert_int_equal(result.median_us.min, 10);
    assert_int_equal(result.median_us.median, 20);
    assert_int_equal(result.median_us.max, 30);
    assert_int_equal(result.last_us.median, 50);
    assert_int_equal(result.last_us.max, 90);
    sweep_finish(medians_us, lasts_us, 2, &result); // stopped after two rounds
    assert_int_equal(result.last_us.max, 50);
}

// ---- which is best ----

struct setting {
    uint32_t value;
    uint64_t lost;
    uint32_t us; // the last arrival
};

static size_t best_of(enum sweep_key key, const struct setting *settings, size_t count)
{
    struct sweep sweep = {.key = key, .count = count};
    struct sweep_result results[SWEEP_MAX];

    for (size_t i = 0; i < count; i++) {
        sweep.values[i] = settings[i].value;
        results[i] = (struct sweep_result){
            .lost = settings[i].lost,
            .last_us = {1, settings[i].us, 100000 - settings[i].us}, // the median decides
        };
    }
    return sweep_best(&sweep, results, count);
}

static void test_the_smallest_number(void **state)
{
    static const struct setting rising[] = {{0, 3, 5}, {10, 1, 6}, {100, 0, 900}, {1000, 0, 7}};
    static const struct setting falling[] = {{1000, 0, 7}, {100, 0, 900}, {10, 1, 6}};
    static const enum sweep_key keys[] = {SWEEP_INIT_US, SWEEP_SIPI_US, SWEEP_SIPIS};

    (void)state;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        assert_int_equal(best_of(keys[i], rising, 4), 2);
        assert_int_equal(best_of(keys[i], falling, 3), 1);
    }
}

static void test_the_fastest_strategy(void **state)
{
    static const struct setting known[] = {
        {SMP_PARALLEL, 0, 80}, {SMP_ONE_BY_ONE, 0, 900}, {SMP_BROADCAST, 0, 60}};
    static const struct setting lossy[] = {{SMP_BROADCAST, 1, 60}, {SMP_PARALLEL, 0, 80}};

    (void)state;
    assert_int_equal(best_of(SWEEP_WAKE, known, 3), 2);
    assert_int_equal(best_of(SWEEP_WAKE, known, 2), 0); // the third was not run
    assert_int_equal(best_of(SWEEP_WAKE, lossy, 2), 1);
}

// `auto` is no number, though it is kept as one.
static void test_auto_is_not_the_smallest(void **state)
{
    static const struct setting sipis[] = {{SMP_SIPIS_AUTO, 0, 5}, {2, 0, 5}, {1, 2, 5}};
    static const struct setting init[] = {{INIT_US_AUTO, 0, 5}, {5000, 0, 5}};
    static const struct setting sipi[] = {{200, 0, 5}, {0, 0, 5}}; // there 0 is a number

    (void)state;
    assert_int_equal(best_of(SWEEP_SIPIS, sipis, 3), 1);
    assert_int_equal(best_of(SWEEP_INIT_US, init, 2), 1);
    assert_int_equal(best_of(SWEEP_INIT_US, init, 1), 1); // none
    assert_int_equal(best_of(SWEEP_SIPI_US, sipi, 2), 1);
}

static void test_there_is_none(void **state)
{
    static const struct setting lossy[] = {{10, 1, 5}, {100, 1, 5}};

    (void)state;
    assert_int_equal(best_of(SWEEP_INIT_US, lossy, 2), 2);
    assert_int_equal(best_of(SWEEP_WAKE, lossy, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_was_run),
        cmocka_unit_test(test_rounds_add_up),
        cmocka_unit_test(test_nobody_arrived),
        cmocka_unit_test(test_spreads),
        cmocka_unit_test(test_the_smallest_number),
        cmocka_unit_test(test_the_fastest_strategy),
        cmocka_unit_test(test_auto_is_not_the_smallest),
        cmocka_unit_test(test_there_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
