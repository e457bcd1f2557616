// Faults on purpose: the words, the refusals, the edited MADT, the messages, and what is put into
// records.

#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "inject.h"
#include "option_faults.h"
#include "option_text.h"
#include "told.h"

#define CPUS 4u

static struct told told;
static struct options options;
static struct arena arena;
static struct plan plan;
static struct lcpu_plan lcpus[CPUS] = {{0, 0}, {1, 1}, {2, 2}, {3, 3}};

static void entry(struct lcpu *self)
{
    (void)self;
}

static int set_up(void **state)
{
    (void)state;
    memset(&told, 0, sizeof told);
    options_set_defaults(&options);
    plan = (struct plan){.wake = WAKE_PARALLEL, .want = CPUS - 1, .lcpus = lcpus};
    arena_plan(CPUS, 16, &arena);
    void *memory = mmap(NULL, arena.bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    assert_true(memory != MAP_FAILED);
    arena.phys = (uintptr_t)memory;
    arena_prepare(&arena, lcpus, entry, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return munmap((void *)(uintptr_t)arena.phys, arena.bytes);
}

static enum status parse(const char *text)
{
    const struct problems problems = told_listen(&told);
    return options_parse(text, strlen(text), "test", &problems, &options);
}

static void test_every_word(void **state)
{
    char text[64];

    (void)state;
    for (uint32_t kind = 0; kind < FAULT_KINDS; kind++) {
        snprintf(text, sizeof text, "inject=%s:3", fault_word((enum fault_kind)kind));
        assert_int_equal(parse(text), STATUS_OK);
        assert_int_equal(options.inject_count, 1);
        assert_int_equal(options.inject[0].kind, kind);
        assert_int_equal(options.inject[0].cpu, 3);
        assert_true(inject_has(&options, (enum fault_kind)kind));
    }
    assert_int_equal(told.count, 0);
}

static void test_lists(void **state)
{
    (void)state;
    assert_int_equal(parse("inject=late,ud-c:2,ud-c:3"), STATUS_OK);
    assert_int_equal(options.inject_count, 3);
    assert_int_equal(options.inject[0].cpu, FAULT_ANY_CPU);
    assert_int_equal(parse("inject=none"), STATUS_OK);
    assert_int_equal(options.inject_count, 0);
}

static void test_bad_lists(void **state)
{
    static const char *const bad[] = {
        "inject=",      "inject=lat",    "inject=late:", "inject=late:0",
        "inject=late,", "inject=late:x", "inject=,late", "inject=late:4294967295"};
    char many[512] = "inject=late";

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(parse(bad[i]), STATUS_INVALID);
        assert_int_equal(options.inject_count, 0);
    }
    for (uint32_t i = 1; i <= INJECTIONS_MAX; i++)
        strcat(many, ",late");
    assert_int_equal(parse(many), STATUS_INVALID);
    many[strlen(many) - strlen(",late")] = '\0';
    assert_int_equal(parse(many), STATUS_OK);
    assert_int_equal(options.inject_count, INJECTIONS_MAX);
}

static enum status check(const char *text)
{
    const struct problems problems = told_listen(&told);
    assert_int_equal(parse(text), STATUS_OK);
    memset(&told, 0, sizeof told);
    return inject_check(&options, &plan, &problems);
}

static void test_it_is_loud(void **state)
{
    (void)state;
    assert_int_equal(check("inject=late:2,ghost"), STATUS_OK);
    assert_int_equal(told.count, 2);
    assert_int_equal(told.lines[0].severity, SEVERITY_WARNING);
    assert_non_null(strstr(told.lines[0].detail, "late:2 IS INJECTED ON PURPOSE"));
}

static void test_refusals(void **state)
{
    (void)state;
    assert_int_equal(check("inject=late:9"), STATUS_INVALID);
    assert_int_equal(told.lines[0].severity, SEVERITY_ERROR);
    assert_int_equal(check("inject=unlisted:9"), STATUS_OK); // the table's, not an AP's
    plan.wake = WAKE_BROADCAST;
    assert_int_equal(check("inject=no-init:1"), STATUS_INVALID);
    assert_int_equal(check("inject=no-sipi:1"), STATUS_INVALID);
    assert_int_equal(check("inject=lost-sipi"), STATUS_INVALID);
    assert_int_equal(check("inject=bad-vector:1"), STATUS_INVALID);
    assert_int_equal(check("inject=hang-real:1"), STATUS_OK);
    plan.want = 0;
    assert_int_equal(check("inject=late"), STATUS_INVALID);
}

static void test_messages(void **state)
{
    const uint32_t init = 0x4500, startup = 0x469f;
    uint32_t command;

    (void)state;
    for (uint32_t kind = 0; kind < FAULT_KINDS; kind++) {
        for (uint32_t try = 1; try <= 2; try++) {
            const uint32_t faults = 1u << kind;
            const bool drops_init = kind == FAULT_NO_INIT && try == 1;
            const bool drops_startup =
                (kind == FAULT_NO_SIPI || kind == FAULT_LOST_SIPI) && try == 1;
            command = init;
            assert_int_equal(inject_message(faults, try, 0x8e000, &command), !drops_init);
            assert_int_equal(command, init);
            command = startup;
            assert_int_equal(inject_message(faults, try, 0x8e000, &command), !drops_startup);
            assert_int_equal(command, kind == FAULT_BAD_VECTOR ? 0x468e : startup);
        }
    }
}

static void arm(const char *text)
{
    assert_int_equal(parse(text), STATUS_OK);
    inject_arm(&options, &plan, &arena, 0x100000);
}

static void test_records(void **state)
{
    (void)state;
    const struct lcpu *one = &arena_lcpu(&arena, 1)->lcpu;
    const struct lcpu *three = &arena_lcpu(&arena, 3)->lcpu;
    const struct lcpu before = *one;

    arm("inject=bad-stack:1,bad-entry:1,bad-cr3:1,hang-long:1,mute");
    assert_int_equal(one->stack, arena_stack(&arena, 1) - 2048);
    assert_int_equal(one->entry, 0);
    assert_int_equal((uint32_t)(0x100000 + one->cr3_error),
                     (uint32_t)(arena.phys + arena.window_offset));
    assert_int_equal(one->inject, INJECT_HANG_LONG);
    assert_int_equal(three->inject, INJECT_MUTE); // without a CPU: the last one
    assert_int_equal(one->apic_id, before.apic_id);
    assert_int_equal(arena_account(&arena, 1)->faults,
                     1u << FAULT_BAD_STACK | 1u << FAULT_BAD_ENTRY | 1u << FAULT_BAD_CR3 |
                         1u << FAULT_HANG_LONG);
    assert_int_equal(arena_account(&arena, 2)->faults, 0);
}

static void test_wrong_id_leaves_the_table_sorted(void **state)
{
    (void)state;
    arm("inject=wrong-id:1");
    const struct lcpu_id *table = arena_table(&arena);
    for (size_t i = 0; i < arena.count; i++) {
        assert_int_not_equal(table[i].apic_id, 1);
        assert_true(i == 0 || table[i - 1].apic_id < table[i].apic_id);
    }
}

static void test_lost_sipi_goes_round(void **state)
{
    (void)state;
    arm("inject=lost-sipi");
    assert_int_equal(arena_account(&arena, 0)->faults, 1u << FAULT_LOST_SIPI);
    for (uint32_t slot = 1; slot < CPUS; slot++)
        assert_int_equal(arena_account(&arena, slot)->faults, 0);
}

// ---- the MADT ----

static uint8_t madt[44 + CPUS * 8];
static struct cpu cpus[CPUS + 2 * INJECTIONS_MAX];
static uint64_t keys[CPUS + 2 * INJECTIONS_MAX];

static struct acpi_table make_madt(void)
{
    memset(madt, 0, sizeof madt);
    memcpy(madt, "APIC", 4);
    madt[4] = sizeof madt;
    madt[8] = 3;
    for (uint32_t cpu = 0; cpu < CPUS; cpu++) {
        const uint8_t entry_bytes[8] = {0, 8, (uint8_t)cpu, (uint8_t)(2 * cpu), 1};
        memcpy(madt + 44 + 8 * cpu, entry_bytes, 8);
    }
    madt[9] = (uint8_t)-acpi_sum(madt, sizeof madt);
    return (struct acpi_table){madt, sizeof madt};
}

static struct inventory read_inventory(const struct acpi_table *table)
{
    const struct problems nobody = {problems_ignore, NULL};
    struct inventory inventory = {.cpus = cpus, .capacity = sizeof cpus / sizeof cpus[0]};
    assert_int_equal(inventory_read(table, 0, keys, &nobody, &inventory), STATUS_OK);
    assert_true(inventory.checksum_ok);
    return inventory;
}

static struct inventory edit(const char *text)
{
    static uint8_t copy[sizeof madt + INJECTIONS_MAX * 16];
    const struct acpi_table table = make_madt();
    const struct inventory before = read_inventory(&table);
    struct acpi_table edited;

    assert_int_equal(parse(text), STATUS_OK);
    assert_true(sizeof copy >= inject_madt_bytes(&table));
    assert_true(inject_edit_madt(&table, &before, &options, copy, &edited));
    return read_inventory(&edited);
}

static void test_madt(void **state)
{
    (void)state;
    struct inventory after = edit("inject=ghost");
    assert_int_equal(after.enabled, CPUS + 1);
    assert_int_equal(cpus[CPUS].apic_id, 0xfe);
    after = edit("inject=ghost,ghost");
    assert_int_equal(after.enabled, CPUS + 2);
    assert_int_equal(after.duplicate, 0);
    after = edit("inject=duplicate:2");
    assert_int_equal(after.enabled, CPUS);
    assert_int_equal(after.duplicate, 1);
    after = edit("inject=unlisted:1");
    assert_int_equal(after.enabled, CPUS - 1);
    for (uint32_t cpu = 0; cpu < after.count; cpu++)
        assert_int_not_equal(cpus[cpu].apic_id, 2);
}

static void test_madt_is_left_alone(void **state)
{
    uint8_t copy[sizeof madt + INJECTIONS_MAX * 16];
    const struct acpi_table table = make_madt();
    const struct inventory before = read_inventory(&table);
    struct acpi_table edited;

    (void)state;
    assert_int_equal(parse("inject=late:1"), STATUS_OK);
    assert_false(inject_edit_madt(&table, &before, &options, copy, &edited));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_every_word),
        TEST(test_lists),
        TEST(test_bad_lists),
        TEST(test_it_is_loud),
        TEST(test_refusals),
        TEST(test_messages),
        TEST(test_records),
        TEST(test_wrong_id_leaves_the_table_sorted),
        TEST(test_lost_sipi_goes_round),
        TEST(test_madt),
        TEST(test_madt_is_left_alone),
    };
    return cmocka_run_group_tests_name("inject", tests, NULL, NULL);
}
