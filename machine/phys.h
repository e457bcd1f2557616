// Physical memory as firmware's tables see it: an address and a length that must be proved before
// they are read. On the target the view is the memory map; in tests and fuzzers a buffer.
#pragma once

#include <stddef.h>
#include <stdint.h>

struct phys {
    // Returns a pointer to `bytes` readable bytes at physical address `address`, or NULL if any of
    // them is not memory, or the range wraps. Alignment is not promised.
    const void *(*view)(const void *context, uint64_t address, uint64_t bytes);
    const void *context;
};
