// Leaving firmware.
#pragma once

#include "firmware.h"
#include "status.h"

// ExitBootServices by the strict rule: after the first attempt only GetMemoryMap and
// ExitBootServices are called, and since UEFI 2.9 those that allocate a longer buffer for the map.
// Returns STATUS_OK, or STATUS_INVALID when firmware refused every time; boot services must not be
// used in either case.
enum status leave_firmware(struct firmware *firmware);
