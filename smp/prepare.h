// Preparing: the page below 1 MiB filled for this machine and this plan, and proved.
#pragma once

#include "address_space.h"
#include "lcpu.h"
#include "machine.h"
#include "plan.h"
#include "problem.h"
#include "trampoline.h"

// What the APs are told, from facts and plan.
struct trampoline_parameters prepare_parameters(const struct machine *machine,
                                                const struct plan *plan, const struct arena *arena,
                                                const struct page_tables *tables);

// Copies, patches, fills and compares the page at machine->low_page, which must be mapped already
// (address_space_place) and is written through `view`; then walks the tables for all that an AP
// touches. `entry` is the AP's first function in C. Returns STATUS_OK, or the first failure after
// telling each.
enum status prepare_page(const struct machine *machine, const struct arena *arena,
                         const struct trampoline *trampoline,
                         const struct trampoline_parameters *parameters, uint64_t entry,
                         const struct problems *problems, const struct page_tables *tables,
                         uint8_t *view, size_t *relocations);
