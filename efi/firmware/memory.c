// Memory, as firmware describes and gives it.
// Surprise: some firmware hands out page 0, some says that a page is free and it is not memory, and
// some has nothing below 1 MiB to give although half of it is boot-services data that is ours after
// the exit.

#include "memory.h"

#include "hw.h"
#include "mem.h"
#include "page.h"
#include "tell.h"

#define LOW_LIMIT    0xa0000u // the VGA window begins, and with it what is not memory
#define MIB          0x100000u
#define FOUR_GIB_TOP 0xffffffffu
#define LOW_TRIES    16u

// Growth of the map between our reading it and the exit: the call itself, and what drivers'
// handlers allocate, two descriptors a piece at most. Some allocate hundreds of pieces; before UEFI
// 2.9 nobody may allocate a larger buffer then. 1024 descriptors of 48 bytes take 48 KiB.
#define MAP_SPARE_DESCRIPTORS 1024u
#define MAP_SPARE_MIN         512u // what is left of it before it is renewed

// The descriptor behind `last`, or the first one behind NULL; NULL at the end. They stand
// firmware->descriptor_bytes apart, which may be more than the structure that we know.
static const EFI_MEMORY_DESCRIPTOR *next_descriptor(const struct firmware *firmware,
                                                    const EFI_MEMORY_DESCRIPTOR *last)
{
    const UINTN step = firmware->descriptor_bytes;
    const UINTN at = last ? (UINTN)((const uint8_t *)last - firmware->map) + step : 0;

    return at + step <= firmware->map_bytes
               ? (const EFI_MEMORY_DESCRIPTOR *)(const void *)(firmware->map + at)
               : NULL;
}

// The end of a descriptor, or 0 if it wraps or does not begin on a page.
static uint64_t end_of(const EFI_MEMORY_DESCRIPTOR *descriptor)
{
    const uint64_t pages_max = (UINT64_MAX - descriptor->PhysicalStart) / PAGE_BYTES;
    if (descriptor->PhysicalStart % PAGE_BYTES != 0 || descriptor->NumberOfPages > pages_max)
        return 0;
    return descriptor->PhysicalStart + descriptor->NumberOfPages * PAGE_BYTES;
}

static bool is_memory(uint32_t type)
{
    switch (type) {
    case EfiLoaderCode:
    case EfiLoaderData:
    case EfiBootServicesCode:
    case EfiBootServicesData:
    case EfiRuntimeServicesCode:
    case EfiRuntimeServicesData:
    case EfiConventionalMemory:
    case EfiACPIReclaimMemory:
    case EfiACPIMemoryNVS:
        return true;
    default:
        return false;
    }
}

void *memory_allocate(const struct firmware *firmware, size_t pages)
{
    EFI_PHYSICAL_ADDRESS address = FOUR_GIB_TOP;
    if (EFI_ERROR(
            firmware->boot->AllocatePages(AllocateMaxAddress, EfiLoaderData, pages, &address)))
        return NULL;
    return (void *)(uintptr_t)address;
}

void memory_free(const struct firmware *firmware, void *memory, size_t pages)
{
    if (memory)
        firmware->boot->FreePages((uintptr_t)memory, pages);
}

// A map that could not be read is an empty one, never an old or a half-believed one.
static enum status forget_map(struct firmware *firmware, enum status status)
{
    firmware->map_bytes = 0;
    firmware->descriptor_bytes = sizeof(EFI_MEMORY_DESCRIPTOR);
    return status;
}

static bool map_is_sane(const struct firmware *firmware)
{
    return firmware->descriptor_bytes >= sizeof(EFI_MEMORY_DESCRIPTOR) &&
           firmware->descriptor_bytes % _Alignof(EFI_MEMORY_DESCRIPTOR) == 0 &&
           firmware->map_bytes <= firmware->map_capacity;
}

static UINTN spare_descriptors(const struct firmware *firmware)
{
    return (firmware->map_capacity - firmware->map_bytes) / firmware->descriptor_bytes;
}

enum status memory_read_map(struct firmware *firmware)
{
    UINT32 version;

    for (int attempt = 0; attempt < 4; attempt++) {
        firmware->map_bytes = firmware->map_capacity;
        const EFI_STATUS status = firmware->boot->GetMemoryMap(
            &firmware->map_bytes, (EFI_MEMORY_DESCRIPTOR *)(void *)firmware->map,
            &firmware->map_key, &firmware->descriptor_bytes, &version);
        const bool too_small = status == EFI_BUFFER_TOO_SMALL;
        if (!too_small && (EFI_ERROR(status) || !map_is_sane(firmware)))
            return forget_map(firmware, STATUS_INVALID);
        if (!too_small && spare_descriptors(firmware) >= MAP_SPARE_MIN)
            return STATUS_OK;
        memory_free(firmware, firmware->map, firmware->map_capacity / PAGE_BYTES);
        const UINTN wanted =
            firmware->map_bytes + MAP_SPARE_DESCRIPTORS * (firmware->descriptor_bytes | 48);
        firmware->map_capacity = (wanted + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
        firmware->map = memory_allocate(firmware, firmware->map_capacity / PAGE_BYTES);
        if (!firmware->map) {
            firmware->map_capacity = 0;
            return forget_map(firmware, STATUS_NO_SPACE);
        }
    }
    return forget_map(firmware, STATUS_NO_SPACE);
}

// Keeps the list ascending. A step or none each time, since firmware's maps nearly are already.
static void insert_range(struct range *ranges, size_t *count, struct range added)
{
    size_t at = *count;
    for (; at > 0 && ranges[at - 1].phys > added.phys; at--)
        ranges[at] = ranges[at - 1];
    ranges[at] = added;
    ++*count;
}

// Makes one of ranges that touch or overlap, in an ascending list. Returns how many are left.
static size_t merge_ranges(struct range *ranges, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        struct range *last = kept > 0 ? &ranges[kept - 1] : NULL;
        if (last && ranges[i].phys <= last->phys + last->bytes) {
            const uint64_t end = ranges[i].phys + ranges[i].bytes;
            if (end > last->phys + last->bytes)
                last->bytes = end - last->phys;
        } else {
            ranges[kept++] = ranges[i];
        }
    }
    return kept;
}

enum status memory_collect_ram(struct firmware *firmware, struct machine *machine)
{
    const EFI_MEMORY_DESCRIPTOR *descriptor = NULL;

    enum status status = memory_read_map(firmware);
    if (status != STATUS_OK)
        return status;
    const size_t bytes = firmware->map_bytes / firmware->descriptor_bytes * sizeof(struct range);
    machine->ram_count = 0;
    machine->ram_pages = bytes / PAGE_BYTES + 1;
    machine->ram = memory_allocate(firmware, machine->ram_pages);
    if (!machine->ram)
        return STATUS_NO_SPACE;
    while ((descriptor = next_descriptor(firmware, descriptor)) != NULL) {
        const uint64_t end = end_of(descriptor);
        if (!is_memory(descriptor->Type) || end <= descriptor->PhysicalStart)
            continue;
        insert_range(machine->ram, &machine->ram_count,
                     (struct range){descriptor->PhysicalStart, end - descriptor->PhysicalStart});
    }
    machine->ram_count = merge_ranges(machine->ram, machine->ram_count);
    return STATUS_OK;
}

// ACPI tables may lie in types that are not memory to us, and the oldest ones in the BIOS area,
// which maps leave out. What nobody has allocated cannot hold a table, and firmware may have closed
// it (EFI_MEMORY_RP).
static bool is_readable(uint32_t type)
{
    return (is_memory(type) && type != EfiConventionalMemory) || type == EfiReservedMemoryType;
}

const void *memory_view(const void *context, uint64_t address, uint64_t bytes)
{
    const struct firmware *firmware = context;
    const uint64_t bios_start = 0xe0000, bios_end = MIB;

    if (address == 0 || bytes > UINT64_MAX - address)
        return NULL;
    if (address >= bios_start && address + bytes <= bios_end)
        return (const void *)(uintptr_t)address;
    // Neighbours that are readable join: a table may straddle two descriptors.
    uint64_t reached = address;
    for (bool moved = true; moved && reached < address + bytes;) {
        moved = false;
        const EFI_MEMORY_DESCRIPTOR *descriptor = NULL;
        while ((descriptor = next_descriptor(firmware, descriptor)) != NULL) {
            const uint64_t end = end_of(descriptor);
            if (is_readable(descriptor->Type) && descriptor->PhysicalStart <= reached &&
                reached < end) {
                reached = end;
                moved = true;
            }
        }
    }
    return reached >= address + bytes ? (const void *)(uintptr_t)address : NULL;
}

bool memory_is_ram(const struct firmware *firmware, uint64_t address)
{
    const EFI_MEMORY_DESCRIPTOR *descriptor = NULL;

    while ((descriptor = next_descriptor(firmware, descriptor)) != NULL) {
        if (is_memory(descriptor->Type) && descriptor->PhysicalStart <= address &&
            address < end_of(descriptor))
            return true;
    }
    return false;
}

uint32_t memory_count_free(const struct firmware *firmware, uint64_t limit)
{
    const EFI_MEMORY_DESCRIPTOR *descriptor = NULL;
    uint64_t pages = 0;

    while ((descriptor = next_descriptor(firmware, descriptor)) != NULL) {
        const uint64_t end = end_of(descriptor) < limit ? end_of(descriptor) : limit;
        if (descriptor->Type == EfiConventionalMemory && descriptor->PhysicalStart < end)
            pages += (end - descriptor->PhysicalStart) / PAGE_BYTES;
    }
    return (uint32_t)pages;
}

bool memory_is_writable(uint64_t phys)
{
    static const uint8_t patterns[] = {0x55, 0xaa};
    volatile uint8_t *const places[] = {
        (volatile uint8_t *)(uintptr_t)phys,
        (volatile uint8_t *)(uintptr_t)(phys + PAGE_BYTES - 1),
    };
    bool writable = true;

    for (size_t place = 0; place < 2; place++) {
        const uint8_t kept = *places[place];
        for (size_t i = 0; i < sizeof patterns; i++) {
            *places[place] = patterns[i];
            hw_flush((const void *)(uintptr_t)places[place], 1); // a cache alone can keep it
            if (*places[place] != patterns[i])
                writable = false;
        }
        *places[place] = kept;
    }
    return writable;
}

static bool is_usable(EFI_PHYSICAL_ADDRESS page)
{
    return page != 0 && page < LOW_LIMIT && memory_is_writable(page);
}

// Asks firmware for any page, and keeps those that cannot be used until a good one has come, so
// that none is handed out twice.
static uint32_t take_any_page(const struct firmware *firmware)
{
    EFI_PHYSICAL_ADDRESS rejected[LOW_TRIES];
    size_t count = 0;
    uint32_t found = 0;

    while (count < LOW_TRIES) {
        EFI_PHYSICAL_ADDRESS page = LOW_LIMIT - 1;
        if (EFI_ERROR(firmware->boot->AllocatePages(AllocateMaxAddress, EfiLoaderCode, 1, &page)))
            break;
        if (is_usable(page)) {
            found = (uint32_t)page;
            break;
        }
        rejected[count++] = page;
    }
    while (count > 0)
        firmware->boot->FreePages(rejected[--count], 1);
    return found;
}

// Pages that firmware still needs to be left, and to be called for a reset: its root page table,
// GDT, IDT, and the stack that we run on.
static bool is_vital(const struct firmware *firmware, uint64_t page)
{
    const uint64_t vital[] = {
        firmware->cr3,
        firmware->tables.gdt.base,
        firmware->tables.idt.base,
        (uintptr_t)__builtin_frame_address(0),
    };
    for (size_t i = 0; i < sizeof vital / sizeof vital[0]; i++) {
        if (vital[i] / PAGE_BYTES == page / PAGE_BYTES)
            return true;
    }
    return false;
}

// A page of this type below 640 KiB, each descriptor from its end down; with `claim` it is
// allocated. 0: there is none.
static uint32_t find_page(const struct firmware *firmware, uint32_t type, bool claim)
{
    const EFI_MEMORY_DESCRIPTOR *descriptor = NULL;

    while ((descriptor = next_descriptor(firmware, descriptor)) != NULL) {
        uint64_t end = end_of(descriptor);
        if (descriptor->Type != type || descriptor->PhysicalStart >= LOW_LIMIT)
            continue;
        if (end > LOW_LIMIT)
            end = LOW_LIMIT;
        while (end > descriptor->PhysicalStart && end > PAGE_BYTES) {
            EFI_PHYSICAL_ADDRESS page = end -= PAGE_BYTES;
            if (claim &&
                EFI_ERROR(firmware->boot->AllocatePages(AllocateAddress, EfiLoaderCode, 1, &page)))
                continue;
            // What is not ours yet is not written to: it is proved after the exit.
            if (!claim && is_vital(firmware, page))
                continue;
            if (!claim || is_usable(page))
                return (uint32_t)page;
            firmware->boot->FreePages(page, 1);
        }
    }
    return 0;
}

static void tell_low_memory(const struct firmware *firmware, const struct problems *problems)
{
    const EFI_MEMORY_DESCRIPTOR *descriptor = NULL;

    problem_tell(
        problems, SEVERITY_ERROR, "no-low-page",
        "no usable page below 0xa0000, neither free nor boot-services memory; the map below 1 "
        "MiB follows");
    while ((descriptor = next_descriptor(firmware, descriptor)) != NULL) {
        if (descriptor->PhysicalStart >= MIB)
            continue;
        problem_tell(problems, SEVERITY_ERROR, "low-memory",
                     "type %u at %x, %u pages, attributes %x", (uint64_t)descriptor->Type,
                     descriptor->PhysicalStart, descriptor->NumberOfPages, descriptor->Attribute);
    }
}

static enum status read_map_again(struct firmware *firmware, const struct problems *problems)
{
    const enum status status = memory_read_map(firmware);

    if (status != STATUS_OK)
        problem_tell(problems, SEVERITY_ERROR, "no-memory-map",
                     "the memory map could not be read again, for a page below 1 MiB");
    return status;
}

enum status memory_find_late_page(struct firmware *firmware, const struct problems *problems,
                                  uint32_t *page)
{
    const enum status status = read_map_again(firmware, problems);
    if (status != STATUS_OK)
        return status;
    if ((*page = find_page(firmware, EfiBootServicesData, false)) != 0 ||
        (*page = find_page(firmware, EfiBootServicesCode, false)) != 0)
        return STATUS_OK;
    tell_low_memory(firmware, problems);
    return STATUS_NOT_FOUND;
}

enum status memory_take_low_page(struct firmware *firmware, const struct problems *problems,
                                 uint32_t *page, uint32_t *after_exit)
{
    *after_exit = 0;
    if ((*page = take_any_page(firmware)) != 0)
        return STATUS_OK;
    const enum status status = read_map_again(firmware, problems);
    if (status != STATUS_OK)
        return status;
    if ((*page = find_page(firmware, EfiConventionalMemory, true)) != 0)
        return STATUS_OK;
    return memory_find_late_page(firmware, problems, after_exit);
}
