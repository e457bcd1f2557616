// The pre-flight page: what is known of a machine before anything is done to it.
#pragma once

#include "machine.h"
#include "plan.h"
#include "report.h"

// One record, in every run: names, revisions, and what the machine allows.
void preflight_record(struct console *console, const struct machine *machine);

// The same and more in sentences, a line for each topic. `low_page` is the trampoline's.
void preflight_page(struct console *console, const struct machine *machine, const struct plan *plan,
                    const struct serial_found *serial, uint32_t low_page);

// What the facts at hand are known to lead to.
void preflight_warn(const struct problems *problems, const struct machine *machine,
                    const struct console *console);
