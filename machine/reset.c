// Surprise: a write that resets takes its time, so each is given a second before the next is tried.
#include "reset.h"

#include "hw.h"
#include "watch.h"

#define RESET_US 1000000u // a machine that still runs a second later was not reset

// Intel ICH and PCH data sheets, "RST_CNT": a hard reset is chosen first, then begun by the change
// of bit 2; bit 3 also cycles the power.
#define RESET_CONTROL 0xcf9u
#define CHOOSE_HARD   0x02u
#define BEGIN         0x04u
#define WITH_POWER    0x08u

static void give_time(const struct clock *clock)
{
    struct watch watch = watch_delay(hw_tsc(), clock_ticks(clock, RESET_US));

    while (!watch_is_over(&watch, hw_tsc()))
        hw_pause();
}

bool reset_by_fadt(const struct fadt *fadt, const struct clock *clock)
{
    if (!fadt->can_reset)
        return false;
    if (fadt->reset_space == GAS_IO)
        hw_out8((uint16_t)fadt->reset_address, fadt->reset_value);
    else
        hw_mmio_write8(fadt->reset_address, fadt->reset_value);
    give_time(clock);
    return true;
}

void reset_by_chipset(const struct clock *clock)
{
    // First what keeps the memory, where the result waits.
    for (uint32_t power = 0; power <= WITH_POWER; power += WITH_POWER) {
        hw_out8(RESET_CONTROL, (uint8_t)(power | CHOOSE_HARD));
        hw_out8(RESET_CONTROL, (uint8_t)(power | CHOOSE_HARD | BEGIN));
        give_time(clock);
    }
}
