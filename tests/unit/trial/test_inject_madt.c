// Faults of the MADT: what the inventory reads in the edited copy, and that there is no copy
// without such a fault.
#include "inject.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "madt_edit.h"
#include "told.h"

#define CPUS     4u // with the APIC IDs 0, 2, 4, 6
#define CPUS_MAX 300u

static struct cpu listed[CPUS_MAX], found[CPUS_MAX];
static struct inventory before, after;
static struct options options;

static void read_table(const struct acpi_table *table, struct inventory *inventory)
{
    static uint64_t keys[CPUS_MAX];
    const struct problems nobody = {problems_ignore, NULL};

    assert_int_equal(inventory_read(table, 0, keys, &nobody, inventory), STATUS_OK);
    assert_true(inventory->checksum_ok);
}

// Reads what these options make of a table of `count` processors. False: they leave it alone.
static bool edit(size_t count, const char *text)
{
    static uint8_t madt[44 + CPUS_MAX * 16], copy[sizeof madt + INJECTIONS_MAX * 16];
    const struct acpi_table table = madt_make(listed, count, madt);
    struct told told;
    const struct problems problems = told_listen(&told);
    struct acpi_table edited;

    options_set_defaults(&options);
    assert_int_equal(options_parse(text, strlen(text), "test", &problems, &options), STATUS_OK);
    before = after = (struct inventory){.cpus = found, .capacity = CPUS_MAX};
    read_table(&table, &before);
    assert_true(inject_madt_bytes(&table) < sizeof copy);
    memset(copy, 0xa5, sizeof copy);
    if (!inject_edit_madt(&table, &before, &options, copy, &edited)) {
        assert_int_equal(copy[0], 0xa5);
        return false;
    }
    assert_int_equal(copy[inject_madt_bytes(&table)], 0xa5); // and not one byte more
    read_table(&edited, &after);
    return true;
}

static bool has(uint32_t apic_id)
{
    for (uint32_t cpu = 0; cpu < after.enabled; cpu++) {
        if (found[cpu].apic_id == apic_id)
            return true;
    }
    return false;
}

static int set_up(void **state)
{
    (void)state;
    for (uint32_t cpu = 0; cpu < CPUS_MAX; cpu++)
        listed[cpu] = (struct cpu){.apic_id = 2 * cpu, .uid = cpu, .listing = CPU_LISTED};
    return 0;
}

static void test_ghosts(void **state)
{
    (void)state;
    assert_true(edit(CPUS, "inject=ghost"));
    assert_int_equal(after.enabled, CPUS + 1);
    assert_true(has(0xfe)); // the highest that an xAPIC can address
    assert_true(edit(CPUS, "inject=ghost,ghost"));
    assert_int_equal(after.enabled, CPUS + 2);
    assert_int_equal(after.duplicate, 0);
    assert_true(has(0xfe) && has(0xfd));
}

// Where all of them are taken, above the broadcast ID.
static void test_a_ghost_among_many(void **state)
{
    (void)state;
    for (uint32_t cpu = 0; cpu < CPUS_MAX; cpu++)
        listed[cpu].apic_id = cpu < 0xff ? cpu : cpu + 1;
    assert_true(edit(0xff, "inject=ghost"));
    assert_int_equal(after.enabled, 0xff + 1);
    assert_true(has(0x100));
    assert_true(edit(0x100, "inject=ghost"));
    assert_true(has(0x101));
}

static void test_a_duplicate(void **state)
{
    (void)state;
    assert_true(edit(CPUS, "inject=duplicate:2"));
    assert_int_equal(after.enabled, CPUS);
    assert_int_equal(after.duplicate, 1);
}

static void test_an_unlisted(void **state)
{
    (void)state;
    assert_true(edit(CPUS, "inject=unlisted:1"));
    assert_int_equal(after.enabled, CPUS - 1);
    assert_false(has(2));
    assert_true(edit(CPUS, "inject=unlisted,ghost,unlisted:9")); // the last one, twice
    assert_int_equal(after.enabled, CPUS);
    assert_false(has(6));
    assert_true(has(0xfe));
}

static void test_nothing_to_edit(void **state)
{
    (void)state;
    assert_false(edit(CPUS, "inject=late:1,no-low-page,bad-copy"));
    assert_false(edit(CPUS, ""));
    assert_false(edit(1, "inject=unlisted")); // the BSP alone
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_ghosts, set_up),
        cmocka_unit_test_setup(test_a_ghost_among_many, set_up),
        cmocka_unit_test_setup(test_a_duplicate, set_up),
        cmocka_unit_test_setup(test_an_unlisted, set_up),
        cmocka_unit_test_setup(test_nothing_to_edit, set_up),
    };

    return cmocka_run_group_tests_name("inject_madt", tests, NULL, NULL);
}
