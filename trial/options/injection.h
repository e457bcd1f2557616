// Faults that can be injected on purpose (option inject=), so that the diagnosis itself can be
// tried.
#pragma once

#include <stdint.h>

enum fault_kind {
    FAULT_NO_INIT,   // the first sequence has no INIT
    FAULT_NO_SIPI,   // the first sequence has no STARTUP
    FAULT_LOST_SIPI, // the same, in each round for the next CPU in turn if none is named
    FAULT_BAD_VECTOR,
    FAULT_BAD_COPY, // the page is damaged after it has been compared
    FAULT_HANG_REAL,
    FAULT_HANG_PROTECTED,
    FAULT_HANG_LONG,
    FAULT_HANG_C,
    FAULT_UD_REAL,
    FAULT_UD_PROTECTED,
    FAULT_UD_LONG,
    FAULT_UD_C,
    FAULT_BAD_STACK,
    FAULT_BAD_ENTRY,
    FAULT_BAD_CR3,
    FAULT_WRONG_ID,    // the record bears an ID that its processor does not have
    FAULT_LATE,        // sleeps past its time-out, then comes
    FAULT_MUTE,        // never prints
    FAULT_GHOST,       // the MADT lists an ID that no processor has
    FAULT_UNLISTED,    // the MADT does not list this processor
    FAULT_NMI,         // the BSP sends one while the AP is in C
    FAULT_DUPLICATE,   // the MADT lists this processor twice
    FAULT_NO_LOW_PAGE, // firmware has no page below 1 MiB to give
    FAULT_UD_IDLE,     // an undefined opcode when the round is over
    FAULT_BAD_JOURNAL, // the journal is not mapped any more
    FAULT_HANG_CALL,   // never returns from what run= calls it for
    FAULT_KINDS,
};

#define FAULT_ANY_CPU \
    UINT32_MAX // `inject=late` without a CPU: the last AP; lost-sipi: each in turn

struct injection {
    enum fault_kind kind;
    uint32_t cpu;
};

// How many one `inject=` can name; more is an error that says so.
#define INJECTIONS_MAX 32u
