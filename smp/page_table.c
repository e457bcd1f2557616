// Page tables: entries, splitting and the walk. Owns the bits of an entry; nobody else composes
// one. Surprise: nothing is ever given back to the pool. A large page that replaces a table, or an
// unmapped span, loses that table's page, so that a bound needs no knowledge of what was mapped
// before.
#include "page_table.h"

// SDM vol. 3A, "4-Level Paging and 5-Level Paging": formats of the entries.
#define ENTRY_PRESENT      (1ull << 0)
#define ENTRY_WRITABLE     (1ull << 1)
#define ENTRY_USER         (0ull << 2) // supervisor only
#define ENTRY_WRITE_THRU   (1ull << 3) // PWT
#define ENTRY_NO_CACHE     (1ull << 4) // PCD; with PWT: PAT entry 3, UC as after reset
#define ENTRY_ACCESSED     (1ull << 5)
#define ENTRY_DIRTY        (1ull << 6)
#define ENTRY_LARGE        (1ull << 7) // PS, in levels 2 and 3 only; in level 1 this bit is PAT
#define ENTRY_NO_EXECUTE   (1ull << 63)
#define ENTRY_ADDRESS_MASK 0x000FFFFFFFFFF000ull

// A table restricts nothing: the leaf alone holds the rights.
#define ENTRY_TABLE (ENTRY_PRESENT | ENTRY_WRITABLE | ENTRY_USER | ENTRY_ACCESSED)

#define ENTRIES_PER_TABLE 512u
#define LEVEL_2M          2u
#define LEVEL_1G          3u
#define LEVELS_MIN        4u
#define LEVELS_MAX        5u
#define PHYS_BITS_MIN     32u
#define PHYS_BITS_MAX     52u

_Static_assert(ENTRIES_PER_TABLE * sizeof(uint64_t) == PAGE_BYTES, "a table is one page");

// Bytes that one entry of a table of this level covers; level_bytes(levels + 1) is the whole space.
static uint64_t level_bytes(uint32_t level)
{
    return 1ull << (12 + 9 * (level - 1));
}

static uint32_t largest_page_level(const struct page_tables *tables)
{
    return tables->gib_pages ? LEVEL_1G : LEVEL_2M;
}

static bool is_page(uint64_t entry, uint32_t level)
{
    return level == 1 || (level <= LEVEL_1G && (entry & ENTRY_LARGE) != 0);
}

static uint64_t *table_at(const struct page_tables *tables, uint64_t phys)
{
    return (uint64_t *)(void *)(tables->pool + (phys - tables->pool_phys));
}

static uint64_t *entry_for(const struct page_tables *tables, uint64_t table_phys, uint32_t level,
                           uint64_t virt)
{
    return &table_at(tables, table_phys)[virt / level_bytes(level) % ENTRIES_PER_TABLE];
}

// Page-aligned, not empty, and wholly inside one canonical half (SDM vol. 1, "Canonical
// Addressing").
static bool virt_range_valid(const struct page_tables *tables, uint64_t virt, uint64_t bytes)
{
    uint64_t last = virt + (bytes - 1);
    uint64_t half_bytes = level_bytes(tables->levels + 1) / 2;
    uint64_t half = virt / half_bytes;

    return bytes != 0 && (virt | bytes) % PAGE_BYTES == 0 && last >= virt &&
           last / half_bytes == half && (half == 0 || half == UINT64_MAX / half_bytes);
}

static bool phys_range_valid(const struct page_tables *tables, uint64_t phys, uint64_t bytes)
{
    if (tables->phys_bits > PHYS_BITS_MAX)
        return false;
    uint64_t end = 1ull << tables->phys_bits;

    return phys % PAGE_BYTES == 0 && phys < end && bytes <= end - phys;
}

// Every table of a level below the root serves one span of the level above. A span that the range
// covers whole needs none, if one page can cover it: exact for empty tables, and an upper bound for
// any others, as tables that exist already can only save some.
static size_t tables_needed(const struct page_tables *tables, uint64_t virt, uint64_t bytes,
                            uint32_t largest_page)
{
    uint64_t count = 0;

    for (uint32_t level = 2; level <= tables->levels; level++) {
        uint64_t span = level_bytes(level);
        uint64_t first = virt / span;
        uint64_t last = (virt + (bytes - 1)) / span;
        uint64_t first_whole = first + (virt % span != 0);
        uint64_t end_whole = last + ((virt + bytes) % span == 0);

        count += last - first + 1;
        if (level <= largest_page && end_whole > first_whole)
            count -= end_whole - first_whole;
    }
    return (size_t)count;
}

// A fresh table whose entry i is first + i * step. Returns its physical address, or 0: page 0 of
// the pool is the root, so no other table is ever there.
static uint64_t take_table(struct page_tables *tables, uint64_t first, uint64_t step)
{
    if (tables->pages_used >= tables->pool_pages)
        return 0;
    uint64_t phys = tables->pool_phys + (uint64_t)tables->pages_used * PAGE_BYTES;
    uint64_t *table = table_at(tables, phys);

    tables->pages_used++;
    for (uint32_t i = 0; i < ENTRIES_PER_TABLE; i++)
        table[i] = first + i * step;
    return phys;
}

// Puts a table in the place of a page, or of nothing. It is filled before it is linked: every
// address finds what it found before. false: the pool is empty, and nothing has changed.
static bool grow_table(struct page_tables *tables, uint64_t *entry, uint32_t level)
{
    uint64_t first = 0, step = 0;

    if ((*entry & ENTRY_PRESENT) != 0) {
        step = level_bytes(level - 1);
        first = level - 1 == 1 ? *entry & ~ENTRY_LARGE : *entry;
    }
    uint64_t phys = take_table(tables, first, step);

    if (phys == 0)
        return false;
    *entry = phys | ENTRY_TABLE;
    return true;
}

static enum status set_page(struct page_tables *tables, uint64_t virt, uint32_t page_level,
                            uint64_t value)
{
    uint64_t table_phys = tables->pool_phys;

    for (uint32_t level = tables->levels;; level--) {
        uint64_t *entry = entry_for(tables, table_phys, level, virt);
        bool present = (*entry & ENTRY_PRESENT) != 0;

        if (level == page_level) {
            *entry = value;
            return STATUS_OK;
        }
        if (!present && value == 0)
            return STATUS_OK;
        if ((!present || is_page(*entry, level)) && !grow_table(tables, entry, level))
            return STATUS_NO_SPACE;
        table_phys = *entry & ENTRY_ADDRESS_MASK;
    }
}

// The highest level, not above `limit`, whose entry both addresses are aligned to and the bytes
// fill.
static uint32_t fitting_level(uint64_t addresses, uint64_t bytes, uint32_t limit)
{
    uint32_t level = 1;

    while (level < limit && addresses % level_bytes(level + 1) == 0 &&
           bytes >= level_bytes(level + 1)) {
        level++;
    }
    return level;
}

static uint64_t page_flags(const struct page_tables *tables, uint32_t rights)
{
    // Accessed and dirty from the start: the processor has no reason to write to a table.
    uint64_t flags = ENTRY_PRESENT | ENTRY_USER | ENTRY_ACCESSED | ENTRY_DIRTY;

    if ((rights & SMP_WRITE) != 0)
        flags |= ENTRY_WRITABLE;
    if ((rights & SMP_EXECUTE) == 0 && tables->no_execute)
        flags |= ENTRY_NO_EXECUTE;
    if ((rights & SMP_UNCACHED) != 0)
        flags |= ENTRY_NO_CACHE | ENTRY_WRITE_THRU;
    if ((rights & SMP_COMBINING) != 0)
        flags |= ENTRY_WRITE_THRU;
    return flags;
}

size_t page_tables_bound(const struct page_tables *tables, uint64_t phys, uint64_t bytes)
{
    if (!virt_range_valid(tables, phys, bytes) || !phys_range_valid(tables, phys, bytes))
        return 0;
    return tables_needed(tables, phys, bytes, largest_page_level(tables));
}

size_t page_tables_bound_by_page(const struct page_tables *tables, uint64_t virt, uint64_t bytes)
{
    return virt_range_valid(tables, virt, bytes) ? tables_needed(tables, virt, bytes, 1) : 0;
}

enum status page_tables_start(struct page_tables *tables)
{
    // MOV to CR3 in protected mode takes 32 bits: the root must be below 4 GiB.
    if (tables->levels < LEVELS_MIN || tables->levels > LEVELS_MAX ||
        tables->phys_bits < PHYS_BITS_MIN || tables->phys_bits > PHYS_BITS_MAX ||
        (uintptr_t)tables->pool % PAGE_BYTES != 0 || tables->pool_phys % PAGE_BYTES != 0 ||
        tables->pool_phys > UINT32_MAX) {
        return STATUS_INVALID;
    }
    tables->pages_used = 0;
    if (tables->pool_pages == 0)
        return STATUS_NO_SPACE;
    take_table(tables, 0, 0);
    return STATUS_OK;
}

enum status page_tables_map(struct page_tables *tables, uint64_t virt, uint64_t phys,
                            uint64_t bytes, uint32_t rights)
{
    uint32_t write_exec = SMP_WRITE | SMP_EXECUTE, types = SMP_UNCACHED | SMP_COMBINING;

    if (!virt_range_valid(tables, virt, bytes) || !phys_range_valid(tables, phys, bytes) ||
        (rights & write_exec) == write_exec || (rights & types) == types ||
        (rights & ~(write_exec | types)) != 0) {
        return STATUS_INVALID;
    }
    uint64_t flags = page_flags(tables, rights);
    uint32_t largest = largest_page_level(tables);

    for (uint64_t done = 0; done < bytes;) {
        uint32_t level = fitting_level((virt + done) | (phys + done), bytes - done, largest);
        uint64_t value = (phys + done) | flags | (level > 1 ? ENTRY_LARGE : 0);
        enum status status = set_page(tables, virt + done, level, value);

        if (status != STATUS_OK)
            return status;
        done += level_bytes(level);
    }
    return STATUS_OK;
}

enum status page_tables_unmap(struct page_tables *tables, uint64_t virt, uint64_t bytes)
{
    if (!virt_range_valid(tables, virt, bytes))
        return STATUS_INVALID;
    for (uint64_t done = 0; done < bytes;) {
        uint32_t level = fitting_level(virt + done, bytes - done, tables->levels);
        enum status status = set_page(tables, virt + done, level, 0);

        if (status != STATUS_OK)
            return status;
        done += level_bytes(level);
    }
    return STATUS_OK;
}

struct page_walk page_tables_walk(const struct page_tables *tables, uint64_t virt)
{
    struct page_walk walk = {.level = tables->levels, .writable = true, .executable = true};
    uint64_t table_phys = tables->pool_phys;

    while (virt_range_valid(tables, virt - virt % PAGE_BYTES, PAGE_BYTES)) {
        uint64_t entry = *entry_for(tables, table_phys, walk.level, virt);

        if ((entry & ENTRY_PRESENT) == 0)
            break;
        walk.writable = walk.writable && (entry & ENTRY_WRITABLE) != 0;
        walk.executable = walk.executable && (entry & ENTRY_NO_EXECUTE) == 0;
        table_phys = entry & ENTRY_ADDRESS_MASK;
        if (is_page(entry, walk.level)) {
            if (table_phys % level_bytes(walk.level) != 0)
                break; // reserved bits: a page fault
            walk.mapped = true;
            walk.phys = table_phys + virt % level_bytes(walk.level);
            walk.uncached = (entry & ENTRY_NO_CACHE) != 0 && (entry & ENTRY_WRITE_THRU) != 0;
            walk.combining = !walk.uncached && (entry & ENTRY_WRITE_THRU) != 0;
            return walk;
        }
        walk.level--;
    }
    walk.writable = false;
    walk.executable = false;
    return walk;
}
