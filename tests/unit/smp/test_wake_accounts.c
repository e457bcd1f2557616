// Who came, when, and by which attempt: the accounts of a wake against APs that answer at once,
// late, in a wrong order, only in a retry, too late, never, or half-way; and that no wait outlasts
// the plan's bound. Surprise: a late AP is the hard case, not a dead one. Most tests here end after
// the AP that came too late has done all it can.
#include "aps_fixture.h"

#include "image_layout.h"

#define TIMEOUT_US    (5 * MS)
#define INIT_RETRY_US (10 * MS)

static struct smp_round result;

static void open_aps(size_t count, enum smp_strategy wake, uint32_t sipis)
{
    fake_aps_open(&aps, count);
    aps.options.wake = wake;
    aps.options.sipis = sipis;
    aps.options.timeout_us = TIMEOUT_US;
}

static uint64_t bound_us(void)
{
    return smp_round_bound_us(&aps.plan.messages, aps.plan.apic_mode, aps.plan.want + 1);
}

static uint32_t state_of(uint32_t cpu)
{
    return atomic_load(&fake_lcpu(&aps, cpu)->state);
}

static enum smp_cause cause_of(uint32_t slot)
{
    const struct smp_account account = smp_examine(aps.smp, slot);
    return smp_verdict(&account);
}

#define ASSERT_ABOUT(value, expected_us) assert_in_range(value, expected_us, (expected_us) + 2)

static void assert_account(uint32_t cpu, uint32_t tries, uint32_t arrived, uint32_t lost)
{
    assert_int_equal(fake_lcpu(&aps, cpu)->cpu, cpu);
    assert_int_equal(fake_book(&aps, cpu)->tries, tries);
    assert_int_equal(fake_book(&aps, cpu)->arrived, arrived);
    assert_int_equal(fake_book(&aps, cpu)->lost, lost);
}

// ---- APs that come ----

static void test_at_once(void **state)
{
    (void)state;
    for (enum smp_strategy wake = SMP_PARALLEL; wake <= SMP_BROADCAST; wake++) {
        open_aps(4, wake, SMP_SIPIS_AUTO);
        fake_aps_prepare(&aps);
        smp_wake(aps.smp, &result);
        assert_int_equal(result.arrived, 3);
        assert_int_equal(result.icr_writes, wake == SMP_BROADCAST ? 2 : 6);
        assert_int_equal(result.retried, 0);
        assert_int_equal(result.unsent, 0);
        assert_int_equal(aps.smp->missing_count, 0);
        ASSERT_ABOUT(result.first_us, 10); // init_us=auto on this processor
        for (uint32_t cpu = 1; cpu < 4; cpu++) {
            assert_account(cpu, 1, 1, 0);
            assert_int_equal(state_of(cpu), 1 << 8 | FAKE_STAGE_UP);
        }
        // One after another, each pays for its own INIT; else they share one.
        ASSERT_ABOUT(result.last_us, wake == SMP_ONE_BY_ONE ? 30 : 10);
        ASSERT_ABOUT(fake_book(&aps, 3)->us, wake == SMP_ONE_BY_ONE ? 30 : 10);
        ASSERT_ABOUT(result.send_us, wake == SMP_ONE_BY_ONE ? 30 : 10);
        fake_aps_close(&aps);
    }
}

static void test_wrong_order(void **state)
{
    (void)state;
    open_aps(5, SMP_PARALLEL, SMP_SIPIS_AUTO);
    for (uint32_t cpu = 1; cpu < 5; cpu++)
        aps.aps[cpu].to_c_ticks = TICKS(500 * (5 - cpu));
    fake_aps_prepare(&aps);
    smp_wake(aps.smp, &result);
    assert_int_equal(result.arrived, 4);
    ASSERT_ABOUT(result.first_us, 510);
    ASSERT_ABOUT(result.last_us, 2010);
    for (uint32_t cpu = 1; cpu < 5; cpu++) {
        assert_account(cpu, 1, 1, 0);
        ASSERT_ABOUT(fake_book(&aps, cpu)->us, 10 + 500 * (5 - cpu));
    }
    // None had answered by then: all got the second STARTUP, which none took.
    assert_int_equal(result.icr_writes, 12);
    assert_int_equal(result.helped, 0);
    ASSERT_ABOUT(result.send_us, 210);
}

static void test_after_the_second_startup(void **state)
{
    (void)state;
    for (enum smp_strategy wake = SMP_PARALLEL; wake <= SMP_BROADCAST; wake++) {
        open_aps(3, wake, SMP_SIPIS_AUTO);
        aps.aps[2].lost_startups = 1;
        fake_aps_prepare(&aps);
        smp_wake(aps.smp, &result);
        assert_int_equal(result.arrived, 2);
        assert_int_equal(result.retried, 0);
        assert_int_equal(result.helped, 1); // not by the first STARTUP
        assert_account(1, 1, 1, 0);
        assert_account(2, 1, 1, 0);
        assert_int_equal(aps.aps[1].startups, 1);
        assert_int_equal(aps.aps[2].startups, 2);
        ASSERT_ABOUT(result.last_us, wake == SMP_ONE_BY_ONE ? 220 : 210);
        fake_aps_close(&aps);
    }
}

// A retry is a full sequence with the manual's 10 ms, for the missing alone.
static void test_only_in_the_retry(void **state)
{
    (void)state;
    for (enum smp_strategy wake = SMP_PARALLEL; wake <= SMP_BROADCAST; wake++) {
        open_aps(4, wake, 2);
        aps.aps[2].deaf_inits = 1;
        fake_aps_prepare(&aps);
        smp_wake(aps.smp, &result);
        assert_int_equal(result.arrived, 3);
        assert_int_equal(result.retried, 1);
        assert_int_equal(aps.smp->missing_count, 0);
        assert_account(1, 1, 1, 0);
        assert_account(2, 2, 1, 0);
        assert_account(3, 1, 1, 0);
        assert_int_equal(aps.aps[1].inits, 1);
        assert_int_equal(aps.aps[2].inits, 2);
        assert_int_equal(aps.aps[3].inits, 1);
        // The first sequence with its time-out, and 10 ms more.
        assert_in_range(fake_book(&aps, 2)->us, 210 + TIMEOUT_US + INIT_RETRY_US,
                        3 * 210 + TIMEOUT_US + INIT_RETRY_US + 10);
        assert_int_equal(result.last_us, fake_book(&aps, 2)->us);
        fake_aps_close(&aps);
    }
}

// ---- APs that do not ----

static void test_never(void **state)
{
    (void)state;
    for (enum smp_strategy wake = SMP_PARALLEL; wake <= SMP_BROADCAST; wake++) {
        open_aps(6, wake, SMP_SIPIS_AUTO);
        aps.options.retries = 3;
        aps.aps[2].to_protected_ticks = FAKE_NEVER;
        aps.aps[5].to_c_ticks = FAKE_NEVER;
        fake_aps_prepare(&aps);
        smp_wake(aps.smp, &result);
        assert_int_equal(result.arrived, 3);
        assert_int_equal(result.retried, 0);
        assert_int_equal(aps.smp->missing_count, 2);
        assert_int_equal(aps.smp->missing[0], 2);
        assert_int_equal(aps.smp->missing[1], 5);
        assert_account(1, 1, 1, 0);
        assert_account(2, 4, 0, 1);
        assert_account(5, 4, 0, 1);
        assert_int_equal(fake_book(&aps, 2)->us, 0);
        assert_int_equal(stage_in_round(fake_lcpu(&aps, 2), 1), STAGE_NONE);
        assert_int_equal(stage_in_round(fake_lcpu(&aps, 5), 1), STAGE_PROTECTED);
        if (wake != SMP_ONE_BY_ONE)
            ASSERT_ABOUT(result.last_us, 10); // of those who came
        fake_aps_close(&aps);
    }
}

// Without retries one sequence is all; nobody at all comes.
static void test_nobody_comes(void **state)
{
    (void)state;
    open_aps(3, SMP_PARALLEL, 1);
    aps.options.retries = 0;
    aps.aps[1].to_protected_ticks = aps.aps[2].to_protected_ticks = FAKE_NEVER;
    fake_aps_prepare(&aps);
    smp_wake(aps.smp, &result);
    assert_int_equal(result.arrived, 0);
    assert_int_equal(result.first_us, 0);
    assert_int_equal(result.last_us, 0);
    assert_int_equal(result.icr_writes, 4);
    assert_account(1, 1, 0, 1);
    assert_account(2, 1, 0, 1);
    assert_int_equal(take_turns(1000), 0);
}

// After the last time-out an AP comes all the same: the account stands, and nothing that it touches
// is gone.
static void test_too_late(void **state)
{
    (void)state;
    open_aps(3, SMP_PARALLEL, SMP_SIPIS_AUTO);
    aps.options.retries = 0;
    aps.aps[1].to_c_ticks = TICKS(TIMEOUT_US + 3 * MS);
    fake_aps_prepare(&aps);
    smp_wake(aps.smp, &result);
    assert_int_equal(result.arrived, 1);
    assert_account(1, 1, 0, 1);
    assert_int_equal(stage_in_round(fake_lcpu(&aps, 1), 1), STAGE_PROTECTED);

    fake_aps_let_pass(&aps, 4 * MS);
    assert_int_equal(aps.aps[1].arrivals, 1);
    assert_int_equal(stage_in_round(fake_lcpu(&aps, 1), 1),
                     FAKE_STAGE_UP); // what a verdict can see
    assert_account(1, 1, 0, 1);
    assert_int_equal(aps.smp->missing_count, 1);
    // It has a record that says "greet", and it is not called.
    assert_int_equal(take_turns(1 * MS), 1);
    assert_int_equal(aps.greeted_count, 1);
    assert_int_equal(aps.greeted[0], 2);
    assert_int_equal(fake_book(&aps, 1)->done, 0);
}

// After the last round the late ones get one more time-out, to be told as late; they are not up by
// that.
static void test_awaiting_the_late(void **state)
{
    (void)state;
    open_aps(3, SMP_PARALLEL, 1);
    aps.options.retries = 0;
    aps.aps[1].to_c_ticks = TICKS(TIMEOUT_US + 3 * MS);
    aps.aps[2].to_protected_ticks = FAKE_NEVER;
    fake_aps_prepare(&aps);
    smp_wake(aps.smp, &result);
    assert_int_equal(aps.smp->missing_count, 2);
    const uint64_t start = fake_now();
    smp_await_late(aps.smp);
    assert_in_range(fake_now() - start, TICKS(TIMEOUT_US), TICKS(TIMEOUT_US + 2));
    assert_int_equal(aps.smp->missing_count, 1);
    assert_int_equal(aps.smp->missing[0], 2);
    assert_account(1, 1, 0, 1);
    assert_account(2, 1, 0, 1);
    assert_int_equal(aps.messages, 4); // not one more
    assert_int_equal(take_turns(1 * MS), 0);
}

// Between its time-out and the retry's INIT: it counts as come, by the one sequence that it had,
// and gets no further message.
static void test_late_but_before_the_retry(void **state)
{
    static const uint32_t sipis[] = {SMP_SIPIS_AUTO, 2};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        open_aps(4, SMP_PARALLEL, sipis[i]);
        aps.send_ticks = TICKS(50);
        // INIT at 0, 50, 100, STARTUP at 160, 210, 260, all three again from 510 on, time-out at
        // 5660, INIT for the first two at 5660 and 5710, and the third would have its at 5760.
        aps.aps[1].to_protected_ticks = FAKE_NEVER;
        aps.aps[2].to_protected_ticks = FAKE_NEVER;
        aps.aps[3].to_c_ticks = TICKS(5735 - 260);
        fake_aps_prepare(&aps);
        smp_wake(aps.smp, &result);
        assert_int_equal(result.arrived, 1);
        assert_int_equal(aps.aps[3].arrivals, 1);
        assert_int_equal(aps.aps[3].state, FAKE_AP_IN_C);
        assert_int_equal(aps.aps[3].inits, 1);
        ASSERT_ABOUT(fake_book(&aps, 3)->us, 5735);
        assert_account(3, 1, 1, 0);
        assert_int_equal(result.retried, 0);
        assert_int_equal(aps.smp->missing_count, 2);
        fake_aps_close(&aps);
    }
}

// Two are missing. While the retry's INIT for the first keeps the xAPIC busy, the second comes;
// then its own INIT reaches it, too late to be called back. It has to be woken again, whatever its
// record said in between; and since it has been counted twice by then, the shared counter is not to
// be believed about the first.
static void come_while_init_is_on_its_way(uint32_t sipis)
{
    open_aps(3, SMP_PARALLEL, sipis);
    aps.options.apic = APIC_XAPIC;
    aps.busy_from = 1;
    aps.busy_ticks = TICKS(50);
    // INIT at 0 and 50, STARTUP at 100 and 150, 200 us later STARTUP at 350 and 400, time-out at
    // 5400: INIT for the first, and at 5450 for the second.
    aps.aps[1].to_protected_ticks = FAKE_NEVER;
    aps.aps[2].to_c_ticks = TICKS(500);
    aps.aps[2].first_extra_ticks = TICKS(5425 - 150 - 500);
    fake_aps_prepare(&aps);
    const uint64_t start = fake_now();
    smp_wake(aps.smp, &result);
    const uint64_t took_us = (fake_now() - start) / FAKE_TICKS_PER_US;
    assert_int_equal(aps.aps[2].inits, 2);
    assert_int_equal(aps.aps[2].arrivals, 2);
    assert_int_equal(aps.aps[2].state, FAKE_AP_IN_C);
    assert_int_equal(atomic_load(&fake_rally(&aps)->arrived), 2);
    assert_int_equal(result.arrived, 1);
    assert_account(1, 2, 0, 1);
    assert_account(2, 2, 1, 0);
    assert_int_equal(aps.smp->missing_count, 1);
    assert_int_equal(aps.smp->missing[0], 1);
    assert_true(took_us > 5400 + INIT_RETRY_US + TIMEOUT_US); // the first got its whole time
}

static void test_come_while_init_is_on_its_way(void **state)
{
    (void)state;
    come_while_init_is_on_its_way(2);
}

static void test_come_while_init_is_on_its_way_auto(void **state)
{
    (void)state;
    come_while_init_is_on_its_way(SMP_SIPIS_AUTO);
}

// One by one, the first AP's time-out is long enough for the others to come late. Who has come is
// missing no more, and an INIT now would only put it to sleep again.
static void test_late_ones_are_left_in_peace(void **state)
{
    static const uint32_t sipis[] = {SMP_SIPIS_AUTO, 2};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        open_aps(3, SMP_ONE_BY_ONE, sipis[i]);
        aps.aps[1].to_protected_ticks = FAKE_NEVER;
        aps.aps[2].to_c_ticks = TICKS(TIMEOUT_US + 3 * MS);
        fake_aps_prepare(&aps);
        smp_wake(aps.smp, &result);
        assert_int_equal(result.arrived, 1);
        assert_int_equal(aps.aps[2].inits, 1);
        assert_int_equal(aps.aps[2].arrivals, 1);
        assert_account(2, 1, 1, 0);
        assert_int_equal(result.retried, 0);
        fake_aps_close(&aps);
    }
}

// One by one, without a retry: its time-out has ended without it, and it comes while the next is
// waited for. It is late, though it is there when the round ends.
static void test_given_up_while_others_are_waited_for(void **state)
{
    (void)state;
    open_aps(3, SMP_ONE_BY_ONE, 1);
    aps.options.retries = 0;
    aps.aps[1].to_c_ticks = TICKS(TIMEOUT_US + 1 * MS);
    aps.aps[2].to_c_ticks = TICKS(3 * MS);
    fake_aps_prepare(&aps);
    smp_wake(aps.smp, &result);
    assert_int_equal(aps.aps[1].arrivals, 1);
    assert_int_equal(result.arrived, 1);
    assert_account(1, 1, 0, 1);
    assert_account(2, 1, 1, 0);
    assert_int_equal(cause_of(1), SMP_CAUSE_LATE);
    ASSERT_ABOUT(result.first_us, 2 * 10 + TIMEOUT_US + 3 * MS);
    // In the next round it has all its time again.
    aps.aps[1].to_c_ticks = 0;
    smp_wake(aps.smp, &result);
    assert_int_equal(result.arrived, 2);
    assert_account(1, 1, 1, 1);
}

// ---- rounds ----

static void test_rounds(void **state)
{
    (void)state;
    open_aps(4, SMP_PARALLEL, SMP_SIPIS_AUTO);
    fake_aps_prepare(&aps);
    for (uint32_t round = 1; round <= 300; round++) {
        memset(aps.page + 0x800, STAGE_LONG, 1024);
        smp_wake(aps.smp, &result);
        assert_int_equal(result.arrived, 3);
        assert_int_equal(result.icr_writes, 6);
        assert_int_equal(smp_rounds(aps.smp), round);
        assert_int_equal(atomic_load(&fake_rally(&aps)->generation), round);
        assert_int_equal(atomic_load(&fake_rally(&aps)->arrived), 3);
        for (uint32_t cpu = 1; cpu < 4; cpu++) {
            assert_account(cpu, 1, 1, 0);
            assert_int_equal(state_of(cpu), round << 8 | FAKE_STAGE_UP);
        }
        // The marks of the round before are gone, also the ones of processors that did not come.
        assert_int_equal(trampoline_mark(aps.page, 1), STAGE_PROTECTED);
        assert_int_equal(trampoline_mark(aps.page, 0), STAGE_NONE);
        assert_int_equal(trampoline_mark(aps.page, 1023), STAGE_NONE);
    }
    assert_int_equal(aps.smp->apic.icr_writes, 300 * 6);
}

// A round's account is its own: who was up in the last one is not up by that.
static void test_a_stale_stage(void **state)
{
    (void)state;
    open_aps(3, SMP_PARALLEL, SMP_SIPIS_AUTO);
    aps.aps[1].heard_inits = 1;
    fake_aps_prepare(&aps);
    smp_wake(aps.smp, &result);
    assert_int_equal(result.arrived, 2);
    assert_int_equal(state_of(1), 1 << 8 | FAKE_STAGE_UP);

    smp_wake(aps.smp, &result);
    assert_int_equal(result.arrived, 1);
    assert_int_equal(state_of(1), STAGE_NONE);
    assert_int_equal(stage_in_round(fake_lcpu(&aps, 1), 2), STAGE_NONE);
    assert_account(1, 2, 0, 1);
    assert_account(2, 1, 1, 0);

    aps.aps[1].heard_inits = 0;
    smp_wake(aps.smp, &result);
    assert_int_equal(result.arrived, 2);
    assert_account(1, 1, 1, 1); // lost counts rounds
    assert_account(2, 1, 1, 0);
}

// An AP of round 1 that comes in round 2, with round 1's generation: no arrival, no stage, no
// greeting.
static void test_a_late_one_from_an_earlier_round(void **state)
{
    (void)state;
    open_aps(3, SMP_PARALLEL, 1);
    aps.options.retries = 0;
    aps.aps[1].heard_inits = 1;
    aps.aps[1].to_c_ticks = TICKS(TIMEOUT_US + 2 * MS);
    aps.aps[2].to_c_ticks = TICKS(TIMEOUT_US - 1 * MS);
    fake_aps_prepare(&aps);
    smp_wake(aps.smp, &result);
    assert_int_equal(result.arrived, 1);
    fake_aps_let_pass(&aps, 1 * MS);

    smp_wake(aps.smp, &result);
    assert_int_equal(aps.aps[1].arrivals, 1);
    assert_int_equal(state_of(1), 1 << 8 | FAKE_STAGE_UP);
    assert_int_equal(stage_in_round(fake_lcpu(&aps, 1), 1), FAKE_STAGE_UP);
    assert_int_equal(stage_in_round(fake_lcpu(&aps, 1), 2), STAGE_NONE);
    assert_int_equal(atomic_load(&fake_rally(&aps)->arrived), 1);
    assert_int_equal(result.arrived, 1);
    assert_account(1, 1, 0, 2);
    assert_account(2, 1, 1, 0);
    assert_int_equal(take_turns(1 * MS), 1);
    assert_int_equal(aps.greeted[0], 2);
}

// One by one: an AP that is late for round 1 comes in round 2 before its own INIT, and takes that
// round for its own. It is put back all the same, like every other, and then is late again.
static void test_a_late_one_comes_before_its_init(void **state)
{
    (void)state;
    open_aps(3, SMP_ONE_BY_ONE, 1);
    aps.options.retries = 0;
    aps.aps[1].to_protected_ticks = FAKE_NEVER;
    aps.aps[2].to_protected_ticks = TICKS(TIMEOUT_US + 2 * MS);
    fake_aps_prepare(&aps);
    smp_wake(aps.smp, &result);
    assert_int_equal(result.arrived, 0);
    smp_wake(aps.smp, &result);
    assert_int_equal(aps.aps[2].arrivals, 1);
    assert_int_equal(aps.aps[2].inits, 2);
    assert_int_equal(result.arrived, 0);
    assert_account(2, 1, 0, 2);
    assert_int_equal(cause_of(2), SMP_CAUSE_NEVER_FETCHED);
}

// What an AP leaves between a look at it and its INIT.
static bool leave_traces(void *context, struct smp_message *message)
{
    struct lcpu *lcpu = fake_lcpu(&aps, 2);
    uint8_t *cell_end = aps.page + PAGE_CELLS + 3 * CELL_BYTES; // of ID 2

    (void)context;
    if (message->slot == 1 || (message->command & 0x700) != 0x500)
        return true;
    trampoline_set_mark(aps.page, 2, STAGE_PROTECTED);
    cell_end[-2] = 2;
    memset(cell_end - CELL_BYTES, 0xa5, CELL_BYTES - 2);
    memset(lcpu->trap, 0xa5, sizeof lcpu->trap);
    lcpu->no_nx = 1;
    atomic_store(&lcpu->fault.valid, 1);
    atomic_store(&lcpu->state, aps.smp->round << STATE_STAGE_BITS | STAGE_READY);
    return true;
}

// By the first INIT of a round and by a retry's, one of its own and one to all: whoever is held has
// left nothing, and an AP of the same mark who is not keeps it.
static void test_who_is_held_has_left_nothing(void **state)
{
    static const uint8_t nothing[CELL_BYTES];

    (void)state;
    for (uint32_t variant = 0; variant < 6; variant++) {
        const bool is_shared = variant & 1;
        open_aps(3, variant & 2 ? SMP_BROADCAST : SMP_PARALLEL, 1);
        aps.options.retries = variant / 4;
        aps.host.filter = leave_traces;
        aps.aps[2].lost_startups = UINT32_MAX;
        fake_aps_prepare(&aps);
        fake_book(&aps, 2)->mark_shared = is_shared;
        smp_wake(aps.smp, &result);
        assert_int_equal(result.arrived, 1);
        assert_account(2, aps.options.retries + 1, 0, 1);
        assert_int_equal(state_of(2), STAGE_NONE);
        assert_int_equal(trampoline_mark(aps.page, 2), is_shared ? STAGE_PROTECTED : STAGE_NONE);
        const struct lcpu *lcpu = fake_lcpu(&aps, 2);
        assert_int_equal(atomic_load(&lcpu->fault.valid) | lcpu->no_nx, 0);
        assert_memory_equal(lcpu->trap, nothing, sizeof lcpu->trap);
        if (!is_shared)
            assert_memory_equal(aps.page + PAGE_CELLS + 2 * CELL_BYTES, nothing, CELL_BYTES);
        // But that it came so far in the try before is told.
        assert_int_equal(cause_of(2), is_shared                 ? SMP_CAUSE_UNKNOWN
                                      : aps.options.retries > 0 ? SMP_CAUSE_STOPPED_IN_PROTECTED
                                                                : SMP_CAUSE_NEVER_FETCHED);
        fake_aps_close(&aps);
    }
}

static void test_stage_is_of_one_generation(void **state)
{
    static struct lcpu record;

    (void)state;
    atomic_store(&record.state, 0x123400u | STAGE_LONG);
    assert_int_equal(stage_in_round(&record, 0x1234), STAGE_LONG);
    assert_int_equal(stage_in_round(&record, 0x1233), STAGE_NONE);
    assert_int_equal(stage_in_round(&record, 0x34), STAGE_NONE);
    assert_int_equal(stage_in_round(&record, 0x11234), STAGE_NONE);
}

// `us` is of the last round in which the AP came.
static void test_us_is_of_the_last_round(void **state)
{
    (void)state;
    open_aps(3, SMP_PARALLEL, 1);
    aps.options.retries = 0;
    aps.aps[1].to_c_ticks = TICKS(700);
    aps.aps[2].deaf_inits = 1;
    aps.aps[2].to_c_ticks = TICKS(900);
    fake_aps_prepare(&aps);
    smp_wake(aps.smp, &result);
    ASSERT_ABOUT(fake_book(&aps, 1)->us, 710);
    assert_int_equal(fake_book(&aps, 2)->us, 0);

    aps.aps[1].to_c_ticks = TICKS(300);
    smp_wake(aps.smp, &result);
    ASSERT_ABOUT(result.first_us, 310);
    ASSERT_ABOUT(fake_book(&aps, 1)->us, 310);
    ASSERT_ABOUT(fake_book(&aps, 2)->us, 910);

    aps.aps[1].to_protected_ticks = FAKE_NEVER;
    smp_wake(aps.smp, &result);
    ASSERT_ABOUT(fake_book(&aps, 1)->us, 310);
}

// One that hangs in C has come, though it never checks in: the others wait their time-out for it,
// and it is not asked for a greeting.
static void test_one_hangs_in_c(void **state)
{
    (void)state;
    open_aps(3, SMP_PARALLEL, SMP_SIPIS_AUTO);
    aps.aps[1].hangs_in_c = true;
    fake_aps_prepare(&aps);
    const uint64_t start = fake_now();
    smp_wake(aps.smp, &result);
    assert_in_range(fake_now() - start, TICKS(TIMEOUT_US), TICKS(TIMEOUT_US + 300));
    assert_int_equal(result.arrived, 2);
    assert_int_equal(result.icr_writes, 4); // no second STARTUP, no retry
    assert_int_equal(stage_in_round(fake_lcpu(&aps, 1), 1), STAGE_C);
    assert_account(1, 1, 1, 0);
    const uint64_t then = fake_now();
    assert_int_equal(take_turns(2 * MS), 1);
    assert_in_range(fake_now() - then, 0, TICKS(5));
    assert_int_equal(aps.greeted_count, 1);
    assert_int_equal(aps.greeted[0], 2);
}

// ---- what the hardware may do ----

// A TSC that runs behind the BSP's: the AP came, and its time is no number that wrapped.
static void test_a_tsc_that_is_behind(void **state)
{
    (void)state;
    open_aps(3, SMP_PARALLEL, SMP_SIPIS_AUTO);
    aps.aps[1].tsc_skew = -(int64_t)TICKS(1 * MS);
    aps.aps[2].to_c_ticks = TICKS(100);
    fake_aps_prepare(&aps);
    smp_wake(aps.smp, &result);
    assert_int_equal(result.arrived, 2);
    assert_int_equal(fake_book(&aps, 1)->us, 0);
    assert_int_equal(result.first_us, 0);
    ASSERT_ABOUT(result.last_us, 110);
}

// A stamp that is an hour away is no number that wrapped either.
static void test_a_tsc_that_is_far_ahead(void **state)
{
    const uint64_t hours_us = 5000000000;

    (void)state;
    open_aps(2, SMP_PARALLEL, 1);
    fake_aps_prepare(&aps);
    smp_wake(aps.smp, &result);
    fake_lcpu(&aps, 1)->tsc_c = aps.smp->started + TICKS(hours_us);
    result = (struct smp_round){0};
    smp_end_round(aps.smp, aps.smp->started, &result);
    assert_int_equal(result.last_us, UINT32_MAX);
    assert_int_equal(fake_book(&aps, 1)->us, hours_us);
}

// Broadcast reaches a processor that no table names: it is counted by itself, and disturbs nobody.
static void test_a_hidden_processor(void **state)
{
    (void)state;
    open_aps(4, SMP_BROADCAST, SMP_SIPIS_AUTO);
    aps.hidden = 2;
    aps.aps[4].apic_id = 0x41;
    aps.aps[5].apic_id = 2000;
    fake_aps_prepare(&aps);
    smp_wake(aps.smp, &result);
    assert_int_equal(result.arrived, 3);
    assert_int_equal(result.icr_writes, 2);
    fake_aps_let_pass(&aps, 1);
    struct rally *rally = fake_rally(&aps);
    assert_int_equal(atomic_load(&rally->arrived), 3);
    assert_int_equal(atomic_load(&rally->unlisted_count), 2);
    assert_int_equal(rally->unlisted_ids[0], 0x41);
    assert_int_equal(rally->unlisted_ids[1], 2000);
}

// What an AP without NX left is forgotten before the next try, and tells its cause.
static void test_an_ap_without_nx(void **state)
{
    (void)state;
    open_aps(3, SMP_PARALLEL, SMP_SIPIS_AUTO);
    aps.aps[2].to_c_ticks = FAKE_NEVER; // it gets as far as protected mode
    fake_aps_prepare(&aps);
    smp_wake(aps.smp, &result);
    assert_int_equal(cause_of(2), SMP_CAUSE_STOPPED_IN_PROTECTED);
    fake_lcpu(&aps, 2)->no_nx = 1;
    assert_int_equal(cause_of(2), SMP_CAUSE_NO_NX);
    smp_wake(aps.smp, &result);
    assert_int_equal(fake_lcpu(&aps, 2)->no_nx, 0);
}

// xAPIC: each message waits for the one before to leave.
static void test_a_slow_xapic(void **state)
{
    (void)state;
    open_aps(4, SMP_PARALLEL, SMP_SIPIS_AUTO);
    aps.options.apic = APIC_XAPIC;
    aps.busy_from = 1;
    aps.busy_ticks = TICKS(30);
    fake_aps_prepare(&aps);
    smp_wake(aps.smp, &result);
    assert_int_equal(result.arrived, 3);
    assert_int_equal(result.unsent, 0);
    assert_int_equal(result.icr_writes, 6);
    // INIT, 30, INIT, 30, INIT, 30 (of which 10 are the wait after INIT), STARTUP, 30, STARTUP, 30,
    // STARTUP.
    assert_in_range(result.send_us, 5 * 30, 5 * 30 + 5);
}

// xAPIC: the delivery status sticks after the fourth message. What cannot be sent is counted, each
// wait is bounded, and the AP that came before is kept.
static void test_a_stuck_xapic(void **state)
{
    (void)state;
    open_aps(4, SMP_PARALLEL, SMP_SIPIS_AUTO);
    aps.options.apic = APIC_XAPIC;
    aps.options.retries = 1;
    aps.busy_from = 4;
    aps.busy_ticks = FAKE_NEVER;
    fake_aps_prepare(&aps);
    const uint64_t start = fake_now();
    smp_wake(aps.smp, &result);
    const uint64_t took_us = (fake_now() - start) / FAKE_TICKS_PER_US;
    assert_int_equal(result.icr_writes, 4); // three INITs, one STARTUP
    assert_int_equal(aps.messages, 4);
    // STARTUP for two, twice; then INIT, STARTUP, STARTUP for two.
    assert_int_equal(result.unsent, 2 + 2 + 6);
    assert_int_equal(result.arrived, 1);
    assert_account(1, 1, 1, 0);
    assert_account(2, 2, 0, 1);
    assert_account(3, 2, 0, 1);
    assert_in_range(took_us, 10 * SMP_APIC_IDLE_US, 10 * SMP_APIC_IDLE_US + 50 * MS);
    assert_true(took_us <= bound_us());
}

// The port is free again: the next round counts anew.
static void test_unsent_is_of_one_round(void **state)
{
    (void)state;
    open_aps(3, SMP_BROADCAST, 1);
    aps.options.apic = APIC_XAPIC;
    aps.options.retries = 0;
    aps.busy_from = 1;
    aps.busy_ticks = TICKS(150 * MS);
    fake_aps_prepare(&aps);
    smp_wake(aps.smp, &result);
    assert_int_equal(result.unsent, 1);
    assert_int_equal(result.icr_writes, 1);
    assert_int_equal(result.arrived, 0);
    aps.busy_from = 0;
    fake_aps_let_pass(&aps, 60 * MS);
    smp_wake(aps.smp, &result);
    assert_int_equal(result.unsent, 0);
    assert_int_equal(result.icr_writes, 2);
    assert_int_equal(result.arrived, 2);
}

// ---- the bound ----

// Nobody answers, by any plan: the round is over within the bound, and no sooner than its
// time-outs.
static void test_the_bound(void **state)
{
    static const uint32_t sipis[] = {SMP_SIPIS_AUTO, 1, 2, 4};
    static const uint32_t init_us[] = {INIT_US_AUTO, 0, 20000};

    (void)state;
    for (uint32_t i = 0; i < 3 * 4 * 3 * 3; i++) {
        const uint32_t retries = i % 3;
        open_aps(4, (enum smp_strategy)(i / 36), sipis[i / 9 % 4]);
        aps.options.init_us = init_us[i / 3 % 3];
        aps.options.retries = retries;
        aps.options.sipi_us = 700;
        for (uint32_t cpu = 1; cpu < 4; cpu++)
            aps.aps[cpu].to_protected_ticks = FAKE_NEVER;
        fake_aps_prepare(&aps);
        const uint64_t start = fake_now();
        smp_wake(aps.smp, &result);
        const uint64_t ticks = fake_now() - start;
        const uint64_t in_turn = aps.options.wake == SMP_ONE_BY_ONE ? 3 : 1;
        // A microsecond for each wait's last step, which the bound does not know of.
        assert_true(ticks <= TICKS(bound_us() + 6 * in_turn * (retries + 1)));
        assert_true(ticks >= TICKS(in_turn * (retries + 1) * TIMEOUT_US));
        assert_int_equal(result.arrived, 0);
        fake_aps_close(&aps);
    }
}

// The same with a local APIC that takes nothing at all.
static void test_the_bound_of_a_stuck_xapic(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 3 * 2; i++) {
        open_aps(4, (enum smp_strategy)(i / 2), i % 2 == 0 ? SMP_SIPIS_AUTO : 2);
        aps.options.apic = APIC_XAPIC;
        aps.busy_from = 1;
        aps.busy_ticks = FAKE_NEVER;
        fake_aps_prepare(&aps);
        const uint64_t start = fake_now();
        smp_wake(aps.smp, &result);
        const uint64_t took_us = (fake_now() - start) / FAKE_TICKS_PER_US;
        assert_int_equal(result.icr_writes, 1);
        assert_true(result.unsent >= 6);
        if (took_us > bound_us())
            fail_msg("strategy %u: %lu us, the bound says %lu", i / 2, (unsigned long)took_us,
                     (unsigned long)bound_us());
        fake_aps_close(&aps);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        APS_TEST(test_at_once),
        APS_TEST(test_wrong_order),
        APS_TEST(test_after_the_second_startup),
        APS_TEST(test_only_in_the_retry),
        APS_TEST(test_never),
        APS_TEST(test_nobody_comes),
        APS_TEST(test_too_late),
        APS_TEST(test_awaiting_the_late),
        APS_TEST(test_late_but_before_the_retry),
        APS_TEST(test_come_while_init_is_on_its_way),
        APS_TEST(test_come_while_init_is_on_its_way_auto),
        APS_TEST(test_late_ones_are_left_in_peace),
        APS_TEST(test_given_up_while_others_are_waited_for),
        APS_TEST(test_rounds),
        APS_TEST(test_a_stale_stage),
        APS_TEST(test_a_late_one_from_an_earlier_round),
        APS_TEST(test_a_late_one_comes_before_its_init),
        APS_TEST(test_who_is_held_has_left_nothing),
        APS_TEST(test_stage_is_of_one_generation),
        APS_TEST(test_us_is_of_the_last_round),
        APS_TEST(test_one_hangs_in_c),
        APS_TEST(test_a_tsc_that_is_behind),
        APS_TEST(test_a_tsc_that_is_far_ahead),
        APS_TEST(test_a_hidden_processor),
        APS_TEST(test_an_ap_without_nx),
        APS_TEST(test_a_slow_xapic),
        APS_TEST(test_a_stuck_xapic),
        APS_TEST(test_unsent_is_of_one_round),
        APS_TEST(test_the_bound),
        APS_TEST(test_the_bound_of_a_stuck_xapic),
    };

    return cmocka_run_group_tests(tests, aps_set_up, NULL);
}
