// The result of the run before this one, to the volume; and this run's own.
#pragma once

#include "last_run.h"
#include "options.h"
#include "problem.h"
#include "stick.h"

// What the run before this one left, as far as this run goes by it.
struct past {
    uint32_t resets;   // runs in a row, before this one, that ended in one
    bool fetched;      // its result was what this start was for, which ends with that
    bool unsaved;      // its result was found, and could not be saved
    bool forgotten;    // it reset the machine for its result, and none is in memory
    bool summary_told; // of save=nvram: it stays there until what was told is saved
};

// The previous run's result, if one waits in memory, goes to the volume; or its summary is told, by
// this start's `own` lines. The resets in a row are not counted here.
struct past harvest(const struct options *options, const struct journal *own, struct last_run *last,
                    struct stick *stick, const struct problems *problems);

// This run's own lines to the volume. A summary that they tell is then not kept in NVRAM any
// longer. False, after telling, if that cannot be.
bool harvest_own(const struct journal *journal, const CHAR16 *name, enum stick_end end,
                 struct stick *stick, struct past *past, const struct problems *problems);
