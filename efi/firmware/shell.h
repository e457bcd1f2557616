// The UEFI Shell, where the image was started from one: CTRL+C, and pauses between pages.
#pragma once

#include "firmware.h"

// Was this image started by a Shell, which leaves on its screen what was said?
bool shell_started(const struct firmware *firmware);

// Was CTRL+C pressed since the Shell started us? False where there is no Shell.
bool shell_break(const struct firmware *firmware);

// Waits for a key, or CTRL+C, or PAGE_WAIT_S seconds. Returns false if no more pauses are wanted.
bool shell_wait_for_key(const struct firmware *firmware);
