// Line: numbers against the C library's printf, cutting against a rule stated on whole strings, and
// records. Every buffer is malloc'ed to its exact size, so that ASan sees one byte too many.
#include "line.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RANDOM_VALUES 20000u

// xorshift64 (Marsaglia 2003), from a fixed seed: the same values in every run.
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void assert_line(const struct line *line, const char *expected)
{
    assert_string_equal(line->text, expected);
    assert_int_equal(line->length, strlen(expected));
}

static void check_number(uint64_t value)
{
    char buffer[LINE_BYTES], expected[32];
    struct line line;

    line_start(&line, buffer, sizeof buffer);
    line_add_decimal(&line, value);
    snprintf(expected, sizeof expected, "%" PRIu64, value);
    assert_line(&line, expected);

    line_start(&line, buffer, sizeof buffer);
    line_add_hex(&line, value);
    snprintf(expected, sizeof expected, "0x%" PRIx64, value);
    assert_line(&line, expected);
}

static void test_numbers_at_edges(void **state)
{
    (void)state;
    check_number(0);
    check_number(UINT32_MAX);
    check_number(UINT64_MAX);
    for (uint64_t power = 1; power <= UINT64_MAX / 10; power *= 10) {
        check_number(power * 10 - 1);
        check_number(power * 10);
        check_number(power * 10 + 1);
    }
    for (uint32_t bit = 0; bit < 64; bit++) {
        check_number((1ull << bit) - 1);
        check_number(1ull << bit);
    }
}

static void test_random_numbers(void **state)
{
    uint64_t random = 0x243f6a8885a308d3;

    (void)state;
    for (uint32_t i = 0; i < RANDOM_VALUES; i++) {
        const uint64_t value = next_random(&random);

        check_number(value >> (next_random(&random) % 64)); // every magnitude alike
    }
}

static void test_starts_empty(void **state)
{
    char buffer[8] = "rubbish";
    struct line line;

    (void)state;
    line_start(&line, buffer, sizeof buffer);
    assert_line(&line, "");
    line_add_text(&line, "");
    assert_line(&line, "");
}

// The rule of line.h: what fits stands whole, what does not is cut and ends in "...".
static void expect_cut(const char *text, size_t capacity, char *expected)
{
    if (strlen(text) < capacity) {
        strcpy(expected, text);
    } else {
        memcpy(expected, text, capacity - 4);
        strcpy(expected + capacity - 4, "...");
    }
}

static void test_cut_at_every_length(void **state)
{
    (void)state;
    for (size_t capacity = 8; capacity <= 24; capacity++) {
        char *buffer = malloc(capacity);

        for (size_t length = 0; length <= 40; length++) {
            char text[64] = "", expected[64];
            struct line line;

            for (size_t i = 0; i < length; i++) {
                text[i] = (char)('a' + i % 26);
            }
            expect_cut(text, capacity, expected);

            line_start(&line, buffer, capacity);
            line_add_text(&line, text);
            assert_line(&line, expected);

            line_start(&line, buffer, capacity);
            for (size_t i = 0; i < length; i++) {
                line_add_foreign(&line, &text[i], 1);
                assert_int_equal(line.text[line.length], '\0');
            }
            assert_line(&line, expected);
        }
        free(buffer);
    }
}

static void test_cut_by_every_kind(void **state)
{
    char *buffer = malloc(12);
    struct line line;

    (void)state;
    line_start(&line, buffer, 12);
    line_add_decimal(&line, 12345678901);
    assert_line(&line, "12345678901");
    line_start(&line, buffer, 12);
    line_add_decimal(&line, 123456789012);
    assert_line(&line, "12345678...");
    line_start(&line, buffer, 12);
    line_add_hex(&line, UINT64_MAX);
    assert_line(&line, "0xffffff...");
    line_start(&line, buffer, 12);
    line_add_format(&line, "%s: %u of %u", "cpu", UINT64_C(1), UINT64_C(255));
    assert_line(&line, "cpu: 1 o...");
    line_add_text(&line, "more");
    line_add_decimal(&line, 7);
    assert_line(&line, "cpu: 1 o...");
    record_start(&line, buffer, 12, "start");
    assert_line(&line, "REVEILLE...");
    record_add_text(&line, "key", "a value");
    assert_line(&line, "REVEILLE...");
    free(buffer);
}

static void test_foreign_bytes(void **state)
{
    static const char bytes[] = {'\0', '\x1f', ' ', '~', '\x7f', '\x80', '\xff', '\r', '\n', '"'};
    char buffer[LINE_BYTES];
    struct line line;

    (void)state;
    line_start(&line, buffer, sizeof buffer);
    line_add_foreign(&line, bytes, sizeof bytes);
    assert_line(&line, "?? ~?????\"");
    line_add_foreign(&line, NULL, 0);
    assert_line(&line, "?? ~?????\"");
}

static void test_format(void **state)
{
    char buffer[LINE_BYTES], expected[LINE_BYTES];
    uint64_t random = 0x13198a2e03707344;
    struct line line;

    (void)state;
    line_start(&line, buffer, sizeof buffer);
    line_add_format(&line, "Hello from CPU %u! APIC ID: %u", UINT64_C(1), UINT64_C(1));
    assert_line(&line, "Hello from CPU 1! APIC ID: 1");

    for (uint32_t i = 0; i < 1000; i++) {
        const uint64_t a = next_random(&random), b = next_random(&random) >> (i % 64);

        line_start(&line, buffer, sizeof buffer);
        line_add_format(&line, "%u|%x|%s|%%|%u", a, b, "text", b);
        snprintf(expected, sizeof expected, "%" PRIu64 "|0x%" PRIx64 "|text|%%|%" PRIu64, a, b, b);
        assert_line(&line, expected);
    }
}

// An unknown letter takes no argument: the ones after it still find theirs.
static void test_format_of_unknown_letters(void **state)
{
    char buffer[LINE_BYTES];
    struct line line;

    (void)state;
    line_start(&line, buffer, sizeof buffer);
    line_add_format(&line, "%d %u %lu", UINT64_C(5));
    assert_line(&line, "%d 5 %lu");
    line_start(&line, buffer, sizeof buffer);
    line_add_format(&line, "100%");
    assert_line(&line, "100%");
    line_start(&line, buffer, sizeof buffer);
    line_add_format(&line, "");
    assert_line(&line, "");
}

static void test_record(void **state)
{
    char buffer[LINE_BYTES];
    struct line line;

    (void)state;
    record_start(&line, buffer, sizeof buffer, "cpu");
    record_add_decimal(&line, "cpu", 2);
    record_add_hex(&line, "apic", 0x2b);
    record_add_text(&line, "state", "online");
    record_add_decimal(&line, "us", UINT64_MAX);
    assert_line(&line, "REVEILLE ev=cpu cpu=2 apic=0x2b state=online us=18446744073709551615");
}

static void check_quoting(const char *value, const char *expected)
{
    char buffer[LINE_BYTES], whole[LINE_BYTES];
    struct line line;

    record_start(&line, buffer, sizeof buffer, "e");
    record_add_text(&line, "k", value);
    snprintf(whole, sizeof whole, "REVEILLE ev=e k=%s", expected);
    assert_line(&line, whole);
}

static void test_record_quoting(void **state)
{
    (void)state;
    check_quoting("plain", "plain");
    check_quoting("EDK II", "\"EDK II\"");
    check_quoting("", "\"\"");
    check_quoting(" ", "\" \"");
    check_quoting("a\"b", "\"a\\\"b\"");
    check_quoting("a\\b", "\"a\\\\b\"");
    check_quoting("\\\"", "\"\\\\\\\"\"");
    check_quoting("a=b", "a=b");
    check_quoting("tab\there", "tab?here");
    check_quoting("\xe9t\xe9 \x7f", "\"?t? ?\"");
    check_quoting("two\r\nlines", "two??lines");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_at_edges),
        cmocka_unit_test(test_random_numbers),
        cmocka_unit_test(test_starts_empty),
        cmocka_unit_test(test_cut_at_every_length),
        cmocka_unit_test(test_cut_by_every_kind),
        cmocka_unit_test(test_foreign_bytes),
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_format_of_unknown_letters),
        cmocka_unit_test(test_record),
        cmocka_unit_test(test_record_quoting),
    };

    return cmocka_run_group_tests_name("line", tests, NULL, NULL);
}
