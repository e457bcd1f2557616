// What is mapped, and how. page_table.c knows entries; this file knows what they are for.
// Surprise: wide ranges go first and the exceptions are cut into them, so the order of the calls matters.

#include "address_space.h"

#include "control.h"
#include "line.h"

#define MIB (1024u * 1024u)

static void tell(const struct problems *problems, const char *what, const struct line *line)
{
    problems->tell(problems->context, SEVERITY_ERROR, what, line->text);
}

size_t address_space_bound(const struct machine *machine, size_t count)
{
    struct page_tables shape = {
        .levels = 5,
        .gib_pages = machine->processor.gib_pages,
        .phys_bits = machine->processor.phys_bits,
    };
    size_t pages = 1;
    for (size_t i = 0; i < machine->ram_count; i++)
        pages += page_tables_bound(&shape, machine->ram[i].phys, machine->ram[i].bytes);
    // Guard pages break every 2 MiB of the stacks into small pages, and their 1 GiB pages as well.
    const uint64_t stacks = (uint64_t)count * (GUARD_BYTES + STACK_BYTES);
    pages += 2 * (stacks / (2 * MIB) + 2);
    // The image's three parts, the APIC, the low page, the null page and the window: each may need one
    // new table at every level, or split a page at two.
    return pages + 7 * 4;
}

static enum status map(struct page_tables *tables, const char *name, uint64_t virt,
                       const struct range *range, enum page_rights rights,
                       const struct problems *problems)
{
    char buffer[LINE_BYTES];
    struct line line;

    if (range->bytes == 0)
        return STATUS_OK;
    const enum status status = page_tables_map(tables, virt, range->phys, range->bytes, rights);
    if (status == STATUS_OK)
        return STATUS_OK;
    line_start(&line, buffer, sizeof buffer);
    line_add_format(&line, "cannot map %s at %x, %u bytes: %s", name, range->phys, range->bytes,
                    status == STATUS_NO_SPACE ? "the page tables are full"
                                              : "not page-aligned, or beyond the physical addresses");
    tell(problems, "page-tables", &line);
    return status;
}

enum status address_space_build(const struct machine *machine, const struct arena *arena,
                                const struct problems *problems, struct page_tables *tables)
{
    const struct image *image = &machine->image;
    const struct range apic = {APIC_MMIO_PHYS(machine->apic_base), PAGE_BYTES};
    enum status status;

    *tables = (struct page_tables){
        .pool = (uint8_t *)(uintptr_t)(arena->phys + arena->tables_offset),
        .pool_phys = arena->phys + arena->tables_offset,
        .pool_pages = arena->tables_pages,
        .levels = machine->cr4 & CR4_LA57 ? 5 : 4,
        .gib_pages = machine->processor.gib_pages,
        .no_execute = machine->processor.no_execute,
        .phys_bits = machine->processor.phys_bits,
    };
    if ((status = page_tables_start(tables)) != STATUS_OK)
        return status;
    for (size_t i = 0; i < machine->ram_count; i++) {
        const struct range *ram = &machine->ram[i];
        if ((status = map(tables, "RAM", ram->phys, ram, PAGE_WRITE, problems)) != STATUS_OK)
            return status;
    }
    if ((status = map(tables, "code", image->text.phys, &image->text, PAGE_EXEC, problems)) ||
        (status = map(tables, "constants", image->rodata.phys, &image->rodata, PAGE_READ, problems)) ||
        (status = map(tables, "data", image->data.phys, &image->data, PAGE_WRITE, problems)) ||
        (status = map(tables, "APIC", apic.phys, &apic, PAGE_WRITE | PAGE_UNCACHED, problems)))
        return status;
    for (size_t slot = 0; slot < arena->count; slot++) {
        status = page_tables_unmap(tables, arena_stack(arena, slot) - GUARD_BYTES, GUARD_BYTES);
        if (status != STATUS_OK)
            return status;
    }
    return page_tables_unmap(tables, 0, PAGE_BYTES);
}

enum status address_space_place(const struct machine *machine, const struct arena *arena,
                                const struct problems *problems, struct page_tables *tables)
{
    const struct range page = {machine->low_page, PAGE_BYTES};
    const uint64_t window = arena->phys + arena->window_offset;
    const enum status status = map(tables, "trampoline", page.phys, &page, PAGE_EXEC, problems);
    if (status != STATUS_OK)
        return status;
    return map(tables, "window", window, &page, PAGE_WRITE, problems);
}

// One claim about one address.
struct claim {
    const char *name;
    uint64_t virt, phys;
    enum { CLAIM_WRITABLE, CLAIM_EXECUTABLE, CLAIM_UNMAPPED } kind;
};

static enum status prove(const struct page_tables *tables, const struct claim *claim,
                         const struct problems *problems)
{
    static const char *const wanted[] = {"writable", "executable", "unmapped"};
    const struct page_walk walk = page_tables_walk(tables, claim->virt);
    char buffer[LINE_BYTES];
    struct line line;

    const int holds =
        claim->kind == CLAIM_UNMAPPED
            ? !walk.mapped
            : walk.mapped && walk.phys == claim->phys &&
                  (claim->kind == CLAIM_WRITABLE
                       ? walk.writable && (!walk.executable || !tables->no_execute)
                       : walk.executable && !walk.writable);
    if (holds)
        return STATUS_OK;
    line_start(&line, buffer, sizeof buffer);
    line_add_format(&line, "%s at %x is to be %s, but the walk ended at level %u: %s%s%s", claim->name,
                    claim->virt, wanted[claim->kind], (uint64_t)walk.level,
                    walk.mapped ? "mapped" : "not mapped", walk.writable ? ", writable" : "",
                    walk.executable ? ", executable" : "");
    tell(problems, "page-walk", &line);
    return STATUS_INVALID;
}

enum status address_space_prove(const struct machine *machine, const struct arena *arena,
                                uint64_t entry, const struct problems *problems,
                                const struct page_tables *tables)
{
    const uint64_t rally = (uintptr_t)arena_rally(arena);
    const uint64_t table = (uintptr_t)arena_table(arena);
    const uint64_t apic = APIC_MMIO_PHYS(machine->apic_base);
    const struct claim shared[] = {
        {"the null page", 0, 0, CLAIM_UNMAPPED},
        {"the trampoline", machine->low_page, machine->low_page, CLAIM_EXECUTABLE},
        {"the window", arena->phys + arena->window_offset, machine->low_page, CLAIM_WRITABLE},
        {"the AP's entry", entry, entry, CLAIM_EXECUTABLE},
        {"the rally", rally, rally, CLAIM_WRITABLE},
        {"the table of IDs", table, table, CLAIM_WRITABLE},
        {"the APIC", apic, apic, CLAIM_WRITABLE},
    };
    enum status status = STATUS_OK;

    for (size_t i = 0; i < sizeof shared / sizeof shared[0]; i++) {
        if (prove(tables, &shared[i], problems) != STATUS_OK)
            status = STATUS_INVALID;
    }
    for (size_t slot = 0; slot < arena->count; slot++) {
        const uint64_t record = (uintptr_t)arena_lcpu(arena, slot);
        const uint64_t stack = arena_stack(arena, slot);
        const uint64_t top = arena_lcpu(arena, slot)->lcpu.stack;
        const struct claim own[] = {
            {"a processor's record", record, record, CLAIM_WRITABLE},
            {"a stack's last word", top - 8, top - 8, CLAIM_WRITABLE},
            {"a stack's first word", stack, stack, CLAIM_WRITABLE},
            {"a guard page", stack - 1, 0, CLAIM_UNMAPPED},
        };
        for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
            if (prove(tables, &own[i], problems) != STATUS_OK)
                status = STATUS_INVALID;
        }
        if (top % 16 != 0)
            status = STATUS_INVALID;
    }
    return status;
}
