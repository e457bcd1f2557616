// Gathering: every fact that only firmware can tell.
#pragma once

#include "firmware.h"
#include "machine.h"
#include "options.h"
#include "problem.h"
#include "status.h"

// Before the console is opened: who firmware, processor and machine are. Reads the memory map.
void gather_identity(struct firmware *firmware, struct machine *machine);

// Every other fact, into a machine whose identity is known. Returns STATUS_OK, or the first failure
// after telling it.
enum status gather(struct firmware *firmware, const struct options *options,
                   const struct problems *problems, struct machine *machine);

// Gives the lists back.
void gather_free(const struct firmware *firmware, struct machine *machine);
