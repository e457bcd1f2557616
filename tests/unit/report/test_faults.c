// The fault matrix without a machine: what each fault on purpose leaves of its processor, and what
// the report makes of that: cause, record, sentences, and the outcome of the run. The boot tests
// see the same rows come out of real processors (tests/boot/test_matrix.py).

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "advice.h"
#include "fake_evidence.h"
#include "heard.h"
#include "injection.h"
#include "outcome.h"
#include "report_cpus.h"

#define CPU 2u // the one that bears the fault, among four

struct row {
    struct smp_account account; // but for who it is
    enum smp_cause cause;
    const char *record; // from the state on
};

#define ARRIVED    .arrived = true, .us = 200
#define MISSING    .lost = 1
#define FAULT(...) .fault = {.valid = true, __VA_ARGS__}
#define GREETED    "state=online stage=greeted "
#define PLACE      " package=0 core=2 thread=0"

static const struct row rows[FAULT_KINDS] = {
    [FAULT_NO_INIT] = {{ARRIVED, .stage = SMP_STAGE_DONE, .done = true, .tries = 2},
                       SMP_CAUSE_NONE,
                       GREETED "tries=2 retry=sequence us=200" PLACE},
    [FAULT_NO_SIPI] = {{ARRIVED, .stage = SMP_STAGE_DONE, .done = true, .tries = 2},
                       SMP_CAUSE_NONE,
                       GREETED "tries=2 retry=sequence us=200" PLACE},
    [FAULT_LOST_SIPI] = {{ARRIVED, .stage = SMP_STAGE_DONE, .done = true, .tries = 2},
                         SMP_CAUSE_NONE,
                         GREETED "tries=2 retry=sequence us=200" PLACE},
    [FAULT_BAD_VECTOR] = {{MISSING, .tries = 2},
                          SMP_CAUSE_NEVER_FETCHED,
                          "state=failed stage=none tries=2 lost=1 cause=never-fetched"},
    [FAULT_BAD_COPY] = {{MISSING, .tries = 1, .page_damaged = true},
                        SMP_CAUSE_DAMAGED_PAGE,
                        "state=failed stage=none tries=1 lost=1 cause=damaged-page"},
    [FAULT_HANG_REAL] = {{MISSING, .tries = 1, .mark = SMP_STAGE_REAL},
                         SMP_CAUSE_STOPPED_IN_REAL,
                         "state=failed stage=real tries=1 lost=1 cause=stopped-in-real"},
    [FAULT_HANG_PROTECTED] = {{MISSING, .tries = 1, .stage = SMP_STAGE_PROTECTED},
                              SMP_CAUSE_STOPPED_IN_PROTECTED,
                              "state=failed stage=protected tries=1 lost=1 "
                              "cause=stopped-in-protected"},
    [FAULT_HANG_LONG] = {{MISSING, .tries = 1, .stage = SMP_STAGE_LONG},
                         SMP_CAUSE_STOPPED_IN_LONG,
                         "state=failed stage=long tries=1 lost=1 cause=stopped-in-long"},
    [FAULT_HANG_C] = {{ARRIVED, .tries = 1, .stage = SMP_STAGE_C},
                      SMP_CAUSE_STOPPED_IN_C,
                      "state=failed stage=c tries=1 us=200 cause=stopped-in-c"},
    [FAULT_UD_REAL] = {{MISSING, .tries = 1, .mark = SMP_STAGE_REAL,
                        FAULT(.mode = SMP_STAGE_REAL, .vector = 6, .ip = 0x9f010)},
                       SMP_CAUSE_FAULT,
                       "state=failed stage=real tries=1 lost=1 cause=fault mode=real vector=6 "
                       "error=0x0 ip=0x9f010 cr2=0x0"},
    [FAULT_UD_PROTECTED] =
        {{MISSING, .tries = 1, .stage = SMP_STAGE_PROTECTED,
          FAULT(.mode = SMP_STAGE_PROTECTED, .vector = 6, .ip = 0x9f100)},
         SMP_CAUSE_FAULT,
         "state=failed stage=protected tries=1 lost=1 cause=fault mode=protected vector=6 "
         "error=0x0 ip=0x9f100 cr2=0x0"},
    [FAULT_UD_LONG] = {{MISSING, .tries = 1, .stage = SMP_STAGE_LONG,
                        FAULT(.mode = SMP_STAGE_LONG, .vector = 6, .ip = 0x9f200)},
                       SMP_CAUSE_FAULT,
                       "state=failed stage=long tries=1 lost=1 cause=fault mode=long vector=6 "
                       "error=0x0 ip=0x9f200 cr2=0x0"},
    [FAULT_UD_C] = {{ARRIVED, .tries = 1, .stage = SMP_STAGE_C,
                     FAULT(.mode = SMP_STAGE_C, .vector = 6, .ip = 0x10000)},
                    SMP_CAUSE_FAULT,
                    "state=failed stage=c tries=1 us=200 cause=fault mode=c vector=6 error=0x0 "
                    "ip=0x10000 cr2=0x0"},
    [FAULT_BAD_STACK] =
        {{MISSING, .tries = 1, .stage = SMP_STAGE_LONG,
          FAULT(.mode = SMP_STAGE_LONG, .vector = 14, .error = 2, .ip = 0x10000, .cr2 = 0x2000ff8)},
         SMP_CAUSE_FAULT,
         "state=failed stage=long tries=1 lost=1 cause=fault mode=long vector=14 error=0x2 "
         "ip=0x10000 cr2=0x2000ff8"},
    [FAULT_BAD_ENTRY] = {{MISSING, .tries = 1, .stage = SMP_STAGE_LONG,
                          FAULT(.mode = SMP_STAGE_LONG, .vector = 14, .error = 0x10)},
                         SMP_CAUSE_FAULT,
                         "state=failed stage=long tries=1 lost=1 cause=fault mode=long vector=14 "
                         "error=0x10 ip=0x0 cr2=0x0"},
    [FAULT_WRONG_ID] = {{MISSING, .tries = 1, .mark = SMP_STAGE_PROTECTED, .stray = true},
                        SMP_CAUSE_WRONG_ID,
                        "state=failed stage=protected tries=1 lost=1 cause=wrong-id"},
    [FAULT_LATE] = {{MISSING, .tries = 1, .stage = SMP_STAGE_READY},
                    SMP_CAUSE_LATE,
                    "state=failed stage=c tries=1 lost=1 cause=late"},
    [FAULT_MUTE] = {{ARRIVED, .tries = 1, .stage = SMP_STAGE_READY},
                    SMP_CAUSE_SILENT,
                    "state=failed stage=c tries=1 us=200 cause=silent"},
    [FAULT_GHOST] = {{MISSING, .tries = 2},
                     SMP_CAUSE_NEVER_FETCHED,
                     "state=failed stage=none tries=2 lost=1 cause=never-fetched"},
    [FAULT_NMI] = {{ARRIVED, .tries = 1, .stage = SMP_STAGE_READY,
                    FAULT(.mode = SMP_STAGE_READY, .vector = 2, .ip = 0x10000)},
                   SMP_CAUSE_FAULT,
                   "state=failed stage=c tries=1 us=200 cause=fault mode=c vector=2 error=0x0 "
                   "ip=0x10000 cr2=0x0"},
    [FAULT_DUPLICATE] = {{ARRIVED, .stage = SMP_STAGE_DONE, .done = true, .tries = 1},
                         SMP_CAUSE_NONE,
                         GREETED "tries=1 us=200" PLACE},
    [FAULT_NO_LOW_PAGE] = {{ARRIVED, .stage = SMP_STAGE_DONE, .done = true, .tries = 1},
                           SMP_CAUSE_NONE,
                           GREETED "tries=1 us=200" PLACE},
    [FAULT_UD_IDLE] = {{ARRIVED, .tries = 1, .stage = SMP_STAGE_DONE, .done = true,
                        FAULT(.mode = SMP_STAGE_C, .vector = 6, .ip = 0x10000)},
                       SMP_CAUSE_FAULT,
                       "state=failed stage=greeted tries=1 us=200 package=0 core=2 thread=0 "
                       "cause=fault mode=c vector=6 error=0x0 ip=0x10000 cr2=0x0"},
    [FAULT_HANG_CALL] = {{ARRIVED, .tries = 1, .stage = SMP_STAGE_DONE, .done = true,
                          .in_call = true},
                         SMP_CAUSE_NO_RETURN,
                         "state=failed stage=greeted tries=1 us=200 package=0 core=2 thread=0 "
                         "cause=no-return"},
};

// Not of one AP that was to be woken: no row, and a test of its own below.
static bool has_no_account(enum fault_kind kind)
{
    return kind == FAULT_BAD_CR3 || kind == FAULT_UNLISTED || kind == FAULT_BAD_JOURNAL;
}

// What no fault on purpose leads to.
static const struct row others[] = {
    {{ARRIVED, .stage = SMP_STAGE_DONE, .done = true, .tries = 1, .startup_helped = true},
     SMP_CAUSE_NONE,
     GREETED "tries=1 retry=startup us=200" PLACE},
    {{ARRIVED, .stage = SMP_STAGE_DONE, .done = true, .tries = 1, .lost = 3},
     SMP_CAUSE_INTERMITTENT,
     "state=failed stage=greeted tries=1 us=200 package=0 core=2 thread=0 lost=3 "
     "cause=intermittent"},
    {{.stage = SMP_STAGE_NONE, .done = true, .tries = 2, .lost = 1},
     SMP_CAUSE_INTERMITTENT,
     "state=failed stage=greeted tries=2 package=0 core=2 thread=0 lost=1 cause=intermittent"},
    {{MISSING, .tries = 1, .by_firmware = true},
     SMP_CAUSE_NOT_RUN_BY_FIRMWARE,
     "state=failed stage=none tries=1 lost=1 cause=not-run-by-firmware"},
    {{MISSING, .tries = 1, .stage = SMP_STAGE_PROTECTED, .no_nx = true},
     SMP_CAUSE_NO_NX,
     "state=failed stage=protected tries=1 lost=1 cause=no-nx"},
    {{.stage = SMP_STAGE_DONE, .arrived = true, .done = true, .tries = 1, .in_call = true},
     SMP_CAUSE_NO_RETURN,
     "state=failed stage=greeted tries=1 us=0 package=0 core=2 thread=0 cause=no-return"},
    {{MISSING, .tries = 1, .mark = SMP_STAGE_REAL, .mark_shared = true},
     SMP_CAUSE_UNKNOWN,
     "state=failed stage=none tries=1 lost=1 cause=unknown"},
};

static struct fake_evidence fake;
static struct heard heard;

static struct smp_account account_of(const struct row *row)
{
    struct smp_account account = row->account;

    account.slot = account.cpu = CPU;
    account.apic_id = 0x10;
    return account;
}

static void check_cause(const struct row *row)
{
    const struct smp_account account = account_of(row);

    assert_string_equal(smp_cause_word(smp_verdict(&account)), smp_cause_word(row->cause));
}

// Alone, and among three that are well.
static void check_outcome(const struct row *row)
{
    struct evidence *evidence = fake_evidence_start(&fake, 5);
    const bool good = row->cause == SMP_CAUSE_NONE;
    struct outcome outcome = OUTCOME_OPEN;

    fake.accounts[CPU] = account_of(row);
    outcome_add(&outcome, &fake.accounts[CPU]);
    assert_int_equal(outcome.want, 1);
    assert_int_equal(outcome.up, good);
    assert_int_equal(outcome.failed, !good);
    assert_int_equal(outcome.ok, good);

    outcome = outcome_of(evidence);
    assert_int_equal(outcome.want, 4);
    assert_int_equal(outcome.up, good ? 4 : 3);
    assert_int_equal(outcome.failed, !good);
    assert_int_equal(outcome.ok, good);
}

static void check_lines(const struct row *row)
{
    const struct smp_account account = account_of(row);
    const struct cpu cpu = {.apic_id = 0x10, .uid = 7, .listing = CPU_LISTED};
    const struct hello hello = {.place.core = 2, .known = true};
    char start[1024], end[256];

    report_ap(heard_start(&heard, LOG_NORMAL), &cpu, &account, &hello);
    snprintf(start, sizeof start, "REVEILLE ev=cpu cpu=2 apic=0x10 uid=7 %s\n%s%s", row->record,
             row->cause == SMP_CAUSE_NONE ? "" : "CPU 2 failed: ",
             row->cause == SMP_CAUSE_NONE ? "" : smp_cause_story(row->cause));
    assert_memory_equal(heard.text, start, strlen(start));
    snprintf(end, sizeof end, ".\n  Look next: %s\n", cause_advice(row->cause));
    const char *rest = heard.text + strlen(start);
    if (row->cause == SMP_CAUSE_NONE)
        assert_string_equal(rest, "");
    else if (row->cause == SMP_CAUSE_FAULT)
        assert_string_equal(strstr(rest, ".\n"), end);
    else
        assert_string_equal(rest, end);
}

static void check(const struct row *row)
{
    check_cause(row);
    check_outcome(row);
    check_lines(row);
}

static void test_every_fault(void **state)
{
    (void)state;
    for (enum fault_kind kind = 0; kind < FAULT_KINDS; kind++) {
        assert_int_equal(rows[kind].record == NULL, has_no_account(kind));
        if (rows[kind].record)
            check(&rows[kind]);
    }
}

static void test_every_other_end(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        check(&others[i]);
}

static void test_every_cause_has_a_row(void **state)
{
    bool met[SMP_CAUSES] = {false};

    (void)state;
    for (enum fault_kind kind = 0; kind < FAULT_KINDS; kind++)
        met[rows[kind].cause] = true;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        met[others[i].cause] = true;
    for (enum smp_cause cause = SMP_CAUSE_NONE; cause < SMP_CAUSES; cause++)
        assert_true(met[cause]);
}

static void test_every_cause_has_its_own_advice(void **state)
{
    (void)state;
    for (enum smp_cause cause = SMP_CAUSE_NONE; cause < SMP_CAUSES; cause++) {
        assert_non_null(cause_advice(cause));
        assert_true(strlen(cause_advice(cause)) > 10);
        for (enum smp_cause other = SMP_CAUSE_NONE; other < cause; other++)
            assert_string_not_equal(cause_advice(cause), cause_advice(other));
    }
}

// The whole sentence of a fault.
static void test_the_story_of_a_fault(void **state)
{
    const struct smp_account account = account_of(&rows[FAULT_BAD_STACK]);
    const struct cpu cpu = {.apic_id = 0x10};
    const struct hello hello = {.known = false};

    (void)state;
    report_ap(heard_start(&heard, LOG_NORMAL), &cpu, &account, &hello);
    assert_non_null(strstr(heard.text, ": vector 14 (page fault) in long mode at 0x10000, error "
                                       "code 0x2, CR2 0x2000ff8.\n  Look next: "));
}

// inject=unlisted: it came and is in no table. It has a record, and the run is none the worse.
static void test_who_is_unlisted(void **state)
{
    struct cpu cpus[2] = {{.apic_id = 0}, {.apic_id = 1, .listing = CPU_LISTED}};
    const struct inventory inventory = {.cpus = cpus, .count = 2};
    struct evidence *evidence = fake_evidence_start(&fake, 2);

    (void)state;
    fake_evidence_add_unlisted(&fake, 2);
    report_cpus(heard_start(&heard, LOG_NORMAL), &inventory, evidence);
    assert_non_null(strstr(heard.text, "\nREVEILLE ev=cpu apic=0x2 state=unlisted\n"));
    const struct outcome outcome = outcome_of(evidence);
    assert_int_equal(outcome.want, 1);
    assert_true(outcome.ok);
}

// run=sum: all APs are well, and yet something is wrong.
static void test_a_wrong_sum(void **state)
{
    struct evidence *evidence = fake_evidence_start(&fake, 4);

    (void)state;
    evidence->wrong_sum = true;
    const struct outcome outcome = outcome_of(evidence);
    assert_int_equal(outcome.up, 3);
    assert_true(outcome.wrong_sum);
    assert_false(outcome.ok);
    evidence->wrong_sum = false;
    assert_true(outcome_of(evidence).ok);
}

// inject=bad-journal: CPU 0 stops on its way, and all APs are well.
static void test_a_run_that_was_cut_short(void **state)
{
    const struct evidence *evidence = fake_evidence_start(&fake, 4);
    const struct outcome outcome = outcome_cut_short(outcome_of(evidence));

    (void)state;
    assert_int_equal(outcome.want, 3);
    assert_int_equal(outcome.up, 3);
    assert_int_equal(outcome.failed, 0);
    assert_false(outcome.ok);
}

// inject=bad-cr3: the machine is gone, and of a refused run nothing is known either.
static void test_nothing_was_examined(void **state)
{
    const struct outcome outcomes[] = {outcome_of(NULL), OUTCOME_OPEN};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(outcomes[i].want, 0);
        assert_int_equal(outcomes[i].up, 0);
        assert_false(outcomes[i].ok);
    }
}

// A machine with one processor, or a wish for none of the others.
static void test_nobody_was_to_be_woken(void **state)
{
    const struct outcome outcome = outcome_of(fake_evidence_start(&fake, 1));

    (void)state;
    assert_int_equal(outcome.want, 0);
    assert_true(outcome.ok);
}

static void test_one_failure_is_enough(void **state)
{
    const struct evidence *evidence = fake_evidence_start(&fake, 64);

    (void)state;
    for (uint32_t cpu = 1; cpu < 64; cpu++) {
        const struct smp_account good = fake.accounts[cpu];
        fake.accounts[cpu].lost = 1;
        const struct outcome outcome = outcome_of(evidence);
        assert_int_equal(outcome.up, 62);
        assert_int_equal(outcome.failed, 1);
        assert_false(outcome.ok);
        fake.accounts[cpu] = good;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_fault),
        cmocka_unit_test(test_every_other_end),
        cmocka_unit_test(test_every_cause_has_a_row),
        cmocka_unit_test(test_every_cause_has_its_own_advice),
        cmocka_unit_test(test_the_story_of_a_fault),
        cmocka_unit_test(test_who_is_unlisted),
        cmocka_unit_test(test_a_run_that_was_cut_short),
        cmocka_unit_test(test_a_wrong_sum),
        cmocka_unit_test(test_nothing_was_examined),
        cmocka_unit_test(test_nobody_was_to_be_woken),
        cmocka_unit_test(test_one_failure_is_enough),
    };
    return cmocka_run_group_tests_name("faults", tests, NULL, NULL);
}
