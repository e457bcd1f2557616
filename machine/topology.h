// Where a processor sits, and what kind of core it is part of. Each processor reads its own, since
// only CPUID on that processor knows its ID, the widths of its parts and its kind.
#pragma once

#include <stdbool.h>
#include <stdint.h>

// What cores may share below the package. A complex is AMD's: cores with one L3 cache.
enum domain { DOMAIN_MODULE, DOMAIN_COMPLEX, DOMAIN_TILE, DOMAIN_DIE, DOMAIN_DIE_GROUP, DOMAINS };

// Of a processor whose cores differ. Unknown: they do not, or CPUID has no word for it.
enum core_kind {
    CORE_UNKNOWN,
    CORE_PERFORMANCE,
    CORE_EFFICIENCY,
    CORE_LOW_POWER, // an efficiency core outside the L3 cache
    CORE_KINDS
};

struct topology {
    uint32_t package;
    uint32_t core;   // in its package, whatever lies between them included
    uint32_t thread; // in its core
    struct {
        bool named;      // CPUID names such a domain, and there can be several in a package
        uint32_t number; // in its package
    } domains[DOMAINS];
    enum core_kind kind;
};

// Reads it for the processor that calls, whose APIC ID this is (SDM vol. 3A, "Hierarchical Mapping
// of Shared Resources"). For use with interrupts off: it must not move.
void topology_read(uint32_t apic_id, struct topology *topology);

// As in records: "module", "die_group".
const char *domain_word(enum domain domain);

// "p", "e", "lp"; "unknown".
const char *core_kind_word(enum core_kind kind);
