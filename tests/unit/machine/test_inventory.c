// The inventory on MADTs built here, entry by entry. Every table is read from an allocation of
// exactly its size, so that AddressSanitizer sees a read of one byte too many.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "inventory.h"

#define HEADER         44u
#define ENABLED        1u
#define ONLINE_CAPABLE 2u

// A table under construction.
struct madt {
    uint8_t *bytes;
    size_t length;
};

// What came out of one reading.
struct result {
    struct inventory inventory;
    enum status status;
    size_t told;     // problems in all
    char words[256]; // their `what`, "e:" or "w:" before each, a blank behind
};

static void store32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (8 * i) & 0xff);
}

static void *grow(void *old, size_t bytes)
{
    void *grown = realloc(old, bytes);
    assert_non_null(grown);
    return grown;
}

static void add_bytes(struct madt *madt, const uint8_t *bytes, size_t count)
{
    madt->bytes = grow(madt->bytes, madt->length + count);
    memcpy(madt->bytes + madt->length, bytes, count);
    madt->length += count;
}

static struct madt madt_start(void)
{
    struct madt madt = {NULL, 0};
    uint8_t header[HEADER] = "APIC";
    header[8] = 5; // revision
    add_bytes(&madt, header, sizeof header);
    return madt;
}

static void add_type0(struct madt *madt, uint8_t uid, uint8_t apic_id, uint32_t flags)
{
    uint8_t entry[8] = {0, 8, uid, apic_id};
    store32(entry + 4, flags);
    add_bytes(madt, entry, sizeof entry);
}

static void add_type9(struct madt *madt, uint32_t uid, uint32_t apic_id, uint32_t flags)
{
    uint8_t entry[16] = {9, 16};
    store32(entry + 4, apic_id);
    store32(entry + 8, flags);
    store32(entry + 12, uid);
    add_bytes(madt, entry, sizeof entry);
}

static void set_checksum(struct madt *madt)
{
    madt->bytes[9] = 0;
    madt->bytes[9] = (uint8_t)(0x100 - acpi_sum(madt->bytes, madt->length));
}

static void finish(struct madt *madt)
{
    store32(madt->bytes + 4, (uint32_t)madt->length);
    set_checksum(madt);
}

static void tell(void *context, enum severity severity, const char *what, const char *detail)
{
    struct result *result = context;
    assert_true(strlen(detail) > 10);
    result->told++;
    assert_true(strlen(result->words) + strlen(what) + 4 < sizeof result->words);
    strcat(result->words, severity == SEVERITY_ERROR ? "e:" : "w:");
    strcat(result->words, what);
    strcat(result->words, " ");
}

// Reads the first `length` bytes of the table as it stands. The caller frees result.inventory.cpus.
static struct result read_prefix(const struct madt *madt, size_t length, uint32_t bsp_apic_id)
{
    struct result result = {.told = 0};
    struct problems problems = {tell, &result};
    uint8_t *copy = grow(NULL, length + (length == 0));
    memcpy(copy, madt->bytes, length);
    struct acpi_table table = {copy, length};
    size_t capacity = inventory_capacity(&table);
    assert_true(capacity >= 1 && capacity <= length / 8 + 1);
    result.inventory.capacity = capacity;
    result.inventory.cpus = grow(NULL, capacity * sizeof(struct cpu));
    uint64_t *keys = grow(NULL, capacity * sizeof *keys);
    result.status = inventory_read(&table, bsp_apic_id, keys, &problems, &result.inventory);
    free(keys);
    free(copy);
    return result;
}

// Finishes the table, reads it, frees it.
static struct result read_all(struct madt *madt, uint32_t bsp_apic_id)
{
    finish(madt);
    struct result result = read_prefix(madt, madt->length, bsp_apic_id);
    free(madt->bytes);
    return result;
}

static void expect_cpu(const struct result *result, size_t index, uint32_t apic_id, uint32_t uid,
                       enum cpu_listing listing)
{
    assert_true(index < result->inventory.count);
    assert_int_equal(result->inventory.cpus[index].apic_id, apic_id);
    assert_int_equal(result->inventory.cpus[index].uid, uid);
    assert_int_equal(result->inventory.cpus[index].listing, listing);
}

static void expect_counts(const struct result *result, uint32_t enabled, uint32_t disabled,
                          uint32_t duplicate, uint32_t impossible)
{
    assert_int_equal(result->inventory.enabled, enabled);
    assert_int_equal(result->inventory.disabled, disabled);
    assert_int_equal(result->inventory.duplicate, duplicate);
    assert_int_equal(result->inventory.impossible, impossible);
    assert_int_equal(result->inventory.count, enabled + disabled);
    assert_true(result->inventory.count <= result->inventory.capacity);
}

static void expect_clean(const struct result *result)
{
    assert_int_equal(result->status, STATUS_OK);
    assert_string_equal(result->words, "");
    assert_true(result->inventory.checksum_ok);
    assert_false(result->inventory.truncated);
}

static void test_types_in_any_order(void **state)
{
    (void)state;
    struct madt madt = madt_start();
    add_bytes(&madt, (const uint8_t[]){1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0}, 12);
    add_type9(&madt, 7, 0x10, ENABLED);
    add_bytes(&madt, (const uint8_t[]){0x7f, 2}, 2);
    add_type0(&madt, 3, 2, ENABLED);
    add_bytes(&madt, (const uint8_t[]){0xff, 5, 1, 2, 3}, 5);
    add_type0(&madt, 4, 0, ENABLED);
    struct result result = read_all(&madt, BSP_UNKNOWN);
    expect_clean(&result);
    assert_int_equal(result.inventory.revision, 5);
    assert_true(result.inventory.bsp_listed);
    assert_false(result.inventory.wakeup_mailbox);
    expect_counts(&result, 3, 0, 0, 0);
    expect_cpu(&result, 0, 0x10, 7, CPU_BSP);
    expect_cpu(&result, 1, 2, 3, CPU_LISTED);
    expect_cpu(&result, 2, 0, 4, CPU_LISTED);
    free(result.inventory.cpus);
}

static void test_bsp_neither_first_nor_lowest(void **state)
{
    (void)state;
    struct madt madt = madt_start();
    for (uint8_t id = 1; id <= 5; id++)
        add_type0(&madt, (uint8_t)(id + 10), id, ENABLED);
    struct result result = read_all(&madt, 3);
    expect_clean(&result);
    expect_counts(&result, 5, 0, 0, 0);
    expect_cpu(&result, 0, 3, 13, CPU_BSP);
    expect_cpu(&result, 1, 1, 11, CPU_LISTED);
    expect_cpu(&result, 2, 2, 12, CPU_LISTED);
    expect_cpu(&result, 3, 4, 14, CPU_LISTED);
    expect_cpu(&result, 4, 5, 15, CPU_LISTED);
    free(result.inventory.cpus);
}

static void test_bsp_not_listed_is_added(void **state)
{
    (void)state;
    struct madt madt = madt_start();
    add_type0(&madt, 1, 4, ENABLED);
    add_type0(&madt, 2, 9, 0); // the BSP's, but not enabled
    struct result result = read_all(&madt, 9);
    assert_int_equal(result.status, STATUS_OK);
    assert_string_equal(result.words, "w:bsp-not-listed ");
    assert_false(result.inventory.bsp_listed);
    expect_counts(&result, 2, 1, 0, 0);
    expect_cpu(&result, 0, 9, CPU_UID_UNKNOWN, CPU_BSP);
    expect_cpu(&result, 1, 4, 1, CPU_LISTED);
    expect_cpu(&result, 2, 9, 2, CPU_DISABLED);
    free(result.inventory.cpus);
}

static void test_empty_table(void **state)
{
    (void)state;
    struct madt madt = madt_start();
    struct result result = read_all(&madt, BSP_UNKNOWN);
    assert_int_equal(result.status, STATUS_OK);
    assert_string_equal(result.words, "w:no-processor ");
    assert_false(result.inventory.bsp_listed);
    expect_counts(&result, 0, 0, 0, 0);
    free(result.inventory.cpus);

    madt = madt_start();
    result = read_all(&madt, 0);
    assert_string_equal(result.words, "w:bsp-not-listed ");
    expect_counts(&result, 1, 0, 0, 0);
    expect_cpu(&result, 0, 0, CPU_UID_UNKNOWN, CPU_BSP);
    free(result.inventory.cpus);
}

static void test_broadcast_ids(void **state)
{
    (void)state;
    struct madt madt = madt_start();
    add_type0(&madt, 0, 0, ENABLED);
    add_type0(&madt, 1, 0xff, ENABLED); // everyone, in an xAPIC
    add_type9(&madt, 2, 0xff, ENABLED); // a processor, in an x2APIC
    add_type9(&madt, 3, 0xffffffff, ENABLED);
    add_type9(&madt, 4, 0xfffffffe, ENABLED);
    add_type0(&madt, 5, 0xff, 0); // disabled ones are counted as they stand
    add_type9(&madt, 6, 0xffffffff, 0);
    struct result result = read_all(&madt, BSP_UNKNOWN);
    assert_int_equal(result.status, STATUS_OK);
    assert_string_equal(result.words, "w:impossible-id ");
    expect_counts(&result, 3, 2, 0, 2);
    expect_cpu(&result, 1, 0xff, 2, CPU_LISTED);
    expect_cpu(&result, 2, 0xfffffffe, 4, CPU_LISTED);
    expect_cpu(&result, 3, 0xff, 5, CPU_DISABLED);
    expect_cpu(&result, 4, 0xffffffff, 6, CPU_DISABLED);
    free(result.inventory.cpus);
}

static void test_repeats_count_once(void **state)
{
    (void)state;
    struct madt madt = madt_start();
    add_type0(&madt, 1, 6, ENABLED);
    add_type0(&madt, 2, 4, ENABLED);
    add_type9(&madt, 3, 6, ENABLED); // the same processor in the other form
    add_type0(&madt, 4, 4, 0);       // a disabled slot that repeats an enabled ID
    add_type0(&madt, 5, 6, ENABLED);
    add_type9(&madt, 6, 2, ENABLED);
    add_type0(&madt, 7, 4, 0);
    struct result result = read_all(&madt, 4);
    assert_int_equal(result.status, STATUS_OK);
    assert_string_equal(result.words, "w:duplicate-id ");
    expect_counts(&result, 3, 2, 2, 0);
    expect_cpu(&result, 0, 4, 2, CPU_BSP);
    expect_cpu(&result, 1, 6, 1, CPU_LISTED);
    expect_cpu(&result, 2, 2, 6, CPU_LISTED);
    expect_cpu(&result, 3, 4, 4, CPU_DISABLED);
    expect_cpu(&result, 4, 4, 7, CPU_DISABLED);
    free(result.inventory.cpus);
}

static void test_online_capable_is_not_present(void **state)
{
    (void)state;
    struct madt madt = madt_start();
    add_type0(&madt, 0, 0, ENABLED | ONLINE_CAPABLE);
    add_type0(&madt, 1, 1, ONLINE_CAPABLE);
    add_type9(&madt, 2, 2, ONLINE_CAPABLE);
    add_type0(&madt, 3, 3, 0xfffffffe);
    struct result result = read_all(&madt, BSP_UNKNOWN);
    expect_clean(&result);
    expect_counts(&result, 1, 3, 0, 0);
    free(result.inventory.cpus);
}

static void test_wakeup_mailbox(void **state)
{
    (void)state;
    struct madt madt = madt_start();
    add_type0(&madt, 0, 0, ENABLED);
    add_bytes(&madt, (const uint8_t[16]){0x10, 16}, 16);
    struct result result = read_all(&madt, BSP_UNKNOWN);
    expect_clean(&result);
    assert_true(result.inventory.wakeup_mailbox);
    free(result.inventory.cpus);
}

// Each of these entries ends the walk: the processor before it counts, the one behind it is lost.
static void test_entries_that_end_the_walk(void **state)
{
    (void)state;
    static const struct {
        uint8_t bytes[16];
        size_t count;
    } broken[] = {
        {{0, 0, 1, 1, 1, 0, 0, 0}, 8}, // length 0: a walk that believes it never ends
        {{0, 1, 1, 1, 1, 0, 0, 0}, 8},
        {{0x7f, 0}, 2},
        {{0x7f, 1}, 2},
        {{0, 7, 1, 1, 1, 0, 0}, 7},
        {{9, 15, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0}, 15},
        {{9, 8, 1, 1, 1, 0, 0, 0}, 8},
        {{0x7f, 200}, 2},
        {{0, 255, 1, 1, 1, 0, 0, 0}, 8},
    };
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        struct madt madt = madt_start();
        add_type0(&madt, 0, 5, ENABLED);
        add_bytes(&madt, broken[i].bytes, broken[i].count);
        add_type0(&madt, 2, 6, ENABLED);
        struct result result = read_all(&madt, BSP_UNKNOWN);
        assert_int_equal(result.status, STATUS_TRUNCATED);
        assert_string_equal(result.words, "e:madt-entry ");
        assert_true(result.inventory.truncated);
        assert_true(result.inventory.checksum_ok);
        expect_counts(&result, 1, 0, 0, 0);
        expect_cpu(&result, 0, 5, 0, CPU_BSP);
        free(result.inventory.cpus);
    }
}

static void test_longer_entries_are_passed_whole(void **state)
{
    (void)state;
    struct madt madt = madt_start();
    add_bytes(&madt, (const uint8_t[]){0, 10, 1, 1, 1, 0, 0, 0, 0, 0}, 10);
    add_bytes(&madt, (const uint8_t[255]){0x80, 255}, 255);
    add_type0(&madt, 2, 2, ENABLED);
    struct result result = read_all(&madt, BSP_UNKNOWN);
    expect_clean(&result);
    expect_counts(&result, 2, 0, 0, 0);
    free(result.inventory.cpus);
}

static void test_one_byte_left(void **state)
{
    (void)state;
    struct madt madt = madt_start();
    add_type0(&madt, 0, 0, ENABLED);
    add_bytes(&madt, (const uint8_t[]){0}, 1);
    struct result result = read_all(&madt, BSP_UNKNOWN);
    assert_int_equal(result.status, STATUS_TRUNCATED);
    assert_string_equal(result.words, "e:madt-entry ");
    expect_counts(&result, 1, 0, 0, 0);
    free(result.inventory.cpus);
}

// A dump cut at every possible byte: the whole entries count, and it is told.
static void test_cut_anywhere(void **state)
{
    (void)state;
    struct madt madt = madt_start();
    for (uint8_t id = 0; id < 3; id++)
        add_type0(&madt, id, id, ENABLED);
    finish(&madt);
    for (size_t length = 0; length < madt.length; length++) {
        struct result result = read_prefix(&madt, length, 0);
        if (length < HEADER) {
            assert_int_equal(result.status, STATUS_INVALID);
            assert_string_equal(result.words, "e:no-madt ");
            assert_int_equal(result.inventory.count, 0);
        } else {
            uint32_t whole = (uint32_t)(length - HEADER) / 8;
            assert_int_equal(result.status, STATUS_TRUNCATED);
            assert_true(strstr(result.words, "e:madt-cut ") != NULL);
            assert_true(result.inventory.truncated);
            assert_false(result.inventory.checksum_ok);
            expect_counts(&result, whole == 0 ? 1 : whole, 0, 0, 0);
        }
        free(result.inventory.cpus);
    }
    free(madt.bytes);
}

static void test_bytes_behind_the_table_do_not_count(void **state)
{
    (void)state;
    struct madt madt = madt_start();
    add_type0(&madt, 0, 0, ENABLED);
    finish(&madt);
    add_type0(&madt, 1, 1, ENABLED);
    struct result result = read_prefix(&madt, madt.length, 0);
    expect_clean(&result);
    expect_counts(&result, 1, 0, 0, 0);
    free(result.inventory.cpus);
    free(madt.bytes);
}

static void test_wrong_checksum(void **state)
{
    (void)state;
    struct madt madt = madt_start();
    add_type0(&madt, 0, 0, ENABLED);
    finish(&madt);
    madt.bytes[9]++;
    struct result result = read_prefix(&madt, madt.length, 0);
    assert_int_equal(result.status, STATUS_OK);
    assert_string_equal(result.words, "w:madt-checksum ");
    assert_false(result.inventory.checksum_ok);
    assert_false(result.inventory.truncated);
    expect_counts(&result, 1, 0, 0, 0);
    free(result.inventory.cpus);
    free(madt.bytes);
}

static void test_not_a_madt(void **state)
{
    (void)state;
    static const uint32_t lengths[] = {0, 8, 36, 43};
    struct madt madt = madt_start();
    add_type0(&madt, 0, 0, ENABLED);
    finish(&madt);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        store32(madt.bytes + 4, lengths[i]);
        struct result result = read_prefix(&madt, madt.length, 0);
        assert_int_equal(result.status, STATUS_INVALID);
        assert_string_equal(result.words, "e:no-madt ");
        free(result.inventory.cpus);
    }
    finish(&madt);
    madt.bytes[3] = 'X';
    struct result result = read_prefix(&madt, madt.length, 0);
    assert_int_equal(result.status, STATUS_INVALID);
    assert_int_equal(result.inventory.enabled, 0);
    free(result.inventory.cpus);
    free(madt.bytes);
}

static void test_capacity_is_kept(void **state)
{
    (void)state;
    struct madt madt = madt_start();
    for (uint8_t id = 0; id < 4; id++)
        add_type0(&madt, id, id, id % 2 == 0 ? ENABLED : 0);
    finish(&madt);
    struct acpi_table table = {madt.bytes, madt.length};
    assert_int_equal(inventory_capacity(&table), 5);
    struct result result = {.told = 0};
    struct problems problems = {tell, &result};
    struct cpu *cpus = grow(NULL, sizeof *cpus * 4);
    uint64_t keys[4];
    struct inventory inventory = {.cpus = cpus, .capacity = 4};
    assert_int_equal(inventory_read(&table, 0, keys, &problems, &inventory), STATUS_NO_SPACE);
    assert_int_equal(inventory.count, 0);
    free(cpus);
    free(madt.bytes);
}

// 70,000 entries: more than 16 bits count, an order that is worst for a naive sort, and a repeat
// for every seventh. A quadratic walk would take minutes here under the sanitizers.
static void test_seventy_thousand_entries(void **state)
{
    (void)state;
    const uint32_t count = 70000;
    struct madt madt = {grow(NULL, HEADER + 16 * (size_t)count), 0};
    memset(madt.bytes, 0, HEADER);
    memcpy(madt.bytes, "APIC", 4);
    madt.length = HEADER;
    uint32_t distinct = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *entry = madt.bytes + madt.length;
        bool repeat = i % 7 == 6;
        distinct += !repeat;
        memset(entry, 0, 16);
        entry[0] = 9;
        entry[1] = 16;
        store32(entry + 4, repeat ? count - (i - 6) : count - i);
        store32(entry + 8, ENABLED);
        store32(entry + 12, i);
        madt.length += 16;
    }
    struct result result = read_all(&madt, count - 1);
    assert_int_equal(result.status, STATUS_OK);
    expect_counts(&result, distinct, 0, count - distinct, 0);
    assert_int_equal(result.told, 1);
    expect_cpu(&result, 0, count - 1, 1, CPU_BSP);
    expect_cpu(&result, 1, count, 0, CPU_LISTED);
    for (size_t i = 3; i < distinct; i++)
        assert_true(result.inventory.cpus[i].apic_id < result.inventory.cpus[i - 1].apic_id);
    free(result.inventory.cpus);
}

// Small tables of every shape that a few IDs can make, against a count that compares each with
// each.
static void test_repeats_against_naive_count(void **state)
{
    (void)state;
    uint32_t random = 12345; // a fixed sequence: Numerical Recipes' generator
    for (int round = 0; round < 500; round++) {
        struct madt madt = madt_start();
        uint32_t ids[40];
        size_t count = (size_t)round % 40;
        uint32_t distinct = 0;
        for (size_t i = 0; i < count; i++) {
            random = random * 1664525u + 1013904223u;
            ids[i] = random >> 24 & 0x1f;
            size_t same = 0;
            while (same < i && ids[same] != ids[i])
                same++;
            distinct += same == i;
            add_type0(&madt, (uint8_t)i, (uint8_t)ids[i], ENABLED);
        }
        struct result result = read_all(&madt, BSP_UNKNOWN);
        expect_counts(&result, distinct, 0, (uint32_t)count - distinct, 0);
        for (size_t i = 1; i < distinct; i++)
            assert_true(result.inventory.cpus[i].uid > result.inventory.cpus[i - 1].uid);
        free(result.inventory.cpus);
    }
}

// A processor has one record: an entry whose ID stands before it is none of its own.
static void test_disabled_entries_that_repeat(void **state)
{
    static const bool repeated[] = {false, false, true, false, true, true};

    (void)state;
    struct madt madt = madt_start();
    add_type0(&madt, 1, 2, ENABLED);
    add_type0(&madt, 0, 0, ENABLED);
    add_type0(&madt, 2, 2, 0);
    add_type9(&madt, 3, 7, 0);
    add_type0(&madt, 4, 0, 0);
    add_type0(&madt, 5, 7, 0);
    struct result result = read_all(&madt, 0);
    expect_counts(&result, 2, 4, 0, 0);
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(result.inventory.cpus[i].repeated, repeated[i]);
    free(result.inventory.cpus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_disabled_entries_that_repeat),
        cmocka_unit_test(test_types_in_any_order),
        cmocka_unit_test(test_bsp_neither_first_nor_lowest),
        cmocka_unit_test(test_bsp_not_listed_is_added),
        cmocka_unit_test(test_empty_table),
        cmocka_unit_test(test_broadcast_ids),
        cmocka_unit_test(test_repeats_count_once),
        cmocka_unit_test(test_online_capable_is_not_present),
        cmocka_unit_test(test_wakeup_mailbox),
        cmocka_unit_test(test_entries_that_end_the_walk),
        cmocka_unit_test(test_longer_entries_are_passed_whole),
        cmocka_unit_test(test_one_byte_left),
        cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_bytes_behind_the_table_do_not_count),
        cmocka_unit_test(test_wrong_checksum),
        cmocka_unit_test(test_not_a_madt),
        cmocka_unit_test(test_capacity_is_kept),
        cmocka_unit_test(test_seventy_thousand_entries),
        cmocka_unit_test(test_repeats_against_naive_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
