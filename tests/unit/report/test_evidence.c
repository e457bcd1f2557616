// Evidence of a real engine: whatever its processors do afterwards, what was taken stays.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "failing.h"
#include "evidence.h"
#include "fake_aps.h"
#include "outcome.h"

#define CPUS 4u

static struct fake_aps aps;
static struct smp_account accounts[CPUS];
static struct hello hellos[CPUS];
static struct evidence evidence;

static int set_up(void **state)
{
    (void)state;
    failures_fail_the_test();
    fake_aps_open(&aps, CPUS);
    aps.options.retries = 0;
    aps.options.timeout_us = 1000;
    evidence = (struct evidence){.accounts = accounts, .hellos = hellos};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_aps_close(&aps);
    return 0;
}

static void wake(void)
{
    struct smp_round round;

    smp_wake(aps.smp, &round);
    (void)smp_take_turns(aps.smp);
    evidence_take(aps.smp, &evidence);
}

static void test_all_came(void **state)
{
    (void)state;
    fake_aps_prepare(&aps);
    wake();
    wake();
    assert_int_equal(evidence.count, CPUS);
    assert_int_equal(evidence.rounds, 2);
    assert_int_equal(evidence.unlisted, 0);
    for (uint32_t slot = 0; slot < CPUS; slot++) {
        assert_int_equal(accounts[slot].slot, slot);
        assert_ptr_equal(evidence_find(&evidence, aps.aps[slot].apic_id), &accounts[slot]);
        assert_int_equal(accounts[slot].done, slot > 0);
    }
    assert_null(evidence_find(&evidence, 77));
    assert_true(outcome_of(&evidence).ok);
}

// It comes while the report is being written, and the report goes on to say that it had not.
static void test_what_comes_later_changes_nothing(void **state)
{
    (void)state;
    aps.aps[2].to_c_ticks = 3000 * FAKE_TICKS_PER_US;
    fake_aps_prepare(&aps);
    wake();
    assert_int_equal(accounts[2].stage, SMP_STAGE_PROTECTED);
    assert_int_equal(smp_verdict(&accounts[2]), SMP_CAUSE_STOPPED_IN_PROTECTED);
    fake_aps_let_pass(&aps, 3000);
    assert_int_equal(smp_examine(aps.smp, 2).stage, SMP_STAGE_READY);
    assert_int_equal(accounts[2].stage, SMP_STAGE_PROTECTED);
    assert_int_equal(outcome_of(&evidence).failed, 1);
    evidence_take(aps.smp, &evidence);
    assert_int_equal(smp_verdict(&accounts[2]), SMP_CAUSE_LATE);
}

static void test_who_is_in_no_table(void **state)
{
    (void)state;
    aps.options.wake = SMP_BROADCAST;
    aps.hidden = 2;
    aps.aps[CPUS].apic_id = 0x41;
    aps.aps[CPUS + 1].apic_id = 2000;
    fake_aps_prepare(&aps);
    wake();
    assert_int_equal(evidence.unlisted, 2);
    assert_int_equal(evidence_named(&evidence), 2);
    assert_true(evidence_came_unlisted(&evidence, 0x41));
    assert_true(evidence_came_unlisted(&evidence, 2000));
    assert_false(evidence_came_unlisted(&evidence, 1));
    assert_int_equal(outcome_of(&evidence).want, CPUS - 1);
    assert_true(outcome_of(&evidence).ok);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_all_came),
        TEST(test_what_comes_later_changes_nothing),
        TEST(test_who_is_in_no_table),
    };
    return cmocka_run_group_tests_name("evidence", tests, NULL, NULL);
}
