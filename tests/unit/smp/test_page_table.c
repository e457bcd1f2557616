// Page tables against a model: one word for each 4 KiB page of a window, which random calls change
// as the tables should. Surprise: pools are sized to the byte by the bounds under test, so that a
// bound that is too low is a failing call, and a write beyond the pool is a report of ASan.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "page_table.h"

#define KIB       (1ull << 10)
#define MIB       (1ull << 20)
#define GIB       (1ull << 30)
#define TIB       (1ull << 40)
#define POOL_PHYS 0x7F000000ull

// A page of the model: physical address | rights | MODEL_MAPPED; 0: not mapped.
#define MODEL_MAPPED 0x800u
#define WINDOW_BYTES (3 * GIB)
#define WINDOW_PAGES (WINDOW_BYTES / PAGE_BYTES)

struct shape {
    const char *name;
    uint32_t levels;
    bool gib_pages, no_execute;
    uint64_t window; // a boundary of a high level lies inside
};

static const struct shape shapes[] = {
    {"4 levels", 4, true, true, 511 * GIB},
    {"4 levels, no 1 GiB pages", 4, false, true, 511 * GIB},
    {"4 levels, no NX", 4, true, false, 0},
    {"5 levels", 5, true, true, 256 * TIB - 2 * GIB},
    {"5 levels, neither", 5, false, false, 256 * TIB - GIB},
};

static uint64_t random_state;

// xorshift64: the same numbers in every run.
static uint64_t random_below(uint64_t limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % limit;
}

static struct page_tables tables_of(const struct shape *shape)
{
    return (struct page_tables){
        .pool_phys = POOL_PHYS,
        .levels = shape->levels,
        .gib_pages = shape->gib_pages,
        .no_execute = shape->no_execute,
        .phys_bits = 52,
    };
}

static void start(struct page_tables *tables, size_t pool_pages)
{
    tables->pool = aligned_alloc(PAGE_BYTES, pool_pages * PAGE_BYTES);
    assert_non_null(tables->pool);
    // What firmware hands over is not zero.
    for (size_t i = 0; i < pool_pages * PAGE_BYTES; i++) {
        tables->pool[i] = 0xA5;
    }
    tables->pool_pages = pool_pages;
    assert_int_equal(page_tables_start(tables), STATUS_OK);
    assert_int_equal(tables->pages_used, 1);
}

static void give_back(struct page_tables *tables)
{
    free(tables->pool);
}

static void assert_mapped(const struct page_tables *tables, uint64_t virt, uint64_t phys,
                          unsigned rights)
{
    struct page_walk walk = page_tables_walk(tables, virt);

    assert_true(walk.mapped);
    assert_int_equal(walk.phys, phys);
    assert_int_equal(walk.writable, (rights & SMP_WRITE) != 0);
    assert_int_equal(walk.executable, (rights & SMP_EXECUTE) != 0 || !tables->no_execute);
    assert_int_equal(walk.uncached, (rights & SMP_UNCACHED) != 0);
}

static void assert_unmapped(const struct page_tables *tables, uint64_t virt)
{
    struct page_walk walk = page_tables_walk(tables, virt);

    assert_false(walk.mapped || walk.writable || walk.executable || walk.uncached);
}

static void assert_like_model(const struct page_tables *tables, uint64_t virt, uint64_t page)
{
    if ((page & MODEL_MAPPED) != 0) {
        assert_mapped(tables, virt, page & ~(PAGE_BYTES - 1ull), (unsigned)(page & 7));
    } else {
        assert_unmapped(tables, virt);
    }
}

// ---- random maps ----

struct call {
    uint64_t virt, phys, bytes;
    unsigned rights;
    bool unmap;
};

static struct call random_call(uint64_t window)
{
    static const uint64_t grains[] = {PAGE_BYTES, PAGE_BYTES, 2 * MIB, 2 * MIB, GIB};
    static const unsigned rights[] = {SMP_READ,    SMP_WRITE,
                                      SMP_EXECUTE, SMP_WRITE | SMP_UNCACHED,
                                      SMP_WRITE,   SMP_EXECUTE | SMP_UNCACHED};
    uint64_t grain = grains[random_below(5)];
    uint64_t first = random_below(WINDOW_BYTES) / grain * grain;
    struct call call;

    call.bytes = (1 + random_below(20)) * grains[random_below(5)];
    if (call.bytes > WINDOW_BYTES - first) {
        call.bytes = WINDOW_BYTES - first;
    }
    call.virt = window + first;
    call.phys = call.virt;
    call.rights = rights[random_below(6)];
    call.unmap = random_below(4) == 0;
    // One in four is an alias; half of those are so aligned that large pages fit all the same.
    if (random_below(4) == 0) {
        call.phys = random_below(TIB / PAGE_BYTES) * PAGE_BYTES;
        if (random_below(2) == 0) {
            call.phys = (call.phys & ~(GIB - 1)) | (call.virt & (GIB - 1));
        }
    }
    return call;
}

static size_t call_bound(const struct page_tables *tables, const struct call *call)
{
    if (call->phys != call->virt) {
        return page_tables_bound_by_page(tables, call->virt, call->bytes);
    }
    return page_tables_bound(tables, call->virt, call->bytes);
}

static void apply(struct page_tables *tables, const struct call *call, uint64_t window,
                  uint64_t *model)
{
    size_t used_before = tables->pages_used;
    uint64_t first = (call->virt - window) / PAGE_BYTES;

    if (call->unmap) {
        assert_int_equal(page_tables_unmap(tables, call->virt, call->bytes), STATUS_OK);
    } else {
        assert_int_equal(
            page_tables_map(tables, call->virt, call->phys, call->bytes, (uint32_t)call->rights),
            STATUS_OK);
    }
    for (uint64_t i = 0; i < call->bytes / PAGE_BYTES; i++) {
        model[first + i] =
            call->unmap ? 0 : (call->phys + i * PAGE_BYTES) | call->rights | MODEL_MAPPED;
    }
    assert_true(tables->pages_used - used_before <= call_bound(tables, call));
}

static void random_maps_agree_with_the_model(void **state)
{
    const struct shape *shape = *state;
    uint64_t *model = calloc(WINDOW_PAGES, sizeof(*model));
    struct call calls[40];
    const size_t count = sizeof(calls) / sizeof(calls[0]);

    assert_non_null(model);
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct page_tables tables = tables_of(shape);
        size_t pages = 1;

        random_state = seed * 0x9E3779B97F4A7C15ull;
        for (size_t i = 0; i < count; i++) {
            calls[i] = random_call(shape->window);
            pages += call_bound(&tables, &calls[i]);
        }
        for (uint64_t page = 0; page < WINDOW_PAGES; page++) {
            model[page] = 0;
        }
        start(&tables, pages);
        for (size_t i = 0; i < count; i++) {
            apply(&tables, &calls[i], shape->window, model);
        }
        for (uint64_t page = 0; page < WINDOW_PAGES; page++) {
            assert_like_model(&tables, shape->window + page * PAGE_BYTES, model[page]);
        }
        if (shape->window != 0) {
            assert_unmapped(&tables, shape->window - 1);
        }
        assert_unmapped(&tables, shape->window + WINDOW_BYTES);
        give_back(&tables);
    }
    free(model);
}

// ---- the bound ----

static void bound_is_exact_for_empty_tables(void **state)
{
    const struct shape *shape = *state;
    size_t most = 0;

    random_state = 0xB0D;
    for (int i = 0; i < 300; i++) {
        struct page_tables tables = tables_of(shape);
        struct call call = random_call(shape->window);
        size_t bound = page_tables_bound(&tables, call.virt, call.bytes);

        start(&tables, 1 + bound);
        assert_int_equal(page_tables_map(&tables, call.virt, call.virt, call.bytes, SMP_WRITE),
                         STATUS_OK);
        assert_int_equal(tables.pages_used, 1 + bound);
        most = bound > most ? bound : most;
        give_back(&tables);
    }
    // At most two tables a level; without 1 GiB pages one for each GiB touched, of which 3 GiB
    // touch 4.
    assert_in_range(most, 3, 2 * (shape->levels - 1u) + (shape->gib_pages ? 0 : 2));
}

static void bound_by_page_covers_guard_pages(void **state)
{
    const struct shape *shape = *state;
    const uint64_t stack = 20 * KIB, stacks = 1000;
    uint64_t area = shape->window + GIB + 12 * KIB;
    struct page_tables tables = tables_of(shape);
    size_t wide = page_tables_bound(&tables, shape->window, WINDOW_BYTES);
    size_t cuts = page_tables_bound_by_page(&tables, area, stack * stacks);

    // 12 KiB + 19.5 MiB from a whole GiB: ten tables of 4 KiB pages, and one for each level above.
    assert_int_equal(cuts, 10 + (shape->levels - 2));
    start(&tables, 1 + wide + cuts);
    assert_int_equal(
        page_tables_map(&tables, shape->window, shape->window, WINDOW_BYTES, SMP_WRITE), STATUS_OK);
    for (uint64_t i = 0; i < stacks; i++) {
        assert_int_equal(page_tables_unmap(&tables, area + i * stack, PAGE_BYTES), STATUS_OK);
    }
    for (uint64_t i = 0; i < stacks; i++) {
        uint64_t guard = area + i * stack;

        assert_mapped(&tables, guard - 1, guard - 1, SMP_WRITE);
        assert_unmapped(&tables, guard);
        assert_unmapped(&tables, guard + PAGE_BYTES - 1);
        assert_mapped(&tables, guard + PAGE_BYTES, guard + PAGE_BYTES, SMP_WRITE);
    }
    give_back(&tables);
}

static void bound_has_known_values(void **state)
{
    struct page_tables tables = tables_of(&shapes[0]);

    (void)state;
    assert_int_equal(page_tables_bound(&tables, 0, PAGE_BYTES), 3);
    assert_int_equal(page_tables_bound(&tables, 2 * MIB, 2 * MIB), 2);
    assert_int_equal(page_tables_bound(&tables, GIB, GIB), 1);
    assert_int_equal(page_tables_bound(&tables, GIB - PAGE_BYTES, 2 * PAGE_BYTES), 5);
    assert_int_equal(page_tables_bound(&tables, 2 * MIB, TIB), 2 + 3);
    assert_int_equal(page_tables_bound(&tables, 0, 0), 0);
    assert_int_equal(page_tables_bound(&tables, 1, PAGE_BYTES), 0);
    assert_int_equal(page_tables_bound(&tables, UINT64_MAX - 4095, 2 * PAGE_BYTES), 0);
    tables.gib_pages = false;
    assert_int_equal(page_tables_bound(&tables, 0, TIB), 1024 + 2);
    tables.levels = 5;
    assert_int_equal(page_tables_bound(&tables, 0, TIB), 1024 + 2 + 1);
}

// ---- single properties ----

static void largest_pages_are_used(void **state)
{
    const struct shape *shape = *state;
    struct page_tables tables = tables_of(shape);
    const uint64_t from = 6 * GIB - 2 * MIB - PAGE_BYTES;

    start(&tables, 1 + page_tables_bound(&tables, from, 3 * GIB));
    assert_int_equal(page_tables_map(&tables, from, from, 3 * GIB, SMP_READ), STATUS_OK);
    assert_int_equal(page_tables_walk(&tables, from).level, 1);
    assert_int_equal(page_tables_walk(&tables, from + PAGE_BYTES).level, 2);
    assert_int_equal(page_tables_walk(&tables, 6 * GIB).level, shape->gib_pages ? 3 : 2);
    assert_int_equal(page_tables_walk(&tables, 8 * GIB - 1).level, shape->gib_pages ? 3 : 2);
    assert_int_equal(page_tables_walk(&tables, 8 * GIB).level, 2);
    assert_int_equal(page_tables_walk(&tables, from + 3 * GIB - 1).level, 1);
    give_back(&tables);
}

// The bits themselves, by the manual's figure, along the way to address 0 of a three-entry path.
static void entries_have_the_manuals_bits(void **state)
{
    struct page_tables tables = tables_of(&shapes[0]);
    const uint64_t *pool;

    (void)state;
    start(&tables, 5);
    pool = (const uint64_t *)(const void *)tables.pool;
    assert_int_equal(page_tables_map(&tables, 0x1000, 0x1000, 0x1000, SMP_WRITE), STATUS_OK);
    assert_int_equal(page_tables_map(&tables, 0x2000, 0x2000, 0x1000, SMP_EXECUTE), STATUS_OK);
    assert_int_equal(page_tables_map(&tables, 0x3000, 0xFEE00000, 0x1000, SMP_WRITE | SMP_UNCACHED),
                     STATUS_OK);
    assert_int_equal(page_tables_map(&tables, 2 * MIB, 2 * MIB, 2 * MIB, SMP_READ), STATUS_OK);
    assert_int_equal(page_tables_map(&tables, GIB, GIB, GIB, SMP_EXECUTE), STATUS_OK);
    assert_int_equal(pool[0 * 512 + 0], (POOL_PHYS + 0x1000) | 0x23);
    assert_int_equal(pool[0 * 512 + 1], 0);
    assert_int_equal(pool[1 * 512 + 0], (POOL_PHYS + 0x2000) | 0x23);
    assert_int_equal(pool[1 * 512 + 1], 0x400000E1);
    assert_int_equal(pool[2 * 512 + 0], (POOL_PHYS + 0x3000) | 0x23);
    assert_int_equal(pool[2 * 512 + 1], 0x80000000002000E1);
    assert_int_equal(pool[3 * 512 + 0], 0);
    assert_int_equal(pool[3 * 512 + 1], 0x8000000000001063);
    assert_int_equal(pool[3 * 512 + 2], 0x2061);
    assert_int_equal(pool[3 * 512 + 3], 0x80000000FEE0007B);
    // Split: bit 7, large above, would be PAT here.
    assert_int_equal(page_tables_unmap(&tables, 2 * MIB, PAGE_BYTES), STATUS_OK);
    assert_int_equal(pool[2 * 512 + 1], (POOL_PHYS + 0x4000) | 0x23);
    assert_int_equal(pool[4 * 512 + 0], 0);
    assert_int_equal(pool[4 * 512 + 1], 0x8000000000201061);
    assert_int_equal(pool[4 * 512 + 511], 0x80000000003FF061);
    give_back(&tables);
}

static void splitting_keeps_what_is_around(void **state)
{
    const struct shape *shape = *state;
    struct page_tables tables = tables_of(shape);

    start(&tables, 16);
    assert_int_equal(page_tables_map(&tables, GIB, GIB, GIB, SMP_EXECUTE | SMP_UNCACHED),
                     STATUS_OK);
    assert_int_equal(page_tables_map(&tables, GIB + 4 * MIB + 0x5000, 0x9000, 0x1000, SMP_WRITE),
                     STATUS_OK);
    assert_mapped(&tables, GIB + 4 * MIB + 0x5FFF, 0x9FFF, SMP_WRITE);
    for (uint64_t virt = GIB; virt < 2 * GIB; virt += PAGE_BYTES) {
        if (virt != GIB + 4 * MIB + 0x5000) {
            assert_mapped(&tables, virt, virt, SMP_EXECUTE | SMP_UNCACHED);
        }
    }
    assert_int_equal(page_tables_walk(&tables, GIB + 2 * MIB).level, 2);
    assert_int_equal(page_tables_walk(&tables, GIB + 4 * MIB).level, 1);
    // And whole again.
    assert_int_equal(page_tables_map(&tables, GIB, GIB, GIB, SMP_READ), STATUS_OK);
    assert_mapped(&tables, GIB + 4 * MIB + 0x5000, GIB + 4 * MIB + 0x5000, SMP_READ);
    give_back(&tables);
}

static void null_page_is_cut_out(void **state)
{
    const struct shape *shape = *state;
    struct page_tables tables = tables_of(shape);
    size_t bound =
        page_tables_bound(&tables, 0, 4 * GIB) + page_tables_bound(&tables, 0, PAGE_BYTES);

    start(&tables, 1 + bound);
    assert_int_equal(page_tables_map(&tables, 0, 0, 4 * GIB, SMP_WRITE), STATUS_OK);
    assert_mapped(&tables, 0, 0, SMP_WRITE);
    assert_int_equal(page_tables_unmap(&tables, 0, PAGE_BYTES), STATUS_OK);
    assert_unmapped(&tables, 0);
    assert_unmapped(&tables, PAGE_BYTES - 1);
    assert_int_equal(page_tables_walk(&tables, 0).level, 1);
    assert_mapped(&tables, PAGE_BYTES, PAGE_BYTES, SMP_WRITE);
    assert_mapped(&tables, 4 * GIB - 1, 4 * GIB - 1, SMP_WRITE);
    assert_unmapped(&tables, 4 * GIB);
    give_back(&tables);
}

static void unmapping_nothing_takes_nothing(void **state)
{
    const struct shape *shape = *state;
    struct page_tables tables = tables_of(shape);

    start(&tables, 1);
    assert_int_equal(page_tables_unmap(&tables, 0x5000, 3 * TIB), STATUS_OK);
    assert_int_equal(tables.pages_used, 1);
    give_back(&tables);
}

static void a_tebibyte_takes_few_tables(void **state)
{
    const struct shape *shape = *state;
    struct page_tables tables = tables_of(shape);

    start(&tables, 1 + page_tables_bound(&tables, 2 * MIB, TIB));
    assert_int_equal(page_tables_map(&tables, 2 * MIB, 2 * MIB, TIB, SMP_WRITE), STATUS_OK);
    for (uint64_t virt = 2 * MIB; virt <= TIB; virt += 2 * MIB) {
        assert_mapped(&tables, virt + 0x1234, virt + 0x1234, SMP_WRITE);
    }
    give_back(&tables);
}

static void highest_addresses_work(void **state)
{
    const struct shape *shape = *state;
    struct page_tables tables = tables_of(shape);
    uint64_t half = shape->levels == 4 ? 128 * TIB : 65536 * TIB;
    const uint64_t top_page = UINT64_MAX - (PAGE_BYTES - 1);

    start(&tables, 1 + 2 * 4);
    assert_int_equal(page_tables_map(&tables, half - PAGE_BYTES, 0x5000, PAGE_BYTES, SMP_EXECUTE),
                     STATUS_OK);
    assert_int_equal(page_tables_map(&tables, top_page, 0x6000, PAGE_BYTES, SMP_WRITE), STATUS_OK);
    assert_mapped(&tables, half - 1, 0x5FFF, SMP_EXECUTE);
    assert_mapped(&tables, UINT64_MAX, 0x6FFF, SMP_WRITE);
    // The hole between the halves: its bits would select the entries above.
    assert_unmapped(&tables, half);
    assert_unmapped(&tables, half * 2 - 1);
    assert_unmapped(&tables, UINT64_MAX - 2 * half + 1);
    assert_int_equal(page_tables_map(&tables, half, 0, PAGE_BYTES, SMP_READ), STATUS_INVALID);
    assert_int_equal(page_tables_map(&tables, half - PAGE_BYTES, 0, 2 * PAGE_BYTES, SMP_READ),
                     STATUS_INVALID);
    assert_int_equal(page_tables_unmap(&tables, half, PAGE_BYTES), STATUS_INVALID);
    assert_int_equal(page_tables_map(&tables, top_page, 0, 2 * PAGE_BYTES, SMP_READ),
                     STATUS_INVALID);
    give_back(&tables);
}

static void bad_requests_are_refused(void **state)
{
    static const struct {
        uint64_t virt, phys, bytes;
        unsigned rights;
    } bad[] = {
        {0x1001, 0x1000, 0x1000, SMP_READ},
        {0x1000, 0x1800, 0x1000, SMP_READ},
        {0x1000, 0x1000, 0x1001, SMP_READ},
        {0x1000, 0x1000, 0, SMP_READ},
        {0x1000, 0x1000, 0x1000, SMP_WRITE | SMP_EXECUTE},
        {0x1000, 0x1000, 0x1000, SMP_WRITE | SMP_EXECUTE | SMP_UNCACHED},
        {0x1000, 0x1000, 0x1000, SMP_WRITE | SMP_UNCACHED | SMP_COMBINING},
        {0x1000, 0x1000, 0x1000, 16},
        {0x1000, 1ull << 36, 0x1000, SMP_READ},
        {0x1000, (1ull << 36) - 0x1000, 0x2000, SMP_READ},
        {0x1000, UINT64_MAX - 0xFFF, 0x1000, SMP_READ},
        {0x1000, 0x1000, UINT64_MAX - 0xFFF, SMP_READ},
    };
    struct page_tables tables = tables_of(&shapes[0]);

    (void)state;
    tables.phys_bits = 36;
    start(&tables, 8);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(page_tables_map(&tables, bad[i].virt, bad[i].phys, bad[i].bytes,
                                         (uint32_t)bad[i].rights),
                         STATUS_INVALID);
    }
    assert_int_equal(page_tables_unmap(&tables, 0x1000, 0), STATUS_INVALID);
    assert_int_equal(page_tables_unmap(&tables, 0x1800, 0x1000), STATUS_INVALID);
    assert_int_equal(tables.pages_used, 1);
    assert_unmapped(&tables, 0x1000);
    assert_int_equal(page_tables_map(&tables, 0x1000, (1ull << 36) - 0x1000, 0x1000, SMP_READ),
                     STATUS_OK);
    give_back(&tables);
}

static void bad_pools_are_refused(void **state)
{
    struct page_tables good = tables_of(&shapes[0]);
    struct page_tables tables;

    (void)state;
    start(&good, 2);
    tables = good;
    tables.levels = 3;
    assert_int_equal(page_tables_start(&tables), STATUS_INVALID);
    tables.levels = 6;
    assert_int_equal(page_tables_start(&tables), STATUS_INVALID);
    tables = good;
    tables.phys_bits = 53;
    assert_int_equal(page_tables_start(&tables), STATUS_INVALID);
    tables.phys_bits = 31;
    assert_int_equal(page_tables_start(&tables), STATUS_INVALID);
    tables = good;
    tables.pool_phys = 4 * GIB;
    assert_int_equal(page_tables_start(&tables), STATUS_INVALID);
    tables.pool_phys = 4 * GIB - PAGE_BYTES;
    assert_int_equal(page_tables_start(&tables), STATUS_OK);
    tables.pool_phys += 8;
    assert_int_equal(page_tables_start(&tables), STATUS_INVALID);
    tables = good;
    tables.pool += 8;
    assert_int_equal(page_tables_start(&tables), STATUS_INVALID);
    tables = good;
    tables.pool_pages = 0;
    assert_int_equal(page_tables_start(&tables), STATUS_NO_SPACE);
    give_back(&good);
}

// With none, one, two... free pages until there are enough, for a call that splits at both ends.
static void exhaustion_corrupts_nothing(void **state)
{
    const struct shape *shape = *state;
    const uint64_t base = 4 * GIB, bytes = 4 * GIB;
    const uint64_t from = base + GIB - 5 * PAGE_BYTES, cut = GIB + 12 * PAGE_BYTES;
    struct page_tables tables = tables_of(shape);
    size_t wide = page_tables_bound(&tables, base, bytes);
    size_t needed = shape->gib_pages ? 4 : 2;
    size_t free_pages = 0;

    for (enum status status = STATUS_NO_SPACE; status != STATUS_OK; free_pages++) {
        start(&tables, 1 + wide + free_pages);
        assert_int_equal(page_tables_map(&tables, base, base, bytes, SMP_WRITE), STATUS_OK);
        status = page_tables_map(&tables, from, from, cut, SMP_EXECUTE);
        assert_int_equal(status, free_pages < needed ? STATUS_NO_SPACE : STATUS_OK);
        for (uint64_t virt = base; virt < base + bytes; virt += PAGE_BYTES) {
            bool inside = virt >= from && virt < from + cut;
            bool old = page_tables_walk(&tables, virt).writable;

            assert_true(inside || old);
            assert_false(inside && old && status == STATUS_OK);
            assert_mapped(&tables, virt, virt, old ? SMP_WRITE : SMP_EXECUTE);
        }
        assert_unmapped(&tables, base - 1);
        assert_unmapped(&tables, base + bytes);
        give_back(&tables);
    }
    assert_int_equal(free_pages, needed + 1);
}

#define EACH_SHAPE(test)                                                                       \
    {#test ": 4 levels", test, NULL, NULL, (void *)(uintptr_t)&shapes[0]},                     \
        {#test ": 4 levels, no 1 GiB pages", test, NULL, NULL, (void *)(uintptr_t)&shapes[1]}, \
        {#test ": 4 levels, no NX", test, NULL, NULL, (void *)(uintptr_t)&shapes[2]},          \
        {#test ": 5 levels", test, NULL, NULL, (void *)(uintptr_t)&shapes[3]},                 \
    {                                                                                          \
#test ": 5 levels, neither", test, NULL, NULL, (void *)(uintptr_t)&shapes[4]           \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        EACH_SHAPE(random_maps_agree_with_the_model),
        EACH_SHAPE(bound_is_exact_for_empty_tables),
        EACH_SHAPE(bound_by_page_covers_guard_pages),
        cmocka_unit_test(bound_has_known_values),
        EACH_SHAPE(largest_pages_are_used),
        cmocka_unit_test(entries_have_the_manuals_bits),
        EACH_SHAPE(splitting_keeps_what_is_around),
        EACH_SHAPE(null_page_is_cut_out),
        EACH_SHAPE(unmapping_nothing_takes_nothing),
        EACH_SHAPE(a_tebibyte_takes_few_tables),
        EACH_SHAPE(highest_addresses_work),
        cmocka_unit_test(bad_requests_are_refused),
        cmocka_unit_test(bad_pools_are_refused),
        EACH_SHAPE(exhaustion_corrupts_nothing),
    };

    return cmocka_run_group_tests_name("page_table", tests, NULL, NULL);
}
