// Faults on purpose: where each one is put. Nothing here runs unless inject= is spelt out.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "acpi.h"
#include "inventory.h"
#include "lcpu.h"
#include "options.h"
#include "plan.h"
#include "problem.h"
#include "status.h"

static inline bool fault_is_set(uint32_t faults, enum fault_kind kind)
{
    return faults & 1u << kind;
}

bool inject_has(const struct options *options, enum fault_kind kind);

// Tells, loudly, what is injected, and refuses what cannot be: a CPU that is not woken, a message
// that a broadcast cannot withhold.
enum status inject_check(const struct options *options, const struct plan *plan,
                         const struct problems *problems);

// Faults of the MADT (ghost, unlisted, duplicate): writes an edited copy of the table. `inventory`
// is what the table said before. `copy` holds inject_madt_bytes bytes. Returns false, without
// writing, if there are none.
size_t inject_madt_bytes(const struct acpi_table *madt);
bool inject_edit_madt(const struct acpi_table *madt, const struct inventory *inventory,
                      const struct options *options, uint8_t *copy, struct acpi_table *edited);

// Faults of the APs, into their records and accounts. For use after everything has been proved.
void inject_arm(const struct options *options, const struct plan *plan, const struct arena *arena,
                uint32_t pml4);

// What becomes of one message (an ICR command) to an AP with these faults in this try: false, it is
// not sent; else `command` may have been falsified. `decoy_page` is a page of HLT instructions.
bool inject_message(uint32_t faults, uint32_t try, uint32_t decoy_page, uint32_t *command);
