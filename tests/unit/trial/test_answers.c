// May firmware be asked for its processors? It waits without end for one that ignores INIT, so the
// evidence that each left decides, and not what was expected of it.

#include "fake_aps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "census.h"
#include "examine.h"

#define CPUS   4u
#define SILENT 2u // the CPU that most tests are about

static struct fake_aps aps;
static struct census_entry entries[CPUS];
static size_t count;

static void fail_test(const char *message)
{
    fail_msg("%s", message);
}

static int set_up(void **state)
{
    (void)state;
    fake_on_failure(fail_test);
    fake_aps_open(&aps, CPUS);
    aps.options.retries = 0;
    aps.options.timeout_us = 1000;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_aps_close(&aps);
    return 0;
}

static void round_once(uint32_t up)
{
    struct wake_result result;
    wake_round(&aps.wake, &result);
    assert_int_equal(result.up, up);
}

// MP Services has all of them, enabled, in another order than ours.
static void prepare(void)
{
    fake_aps_prepare(&aps);
    fake_aps_fill_page(&aps);
    count = CPUS;
    for (uint32_t i = 0; i < CPUS; i++)
        entries[CPUS - 1 - i] = (struct census_entry){
            .apic_id = aps.aps[i].apic_id, .handle = i, .enabled = true, .healthy = true};
}

static void wake_without_one(void)
{
    aps.aps[SILENT].deaf_inits = UINT32_MAX;
    prepare();
    round_once(CPUS - 2);
}

static bool allowed(void)
{
    return census_allows_asking(entries, count, &aps.wake);
}

static struct lcpu *silent(void)
{
    return &arena_lcpu(&aps.arena, SILENT)->lcpu;
}

static void test_all_came(void **state)
{
    (void)state;
    prepare();
    round_once(CPUS - 1);
    assert_true(allowed());
}

static void test_one_is_silent(void **state)
{
    (void)state;
    wake_without_one();
    assert_false(allowed());
}

// Of whom it does not know, or has disabled, firmware waits for nothing.
static void test_one_that_is_not_firmwares(void **state)
{
    (void)state;
    wake_without_one();
    entries[CPUS - 1 - SILENT].enabled = false;
    assert_true(allowed());
    entries[SILENT].enabled = true; // sorted by now
    assert_false(allowed());
    entries[SILENT].apic_id = 77;
    assert_true(allowed());
}

static void test_it_came_in_another_round(void **state)
{
    (void)state;
    aps.aps[SILENT].heard_inits = 1;
    prepare();
    round_once(CPUS - 1);
    round_once(CPUS - 2);
    assert_true(allowed());
    round_once(CPUS - 2);
    assert_true(allowed());
}

static void test_a_mark_of_its_own(void **state)
{
    (void)state;
    wake_without_one();
    trampoline_set_mark(aps.wake.page_view, aps.aps[SILENT].apic_id, STAGE_REAL);
    assert_true(allowed());
}

static void test_a_mark_that_may_be_anothers(void **state)
{
    (void)state;
    aps.aps[3].apic_id = SILENT + 1024;
    wake_without_one();
    trampoline_set_mark(aps.wake.page_view, aps.aps[SILENT].apic_id, STAGE_REAL);
    assert_false(allowed());
}

static void test_a_stage_or_a_fault(void **state)
{
    (void)state;
    wake_without_one();
    atomic_store(&silent()->state, aps.wake.generation << STATE_STAGE_BITS | STAGE_PROTECTED);
    assert_true(allowed());
    atomic_store(&silent()->state, STAGE_NONE);
    assert_false(allowed());
    atomic_store(&silent()->fault.valid, 1);
    assert_true(allowed());
}

static void test_it_came_and_found_no_record(void **state)
{
    (void)state;
    wake_without_one();
    atomic_store(&arena_rally(&aps.arena)->unlisted_count, 1);
    assert_false(allowed()); // somebody did, and has not said yet which it is
    arena_rally(&aps.arena)->unlisted_ids[0] = aps.aps[SILENT].apic_id;
    assert_true(allowed());
}

// Its silence was made on purpose; another fault on purpose explains no silence.
static void test_on_purpose(void **state)
{
    static const enum fault_kind silencing[] = {FAULT_NO_INIT, FAULT_NO_SIPI, FAULT_LOST_SIPI,
                                                FAULT_BAD_VECTOR};
    (void)state;
    wake_without_one();
    for (size_t i = 0; i < sizeof silencing / sizeof silencing[0]; i++) {
        arena_account(&aps.arena, SILENT)->faults = 1u << silencing[i];
        assert_true(allowed());
    }
    arena_account(&aps.arena, SILENT)->faults = 1u << FAULT_MUTE;
    assert_false(allowed());
    arena_account(&aps.arena, 1)->faults = 1u << FAULT_NO_SIPI; // somebody else's
    assert_false(allowed());
    arena_account(&aps.arena, 0)->faults = 1u << FAULT_BAD_COPY; // everybody's
    assert_true(allowed());
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_all_came),
        TEST(test_one_is_silent),
        TEST(test_one_that_is_not_firmwares),
        TEST(test_it_came_in_another_round),
        TEST(test_a_mark_of_its_own),
        TEST(test_a_mark_that_may_be_anothers),
        TEST(test_a_stage_or_a_fault),
        TEST(test_it_came_and_found_no_record),
        TEST(test_on_purpose),
    };
    return cmocka_run_group_tests_name("answers", tests, NULL, NULL);
}
