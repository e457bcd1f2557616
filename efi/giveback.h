// The end of a run in which firmware lives (exit=no): the processors go back to it.
#pragma once

#include <stdbool.h>

#include "evidence.h"
#include "firmware.h"
#include "firmware_aps.h"
#include "inject.h"
#include "machine.h"
#include "pieces.h"
#include "plan.h"
#include "smp.h"
#include "voice.h"
#include "window.h"

struct giveback {
    bool good;      // all is as it was
    enum keep keep; // what memory has to stay
};

// Holds all APs by INIT, lets firmware wake its own once more, and tells what is not as it was; and
// firmware's account of the processors beside their own.
struct giveback giveback(const struct firmware *firmware, const struct machine *machine,
                         const struct plan *plan, const struct injector *injector,
                         enum parking parking, struct evidence *evidence, struct window *window,
                         struct smp *smp, struct voice *voice);

// That account alone, where nobody was woken.
void giveback_tell_census(const struct firmware *firmware, const struct machine *machine,
                          struct voice *voice);
