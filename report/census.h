// The census: what EFI MP Services says of each processor, beside the MADT and beside what the
// processors say themselves. Pure; each disagreement is told by name.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "console.h"
#include "machine.h"
#include "problem.h"
#include "topology.h"
#include "wake.h"

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

// Sorts `entries` by APIC ID, compares, and writes a record for each. `wake` is NULL where nobody
// was woken, and then nobody has said where it sits. Returns the number of disagreements told.
uint32_t census_compare(struct census_entry *entries, size_t count, const struct machine *machine,
                        const struct wake *wake, const struct problems *problems);
// May firmware be asked for its processors? It waits without end for one that ignores its INIT.
// So every wanted AP that it counts and has enabled must have answered us in this run; of others it
// knows nothing, and waits for none. `entries` sorted or not; `wake` after its last round.
bool census_allows_asking(struct census_entry *entries, size_t count, const struct wake *wake);
void census_report(struct console *console, const struct census_entry *entries, size_t count,
                   const struct wake *wake);
