// Gathering: every fact that only firmware can tell, into struct machine, while firmware lives.

#include "gather.h"

#include "acpi.h"
#include "lapic.h"
#include "control.h"
#include "crc32.h"
#include "dmar.h"
#include "hw.h"
#include "mem.h"
#include "memory.h"
#include "page.h"
#include "phys.h"
#include "platform_read.h"
#include "processors.h"
#include "tables.h"
#include "tell.h"
#include "timing.h"

// QEMU's fw_cfg: selector and data ports, and what selector 0 answers.
#define FW_CFG_SELECTOR 0x510u
#define FW_CFG_DATA     0x511u

#define BEHIND_HYPERVISOR  (1u << 31) // CPUID 1, ECX
#define S_CET_SHADOW_STACK (1u << 0)  // SDM vol. 1, "Control-Flow Enforcement Technology"

extern const uint8_t image_start[], image_text_start[], image_text_end[], image_rodata_start[],
    image_rodata_end[], image_data_start[], image_data_end[], image_end[];
// Where the sections' own bytes end. What lies behind, to the end of the page, is nobody's.
extern const uint8_t image_code_end[], image_constants_end[];

// QEMU may keep its name from CPUID (tcg-cpuid=off, kvm=off, machines before 2.7), and even that
// there is a hypervisor. Then its tables tell: SMBIOS, or the vendor of the ACPI tables that it
// makes itself.
static bool says_qemu(const struct firmware *firmware, const struct platform *platform)
{
    const struct problems nobody = {problems_ignore, NULL};
    const struct phys phys = {memory_view, firmware};
    struct acpi_table fadt;

    return memcmp(platform->maker, "QEMU", 5) == 0 ||
           (acpi_find_table(&phys, table_rsdp(firmware), "FACP", 0, &nobody, &fadt) == STATUS_OK &&
            memcmp(fadt.bytes + ACPI_HEADER_VENDOR, "BOCHS ", 6) == 0);
}

// Its own device decides, but it is asked only behind a hypervisor, or where the tables say so: on
// bare hardware these ports may be anything, and the question is a write.
static bool has_fw_cfg(const struct firmware *firmware, const struct platform *platform)
{
    static const uint8_t signature[] = {'Q', 'E', 'M', 'U'};

    if ((hw_cpuid(1, 0).ecx & BEHIND_HYPERVISOR) == 0 && !says_qemu(firmware, platform))
        return false;
    hw_out16(FW_CFG_SELECTOR, 0);
    for (size_t i = 0; i < sizeof signature; i++) {
        if (hw_in8(FW_CFG_DATA) != signature[i])
            return false;
    }
    return true;
}

static struct range section(const uint8_t *start, const uint8_t *end)
{
    const uint64_t first = (uintptr_t)start & ~(uint64_t)(PAGE_BYTES - 1);
    const uint64_t last = ((uintptr_t)end + PAGE_BYTES - 1) & ~(uint64_t)(PAGE_BYTES - 1);
    return (struct range){first, last - first};
}

static uint32_t crc_of_image(void)
{
    const uint32_t code =
        crc32_add(0, image_text_start, (size_t)(image_code_end - image_text_start));
    return crc32_add(code, image_rodata_start, (size_t)(image_constants_end - image_rodata_start));
}

static void copy_vendor(const CHAR16 *wide, char *text, size_t capacity)
{
    size_t used = 0;
    for (; wide && used + 1 < capacity && wide[used]; used++)
        text[used] = wide[used] >= 0x20 && wide[used] < 0x7f ? (char)wide[used] : '?';
    text[used] = '\0';
}

void gather_identity(struct firmware *firmware, struct machine *machine)
{
    memset(machine, 0, sizeof *machine);
    copy_vendor(firmware->system->FirmwareVendor, machine->firmware, sizeof machine->firmware);
    machine->firmware_revision = firmware->system->FirmwareRevision;
    processor_read(&machine->processor);
    if (memory_read_map(firmware) == STATUS_OK)
        platform_read_names(firmware, &machine->platform);
    machine->under_qemu = has_fw_cfg(firmware, &machine->platform);
    machine->apic_base = hw_rdmsr(MSR_IA32_APIC_BASE);
    machine->cr3 = hw_read_cr3();
    machine->cr4 = hw_read_cr4();
    machine->shadow_stack = machine->cr4 & CR4_CET && hw_rdmsr(MSR_IA32_S_CET) & S_CET_SHADOW_STACK;
    machine->image = (struct image){
        .base = (uintptr_t)image_start,
        .bytes = (uintptr_t)image_end - (uintptr_t)image_start,
        .text = section(image_text_start, image_text_end),
        .rodata = section(image_rodata_start, image_rodata_end),
        .data = section(image_data_start, image_data_end),
        .crc = crc_of_image(),
    };
}

// The BSP's ID by its own APIC, in the mode that firmware left on.
static uint32_t read_bsp_apic_id(uint64_t apic_base)
{
    return apic_base & APIC_BASE_EXTD ? (uint32_t)hw_rdmsr(MSR_X2APIC(XAPIC_ID))
                                      : hw_mmio_read32(APIC_MMIO_PHYS(apic_base) + XAPIC_ID) >> 24;
}

static void read_dmar(const struct phys *phys, uint64_t rsdp, struct machine *machine)
{
    const struct problems nobody = {problems_ignore, NULL};
    struct acpi_table dmar;

    machine->dmar_x2apic_opt_out =
        acpi_find_table(phys, rsdp, "DMAR", 0, &nobody, &dmar) == STATUS_OK &&
        dmar_opts_out_of_x2apic(&dmar);
}

static void read_fadt(const struct phys *phys, uint64_t rsdp, struct machine *machine)
{
    const struct problems nobody = {problems_ignore, NULL};
    struct acpi_table fadt;

    if (acpi_find_table(phys, rsdp, "FACP", 0, &nobody, &fadt) == STATUS_OK)
        fadt_read(&fadt, &machine->fadt);
    // A register in memory is a device's, and is going to be mapped.
    if (machine->fadt.reset_space == GAS_MEMORY &&
        (memory_is_ram(phys->context, machine->fadt.reset_address) ||
         machine->fadt.reset_address >> machine->processor.phys_bits != 0))
        machine->fadt.can_reset = false;
}

enum status gather(struct firmware *firmware, const struct options *options,
                   const struct problems *problems, struct machine *machine)
{
    const struct phys phys = {memory_view, firmware};
    const uint64_t rsdp = table_rsdp(firmware);

    enum status status = memory_collect_ram(firmware, machine);
    if (status != STATUS_OK) {
        problem_tell(problems, SEVERITY_ERROR, "no-memory-map", "the memory map could not be read");
        return status;
    }
    machine->bsp_apic_id = read_bsp_apic_id(machine->apic_base);
    status = processors_gather(firmware, &phys, rsdp, options, problems, machine);
    if (status != STATUS_OK)
        return status;
    read_dmar(&phys, rsdp, machine);
    read_fadt(&phys, rsdp, machine);
    platform_gather(firmware, machine);
    if (options->log == LOG_DEBUG)
        machine->processor.missing_msr = processor_read_missing_msr();
    return time_calibrate(firmware, machine->fadt.pm_timer, problems, machine);
}

void gather_free(const struct firmware *firmware, struct machine *machine)
{
    memory_free(firmware, machine->inventory.cpus, machine->inventory_pages);
    memory_free(firmware, machine->ram, machine->ram_pages);
    machine->inventory = (struct inventory){0};
    machine->ram = NULL;
    machine->ram_count = 0;
}
