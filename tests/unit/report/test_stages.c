// From stamps to spans: what each is measured from, whose do not count, and what is too long.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fake_evidence.h"
#include "stages.h"

#define APS 3u

static const struct clock clock = {.tsc_hz = 2000000000}; // half a nanosecond a tick
static struct fake_evidence fake;
static uint32_t scratch[APS + 1];

// CPU 1 is in C after 100, 3, 6 and 9 us, and each further one after 100 us more.
static struct stages stages(void)
{
    return stages_of(&fake.evidence, &clock, scratch);
}

static int set_up(void **state)
{
    (void)state;
    fake_evidence_start(&fake, APS + 1);
    for (uint32_t slot = 1; slot <= APS; slot++) {
        struct smp_account *account = &fake.accounts[slot];
        account->started = 5000;
        account->tsc_real = 5000 + slot * 200000;
        account->tsc_protected = account->tsc_real + slot * 2000;
        account->tsc_long = account->tsc_real + slot * 4000;
        account->tsc_c = account->tsc_real + slot * 6000;
    }
    return 0;
}

static void assert_spread(struct spread spread, uint32_t min, uint32_t median, uint32_t max)
{
    assert_int_equal(spread.min, min);
    assert_int_equal(spread.median, median);
    assert_int_equal(spread.max, max);
}

// Real mode since the first message, each later stage since the AP's own first instruction.
static void test_all_came(void **state)
{
    const struct stages found = stages();

    (void)state;
    assert_int_equal(found.cpus, APS);
    assert_spread(found.real, 100000, 200000, 300000);
    assert_spread(found.protected, 1000, 2000, 3000);
    assert_spread(found.long_mode, 2000, 4000, 6000);
    assert_spread(found.c, 3000, 6000, 9000);
}

static void test_who_stopped_counts_as_far_as_it_came(void **state)
{
    (void)state;
    fake.accounts[1].stage = SMP_STAGE_PROTECTED;
    fake.accounts[2].stage = SMP_STAGE_LONG;
    fake.accounts[3].stage = SMP_STAGE_C;
    struct stages found = stages();
    assert_int_equal(found.cpus, 3);
    assert_spread(found.protected, 1000, 2000, 3000);
    assert_spread(found.long_mode, 4000, 4000, 6000);
    assert_spread(found.c, 9000, 9000, 9000);
    fake.accounts[3].stage = SMP_STAGE_REAL; // its stamps may be a round old
    found = stages();
    assert_int_equal(found.cpus, 2);
    assert_spread(found.real, 100000, 100000, 200000);
    assert_spread(found.c, 0, 0, 0);
}

// Whom firmware woke was in C from the start.
static void test_no_stamps(void **state)
{
    (void)state;
    for (uint32_t slot = 1; slot <= APS; slot++)
        fake.accounts[slot].tsc_real = 0;
    assert_int_equal(stages().cpus, 0);
    assert_spread(stages().real, 0, 0, 0);
    assert_spread(stages().c, 0, 0, 0);
}

// An AP's counter behind the BSP's: no number that wrapped, and its own spans all the same.
static void test_a_counter_that_is_behind(void **state)
{
    (void)state;
    fake.accounts[1].started = fake.accounts[1].tsc_real + 1;
    assert_int_equal(stages().cpus, 3);
    assert_spread(stages().real, 200000, 200000, 300000);
    assert_spread(stages().c, 3000, 6000, 9000);
}

static void test_longer_than_a_number(void **state)
{
    (void)state;
    fake.accounts[3].tsc_c = fake.accounts[3].tsc_real + 20 * clock.tsc_hz;
    assert_int_equal(stage_ns(&fake.accounts[3], SMP_STAGE_C, &clock), 20000000000);
    assert_spread(stages().c, 3000, 6000, UINT32_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_all_came, set_up),
        cmocka_unit_test_setup(test_who_stopped_counts_as_far_as_it_came, set_up),
        cmocka_unit_test_setup(test_no_stamps, set_up),
        cmocka_unit_test_setup(test_a_counter_that_is_behind, set_up),
        cmocka_unit_test_setup(test_longer_than_a_number, set_up),
    };
    return cmocka_run_group_tests_name("stages", tests, NULL, NULL);
}
