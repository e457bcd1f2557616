// What names the machine, and what it allows, from firmware's tables and variables.

#include "platform_read.h"

#include "lapic.h"
#include "hw.h"
#include "memory.h"
#include "page.h"
#include "phys.h"
#include "smbios.h"
#include "tables.h"

// SDM vol. 4: which APIC modes there are, and whether x2APIC mode can be left.
#define HAS_ARCH_CAPABILITIES (1u << 29) // CPUID 7, EDX
#define HAS_XAPIC_DISABLE     (1u << 21)
#define LEGACY_XAPIC_DISABLED (1u << 0)

#define MIB 0x100000u

static bool apic_is_locked(enum vendor vendor)
{
    return vendor == VENDOR_INTEL && hw_cpuid(0, 0).eax >= 7 &&
           (hw_cpuid(7, 0).edx & HAS_ARCH_CAPABILITIES) != 0 &&
           (hw_rdmsr(MSR_IA32_ARCH_CAPABILITIES) & HAS_XAPIC_DISABLE) != 0 &&
           (hw_rdmsr(MSR_IA32_XAPIC_DISABLE) & LEGACY_XAPIC_DISABLED) != 0;
}

// One byte of a global variable; `absent` where there is none.
static uint8_t read_flag(const struct firmware *firmware, CHAR16 *name, uint8_t absent)
{
    EFI_GUID global = EFI_GLOBAL_VARIABLE;
    UINT8 value = 0;
    UINTN bytes = sizeof value;

    return EFI_ERROR(
               firmware->system->RuntimeServices->GetVariable(name, &global, NULL, &bytes, &value))
               ? absent
               : value;
}

enum secure_boot platform_secure_boot(const struct firmware *firmware)
{
    const uint8_t absent = 0xff;
    CHAR16 on[] = L"SecureBoot", setup[] = L"SetupMode";
    const uint8_t value = read_flag(firmware, on, absent);

    if (value == absent)
        return SECURE_BOOT_NONE;
    if (value == 1)
        return SECURE_BOOT_ON;
    return read_flag(firmware, setup, 0) == 1 ? SECURE_BOOT_SETUP : SECURE_BOOT_OFF;
}

void platform_read_names(const struct firmware *firmware, struct platform *platform)
{
    static const EFI_GUID newer = SMBIOS3_TABLE_GUID, older = SMBIOS_TABLE_GUID;
    const struct phys phys = {memory_view, firmware};

    if (!smbios_read(&phys, table_find(firmware, &newer), platform))
        (void)smbios_read(&phys, table_find(firmware, &older), platform);
}

void platform_gather(const struct firmware *firmware, struct machine *machine)
{
    struct platform *platform = &machine->platform;

    platform->secure_boot = platform_secure_boot(firmware);
    platform->microcode = processor_read_microcode();
    platform->apic_locked = apic_is_locked(machine->processor.vendor);
    platform->low_pages = memory_count_free(firmware, MIB);
}
