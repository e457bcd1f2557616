// The start that fetches this run's result from memory: asked for, or brought about by a reset.
#pragma once

#include "harvest.h"
#include "journal.h"
#include "problem.h"
#include "stick.h"

enum next_start {
    NEXT_BY_HAND,     // if at all
    NEXT_BY_FIRMWARE, // which was asked for it: the end is a warm reset
    NEXT_BY_RESET,    // that the end may try where nobody can be heard
};

// Before the exit, for again=yes: firmware is to start us once more. `kept` is this run's journal
// if the next start finds it in memory and the volume has taken its beginning, else NULL. False,
// after telling, if that cannot be.
bool next_start_ask(struct journal *kept, struct stick *stick, const struct problems *problems);

// May the end reset a machine on which nobody can be heard? Where the next start finds `kept`, and
// not twice in a row without a result, which is told.
bool next_start_allows_reset(const struct journal *kept, const struct past *past,
                             struct stick *stick, const struct problems *problems);
