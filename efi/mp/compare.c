// The comparison with firmware: what the same wake costs through MP Services, on this machine, in
// this run. Surprise: firmware's APs are idle again when StartupAllAPs returns, so nothing has to
// be given back.

#include "firmware.h"

#include "hw.h"
#include "mp_services.h"
#include "sort.h"

#define WARM_CALLS 5u

static void EFIAPI do_nothing(void *argument)
{
    (void)argument;
}

// One call, in microseconds; 0 if firmware refused it or it timed out.
static uint32_t time_call(struct mp_services *services, const struct clock *clock)
{
    const uint64_t start = hw_tsc();
    const EFI_STATUS status =
        services->startup_all_aps(services, do_nothing, FALSE, NULL, MP_TIMEOUT_US, NULL, NULL);
    return EFI_ERROR(status) ? 0 : (uint32_t)clock_us(clock, hw_tsc() - start);
}

bool compare_firmware(const struct firmware *firmware, const struct machine *machine,
                      struct firmware_times *times)
{
    struct mp_services *services = mp_services_find(firmware->boot);
    uint32_t warm[WARM_CALLS];

    if (!services)
        return false;
    times->cold_us = time_call(services, &machine->clock);
    if (times->cold_us == 0)
        return false;
    for (uint32_t i = 0; i < WARM_CALLS; i++) {
        warm[i] = time_call(services, &machine->clock);
        if (warm[i] == 0)
            return false; // no duration, and nothing to make a median of
    }
    times->warm_us = spread_of(warm, WARM_CALLS).median;
    return true;
}
