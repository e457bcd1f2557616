// Faults on purpose, on an engine: what each becomes in the records, which messages go out, and
// whose evidence is waited for. That each is found out is tried on QEMU
// (tests/boot/test_matrix.py).
#include "aps_fixture.h"

#include <stdio.h>

#include "inject.h"
#include "lapic.h"
#include "told.h"

#define CPUS    4u
#define ICR_MSR 0x830u

static struct injector injector;
static struct smp_round round_;
static struct {
    uint64_t icr[CPUS]; // messages past the APs' ears, in order
    size_t count;
    uint32_t faulting; // the AP that meets a fault ...
    uint64_t fault_at; // ... at this time
} world;

static void meet_fault(struct fake_aps *machine, uint64_t now)
{
    if (world.fault_at != 0 && now >= world.fault_at)
        atomic_store(&fake_lcpu(machine, world.faulting)->fault.valid, 1);
}

static int set_up(void **state)
{
    (void)state;
    memset(&world, 0, sizeof world);
    fake_aps_open(&aps, CPUS);
    aps.options.timeout_us = 1000;
    aps.watch = meet_fault;
    return 0;
}

static void ask(const char *text)
{
    struct told told;
    const struct problems problems = told_listen(&told);

    assert_int_equal(options_parse(text, strlen(text), "test", &problems, &aps.options), STATUS_OK);
    injector = (struct injector){
        .faults = aps.options.inject, .count = aps.options.inject_count, .plan = &aps.plan};
}

static void prepare(const char *text)
{
    ask(text);
    aps.host.filter = inject_has_messages(&injector) ? inject_filter : NULL;
    aps.host.context = &injector;
    fake_aps_prepare(&aps);
}

// ---- what an AP commits by itself ----

static void test_records(void **state)
{
    static const struct {
        const char *word;
        uint8_t defect;
        uint32_t real_defect;
    } known[] = {
        {"hang-real", DEFECT_NONE, DEFECT_HANG_REAL},
        {"ud-real", DEFECT_NONE, DEFECT_UD_REAL},
        {"hang-protected", DEFECT_HANG_PROTECTED, 0},
        {"ud-protected", DEFECT_UD_PROTECTED, 0},
        {"hang-long", DEFECT_HANG_LONG, 0},
        {"ud-long", DEFECT_UD_LONG, 0},
        {"hang-c", DEFECT_HANG_C, 0},
        {"ud-c", DEFECT_UD_C, 0},
        {"late", DEFECT_LATE, 0},
        {"ud-idle", DEFECT_UD_WHEN_DONE, 0},
        {"mute", DEFECT_NONE, 0},
        {"nmi", DEFECT_NONE, 0},
        {"no-sipi", DEFECT_NONE, 0},
        {"bad-vector", DEFECT_NONE, 0},
    };
    char text[64];

    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        snprintf(text, sizeof text, "inject=%s:2", known[i].word);
        prepare(text);
        const struct lcpu before = *fake_lcpu(&aps, 2), other = *fake_lcpu(&aps, 3);
        inject_arm(aps.smp, &injector);
        struct lcpu wanted = before;
        wanted.defect = known[i].defect;
        assert_memory_equal(fake_lcpu(&aps, 2), &wanted, sizeof wanted);
        assert_memory_equal(fake_lcpu(&aps, 3), &other, sizeof other);
        assert_int_equal(fake_book(&aps, 2)->real_defect, known[i].real_defect);
        assert_int_equal(fake_book(&aps, 3)->real_defect, 0);
        fake_aps_close(&aps);
        assert_int_equal(set_up(NULL), 0);
    }
}

// The ways into C that lead nowhere: each alone, to the byte.
static void test_ways_that_lead_nowhere(void **state)
{
    (void)state;
    prepare("inject=bad-stack:1,bad-entry:2,bad-cr3");
    const struct smp_account one = smp_examine(aps.smp, 1), two = smp_examine(aps.smp, 2);
    inject_arm(aps.smp, &injector);
    assert_int_equal(smp_examine(aps.smp, 1).stack, one.stack - SMP_STACK_BYTES - 2048);
    assert_int_equal(smp_examine(aps.smp, 1).entry, one.entry);
    assert_int_equal(smp_examine(aps.smp, 2).entry, 0);
    assert_int_equal(smp_examine(aps.smp, 2).stack, two.stack);
    assert_int_equal(fake_lcpu(&aps, 1)->cr3_error, 0);
    assert_int_equal((uint32_t)smp_layout(aps.smp).cr3 + fake_lcpu(&aps, 3)->cr3_error,
                     (uint32_t)smp_layout(aps.smp).page_window);
}

static void test_a_wrong_id(void **state)
{
    (void)state;
    prepare("inject=wrong-id:1");
    assert_int_equal(smp_slot_of(aps.smp, 1), 1);
    inject_arm(aps.smp, &injector);
    assert_int_equal(smp_slot_of(aps.smp, 1), UINT32_MAX);
    assert_int_equal(smp_slot_of(aps.smp, 2), 2);
    smp_wake(aps.smp, &round_);
    assert_int_equal(round_.arrived, CPUS - 2);
    assert_true(smp_came_unlisted(aps.smp, 1));
}

static void test_a_damaged_page(void **state)
{
    (void)state;
    for (uint32_t cpu = 1; cpu < CPUS; cpu++)
        aps.aps[cpu].to_protected_ticks = FAKE_NEVER;
    prepare("inject=bad-copy:2 retries=0");
    inject_arm(aps.smp, &injector);
    smp_wake(aps.smp, &round_);
    assert_true(smp_examine(aps.smp, 1).page_damaged); // the page is everybody's
}

// Several of one AP, and one that is the machine's.
static void test_a_list(void **state)
{
    (void)state;
    prepare("inject=ghost,bad-stack:1,no-low-page,hang-long:1,late");
    inject_arm(aps.smp, &injector);
    assert_int_equal(fake_lcpu(&aps, 1)->defect, DEFECT_HANG_LONG);
    assert_int_equal(fake_lcpu(&aps, 2)->defect, DEFECT_NONE);
    assert_int_equal(fake_lcpu(&aps, 3)->defect, DEFECT_LATE); // without a CPU: the last one
}

// ---- messages ----

static void test_a_startup_is_lost_in_turn(void **state)
{
    uint32_t before[CPUS];

    (void)state;
    prepare("inject=lost-sipi sipis=1 retries=1");
    for (uint32_t round = 1; round <= 4; round++) {
        for (uint32_t cpu = 1; cpu < CPUS; cpu++)
            before[cpu] = aps.aps[cpu].inits;
        smp_wake(aps.smp, &round_);
        assert_int_equal(round_.arrived, CPUS - 1);
        assert_int_equal(round_.retried, 1);
        for (uint32_t cpu = 1; cpu < CPUS; cpu++) {
            const uint32_t sequences = cpu == (round - 1) % 3 + 1 ? 2 : 1;
            assert_int_equal(aps.aps[cpu].inits - before[cpu], sequences);
            assert_int_equal(smp_examine(aps.smp, cpu).tries, sequences);
        }
    }
    for (uint32_t cpu = 1; cpu < CPUS; cpu++)
        assert_int_equal(aps.aps[cpu].startups, 4);
}

// An AP that was sent no INIT in the first sequence takes no STARTUP in it.
static void test_no_init(void **state)
{
    (void)state;
    prepare("inject=no-init:2 sipis=1 retries=1");
    aps.aps[2].inits = 1; // by firmware, and it has started since
    smp_wake(aps.smp, &round_);
    assert_int_equal(round_.retried, 1);
    assert_int_equal(aps.aps[2].inits, 2);
    assert_int_equal(aps.aps[2].startups, 2);
}

// ---- evidence ----

static void keep_message(void *context, uint64_t address, uint64_t value)
{
    (void)context, (void)address;
    if (world.count < CPUS)
        world.icr[world.count] = value;
    world.count++;
}

// Each gets one, by its APIC ID; nobody who has not arrived does.
static void test_nmis(void **state)
{
    (void)state;
    aps.aps[1].to_c_ticks = FAKE_NEVER;
    aps.aps[3].apic_id = 0x123;
    prepare("inject=nmi:1,nmi:2,nmi:3,late:1 retries=0");
    smp_wake(aps.smp, &round_);
    assert_int_equal(round_.arrived, 2);
    fake_hook(FAKE_MSR, ICR_MSR, ICR_MSR, NULL, keep_message, NULL);
    uint64_t start = fake_now();
    inject_send_nmis(aps.smp, &injector, 500); // nobody leaves evidence
    assert_in_range(fake_now() - start, TICKS(2 * 500), TICKS(2 * 500 + 10));
    assert_int_equal(world.count, 2);
    assert_int_equal(world.icr[0], 2ull << 32 | 0x4400);
    assert_int_equal(world.icr[1], 0x123ull << 32 | 0x4400);
    world.faulting = 2; // one does, after 100 us
    start = fake_now();
    world.fault_at = start + TICKS(100);
    inject_send_nmis(aps.smp, &injector, 500);
    assert_in_range(fake_now() - start, TICKS(500 + 100), TICKS(500 + 110));
}

static void test_idle_faults(void **state)
{
    (void)state;
    aps.aps[1].to_c_ticks = FAKE_NEVER;
    prepare("inject=ud-idle:1,ud-idle:3,mute:2 retries=0");
    smp_wake(aps.smp, &round_);
    world.faulting = 3;
    uint64_t start = fake_now();
    world.fault_at = start + TICKS(100);
    inject_await_idle_faults(aps.smp, &injector, 500);
    assert_in_range(fake_now() - start, TICKS(100), TICKS(110));
    start = fake_now(); // it is there already
    inject_await_idle_faults(aps.smp, &injector, 500);
    assert_true(fake_now() - start < TICKS(1));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, aps_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_records),     TEST(test_ways_that_lead_nowhere),
        TEST(test_a_wrong_id),  TEST(test_a_damaged_page),
        TEST(test_a_list),      TEST(test_a_startup_is_lost_in_turn),
        TEST(test_no_init),     TEST(test_nmis),
        TEST(test_idle_faults),
    };

    return cmocka_run_group_tests_name("inject_engine", tests, aps_set_up, NULL);
}
