// Who is there. The MADT says so, and where firmware has none that can be used, MP Services does,
// which knows APIC IDs and no ACPI UIDs. Surprise: its list becomes a MADT of ours, so that
// repeats, IDs that nobody has, the BSP and inject= are dealt with once.

#include "processors.h"

#include "acpi.h"
#include "lapic.h"
#include "inject.h"
#include "madt_edit.h"
#include "memory.h"
#include "mp_services.h"
#include "page.h"
#include "tell.h"

// More processors than any machine has, by far; what counts more counts nothing. Each costs a call
// of firmware's, and above 2^24 a processor's number means something else to it (PI 1.8, volume 2,
// "EFI_MP_SERVICES_PROTOCOL.GetProcessorInfo()").
#define MP_SERVICES_MAX 65536u

// Where another list may stand in, nothing that is wrong with this one is the end.
static void tell_milder(void *context, enum severity severity, const char *what, const char *detail)
{
    const struct problems *problems = context;

    (void)severity;
    problem_tell(problems, SEVERITY_WARNING, what, "%s", detail);
}

static bool read_entry(struct mp_services *services, uint32_t handle, struct census_entry *entry)
{
    struct mp_information information = {0};

    if (EFI_ERROR(services->get_processor_info(services, handle, &information)))
        return false;
    *entry = (struct census_entry){
        .apic_id = (uint32_t)information.apic_id,
        .handle = handle,
        .bsp = information.status & MP_IS_BSP,
        .enabled = information.status & MP_IS_ENABLED,
        .healthy = information.status & MP_IS_HEALTHY,
        .package = information.package,
        .core = information.core,
        .thread = information.thread,
    };
    return true;
}

void processors_read_census(const struct firmware *firmware, uint32_t count, struct census *census)
{
    struct mp_services *services = mp_services_find(firmware->boot);

    *census = (struct census){.pages = count * sizeof *census->entries / PAGE_BYTES + 1};
    census->entries = services ? memory_allocate(firmware, census->pages) : NULL;
    if (!census->entries)
        return;
    for (uint32_t handle = 0; handle < count; handle++) {
        if (read_entry(services, handle, &census->entries[census->count]))
            census->count++;
    }
}

static void count_by_mp_services(const struct firmware *firmware, const struct problems *problems,
                                 struct machine *machine)
{
    struct mp_count count;

    if (!mp_services_count(firmware->boot, &count))
        return;
    if (count.all == 0 || count.all > MP_SERVICES_MAX || count.enabled > count.all) {
        problem_tell(
            problems, SEVERITY_WARNING, "mp-services-count",
            "MP Services counts %u processors, %u of them enabled: impossible, its counts are "
            "ignored",
            count.all, count.enabled);
        return;
    }
    machine->mp_services = (uint32_t)count.all;
    machine->mp_services_enabled = (uint32_t)count.enabled;
}

static void compare_counts(const struct problems *problems, const struct machine *machine)
{
    const struct inventory *inventory = &machine->inventory;

    if (machine->mp_services == 0 || machine->mp_services_enabled == inventory->enabled)
        return;
    problem_tell(problems, SEVERITY_WARNING, "mp-services-disagree",
                 "%s lists %u enabled processors, MP Services counts %u, %u of them enabled",
                 inventory_source_name(inventory->source), (uint64_t)inventory->enabled,
                 (uint64_t)machine->mp_services, (uint64_t)machine->mp_services_enabled);
}

static void forget_inventory(const struct firmware *firmware, struct machine *machine)
{
    memory_free(firmware, machine->inventory.cpus, machine->inventory_pages);
    machine->inventory = (struct inventory){0};
    machine->inventory_pages = 0;
}

// The inventory by this table, into memory of its own. What is wrong with the table goes to
// `of_table`.
static enum status read_table(const struct firmware *firmware, const struct acpi_table *madt,
                              enum inventory_source source, const struct options *options,
                              const struct problems *problems, const struct problems *of_table,
                              struct machine *machine)
{
    const size_t capacity = inventory_capacity(madt) + INJECTIONS_MAX;
    const size_t bytes =
        capacity * (sizeof(struct cpu) + sizeof(uint64_t)) + inject_madt_bytes(madt);
    struct inventory *inventory = &machine->inventory;
    struct acpi_table edited;

    *inventory = (struct inventory){.capacity = capacity, .source = source};
    machine->inventory_pages = bytes / PAGE_BYTES + 1;
    inventory->cpus = memory_allocate(firmware, machine->inventory_pages);
    if (!inventory->cpus) {
        problem_tell(problems, SEVERITY_ERROR, "no-memory",
                     "no memory below 4 GiB for the list of processors");
        return STATUS_NO_SPACE;
    }
    uint64_t *keys = (uint64_t *)(void *)(inventory->cpus + capacity);
    uint8_t *copy = (uint8_t *)(keys + capacity);
    // A table that is cut short is refused: half of a machine is no machine to account for.
    enum status status = inventory_read(madt, machine->bsp_apic_id, keys, of_table, inventory);
    if (status == STATUS_OK && inject_edit_madt(madt, inventory, options, copy, &edited))
        status = inventory_read(&edited, machine->bsp_apic_id, keys, of_table, inventory);
    return status;
}

static enum status find_madt(const struct phys *phys, uint64_t rsdp,
                             const struct problems *problems, struct acpi_table *madt)
{
    const struct problems nobody = {problems_ignore, NULL};
    struct acpi_table second;
    const enum status status = acpi_find_table(phys, rsdp, "APIC", 0, problems, madt);

    if (status == STATUS_OK &&
        acpi_find_table(phys, rsdp, "APIC", 1, &nobody, &second) == STATUS_OK)
        problem_tell(problems, SEVERITY_WARNING, "second-madt",
                     "firmware publishes more than one MADT; the first is used");
    return status;
}

// One processor of MP Services', as a MADT would list it. Enabled is what decides: an unhealthy
// processor may be enabled (PI 1.8, volume 2, "EFI_PROCESSOR_INFORMATION"), and then firmware's own
// StartupAllAPs runs on it, too.
static struct cpu cpu_of(const struct census_entry *entry, enum smp_apic_mode mode)
{
    // Firmware cannot have met a processor that its APIC's mode cannot address.
    const bool impossible = entry->enabled && !smp_can_address(mode, entry->apic_id);

    return (struct cpu){
        .apic_id = impossible ? UINT32_MAX : entry->apic_id,
        .uid = CPU_UID_UNKNOWN,
        .listing = entry->enabled ? CPU_LISTED : CPU_DISABLED,
    };
}

static void tell_unhealthy(const struct census *census, const struct problems *problems)
{
    for (size_t i = 0; i < census->count; i++) {
        const struct census_entry *entry = &census->entries[i];
        if (entry->enabled && !entry->healthy)
            problem_tell(
                problems, SEVERITY_WARNING, "unhealthy",
                "MP Services says that the processor with APIC ID %x failed its self-test, but is "
                "enabled: it is woken anyway",
                (uint64_t)entry->apic_id);
    }
}

static enum status read_census(const struct firmware *firmware, const struct census *census,
                               const struct options *options, const struct problems *problems,
                               struct machine *machine)
{
    const enum smp_apic_mode mode = machine->apic_base & APIC_BASE_EXTD ? SMP_X2APIC : SMP_XAPIC;
    const size_t list_bytes = census->count * sizeof(struct cpu);
    const size_t pages = (list_bytes + madt_bytes_for(census->count)) / PAGE_BYTES + 1;
    struct cpu *cpus = memory_allocate(firmware, pages);

    if (!cpus) {
        problem_tell(problems, SEVERITY_ERROR, "no-memory",
                     "no memory below 4 GiB for MP Services' list of processors");
        return STATUS_NO_SPACE;
    }
    for (size_t i = 0; i < census->count; i++)
        cpus[i] = cpu_of(&census->entries[i], mode);
    const struct acpi_table made = madt_make(cpus, census->count, (uint8_t *)cpus + list_bytes);
    const enum status status =
        read_table(firmware, &made, INVENTORY_MP_SERVICES, options, problems, problems, machine);
    memory_free(firmware, cpus, pages);
    tell_unhealthy(census, problems);
    return status;
}

// MP Services' list instead of a MADT that is missing, damaged, or lists nobody; `status` is what
// became of that one.
static enum status fall_back(const struct firmware *firmware, enum status status,
                             const struct options *options, const struct problems *problems,
                             struct machine *machine)
{
    struct census census = {0};

    if (machine->mp_services > 0)
        processors_read_census(firmware, machine->mp_services, &census);
    if (census.count > 0) {
        problem_tell(
            problems, SEVERITY_WARNING, "no-madt",
            status == STATUS_OK
                ? "the MADT lists no enabled processor, not even this one: MP Services' list "
                  "is used, which has no UIDs"
                : "there is no usable MADT: MP Services' list is used, which has no UIDs");
        forget_inventory(firmware, machine);
        status = read_census(firmware, &census, options, problems, machine);
    } else if (status != STATUS_OK) {
        problem_tell(
            problems, SEVERITY_ERROR, "no-madt",
            "there is no usable MADT, and MP Services lists no processor either, so no APIC "
            "ID is known");
    }
    memory_free(firmware, census.entries, census.pages);
    return status;
}

enum status processors_gather(const struct firmware *firmware, const struct phys *phys,
                              uint64_t rsdp, const struct options *options,
                              const struct problems *problems, struct machine *machine)
{
    struct problems milder = {tell_milder, NULL};
    const struct inventory *inventory = &machine->inventory;
    struct acpi_table madt;

    count_by_mp_services(firmware, problems, machine);
    milder.context = (void *)(uintptr_t)problems;
    const struct problems *of_table = machine->mp_services > 0 ? &milder : problems;
    enum status status = find_madt(phys, rsdp, of_table, &madt);
    if (status == STATUS_OK)
        status = read_table(firmware, &madt, INVENTORY_MADT, options, problems, of_table, machine);
    if (status == STATUS_NO_SPACE)
        return status;
    if (status != STATUS_OK || (inventory->enabled == 1 && !inventory->bsp_listed))
        status = fall_back(firmware, status, options, problems, machine);
    if (status == STATUS_OK)
        compare_counts(problems, machine);
    return status;
}
