// The report: what the run found and did, as sentences for people and records for programs. It
// prints what it is given, and nothing else: it counts nothing, sorts nothing, and changes nothing
// but the console. Here: what is printed before the wake, and at the very end. The rounds stand in
// report_rounds.h, the processors in report_cpus.h.
#pragma once

#include <stdint.h>

#include "clock.h"
#include "console.h"
#include "machine.h"
#include "outcome.h"
#include "plan.h"
#include "problem.h"
#include "smp.h"

// A listener for problems that writes each as a record, ev=error or ev=warning.
void report_problem(void *console, enum severity severity, const char *what, const char *detail);

// Which serial port, as words: where it is (com1 to com4, port, mmio, pci, debug-console, none,
// off), who named it (option, spcr, dbg2, firmware, probe), and why the port of the SPCR, and those
// of the DBG2, were not taken, if there are any; NULL: nothing to say.
struct serial_found {
    const char *found, *by, *spcr, *dbg2;
    bool refused; // the one that the options name, since Secure Boot is on
};

// ev=start, ev=image, ev=serial, and a warning if a port was refused.
void report_start(struct console *console, const struct machine *machine, const char *version,
                  const struct serial_found *serial);
void report_machine(struct console *console, const struct machine *machine,
                    const struct plan *plan);

// "Initialized CPU 1: entry=0x..., stack=0x..." for each AP.
void report_initialized(struct console *console, const struct smp *smp);

// The page below 1 MiB, once it is filled: three sentences, and ev=trampoline.
void report_trampoline(struct console *console, const struct smp_layout *layout);

// ev=memory: what the processors' records, stacks and tables take.
void report_memory(struct console *console, size_t cpus, const struct smp_layout *layout);

// ev=bound: so long after firmware was left the run has ended, whatever happens (bound.h).
void report_bound(struct console *console, uint64_t us);

// "Starting CPU 1..." for each AP of the plan, before the first message.
void report_starting(struct console *console, const struct plan *plan);

// ev=times: from the image's first instruction to the end of each part, just before ev=end.
struct run_times {
    uint64_t start, prepared, left, woken, reported; // TSC
    uint64_t run_ticks;                              // of run=, behind the wake
};
void report_times(struct console *console, const struct clock *clock,
                  const struct run_times *times);

// ev=end, the last record.
void report_end(struct console *console, const struct outcome *outcome);
