// May firmware be asked for its processors? It waits without end for one that ignores INIT, so the
// evidence that each left decides, and not what was expected of it.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "census.h"
#include "fake_evidence.h"

#define CPUS   4u
#define SILENT 2u // the CPU that most tests are about

static struct fake_evidence fake;
static struct census_entry entries[CPUS];
static struct smp_cpu cpus[CPUS] = {{0, 0}, {1, 1}, {2, 2}, {3, 3}};
static const struct plan plan = {.want = CPUS - 1, .cpus = cpus};
static struct injection faults[1];
static struct injector injector;

// MP Services has all of them, enabled, in another order than ours. One of them never answered.
static int set_up(void **state)
{
    (void)state;
    fake_evidence_start(&fake, CPUS);
    fake.accounts[SILENT] =
        (struct smp_account){.slot = SILENT, .cpu = SILENT, .apic_id = SILENT, .lost = 1};
    for (uint32_t i = 0; i < CPUS; i++)
        entries[CPUS - 1 - i] =
            (struct census_entry){.apic_id = i, .handle = i, .enabled = true, .healthy = true};
    injector = (struct injector){.plan = &plan};
    return 0;
}

static bool allowed(void)
{
    return census_allows_asking(entries, CPUS, &fake.evidence, &injector);
}

static struct smp_account *silent(void)
{
    return &fake.accounts[SILENT];
}

static void test_all_came(void **state)
{
    (void)state;
    *silent() = fake_account(SILENT, SILENT);
    assert_true(allowed());
}

static void test_one_is_silent(void **state)
{
    (void)state;
    assert_false(allowed());
}

// Of whom it does not know, or has disabled, firmware waits for nothing.
static void test_one_that_is_not_firmwares(void **state)
{
    (void)state;
    entries[CPUS - 1 - SILENT].enabled = false;
    assert_true(allowed());
    entries[SILENT].enabled = true; // sorted by now
    assert_false(allowed());
    entries[SILENT].apic_id = 77;
    assert_true(allowed());
}

// Two handles have its ID, and firmware waits for the one that is enabled, whichever that is.
static void test_two_handles_have_its_id(void **state)
{
    for (uint32_t handle = 0; handle < 2; handle++) {
        (void)set_up(state);
        entries[0].apic_id = SILENT; // CPU 3's; 2 and 3 are the handles now
        entries[handle].enabled = false;
        assert_false(allowed());
        entries[SILENT].enabled = entries[SILENT + 1].enabled = false; // sorted by now
        assert_true(allowed());
    }
}

static void test_it_came_in_another_round(void **state)
{
    (void)state;
    fake.evidence.rounds = 3;
    silent()->lost = 3;
    assert_false(allowed());
    silent()->lost = 2;
    assert_true(allowed());
}

static void test_it_came_late(void **state)
{
    (void)state;
    silent()->done = true;
    assert_true(allowed());
    silent()->done = false;
    silent()->arrived = true;
    assert_true(allowed());
}

static void test_a_mark_of_its_own(void **state)
{
    (void)state;
    silent()->mark = SMP_STAGE_REAL;
    assert_true(allowed());
    silent()->mark_shared = true; // it may be another's
    assert_false(allowed());
}

static void test_a_stage_or_a_fault(void **state)
{
    (void)state;
    silent()->stage = SMP_STAGE_PROTECTED;
    assert_true(allowed());
    silent()->stage = SMP_STAGE_NONE;
    assert_false(allowed());
    silent()->fault.valid = true;
    assert_true(allowed());
}

static void test_it_came_and_found_no_record(void **state)
{
    (void)state;
    fake_evidence_add_unlisted(&fake, SMP_NO_ID);
    assert_false(allowed()); // somebody did, and has not said yet which it is
    silent()->stray = true;
    assert_true(allowed());
}

// Its silence was made on purpose; another fault on purpose explains no silence.
static void test_on_purpose(void **state)
{
    static const struct {
        struct injection fault;
        bool excused;
    } rows[] = {
        {{FAULT_NO_INIT, SILENT}, true},         {{FAULT_NO_SIPI, SILENT}, true},
        {{FAULT_LOST_SIPI, SILENT}, true},       {{FAULT_BAD_VECTOR, SILENT}, true},
        {{FAULT_MUTE, SILENT}, false},           {{FAULT_NO_SIPI, 1}, false}, // somebody else's
        {{FAULT_BAD_COPY, FAULT_ANY_CPU}, true},                              // everybody's
    };

    (void)state;
    injector.faults = faults;
    injector.count = 1;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        faults[0] = rows[i].fault;
        assert_int_equal(allowed(), rows[i].excused);
    }
}

#define TEST(function) cmocka_unit_test_setup(function, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_all_came),
        TEST(test_one_is_silent),
        TEST(test_one_that_is_not_firmwares),
        TEST(test_two_handles_have_its_id),
        TEST(test_it_came_in_another_round),
        TEST(test_it_came_late),
        TEST(test_a_mark_of_its_own),
        TEST(test_a_stage_or_a_fault),
        TEST(test_it_came_and_found_no_record),
        TEST(test_on_purpose),
    };
    return cmocka_run_group_tests_name("answers", tests, NULL, NULL);
}
