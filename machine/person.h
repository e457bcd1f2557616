// Somebody in front of the machine, when firmware is gone: a key of the keyboard controller, or the
// power button. Polled, and only where the FADT says that they exist.
#pragma once

#include "clock.h"
#include "fadt.h"

enum wish { WISH_NOTHING, WISH_KEY, WISH_POWER };

// Is there a keyboard controller? As the FADT says, unless nothing answers at its port. A USB
// keyboard that firmware made look like one is not heard through it once firmware is gone.
bool person_has_keys(const struct fadt *fadt);

// Forgets what was pressed before, and lets the power button be noticed.
void person_listen(const struct fadt *fadt);

// What was pressed since.
enum wish person_asks(const struct fadt *fadt);

// Waits so many seconds until a reset, without anybody to be heard, and tells before each one how
// many are left.
void person_count_down(const struct clock *clock, uint32_t seconds,
                       void (*tell)(void *context, uint32_t left), void *context);
