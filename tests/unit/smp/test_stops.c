// Time that nobody watched: the BSP is stopped, by an SMI or a hypervisor, alone or with all
// others, at every moment of a wake, and whoever is alive is neither lost nor woken a second time.
// The measure itself is in tests/unit/hw/test_watch.c.
#include "fake_aps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "failing.h"
#include "null.h"
#include "watch.h"

#define MS        1000u // in microseconds
#define TICKS(us) ((uint64_t)(us)*FAKE_TICKS_PER_US)
#define STOP_US   (1200 * MS)

// How long an AP takes from its STARTUP to C, and from its turn to its line: long against the waits
// that a stop falls into, short against the time-out of a second.
#define TO_C_US    (30 * MS)
#define TO_LINE_US (30 * MS)

static struct fake_aps aps;
static struct smp_round result;

// One stop: from `at` on, counted from the first message, the BSP sees nothing for `ticks`.
static struct {
    uint64_t at, ticks; // `at` in ticks of the clock; 0: none, or over
    bool everybody;     // the APs stand, too
} stop;

static int set_up(void **state)
{
    (void)state;
    failures_fail_the_test();
    memset(&stop, 0, sizeof stop);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_aps_close(&aps);
    return 0;
}

static void put_off(uint64_t *due)
{
    if (*due != FAKE_NEVER && *due > fake_now())
        *due += stop.ticks;
}

static void stop_once(struct fake_aps *machine, uint64_t now)
{
    if (stop.at == 0 || now < stop.at)
        return;
    stop.at = 0;
    for (size_t cpu = 1; cpu < machine->count && stop.everybody; cpu++)
        put_off(&machine->aps[cpu].due);
    if (stop.everybody) {
        put_off(&machine->next_due);
        put_off(&machine->busy_until);
    }
    fake_advance(stop.ticks);
}

static void open_aps(enum smp_strategy wake, uint32_t sipis, uint32_t retries)
{
    fake_aps_open(&aps, 4);
    aps.options.wake = wake;
    aps.options.sipis = sipis;
    aps.options.retries = retries;
    aps.options.init_us = 10 * MS;
    for (uint32_t cpu = 1; cpu < 4; cpu++) {
        aps.aps[cpu].to_c_ticks = TICKS(TO_C_US);
        aps.aps[cpu].to_greeting_ticks = TICKS(TO_LINE_US);
    }
    aps.watch = stop_once;
}

static void stop_in(uint64_t us)
{
    stop.at = fake_now() + TICKS(us);
    stop.ticks = TICKS(STOP_US);
}

static void assert_all_came_by_the_first(void)
{
    assert_int_equal(stop.at, 0); // it was stopped
    assert_int_equal(result.arrived, 3);
    assert_int_equal(result.retried, 0);
    assert_int_equal(result.unsent, 0);
    for (uint32_t cpu = 1; cpu < 4; cpu++) {
        const struct book *account = fake_book(&aps, cpu);
        assert_int_equal(account->tries, 1);
        assert_int_equal(account->lost, 0);
        assert_int_equal(account->arrived, 1);
        assert_int_equal(aps.aps[cpu].inits, 1);
        assert_int_equal(aps.aps[cpu].arrivals, 1);
    }
}

// In the wait after INIT; between two STARTUPs; and, early and late, while the APs are awaited.
static void test_stopped_at_each_stage(void **state)
{
    static const uint64_t moments_us[] = {
        1, 5 * MS, 10 * MS + 1, 10 * MS + 100, 10 * MS + 300, 20 * MS, 39 * MS};

    (void)state;
    for (enum smp_strategy wake = SMP_PARALLEL; wake <= SMP_BROADCAST; wake++) {
        for (size_t moment = 0; moment < sizeof moments_us / sizeof moments_us[0]; moment++) {
            for (uint32_t kind = 0; kind < 8; kind++) {
                open_aps(wake, kind & 1 ? SMP_SIPIS_AUTO : 2, kind >> 1 & 1);
                stop.everybody = kind >> 2;
                fake_aps_prepare(&aps);
                stop_in(moments_us[moment]);
                smp_wake(aps.smp, &result);
                assert_all_came_by_the_first();
                fake_aps_close(&aps);
            }
        }
    }
}

// Everybody is stopped while the APs need nearly all of their time-out.
static void test_an_ap_that_is_stopped_itself(void **state)
{
    (void)state;
    for (uint32_t retries = 0; retries < 2; retries++) {
        open_aps(SMP_PARALLEL, SMP_SIPIS_AUTO, retries);
        for (uint32_t cpu = 1; cpu < 4; cpu++)
            aps.aps[cpu].to_c_ticks = TICKS(850 * MS);
        stop.everybody = true;
        fake_aps_prepare(&aps);
        stop_in(500 * MS);
        smp_wake(aps.smp, &result);
        assert_all_came_by_the_first();
        fake_aps_close(&aps);
    }
}

// An xAPIC's message is still on its way when the stop begins: it has left behind it.
static void test_stopped_while_a_message_leaves(void **state)
{
    (void)state;
    for (uint64_t us = 1; us < 120; us += 7) {
        open_aps(SMP_PARALLEL, SMP_SIPIS_AUTO, 0);
        aps.options.apic = APIC_XAPIC;
        fake_aps_prepare(&aps);
        aps.busy_from = 1;
        aps.busy_ticks = TICKS(50);
        stop.everybody = true;
        stop_in(us);
        smp_wake(aps.smp, &result);
        assert_all_came_by_the_first();
        fake_aps_close(&aps);
    }
}

// Who is about to greet is not called silent.
static void test_stopped_while_they_greet(void **state)
{
    (void)state;
    for (uint32_t ms = 1; ms < 90; ms += 11) {
        open_aps(SMP_PARALLEL, SMP_SIPIS_AUTO, 0);
        fake_aps_prepare(&aps);
        smp_wake(aps.smp, &result);
        stop.everybody = true;
        stop_in(ms * MS);
        assert_int_equal(smp_take_turns(aps.smp), 3);
        assert_int_equal(stop.at, 0);
        for (uint32_t cpu = 1; cpu < 4; cpu++)
            assert_int_equal(aps.aps[cpu].passed_on, 1);
        fake_aps_close(&aps);
    }
}

// Who comes late is seen to come.
static void test_stopped_while_who_is_late_is_awaited(void **state)
{
    (void)state;
    open_aps(SMP_PARALLEL, SMP_SIPIS_AUTO, 0);
    aps.aps[2].to_c_ticks = TICKS(1500 * MS);
    fake_aps_prepare(&aps);
    smp_wake(aps.smp, &result);
    assert_int_equal(aps.smp->missing_count, 1);
    stop.everybody = true;
    stop_in(1);
    smp_await_late(aps.smp);
    assert_int_equal(aps.smp->missing_count, 0);
    assert_int_equal(fake_book(&aps, 2)->arrived, 0);
}

// The null trampolines count by themselves; here the clock's hook does, a millisecond after their
// start, or after the stop.
static uint64_t resumed;

static void count_up(struct fake_aps *machine, uint64_t now)
{
    struct null_parameters *shared = (struct null_parameters *)(void *)(aps.page + NULL_PARAMETERS);
    const bool was_to_come = stop.at != 0;

    stop_once(machine, now);
    if (was_to_come && stop.at == 0)
        resumed = fake_now();
    for (size_t cpu = 1; cpu < machine->count; cpu++) {
        struct fake_ap *ap = &machine->aps[cpu];
        const uint64_t since = ap->started > resumed ? ap->started : resumed;
        if (ap->state != FAKE_AP_STARTED || fake_now() < since + TICKS(MS))
            continue;
        ap->state = FAKE_AP_HALTED;
        shared->stamp = fake_now();
        atomic_fetch_add(&shared->count, 1);
    }
}

static void test_stopped_while_the_null_trampolines_count(void **state)
{
    struct null_times times;

    (void)state;
    open_aps(SMP_PARALLEL, SMP_SIPIS_AUTO, 0);
    for (uint32_t cpu = 1; cpu < 4; cpu++)
        aps.aps[cpu].to_protected_ticks = FAKE_NEVER;
    fake_aps_prepare(&aps);
    aps.watch = count_up;
    resumed = 0;
    stop.everybody = true;
    stop_in(10 * MS + 500);
    null_measure(aps.smp, &aps.plan.messages, &aps.machine.clock, NULL_REAL, &times);
    assert_int_equal(stop.at, 0);
    assert_int_equal(times.counted, 3);
}

// An AP that waits for its turn takes it when it comes, even behind a stop of its own.
static void hand_turn_over(void *context, uint64_t now)
{
    const bool is_over = stop.at == 0;

    if (is_over)
        atomic_store(&fake_rally(&aps)->turn, 1);
    else
        stop_once(context, now);
}

static void test_an_ap_is_stopped_before_its_turn(void **state)
{
    (void)state;
    for (uint64_t steps = 0; steps < 4; steps++) { // between any two of its instructions
        open_aps(SMP_PARALLEL, SMP_SIPIS_AUTO, 0);
        fake_aps_prepare(&aps);
        struct lcpu *self = fake_lcpu(&aps, 1);
        fake_rally(&aps)->turn_wait_ticks = TICKS(1000 * MS);
        atomic_store(&fake_rally(&aps)->generation, 1);
        atomic_store(&self->state, 1 << 8 | STAGE_LONG);
        self->has_turn = 1;
        stop_in(100);
        stop.at += steps * FAKE_STEP_TICKS;
        fake_on_time(hand_turn_over, &aps);
        ap_main(self);
        assert_int_equal(stage_in_round(self, 1), STAGE_DONE);
        fake_aps_close(&aps);
    }
}

// inject=late: behind the BSP's last look at it, and before it is no longer awaited, whether looks
// come at once or, as on an emulator whose processors hang one after another, once in half a
// second.
static void test_who_is_to_be_late_is_late(void **state)
{
    static const uint64_t looks_us[] = {10,       1000,     31 * MS,  63 * MS,  100 * MS,
                                        200 * MS, 400 * MS, 800 * MS, 2000 * MS};

    (void)state;
    for (size_t i = 0; i < sizeof looks_us / sizeof looks_us[0]; i++) {
        open_aps(SMP_PARALLEL, SMP_SIPIS_AUTO, 0);
        aps.options.init_us = 0;
        for (uint32_t cpu = 1; cpu < 4; cpu++)
            aps.aps[cpu].to_protected_ticks = FAKE_NEVER;
        fake_aps_prepare(&aps);
        fake_log_kinds(0);
        fake_start_clock(fake_now(), TICKS(looks_us[i]) / 2); // a read and a pause each
        const uint64_t start = fake_now();
        smp_wake(aps.smp, &result);
        const uint64_t given_up = fake_now() - start;
        smp_await_late(aps.smp);
        const uint64_t awaited = fake_now() - start;
        struct lcpu *self = fake_lcpu(&aps, 1);
        fake_rally(&aps)->late_us = aps.plan.messages.timeout_us;
        fake_rally(&aps)->ticks_per_us = FAKE_TICKS_PER_US;
        self->defect = DEFECT_LATE;
        self->has_turn = 0;
        const uint64_t entered = fake_now();
        ap_main(self);
        assert_in_range(fake_now() - entered, given_up, awaited);
        fake_aps_close(&aps);
    }
}

// The whole wake with it.
static void test_a_wake_by_a_counter_that_stands_still(void **state)
{
    (void)state;
    open_aps(SMP_PARALLEL, SMP_SIPIS_AUTO, 0);
    for (uint32_t cpu = 1; cpu < 4; cpu++)
        aps.aps[cpu].to_protected_ticks = FAKE_NEVER;
    fake_aps_prepare(&aps);
    fake_log_kinds(0);
    fake_start_clock(fake_now(), 0);
    smp_wake(aps.smp, &result);
    assert_int_equal(result.arrived, 0);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);

    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_stopped_at_each_stage, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_ap_that_is_stopped_itself, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stopped_while_a_message_leaves, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stopped_while_they_greet, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stopped_while_who_is_late_is_awaited, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_stopped_while_the_null_trampolines_count, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_an_ap_is_stopped_before_its_turn, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_who_is_to_be_late_is_late, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_wake_by_a_counter_that_stands_still, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
