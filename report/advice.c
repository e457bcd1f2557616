// The advice, cause by cause. For a person in front of the machine, so it names what can be typed
// or looked at, the likeliest first.

#include "advice.h"

const char *cause_advice(enum smp_cause cause)
{
    static const char *const advice[SMP_CAUSES] = {
        [SMP_CAUSE_NONE] = "nothing to do",
        [SMP_CAUSE_NEVER_FETCHED] =
            "does a processor with this APIC ID exist, or is a hypervisor or secure "
            "firmware holding it? A STARTUP to a processor in SMM is lost: try "
            "init_us=10000 sipis=2, then retries=5",
        [SMP_CAUSE_DAMAGED_PAGE] =
            "something writes below 1 MiB: SMM, a device's DMA, or a processor that "
            "firmware never parked; the page's address is in ev=trampoline",
        [SMP_CAUSE_STOPPED_IN_REAL] =
            "check the page: is it memory for this processor too (MTRRs, SMRAM), and is its "
            "GDT intact?",
        [SMP_CAUSE_STOPPED_IN_PROTECTED] =
            "check the page tables (CR3 below 4 GiB, NXE, LA57) and the x2APIC: firmware "
            "may have locked its mode",
        [SMP_CAUSE_STOPPED_IN_LONG] =
            "check its stack, its TSS and the entry address in \"Initialized CPU\"",
        [SMP_CAUSE_STOPPED_IN_C] =
            "attach a debugger (make debug) and see where it stands after ap_main",
        [SMP_CAUSE_FAULT] =
            "vector, address and CR2 are in its record; an NMI that nobody sent comes from "
            "a watchdog or a memory error",
        [SMP_CAUSE_WRONG_ID] =
            "the MADT or the record is wrong: compare the IDs in ev=cpu with CPUID leaf "
            "0xB; some firmware shifts APIC IDs after it has built the tables",
        [SMP_CAUSE_LATE] =
            "raise timeout_us; if it is always late, something is holding it: SMM, or a "
            "hypervisor with more processors than cores",
        [SMP_CAUSE_SILENT] = "check the serial port: is it stuck, or held by another processor?",
        [SMP_CAUSE_INTERMITTENT] = "raise init_us and sipis, and run again with more rounds=",
        [SMP_CAUSE_NOT_RUN_BY_FIRMWARE] =
            "has MP Services disabled it, or lost it? See enabled= and healthy= in ev=mp, "
            "and try wake=parallel",
        [SMP_CAUSE_NO_NX] =
            "enable \"Execute Disable\" (NX, XD) for all processors in the firmware setup, "
            "or leave this one out with cpus=",
        [SMP_CAUSE_NO_RETURN] =
            "what it was given to run does not end there: look at what it waits for, with a "
            "debugger (make debug)",
        [SMP_CAUSE_UNKNOWN] =
            "another processor leaves its mark in the same place: wake this one alone with "
            "cpus=",
    };
    return advice[cause];
}
