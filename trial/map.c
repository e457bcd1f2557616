// Which memory and which devices, and what for. Surprise: the order is part of the answer, since a
// later region takes the place of an earlier one. What a table of firmware's names comes before
// all that is needed for certain.

#include "map.h"

#include <stdbool.h>

#include "page.h"

struct list {
    struct smp_region *regions;
    size_t count;
};

// Where a processor sees it is where it lies.
static void add(struct list *list, const char *name, struct range range, uint32_t rights)
{
    if (range.bytes != 0)
        list->regions[list->count++] =
            (struct smp_region){name, range.phys, range.phys, range.bytes, rights};
}

static struct range pages_of(uint64_t first, uint64_t bytes)
{
    const uint64_t from = first / PAGE_BYTES * PAGE_BYTES;
    const uint64_t end = (first + bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    return (struct range){from, bytes != 0 ? end - from : 0};
}

struct own_memory own_memory_of(const char *name, const void *memory, uint64_t bytes)
{
    return (struct own_memory){name, pages_of((uintptr_t)memory, memory ? bytes : 0)};
}

static void add_reset_register(struct list *list, const struct fadt *fadt)
{
    const bool mapped = fadt->can_reset && fadt->reset_space == GAS_MEMORY;
    add(list, "reset register", pages_of(fadt->reset_address, mapped ? 1 : 0),
        SMP_WRITE | SMP_UNCACHED);
}

static void add_image(struct list *list, const struct image *image)
{
    add(list, "code", image->text, SMP_EXECUTE | SMP_NEEDED);
    add(list, "constants", image->rodata, SMP_READ | SMP_NEEDED);
    add(list, "data", image->data, SMP_WRITE | SMP_NEEDED);
}

// All pixels are written one after another and never read: combined, where a processor can.
static void add_framebuffers(struct list *list, const struct machine *machine)
{
    const uint32_t how = machine->processor.pat ? SMP_COMBINING : SMP_UNCACHED;

    for (size_t i = 0; i < machine->framebuffer_count; i++) {
        const struct framebuffer *framebuffer = &machine->framebuffers[i];
        add(list, "a frame buffer",
            pages_of(framebuffer->phys, framebuffer_drawn_bytes(framebuffer)),
            SMP_WRITE | how | SMP_NEEDED);
    }
}

size_t map_regions_most(const struct machine *machine, size_t own_count)
{
    // The reset register, the image's three parts, the serial port.
    return machine->ram_count + own_count + 1 + 3 + 1 + machine->framebuffer_count;
}

size_t map_regions(const struct machine *machine, const struct own_memory *own, size_t own_count,
                   struct smp_region *regions)
{
    struct list list = {.regions = regions};

    for (size_t i = 0; i < machine->ram_count; i++)
        add(&list, "RAM", machine->ram[i], SMP_WRITE);
    for (size_t i = 0; i < own_count; i++)
        add(&list, own[i].name, own[i].range, SMP_WRITE | SMP_FILL | SMP_NEEDED);
    add_reset_register(&list, &machine->fadt);
    add_image(&list, &machine->image);
    add(&list, "serial port", pages_of(machine->serial_mmio, machine->serial_mmio != 0 ? 1 : 0),
        SMP_WRITE | SMP_UNCACHED | SMP_NEEDED);
    add_framebuffers(&list, machine);
    return list.count;
}
