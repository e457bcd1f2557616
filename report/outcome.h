// The outcome: whether a run was a success, decided here and nowhere else. Pure.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "evidence.h"

struct outcome {
    uint32_t want;   // APs that were to be woken
    uint32_t up;     // of them, those that arrived in every round and said hello
    uint32_t failed; // the rest
    bool ok;
    bool wrong_sum;      // which run= had them come to, and so not ok
    uint32_t unreturned; // of those who failed: they started, and did not return from a call
};

// Before anything was examined: not ok.
#define OUTCOME_OPEN ((struct outcome){.ok = false})

// Of a run that was to wake nobody and has done what it was for: help, check=yes, a result fetched.
#define OUTCOME_DONE ((struct outcome){.ok = true})

// Counts one AP.
void outcome_add(struct outcome *outcome, const struct smp_account *account);

// Of all APs: ok if none failed and no sum was wrong, also where there was none to be woken. NULL:
// not examined.
struct outcome outcome_of(const struct evidence *evidence);

// The same after a fault of the BSP's own: not ok, whatever the APs did.
struct outcome outcome_cut_short(struct outcome outcome);
