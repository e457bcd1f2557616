// Time, as ticks of the TSC at a measured rate. Microseconds at the edges, ticks inside.
#pragma once

#include <stdint.h>

struct clock {
    uint64_t tsc_hz; // not 0
};

// Rounded up, so that no wait is shorter than asked. us up to 2^34 (four hours) with any rate below
// 2^30 kHz.
static inline uint64_t clock_ticks(const struct clock *clock, uint64_t us)
{
    const uint64_t khz = (clock->tsc_hz + 999) / 1000;
    return (us * khz + 999) / 1000;
}

// Rounded down.
static inline uint64_t clock_us(const struct clock *clock, uint64_t ticks)
{
    const uint64_t seconds = ticks / clock->tsc_hz;
    const uint64_t rest = ticks % clock->tsc_hz;
    return seconds * 1000000 + rest * 1000 / ((clock->tsc_hz + 999) / 1000);
}
