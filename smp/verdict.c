// From evidence to cause, and from cause to words. The order of the tests is the rule: the surest evidence
// speaks first.

#include "verdict.h"

static const struct {
    const char *word, *story, *advice;
} causes[CAUSE_COUNT] = {
    [CAUSE_NONE] = {"none", "came and greeted", "nothing to do"},
    [CAUSE_NEVER_FETCHED] =
        {"never-fetched", "no instruction of ours was ever fetched by it",
         "is the APIC ID real, and is the processor in SMM, parked by firmware or by a hypervisor? "
         "try init_us=10000 sipis=2, then apic=xapic"},
    [CAUSE_STOPPED_IN_REAL] =
        {"stopped-in-real", "it fetched the trampoline, and stopped before protected mode",
         "was the page damaged, or is its GDT out of reach?"},
    [CAUSE_STOPPED_IN_PROTECTED] =
        {"stopped-in-protected", "it reached protected mode, and never long mode",
         "look at the page tables: CR3 below 4 GiB, NXE, LA57; and at the x2APIC's lock"},
    [CAUSE_STOPPED_IN_LONG] =
        {"stopped-in-long", "it reached long mode, and never C",
         "look at its stack, its descriptors and the entry's address"},
    [CAUSE_STOPPED_IN_C] = {"stopped-in-c", "it reached C too late or stopped there",
                            "raise timeout_us, and look at the wake's figures"},
    [CAUSE_FAULT] = {"fault", "it met an exception or an NMI, and stopped",
                     "its own line tells vector, address and CR2"},
    [CAUSE_SILENT] = {"silent", "it reached C in time, but its line did not come out",
                      "is the serial port stuck, or another processor holding it?"},
    [CAUSE_LATE] = {"late", "it missed a round and came in another",
                    "raise init_us and timeout_us, and try rounds= again"},
    [CAUSE_UNKNOWN] = {"unknown", "the evidence does not say", "run again with log=debug"},
};

enum cause verdict(const struct evidence *evidence)
{
    if (evidence->fault)
        return CAUSE_FAULT;
    if (evidence->greeted)
        return evidence->lost == 0 ? CAUSE_NONE : CAUSE_LATE;
    switch (evidence->stage) {
    case STAGE_GREETED:
        return CAUSE_UNKNOWN;
    case STAGE_C:
        return evidence->lost == 0 ? CAUSE_SILENT : CAUSE_STOPPED_IN_C;
    case STAGE_LONG:
        return CAUSE_STOPPED_IN_LONG;
    case STAGE_PROTECTED:
        return CAUSE_STOPPED_IN_PROTECTED;
    default:
        break;
    }
    // Only the mark is left. A mark that is not there was left by nobody; one that is there may be another's.
    switch (evidence->mark) {
    case STAGE_NONE:
        return CAUSE_NEVER_FETCHED;
    case STAGE_REAL:
        return evidence->mark_shared ? CAUSE_UNKNOWN : CAUSE_STOPPED_IN_REAL;
    case STAGE_PROTECTED:
        return evidence->mark_shared ? CAUSE_UNKNOWN : CAUSE_STOPPED_IN_PROTECTED;
    default:
        return CAUSE_UNKNOWN;
    }
}

const char *cause_word(enum cause cause)
{
    return causes[cause].word;
}

const char *cause_story(enum cause cause)
{
    return causes[cause].story;
}

const char *cause_advice(enum cause cause)
{
    return causes[cause].advice;
}

const char *stage_word(uint32_t stage)
{
    static const char *const words[] = {"none", "real", "protected", "long", "c", "greeted"};
    return stage <= STAGE_GREETED ? words[stage] : "none";
}
