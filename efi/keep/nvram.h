// save=nvram: a summary of one line in one variable.
#pragma once

#include "console.h"
#include "firmware.h"
#include "line.h"
#include "problem.h"

// Is there so much room that a variable may be written? Tells if not.
bool nvram_has_room(const struct firmware *firmware, const struct problems *problems);

// After the exit, with interrupts off: firmware's code, in firmware's address space.
void nvram_save(const struct firmware *firmware, const struct line *summary,
                struct console *console);

// The previous run's, as a record and a sentence. False: there is none.
bool nvram_tell(const struct firmware *firmware, struct console *console);

// Deletes it, if it is there.
void nvram_forget(const struct firmware *firmware, const struct problems *problems);
