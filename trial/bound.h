// How long a run can take from the moment when it has left firmware to its last record: the sum of
// everything that is waited for, whatever the machine does. Pure. docs/time.md has the loops that
// this is the sum of.
//
// What holds: by then the run has ended, if the processor that it runs on runs. A stop of that
// processor (an SMI, a hypervisor) adds its own length at most.
// What does not: firmware's ExitBootServices, which has no bound, is over before it counts.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "line.h"
#include "machine.h"
#include "options.h"
#include "plan.h"

// The longest line, its end, and the end of one that was broken into.
#define BOUND_LINE_CHARACTERS (LINE_BYTES - 1 + 2 + 2)

// What the run has around it.
struct bound_facts {
    bool port;        // there is a serial port
    uint64_t line_us; // BOUND_LINE_CHARACTERS take so long at its rate
    uint64_t lock_us; // the longest wait for a console that a dead processor holds
    uint64_t pixels;  // of all frame buffers that are drawn on
    size_t faults;    // that are injected
};

// What all lines of the run may wait for the serial port together (uart_limit_waits): each as long
// as the longest takes at the port's rate, twice over, and 10 s for a reader that is busy. Lines
// are a fifth as long as the longest, so a port may be ten times slower than its rate. 0: there is
// no port.
uint64_t bound_serial_us(const struct options *options, const struct machine *machine,
                         const struct plan *plan, const struct bound_facts *facts);

// The whole. UINT64_MAX: too large for a number.
uint64_t bound_run_us(const struct options *options, const struct machine *machine,
                      const struct plan *plan, const struct bound_facts *facts);
