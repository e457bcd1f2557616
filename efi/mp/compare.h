// The comparison with firmware's own wake.
#pragma once

#include "firmware.h"
#include "machine.h"
#include "report_rounds.h"

// StartupAllAPs of an empty procedure, cold and warm. False where MP Services is absent or refuses.
bool compare_firmware(const struct firmware *firmware, const struct machine *machine,
                      struct firmware_times *times);
