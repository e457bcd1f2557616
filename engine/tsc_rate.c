// The TSC's rate without firmware. Surprise: the smallest of several measurements is the best one.
// The TSC is read before the PIT at the start and behind it at the end, so whatever stops this
// processor in between only makes a measurement longer.

#include "survey.h"
#include "hw.h"
#include "processor.h"
#include "tell.h"

// The 8254's channel 2, and the port that opens its gate. (Intel 8254, "Programmable Interval
// Timer"; ICH9, "NMI Status and Control Register".)
#define PIT_HZ         1193182u
#define PIT_CHANNEL_2  0x42
#define PIT_COMMAND    0x43
#define PIT_LOAD       0xb0 // channel 2, both bytes, mode 0: counts down from what is written
#define PIT_LATCH      0x80 // channel 2
#define GATE_PORT      0x61
#define GATE_OPEN      1u
#define GATE_SPEAKER   2u
#define PIT_FROM       0xffffu
#define MEASURED_STEPS (PIT_HZ / 100) // 10 ms: long against a look, a fifth of what 16 bits hold
#define MEASUREMENTS   3u

// A look is three accesses to ports, 20 ns each at the very least, so that a step of the PIT, 838
// ns, is 14 looks, and the measurement 170,000. Where that many are not enough, the PIT stands
// still or is none; on hardware a look takes 3 us, so that is known within 3 s.
#define STILL_LOOKS 1000u
#define LOOKS       1000000u

// No x86-64 processor's TSC is slower, or faster.
#define TSC_HZ_MIN 10000000u
#define TSC_HZ_MAX 10000000000u

static uint32_t read_pit(void)
{
    hw_out8(PIT_COMMAND, PIT_LATCH);
    const uint32_t low = hw_in8(PIT_CHANNEL_2);
    return low | (uint32_t)hw_in8(PIT_CHANNEL_2) << 8;
}

static void start_pit(void)
{
    hw_out8(GATE_PORT, (uint8_t)((hw_in8(GATE_PORT) & ~GATE_SPEAKER) | GATE_OPEN));
    hw_out8(PIT_COMMAND, PIT_LOAD);
    hw_out8(PIT_CHANNEL_2, PIT_FROM & 0xff);
    hw_out8(PIT_CHANNEL_2, PIT_FROM >> 8);
}

// Looks until the PIT has made so many steps since it stood at `from`. Returns how many it has
// made; 0: it stands still.
static uint32_t await_steps(uint32_t from, uint32_t steps)
{
    uint32_t last = from, still = 0;

    for (uint32_t looks = 0; looks < LOOKS && still < STILL_LOOKS; looks++) {
        const uint32_t now = read_pit(), made = (from - now) & 0xffff;
        if (made >= steps)
            return made;
        still = now == last ? still + 1 : 0;
        last = now;
    }
    return 0;
}

// One measurement; 0: none.
static uint64_t measure(void)
{
    start_pit();
    if (await_steps(read_pit(), 1) == 0) // it takes a step to load what was written
        return 0;
    const uint64_t start = hw_tsc();
    const uint32_t from = read_pit();
    const uint32_t made = await_steps(from, MEASURED_STEPS);
    const uint64_t end = hw_tsc();
    return made != 0 && end > start ? (end - start) * PIT_HZ / made : 0;
}

static uint64_t measure_by_pit(void)
{
    const uint8_t gate = hw_in8(GATE_PORT);
    uint64_t best = 0;

    for (uint32_t i = 0; i < MEASUREMENTS; i++) {
        const uint64_t hz = measure();
        if (hz == 0)
            break; // it would cost the same again
        best = best == 0 || hz < best ? hz : best;
    }
    hw_out8(GATE_PORT, gate);
    return best;
}

static bool is_sane(uint64_t hz)
{
    return hz >= TSC_HZ_MIN && hz <= TSC_HZ_MAX;
}

enum status engine_measure_tsc(const struct problems *problems, uint64_t *tsc_hz)
{
    struct processor processor;

    processor_read(&processor);
    *tsc_hz = processor.tsc_hz;
    if (processor.tsc_exact && is_sane(*tsc_hz))
        return STATUS_OK;
    const uint64_t measured = measure_by_pit();
    if (is_sane(measured))
        *tsc_hz = measured;
    if (is_sane(*tsc_hz))
        return STATUS_OK;
    problem_tell(problems, SEVERITY_ERROR, "no-clock",
                 "the TSC made %u Hz against the PIT, and CPUID says %u Hz (0: nothing): there is "
                 "no clock to time a wait by",
                 measured, processor.tsc_hz);
    *tsc_hz = 0;
    return STATUS_UNSUPPORTED;
}
