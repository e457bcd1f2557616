// Ticks and microseconds. Surprise: by whole kilohertz, rounded up. In hertz, a number of 64 bits
// is too small for a wait of an hour or two.

#include "clock.h"

uint64_t clock_ticks(const struct clock *clock, uint64_t us)
{
    const uint64_t khz = (clock->tsc_hz + 999) / 1000;
    uint64_t thousandths;

    if (__builtin_mul_overflow(us, khz, &thousandths) || thousandths > UINT64_MAX - 999)
        return UINT64_MAX;
    return (thousandths + 999) / 1000;
}

uint64_t clock_us(const struct clock *clock, uint64_t ticks)
{
    const uint64_t seconds = ticks / clock->tsc_hz;
    const uint64_t rest = ticks % clock->tsc_hz;
    return seconds * 1000000 + rest * 1000 / ((clock->tsc_hz + 999) / 1000);
}
