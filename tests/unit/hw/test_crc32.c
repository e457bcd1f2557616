// The CRC (hw/lib/crc32.h) is the one that every other program computes: a rig may check the
// image's by its own. By the check value of the catalogues, and by what is known of any CRC.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "crc32.h"

static void test_known_values(void **state)
{
    const uint8_t zeros[4] = {0}, ones[4] = {0xff, 0xff, 0xff, 0xff};

    (void)state;
    assert_int_equal(crc32_add(0, "", 0), 0);
    assert_int_equal(crc32_add(0, "123456789", 9), 0xcbf43926); // CRC-32/ISO-HDLC's check value
    assert_int_equal(crc32_add(0, zeros, sizeof zeros), 0x2144df1c);
    assert_int_equal(crc32_add(0, ones, sizeof ones), 0xffffffff);
}

static void test_in_pieces(void **state)
{
    static const char text[] = "REVEILLE ev=end ok=1 want=3 up=3 failed=0";
    const uint32_t whole = crc32_add(0, text, sizeof text);

    (void)state;
    for (size_t cut = 0; cut <= sizeof text; cut++)
        assert_int_equal(crc32_add(crc32_add(0, text, cut), text + cut, sizeof text - cut), whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_values),
        cmocka_unit_test(test_in_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
