// The journal: whole lines in order, what finds no room is counted, and a move loses nothing.

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "fake_hw.h"
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

// What is kept free for the last lines is theirs, and theirs alone; a move does not change that.
static void test_reserve(void **state)
{
    (void)state;
    char small[12], large[16];
    struct journal journal;
    size_t at = 0;

    journal_open(&journal, small, sizeof small);
    journal_reserve(&journal, 8);
    journal_write_line(&journal, "abc");
    journal_write_line(&journal, "");
    assert_int_equal(journal.left_out, 1);
    journal_move(&journal, large, sizeof large);
    journal_write_line(&journal, "def");
    journal_write_line(&journal, "");
    assert_int_equal(journal.left_out, 2);
    journal_reserve(&journal, 0);
    journal_write_line(&journal, "the end");
    assert_int_equal(journal.left_out, 2);
    assert_string_equal(journal_next(&journal, &at), "abc");
    assert_string_equal(journal_next(&journal, &at), "def");
    assert_string_equal(journal_next(&journal, &at), "the end");
    assert_null(journal_next(&journal, &at));
}

// A reserve that is larger than what there is takes no line, and none is written beyond the end.
static void test_reserve_beyond_the_end(void **state)
{
    (void)state;
    char *memory = test_malloc(8);
    struct journal journal;

    journal_open(&journal, memory, 8);
    journal_reserve(&journal, 9);
    journal_write_line(&journal, "");
    assert_int_equal(journal.left_out, 1);
    assert_int_equal(journal.length, 0);
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

// ---- what the next start finds ----

struct kept {
    struct journal journal;
    struct journal_head *head; // its memory, to the byte
    size_t bytes;
};

static void keep(struct kept *kept, size_t text_bytes)
{
    char first[8];

    kept->bytes = sizeof *kept->head + text_bytes;
    kept->head = test_malloc(kept->bytes);
    memset(kept->head, 0xa5, kept->bytes);
    journal_open(&kept->journal, first, sizeof first);
    journal_write_line(&kept->journal, "early");
    journal_keep(&kept->journal, kept->head, kept->bytes);
}

static bool found(struct kept *kept, struct journal *journal)
{
    const struct journal_seal *seal = journal_seal_of(kept->head);
    return seal && seal->length <= kept->bytes - sizeof *kept->head &&
           journal_reopen(journal, kept->head, seal);
}

static void test_kept_up_to_the_last_whole_line(void **state)
{
    struct journal journal;
    struct kept kept;
    size_t at = 0;

    (void)state;
    keep(&kept, 64);
    assert_true(found(&kept, &journal));
    assert_int_equal(journal.length, 6);
    journal_write_line(&kept.journal, "late");
    assert_true(found(&kept, &journal));
    assert_string_equal(journal_next(&journal, &at), "early");
    assert_string_equal(journal_next(&journal, &at), "late");
    assert_null(journal_next(&journal, &at));
    assert_false(journal_is_complete(&journal));
    journal_write_line(&kept.journal, "REVEILLE ev=end ok=1");
    assert_true(found(&kept, &journal));
    assert_true(journal_is_complete(&journal));
    journal_drop(kept.head);
    assert_false(found(&kept, &journal));
    test_free(kept.head);
}

// Nobody asks by keeping alone, what was asked stays asked, and no line is lost by it.
static void test_asks_for_a_start(void **state)
{
    struct journal journal;
    struct kept kept;

    (void)state;
    keep(&kept, 64);
    journal_write_line(&kept.journal, "early");
    assert_int_equal(journal_seal_of(kept.head)->again, 0);
    journal_ask_again(&kept.journal);
    assert_true(found(&kept, &journal));
    assert_int_equal(journal.length, 12);
    assert_int_equal(journal_seal_of(kept.head)->again, 1);
    journal_write_line(&kept.journal, "late");
    assert_true(found(&kept, &journal));
    assert_int_equal(journal_seal_of(kept.head)->again, 1);
    test_free(kept.head);

    journal = (struct journal){0}; // not kept: nothing to find, and nothing is touched
    journal_ask_again(&journal);
}

// Whatever single bit is other than it was written: an older state, or nothing, and never a lie.
static void test_no_damage_is_believed(void **state)
{
    struct journal journal;
    struct kept kept;
    size_t unnoticed = 0;

    (void)state;
    keep(&kept, 64);
    journal_write_line(&kept.journal, "the second line");
    for (size_t bit = 0; bit < 8 * kept.bytes; bit++) {
        uint8_t *byte = (uint8_t *)kept.head + bit / 8;
        *byte ^= (uint8_t)(1u << bit % 8);
        if (found(&kept, &journal)) {
            size_t at = 0;
            unnoticed++;
            assert_string_equal(journal_next(&journal, &at), "early");
            assert_true(journal.length == 6 ||
                        strcmp(journal_next(&journal, &at), "the second line") == 0);
        }
        *byte ^= (uint8_t)(1u << bit % 8);
    }
    assert_true(unnoticed > 0); // bits of the older seal, and behind the text
    test_free(kept.head);
}

// The machine goes down while a seal is being written: the one before it still holds.
static void test_a_torn_seal_costs_one_line(void **state)
{
    struct journal journal;
    struct kept kept;

    (void)state;
    keep(&kept, 64);
    journal_write_line(&kept.journal, "second");
    memset(&kept.head->seals[journal_seal_of(kept.head)->turn % 2], 0,
           sizeof(struct journal_seal) / 2);
    assert_true(found(&kept, &journal));
    assert_int_equal(journal.length, 6);
    test_free(kept.head);
}

// The memory behind the cache. What was flushed is in it; what was not may be, or not, when the
// machine goes down: here the seals always, and the text never.
static struct {
    struct kept *kept;
    char text[64];
    uint32_t flushes;
} memory;

static void go_down_and_come_back(const void *flushed, uint64_t bytes)
{
    char *const text = (char *)(memory.kept->head + 1);
    const ptrdiff_t at = (const char *)flushed - text;
    char cached[sizeof memory.text];
    struct journal journal;

    memcpy(cached, text, sizeof cached);
    memcpy(text, memory.text, sizeof cached);
    assert_true(found(memory.kept, &journal));
    assert_true(journal.length >= 6);
    memcpy(text, cached, sizeof cached);
    if (at >= 0)
        memcpy(memory.text + at, flushed, bytes);
    memory.flushes++;
}

// Whenever the machine goes down, the next start finds all lines but the one under way.
static void test_no_seal_is_ahead_of_its_text(void **state)
{
    struct journal journal;
    struct kept kept;

    (void)state;
    keep(&kept, sizeof memory.text);
    memory.kept = &kept;
    memcpy(memory.text, kept.head + 1, sizeof memory.text);
    fake_on_flush(go_down_and_come_back);
    journal_write_line(&kept.journal, "second");
    journal_ask_again(&kept.journal);
    journal_write_line(&kept.journal, "third");
    fake_on_flush(NULL);
    assert_int_equal(memory.flushes, 6);
    memcpy(kept.head + 1, memory.text, sizeof memory.text);
    assert_true(found(&kept, &journal));
    assert_int_equal(journal.length, 6 + 7 + 6);
    test_free(kept.head);
}

static void test_a_copy_elsewhere_is_not_it(void **state)
{
    struct kept kept;

    (void)state;
    keep(&kept, 64);
    struct journal_head *copy = test_malloc(kept.bytes);
    memcpy(copy, kept.head, kept.bytes);
    assert_null(journal_seal_of(copy));
    test_free(copy);
    test_free(kept.head);
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
        cmocka_unit_test(test_reserve),
        cmocka_unit_test(test_reserve_beyond_the_end),
        cmocka_unit_test(test_move),
        cmocka_unit_test(test_kept_up_to_the_last_whole_line),
        cmocka_unit_test(test_asks_for_a_start),
        cmocka_unit_test(test_no_damage_is_believed),
        cmocka_unit_test(test_a_torn_seal_costs_one_line),
        cmocka_unit_test(test_no_seal_is_ahead_of_its_text),
        cmocka_unit_test(test_a_copy_elsewhere_is_not_it),
        cmocka_unit_test(test_unopened),
    };
    return cmocka_run_group_tests_name("journal", tests, NULL, NULL);
}
