// Page tables of our own: identity-mapped, four or five levels as the BSP runs, from memory that is
// given. Pure: entries are written through a pointer and computed with physical addresses, so the
// same code builds tables in a host test and walks them there. (SDM vol. 3A, chapter "Paging".)
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "page.h"
#include "smp.h"
#include "status.h"

// Where tables are built. The pool is page-aligned and belongs to the caller; pool_phys is its
// physical address (the same number on the target, anything below 4 GiB in tests).
struct page_tables {
    uint8_t *pool;
    uint64_t pool_phys;
    size_t pool_pages;
    size_t pages_used;  // the root is page 0 of the pool
    uint32_t levels;    // 4 or 5
    bool gib_pages;     // CPUID 0x80000001 EDX[26]
    bool no_execute;    // CPUID 0x80000001 EDX[20]; without it all can be executed
    uint32_t phys_bits; // MAXPHYADDR, 32..52
};

// How many pool pages mapping [phys, phys + bytes) can take at most, the root not counted: the
// caller adds the bounds of all ranges, unmapped ones included. Large pages are used wherever
// alignment allows. For virt == phys; 0 for a range that page_tables_map refuses.
size_t page_tables_bound(const struct page_tables *tables, uint64_t phys, uint64_t bytes);

// The same for any number of calls inside [virt, virt + bytes) that do not overlap one another (an
// area with many guard pages), or for one mapping of it with virt != phys.
size_t page_tables_bound_by_page(const struct page_tables *tables, uint64_t virt, uint64_t bytes);

// Takes the root page from the pool. The other fields are set by the caller.
// Returns STATUS_OK, STATUS_INVALID (levels, phys_bits, a pool that is not page-aligned or whose
// root is not below 4 GiB), STATUS_NO_SPACE (an empty pool).
enum status page_tables_start(struct page_tables *tables);

// Maps [virt, virt + bytes) to phys with the given rights (enum smp_rights, how it is mapped and no
// more); all three page-aligned, bytes not 0.
// Overrides what was mapped there before; a large page in the way is split. The last call wins, so
// a wide range is mapped first and holes are cut into it later. Returns STATUS_OK, STATUS_INVALID
// (alignment, written and executed, two memory types, beyond phys_bits, not canonical),
// STATUS_NO_SPACE (then each page of the range is as before or as asked, and no other is touched).
enum status page_tables_map(struct page_tables *tables, uint64_t virt, uint64_t phys,
                            uint64_t bytes, uint32_t rights);

// Unmaps [virt, virt + bytes): a guard page, the null page. Takes pool pages only to split large
// ones. Returns as page_tables_map does.
enum status page_tables_unmap(struct page_tables *tables, uint64_t virt, uint64_t bytes);

// The result of a walk by software: what the processor would find.
struct page_walk {
    bool mapped;
    uint32_t level; // where the walk ended: 1 (page), 2 (2 MiB), 3 (1 GiB), or where it failed
    uint64_t phys;
    bool writable, executable, uncached, combining;
};

// Walks the tables for one virtual address: rights are those of all levels together.
struct page_walk page_tables_walk(const struct page_tables *tables, uint64_t virt);
