// The way from the RSDP to a table, in a physical memory made here: one piece at an odd address
// below 4 GiB, one above. What view() hands out is a copy of exactly the bytes asked for, so that
// AddressSanitizer sees every read beyond what was proved.
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "acpi.h"

#define LOW       0x9f001u
#define HIGH      0x100000003u
#define PIECE     8192u
#define RSDP      LOW
#define RSDT      (LOW + 0x41)
#define MADT_A    (LOW + 0x101)
#define MADT_B    (LOW + 0x182)
#define OTHER     (LOW + 0x203)
#define XSDT      (HIGH + 0x10)
#define MADT_C    (HIGH + 0x100)
#define NOWHERE   0x80000000u
#define VIEWS_MAX 512

struct memory {
    uint8_t low[PIECE], high[PIECE];
    void *views[VIEWS_MAX];
    size_t view_count;
    char words[256]; // problems told: "e:" or "w:" and `what`
};

static uint8_t *at(struct memory *memory, uint64_t address)
{
    return address >= HIGH ? &memory->high[address - HIGH] : &memory->low[address - LOW];
}

static const void *view(const void *context, uint64_t address, uint64_t bytes)
{
    struct memory *memory = *(struct memory *const *)context;
    uint64_t base = address >= HIGH ? HIGH : LOW;
    if (address < base || address - base > PIECE || bytes > PIECE - (address - base))
        return NULL;
    uint8_t *copy = malloc(bytes + (bytes == 0));
    assert_non_null(copy);
    memcpy(copy, at(memory, address), bytes);
    assert_true(memory->view_count < VIEWS_MAX);
    memory->views[memory->view_count++] = copy;
    return copy;
}

static void store(struct memory *memory, uint64_t address, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        at(memory, address)[i] = (uint8_t)(value >> (8 * i) & 0xff);
}

static void fix_sum(struct memory *memory, uint64_t table, size_t length, size_t field)
{
    at(memory, table)[field] = 0;
    at(memory, table)[field] = (uint8_t)(0x100 - acpi_sum(at(memory, table), length));
}

static void put_table(struct memory *memory, uint64_t address, const char *signature,
                      uint32_t length, uint8_t mark)
{
    memcpy(at(memory, address), signature, 4);
    store(memory, address + 4, length, 4);
    at(memory, address)[10] = mark; // first byte of the OEM's name: tells tables apart
    fix_sum(memory, address, length, 9);
}

static void put_root(struct memory *memory, uint64_t address, const char *signature,
                     int entry_bytes, const uint64_t *entries, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        store(memory, address + 36 + i * (uint32_t)entry_bytes, entries[i], entry_bytes);
    put_table(memory, address, signature, 36 + count * (uint32_t)entry_bytes, 0);
}

static void fix_rsdp(struct memory *memory)
{
    fix_sum(memory, RSDP, 20, 8);
    fix_sum(memory, RSDP, 36, 32);
}

static void put_rsdp(struct memory *memory, uint8_t revision, uint64_t rsdt, uint64_t xsdt)
{
    memcpy(at(memory, RSDP), "RSD PTR ", 8);
    at(memory, RSDP)[15] = revision;
    store(memory, RSDP + 16, rsdt, 4);
    store(memory, RSDP + 20, revision < 2 ? 0 : 36, 4);
    store(memory, RSDP + 24, xsdt, 8);
    fix_rsdp(memory);
}

// The machine of most tests: an RSDT that lists MADT_A and MADT_B, an XSDT that lists MADT_C and
// MADT_B.
static int setup(void **state)
{
    struct memory *memory = calloc(1, sizeof *memory);
    assert_non_null(memory);
    put_table(memory, MADT_A, "APIC", 100, 'A');
    put_table(memory, MADT_B, "APIC", 101, 'B');
    put_table(memory, MADT_C, "APIC", 102, 'C');
    put_table(memory, OTHER, "FACP", 36, 'F');
    put_root(memory, RSDT, "RSDT", 4, (const uint64_t[]){OTHER, MADT_A, MADT_B}, 3);
    put_root(memory, XSDT, "XSDT", 8, (const uint64_t[]){OTHER, MADT_C, MADT_B}, 3);
    put_rsdp(memory, 2, RSDT, XSDT);
    *state = memory;
    return 0;
}

static void forget(struct memory *memory)
{
    while (memory->view_count > 0)
        free(memory->views[--memory->view_count]);
    memory->words[0] = '\0';
}

static int teardown(void **state)
{
    forget(*state);
    free(*state);
    return 0;
}

static void tell(void *context, enum severity severity, const char *what, const char *detail)
{
    struct memory *memory = context;
    assert_true(strlen(detail) > 10);
    assert_true(strlen(memory->words) + strlen(what) + 4 < sizeof memory->words);
    strcat(memory->words, severity == SEVERITY_ERROR ? "e:" : "w:");
    strcat(memory->words, what);
    strcat(memory->words, " ");
}

static enum status find_at(struct memory *memory, uint64_t rsdp, const char *signature,
                           uint32_t instance, struct acpi_table *table)
{
    struct phys phys = {view, &memory};
    struct problems problems = {tell, memory};
    forget(memory);
    return acpi_find_table(&phys, rsdp, signature, instance, &problems, table);
}

// Finds a MADT and says by its mark which one it was.
static char find_madt(struct memory *memory, uint32_t instance)
{
    struct acpi_table table;
    enum status status = find_at(memory, RSDP, "APIC", instance, &table);
    if (status != STATUS_OK)
        return status == STATUS_NOT_FOUND ? '-' : '!';
    assert_int_equal(table.length, acpi_load32(table.bytes + 4));
    return (char)table.bytes[10];
}

static void expect(struct memory *memory, char found, const char *words)
{
    assert_int_equal(find_madt(memory, 0), found);
    assert_string_equal(memory->words, words);
}

static void test_xsdt_of_revision_2(void **state)
{
    struct memory *memory = *state;
    expect(memory, 'C', "");
    assert_int_equal(find_madt(memory, 1), 'B');
    assert_int_equal(find_madt(memory, 2), '-');
    assert_int_equal(find_madt(memory, UINT32_MAX), '-');
    assert_string_equal(memory->words, "");
    struct acpi_table table;
    assert_int_equal(find_at(memory, RSDP, "FACP", 0, &table), STATUS_OK);
    assert_int_equal(table.length, 36);
    assert_int_equal(find_at(memory, RSDP, "DMAR", 0, &table), STATUS_NOT_FOUND);
}

static void test_rsdt_of_revisions_0_and_1(void **state)
{
    struct memory *memory = *state;
    for (uint8_t revision = 0; revision <= 1; revision++) {
        put_rsdp(memory, revision, RSDT, XSDT);
        expect(memory, 'A', "");
        assert_int_equal(find_madt(memory, 1), 'B');
    }
}

// An RSDP of revision 0 may be the last 20 bytes of memory.
static void test_revision_0_at_the_end_of_memory(void **state)
{
    struct memory *memory = *state;
    struct acpi_table table;
    uint64_t last = LOW + PIECE - 20;
    put_rsdp(memory, 0, RSDT, 0);
    memcpy(at(memory, last), at(memory, RSDP), 20);
    assert_int_equal(find_at(memory, last, "APIC", 0, &table), STATUS_OK);
    assert_string_equal(memory->words, "");
    at(memory, last)[15] = 2;
    fix_sum(memory, last, 20, 8);
    assert_int_equal(find_at(memory, last, "APIC", 0, &table), STATUS_OK);
    assert_string_equal(memory->words, "w:rsdp-length ");
    assert_int_equal(find_at(memory, last + 1, "APIC", 0, &table), STATUS_INVALID);
}

static void test_no_rsdp(void **state)
{
    struct memory *memory = *state;
    struct acpi_table table;
    static const uint64_t wrong[] = {0,       LOW - 1, LOW + 1,        LOW + PIECE,
                                     NOWHERE, HIGH,    UINT64_MAX - 8, UINT64_MAX};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(find_at(memory, wrong[i], "APIC", 0, &table), STATUS_INVALID);
        assert_string_equal(memory->words, "e:no-rsdp ");
    }
}

static void test_checksums_of_the_rsdp(void **state)
{
    struct memory *memory = *state;
    at(memory, RSDP)[33]++; // a reserved byte: only the extended checksum covers it
    expect(memory, 'A', "w:rsdp-checksum ");
    put_rsdp(memory, 2, 0, XSDT);
    at(memory, RSDP)[33]++;
    expect(memory, 'C', "w:rsdp-checksum w:no-root-table ");
    put_rsdp(memory, 0, RSDT, XSDT);
    at(memory, RSDP)[8]++;
    expect(memory, 'A', "w:rsdp-checksum ");
}

static void test_length_of_the_rsdp(void **state)
{
    struct memory *memory = *state;
    static const uint32_t wrong[] = {0, 20, 35, 4097, PIECE + 1, 0xffffffff};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        store(memory, RSDP + 20, wrong[i], 4);
        fix_rsdp(memory);
        expect(memory, 'A', "w:rsdp-length ");
    }
    store(memory, RSDP + 20, 40, 4); // longer than today's is no fault
    fix_sum(memory, RSDP, 20, 8);
    fix_sum(memory, RSDP, 40, 32);
    expect(memory, 'C', "");
}

static void test_bad_xsdt_gives_way_to_rsdt(void **state)
{
    struct memory *memory = *state;
    static const uint64_t wrong[] = {0, NOWHERE, MADT_C, UINT64_MAX, HIGH + PIECE - 35};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        put_rsdp(memory, 2, RSDT, wrong[i]);
        expect(memory, 'A', "w:no-root-table ");
    }
    put_rsdp(memory, 2, RSDT, XSDT);
    at(memory, XSDT)[9]++;
    expect(memory, 'A', "w:table-checksum ");
    store(memory, XSDT + 4, 35, 4);
    expect(memory, 'A', "w:no-root-table ");
    store(memory, XSDT + 4, 0xffffffff, 4);
    expect(memory, 'A', "w:table-cut ");
}

// Damaged, but all there is; what it lists is looked at, and what is no table there is told in one
// line.
static void test_damaged_root_is_better_than_none(void **state)
{
    struct memory *memory = *state;
    put_rsdp(memory, 2, 0, XSDT);
    at(memory, XSDT)[9]++;
    expect(memory, 'C', "w:table-checksum w:no-root-table ");
    store(memory, XSDT + 4, 0x10000000, 4);
    expect(memory, 'C', "w:table-cut w:no-root-table ");
    assert_int_equal(find_madt(memory, 2), '-');
    assert_string_equal(memory->words, "w:table-cut w:no-root-table w:table-nowhere ");
    put_rsdp(memory, 2, RSDT, XSDT);
    at(memory, RSDT)[9]++;
    expect(memory, 'C', "w:table-cut w:table-checksum ");
}

static void test_no_root_at_all(void **state)
{
    struct memory *memory = *state;
    put_rsdp(memory, 2, NOWHERE, NOWHERE);
    expect(memory, '!', "w:no-root-table w:no-root-table e:no-root-table ");
    put_rsdp(memory, 0, MADT_A, XSDT);
    expect(memory, '!', "w:no-root-table e:no-root-table ");
}

static void test_empty_and_uneven_roots(void **state)
{
    struct memory *memory = *state;
    put_root(memory, XSDT, "XSDT", 8, NULL, 0);
    expect(memory, '-', "");
    put_root(memory, XSDT, "XSDT", 8, (const uint64_t[]){OTHER, MADT_C}, 2);
    put_table(memory, XSDT, "XSDT", 36 + 15, 0); // the second entry lacks a byte
    expect(memory, '-', "");
}

static void test_entries_that_point_nowhere(void **state)
{
    struct memory *memory = *state;
    put_root(memory, XSDT, "XSDT", 8,
             (const uint64_t[]){0, NOWHERE, UINT64_MAX, LOW + PIECE - 35, MADT_B}, 5);
    expect(memory, 'B', "w:table-nowhere ");
    memcpy(at(memory, LOW + PIECE - 35), "APIC", 4); // all but the header's last byte
    store(memory, LOW + PIECE - 31, 100, 4);
    expect(memory, 'B', "w:table-nowhere ");
    store(memory, MADT_C + 4, 35, 4); // no room for its own header: not a table, and no instance
    put_root(memory, XSDT, "XSDT", 8, (const uint64_t[]){MADT_C, MADT_B}, 2);
    expect(memory, 'B', "w:table-nowhere ");
}

static void test_table_longer_than_memory(void **state)
{
    struct memory *memory = *state;
    static const uint32_t wrong[] = {PIECE - 0x100 + 1, 0x1000000, 0xffffffff};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct acpi_table table;
        store(memory, MADT_C + 4, wrong[i], 4);
        assert_int_equal(find_at(memory, RSDP, "APIC", 0, &table), STATUS_OK);
        assert_string_equal(memory->words, "w:table-cut ");
        assert_int_equal(table.length, PIECE - 0x100);
        assert_int_equal(acpi_sum(table.bytes, table.length),
                         acpi_sum(at(memory, MADT_C), PIECE - 0x100));
    }
    put_table(memory, MADT_C, "APIC", PIECE - 0x100, 'C'); // to the last byte
    expect(memory, 'C', "");
}

static void test_wrong_checksum_is_told(void **state)
{
    struct memory *memory = *state;
    at(memory, MADT_C)[9]--;
    expect(memory, 'C', "w:table-checksum ");
    assert_int_equal(find_madt(memory, 1), 'B'); // only the table asked for is summed
    assert_string_equal(memory->words, "");
}

// By hand, since the tables above are made right by the sum itself.
static void test_the_sum_is_of_every_byte(void **state)
{
    static const uint8_t bytes[] = {0xff, 2, 0x80, 0x81};

    (void)state;
    assert_int_equal(acpi_sum(bytes, 0), 0);
    assert_int_equal(acpi_sum(bytes, 1), 0xff);
    assert_int_equal(acpi_sum(bytes, 2), 1);
    assert_int_equal(acpi_sum(bytes, 3), 0x81);
    assert_int_equal(acpi_sum(bytes, 4), 2);
}

int main(void)
{
#define WITH_MEMORY(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_MEMORY(test_xsdt_of_revision_2),
        WITH_MEMORY(test_rsdt_of_revisions_0_and_1),
        WITH_MEMORY(test_revision_0_at_the_end_of_memory),
        WITH_MEMORY(test_no_rsdp),
        WITH_MEMORY(test_checksums_of_the_rsdp),
        WITH_MEMORY(test_length_of_the_rsdp),
        WITH_MEMORY(test_bad_xsdt_gives_way_to_rsdt),
        WITH_MEMORY(test_damaged_root_is_better_than_none),
        WITH_MEMORY(test_no_root_at_all),
        WITH_MEMORY(test_empty_and_uneven_roots),
        WITH_MEMORY(test_entries_that_point_nowhere),
        WITH_MEMORY(test_table_longer_than_memory),
        WITH_MEMORY(test_wrong_checksum_is_told),
        cmocka_unit_test(test_the_sum_is_of_every_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
