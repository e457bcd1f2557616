// The address space of the APs: built from region lists of many shapes, and then walked, page by
// page, by a walker of this file's own that knows only the manual, and compared with what the list
// says. The proof is tried on sound tables, and on tables in which one thing is wrong at a time.
// Surprise: the engine's "physical" address is a number here. Nothing is there but at its view.
#define _GNU_SOURCE

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "address_space.h"
#include "engine.h"
#include "told.h"

#define KIB         (1ull << 10)
#define MIB         (1ull << 20)
#define GIB         (1ull << 30)
#define LOW_PAGE    0x9e000u
#define ENGINE_PHYS (64 * MIB)
#define CPUS_MAX    4096u
#define REGIONS_MAX 300u
#define IMAGE       (32 * MIB - 0x5000) // its parts lie on both sides of a 2 MiB border

static struct told told;
static struct smp_cpu cpus[CPUS_MAX];
static struct smp_region regions[REGIONS_MAX];
static struct smp_setup setup;
static struct smp *smp;

static uint64_t random_state;

// xorshift64: the same numbers in every run.
static uint64_t random_below(uint64_t limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % limit;
}

// ---- the bench ----

static void add(const char *name, uint64_t virt, uint64_t phys, uint64_t bytes, uint32_t rights)
{
    assert_true(setup.region_count < REGIONS_MAX);
    regions[setup.region_count++] = (struct smp_region){name, virt, phys, bytes, rights};
}

static void add_ram(uint64_t first, uint64_t end)
{
    add("RAM", first, first, end - first, SMP_WRITE);
}

// A setup without a region.
static void start(size_t count)
{
    for (uint32_t i = 0; i < CPUS_MAX; i++)
        cpus[i] = (struct smp_cpu){i, i};
    setup = (struct smp_setup){
        .cpus = cpus,
        .count = count,
        .features = {.phys_bits = 40,
                     .id_leaf = 0xb,
                     .gib_pages = true,
                     .no_execute = true,
                     .machine_check = true},
        .apic_mode = SMP_X2APIC,
        .apic_phys = 0xfee00000,
        .tsc_hz = 1000000000,
        .regions = regions,
        .host = {.problems = told_listen(&told)},
        .memory = {.phys = ENGINE_PHYS},
    };
}

static uint64_t entry_page(void)
{
    return (uintptr_t)ap_main / PAGE_BYTES * PAGE_BYTES;
}

// Where APs reach C: seen where this program has it, and lying elsewhere.
static void add_entry(void)
{
    add("the program", entry_page(), 20 * MIB, PAGE_BYTES, SMP_EXECUTE | SMP_NEEDED);
}

// A PC: 640 KiB, a hole, RAM around the image and the engine, a hole below 4 GiB with the APIC in
// it, and RAM above.
static void start_pc(size_t count)
{
    start(count);
    add_ram(0, 0xa0000);
    add_ram(MIB, 2 * GIB - 0x123000);
    add_ram(4 * GIB, 6 * GIB);
    add("code", IMAGE + 0x1000, IMAGE + 0x1000, 0xb000, SMP_EXECUTE | SMP_NEEDED);
    add("constants", IMAGE + 0xc000, IMAGE + 0xc000, 0x3000, SMP_READ | SMP_NEEDED);
    add("data", IMAGE + 0xf000, IMAGE + 0xf000, 0x5000, SMP_WRITE | SMP_NEEDED);
    add_entry();
}

static void give_back(void)
{
    if (setup.memory.view != NULL)
        munmap(setup.memory.view, setup.memory.bytes);
    setup.memory.view = NULL;
}

static int tear_down(void **state)
{
    (void)state;
    give_back();
    return 0;
}

static void take_memory(void)
{
    setup.memory.bytes = smp_memory_bytes(&setup);
    setup.memory.view =
        mmap(NULL, setup.memory.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(setup.memory.view != MAP_FAILED);
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
    take_memory();
    assert_int_equal(smp_open(&setup, &smp), STATUS_OK);
    assert_int_equal(smp_map_page(smp, LOW_PAGE), STATUS_OK);
    assert_nothing_told();
}

static enum status prove(void)
{
    memset(&told, 0, sizeof told);
    return address_space_prove(smp);
}

// ---- a walk as the processor does it (SDM vol. 3A, "4-Level Paging and 5-Level Paging") ----

struct found {
    bool mapped, writable, executable, uncached, combining;
    uint64_t phys;
    unsigned level;
};

static struct found walk(uint64_t virt)
{
    const struct smp_features *features = &setup.features;
    struct found found = {
        .writable = true, .executable = true, .level = features->five_levels ? 5 : 4};
    uint64_t table = smp->parameters.x86_bpt_pml4_addr; // what CR3 will hold

    for (;; found.level--) {
        const unsigned shift = 12 + 9 * (found.level - 1);
        uint64_t entry;
        // Whatever the processor follows lies in the engine's memory.
        assert_true(table % PAGE_BYTES == 0 && table >= setup.memory.phys &&
                    table < setup.memory.phys + setup.memory.bytes);
        memcpy(&entry,
               (const uint8_t *)setup.memory.view + (table - setup.memory.phys) +
                   (virt >> shift) % 512 * 8,
               8);
        if (!(entry & 1))
            return (struct found){.level = found.level};
        found.writable &= entry >> 1 & 1;
        found.executable &= !features->no_execute || !(entry >> 63);
        // Without NXE bit 63 is reserved, and so is the address beyond MAXPHYADDR.
        assert_true(features->no_execute || !(entry >> 63));
        table = entry & 0x000ffffffffff000;
        assert_int_equal(table >> features->phys_bits, 0);
        const bool large = found.level > 1 && entry >> 7 & 1;
        if (found.level > 1 && !large)
            continue;
        assert_true(found.level <= (features->gib_pages ? 3 : 2));
        assert_int_equal(table % (1ull << shift), 0);
        found.mapped = true;
        found.uncached = (entry >> 3 & 3) == 3;
        found.combining = (entry >> 3 & 3) == 1;
        found.phys = table + virt % (1ull << shift);
        return found;
    }
}

// ---- what each page is for: the list, read by this file ----

static bool is_in(uint64_t first, uint64_t bytes, uint64_t address)
{
    return address >= first && address - first < bytes;
}

static bool is_guard(uint64_t page)
{
    const uint64_t stacks = setup.memory.phys + smp->arena.stacks_offset;
    const uint64_t each = PAGE_BYTES + SMP_STACK_BYTES;
    return is_in(stacks, setup.count * each, page) && (page - stacks) % each < PAGE_BYTES;
}

static struct found as_asked(uint64_t phys, uint32_t rights)
{
    return (struct found){true,
                          rights & SMP_WRITE,
                          rights & SMP_EXECUTE || !setup.features.no_execute,
                          rights & SMP_UNCACHED,
                          rights & SMP_COMBINING,
                          phys,
                          0};
}

static struct found expected_at(uint64_t page)
{
    const struct smp_memory *memory = &setup.memory;
    struct found expected = {0};

    if (page == 0 || is_guard(page))
        return expected;
    if (page == LOW_PAGE)
        return as_asked(page, SMP_EXECUTE);
    if (page == memory->phys + smp->arena.window_offset)
        return as_asked(LOW_PAGE, SMP_WRITE);
    if (page == setup.apic_phys)
        return as_asked(page, SMP_WRITE | SMP_UNCACHED);
    if (is_in(memory->phys, memory->bytes, page))
        return as_asked(page, SMP_WRITE);
    for (size_t i = 0; i < setup.region_count; i++) {
        const struct smp_region *region = &regions[i];
        const uint64_t phys = region->phys + (page - region->virt);
        if (!is_in(region->virt, region->bytes, page))
            continue;
        expected = as_asked(phys, region->rights);
    }
    return expected;
}

static void assert_page(uint64_t page)
{
    const struct found found = walk(page), expected = expected_at(page);

    if (found.mapped == expected.mapped &&
        (!found.mapped ||
         (found.phys == expected.phys && found.writable == expected.writable &&
          found.executable == expected.executable && found.uncached == expected.uncached &&
          found.combining == expected.combining)))
        return;
    fail_msg("page 0x%llx: mapped %d to 0x%llx, w %d x %d uc %d wc %d; wanted %d to 0x%llx, w %d x "
             "%d uc %d wc %d",
             (unsigned long long)page, found.mapped, (unsigned long long)found.phys, found.writable,
             found.executable, found.uncached, found.combining, expected.mapped,
             (unsigned long long)expected.phys, expected.writable, expected.executable,
             expected.uncached, expected.combining);
}

static void assert_pages(uint64_t first, uint64_t end)
{
    for (uint64_t page = first & ~(uint64_t)(PAGE_BYTES - 1); page != end; page += PAGE_BYTES)
        assert_page(page);
}

// Some pages on both sides of a border; none where no address is canonical.
static void assert_around(uint64_t border)
{
    for (uint64_t i = 0; i < 6; i++) {
        const uint64_t page =
            (border & ~(uint64_t)(PAGE_BYTES - 1)) + i * PAGE_BYTES - 3 * PAGE_BYTES;
        const uint64_t top = page >> (setup.features.five_levels ? 56 : 47);
        if (top == 0 || page >> 47 == 0x1ffff)
            assert_page(page);
    }
}

static void assert_memory(void)
{
    const struct smp_memory *memory = &setup.memory;
    assert_pages(memory->phys - MIB,
                 memory->phys + memory->bytes + MIB - memory->bytes % PAGE_BYTES);
}

// ---- sound tables ----

static const struct shape {
    const char *name;
    bool five_levels, gib_pages, no_execute;
} shapes[] = {
    {"4 levels", false, true, true},          {"5 levels", true, true, true},
    {"4 levels, 2 MiB", false, false, true},  {"5 levels, 2 MiB", true, false, true},
    {"4 levels, no NX", false, false, false},
};

#define SHAPES (sizeof shapes / sizeof shapes[0])

static void take_shape(const struct shape *shape)
{
    setup.features.five_levels = shape->five_levels;
    setup.features.gib_pages = shape->gib_pages;
    setup.features.no_execute = shape->no_execute;
}

// Every page up to 7 GiB of a PC: RAM with holes, the image, the APIC, stacks with their guards.
static void test_a_pc(void **state)
{
    (void)state;
    for (size_t i = 0; i < SHAPES; i++) {
        start_pc(64);
        take_shape(&shapes[i]);
        build();
        assert_int_equal(smp->tables.levels, shapes[i].five_levels ? 5 : 4);
        assert_pages(0, i == 0 ? 7 * GIB : 64 * MIB);
        assert_memory();
        assert_around(2 * GIB - 0x123000);
        assert_around(0xfee00000);
        assert_around(4 * GIB);
        assert_around(6 * GIB);
        assert_around(1ull << 39);
        assert_around(1ull << 46);
        assert_int_equal(prove(), STATUS_OK);
        assert_nothing_told();
        give_back();
    }
}

// A kernel in the higher half: its code and data are seen at one address and lie at another;
// stacks, records and the page below 1 MiB stay where they are.
static void test_a_kernel_in_the_higher_half(void **state)
{
    static const uint64_t halves[] = {0xffffffff80000000, 0xffff800000000000, 0xffff888000000000};

    (void)state;
    for (size_t i = 0; i < 3 * SHAPES; i++) {
        const uint64_t kernel = halves[i % 3];
        start(8);
        take_shape(&shapes[i / 3]);
        add("text", kernel + MIB, 5 * MIB, 3 * MIB + 0x3000, SMP_EXECUTE | SMP_NEEDED);
        add("rodata", kernel + 5 * MIB, 9 * MIB, MIB, SMP_READ | SMP_NEEDED);
        add("data", kernel + 8 * MIB, 30 * MIB, 7 * MIB, SMP_WRITE | SMP_NEEDED);
        add("direct map", kernel + GIB, 0, GIB / 2, SMP_WRITE);
        add("frame buffer", kernel + GIB + 700 * MIB, 0xc0000000, 8 * MIB,
            SMP_WRITE | SMP_COMBINING | SMP_NEEDED);
        add_entry();
        build();
        assert_pages(kernel, kernel + 20 * MIB);
        assert_around(kernel + GIB);
        assert_around(kernel + GIB + GIB / 2);
        assert_around(kernel + GIB + 700 * MIB);
        assert_around(kernel + GIB + 708 * MIB);
        assert_pages(0, 2 * MIB);
        assert_memory();
        assert_int_equal(prove(), STATUS_OK);
        assert_nothing_told();
        give_back();
    }
}

// Every use that a region may have.
static void test_rights(void **state)
{
    static const uint32_t rights[] = {
        SMP_READ,
        SMP_WRITE,
        SMP_EXECUTE,
        SMP_READ | SMP_UNCACHED,
        SMP_WRITE | SMP_UNCACHED,
        SMP_WRITE | SMP_COMBINING,
        SMP_READ | SMP_COMBINING,
    };

    (void)state;
    for (size_t i = 0; i < sizeof rights / sizeof rights[0]; i++) {
        start_pc(2);
        add("a region", 3 * GIB, 7 * GIB, 3 * MIB, rights[i] | SMP_NEEDED);
        build();
        assert_pages(3 * GIB - MIB, 3 * GIB + 4 * MIB);
        assert_int_equal(prove(), STATUS_OK);
        give_back();
    }
}

// Written and executed, and two types of memory at once, are refused.
static void test_rights_that_cannot_be(void **state)
{
    static const uint32_t rights[] = {SMP_WRITE | SMP_EXECUTE, SMP_UNCACHED | SMP_COMBINING};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        start_pc(2);
        add("a region", 3 * GIB, 3 * GIB, MIB, rights[i]);
        take_memory();
        assert_int_equal(smp_open(&setup, &smp), STATUS_INVALID);
        assert_int_equal(told_times(&told, "page-tables", "cannot map a region at 0xc0000000"), 1);
        assert_int_equal(told.count, 1);
        give_back();
    }
}

// Some maps call everything RAM; the APIC stays uncached, and an APIC that was moved is followed.
static void test_apic(void **state)
{
    static const uint64_t places[] = {0xfee00000, 0x10fee00000, 0x1ff000000};

    (void)state;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        start(2);
        add_ram(0, 6 * GIB);
        add_entry();
        setup.apic_phys = places[i];
        build();
        assert_around(places[i]);
        assert_true(walk(places[i]).uncached);
        assert_int_equal(prove(), STATUS_OK);
        give_back();
    }
}

// ---- SMP_FILL ----

// Memory that a map calls RAM stays in its large pages; what it calls reserved is mapped all the
// same, to the last page and not one more; what was read-only becomes writable.
static void test_fill(void **state)
{
    (void)state;
    start_pc(2);
    add("inside RAM", GIB, GIB, 5 * MIB, SMP_WRITE | SMP_FILL | SMP_NEEDED);
    add("outside", 3 * GIB + 0x7000, 3 * GIB + 0x7000, 0xa000, SMP_WRITE | SMP_FILL | SMP_NEEDED);
    add("across", 2 * GIB - 0x124000, 2 * GIB - 0x124000, 0x4000,
        SMP_WRITE | SMP_FILL | SMP_NEEDED);
    build();
    assert_int_equal(walk(GIB + 0x3000).level, 2);
    assert_pages(GIB - MIB, GIB + 6 * MIB);
    assert_pages(3 * GIB, 3 * GIB + 0x20000);
    assert_around(2 * GIB - 0x123000);
    assert_around(2 * GIB - 0x120000);
    assert_false(walk(3 * GIB + 0x11000).mapped);
    assert_int_equal(prove(), STATUS_OK);
    assert_int_equal(smp_unmap(smp, 3 * GIB + 0xa000, PAGE_BYTES), STATUS_OK);
    assert_int_equal(prove(), STATUS_INVALID);
    assert_int_equal(told_times(&told, "page-walk", "outside at 0xc000a000"), 1);
    give_back();

    // Mapped to other memory, or read only: it is not what was asked for.
    start_pc(2);
    add("window", 3 * GIB, 0, 0x4000, SMP_WRITE);
    add("read only", 3 * GIB + 0x4000, 3 * GIB + 0x4000, 0x4000, SMP_READ);
    add("all", 3 * GIB, 3 * GIB, 0x8000, SMP_WRITE | SMP_FILL | SMP_NEEDED);
    build();
    assert_pages(3 * GIB, 3 * GIB + 0x10000);
    assert_true(walk(3 * GIB).phys == 3 * GIB && walk(3 * GIB + 0x4000).writable);
    assert_int_equal(prove(), STATUS_OK);
}

// Firmware may grant memory out of a piece that its map calls reserved: the engine's is no RAM to
// this map, and is mapped and proved all the same.
static void test_the_engine_outside_of_ram(void **state)
{
    (void)state;
    for (size_t count = 1; count <= 300; count += 299) {
        start(count);
        add_ram(0, 0xa0000);
        add_entry();
        build();
        assert_memory();
        assert_int_equal(prove(), STATUS_OK);
        give_back();
    }
}

// ---- SMP_NEEDED ----

// A later region takes a page of one that was needed: told by name. Of one that was not, nothing is
// said.
static void test_needed(void **state)
{
    (void)state;
    for (uint32_t needed = 0; needed < 2; needed++) {
        start_pc(2);
        add("tables of firmware", 3 * GIB, 3 * GIB, 0x5000, needed ? SMP_NEEDED : SMP_READ);
        add("a device", 3 * GIB + 0x3000, 3 * GIB + 0x3000, PAGE_BYTES, SMP_WRITE | SMP_UNCACHED);
        build();
        assert_pages(3 * GIB, 3 * GIB + 0x8000);
        assert_int_equal(prove(), needed ? STATUS_INVALID : STATUS_OK);
        assert_int_equal(told.count, needed);
        assert_int_equal(
            told_times(&told, "page-walk", "tables of firmware at 0xc0003000 is to be read only"),
            needed);
        give_back();
    }
}

static void test_unmap(void **state)
{
    (void)state;
    start_pc(2);
    build();
    assert_true(walk(5 * GIB).mapped);
    assert_int_equal(smp_unmap(smp, 5 * GIB, 3 * PAGE_BYTES), STATUS_OK);
    assert_false(walk(5 * GIB).mapped || walk(5 * GIB + 2 * PAGE_BYTES).mapped);
    assert_true(walk(5 * GIB - 1).mapped && walk(5 * GIB + 3 * PAGE_BYTES).mapped);
    assert_int_equal(smp_unmap(smp, 5 * GIB + 1, PAGE_BYTES), STATUS_INVALID);
    assert_int_equal(told_times(&told, "page-tables", "cannot unmap a region at 0x140000001"), 1);
    assert_int_equal(prove(), STATUS_OK);
}

// ---- lists that are odd: is the bound enough? ----

// A place near a border of a large page, where most tables are needed.
static uint64_t odd_place(uint64_t limit)
{
    static const uint64_t borders[] = {PAGE_BYTES, 2 * MIB, GIB, 512 * GIB};
    const uint64_t border = borders[random_below(4)];
    const uint64_t place = random_below(limit) / border * border;
    return place + (random_below(4) ? random_below(4) * PAGE_BYTES : 0);
}

static uint64_t odd_length(void)
{
    const uint64_t bytes =
        random_below(3) ? PAGE_BYTES * (1 + random_below(2000)) : odd_place(4 * GIB);
    return bytes ? bytes : PAGE_BYTES;
}

static uint64_t odd_virt(void)
{
    const uint64_t place = odd_place(1ull << 46);
    return random_below(2) ? place : place | 0xffff800000000000 | 1ull << 46;
}

// Regions in any order, over one another, some seen elsewhere than they lie.
static void add_odd_regions(size_t count)
{
    static const uint32_t rights[] = {SMP_WRITE,
                                      SMP_WRITE,
                                      SMP_READ,
                                      SMP_EXECUTE,
                                      SMP_WRITE | SMP_UNCACHED,
                                      SMP_WRITE | SMP_FILL,
                                      SMP_WRITE | SMP_COMBINING};

    for (size_t i = 0; i < count; i++) {
        const uint64_t phys = odd_place(1ull << 40), bytes = odd_length();
        const uint32_t right = rights[random_below(7)];
        const uint64_t most = right & SMP_FILL && bytes > 8 * MIB ? 8 * MIB : bytes;
        add("odd", random_below(3) ? phys : odd_virt(), phys, most, right);
    }
}

// Sorted and apart from one another, as a memory map is.
static void add_odd_map(size_t count)
{
    uint64_t at = random_below(2) ? 0 : odd_place(GIB);

    for (size_t i = 0; i < count; i++) {
        const uint64_t bytes = odd_length();
        add_ram(at, at + bytes);
        at += bytes + PAGE_BYTES * (1 + random_below(random_below(2) ? 4 : 200000));
    }
}

// Regions that cover the same large pages again and again: small, whole, small.
static void add_stack_of_regions(size_t count)
{
    const uint64_t large = random_below(2) ? 2 * MIB : GIB;

    for (size_t i = 0; i < count; i++) {
        const uint64_t whole = large * random_below(3);
        const uint64_t small = whole + PAGE_BYTES * random_below(500);
        if (i % 2 == 0)
            add_ram(small, small + PAGE_BYTES);
        else
            add_ram(whole, whole + large);
    }
}

static void test_odd_lists(void **state)
{
    static const uint64_t engines[] = {GIB - 0x21000,          GIB - 3 * MIB,    GIB + 0x1000,
                                       GIB + 2 * MIB - 0x3000, GIB / 2 - 0x6000, 3 * GIB - 0x5000};
    static const size_t counts[] = {1, 2, 7, 104, 300};

    (void)state;
    random_state = 0x6f6464ull;
    for (unsigned round = 0; round < 400; round++) {
        start(counts[random_below(5)]);
        take_shape(&shapes[round % SHAPES]);
        setup.features.phys_bits = 42;
        setup.memory.phys = engines[random_below(6)];
        setup.apic_phys =
            random_below(2) ? 0xfee00000 : GIB + odd_place(1ull << 39) % (1ull << 40) + 512 * GIB;
        const size_t count = 1 + random_below(random_below(2) ? 8 : 60);
        if (round % 3 == 0)
            add_odd_map(count);
        else if (round % 3 == 1)
            add_odd_regions(count);
        else
            add_stack_of_regions(4 * count);
        if (random_below(2))
            add_odd_regions(3);
        add_entry();
        build();
        for (size_t i = 0; i < setup.region_count; i++) {
            assert_around(regions[i].virt);
            assert_around(regions[i].virt + regions[i].bytes);
        }
        assert_memory();
        assert_pages(0, 2 * MIB);
        assert_around(setup.apic_phys);
        give_back();
    }
}

// RAM in one large piece takes next to no tables by itself: all that is cut into it must be in the
// bound.
static void test_bound_of_exceptions_alone(void **state)
{
    static const uint64_t bases[] = {2 * MIB - 0x1000, 32 * MIB - 0x3000, 512 * MIB - 0x2000,
                                     GIB - 0x1000};

    (void)state;
    for (size_t i = 0; i < 4 * SHAPES; i++) {
        const uint64_t base = bases[i % 4];
        start(1);
        take_shape(&shapes[i / 4]);
        setup.features.phys_bits = 46;
        setup.apic_phys = 1ull << 45 | 0xfee00000;
        setup.memory.phys = GIB + (i % 4) * (GIB / 8 - 0x2000) + 0x100000;
        add_ram(0, 2 * GIB);
        add("code", base, base, 2 * MIB, SMP_EXECUTE | SMP_NEEDED);
        add("constants", base + 2 * MIB, base + 2 * MIB, 2 * MIB, SMP_READ | SMP_NEEDED);
        add("data", base + 4 * MIB, base + 4 * MIB, 2 * MIB, SMP_WRITE | SMP_NEEDED);
        add_entry(); // may lie in them, at the same address
        build();
        assert_pages(0, 2 * MIB);
        assert_pages(base - MIB, base + 7 * MIB);
        assert_memory();
        assert_around(setup.apic_phys);
        if (base > 8 * MIB)
            assert_int_equal(prove(), STATUS_OK);
        give_back();
    }
}

// As little as there can be, as far apart as it can be: five levels, an APIC that shares no table
// with anything, an engine across a GiB's border whose ends lie in two more large pages.
static void test_bound_of_next_to_nothing(void **state)
{
    (void)state;
    start(1);
    setup.features.five_levels = true;
    setup.features.phys_bits = 52;
    setup.apic_phys = 1ull << 50;
    setup.memory.phys = GIB - smp_memory_bytes(&setup) / 2 / PAGE_BYTES * PAGE_BYTES;
    build();
    assert_memory();
}

// Many processors: the stacks alone are 20 KiB each, and no bound may run away either.
static void test_bound_grows_with_processors(void **state)
{
    (void)state;
    start_pc(1);
    const size_t one = address_space_bound(&setup);
    setup.count = CPUS_MAX;
    const size_t many = address_space_bound(&setup);
    assert_in_range(one, 10, 200);
    // A table for each 2 MiB of stacks at least, and not many more.
    assert_in_range(many - one, 4096 / 103, 4 * 4096 / 103);
    build();
    assert_int_equal(prove(), STATUS_OK);
}

// A map in hundreds of pieces takes no more tables than one without a hole, cut into small pages.
static void test_a_map_in_many_pieces(void **state)
{
    (void)state;
    start(4);
    for (uint64_t at = 0; at < (REGIONS_MAX - 1) * 256 * KIB; at += 256 * KIB)
        add_ram(at + PAGE_BYTES, at + 256 * KIB);
    add_entry();
    assert_in_range(address_space_bound(&setup), 75 / 2, 75 / 2 + 60); // 75 MiB
    build();
    assert_int_equal(prove(), STATUS_OK);
}

// ---- tables that cannot be built ----

static void test_pool_too_small(void **state)
{
    (void)state;
    start_pc(16);
    build();
    const size_t needed = smp->tables.pages_used, all = smp->arena.tables_pages;
    uint8_t *pool = (uint8_t *)setup.memory.view + smp->arena.tables_offset;
    for (size_t pages = 0; pages < needed; pages++) {
        memset(pool, 0xa5, all * PAGE_BYTES);
        memset(&told, 0, sizeof told);
        smp->arena.tables_pages = pages;
        enum status status = address_space_build(smp);
        if (status == STATUS_OK)
            status = address_space_place(smp, LOW_PAGE);
        assert_int_equal(status, STATUS_NO_SPACE);
        assert_int_equal(told.count, 1); // and never silently
        assert_int_equal(told_times(&told, "page-tables", ""), 1);
        assert_int_equal(told_times(&told, "page-tables", "the page tables are full"), pages > 0);
        for (size_t i = pages * PAGE_BYTES; i < all * PAGE_BYTES; i++)
            assert_int_equal(pool[i], 0xa5);
    }
    smp->arena.tables_pages = needed;
    assert_int_equal(address_space_build(smp), STATUS_OK);
    assert_int_equal(address_space_place(smp, LOW_PAGE), STATUS_OK);
}

static void assert_not_built(const char *text)
{
    take_memory();
    memset(&told, 0, sizeof told);
    assert_int_equal(smp_open(&setup, &smp), STATUS_INVALID);
    assert_int_equal(told.count, 1);
    assert_int_equal(told_times(&told, "page-tables", text), 1);
    assert_int_equal(told.lines[0].severity, SEVERITY_ERROR);
    give_back();
}

static void test_facts_that_cannot_be(void **state)
{
    (void)state;
    start_pc(2);
    setup.features.phys_bits = 32; // and RAM at 4 GiB
    assert_not_built("cannot map RAM at 0x100000000, 2147483648 bytes");
    setup.features.phys_bits = 40;
    regions[2].bytes = 1ull << 40; // beyond the last address
    assert_not_built("cannot map RAM at 0x100000000");
    regions[2].bytes = GIB + 8;
    assert_not_built("not page-aligned");
    regions[2].bytes = GIB;
    regions[4].phys += 16;
    assert_not_built("cannot map constants");
    regions[4].phys -= 16;
    regions[4].virt = 0x8000000000000000; // not canonical
    assert_not_built("cannot map constants");
    regions[4].virt = regions[4].phys;
    for (uint32_t bits = 0; bits < 70; bits++) {
        setup.features.phys_bits = bits;
        if (bits < 32 || bits > 52)
            assert_not_built("physical address bits");
    }
}

// ---- the proof ----

// Names the thing, where it is, what it should be, and the level at which the walk ended.
static void assert_refused(const char *name, uint64_t virt, const char *wanted)
{
    char start_of_it[128], level[64];

    assert_int_equal(prove(), STATUS_INVALID);
    snprintf(start_of_it, sizeof start_of_it, "%s at 0x%llx is to be %s", name,
             (unsigned long long)virt, wanted);
    snprintf(level, sizeof level, "the walk ended at level %u", walk(virt).level);
    if (told.count != 1 || told_times(&told, "page-walk", start_of_it) != 1)
        print_error("wanted: %s\ntold: %s\n", start_of_it, told.lines[0].detail);
    assert_int_equal(told.count, 1);
    assert_int_equal(told_times(&told, "page-walk", start_of_it), 1);
    assert_int_equal(told_times(&told, "page-walk", level), 1);
    assert_int_equal(told.lines[0].severity, SEVERITY_ERROR);
}

// From sound tables: one page is mapped otherwise, the proof fails because of it, and it is mended.
static void assert_needs(const char *name, uint64_t page, const char *wanted)
{
    const struct found before = walk(page);
    const uint32_t rights = (before.writable     ? SMP_WRITE
                             : before.executable ? SMP_EXECUTE
                                                 : SMP_READ) |
                            (before.uncached ? SMP_UNCACHED : 0) |
                            (before.combining ? SMP_COMBINING : 0);
    const uint32_t others[] = {SMP_READ, SMP_WRITE, SMP_EXECUTE, SMP_WRITE | SMP_UNCACHED,
                               SMP_WRITE | SMP_COMBINING};
    struct page_tables *tables = &smp->tables;

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
    assert_int_equal(page_tables_map(&smp->tables, page, page, PAGE_BYTES, SMP_READ), STATUS_OK);
    assert_refused(name, page, "unmapped");
    assert_int_equal(page_tables_unmap(&smp->tables, page, PAGE_BYTES), STATUS_OK);
    assert_int_equal(prove(), STATUS_OK);
}

// 600 processors, so that their table and their books have more than one page.
static void test_proof_of_what_is_shared(void **state)
{
    (void)state;
    start_pc(600);
    add("pixels", 3 * GIB, 7 * GIB, 2 * MIB, SMP_WRITE | SMP_COMBINING | SMP_NEEDED);
    build();
    const struct arena *arena = &smp->arena;
    const uint64_t base = setup.memory.phys, books = 600 * sizeof(struct book);

    assert_needs("the trampoline", LOW_PAGE, "executable");
    assert_needs("the window", base + arena->window_offset, "writable");
    assert_needs("code", IMAGE + 0x1000, "executable");
    assert_needs("code", IMAGE + 0xb000, "executable");
    assert_needs("constants", IMAGE + 0xd000, "read only");
    assert_needs("data", IMAGE + 0xf000, "writable");
    assert_needs("data", IMAGE + 0x13000, "writable");
    assert_needs("pixels", 3 * GIB + 0x5000, "write-combining");
    assert_needs("the rally", base + arena->rally_offset, "writable");
    assert_true(arena->table_entries * LCPU_ID_BYTES == 2 * PAGE_BYTES);
    assert_needs("the table of IDs", base + arena->table_offset, "writable");
    assert_needs("the table of IDs", base + arena->table_offset + PAGE_BYTES, "writable");
    assert_needs("the books", base + arena->books_offset, "writable");
    assert_needs("the books", base + arena->books_offset + (books - 1) / PAGE_BYTES * PAGE_BYTES,
                 "writable");
    assert_needs("the page tables", base + arena->tables_offset, "writable");
    assert_needs("the APIC", 0xfee00000, "uncached");
    assert_needs_hole("the null page", 0);
}

// Where APs reach C, wherever that lies: executable, if nothing else about it is asked.
static void test_proof_of_the_entry(void **state)
{
    (void)state;
    start_pc(2);
    regions[setup.region_count - 1].rights &= ~(uint32_t)SMP_NEEDED;
    build();
    struct lcpu *lcpu = arena_lcpu(&smp->arena, 0);
    assert_int_equal(prove(), STATUS_OK);
    lcpu->entry = IMAGE + 0xf123; // data
    assert_refused("the AP's entry", IMAGE + 0xf000, "executable");
    lcpu->entry = 0xb0000000000;
    assert_refused("the AP's entry", 0xb0000000000, "executable");
    assert_int_equal(told_times(&told, "page-walk", "not mapped"), 1);
}

static void test_proof_of_what_is_own(void **state)
{
    static const size_t slots[] = {0, 1, 31, 63};

    (void)state;
    start_pc(64);
    build();
    for (size_t i = 0; i < sizeof slots / sizeof slots[0]; i++) {
        const uint64_t stack = arena_stack_phys(&smp->arena, slots[i]);
        assert_needs("a processor's record", arena_page_phys(&smp->arena, slots[i]), "writable");
        for (uint64_t at = 0; at < SMP_STACK_BYTES; at += PAGE_BYTES)
            assert_needs("a stack", stack + at, "writable");
        assert_needs_hole("a guard page", stack - GUARD_BYTES);

        struct lcpu *lcpu = arena_lcpu(&smp->arena, slots[i]);
        for (int wrong = -8; wrong <= 8; wrong += 8) {
            lcpu->stack = stack + SMP_STACK_BYTES + (uint64_t)(int64_t)wrong;
            assert_int_equal(prove(), wrong == 0 ? STATUS_OK : STATUS_INVALID);
            assert_int_equal(told.count, wrong != 0);
        }
        lcpu->stack = stack + SMP_STACK_BYTES;
    }
}

// A walk that ends higher up says so, and several things that are wrong are all told.
static void test_proof_tells_levels(void **state)
{
    char text[64];

    (void)state;
    start_pc(2);
    build();
    for (unsigned level = 2; level <= 4; level++) {
        const uint64_t bytes = 1ull << (12 + 9 * (level - 1));
        assert_int_equal(smp_unmap(smp, 0xfee00000 & ~(bytes - 1), bytes), STATUS_OK);
        assert_int_equal(prove(), STATUS_INVALID);
        snprintf(text, sizeof text, "level %u: not mapped", level);
        assert_int_equal(told_times(&told, "page-walk", "the APIC at 0xfee00000 is to be uncached"),
                         1);
        assert_true(told_times(&told, "page-walk", text) >= 1);
    }
    // The last one took all with it: what is to be unmapped still is, and each other thing is told:
    // nine that are shared, four regions, a record and a stack for each processor.
    assert_int_equal(told.count, 9 + 4 + 2 * 2);
}

// A trampoline's page that nobody mapped, and one that is another than the window leads to.
static void test_proof_of_the_low_page(void **state)
{
    (void)state;
    start_pc(2);
    take_memory();
    assert_int_equal(smp_open(&setup, &smp), STATUS_OK);
    smp->page_phys = LOW_PAGE;
    assert_int_equal(prove(), STATUS_INVALID);
    assert_int_equal(
        told_times(&told, "page-walk", "the trampoline at 0x9e000 is to be executable"), 1);
    assert_int_equal(told_times(&told, "page-walk", "the window at "), 1);
    assert_int_equal(told.count, 2);

    assert_int_equal(smp_map_page(smp, LOW_PAGE), STATUS_OK);
    assert_int_equal(prove(), STATUS_OK);
    smp->page_phys = LOW_PAGE - PAGE_BYTES;
    assert_int_equal(prove(), STATUS_INVALID);
    assert_int_equal(told.count, 2);
}

// Without NX nothing can be kept from being executed; the rest is asked for as ever.
static void test_proof_without_nx(void **state)
{
    (void)state;
    start_pc(2);
    setup.features.no_execute = false;
    build();
    assert_int_equal(prove(), STATUS_OK);
    const uint64_t page = IMAGE + 0x1000;
    assert_int_equal(page_tables_map(&smp->tables, page, page, PAGE_BYTES, SMP_WRITE), STATUS_OK);
    assert_refused("code", page, "executable");
}

#define TEST(name) cmocka_unit_test_teardown(name, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_pc),
        TEST(test_a_kernel_in_the_higher_half),
        TEST(test_rights),
        TEST(test_rights_that_cannot_be),
        TEST(test_apic),
        TEST(test_fill),
        TEST(test_the_engine_outside_of_ram),
        TEST(test_needed),
        TEST(test_unmap),
        TEST(test_odd_lists),
        TEST(test_bound_of_exceptions_alone),
        TEST(test_bound_of_next_to_nothing),
        TEST(test_bound_grows_with_processors),
        TEST(test_a_map_in_many_pieces),
        TEST(test_pool_too_small),
        TEST(test_facts_that_cannot_be),
        TEST(test_proof_of_what_is_shared),
        TEST(test_proof_of_the_entry),
        TEST(test_proof_of_what_is_own),
        TEST(test_proof_tells_levels),
        TEST(test_proof_of_the_low_page),
        TEST(test_proof_without_nx),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
