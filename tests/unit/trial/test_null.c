// The null trampolines: what stands in the page, which messages go out, and what the counts and
// stamps of APs become. The APs are the fake's; that the code runs is tried on QEMU
// (tests/boot/test_bench.py).
#include "aps_fixture.h"

#include "null.h"
#include "page.h"

#define CPUS   4u
#define ROUNDS (1 + NULL_WARM_ROUNDS)

extern const uint8_t null_real[], null_real_end[], null_long[], null_long_end[], null_long_target[];

static struct null_times times;
static struct {
    uint64_t us[ROUNDS]; // how long the APs take, in each round
    uint32_t silent_in;  // one keeps silent in this round, from 1; 0: in none
    uint32_t strange_in; // a bit for each round in which one that is in no table counts, too
    int64_t skew;        // of the APs' TSC
    uint32_t round;
    uint64_t inits; // of the first AP
} world;

static struct null_parameters *shared(void)
{
    return (struct null_parameters *)(void *)(smp_layout(aps.smp).page_view + NULL_PARAMETERS);
}

static bool counts(uint32_t cpu)
{
    if (cpu == CPUS)
        return world.strange_in & 1u << world.round;
    return cpu != 2 || world.round != world.silent_in;
}

// They count themselves after their time.
static void count_up(struct fake_aps *machine, uint64_t now)
{
    const size_t all = machine->count + machine->hidden;

    if (world.inits != machine->aps[1].inits) {
        world.inits = machine->aps[1].inits;
        world.round++;
    }
    for (uint32_t cpu = 1; cpu < all; cpu++) {
        struct fake_ap *ap = &machine->aps[cpu];
        if (ap->state != FAKE_AP_STARTED || now < ap->started + TICKS(world.us[world.round - 1]) ||
            !counts(cpu))
            continue;
        ap->state = FAKE_AP_HALTED;
        shared()->stamp = now + (uint64_t)world.skew;
        atomic_fetch_add(&shared()->count, 1);
    }
}

static int set_up(void **state)
{
    (void)state;
    memset(&world, 0, sizeof world);
    fake_aps_open(&aps, CPUS);
    aps.options.timeout_us = 5000;
    aps.options.init_us = 300;
    for (uint32_t cpu = 1; cpu < CPUS; cpu++)
        aps.aps[cpu].to_protected_ticks = FAKE_NEVER;
    aps.watch = count_up;
    return 0;
}

static void measure(enum null_mode mode)
{
    null_measure(aps.smp, &aps.plan.messages, &aps.machine.clock, mode, &times);
}

// From INIT on; a look takes a fraction of a microsecond.
static void assert_us(uint32_t measured, uint64_t us)
{
    assert_in_range(measured, 300 + us, 300 + us + 3);
}

static void test_all_count(void **state)
{
    static const uint64_t us[ROUNDS] = {400, 50, 10, 30, 20, 40};

    (void)state;
    memcpy(world.us, us, sizeof us);
    fake_aps_prepare(&aps);
    measure(NULL_REAL);
    assert_int_equal(times.counted, CPUS - 1);
    assert_us(times.cold_us, 400);
    assert_us(times.warm_us.min, 10);
    assert_us(times.warm_us.median, 30);
    assert_us(times.warm_us.max, 50);
    // INIT and one STARTUP each time, to all but self, as far apart as the plan wants.
    assert_int_equal(aps.messages, 2 * ROUNDS);
    for (uint32_t cpu = 1; cpu < CPUS; cpu++) {
        assert_int_equal(aps.aps[cpu].inits, ROUNDS);
        assert_int_equal(aps.aps[cpu].startups, ROUNDS);
    }
    assert_in_range(aps.least_init_ticks, TICKS(300), TICKS(302));
}

// Whoever is missing in one round is missing: the worst round counts, and there is no warm time.
static void test_one_is_missing(void **state)
{
    (void)state;
    world.silent_in = 3;
    fake_aps_prepare(&aps);
    const uint64_t start = fake_now();
    measure(NULL_LONG);
    assert_int_equal(times.counted, CPUS - 2);
    assert_int_equal(times.warm_us.max, 0);
    assert_int_equal(aps.messages, 2 * 3); // and it has an end
    assert_in_range(fake_now() - start, TICKS(5000), TICKS(5000 + 4 * 300));
}

static void test_nobody_counts(void **state)
{
    (void)state;
    aps.watch = NULL;
    fake_aps_prepare(&aps);
    measure(NULL_REAL);
    assert_int_equal(times.counted, 0);
    assert_int_equal(times.cold_us, 0);
    assert_int_equal(times.warm_us.max, 0);
    assert_int_equal(aps.messages, 2);
}

// One that is in no table hears what all hear; where it counts is chance, and the least stands.
static void test_one_too_many(void **state)
{
    (void)state;
    aps.hidden = 1;
    aps.aps[CPUS].apic_id = 77;
    aps.aps[CPUS].to_protected_ticks = FAKE_NEVER;
    world.strange_in = 1u << 1 | 1u << ROUNDS;
    fake_aps_prepare(&aps);
    measure(NULL_REAL);
    assert_int_equal(world.round, ROUNDS);
    assert_int_equal(times.counted, CPUS - 1);
}

// Their TSCs may be behind: no time, and not an absurd one.
static void test_a_stamp_before_the_start(void **state)
{
    (void)state;
    world.skew = -(int64_t)TICKS(10000);
    fake_aps_prepare(&aps);
    measure(NULL_REAL);
    assert_int_equal(times.counted, CPUS - 1);
    assert_int_equal(times.cold_us, 0);
    assert_int_equal(times.warm_us.max, 0);
}

// ---- the page ----

static void assert_filled(size_t first, size_t end)
{
    const uint8_t *page = smp_layout(aps.smp).page_view;
    for (size_t i = first; i < end; i++)
        assert_int_equal(page[i], 0xcc);
}

static void test_the_page_in_real_mode(void **state)
{
    (void)state;
    fake_aps_prepare(&aps);
    measure(NULL_REAL);
    const size_t bytes = (size_t)(null_real_end - null_real);
    assert_memory_equal(smp_layout(aps.smp).page_view, null_real, bytes);
    assert_filled(bytes, NULL_PARAMETERS);
    assert_filled(NULL_PARAMETERS + sizeof(struct null_parameters), PAGE_BYTES);
}

// All that an AP loads on its way to long mode is the engine's.
static void test_the_page_in_long_mode(void **state)
{
    (void)state;
    fake_aps_prepare(&aps);
    measure(NULL_LONG);
    const struct smp_layout layout = smp_layout(aps.smp);
    const struct smp_tables tables = smp_tables(aps.smp);
    const size_t bytes = (size_t)(null_long_end - null_long);
    assert_memory_equal(layout.page_view, null_long, bytes);
    assert_filled(bytes, NULL_PARAMETERS);
    assert_int_equal(shared()->cr3, layout.cr3);
    assert_int_equal(shared()->cr4, layout.cr4);
    assert_int_equal(shared()->efer, layout.efer);
    assert_int_equal(shared()->window, layout.page_window);
    assert_int_equal(shared()->target, FAKE_PAGE + (null_long_target - null_long));
    assert_int_equal(shared()->selector, tables.code);
    assert_int_equal(shared()->gdt, tables.gdt);
    assert_int_equal(shared()->gdt_limit, tables.gdt_limit);
}

// Afterwards the page is the trampoline's again, and a round is as any other.
static void test_a_wake_afterwards(void **state)
{
    struct smp_round round;

    (void)state;
    fake_aps_prepare(&aps);
    measure(NULL_LONG);
    aps.watch = NULL;
    for (uint32_t cpu = 1; cpu < CPUS; cpu++)
        aps.aps[cpu].to_protected_ticks = 0;
    assert_int_equal(smp_fill_page(aps.smp, smp_layout(aps.smp).page_view), STATUS_OK);
    smp_wake(aps.smp, &round);
    assert_int_equal(round.round, 1);
    assert_int_equal(round.arrived, CPUS - 1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, aps_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_all_count),
        TEST(test_one_is_missing),
        TEST(test_nobody_counts),
        TEST(test_one_too_many),
        TEST(test_a_stamp_before_the_start),
        TEST(test_the_page_in_real_mode),
        TEST(test_the_page_in_long_mode),
        TEST(test_a_wake_afterwards),
    };

    return cmocka_run_group_tests_name("null", tests, aps_set_up, NULL);
}
