// Time, as ticks of the TSC at a measured rate. Microseconds at the edges, ticks inside.
#pragma once

#include <stdint.h>

struct clock {
    uint64_t tsc_hz; // not 0
};

// Rounded up, so that no wait is shorter than asked. What is too long for a number is UINT64_MAX;
// up to four hours are not, with any rate below 2^30 kHz.
uint64_t clock_ticks(const struct clock *clock, uint64_t us);

// Rounded down.
uint64_t clock_us(const struct clock *clock, uint64_t ticks);
