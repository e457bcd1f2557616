// System Management BIOS (DSP0134 3.7): the names of machine, board and firmware.
#pragma once

#include "phys.h"
#include "platform.h"

// Reads the structures behind an entry point of either kind into platform's texts. What is damaged
// is passed over: these are names, and nothing is decided by them. False: nothing could be read.
bool smbios_read(const struct phys *phys, uint64_t entry_point, struct platform *platform);
