// The code's bounds under ASan: every length that fits and some that do not; what the standard
// fixes. That it can be read is tested by a reader, in test_qr.py.
#include "qr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_every_length(void **state)
{
    struct qr *qr = test_malloc(sizeof *qr);

    (void)state;
    for (size_t length = 0; length <= 300; length++) {
        char *text = test_malloc(length + 1);
        memset(text, 'x', length + 1);
        assert_int_equal(qr_make(qr, text, length), length <= QR_TEXT_MOST);
        if (length <= QR_TEXT_MOST) {
            assert_true(qr->side <= QR_SIDE_MOST);
            assert_int_equal(qr->side % 4, 1);
            for (uint32_t i = 0; i < 7; i++) { // the edges of two finders
                assert_true(qr_is_dark(qr, i, 0));
                assert_true(qr_is_dark(qr, qr->side - 1, i));
                assert_false(qr_is_dark(qr, 7, i));
            }
            assert_true(qr_is_dark(qr, 8, qr->side - 8)); // the module that is always dark
        }
        test_free(text);
    }
    test_free(qr);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_length)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
