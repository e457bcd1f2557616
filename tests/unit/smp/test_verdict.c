// The verdict on every combination of evidence, against a table written down apart from it.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "smp.h"

#define STAGES (SMP_STAGE_DONE + 1)

// The same rule as verdict.c, told the other way round: for each cause, what must hold.
static bool holds(enum smp_cause cause, const struct smp_account *a)
{
    const bool quiet = !a->fault.valid && !a->in_call;
    const bool by_record = quiet && !a->done;
    const bool nothing = by_record && a->stage == SMP_STAGE_NONE;
    const bool by_mark = nothing && !a->page_damaged && !a->stray;

    switch (cause) {
    case SMP_CAUSE_FAULT:
        return a->fault.valid;
    case SMP_CAUSE_NONE:
        return quiet && a->done && a->lost == 0;
    case SMP_CAUSE_INTERMITTENT:
        return quiet && a->done && a->lost > 0;
    case SMP_CAUSE_NO_RETURN:
        return !a->fault.valid && a->in_call;
    case SMP_CAUSE_SILENT:
        return by_record && a->stage == SMP_STAGE_READY && a->arrived;
    case SMP_CAUSE_LATE:
        return by_record && a->stage == SMP_STAGE_READY && !a->arrived;
    case SMP_CAUSE_STOPPED_IN_C:
        return by_record && a->stage == SMP_STAGE_C;
    case SMP_CAUSE_STOPPED_IN_LONG:
        return by_record && a->stage == SMP_STAGE_LONG;
    case SMP_CAUSE_STOPPED_IN_PROTECTED:
        return (by_record && a->stage == SMP_STAGE_PROTECTED && !a->no_nx) ||
               (by_mark && a->mark == SMP_STAGE_PROTECTED && !a->mark_shared);
    case SMP_CAUSE_STOPPED_IN_REAL:
        return by_mark && a->mark == SMP_STAGE_REAL && !a->mark_shared;
    case SMP_CAUSE_NEVER_FETCHED:
        return by_mark && a->mark == SMP_STAGE_NONE && !a->by_firmware;
    case SMP_CAUSE_NOT_RUN_BY_FIRMWARE:
        return by_mark && a->mark == SMP_STAGE_NONE && a->by_firmware;
    case SMP_CAUSE_DAMAGED_PAGE:
        return nothing && a->page_damaged;
    case SMP_CAUSE_WRONG_ID:
        return nothing && a->stray && !a->page_damaged;
    case SMP_CAUSE_NO_NX:
        return by_record && a->stage == SMP_STAGE_PROTECTED && a->no_nx;
    case SMP_CAUSE_UNKNOWN:
        return (by_mark && a->mark != SMP_STAGE_NONE &&
                (a->mark_shared || a->mark > SMP_STAGE_PROTECTED)) ||
               (by_record && (a->stage == SMP_STAGE_DONE || a->stage == SMP_STAGE_REAL));
    case SMP_CAUSES:
        break;
    }
    return false;
}

static void judge(const struct smp_account *account)
{
    const enum smp_cause given = smp_verdict(account);
    for (enum smp_cause cause = SMP_CAUSE_NONE; cause < SMP_CAUSES; cause++)
        assert_int_equal(holds(cause, account), cause == given);
}

static void test_every_combination(void **state)
{
    unsigned count = 0;

    (void)state;
    for (uint32_t stage = 0; stage < STAGES; stage++) {
        for (uint32_t mark = 0; mark <= SMP_STAGE_LONG; mark++) {
            for (unsigned bits = 0; bits < 1u << 10; bits++) {
                const struct smp_account account = {
                    .stage = stage,
                    .mark = mark,
                    .mark_shared = bits & 1,
                    .arrived = bits & 2,
                    .done = bits & 4,
                    .lost = bits & 8 ? 1 : 0,
                    .page_damaged = bits & 16,
                    .stray = bits & 32,
                    .by_firmware = bits & 128,
                    .no_nx = bits & 256,
                    .in_call = bits & 512,
                    .fault = {.valid = bits & 64, .mode = SMP_STAGE_LONG, .vector = 14},
                };
                judge(&account);
                count++;
            }
        }
    }
    assert_int_equal(count, STAGES * 4 * 1024);
}

// A shared mark is no evidence against anybody.
static void test_a_shared_mark_accuses_nobody(void **state)
{
    (void)state;
    for (uint32_t mark = SMP_STAGE_REAL; mark <= SMP_STAGE_LONG; mark++) {
        const struct smp_account account = {.mark = mark, .mark_shared = true};
        assert_int_equal(smp_verdict(&account), SMP_CAUSE_UNKNOWN);
    }
}

static void test_words(void **state)
{
    (void)state;
    for (enum smp_cause cause = SMP_CAUSE_NONE; cause < SMP_CAUSES; cause++) {
        assert_true(strlen(smp_cause_word(cause)) > 0 && strlen(smp_cause_word(cause)) < 24);
        assert_null(strchr(smp_cause_word(cause), ' '));
        assert_true(strlen(smp_cause_story(cause)) > 9); // "it started"
        for (enum smp_cause other = SMP_CAUSE_NONE; other < cause; other++) {
            assert_string_not_equal(smp_cause_word(cause), smp_cause_word(other));
            assert_string_not_equal(smp_cause_story(cause), smp_cause_story(other));
        }
    }
}

static void test_stage_words(void **state)
{
    static const char *const words[] = {"none", "real", "protected", "long", "c", "c", "done"};

    (void)state;
    for (enum smp_stage stage = SMP_STAGE_NONE; stage <= SMP_STAGE_DONE; stage++)
        assert_string_equal(smp_stage_word(stage), words[stage]);
    assert_string_equal(smp_stage_word((enum smp_stage)99), "none");
}

static void test_fault_words(void **state)
{
    (void)state;
    assert_string_equal(smp_fault_word(2), "NMI");
    assert_string_equal(smp_fault_word(6), "invalid opcode");
    assert_string_equal(smp_fault_word(14), "page fault");
    assert_string_equal(smp_fault_word(18), "machine check");
    assert_string_equal(smp_fault_word(9), "reserved");
    assert_string_equal(smp_fault_word(31), "reserved");
    assert_string_equal(smp_fault_word(32), "reserved");
}

// Its function has run: done, whatever the last round says. Else its record; else its mark, where
// that is its own.
static void test_how_far_it_came(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 7 * 3 * 4; i++) {
        const enum smp_stage stage = i / 12, mark = i / 4 % 3;
        const bool shared = i & 1, done = i & 2;
        const struct smp_account account = {
            .stage = stage, .mark = mark, .mark_shared = shared, .done = done};
        const enum smp_stage by_mark = shared ? SMP_STAGE_NONE : mark;
        assert_int_equal(smp_account_stage(&account), done                      ? SMP_STAGE_DONE
                                                      : stage != SMP_STAGE_NONE ? stage
                                                                                : by_mark);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_combination),
        cmocka_unit_test(test_a_shared_mark_accuses_nobody),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_stage_words),
        cmocka_unit_test(test_fault_words),
        cmocka_unit_test(test_how_far_it_came),
    };
    return cmocka_run_group_tests_name("verdict", tests, NULL, NULL);
}
