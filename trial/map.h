// The address space of a run: which memory and which devices the processors see after the exit, and
// with what rights. Pure.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "machine.h"
#include "smp.h"
#include "status.h"

// Memory of ours that is touched after the exit, by whatever type the memory map knows it: firmware
// may grant memory out of a piece that it reports as reserved all along.
struct own_memory {
    const char *name;
    struct range range; // whole pages
};

// The whole pages that these bytes touch; NULL or 0 bytes: none, as an empty range.
struct own_memory own_memory_of(const char *name, const void *memory, uint64_t bytes);

// How many regions map_regions writes at most.
size_t map_regions_most(const struct machine *machine, size_t own_count);

// Writes the regions of this machine, in the order in which they are to be mapped: RAM, our own
// memory, what the FADT names, then the image, the serial port and the frame buffers, which nothing
// is to take the place of. Returns how many.
size_t map_regions(const struct machine *machine, const struct own_memory *own, size_t own_count,
                   struct smp_region *regions);
