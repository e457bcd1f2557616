// The address space of the APs, and the proof that it holds what they need: the engine's memory and
// the page below 1 MiB at their physical addresses, the caller's regions where it wants them. Each
// page is writable or executable and never both; the null page and the guard pages are holes.
#pragma once

#include "engine.h"
#include "problem.h"
#include "status.h"

// Page-table pages that address_space_build needs at most for this setup.
size_t address_space_bound(const struct smp_setup *setup);

// Fills the arena's page tables. Everything wrong is told.
enum status address_space_build(struct smp *smp);

// Maps the trampoline's page executable where it is, and writable at the arena's window.
enum status address_space_place(struct smp *smp, uint32_t page_phys);

// Walks the finished tables for every address that an AP or the caller will touch, and tells each
// that is not mapped as it must be, with the level at which the walk ended.
enum status address_space_prove(const struct smp *smp);
