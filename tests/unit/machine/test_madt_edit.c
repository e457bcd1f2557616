// Writing a MADT, held against bytes that stand here. Every table lies in an allocation of its own
// size, so that AddressSanitizer sees one byte too many.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "madt_edit.h"

#define HEADER 44u

static uint8_t *bytes;

static int tear_down(void **state)
{
    (void)state;
    free(bytes);
    bytes = NULL;
    return 0;
}

static uint8_t *room_for(size_t count)
{
    bytes = malloc(count);
    assert_non_null(bytes);
    memset(bytes, 0xcc, count);
    return bytes;
}

// A table of these entries, which claims `claimed` bytes.
static struct acpi_table table_of(uint8_t *table, const uint8_t *entries, size_t count,
                                  uint32_t claimed)
{
    memset(table, 0, HEADER);
    memcpy(table, "APIC", 4);
    memcpy(table + 4, &claimed, sizeof claimed);
    table[8] = 5;    // revision
    table[9] = 0x5a; // a checksum, right or wrong
    memcpy(table + HEADER, entries, count);
    return (struct acpi_table){table, HEADER + count};
}

static void assert_is_sound(const struct acpi_table *table, size_t length)
{
    assert_int_equal(table->length, length);
    assert_int_equal(acpi_load32(table->bytes + 4), length);
    assert_int_equal(acpi_sum(table->bytes, length), 0);
}

static void test_made_of_processors(void **state)
{
    static const struct cpu cpus[] = {{.apic_id = 0x01020304, .uid = 7, .listing = CPU_LISTED},
                                      {.apic_id = 8, .uid = UINT32_MAX, .listing = CPU_DISABLED},
                                      {.apic_id = 9, .uid = 1, .listing = CPU_BSP}};
    static const uint8_t entries[] = {9, 16, 0, 0, 4, 3, 2, 1, 1, 0, 0, 0, 7,    0,    0,    0,
                                      9, 16, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff,
                                      9, 16, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 1,    0,    0,    0};

    (void)state;
    assert_int_equal(madt_bytes_for(3), HEADER + sizeof entries);
    const struct acpi_table made = madt_make(cpus, 3, room_for(madt_bytes_for(3)));
    assert_is_sound(&made, HEADER + sizeof entries);
    assert_memory_equal(made.bytes, "APIC", 4);
    assert_memory_equal(made.bytes + HEADER, entries, sizeof entries);
    assert_int_equal(madt_bytes_for(0), HEADER);
}

static void test_a_copy_goes_as_far_as_the_table(void **state)
{
    static const uint8_t entries[] = {0, 8, 1, 1, 1, 0, 0, 0, 'b', 'e', 'h', 'i', 'n', 'd'};
    static const struct cpu added = {.apic_id = 2, .listing = CPU_LISTED};
    uint8_t table[HEADER + sizeof entries];
    const struct acpi_table from = table_of(table, entries, sizeof entries, HEADER + 8);

    (void)state;
    struct madt_draft draft = madt_copy(&from, room_for(HEADER + 8 + 16));
    assert_int_equal(draft.length, HEADER + 8);
    madt_add(&draft, &added);
    const struct acpi_table copy = madt_finish(&draft);
    assert_is_sound(&copy, HEADER + 8 + 16);
    assert_int_equal(copy.bytes[8], 5);
    assert_memory_equal(copy.bytes + HEADER, entries, 8);
    assert_int_equal(copy.bytes[HEADER + 8], 9);
}

// Both kinds of entry, and each of them; one that is disabled stays, and one of type 0 whose 0xff
// means everyone is not processor 255.
static void test_a_processor_is_removed(void **state)
{
    static const uint8_t entries[] = {
        0, 8,  1, 255, 1,   0, 0, 0,                         // everyone
        9, 16, 0, 0,   255, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, // removed
        1, 12, 0, 0,   255, 0, 0, 0, 0, 0, 0, 0,             // an I/O APIC
        9, 16, 0, 0,   255, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, // removed
        9, 16, 0, 0,   255, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, // disabled
        0, 8,  4, 4,   1,   0, 0, 0,                         // removed the second time
        4, 6,  9, 0,   0,   1,                               // an NMI
    };
    static const uint8_t left[] = {0, 8,  1, 255, 1,   0, 0, 0, 1, 12, 0, 0, 255, 0, 0, 0,
                                   0, 0,  0, 0,                                            //
                                   9, 16, 0, 0,   255, 0, 0, 0, 0, 0,  0, 0, 3,   0, 0, 0, //
                                   4, 6,  9, 0,   0,   1};
    uint8_t table[HEADER + sizeof entries];
    const struct acpi_table from =
        table_of(table, entries, sizeof entries, HEADER + sizeof entries);

    (void)state;
    struct madt_draft draft = madt_copy(&from, room_for(from.length));
    madt_remove(&draft, 255);
    assert_int_equal(draft.length, from.length - 32);
    madt_remove(&draft, 4);
    madt_remove(&draft, 6); // there is none
    const struct acpi_table edited = madt_finish(&draft);
    assert_is_sound(&edited, HEADER + sizeof left);
    assert_memory_equal(edited.bytes + HEADER, left, sizeof left);
}

// Behind an entry whose length cannot be true nothing is known, and nothing is removed.
static void test_nothing_is_removed_behind_a_broken_entry(void **state)
{
    static const uint8_t entries[] = {0, 8, 1, 1, 1, 0, 0, 0, 0, 7, 2, 2,
                                      1, 0, 0, 0, 0, 8, 1, 1, 1, 0, 0, 0};
    uint8_t table[HEADER + sizeof entries];
    const struct acpi_table from =
        table_of(table, entries, sizeof entries, HEADER + sizeof entries);

    (void)state;
    struct madt_draft draft = madt_copy(&from, room_for(from.length));
    madt_remove(&draft, 1);
    assert_int_equal(draft.length, from.length - 8);
    assert_memory_equal(draft.bytes + HEADER, entries + 8, sizeof entries - 8);
}

#define TEST(name) cmocka_unit_test_teardown(name, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_made_of_processors),
        TEST(test_a_copy_goes_as_far_as_the_table),
        TEST(test_a_processor_is_removed),
        TEST(test_nothing_is_removed_behind_a_broken_entry),
    };
    return cmocka_run_group_tests_name("madt_edit", tests, NULL, NULL);
}
