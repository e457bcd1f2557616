// What names the machine, and what it allows.
#pragma once

#include "firmware.h"
#include "machine.h"

// SMBIOS's names. The memory map must have been read.
void platform_read_names(const struct firmware *firmware, struct platform *platform);

enum secure_boot platform_secure_boot(const struct firmware *firmware);

// All else, into machine->platform; machine->processor must have been read, too.
void platform_gather(const struct firmware *firmware, struct machine *machine);
