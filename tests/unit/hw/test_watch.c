// The measure of a wait in time that somebody watched (hw/lib/watch.h): its length, its bound, and a
// counter that stands still or goes back.
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "watch.h"

static uint64_t looks_until_over(struct watch *watch, uint64_t now, uint64_t step)
{
    uint64_t looks = 1;

    while (!watch_is_over(watch, now += step))
        looks++;
    return looks;
}

// A wait without a stop takes its length, to the tick.
static void test_a_wait_takes_its_length(void **state)
{
    static const uint64_t lengths[] = {1, 2, 15, 16, 17, 1000, 1ull << 40};

    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        const uint64_t step = lengths[i] > 1000 ? lengths[i] / 1000 : 1;
        struct watch watch = watch_start(77, lengths[i]);
        assert_int_equal(looks_until_over(&watch, 77, step), (lengths[i] + step - 1) / step);
        watch = watch_delay(77, lengths[i]);
        assert_int_equal(looks_until_over(&watch, 77, lengths[i]), 1);
    }
    struct watch none = watch_start(77, 0);
    assert_true(watch_is_over(&none, 77));
}

// Four stops of any length leave three quarters of it; a fifth ends it.
static void test_stops_are_bounded(void **state)
{
    (void)state;
    struct watch watch = watch_start(0, 1600);
    uint64_t now = 0;
    for (uint32_t stops = 0; stops < 4; stops++)
        assert_false(watch_is_over(&watch, now += 1000000));
    assert_in_range(1600 - watch.watched, 1190, 1200);
    struct watch goes_on = watch;
    assert_in_range(looks_until_over(&goes_on, now, 1), 1190, 1200);
    assert_true(watch_is_over(&watch, now + 1000000));
    // A processor that is stopped at every look.
    watch = watch_start(0, 1600);
    assert_int_equal(looks_until_over(&watch, 0, 200), 4 + 6);
}

// A counter that stands still ends a wait all the same; one that is set back only delays it.
static void test_a_counter_that_is_none(void **state)
{
    (void)state;
    for (uint32_t delay = 0; delay < 2; delay++) {
        struct watch watch = delay ? watch_delay(5, 1000) : watch_start(5, 1000);
        uint64_t looks = 1;
        while (!watch_is_over(&watch, 5)) {
            assert_true(looks < 17 * 65536);
            looks++;
        }
        watch = delay ? watch_delay(5000, 1000) : watch_start(5000, 1000);
        assert_false(watch_is_over(&watch, 5001));
        assert_false(watch_is_over(&watch, 4)); // no long time, although the difference is
        assert_int_equal(looks_until_over(&watch, 4, 1), 999);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_wait_takes_its_length),
        cmocka_unit_test(test_stops_are_bounded),
        cmocka_unit_test(test_a_counter_that_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
