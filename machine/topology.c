// An APIC ID is a number in a mixed base: thread, core, what holds cores, package, from the low
// bits up. CPUID tells the widths. Surprise: the widths say what could be there and not what is, so
// IDs have holes, and a location is a name and never an index.

#include "topology.h"

#include <stddef.h>

#include "hw.h"
#include "processor.h"

#define LEAF_CACHE      4u
#define LEAF_FEATURES   7u
#define LEAF_KIND       0x1au
#define LEAF_AMD_SIZES  0x80000008u
#define LEAF_AMD_LEVELS 0x80000026u
#define LEVEL_INVALID   0u
#define LEVEL_THREAD    1u
#define LEVELS_MAX      8u         // six are defined; bounds the walk whatever CPUID says
#define CACHES_MAX      8u         // likewise: no processor has more than five
#define FEATURE_MANY    (1u << 28) // CPUID 1 EDX: more than one ID in the package
#define FEATURE_HYBRID  (1u << 15) // CPUID 7 EDX: its cores are of different kinds
#define AMD_HYBRID      (1u << 30) // CPUID 0x80000026 EAX, core level: likewise
#define WIDTH_MAX       32u

static uint32_t bits_for(uint32_t count)
{
    uint32_t bits = 0;
    while (bits < WIDTH_MAX - 1 && (1u << bits) < count)
        bits++;
    return bits;
}

struct widths {
    uint32_t thread, package; // bits below the core's and below the package's
    uint32_t below[DOMAINS];  // bits below each domain's; WIDTH_MAX: CPUID names none
};

static struct widths no_widths(void)
{
    struct widths widths = {0};

    for (size_t domain = 0; domain < DOMAINS; domain++)
        widths.below[domain] = WIDTH_MAX;
    return widths;
}

// SDM vol. 2A, "CPUID", leaf 1FH; AMD APM vol. 3, "CPUID Fn8000_0026". DOMAINS: none of them.
static enum domain domain_of(uint32_t leaf, uint32_t type)
{
    static const enum domain intel[] = {DOMAINS,     DOMAINS,    DOMAINS,         DOMAIN_MODULE,
                                        DOMAIN_TILE, DOMAIN_DIE, DOMAIN_DIE_GROUP};
    static const enum domain amd[] = {DOMAINS, DOMAINS, DOMAIN_COMPLEX, DOMAIN_DIE};

    if (leaf == LEAF_AMD_LEVELS)
        return type < sizeof amd / sizeof amd[0] ? amd[type] : DOMAINS;
    return type < sizeof intel / sizeof intel[0] ? intel[type] : DOMAINS;
}

// Leaf 0x1F, 0xB or 0x80000026: a level for each subleaf, with how far to shift the ID to the next
// one. Intel names a level by what its own bits count, AMD by what the shifted ID does.
static int read_levels(uint32_t leaf, struct widths *widths)
{
    *widths = no_widths();
    for (uint32_t level = 0; level < LEVELS_MAX; level++) {
        const struct cpuid told = hw_cpuid(leaf, level);
        const uint32_t type = told.ecx >> 8 & 0xff;
        const uint32_t shift = told.eax & 0x1f;
        if (type == LEVEL_INVALID || (told.ebx & 0xffff) == 0)
            return level > 0;
        if (type == LEVEL_THREAD)
            widths->thread = shift;
        const enum domain domain = domain_of(leaf, type);
        if (domain < DOMAINS)
            widths->below[domain] = leaf == LEAF_AMD_LEVELS ? shift : widths->package;
        widths->package = shift;
    }
    return 1;
}

// Older processors: how many IDs a package has, and how many cores.
static struct widths read_sizes(uint32_t max_leaf)
{
    const struct cpuid features = hw_cpuid(1, 0);
    const uint32_t ids = features.edx & FEATURE_MANY ? features.ebx >> 16 & 0xff : 1;
    struct widths widths = no_widths();
    uint32_t cores = 0;

    widths.package = bits_for(ids);
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

// ---- kinds of cores ----

static bool has_l3(void)
{
    for (uint32_t index = 0; index < CACHES_MAX; index++) {
        const uint32_t cache = hw_cpuid(LEAF_CACHE, index).eax;
        if ((cache & 0x1f) == 0)
            return false;
        if ((cache >> 5 & 7) == 3)
            return true;
    }
    return false;
}

// Leaf 0x1A is there on processors that are all of one kind, too; they have nothing to tell apart.
// For low-power cores it has no word: on every part that has them they are those outside the L3.
static enum core_kind read_kind(uint32_t max_leaf)
{
    if (max_leaf < LEAF_KIND || !(hw_cpuid(LEAF_FEATURES, 0).edx & FEATURE_HYBRID))
        return CORE_UNKNOWN;
    switch (hw_cpuid(LEAF_KIND, 0).eax >> 24) {
    case 0x40:
        return CORE_PERFORMANCE;
    case 0x20:
        return has_l3() ? CORE_EFFICIENCY : CORE_LOW_POWER;
    default:
        return CORE_UNKNOWN;
    }
}

static enum core_kind read_amd_kind(void)
{
    const struct cpuid core = hw_cpuid(LEAF_AMD_LEVELS, 0);

    if (!(core.eax & AMD_HYBRID))
        return CORE_UNKNOWN;
    switch (core.ebx >> 28) {
    case 0:
        return CORE_PERFORMANCE;
    case 1:
        return CORE_EFFICIENCY;
    default:
        return CORE_UNKNOWN;
    }
}

void topology_read(uint32_t apic_id, struct topology *topology)
{
    const uint32_t max_leaf = hw_cpuid(0, 0).eax;
    struct widths widths;
    enum core_kind kind;

    // Each CPUID may cost a guest a microsecond or more, so none is asked that is not needed.
    if (max_leaf >= 0x1f && read_levels(0x1f, &widths)) {
        kind = read_kind(max_leaf);
    } else if (processor_extended_max() >= LEAF_AMD_LEVELS &&
               read_levels(LEAF_AMD_LEVELS, &widths)) {
        kind = read_amd_kind();
    } else {
        kind = read_kind(max_leaf);
        if (!(max_leaf >= 0xb && read_levels(0xb, &widths)))
            widths = read_sizes(max_leaf);
    }
    if (widths.thread > widths.package)
        widths.thread = widths.package; // said of the same level, or nonsense
    const uint32_t in_package = apic_id & ((1u << widths.package) - 1);
    *topology = (struct topology){
        .package = apic_id >> widths.package,
        .core = in_package >> widths.thread,
        .thread = in_package & ((1u << widths.thread) - 1),
        .kind = kind,
    };
    for (size_t domain = 0; domain < DOMAINS; domain++) {
        if (widths.below[domain] >= widths.package)
            continue; // the package has one at most
        topology->domains[domain].named = true;
        topology->domains[domain].number = in_package >> widths.below[domain];
    }
}

const char *domain_word(enum domain domain)
{
    static const char *const words[] = {"module", "complex", "tile", "die", "die_group"};
    return words[domain];
}

const char *core_kind_word(enum core_kind kind)
{
    static const char *const words[] = {"unknown", "p", "e", "lp"};
    return words[kind];
}
