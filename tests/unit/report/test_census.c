// MP Services beside the MADT beside the processors: agreement is silent, and each disagreement has
// a name.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "census.h"
#include "fake_evidence.h"
#include "heard.h"
#include "told.h"

#define CPUS 4u

static struct told told;
static struct machine machine;
static struct fake_evidence fake;
static struct cpu cpus[CPUS];
static struct census_entry entries[CPUS + 1];

// IDs 0, 2, 4, 6; nobody has spoken yet.
static void start(void)
{
    fake_evidence_start(&fake, CPUS);
    memset(entries, 0, sizeof entries);
    for (uint32_t i = 0; i < CPUS; i++) {
        fake.accounts[i].apic_id = 2 * i;
        cpus[i] = (struct cpu){.apic_id = 2 * i};
        // As firmware may list them: in another order.
        entries[CPUS - 1 - i] = (struct census_entry){.apic_id = 2 * i,
                                                      .handle = i,
                                                      .bsp = i == 0,
                                                      .enabled = true,
                                                      .healthy = true,
                                                      .core = i};
    }
    machine = (struct machine){.bsp_apic_id = 0,
                               .inventory = {.cpus = cpus, .count = CPUS, .enabled = CPUS}};
}

static void speak(uint32_t slot, uint32_t package, uint32_t core, uint32_t thread)
{
    fake.hellos[slot] = (struct hello){
        .place = {.package = package, .core = core, .thread = thread}, .known = true};
}

static size_t compare(size_t count, const struct evidence *evidence)
{
    const struct problems problems = told_listen(&told);

    census_compare(entries, count, &machine, evidence, &problems);
    return told.count;
}

static void check_one(const char *text)
{
    assert_int_equal(compare(CPUS, &fake.evidence), 1);
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
    assert_int_equal(compare(CPUS, &fake.evidence), 0);
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
    assert_int_equal(compare(CPUS, &fake.evidence), 2);
    assert_int_equal(told_times(&told, "mp-disagrees", "CPU 0, APIC ID 0: we run on it"), 1);
    assert_int_equal(told_times(&told, "mp-disagrees", "CPU 1, APIC ID 2: MP Services calls it"),
                     1);
}

static void test_counts(void **state)
{
    (void)state;
    start();
    memmove(&entries[1], &entries[2], 2 * sizeof entries[0]); // CPU 2 is not there
    assert_int_equal(compare(CPUS - 1, &fake.evidence), 1);
    assert_int_equal(
        told_times(&told, "mp-disagrees", "CPU 2, APIC ID 4: enabled in the MADT, unknown"), 1);
    start();
    entries[CPUS] =
        (struct census_entry){.apic_id = 9, .handle = 7, .enabled = true, .healthy = true};
    assert_int_equal(compare(CPUS + 1, &fake.evidence), 1);
    assert_int_equal(told_times(&told, "mp-disagrees", "APIC ID 9: known to MP Services"), 1);
    entries[CPUS].enabled = false; // one that firmware has switched off is still one too many
    assert_int_equal(compare(CPUS + 1, &fake.evidence), 1);
    assert_int_equal(told_times(&told, "mp-disagrees", "APIC ID 9: known to MP Services"), 1);
}

// Two handles with one ID: one of the two is false, or both are. The first is held against the
// MADT, and neither is said to be missing there.
static void test_a_duplicate(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 2; i++) {
        start();
        entries[CPUS] = *entry_of(2);
        entries[CPUS].handle = 9;
        entries[i == 0 ? CPUS - 1 - 2 : CPUS].enabled = false;
        assert_int_equal(compare(CPUS + 1, &fake.evidence), i == 0 ? 2 : 1);
        assert_int_equal(told_times(&told, "mp-disagrees", "CPU 9, APIC ID 4: two handles"), 1);
        assert_int_equal(told_times(&told, "mp-disagrees", "disabled by MP Services"), i == 0);
    }
}

// Where the list is MP Services' own there is no MADT to disagree with; who runs and who failed its
// self-test is told all the same.
static void test_no_madt(void **state)
{
    (void)state;
    start();
    machine.inventory.source = INVENTORY_MP_SERVICES;
    machine.inventory.count--; // CPU 3 was passed over
    entry_of(2)->enabled = false;
    cpus[1].listing = CPU_DISABLED;
    assert_int_equal(compare(CPUS, &fake.evidence), 0);
    start();
    machine.inventory.source = INVENTORY_MP_SERVICES;
    entry_of(0)->bsp = entry_of(2)->healthy = false;
    assert_int_equal(compare(CPUS, &fake.evidence), 2);
    start();
    machine.inventory.source = INVENTORY_MP_SERVICES;
    memmove(&entries[1], &entries[2], 2 * sizeof entries[0]); // the BSP's own was added
    assert_int_equal(compare(CPUS - 1, &fake.evidence), 0);
}

// ---- the records ----

static void test_records(void **state)
{
    static struct heard heard;

    (void)state;
    start();
    fake.accounts[1].cpu = 5;
    speak(1, 3, 2, 1);
    entry_of(3)->enabled = entry_of(3)->healthy = false;
    assert_int_equal(compare(CPUS, &fake.evidence), 3);
    assert_int_equal(told_times(&told, "mp-disagrees", "CPU 5, APIC ID 2: its own CPUID"), 1);
    census_report(heard_start(&heard, LOG_QUIET), entries, 2, &fake.evidence);
    assert_string_equal(
        heard.text,
        "REVEILLE ev=mp handle=0 apic=0x0 bsp=1 enabled=1 healthy=1 package=0 core=0 thread=0\n"
        "REVEILLE ev=mp handle=1 apic=0x2 bsp=0 enabled=1 healthy=1 package=0 core=1 thread=0 "
        "own_apic=0x2 own_package=3 own_core=2 own_thread=1\n");
    census_report(heard_start(&heard, LOG_QUIET), &entries[3], 1, NULL);
    assert_string_equal(heard.text, "REVEILLE ev=mp handle=3 apic=0x6 bsp=0 enabled=0 healthy=0 "
                                    "package=0 core=3 thread=0\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agreement),   cmocka_unit_test(test_location),
        cmocka_unit_test(test_enabled),     cmocka_unit_test(test_health),
        cmocka_unit_test(test_bsp),         cmocka_unit_test(test_counts),
        cmocka_unit_test(test_a_duplicate), cmocka_unit_test(test_no_madt),
        cmocka_unit_test(test_records),
    };
    return cmocka_run_group_tests_name("census", tests, NULL, NULL);
}
