// The sort and the spread, held against the C library's. What is sorted lies in an allocation of
// its own size, so that AddressSanitizer sees a swap that reaches too far.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sort.h"

#define VALUES_MAX 300
#define LARGE      4096u

static int compare(const void *left, const void *right)
{
    const uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return a < b ? -1 : a > b;
}

static void fill(uint32_t *values, uint32_t *copy, size_t count, uint32_t range)
{
    for (size_t i = 0; i < count; i++)
        copy[i] = values[i] = (uint32_t)rand() % range;
}

static void test_sorted_like_the_library(void **state)
{
    static const uint32_t ranges[] = {1, 2, 10, UINT32_MAX};
    uint32_t values[VALUES_MAX], copy[VALUES_MAX];

    (void)state;
    srand(1);
    for (size_t count = 1; count < VALUES_MAX; count++) {
        fill(values, copy, count, ranges[count % 4]);
        const struct spread spread = spread_of(values, count);
        qsort(copy, count, sizeof copy[0], compare);
        assert_memory_equal(values, copy, count * sizeof copy[0]);
        assert_int_equal(spread.min, copy[0]);
        assert_int_equal(spread.median, copy[(count - 1) / 2]);
        assert_int_equal(spread.max, copy[count - 1]);
    }
}

static void test_nothing(void **state)
{
    (void)state;
    const struct spread spread = spread_of(NULL, 0);
    assert_int_equal(spread.min + spread.median + spread.max, 0);
}

static bool first_byte_before(const void *left, const void *right)
{
    return *(const uint8_t *)left < *(const uint8_t *)right;
}

// An element moves as a whole, whatever its size is: its bytes are made of its first one.
static void test_elements_of_any_size(void **state)
{
    enum { COUNT = 200 };

    (void)state;
    srand(2);
    for (size_t bytes = 1; bytes <= 40; bytes++) {
        uint8_t *elements = malloc(COUNT * bytes);
        assert_non_null(elements);
        for (size_t i = 0; i < COUNT; i++) {
            elements[i * bytes] = (uint8_t)rand();
            for (size_t k = 1; k < bytes; k++)
                elements[i * bytes + k] = (uint8_t)(elements[i * bytes] + k);
        }
        sort(elements, COUNT, bytes, first_byte_before);
        for (size_t i = 0; i < COUNT; i++) {
            assert_true(i == 0 || elements[(i - 1) * bytes] <= elements[i * bytes]);
            for (size_t k = 1; k < bytes; k++)
                assert_int_equal(elements[i * bytes + k], (uint8_t)(elements[i * bytes] + k));
        }
        free(elements);
    }
}

static size_t comparisons;

static bool value_before(const void *left, const void *right)
{
    comparisons++;
    return *(const uint32_t *)left < *(const uint32_t *)right;
}

// Two comparisons for each of the 12 levels of 4,096 elements, to build the heap and to take it
// down: no order makes it more.
static void test_no_order_is_slow(void **state)
{
    static uint32_t values[LARGE];

    (void)state;
    for (uint32_t order = 0; order < 5; order++) {
        for (uint32_t i = 0; i < LARGE; i++)
            values[i] = order == 0   ? i
                        : order == 1 ? LARGE - i
                        : order == 2 ? 7
                        : order == 3 ? i % 2 * LARGE + i // two ascending lists, shuffled
                                     : i * 2654435761u;
        comparisons = 0;
        sort(values, LARGE, sizeof values[0], value_before);
        assert_in_range(comparisons, LARGE, 2 * 12 * LARGE);
        for (uint32_t i = 1; i < LARGE; i++)
            assert_true(values[i - 1] <= values[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sorted_like_the_library),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_elements_of_any_size),
        cmocka_unit_test(test_no_order_is_slow),
    };
    return cmocka_run_group_tests_name("sort", tests, NULL, NULL);
}
