// The note: what is kept is found again, and nothing else is. The records are a real engine's, and
// are read where they lie, as by the start behind a reset.

#include "aps_fixture.h"

#include "note.h"

#define CPUS 4u

static struct note note;

static int set_up(void **state)
{
    (void)state;
    fake_aps_open(&aps, CPUS);
    for (uint32_t cpu = 0; cpu < CPUS; cpu++)
        aps.aps[cpu].apic_id = 10 * cpu;
    fake_aps_prepare(&aps);
    return 0;
}

static void move_to(uint32_t slot, uint32_t round, uint32_t stage)
{
    atomic_store(&fake_lcpu(&aps, slot)->state, round << STATE_STAGE_BITS | stage);
}

static const void *records(void)
{
    return (const void *)(uintptr_t)note.records_phys;
}

static void test_kept_and_dropped(void **state)
{
    (void)state;
    note_keep(&note, aps.smp, NOTE_WAKING, 7, 1);
    assert_true(note_is_whole(&note, (uintptr_t)&note));
    assert_int_equal(note.step, NOTE_WAKING);
    assert_int_equal(note.round, 7);
    assert_int_equal(note.resets, 1);
    assert_int_equal(note.cpus, CPUS);
    assert_int_equal(note.records_phys, smp_records_phys(aps.smp));
    note_drop(&note);
    assert_false(note_is_whole(&note, (uintptr_t)&note));
}

static void test_any_flipped_bit_is_seen(void **state)
{
    (void)state;
    note_keep(&note, aps.smp, NOTE_LEAVING, 0, 0);
    for (size_t bit = 0; bit < 8 * sizeof note; bit++) {
        ((uint8_t *)&note)[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(note_is_whole(&note, (uintptr_t)&note));
        ((uint8_t *)&note)[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_true(note_is_whole(&note, (uintptr_t)&note));
}

static void test_a_copy_elsewhere_is_not_it(void **state)
{
    struct note copy;

    (void)state;
    note_keep(&note, aps.smp, NOTE_WAKING, 1, 0);
    memcpy(&copy, &note, sizeof copy);
    assert_false(note_is_whole(&copy, (uintptr_t)&copy));
}

static void test_suspects(void **state)
{
    struct smp_under_way suspects[CPUS];

    (void)state;
    note_keep(&note, aps.smp, NOTE_WAKING, 3, 0);
    assert_int_equal(note_suspects(&note, records(), CPUS, suspects), 0);
    move_to(1, 3, STAGE_READY);
    move_to(2, 3, STAGE_PROTECTED);
    move_to(3, 2, STAGE_LONG); // of an earlier round
    assert_int_equal(note_suspects(&note, records(), CPUS, suspects), 1);
    assert_int_equal(suspects[0].cpu, 2);
    assert_int_equal(suspects[0].apic_id, 20);
    assert_int_equal(suspects[0].stage, STAGE_PROTECTED);
    move_to(3, 3, STAGE_C);
    assert_int_equal(note_suspects(&note, records(), 1, suspects),
                     2); // counted beyond the capacity
    assert_int_equal(suspects[0].cpu, 2);
}

// Records of somebody else's, or of a run that was not about to wake anybody, name no suspect.
static void test_records_that_are_not_ours(void **state)
{
    struct smp_under_way suspects[CPUS];
    struct lcpu *bsp = fake_lcpu(&aps, 0), *lcpu = fake_lcpu(&aps, 2);

    (void)state;
    note_keep(&note, aps.smp, NOTE_WAKING, 3, 0);
    move_to(2, 3, STAGE_PROTECTED);
    assert_int_equal(note_suspects(&note, NULL, CPUS, suspects), 0);
    struct rally *rally = lcpu->rally;
    lcpu->rally = rally + 1;
    assert_int_equal(note_suspects(&note, records(), CPUS, suspects), 0);
    lcpu->rally = NULL;
    assert_int_equal(note_suspects(&note, records(), CPUS, suspects), 0);
    lcpu->rally = rally;
    lcpu->cpu = 0;
    assert_int_equal(note_suspects(&note, records(), CPUS, suspects), 0);
    lcpu->cpu = 2;
    bsp->cpu = 1;
    assert_int_equal(note_suspects(&note, records(), CPUS, suspects), 0);
    bsp->cpu = 0;
    assert_int_equal(note_suspects(&note, records(), CPUS, suspects), 1);
    for (enum note_step step = NOTE_NOTHING; step <= NOTE_CALLING; step++) {
        note_keep(&note, aps.smp, step, 3, 0);
        assert_int_equal(note_suspects(&note, records(), CPUS, suspects), step == NOTE_WAKING);
    }
}

static void assert_told(size_t count, enum smp_stage stage, const char *wanted)
{
    const struct smp_under_way suspect = {.cpu = 2, .stage = stage};
    char buffer[LINE_BYTES];
    struct line line;

    line_start(&line, buffer, sizeof buffer);
    note_tell(&note, &suspect, count, &line);
    assert_string_equal(buffer, wanted);
}

static void test_sentences(void **state)
{
    (void)state;
    note_keep(&note, aps.smp, NOTE_WAKING, 5, 0);
    assert_told(1, STAGE_PROTECTED,
                "The previous run ended in a reset while CPU 2 went from protected to long mode");
    assert_told(
        3, STAGE_LONG,
        "The previous run ended in a reset while CPU 2 went from long mode to C (and 2 more "
        "were under way)");
    assert_told(0, 0, "The previous run ended in a reset while it woke the processors, in round 5");
    note_keep(&note, aps.smp, NOTE_LEAVING, 0, 0);
    assert_told(0, 0, "The previous run ended in a reset while it left firmware");
    note_keep(&note, aps.smp, NOTE_REPORTING, 1, 0);
    assert_told(0, 0, "The previous run ended in a reset while it reported, after the wake");
    note_keep(&note, aps.smp, NOTE_CALLING, 1, 0);
    assert_told(0, 0,
                "The previous run ended in a reset while its processors did what run= asked for");
    assert_string_equal(note_word(NOTE_WAKING), "waking");
    assert_string_equal(note_word(NOTE_CALLING), "calling");
    assert_string_equal(note_word(77), "nothing");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, aps_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_kept_and_dropped),           TEST(test_any_flipped_bit_is_seen),
        TEST(test_a_copy_elsewhere_is_not_it), TEST(test_suspects),
        TEST(test_records_that_are_not_ours),  TEST(test_sentences),
    };
    return cmocka_run_group_tests_name("note", tests, aps_set_up, NULL);
}
