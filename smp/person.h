// Somebody in front of the machine, when firmware is gone: a key of the keyboard controller, or the
// power button. Polled, and only where the FADT says that they exist.
#pragma once

#include "fadt.h"

enum wish { WISH_NOTHING, WISH_KEY, WISH_POWER };

// Forgets what was pressed before, and lets the power button be noticed.
void person_listen(const struct fadt *fadt);

// What was pressed since.
enum wish person_asks(const struct fadt *fadt);
