// What to look at next, for each cause for which an AP can have failed. Names options and records,
// which the engine's own words do not know.
#pragma once

#include "smp.h"

// A sentence without its full stop.
const char *cause_advice(enum smp_cause cause);
