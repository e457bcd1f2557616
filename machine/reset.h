// A reset without firmware, for when firmware was asked and came back.
#pragma once

#include "clock.h"
#include "fadt.h"

// By the FADT's reset register. Returns only if the machine still runs; false: there is no
// register.
bool reset_by_fadt(const struct fadt *fadt, const struct clock *clock);

// By the reset control register at port 0xCF9, which most chipsets since 1996 have.
void reset_by_chipset(const struct clock *clock);
