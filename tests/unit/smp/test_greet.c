// The greetings: the BSP's chain of turns against APs that greet, keep silent, or greet too late,
// and the AP's own life in C (smp/ap.c), from its stamp to its halt, with its line on the wire.
// Surprise: the two sides meet in one number, rally.turn, which either may move; whoever is too
// late must find that out from the number and leave it alone.
#include "fake_aps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "page_table.h"

#define MS        1000u // in microseconds
#define TICKS(us) ((uint64_t)(us)*FAKE_TICKS_PER_US)
#define LINE_US   (2 * MS)

static struct fake_aps aps;
static struct wake_result result;

// What came out of the port.
static struct {
    char text[16384];
    size_t length;
    uint64_t ticks_per_character; // 0: it sends at once
    uint64_t line_quiet;          // when all is out that was written
    uint32_t state;               // of `watched`, when the first character came out
    uint32_t turn_then;           // and whose turn it was
    struct lcpu *watched;
    uint32_t turn_on_first; // what the BSP makes of the turn at that moment; UINT32_MAX: nothing
} wire;

static void fail_test(const char *message)
{
    fail_msg("%s", message);
}

static int set_up(void **state)
{
    (void)state;
    fake_on_failure(fail_test);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_aps_close(&aps);
    return 0;
}

static struct lcpu *lcpu(size_t slot)
{
    return &arena_lcpu(&aps.arena, slot)->lcpu;
}

static struct rally *rally(void)
{
    return arena_rally(&aps.arena);
}

static uint64_t read_line_status(void *context, uint64_t address)
{
    (void)context;
    (void)address;
    return fake_now() >= wire.line_quiet ? 0x60 : 0x00;
}

static void write_data(void *context, uint64_t address, uint64_t value)
{
    (void)context;
    (void)address;
    if (wire.length == 0 && wire.watched != NULL) {
        wire.state = atomic_load(&wire.watched->state);
        wire.turn_then = atomic_load(&rally()->turn);
        if (wire.turn_on_first != UINT32_MAX)
            atomic_store(&rally()->turn, wire.turn_on_first);
    }
    wire.line_quiet =
        (fake_now() > wire.line_quiet ? fake_now() : wire.line_quiet) + wire.ticks_per_character;
    assert_true(wire.line_quiet <= fake_now() + 17 * wire.ticks_per_character); // its FIFO
    assert_true(wire.length + 1 < sizeof wire.text);
    wire.text[wire.length++] = (char)value;
    wire.text[wire.length] = '\0';
}

// A UART that is always ready, at COM1.
static void open_wire(void)
{
    memset(&wire, 0, sizeof wire);
    wire.turn_on_first = UINT32_MAX;
    fake_hook(FAKE_PORT8, 0x3fd, 0x3fd, read_line_status, NULL, NULL);
    fake_hook(FAKE_PORT8, 0x3f8, 0x3f8, NULL, write_data, NULL);
    aps.console.uart = (struct uart){.port = 0x3f8,
                                     .present = true,
                                     .divisor = 1,
                                     .fifo_bytes = 16,
                                     .timeout_ticks = TICKS(100),
                                     .character_ticks = TICKS(8334)};
}

// Prepares, and wakes everybody who comes.
static void wake_up(void)
{
    fake_aps_prepare(&aps);
    wake_round(&aps.wake, &result);
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
    assert_int_equal(result.up, 5);
    assert_greeted(0); // nobody greets inside the timed wake
    assert_int_equal(wake_greet(&aps.wake, LINE_US), 5);
    assert_greeted(5, 2, 3, 4, 7, 8);
    assert_int_equal(atomic_load(&rally()->turn), 0);
    for (size_t slot = 1; slot <= 5; slot++) {
        assert_int_equal(arena_account(&aps.arena, slot)->greeted, 1);
        assert_int_equal(wake_stage(lcpu(slot), 1), STAGE_GREETED);
    }
    assert_int_equal(lcpu(3)->greet_next,
                     7); // the one after it that is there, not its index and one
    assert_int_equal(lcpu(5)->greet_next, 0);
}

// One that never greets loses its turn after line_us; the next gets it.
static void test_one_keeps_silent(void **state)
{
    (void)state;
    for (uint32_t silent = 1; silent < 4; silent++) {
        fake_aps_open(&aps, 4);
        aps.aps[silent].to_greeting_ticks = FAKE_NEVER;
        wake_up();
        const uint64_t start = fake_now();
        assert_int_equal(wake_greet(&aps.wake, LINE_US), 2);
        assert_in_range(fake_now() - start, TICKS(LINE_US), TICKS(LINE_US) + TICKS(5));
        assert_int_equal(aps.greeted_count, 2);
        assert_int_equal(aps.greeted[0], silent == 1 ? 2 : 1);
        assert_int_equal(aps.greeted[1], silent == 3 ? 2 : 3);
        for (uint32_t cpu = 1; cpu < 4; cpu++)
            assert_int_equal(arena_account(&aps.arena, cpu)->greeted, cpu != silent);
        assert_int_equal(wake_stage(lcpu(silent), 1), FAKE_STAGE_UP);
        assert_int_equal(atomic_load(&rally()->turn), 0);
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
    assert_int_equal(wake_greet(&aps.wake, LINE_US), 0);
    assert_in_range(fake_now() - start, TICKS(3 * LINE_US), TICKS(3 * LINE_US) + TICKS(5));
    assert_int_equal(atomic_load(&rally()->turn), 0);
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
    assert_int_equal(wake_greet(&aps.wake, LINE_US), 1);
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
    aps.aps[1].to_greeting_ticks = TICKS(LINE_US + 500);
    aps.aps[2].to_greeting_ticks = TICKS(1000);
    aps.aps[3].to_greeting_ticks = TICKS(1000);
    wake_up();
    assert_int_equal(wake_greet(&aps.wake, LINE_US), 2);
    assert_greeted(3, 1, 2, 3);
    assert_int_equal(arena_account(&aps.arena, 1)->greeted, 0);
    assert_int_equal(wake_stage(lcpu(1), 1), STAGE_GREETED); // what a verdict can see
    assert_int_equal(atomic_load(&rally()->turn), 0);
}

// The greeting and the end of its time fall together, on either side.
static void test_just_in_time(void **state)
{
    uint32_t in_time = 0;

    (void)state;
    for (int64_t off = -20; off <= 20; off++) {
        fake_aps_open(&aps, 3);
        aps.aps[1].to_greeting_ticks = (uint64_t)((int64_t)TICKS(LINE_US) + off * 25);
        wake_up();
        const uint32_t greeted = wake_greet(&aps.wake, LINE_US);
        fake_aps_let_pass(&aps, 1);
        // Both sides are of one mind about who moved the turn.
        assert_int_equal(arena_account(&aps.arena, 1)->greeted, aps.aps[1].passed_on);
        assert_int_equal(arena_account(&aps.arena, 2)->greeted, 1);
        assert_int_equal(greeted, 1 + aps.aps[1].passed_on);
        assert_int_equal(atomic_load(&rally()->turn), 0);
        assert_int_equal(aps.greeted_count, 2);
        in_time += aps.aps[1].passed_on;
        fake_aps_close(&aps);
    }
    assert_in_range(in_time, 5, 35); // the edge was among them
}

// A fault after the chain was made, and before the BSP looks at that AP: it keeps the turn, and the
// one behind it must neither be passed over nor taken for one that has greeted.
static void fault_of_the_second(struct fake_aps *all, uint64_t now)
{
    (void)now;
    if (all->aps[1].state == FAKE_AP_GREETS)
        atomic_store(&lcpu(2)->fault.valid, 1);
}

static void test_one_faults_before_its_turn(void **state)
{
    (void)state;
    fake_aps_open(&aps, 4);
    aps.aps[1].to_greeting_ticks = TICKS(50);
    aps.aps[2].to_greeting_ticks = FAKE_NEVER;
    aps.watch = fault_of_the_second;
    wake_up();
    assert_int_equal(wake_greet(&aps.wake, LINE_US), 2);
    assert_greeted(2, 1, 3);
    assert_int_equal(arena_account(&aps.arena, 2)->greeted, 0);
    assert_int_equal(arena_account(&aps.arena, 3)->greeted, 1);
    assert_int_equal(atomic_load(&rally()->turn), 0);
}

// One that checks in just after the chain was made has no place in it: it is not asked, and has not
// greeted.
static void ready_with_the_first_turn(struct fake_aps *all, uint64_t now)
{
    (void)now;
    if (all->aps[1].state == FAKE_AP_GREETS)
        atomic_store(&lcpu(2)->state, 1 << 8 | STAGE_READY);
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
    assert_int_equal(result.up, 3);
    const uint64_t start = fake_now();
    assert_int_equal(wake_greet(&aps.wake, LINE_US), 2);
    assert_in_range(fake_now() - start, TICKS(50), TICKS(60));
    assert_greeted(2, 1, 3);
    assert_int_equal(arena_account(&aps.arena, 2)->greeted, 0);
}

// After the last round nobody waits any more, however long it would.
static void test_closed(void **state)
{
    (void)state;
    fake_aps_open(&aps, 4);
    aps.options.timeout_us = 1 * MS;
    aps.options.retries = 0;
    aps.aps[1].to_c_ticks = TICKS(2 * MS);
    wake_up();
    assert_int_equal(wake_greet(&aps.wake, LINE_US), 2);
    fake_aps_let_pass(&aps, 2 * MS);
    assert_int_equal(aps.aps[1].state, FAKE_AP_IN_C);
    wake_close(&aps.wake);
    fake_aps_let_pass(&aps, 1);
    assert_int_equal(aps.aps[1].state, FAKE_AP_HALTED);
    assert_greeted(2, 2, 3);
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
    assert_int_equal(wake_greet(&aps.wake, LINE_US), 2);
    wake_round(&aps.wake, &result);
    assert_int_equal(result.up, 3);
    assert_int_equal(lcpu(1)->greet, 0);
    assert_int_equal(lcpu(2)->greet, 1);
    assert_int_equal(wake_greet(&aps.wake, LINE_US), 1);
    for (uint32_t round = 3; round <= 20; round++) {
        wake_round(&aps.wake, &result);
        assert_int_equal(result.up, 3);
        assert_int_equal(wake_greet(&aps.wake, LINE_US), 0);
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
    assert_int_equal(wake_greet(&aps.wake, LINE_US), 1);
    aps.aps[1].to_greeting_ticks = 0;
    wake_round(&aps.wake, &result);
    assert_int_equal(wake_greet(&aps.wake, LINE_US), 1);
    assert_greeted(2, 2, 1);
}

// But not for ever: with many rounds everybody would wait for it in each.
static void test_asked_twice_at_most(void **state)
{
    (void)state;
    fake_aps_open(&aps, 3);
    aps.aps[1].to_greeting_ticks = FAKE_NEVER;
    wake_up();
    assert_int_equal(wake_greet(&aps.wake, LINE_US), 1);
    for (uint32_t round = 2; round <= 5; round++) {
        wake_round(&aps.wake, &result);
        assert_int_equal(result.up, 2);
        const uint64_t start = fake_now();
        assert_int_equal(wake_greet(&aps.wake, LINE_US), 0);
        assert_int_equal(lcpu(1)->greet, round == 2); // nor does it wait for a turn
        if (round == 2)
            assert_true(fake_now() - start >= TICKS(LINE_US));
        else
            assert_in_range(fake_now() - start, 0, TICKS(1));
    }
}

// One whose greeting came too late for its turn has greeted all the same.
static void test_a_late_greeting_is_not_repeated(void **state)
{
    (void)state;
    fake_aps_open(&aps, 3);
    aps.aps[1].to_greeting_ticks = TICKS(LINE_US + 500);
    aps.aps[2].to_greeting_ticks = TICKS(1000);
    wake_up();
    assert_int_equal(wake_greet(&aps.wake, LINE_US), 1);
    assert_greeted(2, 1, 2);
    aps.aps[1].to_greeting_ticks = 0;
    wake_round(&aps.wake, &result);
    assert_int_equal(result.up, 2);
    (void)wake_greet(&aps.wake, LINE_US);
    assert_int_equal(aps.aps[1].greetings, 1);
}

// ---- the AP's own code ----

// An AP of a finished round, in C's first instruction, as the trampoline leaves it.
static void stand_at_entry(uint32_t cpu, uint32_t generation)
{
    atomic_store(&lcpu(cpu)->state, generation << 8 | STAGE_LONG);
    atomic_store(&rally()->arrived, 0);
    lcpu(cpu)->tsc_c = 0;
    wire.watched = lcpu(cpu);
}

// Two threads a core, two cores a package.
static void tell_location(void)
{
    fake_set_cpuid(0, 0, (struct cpuid){.eax = 0xb});
    fake_set_cpuid(0xb, 0, (struct cpuid){.eax = 1, .ebx = 2, .ecx = 1 << 8});
    fake_set_cpuid(0xb, 1, (struct cpuid){.eax = 2, .ebx = 4, .ecx = 2 << 8});
    fake_set_cpuid(0xb, 2, (struct cpuid){0});
}

static void open_one(uint32_t apic_id)
{
    fake_aps_open(&aps, 3);
    aps.aps[1].apic_id = apic_id;
    fake_aps_prepare(&aps);
    fake_on_time(NULL, NULL); // the model's APs stay out of it
    open_wire();
    rally()->turn_wait_ticks = TICKS(3 * MS);
    atomic_store(&rally()->generation, 7);
    lcpu(1)->greet = 1;
    lcpu(1)->greet_next = 2;
    tell_location();
}

static void run_ap(void)
{
    ap_main(lcpu(1));
}

static void test_ap_main_greets(void **state)
{
    (void)state;
    open_one(1);
    stand_at_entry(1, 7);
    atomic_store(&rally()->turn, 1);
    const uint64_t start = fake_now();
    run_ap();
    assert_string_equal(wire.text, "Hello from CPU 1! APIC ID: 1\r\n");
    assert_int_equal(lcpu(1)->location_known, 1);
    assert_int_equal(lcpu(1)->thread, 1);
    assert_int_equal(lcpu(1)->tsc_c, start + FAKE_STEP_TICKS); // its first act
    assert_int_equal(atomic_load(&lcpu(1)->state), 7 << 8 | STAGE_GREETED);
    assert_int_equal(atomic_load(&rally()->arrived), 1);
    assert_int_equal(atomic_load(&rally()->turn), 2);
    // While it wrote it was in C and had not greeted yet, and the turn was its own.
    assert_true((wire.state & 0xff) >= STAGE_C && (wire.state & 0xff) < STAGE_GREETED);
    assert_int_equal(wire.state >> 8, 7);
    assert_int_equal(wire.turn_then, 1);
}

// Decimal, and two different numbers.
static void test_ap_main_names_both_numbers(void **state)
{
    (void)state;
    open_one(299);
    lcpu(1)->index = 4294967294u;
    stand_at_entry(1, 7);
    atomic_store(&rally()->turn, 4294967294u);
    run_ap();
    assert_string_equal(wire.text, "Hello from CPU 4294967294! APIC ID: 299\r\n");
}

static struct {
    uint64_t open_at;
    uint32_t turn;
} bsp;

static void open_turn_in_time(void *context, uint64_t now)
{
    (void)context;
    if (now >= bsp.open_at)
        atomic_store(&rally()->turn, bsp.turn);
    else
        assert_int_equal(wire.length, 0);
}

static void test_ap_main_waits_for_its_turn(void **state)
{
    (void)state;
    open_one(1);
    stand_at_entry(1, 7);
    atomic_store(&rally()->turn, 2); // another's
    bsp.open_at = fake_now() + TICKS(2 * MS);
    bsp.turn = 1;
    fake_on_time(open_turn_in_time, NULL);
    run_ap();
    assert_string_equal(wire.text, "Hello from CPU 1! APIC ID: 1\r\n");
}

// Who greets, who is too late, who is mute, and who has greeted in a round before: the same PAT on
// all whom nobody else has given it.
static void test_ap_main_takes_the_pat(void **state)
{
    static const struct {
        uint32_t turn;
        uint8_t inject, greet;
        uint64_t pat, then;
    } cases[] = {
        {1, INJECT_NONE, 1, 0x0106, 0x0106}, {TURN_CLOSED, INJECT_NONE, 1, 0x0106, 0x0106},
        {2, INJECT_NONE, 1, 0x0106, 0x0106}, {1, INJECT_MUTE, 1, 0x0106, 0x0106},
        {1, INJECT_NONE, 1, 0, 0x0406},      {1, INJECT_NONE, 0, 0x0106, 0x0406},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        open_one(1);
        fake_set_cell(FAKE_MSR, MSR_IA32_PAT, 0x0406);
        rally()->pat = cases[i].pat;
        lcpu(1)->inject = cases[i].inject;
        lcpu(1)->greet = cases[i].greet;
        stand_at_entry(1, 7);
        atomic_store(&rally()->turn, cases[i].turn);
        run_ap();
        assert_int_equal(fake_cell(FAKE_MSR, MSR_IA32_PAT), cases[i].then);
        fake_aps_close(&aps);
    }
}

// No turn of its own: it gives up after turn_wait_ticks, without a word and without touching the
// turn.
static void test_ap_main_gives_up(void **state)
{
    static const uint32_t turns[] = {0, 2};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        open_one(1);
        stand_at_entry(1, 7);
        atomic_store(&rally()->turn, turns[i]);
        const uint64_t start = fake_now();
        run_ap();
        assert_in_range(fake_now() - start, TICKS(3 * MS), TICKS(3 * MS + 2));
        assert_int_equal(wire.length, 0);
        assert_int_equal(atomic_load(&rally()->turn), turns[i]);
        assert_int_equal(wake_stage(lcpu(1), 7), FAKE_STAGE_UP);
        assert_int_equal(atomic_load(&rally()->arrived), 1);
        fake_aps_close(&aps);
    }
}

// The BSP has closed the turn: no one waits any longer than that.
static void test_ap_main_finds_the_turn_closed(void **state)
{
    (void)state;
    open_one(1);
    rally()->turn_wait_ticks = FAKE_NEVER;
    stand_at_entry(1, 7);
    bsp.open_at = fake_now() + TICKS(2 * MS);
    bsp.turn = TURN_CLOSED;
    fake_on_time(open_turn_in_time, NULL);
    run_ap();
    assert_in_range(fake_now(), bsp.open_at, bsp.open_at + TICKS(2));
    assert_int_equal(wire.length, 0);
    assert_int_equal(wake_stage(lcpu(1), 7), FAKE_STAGE_UP);
    assert_int_equal(atomic_load(&rally()->turn), TURN_CLOSED);
}

// Its turn was taken back while it wrote: it leaves the turn where the BSP put it.
static void test_ap_main_is_overtaken(void **state)
{
    (void)state;
    open_one(1);
    stand_at_entry(1, 7);
    wire.turn_on_first = 0;
    atomic_store(&rally()->turn, 1);
    run_ap();
    assert_string_equal(wire.text, "Hello from CPU 1! APIC ID: 1\r\n");
    assert_int_equal(atomic_load(&rally()->turn), 0);
    assert_int_equal(atomic_load(&lcpu(1)->state), 7 << 8 | STAGE_GREETED);
}

// It has greeted in an earlier round: it checks in and halts, even if the turn should name it.
static void test_ap_main_without_greeting(void **state)
{
    (void)state;
    open_one(1);
    stand_at_entry(1, 7);
    lcpu(1)->greet = 0;
    atomic_store(&rally()->turn, 1);
    const uint64_t start = fake_now();
    run_ap();
    assert_in_range(fake_now() - start, 0, TICKS(2));
    assert_int_equal(wire.length, 0);
    assert_int_equal(atomic_load(&rally()->arrived), 1);
    assert_int_equal(wake_stage(lcpu(1), 7), FAKE_STAGE_UP);
    assert_int_equal(atomic_load(&rally()->turn), 1);
}

// It started in round 6 and arrives in round 7: its stage is round 6's, and round 7 does not count
// it.
static void test_ap_main_of_an_earlier_round(void **state)
{
    (void)state;
    open_one(1);
    stand_at_entry(1, 6);
    run_ap();
    assert_int_equal(atomic_load(&rally()->arrived), 0);
    assert_int_equal(wake_stage(lcpu(1), 7), STAGE_NONE);
    assert_int_equal(wake_stage(lcpu(1), 6), FAKE_STAGE_UP);
    assert_int_equal(wire.length, 0);
}

// log=quiet: records only. It takes its turn without a line, and counts.
static void test_ap_main_quiet(void **state)
{
    (void)state;
    open_one(1);
    aps.console.log = LOG_QUIET;
    stand_at_entry(1, 7);
    atomic_store(&rally()->turn, 1);
    run_ap();
    assert_int_equal(wire.length, 0);
    assert_int_equal(atomic_load(&lcpu(1)->state), 7 << 8 | STAGE_GREETED);
    assert_int_equal(atomic_load(&rally()->turn), 2);
}

// No port at all: the same life, no line.
static void test_ap_main_without_a_port(void **state)
{
    (void)state;
    open_one(1);
    aps.console.uart.present = false;
    stand_at_entry(1, 7);
    atomic_store(&rally()->turn, 1);
    run_ap();
    assert_int_equal(wire.length, 0);
    assert_int_equal(atomic_load(&lcpu(1)->state), 7 << 8 | STAGE_GREETED);
    assert_int_equal(atomic_load(&rally()->turn), 2);
}

// ---- both sides ----

static void test_both_sides(void **state)
{
    (void)state;
    fake_aps_open(&aps, 4);
    aps.run_ap_main = true;
    aps.aps[3].apic_id = 0x12b;
    aps.aps[2].to_greeting_ticks = TICKS(100);
    fake_aps_prepare(&aps);
    open_wire();
    tell_location();
    wake_round(&aps.wake, &result);
    assert_int_equal(result.up, 3);
    assert_int_equal(wire.length, 0);
    assert_int_equal(wake_greet(&aps.wake, LINE_US), 3);
    assert_string_equal(wire.text, "Hello from CPU 1! APIC ID: 1\r\n"
                                   "Hello from CPU 2! APIC ID: 2\r\n"
                                   "Hello from CPU 3! APIC ID: 299\r\n");
    assert_int_equal(atomic_load(&rally()->turn), 0);
}

// ---- on a real line ----

// Greetings by the APs' own code, one after another over a port of 115,200 baud: nobody writes
// before all have stamped, and the line is never idle for long. The FIFO is filled when it is
// empty, so what a processor does between two loads is what may be lost.
static void test_greetings_cost_what_their_bytes_cost(void **state)
{
    const uint64_t character = TICKS(10 * 1000000ull) / 115200;
    const uint32_t count = 255;

    (void)state;
    fake_aps_open(&aps, count);
    aps.run_ap_main = true;
    fake_aps_prepare(&aps);
    open_wire();
    tell_location();
    wire.ticks_per_character = character;
    aps.console.uart.timeout_ticks = TICKS(10 * MS);
    wake_round(&aps.wake, &result);
    assert_int_equal(result.up, count - 1);
    assert_int_equal(wire.length, 0);
    const uint64_t start = fake_now();
    assert_int_equal(wake_greet(&aps.wake, 50 * MS), count - 1);
    const uint64_t end = wire.line_quiet > fake_now() ? wire.line_quiet : fake_now();
    assert_in_range(end - start, wire.length * character, wire.length * character * 11 / 10);
    assert_non_null(strstr(wire.text, "Hello from CPU 254! APIC ID: 254\r\n"));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, NULL, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_in_cpu_order),
        TEST(test_one_keeps_silent),
        TEST(test_all_keep_silent),
        TEST(test_the_missing_are_not_asked),
        TEST(test_one_greets_too_late),
        TEST(test_just_in_time),
        TEST(test_one_faults_before_its_turn),
        TEST(test_one_is_ready_too_late),
        TEST(test_closed),
        TEST(test_one_greeting_in_all_rounds),
        TEST(test_asked_again),
        TEST(test_asked_twice_at_most),
        TEST(test_a_late_greeting_is_not_repeated),
        TEST(test_ap_main_greets),
        TEST(test_ap_main_names_both_numbers),
        TEST(test_ap_main_waits_for_its_turn),
        TEST(test_ap_main_gives_up),
        TEST(test_ap_main_finds_the_turn_closed),
        TEST(test_ap_main_is_overtaken),
        TEST(test_ap_main_takes_the_pat),
        TEST(test_ap_main_without_greeting),
        TEST(test_ap_main_of_an_earlier_round),
        TEST(test_ap_main_quiet),
        TEST(test_ap_main_without_a_port),
        TEST(test_both_sides),
        TEST(test_greetings_cost_what_their_bytes_cost),
    };

    return cmocka_run_group_tests(tests, set_up, NULL);
}
