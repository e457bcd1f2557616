// What one processor reads while another writes, with host threads for processors, under
// ThreadSanitizer: a race ends the program. Built apart from the other tests, since the sanitizers
// do not go together.
#include "journal.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "hw.h"

#define LINES 20000u

void hw_flush(const void *memory, uint64_t bytes)
{
    (void)memory, (void)bytes;
}

static char memory[LINES * 32u];
static struct journal journal;
static _Atomic bool written;

static void *write_lines(void *unused)
{
    char text[32];

    (void)unused;
    for (uint32_t i = 0; i < LINES; i++) {
        snprintf(text, sizeof text, "line %u", i);
        journal_write_line(&journal, text);
    }
    atomic_store(&written, true);
    return NULL;
}

// CPU 0 shows the journal on firmware's screens while an AP writes about its fault.
static void test_a_reader_needs_no_lock(void **state)
{
    pthread_t writer;
    char wanted[32];
    const char *line;
    size_t at = 0;
    uint32_t read = 0;

    (void)state;
    journal_open(&journal, memory, sizeof memory);
    assert_int_equal(pthread_create(&writer, NULL, write_lines, NULL), 0);
    for (bool last = false; !last;) { // once more behind the last line
        last = atomic_load(&written);
        while ((line = journal_next(&journal, &at)) != NULL) {
            snprintf(wanted, sizeof wanted, "line %u", read++);
            assert_string_equal(line, wanted);
        }
    }
    assert_int_equal(pthread_join(writer, NULL), 0);
    assert_int_equal(read, LINES);
    assert_int_equal(journal.left_out, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_reader_needs_no_lock)};
    return cmocka_run_group_tests_name("races", tests, NULL, NULL);
}
