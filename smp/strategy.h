// A pass: the sequences that one try of a round consists of. Private to smp/; the strategies' names
// are in smp.h.
#pragma once

#include "engine.h"

// One try for everyone who is missing, by the plan's strategy.
void strategy_pass(struct smp *smp, uint32_t try, uint64_t *last_sent);
