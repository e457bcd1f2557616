// What an engine does not have: anything that it shares with another one, and any use for the
// address at which its caller's processor would not find its memory. Surprise: the second engine
// runs its round inside the first one's, from the callback that sees each message.
#include "aps_fixture.h"

#include <stdlib.h>
#include <sys/mman.h>

static struct fake_aps other;
static struct smp_round result, other_result;

// ---- two engines ----

static int tear_down_both(void **state)
{
    fake_aps_close(&other);
    return aps_tear_down(state);
}

static void move_both(void *context, uint64_t now)
{
    (void)context;
    fake_aps_move(&aps, now);
    fake_aps_move(&other, now);
}

// One in x2APIC mode and one in xAPIC mode, so that the fake can tell whose message it is.
static void open_both(void)
{
    fake_aps_open(&aps, 5);
    fake_aps_open(&other, 3);
    aps.options.apic = APIC_X2APIC;
    aps.options.timeout_us = 5 * MS;
    other.options.apic = APIC_XAPIC;
    other.options.wake = SMP_ONE_BY_ONE;
    other.options.timeout_us = 2 * MS;
    other.options.retries = 0;
    for (uint32_t cpu = 0; cpu < 3; cpu++)
        other.aps[cpu].apic_id = 70 + cpu;
}

static void prepare_both(void)
{
    fake_aps_prepare(&aps);
    fake_aps_prepare(&other);
    fake_on_time(move_both, NULL);
}

static uint8_t *copy_of(const struct fake_aps *bench)
{
    uint8_t *copy = malloc(bench->setup.memory.bytes);
    assert_non_null(copy);
    memcpy(copy, bench->setup.memory.view, bench->setup.memory.bytes);
    return copy;
}

static void assert_untouched(const struct fake_aps *bench, uint8_t *copy)
{
    assert_memory_equal(copy, bench->setup.memory.view, bench->setup.memory.bytes);
    free(copy);
}

// One after the other, and the one that does not work keeps every byte.
static void test_two_engines_in_turn(void **state)
{
    uint8_t *kept;

    (void)state;
    open_both();
    other.aps[2].to_protected_ticks = FAKE_NEVER;
    prepare_both();
    for (uint32_t round = 1; round <= 3; round++) {
        kept = copy_of(&other);
        smp_wake(aps.smp, &result);
        assert_int_equal(result.round, round);
        assert_int_equal(result.arrived, 4);
        assert_untouched(&other, kept);

        if (round == 3)
            break;
        kept = copy_of(&aps);
        smp_wake(other.smp, &other_result);
        assert_int_equal(other_result.round, round);
        assert_int_equal(other_result.arrived, 1);
        assert_untouched(&aps, kept);
    }
    assert_int_equal(smp_rounds(aps.smp), 3);
    assert_int_equal(smp_rounds(other.smp), 2);
    assert_int_equal(smp_examine(other.smp, 2).lost, 2);
    assert_int_equal(smp_examine(aps.smp, 2).lost, 0);
    assert_int_equal(smp_take_turns(other.smp), 1);
    assert_int_equal(smp_take_turns(aps.smp), 4);
    kept = copy_of(&aps);
    smp_seal(other.smp);
    assert_untouched(&aps, kept);
    assert_int_not_equal(arena_lcpu(&aps.smp->arena, 1)->entry,
                         arena_lcpu(&other.smp->arena, 1)->entry);
}

// Before each STARTUP of the first engine, the second one wakes its processors, opens their turns,
// and lets them wait.
static bool wake_the_other(void *context, struct smp_message *message)
{
    (void)context;
    if ((message->command & 0x700) == 0x600) {
        smp_wake(other.smp, &other_result);
        assert_int_equal(other_result.arrived, 2);
        assert_int_equal(other_result.unsent, 0);
    }
    return true;
}

static void test_one_engine_inside_the_other(void **state)
{
    (void)state;
    open_both();
    aps.host.filter = wake_the_other;
    other.aps[1].lost_startups = 1;
    prepare_both();
    smp_wake(aps.smp, &result);
    assert_int_equal(result.arrived, 4);
    assert_int_equal(result.icr_writes, 8);
    assert_int_equal(result.retried, 0);
    assert_int_equal(smp_rounds(aps.smp), 1);
    assert_int_equal(smp_rounds(other.smp), 4);
    // Both chains of turns are open at the same time.
    const uint32_t first = smp_open_turns(aps.smp), others = smp_open_turns(other.smp);
    assert_int_equal(smp_follow_turns(other.smp, others), 2);
    assert_int_equal(smp_follow_turns(aps.smp, first), 4);
    for (uint32_t slot = 1; slot < 5; slot++) {
        const struct smp_account account = smp_examine(aps.smp, slot);
        assert_int_equal(smp_verdict(&account), SMP_CAUSE_NONE);
        assert_int_equal(account.cpu, slot);
    }
    for (uint32_t slot = 1; slot < 3; slot++) {
        const struct smp_account account = smp_examine(other.smp, slot);
        assert_int_equal(smp_verdict(&account), SMP_CAUSE_NONE);
        assert_int_equal(account.apic_id, 70 + slot);
    }
}

// ---- memory at two addresses ----

// Nobody comes, so that only the caller's processor works; and all it does, it does by the view.
static void test_the_caller_works_by_the_view(void **state)
{
    const struct smp_memory *memory = &aps.setup.memory;
    struct smp_under_way under_way;

    (void)state;
    fake_aps_open(&aps, 4);
    aps.options.timeout_us = 1 * MS;
    for (uint32_t cpu = 1; cpu < 4; cpu++)
        aps.aps[cpu].deaf_inits = UINT32_MAX;
    fake_aps_prepare(&aps);
    assert_int_equal(mprotect((void *)(uintptr_t)memory->phys, memory->bytes, PROT_NONE), 0);

    assert_int_equal(smp_open(&aps.setup, &aps.smp), STATUS_OK);
    assert_int_equal(smp_map_page(aps.smp, FAKE_PAGE), STATUS_OK);
    assert_int_equal(smp_fill_page(aps.smp, aps.page), STATUS_OK);
    assert_int_equal(smp_start(aps.smp, &aps.plan.messages), STATUS_OK);
    smp_wake(aps.smp, &result);
    assert_int_equal(result.arrived, 0);
    assert_int_equal(smp_take_turns(aps.smp), 0);
    for (enum smp_defect defect = SMP_HANG_IN_REAL; defect <= SMP_WRONG_ID; defect++)
        smp_break(aps.smp, 1, defect);
    smp_wake(aps.smp, &result);
    smp_close_turns(aps.smp);
    smp_await_late(aps.smp);
    assert_false(smp_await_fault(aps.smp, 1, 10));
    for (uint32_t slot = 0; slot < 4; slot++)
        (void)smp_examine(aps.smp, slot);
    assert_int_equal(smp_slot_of(aps.smp, 2), 2);
    assert_false(smp_came_unlisted(aps.smp, 2));
    (void)smp_layout(aps.smp);
    (void)smp_tables(aps.smp);
    const uint8_t *records =
        (const uint8_t *)memory->view + (smp_records_phys(aps.smp) - memory->phys);
    assert_int_equal(smp_read_remains(records, 4, 2, 1, &under_way), 0);
    assert_int_equal(smp_unmap(aps.smp, 0x7000, PAGE_BYTES), STATUS_OK);
    assert_int_equal(smp_hold(aps.smp), STATUS_OK);
    smp_seal(aps.smp);
    assert_int_equal(
        mprotect((void *)(uintptr_t)memory->phys, memory->bytes, PROT_READ | PROT_WRITE), 0);
}

static bool is_in_memory(uint64_t address, uint64_t bytes)
{
    const struct smp_memory *memory = &aps.setup.memory;
    return address >= memory->phys && address + bytes <= memory->phys + memory->bytes;
}

// What an AP is given to follow is physical, all of it; and where it looks, no word holds an
// address of the view.
static void test_what_aps_follow_is_physical(void **state)
{
    (void)state;
    fake_aps_open(&aps, 30);
    fake_aps_prepare(&aps);
    smp_wake(aps.smp, &result);
    assert_int_equal(smp_take_turns(aps.smp), 29);

    const struct arena *arena = &aps.smp->arena;
    const struct trampoline_parameters *told = &aps.smp->parameters;
    assert_true(is_in_memory(told->x86_bpt_pml4_addr, PAGE_BYTES));
    assert_true(is_in_memory(told->lcpus, arena->table_entries * LCPU_ID_BYTES));
    assert_true(is_in_memory(told->rally, sizeof(struct rally)));
    for (uint32_t slot = 0; slot < 30; slot++) {
        const struct lcpu_page *page = arena_page(arena, slot);
        const struct lcpu *lcpu = &page->lcpu;
        const uint64_t task = (page->gdt[4] >> 16 & 0xffffff) | (page->gdt[4] >> 56) << 24 |
                              (page->gdt[5] & 0xffffffff) << 32;
        assert_true(is_in_memory(lcpu->gdtr.base, lcpu->gdtr.limit + 1u));
        assert_true(is_in_memory(lcpu->idtr.base, lcpu->idtr.limit + 1u));
        assert_true(is_in_memory(lcpu->early_idtr.base, lcpu->early_idtr.limit + 1u));
        assert_true(is_in_memory(task, sizeof page->task));
        assert_true(is_in_memory(lcpu->stack - SMP_STACK_BYTES, SMP_STACK_BYTES));
        assert_true(is_in_memory((uintptr_t)lcpu->rally, sizeof(struct rally)));
        for (uint32_t i = 0; i < INTERRUPT_STACKS; i++)
            assert_true(is_in_memory(page->task.ist[i] - INTERRUPT_BYTES, INTERRUPT_BYTES));
    }
    const uint8_t *view = aps.setup.memory.view;
    for (size_t at = arena->rally_offset; at < arena->bytes; at += 8) {
        uint64_t word;
        if (at >= arena->books_offset && at < arena->tables_offset)
            continue; // the caller's own
        memcpy(&word, view + at, 8);
        if (word - (uintptr_t)view < aps.setup.memory.bytes)
            fail_msg("at offset %#zx stands an address of the view", at);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_two_engines_in_turn, tear_down_both),
        cmocka_unit_test_teardown(test_one_engine_inside_the_other, tear_down_both),
        APS_TEST(test_the_caller_works_by_the_view),
        APS_TEST(test_what_aps_follow_is_physical),
    };

    return cmocka_run_group_tests(tests, aps_set_up, NULL);
}
