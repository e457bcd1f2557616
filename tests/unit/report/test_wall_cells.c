// From records and accounts to tiles: each processor that has a record has a tile, in the records'
// order, and says the same as they do.
#include "wall_cells.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "fake_aps.h"
#include "report.h"

#define CPUS 6u
#define ROOM 80u

static struct fake_aps aps;
static struct wall_cpu cells[ROOM];
static struct wake_result result;

static void fail_test(const char *message)
{
    fail_msg("%s", message);
}

// Two threads in a core, two cores in a package; five of six are wanted: CPU 3 is left out.
static int set_up(void **state)
{
    (void)state;
    fake_on_failure(fail_test);
    fake_aps_open(&aps, CPUS);
    aps.options.retries = 0;
    aps.options.timeout_us = 1000;
    aps.options.cpus_count = 2;
    aps.options.cpus[0] = (struct cpu_range){1, 2};
    aps.options.cpus[1] = (struct cpu_range){4, 5};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_aps_close(&aps);
    return 0;
}

static void prepare(void)
{
    fake_aps_prepare(&aps);
    fake_aps_fill_page(&aps);
    fake_set_cpuid(0, 0, (struct cpuid){.eax = 0xb});
    fake_set_cpuid(0xb, 0, (struct cpuid){.eax = 1, .ebx = 2, .ecx = 1u << 8});
    fake_set_cpuid(0xb, 1, (struct cpuid){.eax = 2, .ebx = 4, .ecx = 2u << 8 | 1});
    fake_set_cpuid(0xb, 2, (struct cpuid){.ecx = 2});
    fake_set_cpuid(0x80000000, 0, (struct cpuid){.eax = 0x80000000});
}

static void wake(void)
{
    wake_round(&aps.wake, &result);
    (void)wake_greet(&aps.wake, 1000);
}

// One more entry behind the enabled ones, as inventory_read leaves it.
static void add_disabled(uint32_t apic_id)
{
    struct inventory *inventory = &aps.machine.inventory;
    inventory->cpus[inventory->count++] = (struct cpu){.apic_id = apic_id, .listing = CPU_DISABLED};
    inventory->disabled++;
}

static void add_unlisted(uint32_t apic_id)
{
    struct rally *rally = arena_rally(&aps.arena);
    rally->unlisted_ids[atomic_fetch_add(&rally->unlisted_count, 1)] = apic_id;
}

static void assert_states(size_t count, const enum wall_state *states)
{
    assert_int_equal(wall_cells(&aps.machine, &aps.wake, cells, ROOM), count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(cells[i].state, states[i]);
}

static void test_every_processor_has_a_tile(void **state)
{
    static const enum wall_state states[] = {WALL_BSP,     WALL_GREETED, WALL_GREETED, WALL_ASLEEP,
                                             WALL_GREETED, WALL_GREETED, WALL_ASLEEP};

    (void)state;
    prepare();
    add_disabled(7);
    wake();
    assert_int_equal(result.up, CPUS - 2);
    assert_states(CPUS + 1, states);
    for (uint32_t i = 0; i <= CPUS; i++) {
        const uint32_t apic_id = i < CPUS ? i : 7;
        assert_int_equal(cells[i].index, i);
        assert_int_equal(cells[i].package, apic_id / 4);
        assert_int_equal(cells[i].core, apic_id / 2 % 2);
        assert_int_equal(cells[i].thread, apic_id % 2);
        assert_int_equal(cells[i].us[3] > 0, states[i] == WALL_GREETED);
    }
}

static void test_who_failed_says_how_far_it_came(void **state)
{
    static const enum wall_state states[] = {WALL_BSP,    WALL_GREETED, WALL_FAILED,
                                             WALL_ASLEEP, WALL_FAILED,  WALL_FAILED};

    (void)state;
    aps.aps[2].deaf_inits = UINT32_MAX;
    aps.aps[4].to_c_ticks = FAKE_NEVER;
    aps.aps[5].hangs_in_c = true;
    prepare();
    wake();
    assert_states(CPUS, states);
    assert_int_equal(cells[2].reached, WALL_ASLEEP);
    assert_int_equal(cells[4].reached, WALL_PROTECTED);
    assert_int_equal(cells[5].reached, WALL_UP);
    for (size_t stage = 0; stage < WALL_STAGES; stage++)
        assert_int_equal(cells[2].us[stage], 0);
}

// By a broadcast come those that were left out, too: they have a tile already. So has one that was
// wanted and did not find itself. Everybody else has one tile, however often it came.
static void test_who_is_unlisted(void **state)
{
    static const enum wall_state states[] = {WALL_BSP,     WALL_GREETED, WALL_GREETED, WALL_ASLEEP,
                                             WALL_GREETED, WALL_GREETED, WALL_UNLISTED};

    (void)state;
    prepare();
    wake();
    add_unlisted(3);
    add_unlisted(13);
    add_unlisted(2);
    add_unlisted(13);
    assert_states(CPUS + 1, states);
    assert_int_equal(cells[CPUS].index, 13);
    assert_int_equal(cells[CPUS].package, 3);
    assert_int_equal(wall_cells(&aps.machine, &aps.wake, cells, CPUS), CPUS);
    assert_int_equal(wall_cells(&aps.machine, &aps.wake, cells, 2), 2);
    assert_int_equal(wall_cells(&aps.machine, &aps.wake, cells, 0), 0);
}

// ---- one record and one tile a processor ----

static char heard[4096];

static void hear(void *context, const char *line)
{
    (void)context;
    assert_true(strlen(heard) + strlen(line) + 2 < sizeof heard);
    strcat(strcat(heard, line), "\n");
}

// The records, from that of this CPU index on.
static const char *records_from(const char *start)
{
    struct console console;
    struct outcome outcome;

    heard[0] = '\0';
    console_start(&console, LOG_NORMAL, 1);
    console.sinks[SINK_JOURNAL] = (struct console_sink){.write_line = hear};
    report_cpus(&console, &aps.machine, &aps.wake, &outcome);
    const char *found = strstr(heard, start);
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
    prepare();
    add_disabled(7);
    add_disabled(8);
    wake();
    add_unlisted(8);
    add_unlisted(8);
    assert_states(CPUS + 2, states);
    assert_int_equal(cells[CPUS + 1].index, 8);
    assert_string_equal(
        records_from("REVEILLE ev=cpu cpu=6"),
        "REVEILLE ev=cpu cpu=6 apic=0x7 uid=0 state=disabled\n"
        "REVEILLE ev=cpu cpu=7 apic=0x8 uid=0 state=disabled came=1\n"
        "CPU 7 (APIC ID 8) started unasked: the MADT lists it as disabled, so it was plugged in "
        "since, or firmware keeps it out; it is parked\n");
    aps.machine.inventory.source = INVENTORY_MP_SERVICES;
    assert_non_null(strstr(records_from("CPU 7 "), "MP Services lists it as disabled"));
}

// Entries that repeat an ID are no processors of their own.
static void test_who_is_listed_twice(void **state)
{
    (void)state;
    prepare();
    add_disabled(2);
    add_disabled(9);
    add_disabled(9);
    aps.machine.inventory.cpus[CPUS].repeated = true;
    aps.machine.inventory.cpus[CPUS + 2].repeated = true;
    wake();
    add_unlisted(13);
    assert_int_equal(wall_cells(&aps.machine, &aps.wake, cells, ROOM), CPUS + 2);
    assert_int_equal(cells[CPUS].state, WALL_ASLEEP);
    assert_int_equal(cells[CPUS].index, CPUS + 1);
    assert_string_equal(records_from("REVEILLE ev=cpu cpu=7"),
                        "REVEILLE ev=cpu cpu=7 apic=0x9 uid=0 state=disabled\n"
                        "REVEILLE ev=cpu apic=0xd state=unlisted\n");
    assert_null(strstr(heard, "cpu=6"));
}

// Counted, and about to say which it is: 0 would be somebody.
static void test_an_id_that_is_not_written_yet(void **state)
{
    struct rally *rally;

    (void)state;
    prepare();
    wake();
    rally = arena_rally(&aps.arena);
    atomic_store(&rally->unlisted_count, 2);
    rally->unlisted_ids[1] = 13;
    aps.machine.inventory.cpus[0].apic_id = 77; // nobody is listed with the ID 0
    assert_int_equal(wall_cells(&aps.machine, &aps.wake, cells, ROOM), CPUS + 1);
    assert_int_equal(cells[CPUS].index, 13);
}

static void test_before_anybody_was_woken(void **state)
{
    (void)state;
    prepare();
    assert_int_equal(wall_cells(&aps.machine, NULL, cells, ROOM), CPUS);
    assert_int_equal(cells[0].state, WALL_BSP);
    for (uint32_t i = 1; i < CPUS; i++)
        assert_int_equal(cells[i].state, WALL_ASLEEP);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_every_processor_has_a_tile),
        TEST(test_who_failed_says_how_far_it_came),
        TEST(test_who_is_unlisted),
        TEST(test_who_was_plugged_in),
        TEST(test_who_is_listed_twice),
        TEST(test_an_id_that_is_not_written_yet),
        TEST(test_before_anybody_was_woken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
