// Firmware's graphics outputs.
#pragma once

#include "console.h"
#include "firmware.h"
#include "machine.h"
#include "options.h"
#include "problem.h"

// The frame buffers that firmware has, into the machine; in another mode only if the options name
// one, and firmware will be left. Each output is told by a record.
void graphics_gather(const struct firmware *firmware, const struct options *options,
                     struct console *console, const struct problems *problems,
                     struct machine *machine);

// All outputs black, before the exit. Behind a hypervisor each is first set to the mode that
// firmware believes it has.
void graphics_clear(const struct firmware *firmware, const struct machine *machine);
