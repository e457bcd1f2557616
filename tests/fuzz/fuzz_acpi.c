// Fuzzer: RSDP -> root table -> MADT -> inventory. The input is a machine's whole physical memory,
// with the RSDP at its first byte; an input that begins with "APIC" is also read as a bare MADT.
// Surprise: view() hands out copies of exactly the bytes asked for, so that a read of one byte that
// was not proved is a crash here, though it would be inside the input.
#include "fuzz.h"

#include "inventory.h"
#include "madt_edit.h"

// Where the memory stands: below 4 GiB, so that an RSDT can point into it. tests/data/make_madt.py
// knows it.
#define MEMORY_BASE 0x10000u

struct view {
    struct view *older;
    uint8_t bytes[];
};

struct memory {
    const uint8_t *bytes;
    size_t size;
    struct view *views;
};

static const void *view(const void *context, uint64_t address, uint64_t bytes)
{
    struct memory *memory = *(struct memory *const *)context;
    if (address < MEMORY_BASE || address - MEMORY_BASE > memory->size ||
        bytes > memory->size - (address - MEMORY_BASE))
        return NULL;
    struct view *copy = malloc(sizeof *copy + bytes);
    MUST(copy != NULL);
    memcpy(copy->bytes, memory->bytes + (address - MEMORY_BASE), bytes);
    copy->older = memory->views;
    memory->views = copy;
    return copy->bytes;
}

static void forget_views(struct memory *memory)
{
    while (memory->views != NULL) {
        struct view *older = memory->views->older;
        free(memory->views);
        memory->views = older;
    }
}

// Every error names the place, by its address or offset, or says how long the thing is.
static void tell(void *context, enum severity severity, const char *what, const char *detail)
{
    told_add(context, severity, what, detail);
    MUST(severity != SEVERITY_ERROR || strpbrk(detail, "0123456789") != NULL);
}

static int by_apic_id(const void *left, const void *right)
{
    uint32_t a = ((const struct cpu *)left)->apic_id;
    uint32_t b = ((const struct cpu *)right)->apic_id;
    return (a > b) - (a < b);
}

// What inventory.h promises of any inventory that could be read.
static void check_inventory(struct inventory *inventory, enum status status, uint32_t bsp_apic_id,
                            const struct told *told)
{
    struct cpu *cpus = inventory->cpus;
    MUST(status == (inventory->truncated ? STATUS_TRUNCATED : STATUS_OK));
    MUST((told->errors != 0) == inventory->truncated);
    MUST(inventory->count == (size_t)inventory->enabled + inventory->disabled);
    MUST(inventory->count <= inventory->capacity);
    MUST(!(inventory->truncated && inventory->checksum_ok) || told->errors == 1);
    if (bsp_apic_id != BSP_UNKNOWN)
        MUST(inventory->enabled > 0 && cpus[0].apic_id == bsp_apic_id);
    for (size_t i = 0; i < inventory->count; i++) {
        enum cpu_listing expected = i < inventory->enabled ? CPU_LISTED : CPU_DISABLED;
        MUST(cpus[i].listing == (i == 0 && inventory->enabled > 0 ? CPU_BSP : expected));
    }
    qsort(cpus, inventory->enabled, sizeof cpus[0], by_apic_id);
    for (size_t i = 1; i < inventory->enabled; i++)
        MUST(cpus[i].apic_id != cpus[i - 1].apic_id);
}

static void read_inventory(const struct acpi_table *madt, uint32_t bsp_apic_id)
{
    struct told told = {0, 0};
    struct problems problems = {tell, &told};
    struct inventory inventory = {.capacity = inventory_capacity(madt)};
    inventory.cpus = calloc(inventory.capacity, sizeof *inventory.cpus);
    uint64_t *keys = calloc(inventory.capacity, sizeof *keys);
    MUST(inventory.cpus != NULL && keys != NULL);
    enum status status = inventory_read(madt, bsp_apic_id, keys, &problems, &inventory);
    if (status == STATUS_INVALID)
        MUST(told.errors == 1 && inventory.count == 0);
    else
        check_inventory(&inventory, status, bsp_apic_id, &told);
    free(keys);
    free(inventory.cpus);
}

// A processor that is added is one more, and one that is removed is gone with all its repeats.
static void edit(const struct acpi_table *madt)
{
    const struct problems nobody = {problems_ignore, NULL};
    struct inventory inventory = {.capacity = inventory_capacity(madt) + 1};
    inventory.cpus = calloc(inventory.capacity, sizeof *inventory.cpus);
    uint64_t *keys = calloc(inventory.capacity, sizeof *keys);
    uint8_t *bytes = malloc(madt->length + MADT_X2APIC_BYTES);
    MUST(inventory.cpus != NULL && keys != NULL && bytes != NULL);
    if (inventory_read(madt, BSP_UNKNOWN, keys, &nobody, &inventory) == STATUS_OK &&
        inventory.enabled > 1) {
        const uint32_t enabled = inventory.enabled, disabled = inventory.disabled;
        const struct cpu removed = inventory.cpus[enabled - 1];
        struct madt_draft draft = madt_copy(madt, bytes);
        for (uint32_t left = enabled - 1; left <= enabled; left++) {
            madt_remove(&draft, removed.apic_id);
            if (left == enabled)
                madt_add(&draft, &removed);
            const struct acpi_table edited = madt_finish(&draft);
            MUST(inventory_read(&edited, BSP_UNKNOWN, keys, &nobody, &inventory) == STATUS_OK);
            MUST(inventory.checksum_ok && inventory.enabled == left);
            MUST(inventory.disabled == disabled);
        }
    }
    free(bytes);
    free(keys);
    free(inventory.cpus);
}

static void read_both_ways(const struct acpi_table *madt)
{
    read_inventory(madt, BSP_UNKNOWN);
    read_inventory(madt, 2);
    edit(madt);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct memory memory = {data, size, NULL};
    struct memory *context = &memory;
    struct phys phys = {view, &context};
    for (uint32_t instance = 0; instance < 3; instance++) {
        struct told told = {0, 0};
        struct problems problems = {tell, &told};
        struct acpi_table madt;
        enum status status =
            acpi_find_table(&phys, MEMORY_BASE, "APIC", instance, &problems, &madt);
        MUST(told.warnings + told.errors <= 8); // however bad the tables, a person reads this
        MUST((status == STATUS_INVALID) == (told.errors != 0));
        if (status == STATUS_OK) {
            MUST(madt.length >= ACPI_HEADER_BYTES && madt.length <= size);
            read_both_ways(&madt);
        } else {
            MUST(status == STATUS_INVALID || status == STATUS_NOT_FOUND);
        }
        forget_views(&memory);
    }
    if (size >= 4 && memcmp(data, "APIC", 4) == 0)
        read_both_ways(&(struct acpi_table){data, size});
    return 0;
}
