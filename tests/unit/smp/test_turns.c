// The turns: the caller's chain of them against APs that take theirs, keep silent, or are too late,
// and the AP's own life in C (smp/ap.c), from its stamp to its return to the page. Surprise: the
// two sides meet in one number, rally.turn, which either may move; whoever is too late must find
// that out from the number and leave it alone.
#include "aps_fixture.h"

#include "hw.h"

#define TURN_US (2 * MS)

static struct smp_round result;

// Prepares, and wakes everybody who comes.
static void wake_up(void)
{
    fake_aps_prepare(&aps);
    smp_wake(aps.smp, &result);
}

static void assert_greeted(size_t count, ...)
{
    va_list expected;

    assert_int_equal(aps.greeted_count, count);
    va_start(expected, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(aps.greeted[i], va_arg(expected, int));
    va_end(expected);
}

// ---- the chain of turns ----

// In CPU order, whatever order they came in, and however the CPU indices and the APIC IDs lie.
static void test_in_cpu_order(void **state)
{
    (void)state;
    fake_aps_open(&aps, 9);
    for (uint32_t cpu = 0; cpu < 9; cpu++) {
        aps.aps[cpu].apic_id = 90 - 10 * cpu;
        aps.aps[cpu].to_c_ticks = TICKS(100 - 10 * cpu);
        aps.aps[cpu].to_greeting_ticks = TICKS(87);
    }
    aps.options.cpus[0] = (struct cpu_range){2, 4};
    aps.options.cpus[1] = (struct cpu_range){7, 8};
    aps.options.cpus_count = 2;
    wake_up();
    assert_int_equal(result.arrived, 5);
    assert_greeted(0); // nobody greets inside the timed wake
    assert_int_equal(take_turns(TURN_US), 5);
    assert_greeted(5, 2, 3, 4, 7, 8);
    assert_int_equal(atomic_load(&fake_rally(&aps)->turn), 0);
    for (uint32_t slot = 1; slot <= 5; slot++) {
        assert_int_equal(fake_book(&aps, slot)->done, 1);
        assert_int_equal(stage_in_round(fake_lcpu(&aps, slot), 1), STAGE_DONE);
    }
    assert_int_equal(fake_lcpu(&aps, 3)->next_turn, 4); // a slot: CPU 7
    assert_int_equal(fake_lcpu(&aps, 5)->next_turn, 0);
}

// One that never greets loses its turn after turn_us; the next gets it.
static void test_one_keeps_silent(void **state)
{
    (void)state;
    for (uint32_t silent = 1; silent < 4; silent++) {
        fake_aps_open(&aps, 4);
        aps.aps[silent].to_greeting_ticks = FAKE_NEVER;
        wake_up();
        const uint64_t start = fake_now();
        assert_int_equal(take_turns(TURN_US), 2);
        assert_in_range(fake_now() - start, TICKS(TURN_US), TICKS(TURN_US) + TICKS(5));
        assert_int_equal(aps.greeted_count, 2);
        assert_int_equal(aps.greeted[0], silent == 1 ? 2 : 1);
        assert_int_equal(aps.greeted[1], silent == 3 ? 2 : 3);
        for (uint32_t cpu = 1; cpu < 4; cpu++)
            assert_int_equal(fake_book(&aps, cpu)->done, cpu != silent);
        assert_int_equal(stage_in_round(fake_lcpu(&aps, silent), 1), FAKE_STAGE_UP);
        assert_int_equal(atomic_load(&fake_rally(&aps)->turn), 0);
        fake_aps_close(&aps);
    }
}

static void test_all_keep_silent(void **state)
{
    (void)state;
    fake_aps_open(&aps, 4);
    for (uint32_t cpu = 1; cpu < 4; cpu++)
        aps.aps[cpu].to_greeting_ticks = FAKE_NEVER;
    wake_up();
    const uint64_t start = fake_now();
    assert_int_equal(take_turns(TURN_US), 0);
    assert_in_range(fake_now() - start, TICKS(3 * TURN_US), TICKS(3 * TURN_US) + TICKS(5));
    assert_int_equal(atomic_load(&fake_rally(&aps)->turn), 0);
}

// Who did not come is not asked, and who comes later is not either.
static void test_the_missing_are_not_asked(void **state)
{
    (void)state;
    fake_aps_open(&aps, 4);
    aps.options.timeout_us = 1 * MS;
    aps.options.retries = 0;
    aps.aps[1].to_protected_ticks = FAKE_NEVER;
    aps.aps[2].to_c_ticks = TICKS(3 * MS);
    aps.aps[3].to_greeting_ticks = TICKS(1800);
    wake_up();
    const uint64_t start = fake_now();
    assert_int_equal(take_turns(TURN_US), 1);
    assert_in_range(fake_now() - start, TICKS(1800), TICKS(1805));
    fake_aps_let_pass(&aps, 5 * MS);
    assert_int_equal(aps.aps[2].arrivals, 1);
    assert_greeted(1, 3);
}

// It took its turn and needed too long: the turn is with the next by then, and it must not pass it
// on.
static void test_one_greets_too_late(void **state)
{
    (void)state;
    fake_aps_open(&aps, 4);
    aps.aps[1].to_greeting_ticks = TICKS(TURN_US + 500);
    aps.aps[2].to_greeting_ticks = TICKS(1000);
    aps.aps[3].to_greeting_ticks = TICKS(1000);
    wake_up();
    assert_int_equal(take_turns(TURN_US), 2);
    assert_greeted(3, 1, 2, 3);
    assert_int_equal(fake_book(&aps, 1)->done, 0);
    assert_int_equal(stage_in_round(fake_lcpu(&aps, 1), 1), STAGE_DONE); // what a verdict can see
    assert_int_equal(atomic_load(&fake_rally(&aps)->turn), 0);
}

// The greeting and the end of its time fall together, on either side.
static void test_just_in_time(void **state)
{
    uint32_t in_time = 0;

    (void)state;
    for (int64_t off = -20; off <= 20; off++) {
        fake_aps_open(&aps, 3);
        aps.aps[1].to_greeting_ticks = (uint64_t)((int64_t)TICKS(TURN_US) + off * 25);
        wake_up();
        const uint32_t done = take_turns(TURN_US);
        fake_aps_let_pass(&aps, 1);
        // Both sides are of one mind about who moved the turn.
        assert_int_equal(fake_book(&aps, 1)->done, aps.aps[1].passed_on);
        assert_int_equal(fake_book(&aps, 2)->done, 1);
        assert_int_equal(done, 1 + aps.aps[1].passed_on);
        assert_int_equal(atomic_load(&fake_rally(&aps)->turn), 0);
        assert_int_equal(aps.greeted_count, 2);
        in_time += aps.aps[1].passed_on;
        fake_aps_close(&aps);
    }
    assert_in_range(in_time, 5, 35); // the edge was among them
}

// It hands its turn on between the BSP's last look at its record and the attempt to take the turn
// back: it has greeted, and the next one has the turn.
static void hand_on_unseen(struct fake_aps *all, uint64_t now)
{
    uint32_t turn = 1;

    (void)now;
    if (all->aps[1].state == FAKE_AP_GREETS)
        atomic_compare_exchange_strong(&fake_rally(all)->turn, &turn, 2);
}

static void test_handed_on_behind_the_last_look(void **state)
{
    (void)state;
    fake_aps_open(&aps, 3);
    aps.aps[1].to_greeting_ticks = FAKE_NEVER; // so far as its record says
    aps.watch = hand_on_unseen;
    wake_up();
    assert_int_equal(take_turns(TURN_US), 2);
    assert_greeted(1, 2);
    assert_int_equal(fake_book(&aps, 1)->done, 1);
    assert_int_equal(fake_book(&aps, 1)->unheard, 0);
    assert_int_equal(atomic_load(&fake_rally(&aps)->turn), 0);
}

// A fault after the chain was made, and before the BSP looks at that AP: it keeps the turn, and the
// one behind it must neither be passed over nor taken for one that has greeted.
static void fault_of_the_second(struct fake_aps *all, uint64_t now)
{
    (void)now;
    if (all->aps[1].state == FAKE_AP_GREETS)
        atomic_store(&fake_lcpu(&aps, 2)->fault.valid, 1);
}

static void test_one_faults_before_its_turn(void **state)
{
    (void)state;
    fake_aps_open(&aps, 4);
    aps.aps[1].to_greeting_ticks = TICKS(50);
    aps.aps[2].to_greeting_ticks = FAKE_NEVER;
    aps.watch = fault_of_the_second;
    wake_up();
    assert_int_equal(take_turns(TURN_US), 2);
    assert_greeted(2, 1, 3);
    assert_int_equal(fake_book(&aps, 2)->done, 0);
    assert_int_equal(fake_book(&aps, 3)->done, 1);
    assert_int_equal(atomic_load(&fake_rally(&aps)->turn), 0);
}

// A fault before the chain was made: it has no place in it, and nobody waits for it.
static void test_who_has_met_a_fault_is_not_asked(void **state)
{
    (void)state;
    fake_aps_open(&aps, 4);
    wake_up();
    atomic_store(&fake_lcpu(&aps, 2)->fault.valid, 1);
    assert_int_equal(take_turns(TURN_US), 2);
    assert_greeted(2, 1, 3);
}

// One that checks in just after the chain was made has no place in it: it is not asked, and has not
// greeted.
static void ready_with_the_first_turn(struct fake_aps *all, uint64_t now)
{
    (void)now;
    if (all->aps[1].state == FAKE_AP_GREETS)
        atomic_store(&fake_lcpu(&aps, 2)->state, 1 << 8 | STAGE_READY);
}

static void test_one_is_ready_too_late(void **state)
{
    (void)state;
    fake_aps_open(&aps, 4);
    aps.options.timeout_us = 1 * MS;
    aps.aps[1].to_greeting_ticks = TICKS(50);
    aps.aps[2].hangs_in_c = true;
    aps.watch = ready_with_the_first_turn;
    wake_up();
    assert_int_equal(result.arrived, 3);
    const uint64_t start = fake_now();
    assert_int_equal(take_turns(TURN_US), 2);
    assert_in_range(fake_now() - start, TICKS(50), TICKS(60));
    assert_greeted(2, 1, 3);
    assert_int_equal(fake_book(&aps, 2)->done, 0);
}

// After the turns are closed nobody waits any more, however long it would; until the next round.
static void test_closed(void **state)
{
    (void)state;
    fake_aps_open(&aps, 4);
    aps.options.timeout_us = 1 * MS;
    aps.options.retries = 0;
    aps.aps[1].to_c_ticks = TICKS(2 * MS);
    wake_up();
    assert_int_equal(take_turns(TURN_US), 2);
    fake_aps_let_pass(&aps, 2 * MS);
    assert_int_equal(aps.aps[1].state, FAKE_AP_IN_C);
    smp_close_turns(aps.smp);
    fake_aps_let_pass(&aps, 1);
    assert_int_equal(aps.aps[1].state, FAKE_AP_HALTED);
    assert_greeted(2, 2, 3);
    // Another round opens them again, for who had none: it waits although it is long before its
    // turn.
    aps.aps[1].to_c_ticks = 0;
    smp_wake(aps.smp, &result);
    assert_int_equal(fake_rally(&aps)->turn, 0);
    assert_int_equal(aps.aps[1].state, FAKE_AP_IN_C);
    assert_int_equal(take_turns(TURN_US), 1);
    assert_greeted(3, 2, 3, 1);
}

// ---- rounds: one greeting an AP in all ----

static void test_one_greeting_in_all_rounds(void **state)
{
    (void)state;
    fake_aps_open(&aps, 4);
    aps.aps[2].deaf_inits = 1;
    aps.options.retries = 0;
    aps.options.timeout_us = 1 * MS;
    wake_up();
    assert_int_equal(take_turns(TURN_US), 2);
    smp_wake(aps.smp, &result);
    assert_int_equal(result.arrived, 3);
    assert_int_equal(fake_lcpu(&aps, 1)->has_turn, 0);
    assert_int_equal(fake_lcpu(&aps, 2)->has_turn, 1);
    assert_int_equal(take_turns(TURN_US), 1);
    for (uint32_t round = 3; round <= 20; round++) {
        smp_wake(aps.smp, &result);
        assert_int_equal(result.arrived, 3);
        assert_int_equal(take_turns(TURN_US), 0);
    }
    assert_greeted(3, 1, 3, 2);
}

// A silent one is asked again in the next round.
static void test_asked_again(void **state)
{
    (void)state;
    fake_aps_open(&aps, 3);
    aps.aps[1].to_greeting_ticks = FAKE_NEVER;
    wake_up();
    assert_int_equal(take_turns(TURN_US), 1);
    aps.aps[1].to_greeting_ticks = 0;
    smp_wake(aps.smp, &result);
    assert_int_equal(take_turns(TURN_US), 1);
    assert_greeted(2, 2, 1);
}

// But not for ever: with many rounds everybody would wait for it in each.
static void test_asked_twice_at_most(void **state)
{
    (void)state;
    fake_aps_open(&aps, 3);
    aps.aps[1].to_greeting_ticks = FAKE_NEVER;
    wake_up();
    assert_int_equal(take_turns(TURN_US), 1);
    for (uint32_t round = 2; round <= 5; round++) {
        smp_wake(aps.smp, &result);
        assert_int_equal(result.arrived, 2);
        const uint64_t start = fake_now();
        assert_int_equal(take_turns(TURN_US), 0);
        assert_int_equal(fake_lcpu(&aps, 1)->has_turn, round == 2); // nor does it wait for a turn
        if (round == 2)
            assert_true(fake_now() - start >= TICKS(TURN_US));
        else
            assert_in_range(fake_now() - start, 0, TICKS(1));
    }
}

// One whose greeting came too late for its turn has greeted all the same.
static void test_a_late_greeting_is_not_repeated(void **state)
{
    (void)state;
    fake_aps_open(&aps, 3);
    aps.aps[1].to_greeting_ticks = TICKS(TURN_US + 500);
    aps.aps[2].to_greeting_ticks = TICKS(1000);
    wake_up();
    assert_int_equal(take_turns(TURN_US), 1);
    assert_greeted(2, 1, 2);
    aps.aps[1].to_greeting_ticks = 0;
    smp_wake(aps.smp, &result);
    assert_int_equal(result.arrived, 2);
    (void)take_turns(TURN_US);
    assert_int_equal(aps.aps[1].greetings, 1);
}

// ---- the AP's own code ----

// The caller's function, and what it saw: who ran it, and how that AP's record and the turn stood.
static struct {
    struct smp_self self[256];
    uint32_t state, turn;
    uint64_t ticks;          // what each takes
    uint32_t turn_meanwhile; // what the turn becomes while it runs; UINT32_MAX: nothing
    size_t count;
    bool fails;
} ran;

static bool run(void *context, const struct smp_self *self)
{
    assert_ptr_equal(context, &ran);
    ran.state = atomic_load(&fake_lcpu(&aps, self->slot)->state);
    ran.turn = atomic_load(&fake_rally(&aps)->turn);
    if (ran.turn_meanwhile != UINT32_MAX)
        atomic_store(&fake_rally(&aps)->turn, ran.turn_meanwhile);
    fake_advance(ran.ticks);
    ran.self[ran.count++] = *self;
    return !ran.fails;
}

static void host_runs(void)
{
    memset(&ran, 0, sizeof ran);
    ran.turn_meanwhile = UINT32_MAX;
    aps.host.context = &ran;
    aps.host.run = run;
}

// An AP of round `round`, in C's first instruction, as the trampoline leaves it; the round under
// way is 7.
static void stand_at_entry(uint32_t apic_id, uint32_t round)
{
    fake_aps_open(&aps, 3);
    aps.aps[1].apic_id = apic_id;
    host_runs();
    fake_aps_prepare(&aps);
    fake_on_time(NULL, NULL); // the model's APs stay out of it
    fake_rally(&aps)->turn_wait_ticks = TICKS(3 * MS);
    atomic_store(&fake_rally(&aps)->generation, 7);
    struct lcpu *lcpu = fake_lcpu(&aps, 1);
    lcpu->has_turn = 1;
    lcpu->next_turn = 2;
    atomic_store(&lcpu->state, round << 8 | STAGE_LONG);
}

static void run_ap(void)
{
    ap_main(fake_lcpu(&aps, 1));
}

static void set_turn(uint32_t turn)
{
    atomic_store(&fake_rally(&aps)->turn, turn);
}

static uint32_t turn(void)
{
    return atomic_load(&fake_rally(&aps)->turn);
}

static void test_ap_main_takes_its_turn(void **state)
{
    (void)state;
    stand_at_entry(299, 7);
    set_turn(1);
    const uint64_t start = fake_now();
    run_ap();
    assert_int_equal(ran.count, 1);
    assert_int_equal(ran.self[0].slot, 1);
    assert_int_equal(ran.self[0].cpu, 1);
    assert_int_equal(ran.self[0].apic_id, 299);
    assert_int_equal(fake_lcpu(&aps, 1)->tsc_c, start + FAKE_STEP_TICKS); // its first act
    assert_int_equal(atomic_load(&fake_lcpu(&aps, 1)->state), 7 << 8 | STAGE_DONE);
    assert_int_equal(atomic_load(&fake_rally(&aps)->arrived), 1);
    assert_int_equal(turn(), 2);
    // While it ran it had checked in and was not done yet, and the turn was its own.
    assert_int_equal(ran.state, 7 << 8 | STAGE_READY);
    assert_int_equal(ran.turn, 1);
}

// The turn names a slot, the caller's function is told all three numbers.
static void test_ap_main_has_three_numbers(void **state)
{
    (void)state;
    stand_at_entry(5, 7);
    fake_lcpu(&aps, 1)->cpu = 4294967294u;
    set_turn(4294967294u);
    run_ap();
    assert_int_equal(ran.count, 0);
    fake_aps_close(&aps);
    stand_at_entry(5, 7);
    fake_lcpu(&aps, 1)->cpu = 4294967294u;
    set_turn(1);
    run_ap();
    assert_int_equal(ran.self[0].slot, 1);
    assert_int_equal(ran.self[0].cpu, 4294967294u);
    assert_int_equal(ran.self[0].apic_id, 5);
}

// Nobody has given it a function: the turn goes on all the same.
static void test_ap_main_with_nothing_to_run(void **state)
{
    (void)state;
    stand_at_entry(1, 7);
    fake_rally(&aps)->host.run = NULL;
    set_turn(1);
    run_ap();
    assert_int_equal(atomic_load(&fake_lcpu(&aps, 1)->state), 7 << 8 | STAGE_DONE);
    assert_int_equal(turn(), 2);
}

// It did not do what it was to do: not counted, and the turn is the caller's to take back.
static void test_ap_main_whose_function_fails(void **state)
{
    (void)state;
    stand_at_entry(1, 7);
    ran.fails = true;
    set_turn(1);
    run_ap();
    assert_int_equal(ran.count, 1);
    assert_int_equal(atomic_load(&fake_lcpu(&aps, 1)->state), 7 << 8 | STAGE_READY);
    assert_int_equal(turn(), 1);
}

static struct {
    uint64_t open_at;
    uint32_t turn;
} bsp;

static void open_turn_in_time(void *context, uint64_t now)
{
    (void)context;
    if (now >= bsp.open_at)
        set_turn(bsp.turn);
    else
        assert_int_equal(ran.count, 0);
}

static void test_ap_main_waits_for_its_turn(void **state)
{
    (void)state;
    stand_at_entry(1, 7);
    set_turn(2); // another's
    bsp.open_at = fake_now() + TICKS(2 * MS);
    bsp.turn = 1;
    fake_on_time(open_turn_in_time, NULL);
    run_ap();
    assert_int_equal(ran.count, 1);
}

// Who runs the function, who is too late, whose function fails, and who has had its turn in a round
// before: the same PAT on all whom nobody else has given it.
static void test_ap_main_takes_the_pat(void **state)
{
    static const struct {
        uint32_t turn;
        bool fails;
        uint8_t has_turn;
        uint64_t pat, then;
    } cases[] = {
        {1, false, 1, 0x0106, 0x0106}, {TURN_CLOSED, false, 1, 0x0106, 0x0106},
        {2, false, 1, 0x0106, 0x0106}, {1, true, 1, 0x0106, 0x0106},
        {1, false, 1, 0, 0x0406},      {1, false, 0, 0x0106, 0x0406},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        stand_at_entry(1, 7);
        fake_set_cell(FAKE_MSR, MSR_IA32_PAT, 0x0406);
        fake_rally(&aps)->pat = cases[i].pat;
        ran.fails = cases[i].fails;
        fake_lcpu(&aps, 1)->has_turn = cases[i].has_turn;
        set_turn(cases[i].turn);
        run_ap();
        assert_int_equal(fake_cell(FAKE_MSR, MSR_IA32_PAT), cases[i].then);
        fake_aps_close(&aps);
    }
}

// No turn of its own: it gives up after turn_wait_ticks, and does not touch the turn.
static void test_ap_main_gives_up(void **state)
{
    static const uint32_t turns[] = {0, 2};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        stand_at_entry(1, 7);
        set_turn(turns[i]);
        const uint64_t start = fake_now();
        run_ap();
        assert_in_range(fake_now() - start, TICKS(3 * MS), TICKS(3 * MS + 2));
        assert_int_equal(ran.count, 0);
        assert_int_equal(turn(), turns[i]);
        assert_int_equal(stage_in_round(fake_lcpu(&aps, 1), 7), STAGE_READY);
        assert_int_equal(atomic_load(&fake_rally(&aps)->arrived), 1);
        fake_aps_close(&aps);
    }
}

// The caller has closed the turns: no one waits any longer than that.
static void test_ap_main_finds_the_turn_closed(void **state)
{
    (void)state;
    stand_at_entry(1, 7);
    fake_rally(&aps)->turn_wait_ticks = FAKE_NEVER;
    bsp.open_at = fake_now() + TICKS(2 * MS);
    bsp.turn = TURN_CLOSED;
    fake_on_time(open_turn_in_time, NULL);
    run_ap();
    assert_in_range(fake_now(), bsp.open_at, bsp.open_at + TICKS(2));
    assert_int_equal(ran.count, 0);
    assert_int_equal(stage_in_round(fake_lcpu(&aps, 1), 7), STAGE_READY);
    assert_int_equal(turn(), TURN_CLOSED);
}

// Its turn was taken back while the function ran: it leaves the turn where the caller put it.
static void test_ap_main_is_overtaken(void **state)
{
    (void)state;
    stand_at_entry(1, 7);
    ran.turn_meanwhile = 0;
    set_turn(1);
    run_ap();
    assert_int_equal(ran.count, 1);
    assert_int_equal(turn(), 0);
    assert_int_equal(atomic_load(&fake_lcpu(&aps, 1)->state), 7 << 8 | STAGE_DONE);
}

// It has run the function in an earlier round: it checks in and halts, even if the turn should name
// it.
static void test_ap_main_that_has_no_turn(void **state)
{
    (void)state;
    stand_at_entry(1, 7);
    fake_lcpu(&aps, 1)->has_turn = 0;
    set_turn(1);
    const uint64_t start = fake_now();
    run_ap();
    assert_in_range(fake_now() - start, 0, TICKS(2));
    assert_int_equal(ran.count, 0);
    assert_int_equal(atomic_load(&fake_rally(&aps)->arrived), 1);
    assert_int_equal(stage_in_round(fake_lcpu(&aps, 1), 7), STAGE_READY);
    assert_int_equal(turn(), 1);
}

// It started in round 6 and arrives in round 7: its stage is round 6's, and round 7 does not count
// it.
static void test_ap_main_of_an_earlier_round(void **state)
{
    (void)state;
    stand_at_entry(1, 6);
    run_ap();
    assert_int_equal(atomic_load(&fake_rally(&aps)->arrived), 0);
    assert_int_equal(stage_in_round(fake_lcpu(&aps, 1), 7), STAGE_NONE);
    assert_int_equal(stage_in_round(fake_lcpu(&aps, 1), 6), STAGE_READY);
    assert_int_equal(ran.count, 0);
}

// Whom the trampoline was told to keep: late by more than it is waited for, and before
// smp_await_late gives up.
static void test_ap_main_that_oversleeps(void **state)
{
    (void)state;
    stand_at_entry(1, 7);
    fake_lcpu(&aps, 1)->defect = DEFECT_LATE;
    fake_rally(&aps)->late_us = 800;
    set_turn(1);
    const uint64_t start = fake_now();
    run_ap();
    assert_in_range(fake_lcpu(&aps, 1)->tsc_c - start, TICKS(1300), TICKS(1302));
    assert_int_equal(ran.count, 1);
}

// In C, before it checks in: nobody counts it.
static void test_ap_main_that_faults_in_c(void **state)
{
    (void)state;
    stand_at_entry(1, 7);
    fake_lcpu(&aps, 1)->defect = DEFECT_UD_C;
    set_turn(1);
    FAKE_UNTIL_HALT(run_ap());
    assert_int_equal(atomic_load(&fake_lcpu(&aps, 1)->state), 7 << 8 | STAGE_C);
    assert_int_equal(atomic_load(&fake_rally(&aps)->arrived), 0);
    assert_int_equal(ran.count, 0);
}

static uint64_t released;

static void release(void *context, uint64_t now)
{
    (void)context;
    if (now < released)
        return;
    assert_int_equal(atomic_load(&fake_lcpu(&aps, 1)->state) & 0xff, STAGE_C);
    fake_on_time(NULL, NULL);
    fake_lcpu(&aps, 1)->defect = DEFECT_NONE;
}

static void test_ap_main_that_hangs_in_c(void **state)
{
    (void)state;
    stand_at_entry(1, 7);
    fake_lcpu(&aps, 1)->defect = DEFECT_HANG_C;
    set_turn(1);
    released = fake_now() + TICKS(5 * MS);
    fake_on_time(release, NULL);
    run_ap();
    assert_true(fake_now() >= released);
    assert_int_equal(ran.count, 1);
}

// Long after its turn, when the round is over for everybody.
static void test_ap_main_that_faults_when_done(void **state)
{
    (void)state;
    stand_at_entry(1, 7);
    fake_lcpu(&aps, 1)->defect = DEFECT_UD_WHEN_DONE;
    set_turn(1);
    const uint64_t start = fake_now();
    FAKE_UNTIL_HALT(run_ap());
    assert_true(fake_now() - start >= TICKS(12 * MS));
    assert_int_equal(atomic_load(&fake_lcpu(&aps, 1)->state), 7 << 8 | STAGE_DONE);
    assert_int_equal(turn(), 2);
}

// ---- both sides ----

static void test_both_sides(void **state)
{
    (void)state;
    fake_aps_open(&aps, 4);
    aps.run_ap_main = true;
    aps.aps[3].apic_id = 0x12b;
    aps.aps[2].to_greeting_ticks = TICKS(100);
    host_runs();
    wake_up();
    assert_int_equal(result.arrived, 3);
    assert_int_equal(ran.count, 0); // nothing inside the timed wake
    assert_int_equal(take_turns(TURN_US), 3);
    assert_int_equal(ran.count, 3);
    for (uint32_t slot = 1; slot <= 3; slot++) {
        assert_int_equal(ran.self[slot - 1].slot, slot);
        assert_int_equal(ran.self[slot - 1].cpu, slot);
        assert_int_equal(ran.self[slot - 1].apic_id, slot == 3 ? 0x12b : slot);
    }
    assert_int_equal(turn(), 0);
}

// Many turns, each as long as the last greeting of a slow line: what passes between two of them is
// next to nothing, since each AP hands its turn on by itself.
static void test_turns_cost_what_the_function_costs(void **state)
{
    const uint32_t count = 255;
    const uint64_t each = TICKS(2700); // a line of 31 characters at 115,200 baud

    (void)state;
    fake_aps_open(&aps, count);
    aps.run_ap_main = true;
    host_runs();
    ran.ticks = each;
    wake_up();
    assert_int_equal(result.arrived, count - 1);
    const uint64_t start = fake_now();
    assert_int_equal(take_turns(50 * MS), count - 1);
    assert_in_range(fake_now() - start, (count - 1) * each, (count - 1) * each * 101 / 100);
}

// ---- an AP that somebody else has started ----

// Its registers, as it stands: xAPIC with ID 2, on firmware's tables.
static void stand_as(uint32_t apic_id)
{
    fake_set_cell(FAKE_MSR, 0x1b, 0xfee00800);
    fake_set_cell(FAKE_MMIO, FAKE_MMIO_APIC + 0x20, apic_id << 24);
    fake_set_cr(FAKE_CR0, 0x80000033);
    fake_set_cr(FAKE_CR4, 0x668);
    fake_set_cell(FAKE_MSR, MSR_EFER, 0xd01);
}

static void open_visit(void)
{
    fake_aps_open(&aps, 4);
    aps.options.wake = SMP_FIRMWARE;
    aps.options.exit = ANSWER_NO;
    aps.options.apic = APIC_XAPIC;
    aps.aps[2].apic_id = 9;
    host_runs();
    fake_aps_prepare(&aps);
    fake_on_time(NULL, NULL);
    fake_rally(&aps)->turn_wait_ticks = TICKS(3 * MS);
    smp_begin_round(aps.smp);
}

static void test_a_visit(void **state)
{
    (void)state;
    open_visit();
    const uint64_t start = fake_now();
    struct lcpu *lcpu = fake_lcpu(&aps, 2);
    lcpu->tsc_real = lcpu->tsc_protected = lcpu->tsc_long = 7; // of a round by messages
    stand_as(9);
    smp_visit(aps.smp);
    assert_int_equal(atomic_load(&lcpu->state), 1 << 8 | STAGE_READY);
    assert_true(lcpu->tsc_c > start);
    assert_int_equal(lcpu->tsc_real | lcpu->tsc_protected | lcpu->tsc_long, 0);
    assert_int_equal(lcpu->cr0, 0x80000033);
    assert_int_equal(lcpu->cr4, 0x668);
    assert_int_equal(lcpu->efer, 0xd01);
    assert_int_equal(lcpu->apic_base, 0xfee00800);
    assert_int_equal(atomic_load(&fake_rally(&aps)->arrived), 1);
    result = (struct smp_round){0};
    smp_end_round(aps.smp, start, &result);
    assert_int_equal(result.round, 1);
    assert_int_equal(result.arrived, 1);
    assert_int_equal(ran.count, 0);

    assert_int_equal(smp_open_turns(aps.smp), 2);
    smp_visit_turn(aps.smp);
    assert_int_equal(smp_follow_turns(aps.smp, 2), 1);
    assert_int_equal(ran.count, 1);
    assert_int_equal(ran.self[0].slot, 2);
    assert_int_equal(ran.self[0].apic_id, 9);
    const struct smp_account account = smp_examine(aps.smp, 2);
    assert_int_equal(smp_verdict(&account), SMP_CAUSE_NONE);
    const struct smp_account other = smp_examine(aps.smp, 1);
    assert_true(other.by_firmware);
    assert_int_equal(smp_verdict(&other), SMP_CAUSE_NOT_RUN_BY_FIRMWARE);
}

// An x2APIC has an ID of 32 bits; what IA32_APIC_BASE says counts, not the plan.
static void test_a_visit_finds_itself(void **state)
{
    struct smp_self self;

    (void)state;
    open_visit();
    stand_as(9);
    assert_true(smp_find_self(aps.smp, &self));
    assert_int_equal(self.slot, 2);
    assert_int_equal(self.cpu, 2);
    assert_int_equal(self.apic_id, 9);
    fake_set_cell(FAKE_MSR, 0x1b, 0xfee00c00);
    fake_set_cell(FAKE_MSR, 0x802, 3);
    assert_true(smp_find_self(aps.smp, &self));
    assert_int_equal(self.slot, 3);
    fake_set_cell(FAKE_MSR, 0x802, 0x109);
    assert_false(smp_find_self(aps.smp, &self));
    assert_int_equal(self.apic_id, 0x109);
}

// The caller may see the APIC elsewhere; on the engine's own tables it is where it is.
static void test_self_by_the_apic_that_is_in_sight(void **state)
{
    const uint64_t view = 0xffff8000fee00000;
    struct smp_self self;

    (void)state;
    open_visit();
    stand_as(9);
    aps.smp->apic.view = view;
    fake_set_cell(FAKE_MMIO, view + 0x20, 3u << 24);
    assert_true(smp_find_self(aps.smp, &self));
    assert_int_equal(self.slot, 3);
    fake_set_cr(FAKE_CR3, smp_layout(aps.smp).cr3);
    assert_true(smp_find_self(aps.smp, &self));
    assert_int_equal(self.slot, 2);
}

// One that is in no list touches nothing.
static void test_a_visit_of_a_stranger(void **state)
{
    (void)state;
    open_visit();
    stand_as(77);
    smp_visit(aps.smp);
    smp_visit_turn(aps.smp);
    assert_int_equal(atomic_load(&fake_rally(&aps)->arrived), 0);
    assert_int_equal(ran.count, 0);
    for (uint32_t slot = 0; slot < 4; slot++)
        assert_int_equal(atomic_load(&fake_lcpu(&aps, slot)->state), STAGE_NONE);
}

// ---- the end ----

// All to whom a message went are put back where nothing of the engine's is in use: those who are
// given, by name; all but self, where one message has gone to all.
static void test_hold(void **state)
{
    (void)state;
    for (uint32_t broadcast = 0; broadcast < 2; broadcast++) {
        fake_aps_open(&aps, 3);
        aps.options.wake = broadcast ? SMP_BROADCAST : SMP_PARALLEL;
        wake_up();
        fake_log_clear();
        const uint64_t start = fake_now();
        assert_int_equal(smp_hold(aps.smp), STATUS_OK);
        assert_true(fake_now() - start >= TICKS(10 * MS));
        if (broadcast)
            FAKE_EXPECT_LOG({FAKE_FENCE, 0, 0, 0, 0},
                            {FAKE_WRMSR, 0x830, 0x00000000000c4500, 0, 0});
        else
            FAKE_EXPECT_LOG({FAKE_FENCE, 0, 0, 0, 0}, {FAKE_WRMSR, 0x830, 0x0000000100004500, 0, 0},
                            {FAKE_FENCE, 0, 0, 0, 0},
                            {FAKE_WRMSR, 0x830, 0x0000000200004500, 0, 0});
        for (uint32_t cpu = 1; cpu < 3; cpu++)
            assert_int_equal(aps.aps[cpu].state, FAKE_AP_WAITS);
        fake_aps_close(&aps);
    }
}

// A message to all but self has woken more than are given, whatever was sent after it.
static void test_hold_after_a_broadcast_and_its_retry(void **state)
{
    (void)state;
    fake_aps_open(&aps, 3);
    aps.hidden = 1;
    aps.aps[3].apic_id = 9;
    aps.options.wake = SMP_BROADCAST;
    aps.aps[2].deaf_inits = 1;
    wake_up();
    assert_int_equal(result.retried, 1);
    assert_int_equal(smp_hold(aps.smp), STATUS_OK);
    assert_int_equal(aps.aps[3].state, FAKE_AP_WAITS);
}

// A message that does not go out is told.
static void test_hold_by_a_stuck_xapic(void **state)
{
    (void)state;
    fake_aps_open(&aps, 3);
    aps.options.apic = APIC_XAPIC;
    wake_up();
    aps.busy_from = aps.messages + 1;
    aps.busy_ticks = FAKE_NEVER;
    assert_int_equal(smp_hold(aps.smp), STATUS_TIMEOUT);
}

// Every way into code of the caller's leads to the loop in the page: vectors, entries, the page's
// start.
static void test_seal(void **state)
{
    (void)state;
    fake_aps_open(&aps, 3);
    wake_up();
    smp_seal(aps.smp);
    const uint64_t park = FAKE_PAGE + PAGE_PARK;
    assert_memory_equal(aps.page, "\xfa\xf4\xeb\xfc", 4);
    assert_memory_equal(aps.page + PAGE_PARK, "\xfa\xf4\xeb\xfc", 4);
    for (uint32_t slot = 0; slot < 3; slot++) {
        const struct lcpu *lcpu = fake_lcpu(&aps, slot);
        assert_int_equal(lcpu->entry, park);
        const uint64_t idts[] = {lcpu->idtr.base, lcpu->early_idtr.base};
        for (uint32_t i = 0; i < 64; i++) {
            const uint8_t *gate = (const uint8_t *)(uintptr_t)(idts[i / 32] + i % 32 * 16);
            const uint64_t low = (uint64_t)(gate[0] | gate[1] << 8);
            const uint64_t high = (uint64_t)(gate[6] | gate[7] << 8);
            assert_int_equal(low | high << 16, park);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        APS_TEST(test_in_cpu_order),
        APS_TEST(test_one_keeps_silent),
        APS_TEST(test_all_keep_silent),
        APS_TEST(test_the_missing_are_not_asked),
        APS_TEST(test_one_greets_too_late),
        APS_TEST(test_just_in_time),
        APS_TEST(test_handed_on_behind_the_last_look),
        APS_TEST(test_one_faults_before_its_turn),
        APS_TEST(test_who_has_met_a_fault_is_not_asked),
        APS_TEST(test_one_is_ready_too_late),
        APS_TEST(test_closed),
        APS_TEST(test_one_greeting_in_all_rounds),
        APS_TEST(test_asked_again),
        APS_TEST(test_asked_twice_at_most),
        APS_TEST(test_a_late_greeting_is_not_repeated),
        APS_TEST(test_ap_main_takes_its_turn),
        APS_TEST(test_ap_main_has_three_numbers),
        APS_TEST(test_ap_main_with_nothing_to_run),
        APS_TEST(test_ap_main_whose_function_fails),
        APS_TEST(test_ap_main_waits_for_its_turn),
        APS_TEST(test_ap_main_takes_the_pat),
        APS_TEST(test_ap_main_gives_up),
        APS_TEST(test_ap_main_finds_the_turn_closed),
        APS_TEST(test_ap_main_is_overtaken),
        APS_TEST(test_ap_main_that_has_no_turn),
        APS_TEST(test_ap_main_of_an_earlier_round),
        APS_TEST(test_ap_main_that_oversleeps),
        APS_TEST(test_ap_main_that_faults_in_c),
        APS_TEST(test_ap_main_that_hangs_in_c),
        APS_TEST(test_ap_main_that_faults_when_done),
        APS_TEST(test_both_sides),
        APS_TEST(test_turns_cost_what_the_function_costs),
        APS_TEST(test_a_visit),
        APS_TEST(test_a_visit_finds_itself),
        APS_TEST(test_self_by_the_apic_that_is_in_sight),
        APS_TEST(test_a_visit_of_a_stranger),
        APS_TEST(test_hold),
        APS_TEST(test_hold_after_a_broadcast_and_its_retry),
        APS_TEST(test_hold_by_a_stuck_xapic),
        APS_TEST(test_seal),
    };

    return cmocka_run_group_tests(tests, aps_set_up, NULL);
}
