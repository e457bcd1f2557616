// Faults on purpose: where each one is put, through the engine's door alone. Nothing here runs
// unless inject= is spelt out.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "acpi.h"
#include "injection.h"
#include "inventory.h"
#include "options.h"
#include "plan.h"
#include "problem.h"
#include "smp.h"
#include "status.h"

// The faults of a run, and what tells whose they are.
struct injector {
    const struct injection *faults; // in effect: a run that follows a reset has none
    size_t count;
    const struct plan *plan; // NULL until there is one: only inject_has may be asked before
    uint32_t decoy_page;     // below 1 MiB, full of HLT instructions, for bad-vector; else 0
};

bool inject_has(const struct injector *injector, enum fault_kind kind);

// Tells, loudly, what is injected, and refuses what cannot be: a CPU that is not woken, a message
// that a broadcast cannot withhold.
enum status inject_check(const struct injector *injector, const struct problems *problems);

// Faults of the MADT (ghost, unlisted, duplicate): writes an edited copy of the table. `inventory`
// is what the table said before. `copy` holds inject_madt_bytes bytes. Returns false, without
// writing, if there are none.
size_t inject_madt_bytes(const struct acpi_table *madt);
bool inject_edit_madt(const struct acpi_table *madt, const struct inventory *inventory,
                      const struct options *options, uint8_t *copy, struct acpi_table *edited);

// Faults that APs commit by themselves, and the page's: once, after smp_fill_page has proved it.
void inject_arm(struct smp *smp, const struct injector *injector);

// Is one of the faults a message's? Then inject_filter is to be smp_host.filter, with the injector
// as its context.
bool inject_has_messages(const struct injector *injector);
bool inject_filter(void *context, struct smp_message *message);

// Is the AP in this slot to say nothing in its turn?
bool inject_is_mute(const struct injector *injector, uint32_t slot);

// Is the AP in this slot to stay in what it is called for? Asked by that very AP.
bool inject_hangs_in_call(const struct injector *injector, uint32_t slot);

// Is there a fault that keeps the AP in this slot from fetching anything that could leave a trace?
bool inject_silences(const struct injector *injector, uint32_t slot);

// Between smp_wake and the turns, each AP has `us` to leave its evidence: sends the NMIs.
void inject_send_nmis(struct smp *smp, const struct injector *injector, uint64_t us);

// After the turns: waits for the faults of those who are done.
void inject_await_idle_faults(const struct smp *smp, const struct injector *injector, uint64_t us);
