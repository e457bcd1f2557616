// What is mapped, and how. page_table.c knows entries; this file knows what they are for.
// Surprise: wide ranges go first and the exceptions are cut into them, so the order of the calls
// matters.

#include "address_space.h"

#include "apic.h"
#include "control.h"
#include "line.h"

#define MIB (1024u * 1024u)

static void tell(const struct problems *problems, const char *what, const struct line *line)
{
    problems->tell(problems->context, SEVERITY_ERROR, what, line->text);
}

// The serial port's page, if it is in device memory.
static struct range serial_page(const struct machine *machine)
{
    return (struct range){machine->serial_mmio / PAGE_BYTES * PAGE_BYTES,
                          machine->serial_mmio != 0 ? PAGE_BYTES : 0};
}

// Of the reset register, if that is in device memory.
static struct range reset_page(const struct machine *machine)
{
    const struct fadt *fadt = &machine->fadt;
    const bool mapped = fadt->can_reset && fadt->reset_space == GAS_MEMORY;
    return (struct range){fadt->reset_address / PAGE_BYTES * PAGE_BYTES, mapped ? PAGE_BYTES : 0};
}

// The pages that hold a frame buffer.
static struct range pages_of(const struct framebuffer *framebuffer)
{
    const uint64_t from = framebuffer->phys / PAGE_BYTES * PAGE_BYTES;
    const uint64_t bytes = framebuffer_drawn_bytes(framebuffer);
    const uint64_t end = (framebuffer->phys + bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    return (struct range){from, end - from};
}

enum status address_space_own(struct machine *machine, const char *name, const void *memory,
                              uint64_t bytes)
{
    const uint64_t from = (uintptr_t)memory / PAGE_BYTES * PAGE_BYTES;
    const uint64_t end = ((uintptr_t)memory + bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;

    if (!memory || bytes == 0)
        return STATUS_OK;
    if (machine->own_count == OWN_MEMORY_MAX)
        return STATUS_NO_SPACE;
    machine->own[machine->own_count++] = (struct own_memory){name, {from, end - from}};
    return STATUS_OK;
}

// What it may take to map the arena itself, were none of it RAM to the map: a table for each 2 MiB
// of it, the tables in it included, and the way down to them.
static size_t arena_bound(size_t count, size_t tables_pages)
{
    struct arena arena;

    arena_plan(count, 2 * tables_pages, &arena);
    return arena.bytes / (2 * MIB) + 2 * 4;
}

// A bound for each range adds up to far too much where the map is in many pieces; there a bound for
// all that lies below the last one's end is smaller. That is 0 for a range that cannot be mapped.
static size_t ram_bound(const struct machine *machine, const struct page_tables *shape)
{
    size_t pages = 0, whole = 0;

    for (size_t i = 0; i < machine->ram_count; i++) {
        const struct range *ram = &machine->ram[i];
        pages += page_tables_bound(shape, ram->phys, ram->bytes);
        whole = page_tables_bound_by_page(shape, 0, ram->phys + ram->bytes);
    }
    return whole != 0 && whole < pages ? whole : pages;
}

size_t address_space_bound(const struct machine *machine, size_t count)
{
    struct page_tables shape = {
        .levels = 5,
        .gib_pages = machine->processor.gib_pages,
        .phys_bits = machine->processor.phys_bits,
    };
    size_t pages = reset_page(machine).bytes != 0 ? 1 + 4 : 1;
    pages += ram_bound(machine, &shape);
    for (size_t i = 0; i < machine->framebuffer_count; i++) {
        const struct range pixels = pages_of(&machine->framebuffers[i]);
        pages += page_tables_bound(&shape, pixels.phys, pixels.bytes) + 2 * 4; // and its two ends
    }
    for (size_t i = 0; i < machine->own_count; i++) {
        const struct range *own = &machine->own[i].range;
        pages += page_tables_bound_by_page(&shape, own->phys, own->bytes);
    }
    // Guard pages break every 2 MiB of the stacks into small pages, and their 1 GiB pages as well.
    const uint64_t stacks = (uint64_t)count * (GUARD_BYTES + STACK_BYTES);
    pages += 2 * (stacks / (2 * MIB) + 2);
    // The image's three parts, the APIC, the serial port, the low page, the null page and the
    // window: each may need one new table at every level, or split a page at two.
    pages += 8 * 4;
    return pages + arena_bound(count, pages);
}

// Passes a status on, and tells it if it is a failure.
static enum status check(enum status status, const char *verb, const char *name,
                         const struct range *range, const struct problems *problems)
{
    char buffer[LINE_BYTES];
    struct line line;

    if (status == STATUS_OK)
        return status;
    line_start(&line, buffer, sizeof buffer);
    line_add_format(
        &line, "cannot %s %s at %x, %u bytes: %s", verb, name, range->phys, range->bytes,
        status == STATUS_NO_SPACE ? "the page tables are full"
                                  : "not page-aligned, or beyond the physical addresses");
    tell(problems, "page-tables", &line);
    return status;
}

static enum status map(struct page_tables *tables, const char *name, uint64_t virt,
                       const struct range *range, enum page_rights rights,
                       const struct problems *problems)
{
    if (range->bytes == 0)
        return STATUS_OK;
    return check(page_tables_map(tables, virt, range->phys, range->bytes, rights), "map", name,
                 range, problems);
}

static enum status unmap(struct page_tables *tables, const char *name, uint64_t virt,
                         uint64_t bytes, const struct problems *problems)
{
    const struct range range = {virt, bytes};
    return check(page_tables_unmap(tables, virt, bytes), "unmap", name, &range, problems);
}

static enum status start(struct page_tables *tables, const struct problems *problems)
{
    char buffer[LINE_BYTES];
    struct line line;
    const enum status status = page_tables_start(tables);

    if (status == STATUS_OK)
        return status;
    line_start(&line, buffer, sizeof buffer);
    line_add_format(&line,
                    "no page tables of %u levels for %u physical address bits in %u pages at %x",
                    (uint64_t)tables->levels, (uint64_t)tables->phys_bits,
                    (uint64_t)tables->pool_pages, tables->pool_phys);
    tell(problems, "page-tables", &line);
    return status;
}

// Maps what the memory map did not call RAM, page by page; the rest stays in its large pages.
static enum status map_own(struct page_tables *tables, const char *name, const struct range *own,
                           const struct problems *problems)
{
    for (uint64_t at = own->phys; at < own->phys + own->bytes; at += PAGE_BYTES) {
        const struct page_walk walk = page_tables_walk(tables, at);
        const struct range page = {at, PAGE_BYTES};
        if (walk.mapped && walk.writable && walk.phys == at)
            continue;
        const enum status status = map(tables, name, at, &page, PAGE_WRITE, problems);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

enum status address_space_build(const struct machine *machine, const struct arena *arena,
                                const struct problems *problems, struct page_tables *tables)
{
    const struct range whole = {arena->phys, arena->bytes};
    const struct image *image = &machine->image;
    const struct range apic = {APIC_MMIO_PHYS(machine->apic_base), PAGE_BYTES};
    const struct range serial = serial_page(machine), reset = reset_page(machine);
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
    if ((status = start(tables, problems)) != STATUS_OK)
        return status;
    for (size_t i = 0; i < machine->ram_count; i++) {
        const struct range *ram = &machine->ram[i];
        if ((status = map(tables, "RAM", ram->phys, ram, PAGE_WRITE, problems)) != STATUS_OK)
            return status;
    }
    for (size_t i = 0; i < machine->own_count; i++) {
        const struct own_memory *own = &machine->own[i];
        if ((status = map_own(tables, own->name, &own->range, problems)) != STATUS_OK)
            return status;
    }
    if ((status = map_own(tables, "the arena", &whole, problems)) != STATUS_OK)
        return status;
    // Before all that is needed for certain: what the FADT names is not to take its place.
    if ((status = map(tables, "reset register", reset.phys, &reset, PAGE_WRITE | PAGE_UNCACHED,
                      problems)) ||
        (status = map(tables, "code", image->text.phys, &image->text, PAGE_EXEC, problems)) ||
        (status =
             map(tables, "constants", image->rodata.phys, &image->rodata, PAGE_READ, problems)) ||
        (status = map(tables, "data", image->data.phys, &image->data, PAGE_WRITE, problems)) ||
        (status = map(tables, "APIC", apic.phys, &apic, PAGE_WRITE | PAGE_UNCACHED, problems)) ||
        (status = map(tables, "serial port", serial.phys, &serial, PAGE_WRITE | PAGE_UNCACHED,
                      problems)))
        return status;
    for (size_t i = 0; i < machine->framebuffer_count; i++) {
        const struct range pixels = pages_of(&machine->framebuffers[i]);
        const enum page_rights how =
            machine->processor.pat ? PAGE_WRITE | PAGE_COMBINING : PAGE_WRITE | PAGE_UNCACHED;
        if ((status = map(tables, "a frame buffer", pixels.phys, &pixels, how, problems)) !=
            STATUS_OK)
            return status;
    }
    for (size_t slot = 0; slot < arena->count; slot++) {
        const uint64_t guard = arena_stack(arena, slot) - GUARD_BYTES;
        if ((status = unmap(tables, "a guard page", guard, GUARD_BYTES, problems)) != STATUS_OK)
            return status;
    }
    return unmap(tables, "the null page", 0, PAGE_BYTES, problems);
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

// One claim about all pages of a piece of the address space: they lead to the same piece of
// physical memory, in this way.
enum claim_kind {
    CLAIM_UNMAPPED,
    CLAIM_READABLE,
    CLAIM_WRITABLE,
    CLAIM_DEVICE,
    CLAIM_COMBINING,
    CLAIM_EXECUTABLE,
};

struct claim {
    const char *name;
    enum claim_kind kind;
    uint64_t virt, phys, bytes;
};

static bool holds(const struct page_tables *tables, const struct page_walk *walk,
                  enum claim_kind kind, uint64_t phys)
{
    const bool executable = walk->executable && tables->no_execute; // without NX everything is

    if (kind == CLAIM_UNMAPPED || !walk->mapped || walk->phys != phys)
        return kind == CLAIM_UNMAPPED && !walk->mapped;
    if (walk->uncached != (kind == CLAIM_DEVICE) || walk->combining != (kind == CLAIM_COMBINING))
        return false;
    if (kind == CLAIM_EXECUTABLE)
        return walk->executable && !walk->writable;
    return walk->writable == (kind != CLAIM_READABLE) && !executable;
}

static enum status prove(const struct page_tables *tables, const struct claim *claim,
                         const struct problems *problems)
{
    static const char *const wanted[] = {"unmapped", "read only",       "writable",
                                         "uncached", "write-combining", "executable"};
    char buffer[LINE_BYTES];
    struct line line;

    for (uint64_t at = 0; at < claim->bytes; at += PAGE_BYTES) {
        const struct page_walk walk = page_tables_walk(tables, claim->virt + at);
        if (holds(tables, &walk, claim->kind, claim->phys + at))
            continue;
        line_start(&line, buffer, sizeof buffer);
        line_add_format(&line,
                        "%s at %x is to be %s, but the walk ended at level %u: ", claim->name,
                        claim->virt + at, wanted[claim->kind], (uint64_t)walk.level);
        if (walk.mapped)
            line_add_format(
                &line, "mapped to %x%s%s%s", walk.phys, walk.writable ? ", writable" : "",
                walk.executable ? ", executable" : "", walk.uncached ? ", uncached" : "");
        else
            line_add_text(&line, "not mapped");
        tell(problems, "page-walk", &line);
        return STATUS_INVALID;
    }
    return STATUS_OK;
}

static enum status prove_all(const struct page_tables *tables, const struct claim *claims,
                             size_t count, const struct problems *problems)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; i < count; i++) {
        if (prove(tables, &claims[i], problems) != STATUS_OK)
            status = STATUS_INVALID;
    }
    return status;
}

// What one processor has for itself. Its stack begins where the record says.
static enum status prove_own(const struct page_tables *tables, const struct arena *arena,
                             size_t slot, const struct problems *problems)
{
    const struct lcpu_page *page = arena_lcpu(arena, slot);
    const uint64_t record = (uintptr_t)page, stack = arena_stack(arena, slot);
    const struct claim claims[] = {
        {"a processor's record", CLAIM_WRITABLE, record, record, sizeof *page},
        {"a stack", CLAIM_WRITABLE, stack, stack, STACK_BYTES},
        {"a guard page", CLAIM_UNMAPPED, stack - GUARD_BYTES, 0, GUARD_BYTES},
    };
    char buffer[LINE_BYTES];
    struct line line;

    if (page->lcpu.stack != stack + STACK_BYTES) {
        line_start(&line, buffer, sizeof buffer);
        line_add_format(&line, "the record at %x has its stack's top at %x, not at %x", record,
                        page->lcpu.stack, stack + STACK_BYTES);
        tell(problems, "page-walk", &line);
        return STATUS_INVALID;
    }
    return prove_all(tables, claims, sizeof claims / sizeof claims[0], problems);
}

enum status address_space_prove(const struct machine *machine, const struct arena *arena,
                                uint64_t entry, const struct problems *problems,
                                const struct page_tables *tables)
{
    const uint64_t low = machine->low_page, window = arena->phys + arena->window_offset;
    const uint64_t rally = (uintptr_t)arena_rally(arena), table = (uintptr_t)arena_table(arena);
    const uint64_t accounts = (uintptr_t)arena_account(arena, 0), pool = tables->pool_phys;
    const uint64_t apic = APIC_MMIO_PHYS(machine->apic_base);
    const struct range *text = &machine->image.text, *rodata = &machine->image.rodata,
                       *data = &machine->image.data;
    const struct claim shared[] = {
        {"the null page", CLAIM_UNMAPPED, 0, 0, PAGE_BYTES},
        {"the trampoline", CLAIM_EXECUTABLE, low, low, PAGE_BYTES},
        {"the window", CLAIM_WRITABLE, window, low, PAGE_BYTES},
        {"the AP's entry", CLAIM_EXECUTABLE, entry, entry, 1},
        {"code", CLAIM_EXECUTABLE, text->phys, text->phys, text->bytes},
        {"constants", CLAIM_READABLE, rodata->phys, rodata->phys, rodata->bytes},
        {"data", CLAIM_WRITABLE, data->phys, data->phys, data->bytes},
        {"the rally", CLAIM_WRITABLE, rally, rally, PAGE_BYTES},
        {"the accounts", CLAIM_WRITABLE, accounts, accounts, arena->count * sizeof(struct account)},
        {"the page tables", CLAIM_WRITABLE, pool, pool, arena->tables_pages * PAGE_BYTES},
        {"the table of IDs", CLAIM_WRITABLE, table, table, arena->table_entries * LCPU_ID_BYTES},
        {"the APIC", CLAIM_DEVICE, apic, apic, PAGE_BYTES},
    };
    const struct range serial = serial_page(machine);
    const struct claim port = {"the serial port", CLAIM_DEVICE, serial.phys, serial.phys,
                               serial.bytes};
    enum status status = prove_all(tables, shared, sizeof shared / sizeof shared[0], problems);

    if (serial.bytes != 0 && prove(tables, &port, problems) != STATUS_OK)
        status = STATUS_INVALID;
    for (size_t i = 0; i < machine->own_count; i++) {
        const struct range *own = &machine->own[i].range;
        const struct claim claim = {machine->own[i].name, CLAIM_WRITABLE, own->phys, own->phys,
                                    own->bytes};
        if (prove(tables, &claim, problems) != STATUS_OK)
            status = STATUS_INVALID;
    }
    for (size_t i = 0; i < machine->framebuffer_count; i++) {
        const struct range pixels = pages_of(&machine->framebuffers[i]);
        const struct claim claim = {"a frame buffer",
                                    machine->processor.pat ? CLAIM_COMBINING : CLAIM_DEVICE,
                                    pixels.phys, pixels.phys, pixels.bytes};
        if (prove(tables, &claim, problems) != STATUS_OK)
            status = STATUS_INVALID;
    }
    for (size_t slot = 0; slot < arena->count; slot++) {
        if (prove_own(tables, arena, slot, problems) != STATUS_OK)
            status = STATUS_INVALID;
    }
    return status;
}
