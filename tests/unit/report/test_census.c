// MP Services beside the MADT beside the processors: agreement is silent, and each disagreement has
// a name.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "census.h"
#include "fake_machine.h"
#include "told.h"

#define CPUS 4u

static struct told told;
static struct fake_machine fake;
static struct cpu cpus[CPUS];
static struct census_entry entries[CPUS + 1];
static struct wake wake;

// IDs 0, 2, 4, 6; nobody has spoken yet.
static void start(void)
{
    struct machine *machine = &fake.machine;

    fake_machine_start(&fake, CPUS, 0, NULL);
    wake = (struct wake){.arena = &fake.arena};
    memset(entries, 0, sizeof entries);
    for (uint32_t i = 0; i < CPUS; i++) {
        arena_lcpu(&fake.arena, i)->lcpu.apic_id = 2 * i;
        arena_table(&fake.arena)[i].apic_id = 2 * i;
        cpus[i] = (struct cpu){.apic_id = 2 * i};
        // As firmware may list them: in another order.
        entries[CPUS - 1 - i] = (struct census_entry){.apic_id = 2 * i,
                                                      .handle = i,
                                                      .bsp = i == 0,
                                                      .enabled = true,
                                                      .healthy = true,
                                                      .core = i};
    }
    machine->bsp_apic_id = 0;
    machine->inventory = (struct inventory){.cpus = cpus, .count = CPUS, .enabled = CPUS};
}

static void speak(uint32_t slot, uint32_t package, uint32_t core, uint32_t thread)
{
    struct lcpu *lcpu = &arena_lcpu(&fake.arena, slot)->lcpu;
    lcpu->location_known = 1;
    lcpu->package = package;
    lcpu->core = core;
    lcpu->thread = thread;
}

static uint32_t compare(size_t count, const struct wake *who)
{
    const struct problems problems = told_listen(&told);
    const uint32_t found = census_compare(entries, count, &fake.machine, who, &problems);
    assert_int_equal(found, told.count);
    fake_machine_stop(&fake);
    return found;
}

static void check_one(const char *text)
{
    assert_int_equal(compare(CPUS, &wake), 1);
    assert_int_equal(told_times(&told, "mp-disagrees", text), 1);
}

static struct census_entry *entry_of(uint32_t cpu)
{
    return &entries[CPUS - 1 - cpu];
}

static void test_agreement(void **state)
{
    (void)state;
    start();
    speak(1, 0, 1, 0);
    assert_int_equal(compare(CPUS, &wake), 0);
    start();
    assert_int_equal(compare(CPUS, NULL), 0);
}

static void test_location(void **state)
{
    (void)state;
    start();
    speak(3, 1, 3, 0);
    check_one("CPU 3, APIC ID 6: its own CPUID");
}

static void test_enabled(void **state)
{
    (void)state;
    start();
    entry_of(2)->enabled = false;
    check_one("CPU 2, APIC ID 4: enabled in the MADT, disabled by MP Services");
    start();
    cpus[2].listing = CPU_DISABLED;
    check_one("CPU 2, APIC ID 4: disabled in the MADT, enabled by MP Services");
}

static void test_health(void **state)
{
    (void)state;
    start();
    entry_of(1)->healthy = false;
    check_one("failed its self-test");
}

// Both processors of a confusion about the BSP are named.
static void test_bsp(void **state)
{
    (void)state;
    start();
    entry_of(0)->bsp = false;
    entry_of(1)->bsp = true;
    assert_int_equal(compare(CPUS, &wake), 2);
    assert_int_equal(told_times(&told, "mp-disagrees", "CPU 0, APIC ID 0: we run on it"), 1);
    assert_int_equal(told_times(&told, "mp-disagrees", "CPU 1, APIC ID 2: MP Services calls it"),
                     1);
}

static void test_counts(void **state)
{
    (void)state;
    start();
    memmove(&entries[1], &entries[2], 2 * sizeof entries[0]); // CPU 2 is not there
    assert_int_equal(compare(CPUS - 1, &wake), 1);
    assert_int_equal(
        told_times(&told, "mp-disagrees", "CPU 2, APIC ID 4: enabled in the MADT, unknown"), 1);
    start();
    entries[CPUS] =
        (struct census_entry){.apic_id = 9, .handle = 7, .enabled = true, .healthy = true};
    assert_int_equal(compare(CPUS + 1, &wake), 1);
    assert_int_equal(told_times(&told, "mp-disagrees", "APIC ID 9: known to MP Services"), 1);
}

// Two handles with one ID: one of the two is false, or both are.
static void test_a_duplicate(void **state)
{
    (void)state;
    start();
    entries[CPUS] = *entry_of(2);
    entries[CPUS].handle = 9;
    assert_int_equal(compare(CPUS + 1, &wake), 2); // and one of them finds no entry in the MADT
    assert_int_equal(told_times(&told, "mp-disagrees", "APIC ID 4: two handles"), 1);
}

// Where the list is MP Services' own there is no MADT to disagree with; who runs and who failed its
// self-test is told all the same.
static void test_no_madt(void **state)
{
    (void)state;
    start();
    fake.machine.inventory.source = INVENTORY_MP_SERVICES;
    fake.machine.inventory.count--; // CPU 3 was passed over
    entry_of(2)->enabled = false;
    cpus[1].listing = CPU_DISABLED;
    assert_int_equal(compare(CPUS, &wake), 0);
    start();
    fake.machine.inventory.source = INVENTORY_MP_SERVICES;
    entry_of(0)->bsp = entry_of(2)->healthy = false;
    assert_int_equal(compare(CPUS, &wake), 2);
    start();
    fake.machine.inventory.source = INVENTORY_MP_SERVICES;
    memmove(&entries[1], &entries[2], 2 * sizeof entries[0]); // the BSP's own was added
    assert_int_equal(compare(CPUS - 1, &wake), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agreement),   cmocka_unit_test(test_location),
        cmocka_unit_test(test_enabled),     cmocka_unit_test(test_health),
        cmocka_unit_test(test_bsp),         cmocka_unit_test(test_counts),
        cmocka_unit_test(test_a_duplicate), cmocka_unit_test(test_no_madt),
    };
    return cmocka_run_group_tests_name("census", tests, NULL, NULL);
}
