// Fuzzer: CPUID as a processor or a hypervisor may have it: what the BSP reads of itself, and where
// each processor sits. Surprise: a leaf above the maximum that CPUID names does not exist here, and
// to read it ends the fuzzer; so does an MSR that the input leaves out, unless it is read safely.
#include "fake_hw.h"
#include "fuzz.h"
#include "processor.h"
#include "topology.h"

#define LEVELS 8u // subleaves of the leaves of caches and topology that are there

static const uint32_t basic[] = {1, 4, 7, 0xb, 0x15, 0x16, 0x1a, 0x1f, 0x21};
static const uint32_t extended[] = {0x80000001, 0x80000002, 0x80000003, 0x80000004,
                                    0x80000007, 0x80000008, 0x8000001f, 0x80000026};

static struct cpuid take_cpuid(struct input *input)
{
    struct cpuid value;

    input_take(input, &value, sizeof value);
    return value;
}

static void set_names(struct input *input, uint32_t max, uint32_t leaf)
{
    static const char names[][13] = {"GenuineIntel", "AuthenticAMD", "HygonGenuine", "IntelTDX    ",
                                     "VIA VIA VIA "};
    struct cpuid value = {.eax = max};
    const char *name = names[input_choice(input, sizeof names / sizeof names[0])];

    memcpy(&value.ebx, name, 4);
    memcpy(&value.edx, name + 4, 4);
    memcpy(&value.ecx, name + 8, 4);
    fake_set_cpuid(leaf, 0, value);
}

// The highest leaf: one that is asked for, or the one below it, or any number.
static uint32_t take_max(struct input *input, const uint32_t *leaves, size_t count, uint32_t any)
{
    const size_t which = input_choice(input, 2 * count + 1);

    return which == 2 * count ? any : leaves[which / 2] - which % 2;
}

static void set_leaves(struct input *input, const uint32_t *leaves, size_t count, uint32_t max)
{
    for (size_t i = 0; i < count && leaves[i] <= max; i++) {
        if (leaves[i] == 0x21) {
            set_names(input, 0, leaves[i]);
        } else if (leaves[i] == 4 || leaves[i] == 0xb || leaves[i] == 0x1f ||
                   leaves[i] == 0x80000026) {
            for (uint32_t level = 0; level < LEVELS; level++)
                fake_set_cpuid(leaves[i], level, take_cpuid(input));
        } else {
            fake_set_cpuid(leaves[i], 0, take_cpuid(input));
        }
    }
}

static void set_msr(struct input *input, uint32_t msr)
{
    if (input_u8(input) % 2 == 0)
        fake_remove_msr(msr);
    else
        fake_set_cell(FAKE_MSR, msr, input_u64(input));
}

static void start(struct input *input)
{
    const size_t basics = sizeof basic / sizeof basic[0],
                 extendeds = sizeof extended / sizeof extended[0];

    fake_reset();
    const uint32_t max = take_max(input, basic, basics, input_u32(input));
    const uint32_t extended_max = take_max(input, extended, extendeds, input_u32(input));
    set_names(input, max, 0);
    set_leaves(input, basic, basics, max);
    fake_set_cpuid(1, 0, take_cpuid(input));          // every processor has it
    fake_set_cpuid(0x40000000, 0, take_cpuid(input)); // read where leaf 1 says so
    fake_set_cpuid(0x80000000, 0, (struct cpuid){.eax = extended_max});
    // A maximum of another range is none (SDM vol. 2A, "CPUID"): another leaf's data.
    if (extended_max >= 0x80000000 && extended_max < 0x80010000)
        set_leaves(input, extended, extendeds, extended_max);
    set_msr(input, MSR_IA32_BIOS_SIGN_ID);
    set_msr(input, MSR_SEV_STATUS);
    set_msr(input, MSR_RESERVED);
}

// What a person reads of it, who may sit at a terminal.
static void must_be_name(const char *text, size_t room)
{
    const size_t length = strnlen(text, room);

    MUST(length < room);
    for (size_t i = 0; i < length; i++)
        MUST(text[i] >= 0x20 && text[i] <= 0x7e);
}

static void read_processor(void)
{
    struct processor processor;

    processor_read(&processor);
    MUST(processor.vendor <= VENDOR_HYGON && processor.guest <= GUEST_TDX);
    MUST(processor.guest == GUEST_NONE || guest_story(processor.guest).why[0] != '\0');
    MUST(processor.family <= 0xf + 0xff);
    must_be_name(processor.hypervisor, sizeof processor.hypervisor);
    must_be_name(processor.brand, sizeof processor.brand);
    MUST(processor.phys_bits >= 32 && processor.phys_bits <= 52);
    MUST(processor.id_leaf == 1 || processor.id_leaf == 0xb);
    (void)processor_read_microcode();
    const enum missing_msr missing = processor_read_missing_msr();
    MUST(missing == MISSING_MSR_FAULT || missing == MISSING_MSR_VALUE);
    MUST(missing_msr_word(missing)[0] != '\0');
}

static struct topology locate(uint32_t apic_id)
{
    struct topology topology;

    topology_read(apic_id, &topology);
    MUST(topology.kind < CORE_KINDS && core_kind_word(topology.kind)[0] != '\0');
    return topology;
}

// No two IDs have one place: the parts, one above the other, are the ID again.
static void read_places(struct input *input)
{
    const struct topology widest = locate(UINT32_MAX);
    const uint32_t thread_bits = (uint32_t)__builtin_popcount(widest.thread);
    const uint32_t core_bits = (uint32_t)__builtin_popcount(widest.core);
    const uint32_t in_package = widest.core << thread_bits | widest.thread;

    MUST(thread_bits + core_bits < 32);
    MUST(widest.thread == (1u << thread_bits) - 1 && widest.core == (1u << core_bits) - 1);
    MUST(widest.package == UINT32_MAX >> (thread_bits + core_bits));
    // The upper bits of what the package has, and not none.
    for (size_t domain = 0; domain < DOMAINS; domain++) {
        const uint32_t number = widest.domains[domain].number;
        MUST(widest.domains[domain].named == (number > 0));
        MUST((number & (number + 1)) == 0 && number <= in_package);
    }
    for (size_t i = 0; i < 4; i++) {
        const uint32_t apic_id = input_u32(input);
        const struct topology place = locate(apic_id);
        MUST(place.thread <= widest.thread && place.core <= widest.core);
        MUST((place.package << core_bits | place.core) << thread_bits == apic_id - place.thread);
        MUST(place.kind == widest.kind);
        for (size_t domain = 0; domain < DOMAINS; domain++) {
            MUST(place.domains[domain].named == widest.domains[domain].named);
            MUST(place.domains[domain].number <= widest.domains[domain].number);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};

    start(&input);
    read_processor();
    read_places(&input);
    return 0;
}
