// From accounts to tiles: each processor that has a record has a tile, in the records' order, and
// says the same as they do. And the evidence that both are made of.
#include "wall_cells.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "fake_evidence.h"
#include "fake_hw.h"
#include "heard.h"
#include "report_cpus.h"

#define CPUS 6u
#define ROOM 80u

static const struct clock clock = {.tsc_hz = 1000000000};
static struct fake_evidence fake;
static struct heard heard;
static struct cpu cpus[16];
static struct inventory inventory;
static struct wall_cpu cells[ROOM];

// Two threads in a core, two cores in a package; four of five APs are woken: CPU 3 is left out.
static int set_up(void **state)
{
    (void)state;
    fake_reset();
    fake_set_cpuid(0, 0, (struct cpuid){.eax = 0xb});
    fake_set_cpuid(0xb, 0, (struct cpuid){.eax = 1, .ebx = 2, .ecx = 1u << 8});
    fake_set_cpuid(0xb, 1, (struct cpuid){.eax = 2, .ebx = 4, .ecx = 2u << 8 | 1});
    fake_set_cpuid(0xb, 2, (struct cpuid){.ecx = 2});
    fake_set_cpuid(0x80000000, 0, (struct cpuid){.eax = 0x80000000});
    for (uint32_t i = 0; i < CPUS; i++)
        cpus[i] = (struct cpu){.apic_id = i, .listing = i == 0 ? CPU_BSP : CPU_LISTED};
    inventory = (struct inventory){.cpus = cpus, .count = CPUS, .enabled = CPUS};
    fake_evidence_start(&fake, CPUS - 1);
    for (uint32_t slot = 3; slot < CPUS - 1; slot++) {
        fake.accounts[slot] = fake_account(slot + 1, slot + 1);
        fake.accounts[slot].slot = slot;
    }
    return 0;
}

// The account of a CPU.
static struct smp_account *account(uint32_t cpu)
{
    return &fake.accounts[cpu < 3 ? cpu : cpu - 1];
}

static size_t fill(size_t room)
{
    return wall_cells(&inventory, &fake.evidence, &clock, cells, room);
}

// One more entry behind the enabled ones, as inventory_read leaves it.
static void add_disabled(uint32_t apic_id)
{
    cpus[inventory.count++] = (struct cpu){.apic_id = apic_id, .listing = CPU_DISABLED};
    inventory.disabled++;
}

static void add_unlisted(uint32_t apic_id)
{
    fake_evidence_add_unlisted(&fake, apic_id);
}

static void assert_states(size_t count, const enum wall_state *states)
{
    assert_int_equal(fill(ROOM), count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(cells[i].state, states[i]);
}

static void test_every_processor_has_a_tile(void **state)
{
    static const enum wall_state states[] = {WALL_BSP,     WALL_GREETED, WALL_GREETED, WALL_ASLEEP,
                                             WALL_GREETED, WALL_GREETED, WALL_ASLEEP};

    (void)state;
    add_disabled(7);
    assert_states(CPUS + 1, states);
    for (uint32_t i = 0; i <= CPUS; i++) {
        const uint32_t apic_id = i < CPUS ? i : 7;
        assert_int_equal(cells[i].index, i);
        assert_int_equal(cells[i].package, apic_id / 4);
        assert_int_equal(cells[i].core, apic_id / 2 % 2);
        assert_int_equal(cells[i].thread, apic_id % 2);
        for (uint32_t stage = 0; stage < WALL_STAGES; stage++)
            assert_int_equal(cells[i].us[stage],
                             states[i] == WALL_GREETED ? i * 100 - 3 + stage : 0);
    }
}

// By its own CPUID, which knows better than the BSP's.
static void test_who_has_told_its_place(void **state)
{
    (void)state;
    fake.hellos[0] = (struct hello){.place.kind = CORE_PERFORMANCE, .known = true};
    fake.hellos[4] = (struct hello){
        .place = {.package = 7, .core = 8, .thread = 9, .kind = CORE_LOW_POWER}, .known = true};
    assert_int_equal(fill(ROOM), CPUS);
    assert_int_equal(cells[5].package, 7);
    assert_int_equal(cells[5].core, 8);
    assert_int_equal(cells[5].thread, 9);
    assert_int_equal(cells[4].package, 1);
    assert_int_equal(cells[0].kind, WALL_P_CORE);
    assert_int_equal(cells[5].kind, WALL_LP_CORE);
    assert_int_equal(cells[4].kind, WALL_ANY_CORE);
}

static void stop_at(uint32_t cpu, enum smp_stage stage)
{
    account(cpu)->stage = stage;
    account(cpu)->mark = SMP_STAGE_NONE;
    account(cpu)->done = false;
}

static void test_who_failed_says_how_far_it_came(void **state)
{
    static const enum wall_state states[] = {WALL_BSP,    WALL_GREETED, WALL_FAILED,
                                             WALL_ASLEEP, WALL_FAILED,  WALL_FAILED};

    (void)state;
    stop_at(2, SMP_STAGE_NONE);
    stop_at(4, SMP_STAGE_PROTECTED);
    stop_at(5, SMP_STAGE_C);
    assert_states(CPUS, states);
    assert_int_equal(cells[2].reached, WALL_ASLEEP);
    assert_int_equal(cells[4].reached, WALL_PROTECTED);
    assert_int_equal(cells[5].reached, WALL_UP);
    for (size_t stage = 0; stage < WALL_STAGES; stage++) {
        assert_int_equal(cells[2].us[stage], 0);
        assert_int_equal(cells[4].us[stage] > 0, stage < 2);
        assert_true(cells[5].us[stage] > 0);
    }
    account(2)->mark = SMP_STAGE_REAL;
    assert_states(CPUS, states);
    assert_int_equal(cells[2].reached, WALL_REAL);
    stop_at(4, SMP_STAGE_LONG);
    stop_at(5, SMP_STAGE_READY);
    assert_states(CPUS, states);
    assert_int_equal(cells[4].reached, WALL_LONG);
    assert_int_equal(cells[5].reached, WALL_UP);
}

// A bar has a beginning, whatever the two counters say.
static void test_a_counter_that_is_behind(void **state)
{
    (void)state;
    account(1)->tsc_real = account(1)->started - 5;
    account(1)->tsc_c = account(1)->started + 5000 * clock.tsc_hz;
    assert_int_equal(fill(ROOM), CPUS);
    assert_int_equal(cells[1].us[0], 1);
    assert_int_equal(cells[1].us[3], UINT32_MAX);
}

// By a broadcast come those that were left out, too: they have a tile already. So has one that was
// to be woken and did not find itself. Everybody else has one tile, however often it came.
static void test_who_is_unlisted(void **state)
{
    static const enum wall_state states[] = {WALL_BSP,     WALL_GREETED, WALL_GREETED, WALL_ASLEEP,
                                             WALL_GREETED, WALL_GREETED, WALL_UNLISTED};

    (void)state;
    add_unlisted(3);
    add_unlisted(13);
    add_unlisted(2);
    add_unlisted(13);
    assert_states(CPUS + 1, states);
    assert_int_equal(cells[CPUS].index, 13);
    assert_int_equal(cells[CPUS].package, 3);
    assert_int_equal(fill(CPUS), CPUS);
    assert_int_equal(fill(2), 2);
    assert_int_equal(fill(0), 0);
}

// More than there are names for: as many tiles as names.
static void test_many_unlisted(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < SMP_UNLISTED_MAX + 5; i++)
        add_unlisted(100 + i);
    assert_int_equal(evidence_named(&fake.evidence), SMP_UNLISTED_MAX);
    assert_int_equal(fill(ROOM), CPUS + SMP_UNLISTED_MAX);
    assert_int_equal(cells[CPUS + SMP_UNLISTED_MAX - 1].index, 100 + SMP_UNLISTED_MAX - 1);
    assert_false(evidence_came_unlisted(&fake.evidence, 100 + SMP_UNLISTED_MAX));
}

// ---- one record and one tile a processor ----

static const char *records_from(const char *start)
{
    report_cpus(heard_start(&heard, LOG_NORMAL), &inventory, &fake.evidence);
    const char *found = strstr(heard.text, start);
    assert_non_null(found);
    return found;
}

// Plugged in since the MADT was made, and in it as disabled: it came by a broadcast.
static void test_who_was_plugged_in(void **state)
{
    static const enum wall_state states[] = {WALL_BSP,    WALL_GREETED, WALL_GREETED,
                                             WALL_ASLEEP, WALL_GREETED, WALL_GREETED,
                                             WALL_ASLEEP, WALL_UNLISTED};

    (void)state;
    add_disabled(7);
    add_disabled(8);
    add_unlisted(8);
    add_unlisted(8);
    assert_states(CPUS + 2, states);
    assert_int_equal(cells[CPUS + 1].index, 8);
    assert_string_equal(
        records_from("REVEILLE ev=cpu cpu=6"),
        "REVEILLE ev=cpu cpu=6 apic=0x7 uid=0 state=disabled\n"
        "REVEILLE ev=cpu cpu=7 apic=0x8 uid=0 state=disabled came=1\n"
        "CPU 7 (APIC ID 8) started although the MADT lists it as disabled: it was plugged in "
        "since, or firmware holds it back; it is parked\n");
    inventory.source = INVENTORY_MP_SERVICES;
    assert_non_null(strstr(records_from("CPU 7 "), "MP Services lists it as disabled"));
}

// Entries that repeat an ID are no processors of their own.
static void test_who_is_listed_twice(void **state)
{
    (void)state;
    add_disabled(2);
    add_disabled(9);
    add_disabled(9);
    inventory.cpus[CPUS].repeated = true;
    inventory.cpus[CPUS + 2].repeated = true;
    add_unlisted(13);
    assert_int_equal(fill(ROOM), CPUS + 2);
    assert_int_equal(cells[CPUS].state, WALL_ASLEEP);
    assert_int_equal(cells[CPUS].index, CPUS + 1);
    assert_string_equal(records_from("REVEILLE ev=cpu cpu=7"),
                        "REVEILLE ev=cpu cpu=7 apic=0x9 uid=0 state=disabled\n"
                        "REVEILLE ev=cpu apic=0xd state=unlisted\n");
    assert_null(strstr(heard.text, "cpu=6"));
}

// Counted, and about to say which it is: 0 would be somebody.
static void test_an_id_that_is_not_written_yet(void **state)
{
    (void)state;
    add_unlisted(SMP_NO_ID);
    add_unlisted(13);
    assert_int_equal(fill(ROOM), CPUS + 1);
    assert_int_equal(cells[CPUS].index, 13);
    assert_false(evidence_came_unlisted(&fake.evidence, SMP_NO_ID));
    assert_true(evidence_came_unlisted(&fake.evidence, 13));
}

static void test_before_anybody_was_woken(void **state)
{
    (void)state;
    assert_int_equal(wall_cells(&inventory, NULL, &clock, cells, ROOM), CPUS);
    assert_int_equal(cells[0].state, WALL_BSP);
    for (uint32_t i = 1; i < CPUS; i++)
        assert_int_equal(cells[i].state, WALL_ASLEEP);
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_every_processor_has_a_tile),
        TEST(test_who_has_told_its_place),
        TEST(test_who_failed_says_how_far_it_came),
        TEST(test_a_counter_that_is_behind),
        TEST(test_who_is_unlisted),
        TEST(test_many_unlisted),
        TEST(test_who_was_plugged_in),
        TEST(test_who_is_listed_twice),
        TEST(test_an_id_that_is_not_written_yet),
        TEST(test_before_anybody_was_woken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
