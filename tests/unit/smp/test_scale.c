// The large machine: 4,096 processors are planned, prepared, woken, asked, and accounted for: by
// each strategy when nearly all come, and once when nobody does. Nothing here is judged by a
// duration: make bench tells how long the default takes.
//
//     test_scale [TEST]
#include "aps_fixture.h"

#include "evidence.h"
#include "outcome.h"
#include "report_cpus.h"
#include "summary.h"
#include "wall_cells.h"

#define CPUS 4096u
#define DEAD 777u

static struct smp_round result;
static struct smp_account accounts[CPUS];
static struct hello hellos[CPUS];
static struct wall_cpu cells[CPUS];
static struct outcome outcome;
static size_t lines, failures;

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
    for (uint32_t cpu = 0; cpu < CPUS; cpu++)
        aps.aps[cpu].apic_id = (cpu * 2741u % CPUS) * 3;
    lines = failures = 0;
}

static void prepare(void)
{
    fake_aps_prepare(&aps);
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
    struct evidence evidence = {.accounts = accounts, .hellos = hellos};

    evidence_take(aps.smp, &evidence);
    outcome = outcome_of(&evidence);
    console_start(&console, LOG_QUIET, 1);
    console.sinks[0] = (struct console_sink){.write_line = count_line};
    report_cpus(&console, &aps.machine.inventory, &evidence);
    assert_int_equal(lines, CPUS);
    assert_int_equal(outcome.up + outcome.failed, CPUS - 1);
    assert_int_equal(outcome.failed, failures);
    line_start(&line, buffer, sizeof buffer);
    summary_write(&aps.machine, &evidence, &outcome, "0", &line);
    assert_int_equal(wall_cells(&aps.machine.inventory, &evidence, &aps.machine.clock, cells, CPUS),
                     CPUS);
}

static void nearly_all_come(enum smp_strategy wake)
{
    open_aps(wake);
    aps.aps[DEAD].to_protected_ticks = FAKE_NEVER;
    aps.aps[CPUS - 1].deaf_inits = 1;
    aps.aps[1].lost_startups = 1;
    prepare();
    assert_true(aps.setup.memory.phys + aps.setup.memory.bytes <= 1ull << 32);
    smp_wake(aps.smp, &result);
    assert_int_equal(result.arrived, CPUS - 2);
    assert_int_equal(result.retried, 1);
    assert_int_equal(result.unsent, 0);
    assert_int_equal(aps.messages, result.icr_writes);
    assert_int_equal(aps.smp->missing_count, 1);
    assert_int_equal(aps.smp->missing[0], DEAD);
    for (uint32_t cpu = 1; cpu < CPUS; cpu++) {
        const struct book *book = fake_book(&aps, cpu);
        assert_int_equal(book->tries, cpu == DEAD || cpu == CPUS - 1 ? 2 : 1);
        assert_int_equal(book->arrived, cpu != DEAD);
        assert_int_equal(book->lost, cpu == DEAD);
        assert_int_equal(aps.aps[cpu].arrivals, cpu != DEAD);
        // Each found its own record, by the address that APs have.
        assert_int_equal((uintptr_t)aps.aps[cpu].lcpu,
                         cpu == DEAD ? 0 : arena_page_phys(&aps.smp->arena, cpu));
        assert_int_equal(fake_lcpu(&aps, cpu)->cpu, cpu);
        assert_int_equal(fake_lcpu(&aps, cpu)->apic_id, aps.aps[cpu].apic_id);
    }
    assert_int_equal(take_turns(1000), CPUS - 2);
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
    smp_wake(aps.smp, &result);
    report();
    assert_int_equal(outcome.failed, CPUS - 1);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);

    const struct CMUnitTest tests[] = {
        APS_TEST(test_nearly_all_come_by_parallel),
        APS_TEST(test_nearly_all_come_by_one_by_one),
        APS_TEST(test_nearly_all_come_by_broadcast),
        APS_TEST(test_nobody_comes),
    };

    return cmocka_run_group_tests(tests, aps_set_up, NULL);
}
