// What became of a processor: each piece of evidence that it can leave, and the account that is
// made of it; what is left after a reset; and that each defect on purpose is put where a processor
// meets it.
#include "aps_fixture.h"

#include <stdlib.h>

#include "image_layout.h"

static struct smp_round result;

// Three APs, of which the second stays away unless a test says otherwise.
static void wake_up(void)
{
    fake_aps_open(&aps, 4);
    aps.options.timeout_us = 1 * MS;
    aps.options.retries = 0;
    aps.aps[2].to_protected_ticks = FAKE_NEVER;
    fake_aps_prepare(&aps);
    smp_wake(aps.smp, &result);
    assert_int_equal(result.arrived, 2);
}

static enum smp_cause cause_of(uint32_t slot)
{
    const struct smp_account account = smp_examine(aps.smp, slot);
    return smp_verdict(&account);
}

// ---- accounts ----

static void test_whole_accounts(void **state)
{
    (void)state;
    wake_up();
    struct lcpu *lcpu = fake_lcpu(&aps, 1);
    lcpu->bist = 3;
    lcpu->signature = 0x806e9;
    lcpu->cr0 = 0x60000010;
    lcpu->cr4 = 0x40;
    lcpu->efer = 0x500;
    lcpu->apic_base = 0xfee00800;
    lcpu->tsc_protected = 22;
    lcpu->tsc_long = 33;
    const struct smp_account account = smp_examine(aps.smp, 1);
    assert_int_equal(account.slot, 1);
    assert_int_equal(account.stage, SMP_STAGE_READY);
    assert_int_equal(account.mark, SMP_STAGE_PROTECTED);
    assert_true(account.arrived && !account.done && !account.by_firmware && !account.no_nx);
    assert_int_equal(account.lost, 0);
    assert_int_equal(account.tries, 1);
    assert_false(account.startup_helped);
    assert_int_equal(account.us, fake_book(&aps, 1)->us);
    // Just before the first message: 10 us before the first STARTUP, which each takes at once.
    assert_in_range(lcpu->tsc_real - account.started, TICKS(10), TICKS(12));
    assert_int_equal(account.tsc_real, lcpu->tsc_real);
    assert_int_equal(account.tsc_protected, 22);
    assert_int_equal(account.tsc_long, 33);
    assert_int_equal(account.tsc_c, lcpu->tsc_c);
    assert_true(account.tsc_c > account.started);
    assert_int_equal(account.bist, 3);
    assert_int_equal(account.signature, 0x806e9);
    assert_int_equal(account.cr0, 0x60000010);
    assert_int_equal(account.cr4, 0x40);
    assert_int_equal(account.efer, 0x500);
    assert_int_equal(account.apic_base, 0xfee00800);
    assert_int_equal(cause_of(1), SMP_CAUSE_SILENT);
    assert_int_equal(take_turns(1 * MS), 2);
    assert_int_equal(cause_of(1), SMP_CAUSE_NONE);
    const struct smp_account missing = smp_examine(aps.smp, 2);
    assert_int_equal(missing.lost, 1);
    assert_int_equal(cause_of(2), SMP_CAUSE_NEVER_FETCHED);
}

// In the middle of a round, where a fault of the BSP's may ask: the times are this round's already.
static uint64_t started_within;

static bool look_at_the_account(void *context, struct smp_message *message)
{
    (void)context;
    if (message->round == 2)
        started_within = smp_examine(aps.smp, 1).started;
    return true;
}

static void test_an_account_within_a_round(void **state)
{
    (void)state;
    fake_aps_open(&aps, 3);
    aps.host.filter = look_at_the_account;
    fake_aps_prepare(&aps);
    smp_wake(aps.smp, &result);
    const uint64_t between = fake_now();
    smp_wake(aps.smp, &result);
    assert_in_range(started_within, between, fake_now());
    assert_int_equal(smp_examine(aps.smp, 1).started, started_within);
}

// A page that was overwritten is told even where no round was run after it.
static void test_a_damaged_page_before_any_round(void **state)
{
    (void)state;
    fake_aps_open(&aps, 3);
    fake_aps_prepare(&aps);
    assert_false(smp_examine(aps.smp, 1).page_damaged);
    aps.page[0] ^= 1;
    assert_int_equal(cause_of(1), SMP_CAUSE_DAMAGED_PAGE);
}

// Its turn was over for the caller, and it ran the function to its end all the same.
static void test_done_after_its_turn(void **state)
{
    (void)state;
    wake_up();
    fake_lcpu(&aps, 1)->state = 1 << STATE_STAGE_BITS | STAGE_DONE;
    assert_int_equal(fake_book(&aps, 1)->done, 0);
    assert_true(smp_examine(aps.smp, 1).done);
    assert_int_equal(cause_of(1), SMP_CAUSE_NONE);
}

// Whom the second STARTUP woke.
static void test_helped(void **state)
{
    (void)state;
    fake_aps_open(&aps, 3);
    aps.aps[2].lost_startups = 1;
    fake_aps_prepare(&aps);
    smp_wake(aps.smp, &result);
    assert_false(smp_examine(aps.smp, 1).startup_helped);
    assert_true(smp_examine(aps.smp, 2).startup_helped);
}

// It came after its time-out.
static void test_late(void **state)
{
    (void)state;
    fake_aps_open(&aps, 3);
    aps.options.timeout_us = 1 * MS;
    aps.options.retries = 0;
    aps.aps[1].to_c_ticks = TICKS(1500);
    fake_aps_prepare(&aps);
    smp_wake(aps.smp, &result);
    assert_int_equal(cause_of(1), SMP_CAUSE_STOPPED_IN_PROTECTED);
    smp_await_late(aps.smp);
    assert_int_equal(cause_of(1), SMP_CAUSE_LATE);
}

// By its record alone: each stage, of this round only.
static void test_stages(void **state)
{
    static const enum smp_cause causes[] = {
        [STAGE_NONE] = SMP_CAUSE_NEVER_FETCHED,
        [STAGE_REAL] = SMP_CAUSE_UNKNOWN,
        [STAGE_PROTECTED] = SMP_CAUSE_STOPPED_IN_PROTECTED,
        [STAGE_LONG] = SMP_CAUSE_STOPPED_IN_LONG,
        [STAGE_C] = SMP_CAUSE_STOPPED_IN_C,
        [STAGE_READY] = SMP_CAUSE_LATE,
    };

    (void)state;
    wake_up();
    for (uint32_t stage = STAGE_NONE; stage <= STAGE_READY; stage++) {
        atomic_store(&fake_lcpu(&aps, 2)->state, 1u << STATE_STAGE_BITS | stage);
        assert_int_equal(smp_examine(aps.smp, 2).stage, stage);
        assert_int_equal(cause_of(2), causes[stage]);
        atomic_store(&fake_lcpu(&aps, 2)->state, 2u << STATE_STAGE_BITS | stage);
        assert_int_equal(smp_examine(aps.smp, 2).stage, SMP_STAGE_NONE);
    }
}

// Long mode is not C: who stops there within the round has not arrived.
static void step_into_long_mode(struct fake_aps *machine, uint64_t now)
{
    const uint32_t round = 1u << STATE_STAGE_BITS;
    uint32_t stands_in_protected = round | STAGE_PROTECTED;

    (void)now;
    if (machine->aps[2].state == FAKE_AP_PROTECTED)
        atomic_compare_exchange_strong(&fake_lcpu(machine, 2)->state, &stands_in_protected,
                                       round | STAGE_LONG);
}

static void test_long_mode_is_no_arrival(void **state)
{
    (void)state;
    fake_aps_open(&aps, 4);
    aps.options.timeout_us = 1 * MS;
    aps.options.retries = 0;
    aps.aps[2].to_c_ticks = FAKE_NEVER;
    aps.watch = step_into_long_mode;
    fake_aps_prepare(&aps);
    smp_wake(aps.smp, &result);
    assert_int_equal(result.arrived, 2);
    const struct smp_account account = smp_examine(aps.smp, 2);
    assert_int_equal(account.stage, SMP_STAGE_LONG);
    assert_false(account.arrived);
    assert_int_equal(account.lost, 1);
    assert_int_equal(cause_of(2), SMP_CAUSE_STOPPED_IN_LONG);
}

// A mark is read where its record says nothing; one that a defect left there is none.
static void test_marks(void **state)
{
    static const struct {
        uint8_t mark;
        enum smp_stage stage;
        enum smp_cause cause;
    } cases[] = {
        {STAGE_NONE, SMP_STAGE_NONE, SMP_CAUSE_NEVER_FETCHED},
        {STAGE_REAL, SMP_STAGE_REAL, SMP_CAUSE_STOPPED_IN_REAL},
        {STAGE_PROTECTED, SMP_STAGE_PROTECTED, SMP_CAUSE_STOPPED_IN_PROTECTED},
        {DEFECT_HANG_REAL, SMP_STAGE_NONE, SMP_CAUSE_NEVER_FETCHED},
        {DEFECT_UD_REAL, SMP_STAGE_NONE, SMP_CAUSE_NEVER_FETCHED},
    };

    (void)state;
    wake_up();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        trampoline_set_mark(aps.page, 2, cases[i].mark);
        const struct smp_account account = smp_examine(aps.smp, 2);
        assert_int_equal(account.mark, cases[i].stage);
        assert_int_equal(smp_account_stage(&account), cases[i].stage);
        assert_int_equal(cause_of(2), cases[i].cause);
    }
    trampoline_set_mark(aps.page, 2, STAGE_REAL);
    fake_book(&aps, 2)->mark_shared = 1;
    assert_int_equal(cause_of(2), SMP_CAUSE_UNKNOWN);
}

static void test_a_damaged_page(void **state)
{
    (void)state;
    wake_up();
    aps.page[0x123] ^= 1;
    assert_int_equal(cause_of(2), SMP_CAUSE_DAMAGED_PAGE);
    assert_int_equal(cause_of(1), SMP_CAUSE_SILENT); // who came needs no page
    aps.page[0x123] ^= 1;
    assert_int_equal(cause_of(2), SMP_CAUSE_NEVER_FETCHED);
}

static void test_strangers(void **state)
{
    struct rally *rally;

    (void)state;
    wake_up();
    rally = fake_rally(&aps);
    atomic_store(&rally->unlisted_count, 3);
    atomic_store(&rally->unlisted_ids[0], 77);
    atomic_store(&rally->unlisted_ids[2], 2);
    atomic_store(&rally->unlisted_ids[3], 5); // not counted yet
    assert_int_equal(smp_unlisted_count(aps.smp), 3);
    assert_int_equal(smp_unlisted_id(aps.smp, 0), 77);
    assert_int_equal(smp_unlisted_id(aps.smp, 1), SMP_NO_ID);
    assert_true(smp_came_unlisted(aps.smp, 77));
    assert_false(smp_came_unlisted(aps.smp, 5));
    assert_false(smp_came_unlisted(aps.smp, SMP_NO_ID));
    assert_int_equal(cause_of(2), SMP_CAUSE_WRONG_ID);
    // More than there is room for: counted, and nothing is read behind the room.
    atomic_store(&rally->unlisted_count, 1000);
    assert_int_equal(smp_unlisted_count(aps.smp), 1000);
    assert_false(smp_came_unlisted(aps.smp, 123));
    assert_int_equal(smp_unlisted_id(aps.smp, SMP_UNLISTED_MAX), SMP_NO_ID);
}

// ---- faults ----

static void assert_fault(enum smp_stage mode, uint32_t vector, uint32_t error, uint64_t ip,
                         uint64_t cr2)
{
    const struct smp_account account = smp_examine(aps.smp, 2);

    assert_true(account.fault.valid);
    assert_int_equal(account.fault.mode, mode);
    assert_int_equal(account.fault.vector, vector);
    assert_int_equal(account.fault.error, error);
    assert_int_equal(account.fault.ip, ip);
    assert_int_equal(account.fault.cr2, cr2);
    assert_int_equal(smp_verdict(&account), SMP_CAUSE_FAULT);
}

static void store(uint8_t *at, uint32_t value, size_t bytes)
{
    memcpy(at, &value, bytes);
}

// A trap in protected mode, as ap_start.S leaves it on a stack that ends at `top`.
static void push_trap(uint8_t *top, uint32_t vector, uint32_t ip)
{
    const uint32_t stubs = FAKE_PAGE + (uint32_t)aps.smp->trampoline.traps_protected_offset;

    store(top - 12, ip, 4);
    store(top - 16, stubs + (vector + 1) * TRAP_PROTECTED_BYTES, 4);
    store(top - 20, TRAP_MAGIC_PROTECTED, 4);
}

// In long mode; else on the stack in its record; else in the page, if that is its own.
static void test_faults(void **state)
{
    (void)state;
    wake_up();
    struct lcpu *lcpu = fake_lcpu(&aps, 2);
    assert_false(smp_examine(aps.smp, 2).fault.valid);
    uint8_t *cell = aps.page + PAGE_CELLS + 3 * CELL_BYTES; // of IDs 2, 18, 34 ...
    store(cell - 2, 2, 2);
    push_trap(cell - 2, 5, FAKE_PAGE + 0x77);
    assert_fault(SMP_STAGE_PROTECTED, 5, 0, FAKE_PAGE + 0x77, 0);
    store(cell - 2, 18, 2);
    assert_false(smp_examine(aps.smp, 2).fault.valid);
    store(cell - 2, 2, 2);
    // Who has come further only passed by another's trap: its index is there, the frame is not its.
    atomic_store(&lcpu->state, 1 << STATE_STAGE_BITS | STAGE_PROTECTED);
    assert_false(smp_examine(aps.smp, 2).fault.valid);
    atomic_store(&lcpu->state, STAGE_NONE);

    push_trap(lcpu->trap + sizeof lcpu->trap, 6, FAKE_PAGE + 0x99);
    assert_fault(SMP_STAGE_PROTECTED, 6, 0, FAKE_PAGE + 0x99, 0);

    lcpu->fault = (struct lcpu_fault){.valid = 1,
                                      .mode = STAGE_LONG,
                                      .vector = 14,
                                      .error = 2,
                                      .ip = 0x123456789,
                                      .cr2 = 0xfffff000};
    assert_fault(SMP_STAGE_LONG, 14, 2, 0x123456789, 0xfffff000);
    // All is forgotten before the next round.
    smp_wake(aps.smp, &result);
    assert_false(smp_examine(aps.smp, 2).fault.valid);
}

static void fault_in_time(struct fake_aps *all, uint64_t now)
{
    (void)now;
    if (all->smp != NULL && fake_now() > all->aps[1].last_message + TICKS(900))
        atomic_store(&fake_lcpu(all, 2)->fault.valid, 1);
}

static void test_await_fault(void **state)
{
    (void)state;
    wake_up();
    uint64_t start = fake_now();
    assert_false(smp_await_fault(aps.smp, 2, 50));
    assert_in_range(fake_now() - start, TICKS(50), TICKS(52));
    aps.watch = fault_in_time;
    aps.aps[1].last_message = start = fake_now();
    assert_true(smp_await_fault(aps.smp, 2, 5 * MS));
    assert_in_range(fake_now() - start, TICKS(900), TICKS(902));
}

// ---- after a reset ----

static void move_to(uint32_t slot, uint32_t round, uint32_t stage)
{
    atomic_store(&fake_lcpu(&aps, slot)->state, round << STATE_STAGE_BITS | stage);
}

static size_t remains(uint32_t round, size_t capacity, struct smp_under_way *found)
{
    // A copy of its size, so that AddressSanitizer sees one record too far.
    void *records = aligned_alloc(SMP_RECORD_BYTES, 4 * SMP_RECORD_BYTES);
    assert_non_null(records);
    memcpy(records, arena_page(&aps.smp->arena, 0), 4 * SMP_RECORD_BYTES);
    const size_t count = smp_read_remains(records, 4, round, capacity, found);
    free(records);
    return count;
}

static void test_remains(void **state)
{
    struct smp_under_way found[4] = {{0}};

    (void)state;
    wake_up();
    for (uint32_t slot = 1; slot < 4; slot++)
        move_to(slot, 0, STAGE_NONE);
    assert_int_equal(remains(3, 4, found), 0);
    fake_lcpu(&aps, 2)->apic_id = 20;
    move_to(1, 3, STAGE_READY);
    move_to(2, 3, STAGE_PROTECTED);
    move_to(3, 2, STAGE_LONG); // of an earlier round
    assert_int_equal(remains(3, 4, found), 1);
    assert_int_equal(found[0].cpu, 2);
    assert_int_equal(found[0].apic_id, 20);
    assert_int_equal(found[0].stage, SMP_STAGE_PROTECTED);
    move_to(3, 3, STAGE_C);
    found[1] = (struct smp_under_way){0};
    assert_int_equal(remains(3, 1, found), 2); // counted beyond the capacity
    assert_int_equal(found[0].cpu, 2);
    assert_int_equal(found[1].cpu, 0);
}

static void test_remains_that_are_not_ours(void **state)
{
    static struct rally other;
    struct smp_under_way found[4];

    (void)state;
    wake_up();
    for (uint32_t slot = 1; slot < 4; slot++)
        move_to(slot, 0, STAGE_NONE);
    struct lcpu *lcpu = fake_lcpu(&aps, 2), *bsp = fake_lcpu(&aps, 0);
    struct rally *rally = lcpu->rally;
    move_to(2, 3, STAGE_PROTECTED);
    assert_int_equal(remains(3, 4, found), 1);
    lcpu->rally = &other;
    assert_int_equal(remains(3, 4, found), 0);
    lcpu->rally = bsp->rally = NULL;
    assert_int_equal(remains(3, 4, found), 0);
    lcpu->rally = bsp->rally = rally;
    lcpu->cpu = 0;
    assert_int_equal(remains(3, 4, found), 0);
    lcpu->cpu = 2;
    bsp->cpu = 1;
    assert_int_equal(remains(3, 4, found), 0);
    bsp->cpu = 0;
    assert_int_equal(remains(3, 4, found), 1);
    assert_int_equal(smp_records_phys(aps.smp), arena_page_phys(&aps.smp->arena, 0));
}

// ---- on purpose ----

// What the AP looks at by itself, in its record and nowhere else.
static void test_defects_of_a_record(void **state)
{
    static const struct {
        enum smp_defect defect;
        uint8_t code;
    } cases[] = {
        {SMP_HANG_IN_PROTECTED, DEFECT_HANG_PROTECTED},
        {SMP_UD_IN_PROTECTED, DEFECT_UD_PROTECTED},
        {SMP_HANG_IN_LONG, DEFECT_HANG_LONG},
        {SMP_UD_IN_LONG, DEFECT_UD_LONG},
        {SMP_HANG_IN_C, DEFECT_HANG_C},
        {SMP_UD_IN_C, DEFECT_UD_C},
        {SMP_UD_WHEN_DONE, DEFECT_UD_WHEN_DONE},
        {SMP_LATE, DEFECT_LATE},
    };

    (void)state;
    wake_up();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct book before = *fake_book(&aps, 2);
        smp_break(aps.smp, 2, cases[i].defect);
        assert_int_equal(fake_lcpu(&aps, 2)->defect, cases[i].code);
        assert_int_equal(fake_lcpu(&aps, 1)->defect | fake_lcpu(&aps, 3)->defect, 0);
        assert_memory_equal(&before, fake_book(&aps, 2), sizeof before);
    }
}

// In real mode no record is in reach: in the mark, behind each INIT that was sent to that
// processor.
static uint8_t marks_seen[8];
static size_t marks_seen_count;

static bool look_at_the_mark(void *context, struct smp_message *message)
{
    (void)context;
    if (message->slot == 2 && (message->command & 0x700) == 0x600) {
        marks_seen[marks_seen_count++] = trampoline_mark(aps.page, 2);
        trampoline_set_mark(aps.page, 2, STAGE_REAL); // as the AP does
    }
    return true;
}

static void test_defects_of_real_mode(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 2; i++) {
        const uint8_t code = i == 0 ? DEFECT_HANG_REAL : DEFECT_UD_REAL;
        fake_aps_open(&aps, 4);
        aps.host.filter = look_at_the_mark;
        aps.options.timeout_us = 1 * MS;
        aps.options.retries = 1;
        aps.options.sipis = 1;
        aps.aps[2].to_protected_ticks = FAKE_NEVER;
        fake_aps_prepare(&aps);
        marks_seen_count = 0;
        smp_break(aps.smp, 2, i == 0 ? SMP_HANG_IN_REAL : SMP_UD_IN_REAL);
        smp_wake(aps.smp, &result);
        assert_int_equal(marks_seen_count, 2);
        assert_int_equal(marks_seen[0], code);
        assert_int_equal(marks_seen[1], code);
        assert_int_equal(trampoline_mark(aps.page, 1), STAGE_PROTECTED);
        assert_int_equal(cause_of(2), SMP_CAUSE_STOPPED_IN_REAL);
        fake_aps_close(&aps);
    }
}

// Where a stack, an entry or CR3 leads to memory that is not there.
static void test_defects_that_lead_nowhere(void **state)
{
    (void)state;
    wake_up();
    const struct arena *arena = &aps.smp->arena;
    const struct lcpu *lcpu = fake_lcpu(&aps, 2);
    smp_break(aps.smp, 2, SMP_BAD_STACK);
    smp_break(aps.smp, 2, SMP_BAD_ENTRY);
    smp_break(aps.smp, 2, SMP_BAD_CR3);
    assert_false(page_tables_walk(&aps.smp->tables, lcpu->stack - 8).mapped);
    assert_true(lcpu->stack > arena_stack_phys(arena, 2) - GUARD_BYTES &&
                lcpu->stack < arena_stack_phys(arena, 2));
    assert_false(page_tables_walk(&aps.smp->tables, lcpu->entry).mapped);
    const uint32_t cr3 = aps.smp->parameters.x86_bpt_pml4_addr + lcpu->cr3_error;
    assert_int_equal(cr3, arena->phys + arena->window_offset);
    const uint8_t *empty = arena->view + (cr3 - arena->phys);
    for (size_t i = 0; i < PAGE_BYTES; i++)
        assert_int_equal(empty[i], 0);
}

static void test_a_wrong_id(void **state)
{
    (void)state;
    wake_up();
    aps.aps[2].to_protected_ticks = 0;
    smp_break(aps.smp, 2, SMP_WRONG_ID);
    smp_wake(aps.smp, &result);
    assert_int_equal(result.arrived, 2);
    assert_int_equal(smp_unlisted_count(aps.smp), 1);
    assert_int_equal(cause_of(2), SMP_CAUSE_WRONG_ID);
}

static void test_a_bad_page(void **state)
{
    (void)state;
    wake_up();
    smp_break(aps.smp, 1, SMP_BAD_PAGE);
    assert_int_equal(cause_of(2), SMP_CAUSE_DAMAGED_PAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        APS_TEST(test_whole_accounts),
        APS_TEST(test_an_account_within_a_round),
        APS_TEST(test_a_damaged_page_before_any_round),
        APS_TEST(test_done_after_its_turn),
        APS_TEST(test_helped),
        APS_TEST(test_late),
        APS_TEST(test_stages),
        APS_TEST(test_long_mode_is_no_arrival),
        APS_TEST(test_marks),
        APS_TEST(test_a_damaged_page),
        APS_TEST(test_strangers),
        APS_TEST(test_faults),
        APS_TEST(test_await_fault),
        APS_TEST(test_remains),
        APS_TEST(test_remains_that_are_not_ours),
        APS_TEST(test_defects_of_a_record),
        APS_TEST(test_defects_of_real_mode),
        APS_TEST(test_defects_that_lead_nowhere),
        APS_TEST(test_a_wrong_id),
        APS_TEST(test_a_bad_page),
    };

    return cmocka_run_group_tests(tests, aps_set_up, NULL);
}
