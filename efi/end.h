// How a run ends.
#pragma once

#include "console.h"
#include "firmware.h"
#include "journal.h"
#include "machine.h"
#include "next_start.h"
#include "options.h"

enum exit_code { EXIT_OK = 0x10, EXIT_FAILED = 0x11, EXIT_REFUSED = 0x12 };

// Once firmware is left: by what the options name, or by what brings about the next start, which
// finds `journal`.
_Noreturn void end_run(const struct firmware *firmware, const struct machine *machine,
                       const struct options *options, enum next_start next, struct journal *journal,
                       struct console *console, enum exit_code code);

// Is a reset after linger= the only end that this machine can come to, since it hears nobody?
bool end_resets_itself(const struct machine *machine, const struct options *options);

// Does the end wait for a person?
bool end_waits(const struct machine *machine, const struct options *options);

// With exit=no or check=yes: tells QEMU's debug port if end=debug-exit asks for it; returns.
void end_inside(const struct options *options, enum exit_code code);

// After a start that only fetched the previous run's result: leaves QEMU, or powers off where
// end=poweroff; else it returns, and firmware goes on.
void end_fetched(const struct firmware *firmware, const struct machine *machine,
                 const struct options *options, enum exit_code code);

// Before the exit: tells QEMU's debug port, where one is to be used; returns where there is none.
void end_refused(const struct machine *machine, const struct options *options);
