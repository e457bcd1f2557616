// From CPUID's facts to the engine's: for trial/plan.c, which has them of the machine that was
// gathered, and for describe.c, which asks on the spot.

#include "cpu_features.h"

#include "control.h"

// Processors since the P6, K8 and the first Hygon are ready at once; 0 us has been seen to hang on
// some.
#define INIT_MODERN_US 10u

static bool init_is_quick(const struct processor *processor)
{
    switch (processor->vendor) {
    case VENDOR_INTEL:
        return processor->family >= 6;
    case VENDOR_AMD:
        return processor->family >= 0xf;
    case VENDOR_HYGON:
        return processor->family >= 0x18;
    case VENDOR_OTHER:
        break;
    }
    return false;
}

uint32_t cpu_features_init_us(const struct processor *processor)
{
    return init_is_quick(processor) ? INIT_MODERN_US : SMP_INIT_MANUAL_US;
}

struct smp_features cpu_features_of(const struct processor *processor, uint64_t cr4)
{
    return (struct smp_features){
        .phys_bits = processor->phys_bits,
        .id_leaf = processor->id_leaf,
        .five_levels = cr4 & CR4_LA57,
        .gib_pages = processor->gib_pages,
        .no_execute = processor->no_execute,
        .machine_check = processor->mce,
        .misc_enable = processor->vendor == VENDOR_INTEL && processor->family >= 6,
    };
}
