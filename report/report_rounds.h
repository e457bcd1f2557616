// The report of the rounds: each wake, what it is measured against, and sweeps.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "console.h"
#include "machine.h"
#include "null.h"
#include "options.h"
#include "plan.h"
#include "smp.h"
#include "sort.h"
#include "stages.h"
#include "sweep.h"

// How long firmware's own StartupAllAPs took (compare=firmware); all 0 if it was not timed.
struct firmware_times {
    uint32_t cold_us, warm_us;
};
void report_firmware(struct console *console, const struct machine *machine,
                     const struct firmware_times *times);

// ev=wake: one round. With `times`, which are given for the last round, and if all APs arrived, the
// ratio of firmware's warm time to this round's.
void report_wake(struct console *console, const struct plan *plan, const struct smp_round *round,
                 const struct firmware_times *times);

// ev=null: what the null trampolines took; `want` APs were to count themselves.
void report_null(struct console *console, size_t want, enum null_mode mode,
                 const struct null_times *times);

// ev=sweep: one setting.
void report_sweep(struct console *console, const struct plan *plan, const struct sweep *sweep,
                  size_t setting, const struct sweep_result *result);

// ev=sweep-result: the setting that sweep_best names, of the first `count`.
void report_sweep_end(struct console *console, const struct sweep *sweep, size_t best,
                      size_t count);

// ev=rounds: the first round's last arrival (cold) and the spread of the others' (warm). Only with
// more rounds than one.
void report_rounds(struct console *console, uint32_t rounds, uint32_t cold_us,
                   const struct spread *warm_us);

// ev=stages: how long the APs of the last round took from real mode to each later stage.
void report_stages(struct console *console, const struct stages *stages);
