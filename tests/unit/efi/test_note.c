// The note: what is kept is found again, and nothing else is.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "mem.h"
#include "note.h"

#define CPUS 4u

static struct lcpu_page pages[CPUS];
static struct rally rally;
static struct note note;
static struct arena arena;

static int set_up(void **state)
{
    (void)state;
    memset(pages, 0, sizeof pages);
    for (uint32_t slot = 0; slot < CPUS; slot++) {
        pages[slot].lcpu.index = slot;
        pages[slot].lcpu.apic_id = 10 * slot;
        pages[slot].lcpu.rally = &rally;
    }
    arena = (struct arena){.phys = 0x2001000, .count = CPUS, .pages_offset = 0x3000};
    return 0;
}

static void move_to(uint32_t slot, uint32_t round, uint32_t stage)
{
    atomic_store(&pages[slot].lcpu.state, round << STATE_STAGE_BITS | stage);
}

static void test_kept_and_dropped(void **state)
{
    (void)state;
    note_keep(&note, &arena, NOTE_WAKING, 7, 1);
    assert_true(note_is_whole(&note, (uintptr_t)&note));
    assert_int_equal(note.step, NOTE_WAKING);
    assert_int_equal(note.round, 7);
    assert_int_equal(note.resets, 1);
    assert_int_equal(note.cpus, CPUS);
    assert_int_equal(note.pages_phys, 0x2004000);
    note_drop(&note);
    assert_false(note_is_whole(&note, (uintptr_t)&note));
}

static void test_any_flipped_bit_is_seen(void **state)
{
    (void)state;
    note_keep(&note, &arena, NOTE_LEAVING, 0, 0);
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
    note_keep(&note, &arena, NOTE_WAKING, 1, 0);
    memcpy(&copy, &note, sizeof copy);
    assert_false(note_is_whole(&copy, (uintptr_t)&copy));
}

static void test_suspects(void **state)
{
    struct note_suspect suspects[CPUS];

    (void)state;
    note_keep(&note, &arena, NOTE_WAKING, 3, 0);
    assert_int_equal(note_suspects(&note, pages, CPUS, suspects), 0);
    move_to(1, 3, STAGE_READY);
    move_to(2, 3, STAGE_PROTECTED);
    move_to(3, 2, STAGE_LONG); // of an earlier round
    assert_int_equal(note_suspects(&note, pages, CPUS, suspects), 1);
    assert_int_equal(suspects[0].cpu, 2);
    assert_int_equal(suspects[0].apic_id, 20);
    assert_int_equal(suspects[0].stage, STAGE_PROTECTED);
    move_to(3, 3, STAGE_C);
    assert_int_equal(note_suspects(&note, pages, 1, suspects), 2); // counted beyond the capacity
    assert_int_equal(suspects[0].cpu, 2);
}

static void test_records_that_are_not_ours(void **state)
{
    static struct rally other;
    struct note_suspect suspects[CPUS];

    (void)state;
    note_keep(&note, &arena, NOTE_WAKING, 3, 0);
    move_to(2, 3, STAGE_PROTECTED);
    assert_int_equal(note_suspects(&note, NULL, CPUS, suspects), 0);
    pages[2].lcpu.rally = &other;
    assert_int_equal(note_suspects(&note, pages, CPUS, suspects), 0);
    pages[2].lcpu.rally = &rally;
    pages[2].lcpu.index = 0;
    assert_int_equal(note_suspects(&note, pages, CPUS, suspects), 0);
    pages[2].lcpu.index = 2;
    pages[0].lcpu.index = 1;
    assert_int_equal(note_suspects(&note, pages, CPUS, suspects), 0);
    pages[0].lcpu.index = 0;
    assert_int_equal(note_suspects(&note, pages, CPUS, suspects), 1);
    note_keep(&note, &arena, NOTE_REPORTING, 3, 0);
    assert_int_equal(note_suspects(&note, pages, CPUS, suspects), 0);
}

static void assert_told(size_t count, uint32_t stage, const char *wanted)
{
    const struct note_suspect suspect = {.cpu = 2, .stage = stage};
    char buffer[LINE_BYTES];
    struct line line;

    line_start(&line, buffer, sizeof buffer);
    note_tell(&note, &suspect, count, &line);
    assert_string_equal(buffer, wanted);
}

static void test_sentences(void **state)
{
    (void)state;
    note_keep(&note, &arena, NOTE_WAKING, 5, 0);
    assert_told(1, STAGE_PROTECTED,
                "The previous run ended in a reset while CPU 2 went from protected to long mode");
    assert_told(
        3, STAGE_LONG,
        "The previous run ended in a reset while CPU 2 went from long mode to C (and 2 more "
        "were under way)");
    assert_told(0, 0, "The previous run ended in a reset while it woke the processors, in round 5");
    note_keep(&note, &arena, NOTE_LEAVING, 0, 0);
    assert_told(0, 0, "The previous run ended in a reset while it left firmware");
    note_keep(&note, &arena, NOTE_REPORTING, 1, 0);
    assert_told(0, 0, "The previous run ended in a reset while it reported, after the wake");
    assert_string_equal(note_word(NOTE_WAKING), "waking");
    assert_string_equal(note_word(77), "nothing");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_kept_and_dropped, set_up),
        cmocka_unit_test_setup(test_any_flipped_bit_is_seen, set_up),
        cmocka_unit_test_setup(test_a_copy_elsewhere_is_not_it, set_up),
        cmocka_unit_test_setup(test_suspects, set_up),
        cmocka_unit_test_setup(test_records_that_are_not_ours, set_up),
        cmocka_unit_test_setup(test_sentences, set_up),
    };
    return cmocka_run_group_tests_name("note", tests, NULL, NULL);
}
