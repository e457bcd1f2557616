// The address space that all processors share: built for machines of many shapes, and then walked,
// page by page, by a walker of this file's own that knows only the manual. The proof is tried on
// sound tables, and on tables in which one thing is wrong at a time.
#include "fake_machine.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "told.h"

#define MIB FAKE_MIB
#define GIB FAKE_GIB

static struct fake_machine fake;
static struct told told;

static void entry(struct lcpu *self)
{
    (void)self;
}

static int tear_down(void **state)
{
    (void)state;
    fake_machine_stop(&fake);
    return 0;
}

static uint64_t random_state;

// xorshift64: the same numbers in every run.
static uint64_t random_below(uint64_t limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % limit;
}

static void assert_nothing_told(void)
{
    for (size_t i = 0; i < told.count && i < TOLD_MAX; i++)
        print_error("told: %s: %s\n", told.lines[i].what, told.lines[i].detail);
    assert_int_equal(told.count, 0);
}

// Builds and places, with nothing to complain about.
static void build(void)
{
    const struct problems problems = told_listen(&told);

    assert_int_equal(address_space_build(&fake.machine, &fake.arena, &problems, &fake.tables),
                     STATUS_OK);
    assert_int_equal(address_space_place(&fake.machine, &fake.arena, &problems, &fake.tables),
                     STATUS_OK);
    assert_nothing_told();
}

static enum status prove(void)
{
    const struct problems problems = told_listen(&told);
    return address_space_prove(&fake.machine, &fake.arena, fake.entry, &problems, &fake.tables);
}

// ---- a walk as the processor does it (SDM vol. 3A, "4-Level Paging and 5-Level Paging") ----

struct found {
    bool mapped, writable, executable, uncached;
    unsigned level;
    uint64_t phys;
};

static struct found walk(uint64_t virt)
{
    struct found found = {
        .writable = true, .executable = true, .level = fake.machine.cr4 & CR4_LA57 ? 5 : 4};
    uint64_t table = fake.arena.phys + fake.arena.tables_offset; // what CR3 will hold

    for (;; found.level--) {
        const unsigned shift = 12 + 9 * (found.level - 1);
        uint64_t table_entry;
        // Whatever the processor follows lies in the pool.
        assert_true(table % PAGE_BYTES == 0 &&
                    table >= fake.arena.phys + fake.arena.tables_offset &&
                    table < fake.arena.phys + fake.arena.bytes);
        memcpy(&table_entry, (const void *)(uintptr_t)(table + (virt >> shift) % 512 * 8), 8);
        if (!(table_entry & 1))
            return (struct found){.level = found.level};
        found.writable &= table_entry >> 1 & 1;
        found.executable &= !fake.machine.processor.no_execute || !(table_entry >> 63);
        // Without NXE bit 63 is reserved, and so is the address beyond MAXPHYADDR.
        assert_true(fake.machine.processor.no_execute || !(table_entry >> 63));
        table = table_entry & 0x000ffffffffff000;
        assert_int_equal(table >> fake.machine.processor.phys_bits, 0);
        const bool large = found.level > 1 && table_entry >> 7 & 1;
        if (found.level > 1 && !large)
            continue;
        assert_true(found.level <= (fake.machine.processor.gib_pages ? 3 : 2));
        assert_int_equal(table % (1ull << shift), 0);
        found.mapped = true;
        found.uncached = (table_entry >> 3 & 3) == 3;
        found.phys = table + virt % (1ull << shift);
        return found;
    }
}

// ---- what each page is for ----

static bool is_in(const struct range *range, uint64_t address)
{
    return address >= range->phys && address - range->phys < range->bytes;
}

static bool is_guard(uint64_t page)
{
    const struct range stacks = {fake.arena.phys + fake.arena.stacks_offset,
                                 fake.arena.count * (GUARD_BYTES + STACK_BYTES)};
    return is_in(&stacks, page) && (page - stacks.phys) % (GUARD_BYTES + STACK_BYTES) < GUARD_BYTES;
}

static struct found expected_at(uint64_t page)
{
    const struct image *image = &fake.machine.image;
    const bool nx = fake.machine.processor.no_execute;
    const struct found unmapped = {0}, code = {true, false, true, false, 0, page};
    const struct found constants = {true, false, !nx, false, 0, page};
    const struct found data = {true, true, !nx, false, 0, page};

    if (page == 0 || is_guard(page))
        return unmapped;
    if (page == fake.machine.low_page || is_in(&image->text, page))
        return code;
    if (page == fake.arena.phys + fake.arena.window_offset)
        return (struct found){true, true, !nx, false, 0, fake.machine.low_page};
    if (page == (fake.machine.apic_base & ~0xfffull))
        return (struct found){true, true, !nx, true, 0, page};
    if (is_in(&image->rodata, page))
        return constants;
    for (size_t i = 0; i < fake.machine.ram_count; i++) {
        if (is_in(&fake.machine.ram[i], page))
            return data;
    }
    return is_in(&image->data, page) ? data : unmapped;
}

static void assert_page(uint64_t page)
{
    const struct found found = walk(page), expected = expected_at(page);

    if (found.mapped == expected.mapped &&
        (!found.mapped ||
         (found.phys == expected.phys && found.writable == expected.writable &&
          found.executable == expected.executable && found.uncached == expected.uncached)))
        return;
    fail_msg("page 0x%llx: mapped %d to 0x%llx, w %d x %d uc %d; wanted mapped %d to 0x%llx, w %d "
             "x %d uc %d",
             (unsigned long long)page, found.mapped, (unsigned long long)found.phys, found.writable,
             found.executable, found.uncached, expected.mapped, (unsigned long long)expected.phys,
             expected.writable, expected.executable, expected.uncached);
}

static void assert_pages(uint64_t first, uint64_t end)
{
    for (uint64_t page = first & ~(uint64_t)(PAGE_BYTES - 1); page < end; page += PAGE_BYTES)
        assert_page(page);
}

// Some pages on both sides of a border.
static void assert_around(uint64_t border)
{
    assert_pages(border > 3 * PAGE_BYTES ? border - 3 * PAGE_BYTES : 0, border + 3 * PAGE_BYTES);
}

// ---- sound tables ----

struct shape {
    const char *name;
    bool la57, gib_pages, no_execute;
};

static const struct shape shapes[] = {
    {"4 levels", false, true, true},          {"5 levels", true, true, true},
    {"4 levels, 2 MiB", false, false, true},  {"5 levels, 2 MiB", true, false, true},
    {"4 levels, no NX", false, false, false},
};

static void take_shape(const struct shape *shape)
{
    fake.machine.cr4 = CR4_PAE | (shape->la57 ? CR4_LA57 : 0);
    fake.machine.processor.gib_pages = shape->gib_pages;
    fake.machine.processor.no_execute = shape->no_execute;
}

// Every page up to 7 GiB, on a typical machine: RAM with holes, the image, the APIC, stacks with
// their guards.
static void test_typical_machine(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        // 2 MiB pages alone need one more table for each GiB, which the bound must know.
        fake_machine_start(&fake, 64, 0, entry);
        fake_machine_stop(&fake);
        take_shape(&shapes[i]);
        arena_plan(64, address_space_bound(&fake.machine, 64), &fake.arena);
        fake_map_arena(&fake.arena, 0);
        for (size_t slot = 0; slot < 64; slot++)
            arena_lcpu(&fake.arena, slot)->lcpu.stack =
                arena_stack(&fake.arena, slot) + STACK_BYTES;
        build();
        assert_int_equal(fake.tables.levels, shapes[i].la57 ? 5 : 4);
        assert_int_equal(fake.tables.pool_phys, fake.arena.phys + fake.arena.tables_offset);
        assert_pages(0, i == 0 ? 7 * GIB : 64 * MIB);
        assert_pages(fake.arena.phys - MIB, fake.arena.phys + fake.arena.bytes + MIB);
        assert_around(2 * GIB - 0x123000);
        assert_around(0xfee00000);
        assert_around(4 * GIB);
        assert_around(6 * GIB);
        assert_around(1ull << 39);
        assert_around(1ull << 46);
        assert_int_equal(prove(), STATUS_OK);
        assert_nothing_told();
        fake_machine_stop(&fake);
    }
}

// A reset register in device memory can be written to, wherever it is; one in I/O space needs no
// page.
static void test_reset_register(void **state)
{
    static const uint64_t addresses[] = {0xfed40008, 0xfffffffff, 0xff00000800, 0xfee00010};

    (void)state;
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        fake_machine_start(&fake, 4, 0, entry);
        const size_t without = address_space_bound(&fake.machine, 4);
        fake.machine.fadt = (struct fadt){
            .can_reset = true, .reset_space = GAS_IO, .reset_address = addresses[i] & 0xffff};
        assert_int_equal(address_space_bound(&fake.machine, 4), without);
        fake.machine.fadt.reset_space = GAS_MEMORY;
        fake.machine.fadt.reset_address = addresses[i];
        assert_true(address_space_bound(&fake.machine, 4) > without);
        build();
        const struct found found = walk(addresses[i]);
        assert_true(found.mapped && found.writable && found.uncached && !found.executable);
        assert_int_equal(found.phys, addresses[i]);
        assert_int_equal(prove(), STATUS_OK);
        fake_machine_stop(&fake);
    }
}

// Some maps call everything RAM; the APIC stays uncached, and an APIC that was moved is followed.
static void test_apic(void **state)
{
    static const uint64_t bases[] = {0xfee00900, 0xfee00d00, 0x10fee00900, 0x1ff000900};

    (void)state;
    for (size_t i = 0; i < sizeof bases / sizeof bases[0]; i++) {
        fake_machine_start(&fake, 2, 0, entry);
        fake.ram[1].bytes = 5 * GIB;
        fake.machine.ram_count = 2;
        fake.machine.apic_base = bases[i];
        build();
        assert_around(bases[i]);
        assert_true(walk(bases[i] & ~0xfffull).uncached);
        assert_int_equal(prove(), STATUS_OK);
        fake_machine_stop(&fake);
    }
}

// As many bytes as the lines take at this depth, in whole pages, and not one page more.
static void test_frame_buffer(void **state)
{
    const uint64_t base = 0xc0000000;

    (void)state;
    for (uint32_t bytes = 1; bytes <= 4; bytes++) {
        fake_machine_start(&fake, 2, 0, entry);
        fake.machine.framebuffer_count = 1;
        fake.machine.framebuffers[0] = (struct framebuffer){.phys = base,
                                                            .bytes = 16 * FAKE_MIB,
                                                            .width = 800,
                                                            .height = 600,
                                                            .pitch_pixels = 810,
                                                            .pixel_bytes = bytes};
        build();
        const uint64_t end = base + 810ull * 600 * bytes;
        assert_false(walk(base - 1).mapped);
        assert_true(walk(base).writable && walk(base).uncached); // without PAT
        assert_true(walk(end - 1).mapped);
        assert_false(walk((end + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES).mapped);
        assert_int_equal(prove(), STATUS_OK);
        fake_machine_stop(&fake);
    }
}

// ---- maps that are odd: is the bound enough? ----

static int by_phys(const void *left, const void *right)
{
    const struct range *const a = left, *const b = right;
    return (a->phys > b->phys) - (a->phys < b->phys);
}

static void merge_ram(void)
{
    size_t kept = 0;

    qsort(fake.ram, fake.machine.ram_count, sizeof fake.ram[0], by_phys);
    for (size_t i = 1; i < fake.machine.ram_count; i++) {
        struct range *last = &fake.ram[kept];
        const struct range *next = &fake.ram[i];
        if (next->phys > last->phys + last->bytes)
            fake.ram[++kept] = *next;
        else if (next->phys + next->bytes > last->phys + last->bytes)
            last->bytes = next->phys + next->bytes - last->phys;
    }
    fake.machine.ram_count = kept + 1;
}

// A place near a border of a large page, where most tables are needed.
static uint64_t odd_place(uint64_t limit)
{
    static const uint64_t borders[] = {PAGE_BYTES, 2 * MIB, GIB, 512 * GIB};
    const uint64_t border = borders[random_below(4)];
    const uint64_t place = random_below(limit) / border * border;
    return place + (random_below(4) ? random_below(4) * PAGE_BYTES : 0);
}

static void odd_machine(size_t count, uint64_t arena_phys)
{
    struct image *image = &fake.machine.image;
    const uint64_t base = 64 * MIB + odd_place(512 * MIB);

    fake.machine.ram_count = 0;
    for (uint64_t pieces = 1 + random_below(60); pieces-- > 0;) {
        const uint64_t first = odd_place(1ull << 40);
        const uint64_t bytes =
            random_below(3) ? PAGE_BYTES * (1 + random_below(2000)) : odd_place(4 * GIB);
        fake_add_ram(&fake, first, first + (bytes ? bytes : PAGE_BYTES));
    }
    // What firmware gave us lies in RAM.
    image->base = base;
    image->text = (struct range){base, PAGE_BYTES * (1 + random_below(600))};
    image->rodata =
        (struct range){image->text.phys + image->text.bytes, PAGE_BYTES * (1 + random_below(9))};
    image->data =
        (struct range){image->rodata.phys + image->rodata.bytes, PAGE_BYTES * random_below(700)};
    fake.entry = base + 0x10;
    fake_add_ram(&fake, base, image->data.phys + image->data.bytes);
    fake_add_ram(&fake, arena_phys, arena_phys + 64 * MIB);
    if (random_below(2))
        fake_add_ram(&fake, 0, 0x80000 + PAGE_BYTES * random_below(32));
    merge_ram();
    fake.machine.low_page = (uint32_t)(PAGE_BYTES * (1 + random_below(159)));
    fake.machine.apic_base = random_below(2) ? 0xfee00900 : odd_place(1ull << 40) | 0x900;
    arena_plan(count, address_space_bound(&fake.machine, count), &fake.arena);
    fake_map_arena(&fake.arena, arena_phys);
    for (size_t slot = 0; slot < count; slot++)
        arena_lcpu(&fake.arena, slot)->lcpu.stack = arena_stack(&fake.arena, slot) + STACK_BYTES;
}

// Does the APIC's page fall on something that must be otherwise? Then this machine cannot be.
static bool apic_is_in_the_way(void)
{
    const uint64_t apic = fake.machine.apic_base & ~0xfffull;
    const struct range arena = {fake.arena.phys, fake.arena.bytes};
    const struct range image = {fake.machine.image.base, 8 * MIB};
    return apic < MIB || is_in(&arena, apic) || is_in(&image, apic);
}

static void test_odd_machines(void **state)
{
    static const uint64_t arenas[] = {GIB - 0x21000, GIB - 3 * MIB, GIB + 0x1000,
                                      GIB + 2 * MIB - 0x3000, GIB / 2 - 0x6000};
    static const size_t counts[] = {1, 2, 7, 104, 300};

    (void)state;
    random_state = 0x6f6464ull;
    for (unsigned round = 0; round < 150; round++) {
        memset(&fake, 0, sizeof fake);
        fake.machine.ram = fake.ram;
        fake.machine.processor.phys_bits = 42;
        take_shape(&shapes[round % 5]);
        odd_machine(counts[random_below(5)], arenas[random_below(5)]);
        if (!apic_is_in_the_way()) {
            build();
            assert_true(fake.tables.pages_used <= fake.arena.tables_pages);
            for (size_t i = 0; i < fake.machine.ram_count; i++) {
                assert_around(fake.ram[i].phys);
                assert_around(fake.ram[i].phys + fake.ram[i].bytes);
            }
            const struct image *image = &fake.machine.image;
            assert_pages(image->base, image->data.phys + image->data.bytes + PAGE_BYTES);
            assert_pages(fake.arena.phys, fake.arena.phys + fake.arena.bytes);
            assert_pages(0, 2 * MIB);
            assert_around(fake.machine.apic_base & ~0xfffull);
            assert_int_equal(prove(), STATUS_OK);
            assert_nothing_told();
        }
        fake_machine_stop(&fake);
    }
}

// RAM in one large piece takes next to no tables by itself: all that is cut into it must be in the
// bound.
static void test_bound_of_exceptions_alone(void **state)
{
    static const uint64_t bases[] = {2 * MIB - 0x1000, 32 * MIB - 0x3000, 512 * MIB - 0x2000,
                                     GIB - 0x1000};

    (void)state;
    for (size_t i = 0; i < 4 * sizeof shapes / sizeof shapes[0]; i++) {
        const uint64_t base = bases[i % 4],
                       arena_phys = GIB + (i % 4) * (GIB / 8 - 0x2000) + 0x100000;
        memset(&fake, 0, sizeof fake);
        fake.machine.ram = fake.ram;
        fake.machine.processor.phys_bits = 46;
        fake.machine.apic_base = 1ull << 45 | 0xfee00900;
        fake.machine.low_page = FAKE_LOW_PAGE;
        fake.machine.image = (struct image){.base = base,
                                            .text = {base, 2 * MIB},
                                            .rodata = {base + 2 * MIB, 2 * MIB},
                                            .data = {base + 4 * MIB, 2 * MIB}};
        fake.entry = base;
        fake_add_ram(&fake, 0, 2 * GIB);
        take_shape(&shapes[i / 4]);
        arena_plan(1, address_space_bound(&fake.machine, 1), &fake.arena);
        fake_map_arena(&fake.arena, arena_phys);
        arena_lcpu(&fake.arena, 0)->lcpu.stack = arena_stack(&fake.arena, 0) + STACK_BYTES;
        build();
        assert_pages(0, 2 * MIB);
        assert_pages(base - MIB, base + 7 * MIB);
        assert_pages(arena_phys - MIB, arena_phys + fake.arena.bytes + MIB);
        assert_around(fake.machine.apic_base & ~0xfffull);
        assert_int_equal(prove(), STATUS_OK);
        fake_machine_stop(&fake);
    }
}

// Many processors: the stacks alone are 20 KiB each, and no bound may run away either.
static void test_bound_grows_with_processors(void **state)
{
    (void)state;
    fake_machine_start(&fake, 1, 0, entry);
    const size_t one = address_space_bound(&fake.machine, 1);
    const size_t many = address_space_bound(&fake.machine, 4096);
    assert_in_range(one, 10, 200);
    // A table for each 2 MiB of stacks at least, and not many more.
    assert_in_range(many - one, 4096 / 103, 4 * 4096 / 103);
}

// ---- tables that cannot be built ----

static void test_pool_too_small(void **state)
{
    struct problems problems;

    (void)state;
    fake_machine_start(&fake, 16, 0, entry);
    build();
    const size_t needed = fake.tables.pages_used;
    const size_t all = fake.arena.tables_pages;
    for (size_t pages = 0; pages < needed; pages++) {
        uint8_t *pool = (uint8_t *)(uintptr_t)(fake.arena.phys + fake.arena.tables_offset);
        memset(pool, 0xa5, all * PAGE_BYTES);
        fake.arena.tables_pages = pages;
        problems = told_listen(&told);
        enum status status =
            address_space_build(&fake.machine, &fake.arena, &problems, &fake.tables);
        if (status == STATUS_OK)
            status = address_space_place(&fake.machine, &fake.arena, &problems, &fake.tables);
        assert_int_equal(status, STATUS_NO_SPACE);
        assert_int_equal(told.count, 1); // and never silently
        assert_int_equal(told_times(&told, "page-tables", ""), 1);
        assert_int_equal(told_times(&told, "page-tables", "the page tables are full"), pages > 0);
        for (size_t i = pages * PAGE_BYTES; i < all * PAGE_BYTES; i++)
            assert_int_equal(pool[i], 0xa5);
    }
    fake.arena.tables_pages = needed;
    build();
    fake.arena.tables_pages = all;
}

static void assert_not_built(const char *text)
{
    const struct problems problems = told_listen(&told);

    assert_int_equal(address_space_build(&fake.machine, &fake.arena, &problems, &fake.tables),
                     STATUS_INVALID);
    assert_int_equal(told.count, 1);
    assert_int_equal(told_times(&told, "page-tables", text), 1);
    assert_int_equal(told.lines[0].severity, SEVERITY_ERROR);
}

static void test_facts_that_cannot_be(void **state)
{
    (void)state;
    fake_machine_start(&fake, 2, 0, entry);
    fake.machine.processor.phys_bits = 32; // and RAM at 4 GiB
    assert_not_built("cannot map RAM at 0x100000000, 2147483648 bytes");
    fake.machine.processor.phys_bits = 40;
    fake.ram[2].bytes = 1ull << 40; // beyond the last address
    assert_not_built("cannot map RAM at 0x100000000");
    fake.ram[2].bytes = GIB + 8;
    assert_not_built("not page-aligned");
    fake.ram[2].bytes = GIB;
    fake.machine.image.rodata.phys += 16;
    assert_not_built("cannot map constants");
    fake.machine.image.rodata.phys -= 16;
    for (uint32_t bits = 0; bits < 70; bits++) {
        fake.machine.processor.phys_bits = bits;
        if (bits < 32 || bits > 52)
            assert_not_built("physical address bits");
    }
}

// ---- the proof ----

// Names the thing, where it is, what it should be, and the level at which the walk ended.
static void assert_refused(const char *name, uint64_t virt, const char *wanted)
{
    char start[128], level[64];

    assert_int_equal(prove(), STATUS_INVALID);
    snprintf(start, sizeof start, "%s at 0x%llx is to be %s", name, (unsigned long long)virt,
             wanted);
    snprintf(level, sizeof level, "the walk ended at level %u", walk(virt).level);
    if (told.count != 1 || told_times(&told, "page-walk", start) != 1)
        print_error("wanted: %s\ntold: %s\n", start, told.lines[0].detail);
    assert_int_equal(told.count, 1);
    assert_int_equal(told_times(&told, "page-walk", start), 1);
    assert_int_equal(told_times(&told, "page-walk", level), 1);
    assert_int_equal(told.lines[0].severity, SEVERITY_ERROR);
}

// From sound tables: one page is mapped otherwise, the proof fails because of it, and it is mended.
static void assert_needs(const char *name, uint64_t page, const char *wanted)
{
    const struct found before = walk(page);
    const enum page_rights rights =
        before.writable ? (before.uncached ? PAGE_WRITE | PAGE_UNCACHED : PAGE_WRITE)
                        : (before.executable ? PAGE_EXEC : PAGE_READ);
    const enum page_rights others[] = {PAGE_READ, PAGE_WRITE, PAGE_EXEC,
                                       PAGE_WRITE | PAGE_UNCACHED};
    struct page_tables *tables = &fake.tables;

    assert_int_equal(prove(), STATUS_OK);
    assert_int_equal(page_tables_unmap(tables, page, PAGE_BYTES), STATUS_OK);
    assert_refused(name, page, wanted);
    assert_int_equal(page_tables_map(tables, page, before.phys ^ PAGE_BYTES, PAGE_BYTES, rights),
                     STATUS_OK);
    assert_refused(name, page, wanted);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_int_equal(page_tables_map(tables, page, before.phys, PAGE_BYTES, others[i]),
                         STATUS_OK);
        if (others[i] == rights)
            assert_int_equal(prove(), STATUS_OK);
        else
            assert_refused(name, page, wanted);
    }
    assert_int_equal(page_tables_map(tables, page, before.phys, PAGE_BYTES, rights), STATUS_OK);
    assert_int_equal(prove(), STATUS_OK);
}

static void assert_needs_hole(const char *name, uint64_t page)
{
    assert_int_equal(page_tables_map(&fake.tables, page, page, PAGE_BYTES, PAGE_READ), STATUS_OK);
    assert_refused(name, page, "unmapped");
    assert_int_equal(page_tables_unmap(&fake.tables, page, PAGE_BYTES), STATUS_OK);
    assert_int_equal(prove(), STATUS_OK);
}

// 600 processors, so that their table has more than one page.
static void test_proof_of_what_is_shared(void **state)
{
    (void)state;
    fake_machine_start(&fake, 600, 0, entry);
    // The mapping is changed page by page below: nothing of it may fail for want of tables.
    build();
    const struct image *image = &fake.machine.image;
    const uint64_t table = (uintptr_t)arena_table(&fake.arena);

    assert_needs("the trampoline", FAKE_LOW_PAGE, "executable");
    assert_needs("the window", fake.arena.phys + fake.arena.window_offset, "writable");
    assert_needs("code", image->text.phys, "executable");
    assert_needs("code", image->text.phys + image->text.bytes - PAGE_BYTES, "executable");
    assert_needs("constants", image->rodata.phys + PAGE_BYTES, "read only");
    assert_needs("data", image->data.phys, "writable");
    assert_needs("data", image->data.phys + image->data.bytes - PAGE_BYTES, "writable");
    assert_needs("the rally", (uintptr_t)arena_rally(&fake.arena), "writable");
    assert_true(fake.arena.table_entries * LCPU_ID_BYTES == 2 * PAGE_BYTES);
    assert_needs("the table of IDs", table, "writable");
    assert_needs("the table of IDs", table + PAGE_BYTES, "writable");
    assert_needs("the APIC", 0xfee00000, "uncached");
    assert_needs_hole("the null page", 0);
}

static void test_proof_of_the_entry(void **state)
{
    (void)state;
    fake_machine_start(&fake, 2, 0, entry);
    build();
    // Somewhere in data: not executable, whatever else is right.
    fake.entry = fake.machine.image.data.phys + 0x123;
    assert_refused("the AP's entry", fake.entry, "executable");
    fake.entry = 0xb0000000000;
    assert_refused("the AP's entry", fake.entry, "executable");
    assert_int_equal(told_times(&told, "page-walk", "not mapped"), 1);
}

static void test_proof_of_what_is_own(void **state)
{
    static const size_t slots[] = {0, 1, 31, 63};

    (void)state;
    fake_machine_start(&fake, 64, 0, entry);
    build();
    for (size_t i = 0; i < sizeof slots / sizeof slots[0]; i++) {
        const uint64_t stack = arena_stack(&fake.arena, slots[i]);
        assert_needs("a processor's record", (uintptr_t)arena_lcpu(&fake.arena, slots[i]),
                     "writable");
        for (uint64_t at = 0; at < STACK_BYTES; at += PAGE_BYTES)
            assert_needs("a stack", stack + at, "writable");
        assert_needs_hole("a guard page", stack - GUARD_BYTES);

        struct lcpu *lcpu = &arena_lcpu(&fake.arena, slots[i])->lcpu;
        for (int wrong = -8; wrong <= 8; wrong += 8) {
            lcpu->stack = stack + STACK_BYTES + (uint64_t)(int64_t)wrong;
            assert_int_equal(prove(), wrong == 0 ? STATUS_OK : STATUS_INVALID);
            assert_int_equal(told.count, wrong != 0);
        }
        lcpu->stack = stack + STACK_BYTES;
    }
}

// A walk that ends higher up says so, and several things that are wrong are all told.
static void test_proof_tells_levels(void **state)
{
    char text[64];

    (void)state;
    fake_machine_start(&fake, 2, 0, entry);
    build();
    for (unsigned level = 2; level <= 4; level++) {
        const uint64_t bytes = 1ull << (12 + 9 * (level - 1));
        assert_int_equal(page_tables_unmap(&fake.tables, 0xfee00000 & ~(bytes - 1), bytes),
                         STATUS_OK);
        assert_int_equal(prove(), STATUS_INVALID);
        snprintf(text, sizeof text, "level %u: not mapped", level);
        assert_int_equal(told_times(&told, "page-walk", "the APIC at 0xfee00000 is to be uncached"),
                         1);
        assert_true(told_times(&told, "page-walk", text) >= 1);
    }
    // The last one took all with it: what is to be unmapped still is, and each other thing is told.
    assert_int_equal(told.count, 11 + 2 * 2);
}

// Firmware may grant memory out of a piece that its map calls reserved: neither the arena nor what
// the BSP touches is RAM to this map, and all of it is mapped and proved all the same.
static void test_own_memory_that_the_map_does_not_call_ram(void **state)
{
    static const uint64_t journal = 3 * GIB + 0x7000, shadow = 3 * GIB + 300 * MIB;

    (void)state;
    for (size_t count = 1; count <= 300; count += 299) {
        fake_machine_start(&fake, count, 0, entry);
        struct machine *machine = &fake.machine;
        fake_unmap_arena(&fake.arena);
        machine->ram_count = 1; // below 640 KiB
        assert_int_equal(
            address_space_own(machine, "the journal", (const void *)(uintptr_t)journal, 0x9001),
            STATUS_OK);
        assert_int_equal(address_space_own(machine, "the screen's shadow",
                                           (const void *)(uintptr_t)shadow, 5 * MIB),
                         STATUS_OK);
        arena_plan(count, address_space_bound(machine, count), &fake.arena);
        fake_map_arena(&fake.arena, 0);
        static struct lcpu_plan plans[300];
        arena_prepare(&fake.arena, plans, entry, NULL);
        build();
        assert_int_equal(prove(), STATUS_OK);
        const struct found last = walk(journal + 0x9000), behind = walk(journal + 0xa000);
        assert_true(last.mapped && last.writable && !last.executable);
        assert_false(behind.mapped);
        assert_int_equal(page_tables_unmap(&fake.tables, journal + 0x3000, PAGE_BYTES), STATUS_OK);
        assert_int_equal(prove(), STATUS_INVALID);
        assert_int_equal(told_times(&told, "page-walk", "the journal at 0xc000a000"), 1);
        fake_machine_stop(&fake);
    }
}

// A map in a thousand pieces takes no more tables than one without a hole, cut into small pages.
static void test_a_map_in_many_pieces(void **state)
{
    (void)state;
    fake_machine_start(&fake, 4, 0, entry);
    fake_unmap_arena(&fake.arena);
    fake.machine.ram_count = 0;
    for (uint64_t at = 0; at < (FAKE_RAM_MAX - 1) * 256 * 1024; at += 256 * 1024)
        fake_add_ram(&fake, at + PAGE_BYTES, at + 256 * 1024);
    const size_t bound = address_space_bound(&fake.machine, 4);
    assert_in_range(bound, 64 / 2, 64 / 2 + 60); // 64 MiB
    arena_plan(4, bound, &fake.arena);
    fake_map_arena(&fake.arena, 0);
    build();
    fake_machine_stop(&fake);
}

static void test_own_memory_has_a_bound(void **state)
{
    struct machine machine = {0};

    (void)state;
    assert_int_equal(address_space_own(&machine, "nothing", NULL, PAGE_BYTES), STATUS_OK);
    assert_int_equal(machine.own_count, 0);
    for (size_t i = 0; i < OWN_MEMORY_MAX; i++)
        assert_int_equal(address_space_own(&machine, "a piece", &machine, 1), STATUS_OK);
    assert_int_equal(address_space_own(&machine, "one too many", &machine, 1), STATUS_NO_SPACE);
    assert_int_equal(machine.own_count, OWN_MEMORY_MAX);
}

// A trampoline's page that nobody mapped, and one that is another than the window leads to.
static void test_proof_of_the_low_page(void **state)
{
    (void)state;
    fake_machine_start(&fake, 2, 0, entry);
    const struct problems problems = told_listen(&told);
    assert_int_equal(address_space_build(&fake.machine, &fake.arena, &problems, &fake.tables),
                     STATUS_OK);
    assert_int_equal(prove(), STATUS_INVALID);
    assert_int_equal(
        told_times(&told, "page-walk", "the trampoline at 0x9e000 is to be executable"), 1);
    assert_int_equal(told_times(&told, "page-walk", "the window at "), 1);
    assert_int_equal(told.count, 2);

    build();
    assert_int_equal(prove(), STATUS_OK);
    fake.machine.low_page = FAKE_LOW_PAGE - PAGE_BYTES;
    assert_int_equal(prove(), STATUS_INVALID);
    assert_int_equal(told.count, 2);
}

// Without NX nothing can be kept from being executed; the rest is asked for as ever.
static void test_proof_without_nx(void **state)
{
    (void)state;
    fake_machine_start(&fake, 2, 0, entry);
    fake.machine.processor.no_execute = false;
    build();
    assert_int_equal(prove(), STATUS_OK);
    const uint64_t page = fake.machine.image.text.phys;
    assert_int_equal(page_tables_map(&fake.tables, page, page, PAGE_BYTES, PAGE_WRITE), STATUS_OK);
    assert_refused("code", page, "executable");
}

#define TEST(name) cmocka_unit_test_teardown(name, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_typical_machine),
        TEST(test_reset_register),
        TEST(test_apic),
        TEST(test_frame_buffer),
        TEST(test_odd_machines),
        TEST(test_bound_of_exceptions_alone),
        TEST(test_bound_grows_with_processors),
        TEST(test_pool_too_small),
        TEST(test_facts_that_cannot_be),
        TEST(test_proof_of_what_is_shared),
        TEST(test_proof_of_the_entry),
        TEST(test_proof_of_what_is_own),
        TEST(test_proof_tells_levels),
        TEST(test_own_memory_that_the_map_does_not_call_ram),
        TEST(test_a_map_in_many_pieces),
        TEST(test_own_memory_has_a_bound),
        TEST(test_proof_of_the_low_page),
        TEST(test_proof_without_nx),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
