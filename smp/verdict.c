// From evidence to cause, and from cause to words. The order of the tests is the rule: the surest
// evidence speaks first.

#include "smp.h"

static const struct {
    const char *word, *story;
} causes[SMP_CAUSES] = {
    [SMP_CAUSE_NONE] = {"none", "it started"},
    [SMP_CAUSE_NEVER_FETCHED] = {"never-fetched",
                                 "it never executed an instruction of the trampoline"},
    [SMP_CAUSE_DAMAGED_PAGE] = {"damaged-page",
                                "the trampoline's page was overwritten after it was verified"},
    [SMP_CAUSE_STOPPED_IN_REAL] = {"stopped-in-real",
                                   "it entered the trampoline but did not reach protected mode"},
    [SMP_CAUSE_STOPPED_IN_PROTECTED] = {"stopped-in-protected",
                                        "it reached protected mode but not long mode"},
    [SMP_CAUSE_STOPPED_IN_LONG] = {"stopped-in-long", "it reached long mode but not C"},
    [SMP_CAUSE_STOPPED_IN_C] = {"stopped-in-c", "it reached C but did not check in"},
    [SMP_CAUSE_FAULT] = {"fault", "it took an exception or an NMI and stopped"},
    [SMP_CAUSE_WRONG_ID] = {"wrong-id",
                            "a processor started with its APIC ID, but its record holds another"},
    [SMP_CAUSE_LATE] = {"late", "it started, but after its time-out"},
    [SMP_CAUSE_SILENT] = {"silent", "it checked in on time, but its turn was never completed"},
    [SMP_CAUSE_INTERMITTENT] = {"intermittent", "it started, but not in every round"},
    [SMP_CAUSE_NOT_RUN_BY_FIRMWARE] = {"not-run-by-firmware",
                                       "firmware did not run our procedure on it"},
    [SMP_CAUSE_NO_NX] =
        {"no-nx", "it has no NX, or firmware switched it off, and the BSP's page tables use it"},
    [SMP_CAUSE_NO_RETURN] = {"no-return", "it started, but did not return from a call in time"},
    [SMP_CAUSE_UNKNOWN] = {"unknown", "the evidence is inconclusive"},
};

static enum smp_cause verdict_by_mark(const struct smp_account *account)
{
    if (account->page_damaged)
        return SMP_CAUSE_DAMAGED_PAGE;
    if (account->stray)
        return SMP_CAUSE_WRONG_ID;
    // A mark that is not there was left by nobody; one that is there may be another's.
    if (account->mark == SMP_STAGE_NONE)
        return account->by_firmware ? SMP_CAUSE_NOT_RUN_BY_FIRMWARE : SMP_CAUSE_NEVER_FETCHED;
    if (account->mark_shared)
        return SMP_CAUSE_UNKNOWN;
    switch (account->mark) {
    case SMP_STAGE_REAL:
        return SMP_CAUSE_STOPPED_IN_REAL;
    case SMP_STAGE_PROTECTED:
        return SMP_CAUSE_STOPPED_IN_PROTECTED;
    default:
        return SMP_CAUSE_UNKNOWN;
    }
}

enum smp_cause smp_verdict(const struct smp_account *account)
{
    if (account->fault.valid)
        return SMP_CAUSE_FAULT;
    if (account->in_call)
        return SMP_CAUSE_NO_RETURN;
    if (account->done)
        return account->lost == 0 ? SMP_CAUSE_NONE : SMP_CAUSE_INTERMITTENT;
    switch (account->stage) {
    case SMP_STAGE_NONE:
        return verdict_by_mark(account);
    case SMP_STAGE_PROTECTED:
        return account->no_nx ? SMP_CAUSE_NO_NX : SMP_CAUSE_STOPPED_IN_PROTECTED;
    case SMP_STAGE_LONG:
        return SMP_CAUSE_STOPPED_IN_LONG;
    case SMP_STAGE_C:
        return SMP_CAUSE_STOPPED_IN_C;
    case SMP_STAGE_READY:
        return account->arrived ? SMP_CAUSE_SILENT : SMP_CAUSE_LATE;
    default:
        return SMP_CAUSE_UNKNOWN; // no processor leaves that
    }
}

const char *smp_cause_word(enum smp_cause cause)
{
    return causes[cause < SMP_CAUSES ? cause : SMP_CAUSE_UNKNOWN].word;
}

const char *smp_cause_story(enum smp_cause cause)
{
    return causes[cause < SMP_CAUSES ? cause : SMP_CAUSE_UNKNOWN].story;
}

const char *smp_stage_word(enum smp_stage stage)
{
    static const char *const words[] = {"none", "real", "protected", "long", "c", "c", "done"};
    return stage <= SMP_STAGE_DONE ? words[stage] : "none";
}
