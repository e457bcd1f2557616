// Ticks and microseconds (hw/lib/clock.h): a wait is never shorter than asked, and a number that is
// too large for 64 bits is the largest.
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "clock.h"

// `ticks` last at least `us`, and one of them less does not, by arithmetic of our own.
static void assert_just_enough(uint64_t hz, uint64_t us)
{
    const struct clock clock = {.tsc_hz = hz};
    const uint64_t ticks = clock_ticks(&clock, us);

    assert_true((unsigned __int128)ticks * 1000000 >= (unsigned __int128)us * hz);
    // Kilohertz are rounded up, too: a tick in each thousand of microseconds, and one.
    assert_true((unsigned __int128)ticks * 1000000 <= (unsigned __int128)us * (hz + 999) + 999999);
}

static void test_a_wait_is_never_shorter(void **state)
{
    static const uint64_t rates[] = {1,       999,        1000,       1001,       1500000,
                                     1999999, 1000000000, 2499999999, 3000000001, 10000000000};

    (void)state;
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        for (uint64_t us = 0; us < 2000; us++)
            assert_just_enough(rates[i], us);
        assert_just_enough(rates[i], 3600000000);
    }
    assert_int_equal(clock_ticks(&(struct clock){.tsc_hz = 1500000}, 1), 2);
}

static void test_the_largest(void **state)
{
    const struct clock fast = {.tsc_hz = 10000000000};

    (void)state;
    assert_int_equal(clock_ticks(&fast, UINT64_MAX), UINT64_MAX);
    assert_int_equal(clock_ticks(&fast, UINT64_MAX / 10000000 + 1), UINT64_MAX);
    assert_true(clock_ticks(&fast, UINT64_MAX / 10000000 - 1) < UINT64_MAX / 999);
}

static void test_back(void **state)
{
    static const struct {
        uint64_t hz, ticks, us;
    } cases[] = {
        {1000000000, 0, 0},
        {1000000000, 999, 0},
        {1000000000, 1000, 1},
        {2000000000, 3999, 1},
        {2000000000, 4000, 2},
        {2000000000, 7200000000000, 3600000000},
        {3000000000, UINT64_MAX, 6148914691236517},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct clock clock = {.tsc_hz = cases[i].hz};
        assert_int_equal(clock_us(&clock, cases[i].ticks), cases[i].us);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_wait_is_never_shorter),
        cmocka_unit_test(test_the_largest),
        cmocka_unit_test(test_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
