// The journal: whole lines in order, what finds no room is counted, and a move loses nothing.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "journal.h"

static void test_in_order(void **state)
{
    (void)state;
    char memory[64];
    struct journal journal;
    size_t at = 0;

    journal_open(&journal, memory, sizeof memory);
    assert_null(journal_next(&journal, &at));
    journal_write_line(&journal, "one");
    journal_write_line(&journal, "");
    const size_t middle = journal.length;
    journal_write_line(&journal, "three");
    assert_string_equal(journal_next(&journal, &at), "one");
    assert_string_equal(journal_next(&journal, &at), "");
    assert_int_equal(at, middle);
    assert_string_equal(journal_next(&journal, &at), "three");
    assert_null(journal_next(&journal, &at));
}

// The memory ends exactly behind what fits: ASan sees one byte more.
static void test_full(void **state)
{
    (void)state;
    char *memory = test_malloc(8);
    struct journal journal;
    size_t at = 0;

    journal_open(&journal, memory, 8);
    journal_write_line(&journal, "abc");
    journal_write_line(&journal, "defg"); // five bytes with its end, four are left
    journal_write_line(&journal, "xyz");
    journal_write_line(&journal, "");
    assert_int_equal(journal.left_out, 2);
    assert_string_equal(journal_next(&journal, &at), "abc");
    assert_string_equal(journal_next(&journal, &at), "xyz");
    assert_null(journal_next(&journal, &at));
    test_free(memory);
}

static void test_move(void **state)
{
    (void)state;
    char small[8], large[32];
    struct journal journal;
    size_t at = 0;

    journal_open(&journal, small, sizeof small);
    journal_write_line(&journal, "before");
    journal_move(&journal, large, sizeof large);
    memset(small, 'x', sizeof small);
    journal_write_line(&journal, "after the move");
    assert_string_equal(journal_next(&journal, &at), "before");
    assert_string_equal(journal_next(&journal, &at), "after the move");
    assert_int_equal(journal.left_out, 0);
}

// What it was before it was opened: the run goes on without a journal.
static void test_unopened(void **state)
{
    (void)state;
    struct journal journal = {0};
    size_t at = 0;

    journal_write_line(&journal, "lost");
    assert_int_equal(journal.left_out, 1);
    assert_null(journal_next(&journal, &at));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_order),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_move),
        cmocka_unit_test(test_unopened),
    };
    return cmocka_run_group_tests_name("journal", tests, NULL, NULL);
}
