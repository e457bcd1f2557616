// CPUID, decoded. Leaves beyond the maximum that the processor names are never read: some return
// another leaf's data (SDM vol. 2A, "CPUID").

#include "processor.h"

#include "hw.h"
#include "mem.h"

#define LEAF_HYPERVISOR 0x40000000u

// AMD APM vol. 2, "Secure Encrypted Virtualization": what MSR_SEV_STATUS says is active.
#define LEAF_SEV       0x8000001fu
#define SEV_SUPPORTED  (1u << 1)
#define SEV_ACTIVE     (1u << 0)
#define SEV_ES_ACTIVE  (1u << 1)
#define SEV_SNP_ACTIVE (1u << 2)
#define LEAF_EXTENDED  0x80000000u
#define EXTENDED_END   0x80010000u // beyond: another leaf's data, and no maximum

static void put_text(char *to, uint32_t a, uint32_t b, uint32_t c)
{
    const uint32_t words[3] = {a, b, c};
    memcpy(to, words, sizeof words);
    to[sizeof words] = '\0';
}

// A name for people, who may read it on a terminal.
static void make_printable(char *name)
{
    for (; *name != '\0'; name++) {
        if (*name < 0x20 || *name > 0x7e)
            *name = '?';
    }
}

static enum vendor vendor_of(const char *name)
{
    static const struct {
        char name[13];
        enum vendor vendor;
    } known[] = {
        {"GenuineIntel", VENDOR_INTEL},
        {"AuthenticAMD", VENDOR_AMD},
        {"HygonGenuine", VENDOR_HYGON},
    };
    for (unsigned i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (memcmp(known[i].name, name, sizeof known[i].name) == 0)
            return known[i].vendor;
    }
    return VENDOR_OTHER;
}

// Leaf 0x15: crystal * EBX / EAX; where the crystal is not told, and in older processors, leaf 0x16
// gives the base frequency in MHz, which is the TSC's to within rounding.
static void read_tsc_hz(uint32_t max_leaf, struct processor *processor)
{
    if (max_leaf >= 0x15) {
        const struct cpuid ratio = hw_cpuid(0x15, 0);
        processor->tsc_exact = ratio.eax != 0 && ratio.ebx != 0 && ratio.ecx != 0;
        if (processor->tsc_exact)
            processor->tsc_hz = (uint64_t)ratio.ecx * ratio.ebx / ratio.eax;
    }
    if (max_leaf >= 0x16 && !processor->tsc_exact)
        processor->tsc_hz = (uint64_t)(hw_cpuid(0x16, 0).eax & 0xffff) * 1000000;
}

uint32_t processor_extended_max(void)
{
    const uint32_t max = hw_cpuid(LEAF_EXTENDED, 0).eax;
    return max >= LEAF_EXTENDED && max < EXTENDED_END ? max : 0;
}

// The hypervisor may hide that it is one: the bits of SEV_STATUS are the processor's own.
static enum guest read_sev(void)
{
    uint64_t status;

    if (!(hw_cpuid(LEAF_SEV, 0).eax & SEV_SUPPORTED) ||
        !hw_read_msr_safely(MSR_SEV_STATUS, &status))
        return GUEST_NONE;
    return status & SEV_SNP_ACTIVE  ? GUEST_SEV_SNP
           : status & SEV_ES_ACTIVE ? GUEST_SEV_ES
           : status & SEV_ACTIVE    ? GUEST_SEV
                                    : GUEST_NONE;
}

static void read_extended(struct processor *processor)
{
    const uint32_t max = processor_extended_max();

    processor->phys_bits = 36; // SDM vol. 3A: where leaf 0x80000008 is missing
    if (max >= 0x80000001u) {
        const uint32_t features = hw_cpuid(0x80000001u, 0).edx;
        processor->no_execute = features & 1u << 20;
        processor->gib_pages = features & 1u << 26;
    }
    if (max >= 0x80000004u) {
        for (uint32_t i = 0; i < 3; i++) {
            const struct cpuid part = hw_cpuid(0x80000002u + i, 0);
            memcpy(processor->brand + 16 * i, &part, sizeof part);
        }
        make_printable(processor->brand);
    }
    if (max >= 0x80000007u)
        processor->tsc_invariant = hw_cpuid(0x80000007u, 0).edx & 1u << 8;
    if (max >= 0x80000008u) {
        const uint32_t bits = hw_cpuid(0x80000008u, 0).eax & 0xff;
        processor->phys_bits = bits < 32 ? 32 : bits > 52 ? 52 : bits;
    }
    if (max >= LEAF_SEV)
        processor->guest = read_sev();
}

void processor_read(struct processor *processor)
{
    char name[13];

    memset(processor, 0, sizeof *processor);
    const struct cpuid base = hw_cpuid(0, 0);
    put_text(name, base.ebx, base.edx, base.ecx);
    processor->vendor = vendor_of(name);

    const struct cpuid features = hw_cpuid(1, 0);
    processor->family = features.eax >> 8 & 0xf;
    if (processor->family == 0xf)
        processor->family += features.eax >> 20 & 0xff;
    processor->x2apic = features.ecx & 1u << 21;
    processor->mce = features.edx & 1u << 7;
    processor->pat = features.edx & 1u << 16;
    processor->mtrr = features.edx & 1u << 12;
    if (features.ecx & 1u << 31) {
        const struct cpuid signature = hw_cpuid(LEAF_HYPERVISOR, 0);
        put_text(processor->hypervisor, signature.ebx, signature.ecx, signature.edx);
        make_printable(processor->hypervisor);
    }

    // Leaf 0xB exists if its EBX, the number of logical processors at this level, is not 0.
    processor->id_leaf = base.eax >= 0xb && (hw_cpuid(0xb, 0).ebx & 0xffff) != 0 ? 0xb : 1;
    read_tsc_hz(base.eax, processor);
    read_extended(processor);
    if (base.eax >= 0x21) {
        const struct cpuid tdx = hw_cpuid(0x21, 0);
        put_text(name, tdx.ebx, tdx.edx, tdx.ecx);
        if (memcmp(name, "IntelTDX    ", 12) == 0)
            processor->guest = GUEST_TDX;
    }
}

struct guest_story guest_story(enum guest guest)
{
    static const struct guest_story stories[] = {
        [GUEST_SEV] = {"sev-guest", "an SEV",
                       "its memory is encrypted, and our page tables lack the bit that says so"},
        [GUEST_SEV_ES] =
            {"sev-es-guest", "an SEV-ES",
             "its memory and registers are encrypted, so INIT and STARTUP do not reach "
             "its processors"},
        [GUEST_SEV_SNP] =
            {"snp-guest", "an SEV-SNP",
             "INIT and STARTUP do not reach its processors, only its hypervisor can start "
             "them"},
        [GUEST_TDX] =
            {"tdx-guest", "a TDX",
             "INIT and STARTUP do not reach its processors, only the MADT's mailbox (type "
             "0x10) does"},
    };
    return stories[guest];
}

// Intel: after writing 0 and a CPUID, in the upper half (SDM vol. 3A, "Microcode Update
// Facilities"). AMD: in the lower half, at once.
uint32_t processor_read_microcode(void)
{
    const struct cpuid base = hw_cpuid(0, 0);
    char name[13];
    uint64_t value;

    put_text(name, base.ebx, base.edx, base.ecx);
    const enum vendor vendor = vendor_of(name);
    if (vendor == VENDOR_OTHER)
        return 0;
    if (vendor == VENDOR_INTEL) {
        if (!hw_write_msr_safely(MSR_IA32_BIOS_SIGN_ID, 0))
            return 0;
        (void)hw_cpuid(1, 0);
    }
    if (!hw_read_msr_safely(MSR_IA32_BIOS_SIGN_ID, &value))
        return 0;
    return (uint32_t)(vendor == VENDOR_INTEL ? value >> 32 : value);
}

enum missing_msr processor_read_missing_msr(void)
{
    uint64_t value;
    return hw_read_msr_safely(MSR_RESERVED, &value) ? MISSING_MSR_VALUE : MISSING_MSR_FAULT;
}

const char *missing_msr_word(enum missing_msr missing)
{
    static const char *const words[] = {"unknown", "fault", "value"};
    return words[missing];
}
