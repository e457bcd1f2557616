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

// One try for everyone who is missing, by the plan's strategy: the sequences that it consists of.
void strategy_pass(struct smp *smp, uint32_t try, uint64_t *last_sent);

// Runs the sequence, the `try`th of this round; until the group has arrived, or its time-out is
// over. `expected`: of all APs, how many will have arrived when this group has; 0 where that is not
// known. `last_sent` is set to the TSC behind its last message.
void sequence_run(struct smp *smp, struct group group, uint32_t expected, uint32_t try,
                  uint64_t *last_sent);

// What an AP left in the try before is forgotten. For the first try this is done before the round,
// since there it would delay the first message by everybody's share.
void sequence_forget_try(struct smp *smp, uint32_t slot, uint32_t try);

// Puts the defects of real mode into the marks of those who are missing: no record is in reach
// there.
void sequence_arm_real_mode(struct smp *smp);
