// An APIC ID is a number in a mixed base: thread, core, package, from the low bits up. CPUID tells
// the widths. Surprise: the widths say what could be there and not what is, so IDs have holes, and
// a location is a name and never an index.

#include "topology.h"

#include "hw.h"
#include "processor.h"

#define LEAF_CACHE     4u
#define LEAF_AMD_SIZES 0x80000008u
#define LEVEL_INVALID  0u
#define LEVEL_THREAD   1u
#define LEVELS_MAX     8u         // six are defined; bounds the walk whatever CPUID says
#define FEATURE_MANY   (1u << 28) // CPUID 1 EDX: more than one ID in the package
#define WIDTH_MAX      32u

static uint32_t bits_for(uint32_t count)
{
    uint32_t bits = 0;
    while (bits < WIDTH_MAX - 1 && (1u << bits) < count)
        bits++;
    return bits;
}

struct widths {
    uint32_t thread, package; // bits below the core's and below the package's
};

// Leaf 0x1F, or 0xB: a level for each subleaf, with how far to shift the ID to the next one.
static int read_levels(uint32_t leaf, struct widths *widths)
{
    *widths = (struct widths){0, 0};
    for (uint32_t level = 0; level < LEVELS_MAX; level++) {
        const struct cpuid told = hw_cpuid(leaf, level);
        const uint32_t type = told.ecx >> 8 & 0xff;
        const uint32_t shift = told.eax & 0x1f;
        if (type == LEVEL_INVALID || (told.ebx & 0xffff) == 0)
            return level > 0;
        if (type == LEVEL_THREAD)
            widths->thread = shift;
        widths->package = shift;
    }
    return 1;
}

// Older processors: how many IDs a package has, and how many cores.
static struct widths read_sizes(uint32_t max_leaf)
{
    const struct cpuid features = hw_cpuid(1, 0);
    const uint32_t ids = features.edx & FEATURE_MANY ? features.ebx >> 16 & 0xff : 1;
    struct widths widths = {0, bits_for(ids)};
    uint32_t cores = 0;

    if (max_leaf >= LEAF_CACHE && (hw_cpuid(LEAF_CACHE, 0).eax & 0x1f) != 0) {
        cores = (hw_cpuid(LEAF_CACHE, 0).eax >> 26) + 1;
    } else if (processor_extended_max() >= LEAF_AMD_SIZES) {
        const uint32_t sizes = hw_cpuid(LEAF_AMD_SIZES, 0).ecx;
        const uint32_t core_bits = sizes >> 12 & 0xf;
        cores = core_bits != 0 ? 1u << core_bits : (sizes & 0xff) + 1;
    }
    if (cores != 0 && bits_for(cores) < widths.package)
        widths.thread = widths.package - bits_for(cores);
    return widths;
}

void topology_read(uint32_t apic_id, struct topology *topology)
{
    const uint32_t max_leaf = hw_cpuid(0, 0).eax;
    struct widths widths;

    if (!(max_leaf >= 0x1f && read_levels(0x1f, &widths)) &&
        !(max_leaf >= 0xb && read_levels(0xb, &widths)))
        widths = read_sizes(max_leaf);
    if (widths.thread > widths.package)
        widths.thread = widths.package; // said of the same level, or nonsense
    const uint32_t in_package = apic_id & ((1u << widths.package) - 1);
    *topology = (struct topology){
        .known = 1,
        .package = apic_id >> widths.package,
        .core = in_package >> widths.thread,
        .thread = in_package & ((1u << widths.thread) - 1),
    };
}
