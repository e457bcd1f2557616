// The summary: the whole result in one line, for a person who looks at a screen, and in few enough
// bytes for a code that a telephone reads.
#pragma once

#include "evidence.h"
#include "line.h"
#include "machine.h"
#include "outcome.h"

// "REVEILLE 0.1.0 image=1a2b3c4d want=15 up=13 failed=2 fault=7 stopped-in-long=2,3 on Processor".
// The image's number is the CRC-32 of its code. Where cores are of several kinds, " p=12 e=8 lp=2"
// stands behind failed=: how many said so, the BSP included. CPUs are listed as far as there is
// room; then "..." stands for the rest. NULL evidence: nobody was woken. The line's buffer is the
// caller's.
void summary_write(const struct machine *machine, const struct evidence *evidence,
                   const struct outcome *outcome, const char *version, struct line *line);

// "All 15 processors started", "2 of 15 processors failed to start".
void summary_headline(const struct outcome *outcome, struct line *line);
