// The sort and the spread, held against the C library's.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sort.h"

#define VALUES_MAX 300

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sorted_like_the_library),
        cmocka_unit_test(test_nothing),
    };
    return cmocka_run_group_tests_name("sort", tests, NULL, NULL);
}
