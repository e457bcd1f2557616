// One sequence of messages, INIT and STARTUPs, to some processors that are missing, and the watch
// for them. Private to smp/.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "engine.h"

// Whom a sequence is for: slots[0..count-1]. With SEQUENCE_ALL one message reaches everybody.
struct group {
    const uint32_t *slots;
    size_t count;
    enum { SEQUENCE_EACH, SEQUENCE_ALL } address;
};

bool strategy_is_known(enum smp_strategy strategy);

// One try for everyone who is missing, by the plan's strategy: the sequences that it consists of.
void strategy_pass(struct smp *smp, uint32_t try, uint64_t *last_sent);

// Runs the sequence, the `try`th of this round; until the group has arrived, or its time-out is
// over. `expected`: of all APs, how many will have arrived when this group has; 0 where that is not
// known. `last_sent` is set to the TSC behind its last message.
void sequence_run(struct smp *smp, struct group group, uint32_t expected, uint32_t try,
                  uint64_t *last_sent);

// The books of an AP for the `try`th sequence of this round, which is about to begin.
void sequence_open_book(const struct smp *smp, uint32_t slot, uint32_t try);

// What an AP left behind in its record is forgotten.
void sequence_forget(const struct smp *smp, uint32_t slot);
