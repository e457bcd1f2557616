// Who is there, by the MADT or by MP Services.
#pragma once

#include "census.h"
#include "firmware.h"
#include "machine.h"
#include "options.h"
#include "phys.h"
#include "problem.h"
#include "status.h"

// By the MADT, or by MP Services where there is none to be used, into machine->inventory; and how
// many MP Services counts. machine->bsp_apic_id must have been read. Returns STATUS_OK, or after
// telling why what acpi_find_table and inventory_read return, and STATUS_NO_SPACE.
enum status processors_gather(const struct firmware *firmware, const struct phys *phys,
                              uint64_t rsdp, const struct options *options,
                              const struct problems *problems, struct machine *machine);

// MP Services' table of `count` processors, as far as it answers, into memory of its own.
void processors_read_census(const struct firmware *firmware, uint32_t count, struct census *census);
