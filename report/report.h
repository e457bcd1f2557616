// The report: what the run found and did, as sentences for people and records for programs. Reads
// the other rooms' results and changes nothing.
#pragma once

#include <stdbool.h>

#include "console.h"
#include "machine.h"
#include "null.h"
#include "plan.h"
#include "trampoline.h"
#include "wake.h"

// A listener for problems that writes each as a record, ev=error or ev=warning, and counts.
struct problem_log {
    struct console *console;
    uint32_t errors, warnings;
};
void report_problem(void *log, enum severity severity, const char *what, const char *detail);

// Which serial port, as words: where it is (com1 to com4, port, mmio, pci, debug-console, none,
// off), who named it (option, spcr, firmware, probe), and why the SPCR's port was not taken, if
// there is one; NULL: nothing to say.
struct serial_found {
    const char *found, *by, *spcr;
};

void report_start(struct console *console, const struct machine *machine, const char *version,
                  const struct serial_found *serial);
void report_machine(struct console *console, const struct machine *machine,
                    const struct plan *plan);

// The checklist's signs of phases 2, 3, 5 and 6.
void report_lcpus(struct console *console, const struct arena *arena);
void report_trampoline(struct console *console, const struct machine *machine,
                       const struct trampoline *trampoline, size_t relocations, uint64_t cr3);

// ev=bound: so long after firmware was left the run has ended, whatever happens (bound.h).
void report_bound(struct console *console, uint64_t us);

// "Starting CPU 1..." for each AP of the plan, before the first message.
void report_starting(struct console *console, const struct plan *plan);

// How long firmware's own StartupAllAPs took (compare=firmware); all 0 if it was not timed.
struct firmware_times {
    uint32_t cold_us, warm_us;
};
void report_firmware(struct console *console, const struct machine *machine,
                     const struct firmware_times *times);

// One round. With `times`, which are given for the last round, and if all came, the ratio of
// firmware's warm time to this round's.
void report_wake(struct console *console, const struct wake *wake, const struct wake_result *result,
                 const struct firmware_times *times);

// ev=null: what the null trampolines took.
void report_null(struct console *console, const struct wake *wake, enum null_mode mode,
                 const struct null_times *times);

// One setting of a sweep, over all its rounds.
struct sweep_result {
    uint32_t first_try, up;  // in the worst round: came with the first sequence, came at all
    uint64_t lost;           // over all rounds: did not come with the first sequence
    uint32_t first_us;       // the earliest arrival of all
    struct spread median_us; // of the rounds' medians
    struct spread last_us;   // of the rounds' last arrivals
    uint64_t icr_writes;     // in the round that needed most
};
void report_sweep(struct console *console, const struct wake *wake, const struct sweep *sweep,
                  size_t setting, const struct sweep_result *result);

// The end of a sweep: the smallest number, or the fastest strategy, at which nobody was ever lost.
void report_sweep_end(struct console *console, const struct sweep *sweep,
                      const struct sweep_result *results);

// ev=memory: what the processors' records, stacks and tables take.
void report_memory(struct console *console, const struct arena *arena);

// ev=times: from the image's first instruction to the end of each part, just before ev=end.
struct run_times {
    uint64_t start, prepared, left, woken, reported; // TSC
};
void report_times(struct console *console, const struct clock *clock,
                  const struct run_times *times);

// ev=rounds: the first round's last arrival (cold) and the spread of the others' (warm). Only with
// rounds= beyond 1. Sorts the list.
void report_rounds(struct console *console, const struct plan *plan, uint32_t *last_us);

// ev=stages: how long the APs of the last round took from real mode to each later stage, as a
// spread.
void report_stages(struct console *console, struct wake *wake);

// What became of everyone, in the end.
struct outcome {
    uint32_t want, up, failed;
    bool ok; // every AP that was to come has greeted, and none was lost in any round
};

// One ev=cpu for each processor of the inventory and each that it does not have, by APIC ID. NULL
// wake: nothing was woken.
void report_cpus(struct console *console, const struct machine *machine, const struct wake *wake,
                 struct outcome *outcome);

// One ev=aswoken for each AP that came at least to protected mode: what INIT left it, and when it
// reached each stage. Only with log=debug.
void report_aswoken(struct console *console, const struct wake *wake);

// Warns of each AP that bears the BSP flag.
void report_flags(const struct wake *wake, const struct problems *problems);

// The last record.
void report_end(struct console *console, const struct outcome *outcome);
