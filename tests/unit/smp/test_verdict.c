// The verdict on every combination of evidence, against a table written down apart from it.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "verdict.h"

#define STAGES (STAGE_GREETED + 1)

// The same rule as verdict.c, told the other way round: for each cause, what must hold.
static bool holds(enum cause cause, const struct evidence *e)
{
    const bool by_record = !e->fault.valid && !e->greeted;
    const bool nothing = by_record && e->stage == STAGE_NONE;
    const bool by_mark = nothing && !e->page_damaged && !e->stray;

    switch (cause) {
    case CAUSE_FAULT:
        return e->fault.valid;
    case CAUSE_NONE:
        return !e->fault.valid && e->greeted && e->lost == 0;
    case CAUSE_INTERMITTENT:
        return !e->fault.valid && e->greeted && e->lost > 0;
    case CAUSE_SILENT:
        return by_record && e->stage == STAGE_READY && e->up;
    case CAUSE_LATE:
        return by_record && e->stage == STAGE_READY && !e->up;
    case CAUSE_STOPPED_IN_C:
        return by_record && e->stage == STAGE_C;
    case CAUSE_STOPPED_IN_LONG:
        return by_record && e->stage == STAGE_LONG;
    case CAUSE_STOPPED_IN_PROTECTED:
        return (by_record && e->stage == STAGE_PROTECTED && !e->no_nx) ||
               (by_mark && e->mark == STAGE_PROTECTED && !e->mark_shared);
    case CAUSE_STOPPED_IN_REAL:
        return by_mark && e->mark == STAGE_REAL && !e->mark_shared;
    case CAUSE_NEVER_FETCHED:
        return by_mark && e->mark == STAGE_NONE && !e->by_firmware;
    case CAUSE_NOT_RUN_BY_FIRMWARE:
        return by_mark && e->mark == STAGE_NONE && e->by_firmware;
    case CAUSE_DAMAGED_PAGE:
        return nothing && e->page_damaged;
    case CAUSE_WRONG_ID:
        return nothing && e->stray && !e->page_damaged;
    case CAUSE_NO_NX:
        return by_record && e->stage == STAGE_PROTECTED && e->no_nx;
    case CAUSE_UNKNOWN:
        return (by_mark && e->mark != STAGE_NONE &&
                (e->mark_shared || e->mark > STAGE_PROTECTED)) ||
               (by_record && (e->stage == STAGE_GREETED || e->stage == STAGE_REAL));
    case CAUSE_COUNT:
        break;
    }
    return false;
}

static void judge(const struct evidence *evidence)
{
    const enum cause given = verdict(evidence);
    for (enum cause cause = CAUSE_NONE; cause < CAUSE_COUNT; cause++)
        assert_int_equal(holds(cause, evidence), cause == given);
}

static void test_every_combination(void **state)
{
    unsigned count = 0;

    (void)state;
    for (uint32_t stage = 0; stage < STAGES; stage++) {
        for (uint32_t mark = 0; mark <= STAGE_LONG; mark++) {
            for (unsigned bits = 0; bits < 1u << 9; bits++) {
                const struct evidence evidence = {
                    .stage = stage,
                    .mark = mark,
                    .mark_shared = bits & 1,
                    .up = bits & 2,
                    .greeted = bits & 4,
                    .lost = bits & 8 ? 3 : 0,
                    .page_damaged = bits & 16,
                    .stray = bits & 32,
                    .by_firmware = bits & 128,
                    .no_nx = bits & 256,
                    .fault = {.valid = bits & 64, .mode = STAGE_LONG, .vector = 14},
                };
                judge(&evidence);
                count++;
            }
        }
    }
    assert_int_equal(count, STAGES * 4 * 512);
}

// A shared mark is no evidence against anybody.
static void test_a_shared_mark_accuses_nobody(void **state)
{
    (void)state;
    for (uint32_t mark = STAGE_REAL; mark <= STAGE_LONG; mark++) {
        const struct evidence evidence = {.mark = mark, .mark_shared = true};
        assert_int_equal(verdict(&evidence), CAUSE_UNKNOWN);
    }
}

static void test_words(void **state)
{
    (void)state;
    for (enum cause cause = CAUSE_NONE; cause < CAUSE_COUNT; cause++) {
        assert_true(strlen(cause_word(cause)) > 0 && strlen(cause_word(cause)) < 24);
        assert_null(strchr(cause_word(cause), ' '));
        assert_true(strlen(cause_story(cause)) > 10);
        assert_true(strlen(cause_advice(cause)) > 10);
        for (enum cause other = CAUSE_NONE; other < cause; other++) {
            assert_string_not_equal(cause_word(cause), cause_word(other));
            assert_string_not_equal(cause_story(cause), cause_story(other));
        }
    }
    assert_string_equal(stage_word(STAGE_READY), "c");
    assert_string_equal(stage_word(STAGE_GREETED), "greeted");
    assert_string_equal(stage_word(99), "none");
    assert_string_equal(mode_word(STAGE_GREETED), "c");
    assert_string_equal(mode_word(STAGE_REAL), "real");
    assert_string_equal(mode_story(STAGE_LONG), "long mode");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_combination),
        cmocka_unit_test(test_a_shared_mark_accuses_nobody),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests_name("verdict", tests, NULL, NULL);
}
