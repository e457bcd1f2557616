// The census: what EFI MP Services says of each processor, beside the MADT and beside what the
// processors say themselves. Each disagreement is told by name.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "console.h"
#include "evidence.h"
#include "inject.h"
#include "machine.h"
#include "problem.h"

// One processor by MP Services.
struct census_entry {
    uint32_t apic_id;
    uint32_t handle; // its number there
    bool bsp, enabled, healthy;
    bool listed; // census_compare: the MADT has it as well
    uint32_t package, core, thread;
};

// MP Services' table; memory of its own.
struct census {
    struct census_entry *entries; // NULL: MP Services is absent, or there is no memory
    size_t count, pages;
};

// Sorts `entries` by APIC ID, compares, and tells each disagreement. NULL evidence: nobody was
// woken, and nobody has said where it sits.
void census_compare(struct census_entry *entries, size_t count, const struct machine *machine,
                    const struct evidence *evidence, const struct problems *problems);

// ev=mp for each entry, in their order.
void census_report(struct console *console, const struct census_entry *entries, size_t count,
                   const struct evidence *evidence);

// May firmware be asked for its processors? It waits without end for one that ignores its INIT. So
// every AP that was to be woken, and that firmware counts and has enabled, must have answered us in
// this run, or have been silenced on purpose; of others firmware knows nothing, and waits for none.
// Evidence of after the last round. Sorts `entries`.
bool census_allows_asking(struct census_entry *entries, size_t count,
                          const struct evidence *evidence, const struct injector *injector);
