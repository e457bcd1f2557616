// The address space that all processors share after the exit, and the proof that it holds what they
// need. Identity-mapped, each page writable or executable and never both; the null page and the
// guard pages are holes.
#pragma once

#include "lcpu.h"
#include "machine.h"
#include "page_table.h"
#include "problem.h"
#include "status.h"

// Lists memory that the BSP or an AP touches after the exit; whole pages are meant. It is mapped
// even where the memory map does not call it RAM: firmware may grant memory out of a piece that it
// reports as reserved all along. NULL is nothing. A ninth piece is a mistake of ours:
// STATUS_NO_SPACE.
enum status address_space_own(struct machine *machine, const char *name, const void *memory,
                              uint64_t bytes);

// Page-table pages that address_space_build needs at most for `count` processors.
size_t address_space_bound(const struct machine *machine, size_t count);

// Fills the arena's page tables for this machine. machine->low_page may still be 0:
// address_space_place adds the page when it is known.
enum status address_space_build(const struct machine *machine, const struct arena *arena,
                                const struct problems *problems, struct page_tables *tables);

// Maps the trampoline's page executable where it is, and writable at the arena's window.
enum status address_space_place(const struct machine *machine, const struct arena *arena,
                                const struct problems *problems, struct page_tables *tables);

// Walks the finished tables for every address that an AP or the BSP will touch, and tells each that
// is not mapped as it must be, with the level at which the walk ended. `entry` is the AP's first
// function.
enum status address_space_prove(const struct machine *machine, const struct arena *arena,
                                uint64_t entry, const struct problems *problems,
                                const struct page_tables *tables);
