// Time, as ticks of the TSC at a measured rate. Microseconds at the edges, ticks inside.
#pragma once

#include <stdint.h>

struct clock {
    uint64_t tsc_hz; // not 0
};

// Rounded up, so that no wait is shorter than asked. What is too long for a number is UINT64_MAX;
// up to four hours are not, with any rate below 2^30 kHz.
static inline uint64_t clock_ticks(const struct clock *clock, uint64_t us)
{
    const uint64_t khz = (clock->tsc_hz + 999) / 1000;
    uint64_t thousandths;

    if (__builtin_mul_overflow(us, khz, &thousandths) || thousandths > UINT64_MAX - 999)
        return UINT64_MAX;
    return (thousandths + 999) / 1000;
}

// Rounded down.
static inline uint64_t clock_us(const struct clock *clock, uint64_t ticks)
{
    const uint64_t seconds = ticks / clock->tsc_hz;
    const uint64_t rest = ticks % clock->tsc_hz;
    return seconds * 1000000 + rest * 1000 / ((clock->tsc_hz + 999) / 1000);
}
