// The TSC's rate. Measured against Stall(), which firmware has calibrated, and held against CPUID
// or the ACPI power-management timer; never against the PIT, which many machines gate. Surprise:
// the smallest of several measurements is the best one. Whatever disturbs a Stall makes it longer.

#include "timing.h"

#include "hw.h"
#include "tell.h"

#define STALL_US      10000u // long against the call, short against a user's patience
#define MEASUREMENTS  3u
#define PM_TIMER_HZ   3579545u  // ACPI 6.5, "Power Management Timer"
#define PM_TIMER_MASK 0xffffffu // 24 bits at least: no wrap within 4.6 s

#define TSC_HZ_MIN 10000000u // no x86-64 processor's TSC is slower

struct measurement {
    uint64_t tsc, pm;
};

static struct measurement measure(const struct firmware *firmware, uint16_t pm_port)
{
    const uint32_t pm = pm_port ? hw_in32(pm_port) : 0;
    const uint64_t tsc = hw_tsc();
    firmware->boot->Stall(STALL_US);
    const uint64_t tsc_after = hw_tsc();
    const uint32_t pm_after = pm_port ? hw_in32(pm_port) : 0;
    return (struct measurement){tsc_after - tsc, (pm_after - pm) & PM_TIMER_MASK};
}

static void compare(const struct problems *problems, struct machine *machine)
{
    const uint64_t hz = machine->clock.tsc_hz, other = machine->clock_check_hz;
    const uint64_t apart = hz > other ? hz - other : other - hz;

    if (other == 0 || apart <= hz / 10)
        return;
    if (other > hz && other <= TSC_HZ_MAX)
        machine->clock.tsc_hz = other; // a wait may be too long, never too short
    problem_tell(problems, SEVERITY_WARNING, "tsc-disagrees",
                 "Stall() makes the TSC %u Hz, %s makes it %u Hz; waits use %u Hz", hz,
                 machine->clock_check, other, machine->clock.tsc_hz);
}

enum status time_calibrate(const struct firmware *firmware, uint16_t pm_port,
                           const struct problems *problems, struct machine *machine)
{
    struct measurement best = {UINT64_MAX, 0};

    for (uint32_t i = 0; i < MEASUREMENTS; i++) {
        const struct measurement one = measure(firmware, pm_port);
        if (one.tsc < best.tsc)
            best = one;
    }
    machine->clock.tsc_hz = best.tsc * (1000000 / STALL_US);
    machine->clock_check = "none";
    if (machine->processor.tsc_hz != 0) {
        machine->clock_check = "cpuid";
        machine->clock_check_hz = machine->processor.tsc_hz;
    } else if (best.pm != 0) {
        machine->clock_check = "pm-timer";
        machine->clock_check_hz = best.tsc * PM_TIMER_HZ / best.pm;
    }
    if (machine->clock.tsc_hz < TSC_HZ_MIN || machine->clock.tsc_hz > TSC_HZ_MAX) {
        problem_tell(problems, SEVERITY_ERROR, "no-clock",
                     "the TSC made %u ticks during a Stall() of %u us: it cannot time a wait",
                     best.tsc, (uint64_t)STALL_US);
        return STATUS_UNSUPPORTED;
    }
    compare(problems, machine);
    return STATUS_OK;
}

uint64_t time_of_day(const struct firmware *firmware)
{
    EFI_TIME time;

    if (EFI_ERROR(firmware->system->RuntimeServices->GetTime(&time, NULL)))
        return 0;
    return (uint64_t)time.Year << 40 | (uint64_t)time.Month << 32 | (uint64_t)time.Day << 24 |
           (uint64_t)time.Hour << 16 | (uint64_t)time.Minute << 8 | time.Second;
}
