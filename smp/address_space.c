// What is mapped, and how. page_table.c knows entries; this file knows what they are for.
// Surprise: wide ranges go first and the exceptions are cut into them, so the order of the calls
// matters.

#include "address_space.h"

#include "control.h"
#include "line.h"
#include "tell.h"

#define MIB           (1024u * 1024u)
#define MAPPED_RIGHTS (SMP_WRITE | SMP_EXECUTE | SMP_UNCACHED | SMP_COMBINING)

// ---- how many pages the tables take ----

// Wide and where it is: large pages serve it, and what is cut into it is counted by itself.
static bool is_plain(const struct smp_region *region)
{
    return region->virt == region->phys && (region->rights & ~(uint32_t)SMP_WRITE) == 0;
}

// A bound for each plain region adds up to far too much where a memory map is in many pieces. As
// long as they stand in the order of their addresses, apart from one another, no table is needed
// twice, and a bound for all that lies below the last one's end may be smaller. (It is 0 for what
// cannot be mapped.)
static size_t regions_bound(const struct smp_setup *setup, const struct page_tables *shape)
{
    size_t others = 0, plain = 0, whole = 0;
    bool in_order = true;
    uint64_t end = 0;

    for (size_t i = 0; i < setup->region_count; i++) {
        const struct smp_region *region = &setup->regions[i];
        if (!is_plain(region)) {
            others += page_tables_bound_by_page(shape, region->virt, region->bytes);
            continue;
        }
        plain += page_tables_bound(shape, region->phys, region->bytes);
        in_order = in_order && region->phys >= end;
        end = region->phys + region->bytes;
    }
    whole = in_order && end > 0 ? page_tables_bound_by_page(shape, 0, end) : 0;
    return others + (whole != 0 && whole < plain ? whole : plain);
}

size_t address_space_bound(const struct smp_setup *setup)
{
    const struct page_tables shape = {
        .levels = 5,
        .gib_pages = setup->features.gib_pages,
        .phys_bits = setup->features.phys_bits,
    };
    // The root; and the APIC, the page below 1 MiB, the null page and the window: each may need one
    // new table at every level, or split a page at two.
    const size_t pages = 1 + regions_bound(setup, &shape) + 4 * 4;
    struct arena arena;

    // The arena itself, by the page since its guard pages are holes, wherever it lies: a table for
    // each 2 MiB of it, the tables in it included, and the way down to them.
    arena_plan(sizeof(struct smp), setup->count, 2 * pages, &arena);
    return pages + arena.bytes / (2 * MIB) + 2 * 4;
}

// ---- building ----

// Passes a status on, and tells it if it is a failure.
static enum status check(const struct smp *smp, enum status status, const char *verb,
                         const struct smp_region *region)
{
    if (status != STATUS_OK)
        problem_tell(
            &smp->host.problems, SEVERITY_ERROR, "page-tables", "cannot %s %s at %x, %u bytes: %s",
            verb, region->name, region->phys, region->bytes,
            status == STATUS_NO_SPACE
                ? "the page tables are full"
                : "not page-aligned, beyond the physical addresses, or with rights that exclude "
                  "each other");
    return status;
}

// Does the walk lead to `phys`, in the way of these rights? HOLE: it leads nowhere.
#define HOLE UINT32_MAX

static bool holds(const struct smp *smp, const struct page_walk *walk, uint32_t rights,
                  uint64_t phys)
{
    const bool executes = walk->executable && smp->tables.no_execute; // without NX everything does

    if (rights == HOLE)
        return !walk->mapped;
    if (!walk->mapped || walk->phys != phys || walk->uncached != !!(rights & SMP_UNCACHED) ||
        walk->combining != !!(rights & SMP_COMBINING) || walk->writable != !!(rights & SMP_WRITE))
        return false;
    return rights & SMP_EXECUTE ? walk->executable : !executes;
}

// Maps a page at a time, and only those that are not so already: the rest stays in its large pages.
static enum status fill(struct smp *smp, const struct smp_region *region)
{
    for (uint64_t at = 0; at < region->bytes; at += PAGE_BYTES) {
        const struct page_walk walk = page_tables_walk(&smp->tables, region->virt + at);
        if (holds(smp, &walk, region->rights, region->phys + at))
            continue;
        const struct smp_region page = {region->name, region->virt + at, region->phys + at,
                                        PAGE_BYTES, region->rights};
        const enum status status =
            check(smp,
                  page_tables_map(&smp->tables, page.virt, page.phys, PAGE_BYTES,
                                  region->rights & MAPPED_RIGHTS),
                  "map", &page);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

static enum status map(struct smp *smp, const struct smp_region *region)
{
    if (region->bytes == 0)
        return STATUS_OK;
    if (region->rights & SMP_FILL)
        return fill(smp, region);
    return check(smp,
                 page_tables_map(&smp->tables, region->virt, region->phys, region->bytes,
                                 region->rights & MAPPED_RIGHTS),
                 "map", region);
}

static enum status unmap(struct smp *smp, const char *name, uint64_t virt, uint64_t bytes)
{
    const struct smp_region hole = {name, virt, virt, bytes, SMP_READ};
    return check(smp, page_tables_unmap(&smp->tables, virt, bytes), "unmap", &hole);
}

enum status smp_unmap(struct smp *smp, uint64_t virt, uint64_t bytes)
{
    return unmap(smp, "a region", virt, bytes);
}

static enum status start(struct smp *smp)
{
    const struct page_tables *tables = &smp->tables;
    const enum status status = page_tables_start(&smp->tables);

    if (status != STATUS_OK)
        problem_tell(&smp->host.problems, SEVERITY_ERROR, "page-tables",
                     "no page tables of %u levels for %u physical address bits in %u pages at %x",
                     (uint64_t)tables->levels, (uint64_t)tables->phys_bits,
                     (uint64_t)tables->pool_pages, tables->pool_phys);
    return status;
}

static struct smp_region apic_region(const struct smp *smp, const char *name)
{
    return (struct smp_region){name, smp->apic_phys, smp->apic_phys, PAGE_BYTES,
                               SMP_WRITE | SMP_UNCACHED};
}

enum status address_space_build(struct smp *smp)
{
    const struct arena *arena = &smp->arena;
    const struct smp_region whole = {"the engine's memory", arena->phys, arena->phys, arena->bytes,
                                     SMP_WRITE};
    const struct smp_region apic = apic_region(smp, "APIC");
    enum status status;

    smp->tables = (struct page_tables){
        .pool = arena->view + arena->tables_offset,
        .pool_phys = arena->phys + arena->tables_offset,
        .pool_pages = arena->tables_pages,
        .levels = smp->features.five_levels ? 5 : 4,
        .gib_pages = smp->features.gib_pages,
        .no_execute = smp->features.no_execute,
        .phys_bits = smp->features.phys_bits,
    };
    if ((status = start(smp)) != STATUS_OK)
        return status;
    for (size_t i = 0; i < smp->region_count; i++) {
        if ((status = map(smp, &smp->regions[i])) != STATUS_OK)
            return status;
    }
    if ((status = map(smp, &whole)) != STATUS_OK || (status = map(smp, &apic)) != STATUS_OK)
        return status;
    for (size_t slot = 0; slot < arena->count; slot++) {
        const uint64_t guard = arena_stack_phys(arena, slot) - GUARD_BYTES;
        if ((status = unmap(smp, "a guard page", guard, GUARD_BYTES)) != STATUS_OK)
            return status;
    }
    return unmap(smp, "the null page", 0, PAGE_BYTES);
}

enum status address_space_place(struct smp *smp, uint32_t page_phys)
{
    const uint64_t window = smp->arena.phys + smp->arena.window_offset;
    const struct smp_region page = {"trampoline", page_phys, page_phys, PAGE_BYTES, SMP_EXECUTE};
    const struct smp_region second = {"window", window, page_phys, PAGE_BYTES, SMP_WRITE};
    const enum status status = map(smp, &page);

    return status != STATUS_OK ? status : map(smp, &second);
}

// ---- the proof ----

static const char *wanted(uint32_t rights)
{
    return rights == HOLE           ? "unmapped"
           : rights & SMP_UNCACHED  ? "uncached"
           : rights & SMP_COMBINING ? "write-combining"
           : rights & SMP_EXECUTE   ? "executable"
           : rights & SMP_WRITE     ? "writable"
                                    : "read only";
}

// All pages of a region, in the way that it asks for.
static enum status prove(const struct smp *smp, const struct smp_region *region)
{
    char buffer[LINE_BYTES];
    struct line line;

    for (uint64_t at = 0; at < region->bytes; at += PAGE_BYTES) {
        const struct page_walk walk = page_tables_walk(&smp->tables, region->virt + at);
        if (holds(smp, &walk, region->rights, region->phys + at))
            continue;
        line_start(&line, buffer, sizeof buffer);
        line_add_format(&line,
                        "%s at %x is to be %s, but the walk ended at level %u: ", region->name,
                        region->virt + at, wanted(region->rights), (uint64_t)walk.level);
        if (walk.mapped)
            line_add_format(
                &line, "mapped to %x%s%s%s", walk.phys, walk.writable ? ", writable" : "",
                walk.executable ? ", executable" : "", walk.uncached ? ", uncached" : "");
        else
            line_add_text(&line, "not mapped");
        problem_tell(&smp->host.problems, SEVERITY_ERROR, "page-walk", "%s", line.text);
        return STATUS_INVALID;
    }
    return STATUS_OK;
}

static enum status prove_all(const struct smp *smp, const struct smp_region *regions, size_t count)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; i < count; i++) {
        if (prove(smp, &regions[i]) != STATUS_OK)
            status = STATUS_INVALID;
    }
    return status;
}

static enum status prove_hole(const struct smp *smp, const char *name, uint64_t virt)
{
    const struct smp_region hole = {name, virt, 0, PAGE_BYTES, HOLE};
    return prove(smp, &hole);
}

static struct smp_region own(const char *name, uint64_t phys, uint64_t bytes)
{
    return (struct smp_region){name, phys, phys, bytes, SMP_WRITE};
}

// What one processor has for itself. Its stack begins where the record says.
static enum status prove_slot(const struct smp *smp, size_t slot)
{
    const struct arena *arena = &smp->arena;
    const struct lcpu *lcpu = arena_lcpu(arena, slot);
    const uint64_t record = arena_page_phys(arena, slot), stack = arena_stack_phys(arena, slot);
    const struct smp_region regions[] = {
        own("a processor's record", record, sizeof(struct lcpu_page)),
        own("a stack", stack, SMP_STACK_BYTES),
    };

    if (lcpu->stack != stack + SMP_STACK_BYTES) {
        problem_tell(&smp->host.problems, SEVERITY_ERROR, "page-walk",
                     "the record at %x has its stack's top at %x, not at %x", record, lcpu->stack,
                     stack + SMP_STACK_BYTES);
        return STATUS_INVALID;
    }
    const enum status hole = prove_hole(smp, "a guard page", stack - GUARD_BYTES);
    const enum status status = prove_all(smp, regions, sizeof regions / sizeof regions[0]);
    return status != STATUS_OK ? status : hole;
}

enum status address_space_prove(const struct smp *smp)
{
    const struct arena *arena = &smp->arena;
    const uint64_t base = arena->phys;
    const uint32_t page = smp->page_phys;
    const uint64_t entry = arena_lcpu(arena, 0)->entry / PAGE_BYTES * PAGE_BYTES;
    const struct page_walk code = page_tables_walk(&smp->tables, entry);
    const struct smp_region shared[] = {
        {"the trampoline", page, page, PAGE_BYTES, SMP_EXECUTE},
        {"the window", base + arena->window_offset, page, PAGE_BYTES, SMP_WRITE},
        {"the AP's entry", entry, code.phys, PAGE_BYTES, SMP_EXECUTE}, // wherever it lies
        own("the rally", base + arena->rally_offset, PAGE_BYTES),
        own("the table of IDs", base + arena->table_offset, arena->table_entries * LCPU_ID_BYTES),
        own("the engine", base, arena->rally_offset),
        own("the books", base + arena->books_offset, arena->window_offset - arena->books_offset),
        own("the page tables", smp->tables.pool_phys, arena->tables_pages * PAGE_BYTES),
        apic_region(smp, "the APIC"),
    };
    enum status status = prove_all(smp, shared, sizeof shared / sizeof shared[0]);

    if (prove_hole(smp, "the null page", 0) != STATUS_OK)
        status = STATUS_INVALID;
    for (size_t i = 0; i < smp->region_count; i++) {
        if (smp->regions[i].rights & SMP_NEEDED && prove(smp, &smp->regions[i]) != STATUS_OK)
            status = STATUS_INVALID;
    }
    for (size_t slot = 0; slot < arena->count; slot++) {
        if (prove_slot(smp, slot) != STATUS_OK)
            status = STATUS_INVALID;
    }
    return status;
}
