// Where a processor sits: package, core, thread. Each processor reads its own, since only CPUID on
// that processor knows its ID and the widths of its parts.
#pragma once

#include <stdint.h>

struct topology {
    uint32_t known; // 1: the rest was read
    uint32_t package;
    uint32_t core;   // in its package, dies and modules included
    uint32_t thread; // in its core
};

// Reads the location of the processor that calls, whose APIC ID this is (SDM vol. 3A, "Hierarchical
// Mapping of Shared Resources"). For use with interrupts off: it must not move.
void topology_read(uint32_t apic_id, struct topology *topology);
