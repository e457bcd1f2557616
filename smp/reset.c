#include "reset.h"

#include "hw.h"

#define RESET_US 1000000u // a machine that still runs a second later was not reset

// Intel ICH and PCH data sheets, "RST_CNT": a hard reset is chosen first, then begun by the change
// of bit 2; bit 3 also cycles the power.
#define RESET_CONTROL 0xcf9u
#define CHOOSE_HARD   0x0au
#define BEGIN_HARD    0x0eu

static void give_time(const struct clock *clock)
{
    const uint64_t ticks = clock_ticks(clock, RESET_US);
    const uint64_t start = hw_tsc();

    while (hw_tsc() - start < ticks)
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
    hw_out8(RESET_CONTROL, CHOOSE_HARD);
    hw_out8(RESET_CONTROL, BEGIN_HARD);
    give_time(clock);
}
