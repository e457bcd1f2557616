// Gathering: every fact that only firmware can tell, into struct machine, while firmware lives.

#include "firmware.h"

#include "acpi.h"
#include "address_space.h"
#include "apic.h"
#include "control.h"
#include "crc32.h"
#include "dmar.h"
#include "hw.h"
#include "inject.h"
#include "line.h"
#include "mem.h"
#include "mp_services.h"
#include "page.h"

// QEMU's fw_cfg: selector and data ports, and what selector 0 answers.
#define FW_CFG_SELECTOR 0x510u
#define FW_CFG_DATA     0x511u

#define S_CET_SHADOW_STACK (1u << 0) // SDM vol. 1, "Control-Flow Enforcement Technology"

extern const uint8_t image_start[], image_text_start[], image_text_end[], image_rodata_start[],
    image_rodata_end[], image_data_start[], image_data_end[], image_end[];
// Where the sections' own bytes end. What lies behind, to the end of the page, is nobody's.
extern const uint8_t image_code_end[], image_constants_end[];

// Asked only behind a hypervisor: on bare hardware these ports may be anything.
static bool has_fw_cfg(const struct processor *processor)
{
    static const uint8_t signature[] = {'Q', 'E', 'M', 'U'};

    if (!processor->hypervisor[0])
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

void gather_identity(const struct firmware *firmware, struct machine *machine)
{
    memset(machine, 0, sizeof *machine);
    copy_vendor(firmware->system->FirmwareVendor, machine->firmware, sizeof machine->firmware);
    machine->firmware_revision = firmware->system->FirmwareRevision;
    processor_read(&machine->processor);
    machine->under_qemu = has_fw_cfg(&machine->processor);
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
static uint32_t read_bsp_apic_id(const struct machine *machine)
{
    const struct apic apic = apic_of(machine->apic_base);
    return apic.operations->read_id(&apic);
}

static enum status gather_inventory(const struct firmware *firmware, const struct phys *phys,
                                    uint64_t rsdp, const struct options *options,
                                    const struct problems *problems, struct machine *machine)
{
    const struct problems nobody = {problems_ignore, NULL};
    struct acpi_table madt, second, edited;
    enum status status = acpi_find_table(phys, rsdp, "APIC", 0, problems, &madt);
    if (status != STATUS_OK) {
        problems->tell(problems->context, SEVERITY_ERROR, "no-madt",
                       "no MADT can be found, so no processor's APIC ID is known");
        return status;
    }
    if (acpi_find_table(phys, rsdp, "APIC", 1, &nobody, &second) == STATUS_OK)
        problems->tell(problems->context, SEVERITY_WARNING, "second-madt",
                       "firmware publishes more than one MADT; the first is used");

    const size_t capacity = inventory_capacity(&madt) + INJECTIONS_MAX;
    const size_t bytes =
        capacity * (sizeof(struct cpu) + sizeof(uint32_t)) + inject_madt_bytes(&madt);
    struct inventory *inventory = &machine->inventory;
    inventory->capacity = capacity;
    machine->inventory_pages = bytes / PAGE_BYTES + 1;
    inventory->cpus = memory_allocate(firmware, machine->inventory_pages);
    if (!inventory->cpus) {
        problems->tell(problems->context, SEVERITY_ERROR, "no-memory",
                       "no memory below 4 GiB for the list of processors");
        return STATUS_NO_SPACE;
    }
    uint32_t *scratch = (uint32_t *)(void *)(inventory->cpus + capacity);
    uint8_t *copy = (uint8_t *)(scratch + capacity);
    // A table that is cut short is refused: half of a machine is no machine to account for.
    status = inventory_read(&madt, machine->bsp_apic_id, scratch, problems, inventory);
    if (status == STATUS_OK && inject_edit_madt(&madt, inventory, options, copy, &edited))
        status = inventory_read(&edited, machine->bsp_apic_id, scratch, problems, inventory);
    return status;
}

static void ask_mp_services(const struct firmware *firmware, const struct problems *problems,
                            struct machine *machine)
{
    EFI_GUID guid = MP_SERVICES_GUID;
    struct mp_services *services = NULL;
    UINTN count = 0, enabled = 0;
    char buffer[LINE_BYTES];
    struct line line;

    if (EFI_ERROR(firmware->boot->LocateProtocol(&guid, NULL, (void **)&services)) ||
        EFI_ERROR(services->get_number_of_processors(services, &count, &enabled)))
        return;
    machine->mp_services = (uint32_t)count;
    machine->mp_services_enabled = (uint32_t)enabled;
    if (enabled == machine->inventory.enabled)
        return;
    line_start(&line, buffer, sizeof buffer);
    line_add_format(
        &line, "the MADT lists %u enabled processors, MP Services counts %u, %u of them enabled",
        (uint64_t)machine->inventory.enabled, (uint64_t)count, (uint64_t)enabled);
    problems->tell(problems->context, SEVERITY_WARNING, "mp-services-disagree", line.text);
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
}

enum status gather(struct firmware *firmware, const struct options *options,
                   const struct problems *problems, struct machine *machine)
{
    const struct phys phys = {memory_view, firmware};
    const uint64_t rsdp = table_rsdp(firmware);

    enum status status = memory_collect_ram(firmware, machine);
    if (status != STATUS_OK) {
        problems->tell(problems->context, SEVERITY_ERROR, "no-memory-map",
                       "the memory map could not be read");
        return status;
    }
    machine->bsp_apic_id = read_bsp_apic_id(machine);
    if ((status = gather_inventory(firmware, &phys, rsdp, options, problems, machine)) != STATUS_OK)
        return status;
    ask_mp_services(firmware, problems, machine);
    read_dmar(&phys, rsdp, machine);
    read_fadt(&phys, rsdp, machine);
    platform_gather(firmware, machine);
    if (options->log == LOG_DEBUG)
        machine->processor.missing_msr = processor_read_missing_msr();
    return time_calibrate(firmware, machine->fadt.pm_timer, problems, machine);
}
