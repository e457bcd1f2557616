// MP Services as firmware might have them, and what is believed of each.

#include "fake_firmware.h"

#include "aps_fixture.h"
#include "fake_mp.h"

#include "firmware_aps.h"
#include "told.h"

#define CPUS     4u
#define LOW_PAGE 0x9e000u

static struct firmware firmware;
static struct options options;
static struct plan plan;
static struct told told;
static struct problems problems;
static uint32_t greeted[CPUS], greeted_count;

static bool greet(void *context, const struct smp_self *self)
{
    (void)context;
    assert_true(greeted_count < CPUS);
    greeted[greeted_count++] = self->cpu;
    return true;
}

// The engine's processors are the fake's, but it is firmware that runs them.
static int set_up(void **state)
{
    (void)state;
    firmware = fake_firmware_start(48);
    fake_mp_start(CPUS);
    problems = told_listen(&told);
    greeted_count = 0;
    fake_aps_open(&aps, CPUS);
    aps.machine.apic_base = 0xfee00d00;
    aps.machine.mp_services = aps.machine.mp_services_enabled = CPUS;
    aps.host = (struct smp_host){.run = greet, .problems = problems};
    fake_aps_prepare(&aps);
    fake_rally(&aps)->turn_wait_ticks = 1000;
    options = aps.options;
    plan = aps.plan;
    fake_set_cell(FAKE_MSR, FAKE_MP_APIC, 0);
    fake_set_cr(FAKE_CR0, 1);
    fake_set_cr(FAKE_CR2, 0);
    fake_set_cr(FAKE_CR4, 1);
    fake_set_cell(FAKE_MSR, 0xc0000080, 0x500);
    return 0;
}

static int tear_down(void **state)
{
    fake_firmware_clear();
    return aps_tear_down(state);
}

static enum parking parking(void)
{
    return firmware_parking(&firmware);
}

// ---- how they wait ----

static void test_woken_by_init(void **state)
{
    (void)state;
    assert_int_equal(parking(), PARKING_INIT);
    assert_int_equal(mp.calls, 2);
}

static void test_woken_by_memory(void **state)
{
    (void)state;
    mp.parks_by_memory = true;
    assert_int_equal(parking(), PARKING_OTHER);
    for (uint32_t i = 1; i < CPUS; i++)
        assert_int_equal(mp.cr2[i], 0); // the mark is taken away again
}

static void test_absent(void **state)
{
    (void)state;
    mp.absent = true;
    assert_int_equal(parking(), PARKING_UNKNOWN);
    const struct taken_back taken = firmware_takes_back(&firmware, aps.smp, &aps.machine);
    assert_int_equal(taken.ran, 0);
    assert_false(taken.answered || taken.counts || taken.everybody);
}

static void test_refused_or_slow(void **state)
{
    (void)state;
    mp.refuses = true;
    assert_int_equal(parking(), PARKING_UNKNOWN);
    mp.refuses = false;
    mp.times_out = true;
    assert_int_equal(parking(), PARKING_UNKNOWN);
}

// One did not run, although it is counted: nothing is known of how it waits.
static void test_wrong_count(void **state)
{
    (void)state;
    mp.lost[2] = true;
    assert_int_equal(parking(), PARKING_UNKNOWN);
}

static void test_a_disabled_one_is_no_matter(void **state)
{
    (void)state;
    mp.disabled[2] = true;
    assert_int_equal(parking(), PARKING_INIT);
}

static void test_nobody(void **state)
{
    (void)state;
    mp.count = 1;
    assert_int_equal(parking(), PARKING_NOBODY);
    assert_int_equal(mp.calls, 0);
}

// Counts that cannot be are believed in nothing.
static void test_counts_that_cannot_be(void **state)
{
    static const UINTN lies[][2] = {{0, 0}, {4, 0}, {4, 5}, {0, 1}, {1, 2}};

    (void)state;
    mp.lies = true;
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        mp.told_count = lies[i][0];
        mp.told_enabled = lies[i][1];
        assert_int_equal(parking(), PARKING_UNKNOWN);
    }
    assert_int_equal(mp.calls, 0);
}

// More or fewer than really run, as when MP Services and the MADT do not mean the same machine.
static void test_counts_of_another_machine(void **state)
{
    (void)state;
    mp.lies = true;
    mp.told_count = mp.told_enabled = CPUS + 1;
    assert_int_equal(parking(), PARKING_UNKNOWN);
    mp.told_count = mp.told_enabled = CPUS - 1;
    assert_int_equal(parking(), PARKING_UNKNOWN);
}

// ---- who is refused ----

static void expect_return(uint32_t low_page, enum status status, enum severity severity,
                          const char *what, const char *text)
{
    const struct problems listener = told_listen(&told);

    assert_int_equal(firmware_check_return(parking(), &plan, low_page, &options, &listener),
                     status);
    assert_int_equal(told.count, 1);
    assert_int_equal(told.lines[0].severity, severity);
    assert_int_equal(told_times(&told, what, text), 1);
}

static void expect_no_refusal(void)
{
    const struct problems listener = told_listen(&told);

    assert_int_equal(firmware_check_return(parking(), &plan, LOW_PAGE, &options, &listener),
                     STATUS_OK);
    assert_int_equal(told.count, 0);
}

static void test_init_is_not_refused(void **state)
{
    (void)state;
    expect_no_refusal();
    mp.count = 1; // there is nobody
    expect_no_refusal();
}

static void test_other_parking_is_refused(void **state)
{
    static const char text[] = "wait for a word in memory";

    (void)state;
    mp.parks_by_memory = true;
    expect_return(LOW_PAGE, STATUS_UNSUPPORTED, SEVERITY_ERROR, "parking", text);
    options.force = ANSWER_YES;
    expect_return(LOW_PAGE, STATUS_OK, SEVERITY_WARNING, "parking", text);
}

static void test_unknown_parking_is_refused(void **state)
{
    static const char text[] = "it is unknown how";

    (void)state;
    mp.absent = true;
    expect_return(LOW_PAGE, STATUS_UNSUPPORTED, SEVERITY_ERROR, "parking", text);
    options.force = ANSWER_YES;
    expect_return(LOW_PAGE, STATUS_OK, SEVERITY_WARNING, "parking", text);
}

// Firmware's own wake takes nobody away, however they wait.
static void test_firmwares_wake_is_not_refused(void **state)
{
    (void)state;
    mp.parks_by_memory = true;
    plan.messages.strategy = SMP_FIRMWARE;
    expect_no_refusal();
}

static void test_a_late_page_is_refused(void **state)
{
    (void)state;
    options.force = ANSWER_YES;
    expect_return(0, STATUS_NOT_FOUND, SEVERITY_ERROR, "no-low-page", "try exit=yes");
}

// ---- one round by firmware ----

static struct smp_round round_by_firmware(void)
{
    struct smp_round round;

    plan.messages.strategy = SMP_FIRMWARE;
    plan.messages.turn_us = 100;
    assert_int_equal(smp_start(aps.smp, &plan.messages), STATUS_OK);
    fake_rally(&aps)->turn_wait_ticks = 1000;
    firmware_wake_round(&firmware, aps.smp, &problems, &round);
    assert_int_equal(round.round, 1);
    return round;
}

static void test_a_round(void **state)
{
    (void)state;
    const struct smp_round round = round_by_firmware();
    assert_int_equal(round.arrived, CPUS - 1);
    assert_int_equal(round.icr_writes, 0);
    assert_int_equal(aps.messages, 0);
    assert_int_equal(greeted_count, CPUS - 1);
    for (uint32_t slot = 1; slot < CPUS; slot++) {
        const struct smp_account account = smp_examine(aps.smp, slot);
        assert_int_equal(greeted[slot - 1], slot);
        assert_int_equal(account.tries, 1);
        assert_true(account.by_firmware);
        assert_int_equal(smp_verdict(&account), SMP_CAUSE_NONE);
    }
    assert_int_equal(told.count, 0);
}

// Who did run has come, all the same; nobody is asked a second time.
static void test_a_round_that_times_out(void **state)
{
    (void)state;
    mp.times_out = mp.lost[2] = true;
    assert_int_equal(round_by_firmware().arrived, CPUS - 2);
    assert_int_equal(smp_examine(aps.smp, 2).lost, 1);
    assert_int_equal(told_times(&told, "mp-services", "ran out of time"), 1);
    assert_int_equal(mp.calls, 1);
    assert_int_equal(greeted_count, 0);
}

static void test_a_round_without_mp_services(void **state)
{
    (void)state;
    mp.absent = true;
    assert_int_equal(round_by_firmware().arrived, 0);
    assert_int_equal(told_times(&told, "mp-services", "absent"), 1);
}

static void test_a_round_with_a_disabled_one(void **state)
{
    (void)state;
    mp.disabled[1] = true;
    assert_int_equal(round_by_firmware().arrived, CPUS - 2);
    assert_int_equal(greeted_count, CPUS - 2);
    const struct smp_account account = smp_examine(aps.smp, 1);
    assert_int_equal(smp_verdict(&account), SMP_CAUSE_NOT_RUN_BY_FIRMWARE);
}

// ---- whether they are back ----

static struct taken_back take_back(void)
{
    return firmware_takes_back(&firmware, aps.smp, &aps.machine);
}

// The list of those who came: given back once nobody can come any more, and kept else.
static void assert_list_is_kept(bool kept)
{
    assert_int_equal(fake_firmware.owned_count, kept);
}

static void test_all_back(void **state)
{
    (void)state;
    const struct taken_back taken = take_back();
    assert_int_equal(taken.ran, CPUS - 1);
    assert_true(taken.answered && taken.counts && taken.everybody);
    assert_list_is_kept(false);
}

static void test_one_is_not(void **state)
{
    (void)state;
    mp.lost[3] = true;
    const struct taken_back taken = take_back();
    assert_int_equal(taken.ran, CPUS - 2);
    assert_true(taken.answered);
    assert_false(taken.counts || taken.everybody);
    assert_list_is_kept(true);
}

// All ran, and still it did not end well.
static void test_a_time_out_is_kept(void **state)
{
    (void)state;
    mp.times_out = true;
    const struct taken_back taken = take_back();
    assert_int_equal(taken.ran, CPUS - 1);
    assert_false(taken.answered);
    assert_true(taken.counts);
    assert_false(taken.everybody);
    assert_list_is_kept(true);
    mp.refuses = true;
    assert_false(take_back().everybody);
}

static void test_no_memory_for_the_list(void **state)
{
    (void)state;
    fake_firmware.refuse_high_from = 1;
    assert_false(take_back().answered);
    assert_int_equal(mp.calls, 0); // who would come has nowhere to write
}

static void test_counts_that_changed(void **state)
{
    static const UINTN lies[][2] = {{0, 0}, {CPUS, CPUS - 1}, {CPUS + 1, CPUS}, {CPUS, CPUS + 1}};

    (void)state;
    mp.lies = true;
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        mp.told_count = lies[i][0];
        mp.told_enabled = lies[i][1];
        assert_false(take_back().everybody);
    }
    mp.lies = false;
    assert_true(take_back().everybody);
    aps.machine.mp_services = CPUS + 1; // it counted one more before
    assert_false(take_back().everybody);
}

// We woke whom firmware had disabled, and it does not take that one back.
static void test_the_disabled_one_is_not(void **state)
{
    (void)state;
    mp.disabled[1] = true;
    aps.machine.mp_services_enabled = CPUS - 1;
    const struct taken_back taken = take_back();
    assert_true(taken.answered && taken.counts);
    assert_false(taken.everybody);
}

// Who came unasked has to come back as well, record or none.
static void test_unlisted(void **state)
{
    struct rally *rally = fake_rally(&aps);

    (void)state;
    atomic_store(&rally->unlisted_count, 1); // it has not said yet which it is
    assert_false(take_back().everybody);
    rally->unlisted_ids[0] = 77;
    assert_false(take_back().everybody);
    rally->unlisted_ids[0] = 2;
    assert_true(take_back().everybody);
    arena_falsify_id(&aps.smp->arena, 2); // its record has gone, as with inject=wrong-id
    assert_true(take_back().everybody);
    mp.disabled[2] = true; // and it does not come
    aps.machine.mp_services_enabled = CPUS - 1;
    const struct taken_back taken = take_back();
    assert_true(taken.answered && taken.counts);
    assert_false(taken.everybody);
    mp.disabled[2] = false;
    aps.machine.mp_services_enabled = CPUS;
    assert_true(take_back().everybody);
    atomic_store(&rally->unlisted_count, SMP_UNLISTED_MAX + 1);
    assert_false(take_back().everybody); // more than were written down
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_woken_by_init),
        TEST(test_woken_by_memory),
        TEST(test_absent),
        TEST(test_refused_or_slow),
        TEST(test_wrong_count),
        TEST(test_a_disabled_one_is_no_matter),
        TEST(test_nobody),
        TEST(test_counts_that_cannot_be),
        TEST(test_counts_of_another_machine),
        TEST(test_init_is_not_refused),
        TEST(test_other_parking_is_refused),
        TEST(test_unknown_parking_is_refused),
        TEST(test_firmwares_wake_is_not_refused),
        TEST(test_a_late_page_is_refused),
        TEST(test_a_round),
        TEST(test_a_round_that_times_out),
        TEST(test_a_round_without_mp_services),
        TEST(test_a_round_with_a_disabled_one),
        TEST(test_all_back),
        TEST(test_one_is_not),
        TEST(test_a_time_out_is_kept),
        TEST(test_no_memory_for_the_list),
        TEST(test_counts_that_changed),
        TEST(test_the_disabled_one_is_not),
        TEST(test_unlisted),
    };
    return cmocka_run_group_tests_name("firmware_aps", tests, aps_set_up, NULL);
}
