// The image's memory functions under other names, against the C library's: every offset and length
// of a small buffer. Surprise: includes the source, since the host has functions of the same names.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#define memcpy  image_memcpy
#define memmove image_memmove
#define memset  image_memset
#define memcmp  image_memcmp
#include "../../../hw/lib/mem.c"
#undef memcpy
#undef memmove
#undef memset
#undef memcmp

#define BYTES 24u

static void number(uint8_t *bytes)
{
    for (unsigned i = 0; i < BYTES; i++) {
        bytes[i] = (uint8_t)(i * 37 + 1);
    }
}

static void memmove_agrees_at_every_overlap(void **state)
{
    uint8_t ours[BYTES], theirs[BYTES];

    (void)state;
    for (unsigned to = 0; to < BYTES; to++) {
        for (unsigned from = 0; from < BYTES; from++) {
            for (unsigned bytes = 0; bytes <= BYTES - (to > from ? to : from); bytes++) {
                number(ours);
                number(theirs);
                assert_ptr_equal(image_memmove(ours + to, ours + from, bytes), ours + to);
                memmove(theirs + to, theirs + from, bytes);
                assert_memory_equal(ours, theirs, BYTES);
            }
        }
    }
}

static void memcpy_and_memset_write_what_they_must(void **state)
{
    uint8_t source[BYTES], ours[BYTES], theirs[BYTES];

    (void)state;
    number(source);
    for (unsigned to = 0; to < BYTES; to++) {
        for (unsigned bytes = 0; bytes <= BYTES - to; bytes++) {
            memset(theirs, 0x55, BYTES);
            assert_ptr_equal(image_memset(ours, 0x1255, BYTES), ours);
            assert_memory_equal(ours, theirs, BYTES);
            assert_ptr_equal(image_memcpy(ours + to, source, bytes), ours + to);
            memcpy(theirs + to, source, bytes);
            assert_memory_equal(ours, theirs, BYTES);
            assert_ptr_equal(image_memset(ours + to, -1, bytes), ours + to);
            memset(theirs + to, -1, bytes);
            assert_memory_equal(ours, theirs, BYTES);
        }
    }
}

static void memcmp_sees_the_first_difference_unsigned(void **state)
{
    (void)state;
    assert_true(image_memcmp("abc", "abd", 3) < 0);
    assert_true(image_memcmp("abd", "abc", 3) > 0);
    assert_true(image_memcmp("\x80", "\x7F", 1) > 0);
    assert_true(image_memcmp("ba", "ab", 2) > 0);
    assert_int_equal(image_memcmp("abc", "abd", 2), 0);
    assert_int_equal(image_memcmp("a", "b", 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memmove_agrees_at_every_overlap),
        cmocka_unit_test(memcpy_and_memset_write_what_they_must),
        cmocka_unit_test(memcmp_sees_the_first_difference_unsigned),
    };

    return cmocka_run_group_tests_name("mem", tests, NULL, NULL);
}
