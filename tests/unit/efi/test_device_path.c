// Device paths as firmware has them, and as it should not: nothing is read behind what a length or
// the number of nodes allows. Each path is malloc'ed to its size, so that ASan sees one byte more.

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "device_path.h"

#define ACPI  2
#define MEDIA 4
#define END   0x7f

static size_t asked;

static bool is_third_of_acpi(const uint8_t *node, size_t bytes)
{
    asked++;
    return node[0] == ACPI && bytes >= 5 && node[4] == 3;
}

// The offset of the node that is found; -1: none.
static long find(const uint8_t *bytes, size_t count)
{
    uint8_t *path = malloc(count);

    assert_non_null(path);
    memcpy(path, bytes, count);
    asked = 0;
    const uint8_t *node =
        device_path_find((const EFI_DEVICE_PATH_PROTOCOL *)path, is_third_of_acpi);
    const long offset = node ? node - path : -1;
    free(path);
    return offset;
}

#define FIND(...) find((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static void test_found(void **state)
{
    (void)state;
    assert_int_equal(FIND(ACPI, 1, 5, 0, 3, END, 0xff, 4, 0), 0);
    // Another of its type stands before it, as a root bridge does before a port.
    assert_int_equal(FIND(ACPI, 1, 5, 0, 9, MEDIA, 2, 4, 0, ACPI, 1, 5, 0, 3, END, 0xff, 4, 0), 9);
}

static void test_not_there(void **state)
{
    (void)state;
    assert_int_equal(FIND(END, 0xff, 4, 0), -1);
    assert_int_equal(asked, 0);
    assert_int_equal(FIND(MEDIA, 1, 5, 0, 3, END, 0xff, 4, 0), -1);
    assert_int_equal(FIND(ACPI, 1, 4, 0, END, 0xff, 4, 0), -1); // shorter than what is looked at
}

static void test_lengths_that_cannot_be(void **state)
{
    (void)state;
    for (uint8_t length = 0; length < 4; length++) {
        assert_int_equal(FIND(ACPI, 1, length, 0), -1);
        assert_int_equal(asked, 0);
    }
}

static void test_no_end(void **state)
{
    uint8_t path[33 * 4];

    (void)state;
    for (size_t at = 0; at < sizeof path; at += 4)
        memcpy(path + at, (const uint8_t[]){MEDIA, 1, 4, 0}, 4);
    assert_int_equal(find(path, sizeof path), -1);
    assert_int_equal(asked, 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_found),
        cmocka_unit_test(test_not_there),
        cmocka_unit_test(test_lengths_that_cannot_be),
        cmocka_unit_test(test_no_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
