// The verdict: what became of one AP, from the evidence that it left. Pure. Says "unknown" rather
// than something false.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "handoff.h"

// A fault or a trap of this processor, in whatever mode.
struct fault_evidence {
    bool valid;
    uint32_t mode; // STAGE_: real, protected, long, or c and later
    uint32_t vector, error;
    uint64_t ip, cr2;
};

struct evidence {
    uint32_t stage;    // STAGE_ by its own record, in the round that counts
    uint32_t mark;     // STAGE_ by its real-mode mark, which other processors may share
    bool mark_shared;  // another wanted processor has the same mark
    bool up;           // it came before its time-out
    bool greeted;      // in whatever round
    uint32_t lost;     // rounds in which it did not come in time
    bool page_damaged; // the trampoline's page is not what it was when it was proved
    bool by_firmware;  // firmware was to start it, by MP Services
    bool stray;        // somebody came under its ID and found no record
    bool no_nx;        // it stopped by itself: it has no NX, and the page tables use it
    struct fault_evidence fault;
};

enum cause {
    CAUSE_NONE, // it came and greeted
    CAUSE_NEVER_FETCHED,
    CAUSE_DAMAGED_PAGE,
    CAUSE_STOPPED_IN_REAL,
    CAUSE_STOPPED_IN_PROTECTED,
    CAUSE_STOPPED_IN_LONG,
    CAUSE_STOPPED_IN_C,
    CAUSE_FAULT,
    CAUSE_WRONG_ID,
    CAUSE_LATE,                // came after its time-out
    CAUSE_SILENT,              // checked in in time, its line did not come out
    CAUSE_INTERMITTENT,        // greeted, but missed a round
    CAUSE_NOT_RUN_BY_FIRMWARE, // firmware was to start it, and did not
    CAUSE_NO_NX,               // it stopped by itself before long mode
    CAUSE_UNKNOWN,
    CAUSE_COUNT,
};

enum cause verdict(const struct evidence *evidence);

// The word in records ("never-fetched"), what happened, and what to look at next.
const char *cause_word(enum cause cause);
const char *cause_story(enum cause cause);
const char *cause_advice(enum cause cause);

// The word for the mode of a fault, by the STAGE_ it happened in: real, protected, long, c.
const char *mode_word(uint32_t stage);
const char *mode_story(uint32_t stage); // for sentences: "protected mode", "C"

// The word for a STAGE_ ("protected").
const char *stage_word(uint32_t stage);
