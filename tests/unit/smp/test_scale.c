// The large machine: 4,096 processors are planned, prepared, woken, asked, and accounted for: by
// each strategy when nearly all come, and once when nobody does. Nothing here is judged by a
// duration: make bench tells how long the default takes.
//
//     test_scale [TEST]
#include "fake_aps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "report.h"
#include "summary.h"
#include "wall_cells.h"

#define CPUS 4096u
#define DEAD 777u

static struct fake_aps aps;
static struct wake_result result;
static struct wall_cpu cells[CPUS];
static struct outcome outcome;
static size_t lines, failures;

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

static void count_line(void *context, const char *text)
{
    (void)context;
    lines++;
    failures += strstr(text, " state=failed ") != NULL;
}

// IDs are sparse and in no order, so some share a place for their mark.
static void open_aps(enum smp_strategy wake)
{
    fake_aps_open(&aps, CPUS);
    aps.options.wake = wake;
    aps.options.init_us = 0;
    aps.options.timeout_us = 5000;
    for (uint32_t cpu = 0; cpu < CPUS; cpu++) {
        aps.aps[cpu].apic_id = (cpu * 2741u % CPUS) * 3;
    }
    lines = failures = 0;
}

static void prepare(void)
{
    fake_aps_prepare(&aps);
    fake_aps_fill_page(&aps);
    fake_set_cpuid(0, 0, (struct cpuid){.eax = 0xb});
    fake_set_cpuid(0xb, 0, (struct cpuid){.eax = 1, .ebx = 2, .ecx = 1u << 8});
    fake_set_cpuid(0xb, 1, (struct cpuid){.eax = 15, .ebx = 64, .ecx = 2u << 8 | 1});
    fake_set_cpuid(0xb, 2, (struct cpuid){.ecx = 2});
    fake_set_cpuid(0x80000000, 0, (struct cpuid){.eax = 0x80000000});
}

// All that is said of them afterwards.
static void report(void)
{
    char buffer[LINE_BYTES];
    struct line line;
    struct console console;

    console_start(&console, LOG_QUIET, 1);
    console.sinks[0] = (struct console_sink){.write_line = count_line};
    report_cpus(&console, &aps.machine, &aps.wake, &outcome);
    assert_int_equal(lines, CPUS);
    assert_int_equal(outcome.up + outcome.failed, CPUS - 1);
    assert_int_equal(outcome.failed, failures);
    line_start(&line, buffer, sizeof buffer);
    summary_write(&aps.machine, &aps.wake, &outcome, "0", &line);
    assert_int_equal(wall_cells(&aps.machine, &aps.wake, cells, CPUS), CPUS);
}

static void nearly_all_come(enum smp_strategy wake)
{
    open_aps(wake);
    aps.aps[DEAD].to_protected_ticks = FAKE_NEVER;
    aps.aps[CPUS - 1].deaf_inits = 1;
    aps.aps[1].lost_startups = 1;
    prepare();
    assert_true(aps.arena.phys + aps.arena.bytes <= 1ull << 32);
    wake_round(&aps.wake, &result);
    assert_int_equal(result.up, CPUS - 2);
    assert_int_equal(result.retried, 1);
    assert_int_equal(result.unsent, 0);
    assert_int_equal(aps.messages, result.icr_writes);
    assert_int_equal(aps.wake.missing_count, 1);
    assert_int_equal(aps.wake.missing[0], DEAD);
    for (uint32_t cpu = 1; cpu < CPUS; cpu++) {
        const struct account *account = arena_account(&aps.arena, cpu);
        struct lcpu *lcpu = &arena_lcpu(&aps.arena, cpu)->lcpu;
        assert_int_equal(account->cpu, cpu);
        assert_int_equal(account->tries, cpu == DEAD || cpu == CPUS - 1 ? 2 : 1);
        assert_int_equal(account->up, cpu != DEAD);
        assert_int_equal(account->lost, cpu == DEAD);
        assert_int_equal(aps.aps[cpu].arrivals, cpu != DEAD);
        assert_ptr_equal(aps.aps[cpu].lcpu, cpu == DEAD ? NULL : lcpu);
        assert_int_equal(lcpu->apic_id, aps.aps[cpu].apic_id);
    }
    (void)wake_greet(&aps.wake, 1000);
    report();
    assert_int_equal(outcome.failed, 1);
}

static void test_nearly_all_come_by_parallel(void **state)
{
    (void)state;
    nearly_all_come(SMP_PARALLEL);
}

static void test_nearly_all_come_by_one_by_one(void **state)
{
    (void)state;
    nearly_all_come(SMP_ONE_BY_ONE);
}

static void test_nearly_all_come_by_broadcast(void **state)
{
    (void)state;
    nearly_all_come(SMP_BROADCAST);
}

static void test_nobody_comes(void **state)
{
    (void)state;
    open_aps(SMP_PARALLEL);
    aps.options.retries = 0;
    for (uint32_t cpu = 1; cpu < CPUS; cpu++)
        aps.aps[cpu].to_protected_ticks = FAKE_NEVER;
    prepare();
    wake_round(&aps.wake, &result);
    report();
    assert_int_equal(outcome.failed, CPUS - 1);
}

// IDs that are a multiple of the marks' number apart leave theirs in the same place; the BSP, of ID
// 5 here, leaves none.
static void test_who_shares_a_mark(void **state)
{
    (void)state;
    fake_aps_open(&aps, 6);
    const uint32_t ids[] = {5, 1024, 2048 + 7, 3, 1024 + 5, 7};
    for (uint32_t cpu = 0; cpu < 6; cpu++) {
        aps.aps[cpu].apic_id = ids[cpu];
    }
    fake_aps_prepare(&aps);
    const uint32_t shared[] = {0, 0, 1, 0, 0, 1};
    for (uint32_t cpu = 0; cpu < 6; cpu++)
        assert_int_equal(arena_account(&aps.arena, cpu)->mark_shared, shared[cpu]);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);

    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nearly_all_come_by_parallel, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nearly_all_come_by_one_by_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nearly_all_come_by_broadcast, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nobody_comes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_who_shares_a_mark, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
