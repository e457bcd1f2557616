// The exercises of run= into lines: a record for programs, and what a person wants to know of it.
#pragma once

#include <stdint.h>

#include "console.h"
#include "drill.h"
#include "plan.h"
#include "problem.h"

// ev=run: one exercise. With `firmware_us`, which is not 0 where firmware's own call of an empty
// procedure was timed, the ratio to a call by all.
void report_drill(struct console *console, const struct plan *plan, const struct drill_step *step,
                  const struct drill_result *result, uint32_t firmware_us);

// What went wrong in it, as warnings.
void report_drill_problems(const struct problems *problems, const struct drill_step *step,
                           const struct drill_result *result);
