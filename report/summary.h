// The summary: the whole result in few enough bytes for a code that a telephone reads.
#pragma once

#include "line.h"
#include "machine.h"
#include "report.h"
#include "wake.h"

// "REVEILLE 0.1.0 image=1a2b3c4d want=15 up=13 failed=2 fault=7 stopped-in-long=2,3 on Processor".
// The image's number is the CRC-32 of its code. CPUs are listed as far as there is room; then "..."
// stands for the rest. NULL wake: nobody was woken. The line's buffer is the caller's.
void summary_write(const struct machine *machine, const struct wake *wake,
                   const struct outcome *outcome, const char *version, struct line *line);
