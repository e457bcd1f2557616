// From evidence to cause, and from cause to words. The order of the tests is the rule: the surest
// evidence speaks first.

#include "verdict.h"

static const struct {
    const char *word, *story, *advice;
} causes[CAUSE_COUNT] = {
    [CAUSE_NONE] = {"none", "it came and greeted", "nothing to do"},
    [CAUSE_NEVER_FETCHED] =
        {"never-fetched", "it never fetched an instruction of ours",
         "does a processor with this APIC ID exist, and does a hypervisor or secure firmware hold "
         "it? A "
         "processor in SMM loses a STARTUP: try init_us=10000 sipis=2, then retries=5"},
    [CAUSE_DAMAGED_PAGE] =
        {"damaged-page", "the trampoline's page is no longer what was proved before the wake",
         "somebody writes below 1 MiB: SMM, a device's DMA, or a firmware processor that was never "
         "parked; look at the page's address in ev=trampoline"},
    [CAUSE_STOPPED_IN_REAL] = {"stopped-in-real",
                               "it fetched the trampoline and stopped before protected mode",
                               "look at the page: is it memory for this processor too (MTRRs, "
                               "SMRAM), and its GDT intact?"},
    [CAUSE_STOPPED_IN_PROTECTED] = {"stopped-in-protected",
                                    "it reached protected mode and never long mode",
                                    "look at the page tables (CR3 below 4 GiB, NXE, LA57) and at "
                                    "the x2APIC: firmware may have "
                                    "locked its mode"},
    [CAUSE_STOPPED_IN_LONG] =
        {"stopped-in-long", "it reached long mode and never C",
         "look at its stack, its TSS and the entry's address in \"Initialized CPU\""},
    [CAUSE_STOPPED_IN_C] =
        {"stopped-in-c", "it reached C and never checked in",
         "attach a debugger (make debug) and look where it stands after ap_main"},
    [CAUSE_FAULT] = {"fault", "it met an exception or an NMI and stopped",
                     "vector, address and CR2 stand in its record; an NMI that nobody sent is a "
                     "watchdog's or a memory error's"},
    [CAUSE_WRONG_ID] = {"wrong-id",
                        "a processor came under its APIC ID, but its record bears another",
                        "the MADT or the record is wrong: compare the IDs in ev=cpu with CPUID "
                        "leaf 0xB; some firmware "
                        "shifts APIC IDs after the tables are made"},
    [CAUSE_LATE] =
        {"late", "it came, but after its time-out",
         "raise timeout_us; if it is always late, somebody holds it: SMM, or a hypervisor "
         "with more processors than cores"},
    [CAUSE_SILENT] = {"silent", "it checked in in time, but its line never came out",
                      "look at the serial port: is it stuck, or held by another processor?"},
    [CAUSE_INTERMITTENT] = {"intermittent", "it greeted, but it missed a round",
                            "raise init_us and sipis, and try again with more rounds="},
    [CAUSE_NOT_RUN_BY_FIRMWARE] =
        {"not-run-by-firmware", "firmware did not run our procedure on it",
         "has MP Services disabled it, or lost it? See enabled= and healthy= in ev=mp, and try "
         "wake=parallel"},
    [CAUSE_NO_NX] =
        {"no-nx", "it has no NX, or firmware switched it off, and the BSP's page tables use it",
         "switch \"Execute Disable\" (NX, XD) on for all processors in firmware's setup, or "
         "leave this one out with cpus="},
    [CAUSE_UNKNOWN] =
        {"unknown", "the evidence does not say",
         "another processor leaves its mark in the same place: wake it alone with cpus="},
};

static enum cause verdict_by_mark(const struct evidence *evidence)
{
    if (evidence->page_damaged)
        return CAUSE_DAMAGED_PAGE;
    if (evidence->stray)
        return CAUSE_WRONG_ID;
    // A mark that is not there was left by nobody; one that is there may be another's.
    if (evidence->mark == STAGE_NONE)
        return evidence->by_firmware ? CAUSE_NOT_RUN_BY_FIRMWARE : CAUSE_NEVER_FETCHED;
    if (evidence->mark_shared)
        return CAUSE_UNKNOWN;
    switch (evidence->mark) {
    case STAGE_REAL:
        return CAUSE_STOPPED_IN_REAL;
    case STAGE_PROTECTED:
        return CAUSE_STOPPED_IN_PROTECTED;
    default:
        return CAUSE_UNKNOWN;
    }
}

enum cause verdict(const struct evidence *evidence)
{
    if (evidence->fault.valid)
        return CAUSE_FAULT;
    if (evidence->greeted)
        return evidence->lost == 0 ? CAUSE_NONE : CAUSE_INTERMITTENT;
    switch (evidence->stage) {
    case STAGE_NONE:
        return verdict_by_mark(evidence);
    case STAGE_PROTECTED:
        return evidence->no_nx ? CAUSE_NO_NX : CAUSE_STOPPED_IN_PROTECTED;
    case STAGE_LONG:
        return CAUSE_STOPPED_IN_LONG;
    case STAGE_C:
        return CAUSE_STOPPED_IN_C;
    case STAGE_READY:
        return evidence->up ? CAUSE_SILENT : CAUSE_LATE;
    default:
        return CAUSE_UNKNOWN; // no processor leaves that
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
    static const char *const words[] = {"none", "real", "protected", "long", "c", "c", "greeted"};
    return stage <= STAGE_GREETED ? words[stage] : "none";
}

const char *mode_word(uint32_t stage)
{
    return stage >= STAGE_C ? "c" : stage_word(stage);
}

const char *mode_story(uint32_t stage)
{
    static const char *const words[] = {"a mode unknown", "real mode", "protected mode",
                                        "long mode"};
    return stage >= STAGE_C ? "C" : words[stage];
}
