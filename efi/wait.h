// Waiting for a person, while firmware lives.
#pragma once

#include "configure.h"
#include "console.h"
#include "firmware.h"
#include "options.h"
#include "problem.h"

// wait=SECONDS: what somebody at the keyboard wants: nothing, an end, or other options, which stand
// in `typed` then.
enum wait_end { WAIT_OVER, WAIT_STOP, WAIT_EDIT };
enum wait_end wait_for_objection(const struct firmware *firmware, const struct options *options,
                                 struct console *console, const struct problems *problems,
                                 struct typed *typed);

// Before the image returns: a boot manager clears the screen at once, so what was said stays until
// a key. Not behind a Shell.
void wait_for_reader(const struct firmware *firmware, struct console *console);
