// The verdict: what became of one AP, from the evidence that it left. Pure. Says "unknown" rather than
// something false.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "handoff.h"

struct evidence {
    uint32_t stage;    // STAGE_ by its own record, in the round that counts
    uint32_t mark;     // STAGE_ by its real-mode mark, which other processors may share
    bool mark_shared;  // another wanted processor has the same mark
    bool fault;        // its record holds a fault
    bool greeted;      // in whatever round
    uint32_t lost;     // rounds in which it did not come in time
};

enum cause {
    CAUSE_NONE, // it came and greeted
    CAUSE_NEVER_FETCHED,
    CAUSE_STOPPED_IN_REAL,
    CAUSE_STOPPED_IN_PROTECTED,
    CAUSE_STOPPED_IN_LONG,
    CAUSE_STOPPED_IN_C,
    CAUSE_FAULT,
    CAUSE_SILENT, // reached C in time, its line did not come out
    CAUSE_LATE,   // greeted, but missed a round, or came after its time-out
    CAUSE_UNKNOWN,
    CAUSE_COUNT,
};

enum cause verdict(const struct evidence *evidence);

// The word in records ("never-fetched"), what happened, and what to look at next.
const char *cause_word(enum cause cause);
const char *cause_story(enum cause cause);
const char *cause_advice(enum cause cause);

// The word for a STAGE_ ("protected").
const char *stage_word(uint32_t stage);
