// The arena: where everything lies, and what processors will read there. Descriptors are decoded as
// the processor does it, from the bytes that LGDT and LIDT get, and the table of IDs is searched as
// the trampoline does it. Surprise: an arena is real memory at two addresses, full of rubbish
// before arena_fill. All that a processor follows must be an address of the lower one.
#define _GNU_SOURCE // fake_memory.h

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "arena.h"
#include "engine.h"
#include "fake_memory.h"

#define PROCESSORS_MAX 4096u
#define ENTRY          0xffff800012345678u // kept, and never called
#define STUBS          0xffff9000000f0000u
#define ENGINE_BYTES   sizeof(struct smp)

static struct arena arena;
static struct smp_memory memory;
static struct smp_cpu cpus[PROCESSORS_MAX];
static const struct smp_host host = {.context = &memory};

static int tear_down(void **state)
{
    (void)state;
    fake_unmap_memory(&memory);
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

static void fill(size_t count)
{
    fake_unmap_memory(&memory);
    arena_plan(ENGINE_BYTES, count, 3, &arena);
    memory = fake_map_memory(arena.bytes, 0, UINT64_MAX);
    arena.phys = memory.phys;
    arena.view = memory.view;
    arena_fill(&arena, cpus, ENTRY, STUBS, &host);
}

// Processors with IDs `gap` apart in random order.
static void list_processors(size_t count, uint32_t gap)
{
    random_state = 0x6c637075u + count;
    for (size_t i = 0; i < count; i++)
        cpus[i] = (struct smp_cpu){.cpu = (uint32_t)i, .apic_id = (uint32_t)i * gap};
    for (size_t i = count; i-- > 1;) {
        const size_t other = random_below(i + 1);
        const uint32_t moved = cpus[i].apic_id;
        cpus[i].apic_id = cpus[other].apic_id;
        cpus[other].apic_id = moved;
    }
}

// As a processor reads it: by its physical address.
static uint64_t load(uint64_t at, size_t bytes)
{
    uint64_t value = 0;
    assert_true(at >= memory.phys && at + bytes <= memory.phys + memory.bytes);
    memcpy(&value, (const void *)(uintptr_t)at, bytes);
    return value;
}

// ---- the plan ----

struct part {
    size_t offset, bytes;
};

static int by_offset(const void *left, const void *right)
{
    const struct part *const a = left, *const b = right;
    return (a->offset > b->offset) - (a->offset < b->offset);
}

static void test_parts_are_disjoint(void **state)
{
    static const size_t counts[] = {1, 2, 3, 4, 5, 64, 255, 256, 257, 512, 513, 4096, 70000};

    (void)state;
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        const size_t count = counts[i], tables = 1 + 37 * i;
        arena_plan(ENGINE_BYTES, count, tables, &arena);
        struct part parts[] = {
            {0, ENGINE_BYTES},
            {arena.rally_offset, sizeof(struct rally) + 2 * VECTORS * 16},
            {arena.table_offset, arena.table_entries * LCPU_ID_BYTES},
            {arena.pages_offset, count * sizeof(struct lcpu_page)},
            {arena.stacks_offset, count * (GUARD_BYTES + SMP_STACK_BYTES)},
            {arena.books_offset, count * sizeof(struct book)},
            {arena.lists_offset, 2 * count * sizeof(uint32_t)},
            {arena.window_offset, PAGE_BYTES},
            {arena.tables_offset, tables * PAGE_BYTES},
        };
        const size_t parts_count = sizeof parts / sizeof parts[0];
        qsort(parts, parts_count, sizeof parts[0], by_offset);
        for (size_t part = 0; part < parts_count; part++) {
            const size_t end = part + 1 < parts_count ? parts[part + 1].offset : arena.bytes;
            assert_int_equal(parts[part].offset %
                                 (parts[part].offset == arena.lists_offset ? 8 : PAGE_BYTES),
                             0);
            assert_true(parts[part].offset + parts[part].bytes <= end);
        }
        assert_int_equal(arena.bytes % PAGE_BYTES, 0);
        assert_int_equal(arena.phys, 0);
        assert_int_equal(arena.count, count);
        assert_int_equal(arena.tables_pages, tables);
        // The smallest power of two that holds all.
        assert_int_equal(arena.table_entries & (arena.table_entries - 1), 0);
        assert_true(arena.table_entries >= count && arena.table_entries / 2 < count);
    }
    arena = (struct arena){0};
}

// What a processor costs: its page, a guard page and the stack, and little more.
static void test_bytes_for_each(void **state)
{
    struct arena more;

    (void)state;
    assert_int_equal(sizeof(struct lcpu_page) + GUARD_BYTES + SMP_STACK_BYTES, 24 * 1024);
    for (size_t count = 1; count < 3000; count++) {
        arena_plan(ENGINE_BYTES, count, 1, &arena);
        arena_plan(ENGINE_BYTES, count + 1, 1, &more);
        const size_t table = (more.table_entries - arena.table_entries) * LCPU_ID_BYTES;
        assert_in_range(more.bytes - arena.bytes, 24 * 1024, 24 * 1024 + 2 * PAGE_BYTES + table);
        assert_int_equal(more.stacks_offset - more.pages_offset, (count + 1) * PAGE_BYTES);
    }
    arena = (struct arena){0};
}

// Stacks: each above a guard page, none touching another's guard page, all inside their part.
static void test_stacks(void **state)
{
    (void)state;
    list_processors(64, 1);
    fill(64);
    for (size_t slot = 0; slot < 64; slot++) {
        const uint64_t stack = arena_stack_phys(&arena, slot);
        const uint64_t end = slot < 63 ? arena_stack_phys(&arena, slot + 1) - GUARD_BYTES
                                       : arena.phys + arena.books_offset;
        assert_int_equal(stack % PAGE_BYTES, 0);
        assert_true(stack - GUARD_BYTES >= arena.phys + arena.stacks_offset);
        assert_true(stack + SMP_STACK_BYTES <= end);
        assert_int_equal(arena_lcpu(&arena, slot)->stack, stack + SMP_STACK_BYTES);
        assert_int_equal(arena_lcpu(&arena, slot)->stack % 16, 0);
    }
}

// ---- records ----

static void test_records(void **state)
{
    (void)state;
    list_processors(300, 7);
    for (size_t slot = 0; slot < 300; slot++)
        cpus[slot].cpu = (uint32_t)(1000 + 3 * slot);
    fill(300);
    const struct rally *rally = arena_rally(&arena);

    for (size_t slot = 0; slot < 300; slot++) {
        const struct lcpu *lcpu = arena_lcpu(&arena, slot);
        const struct book *book = arena_book(&arena, slot);
        const struct book empty = {.mark_shared = book->mark_shared};

        assert_int_equal(arena_page_phys(&arena, slot) % PAGE_BYTES, 0);
        assert_int_equal(lcpu->slot, slot);
        assert_int_equal(lcpu->cpu, cpus[slot].cpu);
        assert_int_equal(lcpu->apic_id, cpus[slot].apic_id);
        assert_int_equal(lcpu->entry, ENTRY);
        // What an AP follows; the view is nobody's but the caller's.
        assert_int_equal((uintptr_t)lcpu->rally, memory.phys + arena.rally_offset);
        assert_int_equal(atomic_load(&lcpu->state), STAGE_NONE);
        assert_int_equal(atomic_load(&lcpu->fault.valid), 0);
        assert_int_equal(lcpu->has_turn | lcpu->next_turn | lcpu->cr3_error | lcpu->defect, 0);
        assert_memory_equal(book, &empty, sizeof empty);
        assert_int_equal(arena_find(&arena, cpus[slot].apic_id), slot);
        assert_int_equal(arena_find(&arena, cpus[slot].apic_id + 1), UINT32_MAX);
    }
    assert_int_equal(arena_find(&arena, SMP_NO_ID), UINT32_MAX);
    assert_memory_equal(&rally->host, &host, sizeof host);
    assert_int_equal(atomic_load(&rally->generation), 0);
    assert_int_equal(atomic_load(&rally->arrived), 0);
    assert_int_equal(atomic_load(&rally->turn), 0);
    assert_int_equal(atomic_load(&rally->unlisted_count), 0);
    for (uint32_t place = 0; place < SMP_UNLISTED_MAX; place++)
        assert_int_equal(atomic_load(&rally->unlisted_ids[place]), SMP_NO_ID);
    assert_int_equal(rally->park | rally->faults_of_bsp, 0);
}

// Firmware's rubbish is gone from everything that a processor may read, and the page tables' pool,
// which may be built already, is left alone.
static void test_clears_its_own(void **state)
{
    (void)state;
    list_processors(5, 1);
    fill(5);
    const uint8_t *pool = (const uint8_t *)(uintptr_t)(arena.phys + arena.tables_offset);
    for (size_t i = 0; i < arena.tables_pages * PAGE_BYTES; i++)
        assert_int_equal(pool[i], 0xa5);
    for (size_t slot = 0; slot < 5; slot++) {
        const uint8_t *stack = (const uint8_t *)(uintptr_t)arena_stack_phys(&arena, slot);
        for (size_t i = 0; i < SMP_STACK_BYTES; i++)
            assert_int_equal(stack[i], 0);
    }
}

// ---- descriptors, as the processor reads them (SDM vol. 3A, "Segment Descriptors") ----

struct pseudo {
    uint64_t limit, base;
};

static struct pseudo pseudo_at(size_t slot, size_t offset)
{
    const uint64_t at = arena_page_phys(&arena, slot) + offset;
    return (struct pseudo){load(at, 2), load(at + 2, 8)};
}

struct segment {
    uint64_t base, limit;
    unsigned type; // bits 3..0
    bool code_or_data, present, is_long, big;
    unsigned dpl;
};

static struct segment segment_at(struct pseudo gdt, unsigned selector)
{
    assert_true(selector + 7 <= gdt.limit);
    const uint64_t low = load(gdt.base + selector, 8);
    struct segment segment = {
        .base = (low >> 16 & 0xffffff) | (low >> 56 & 0xff) << 24,
        .limit = (low & 0xffff) | (low >> 48 & 0xf) << 16,
        .type = (unsigned)(low >> 40 & 0xf),
        .code_or_data = low >> 44 & 1,
        .dpl = (unsigned)(low >> 45 & 3),
        .present = low >> 47 & 1,
        .is_long = low >> 53 & 1,
        .big = low >> 54 & 1,
    };
    if (low >> 55 & 1)
        segment.limit = segment.limit << 12 | 0xfff;
    if (!segment.code_or_data) {
        assert_true(selector + 15 <= gdt.limit);
        const uint64_t high = load(gdt.base + selector + 8, 8);
        segment.base |= (high & 0xffffffff) << 32;
        assert_int_equal(high >> 32, 0); // the second half's type must be 0
    }
    return segment;
}

static void test_gdt(void **state)
{
    (void)state;
    list_processors(64, 3);
    fill(64);
    for (size_t slot = 0; slot < 64; slot++) {
        const uint64_t page = arena_page_phys(&arena, slot);
        const struct pseudo gdt = pseudo_at(slot, LCPU_GDTR);
        const struct segment code32 = segment_at(gdt, SELECTOR_CODE32);
        const struct segment data = segment_at(gdt, SELECTOR_DATA);
        const struct segment code64 = segment_at(gdt, SELECTOR_CODE64);
        const struct segment task = segment_at(gdt, SELECTOR_TSS);

        // A fault handler finds its own record from here.
        assert_int_equal(gdt.base & ~(uint64_t)(PAGE_BYTES - 1), page);
        assert_true(gdt.base + gdt.limit < page + PAGE_BYTES);
        assert_true(gdt.base >= page + sizeof(struct lcpu));
        assert_int_equal(gdt.base % 8, 0);
        assert_int_equal(gdt.limit % 8, 7);
        assert_int_equal(load(gdt.base, 8), 0); // null

        // Accessed already, so that no processor writes here.
        assert_true(code32.present && code32.code_or_data && code32.big && !code32.is_long);
        assert_int_equal(code32.type, 0xb);
        assert_int_equal(code32.limit, UINT32_MAX);
        assert_true(data.present && data.code_or_data && data.big);
        assert_int_equal(data.type, 0x3);
        assert_int_equal(data.limit, UINT32_MAX);
        assert_true(code64.present && code64.code_or_data && code64.is_long && !code64.big);
        assert_int_equal(code64.type, 0xb);
        assert_int_equal(code32.base | data.base | code64.base, 0);

        // A 64-bit TSS, available, of this processor alone.
        assert_true(task.present && !task.code_or_data);
        assert_int_equal(task.type, 0x9);
        assert_int_equal(task.base, page + offsetof(struct lcpu_page, task));
        assert_int_equal(task.limit, 103);
        assert_int_equal(code32.dpl | data.dpl | code64.dpl | task.dpl, 0);
        // The byte that the trampoline clears the busy bit in.
        assert_int_equal(load(page + LCPU_TSS_TYPE, 1) & 0xf, 0x9);
    }
}

// SDM vol. 3A, "64-Bit Mode IDT".
struct handler {
    uint64_t address;
    unsigned selector, stack, type, dpl;
    bool present;
};

static struct handler handler_at(struct pseudo idt, unsigned vector)
{
    assert_true(vector * 16 + 15 <= idt.limit);
    const uint64_t low = load(idt.base + vector * 16, 8);
    const uint64_t high = load(idt.base + vector * 16 + 8, 8);
    assert_int_equal(high >> 32, 0);
    return (struct handler){
        .address = (low & 0xffff) | (low >> 48 & 0xffff) << 16 | (high & 0xffffffff) << 32,
        .selector = (unsigned)(low >> 16 & 0xffff),
        .stack = (unsigned)(low >> 32 & 0xff),
        .type = (unsigned)(low >> 40 & 0x1f),
        .dpl = (unsigned)(low >> 45 & 3),
        .present = low >> 47 & 1,
    };
}

static void assert_idt(struct pseudo idt, const bool own_stacks)
{
    assert_int_equal(idt.limit, 32 * 16 - 1);
    assert_int_equal(idt.base % 8, 0);
    assert_true(idt.base >= arena.phys + arena.rally_offset + sizeof(struct rally));
    assert_true(idt.base + idt.limit < arena.phys + arena.rally_offset + PAGE_BYTES);
    for (unsigned vector = 0; vector < 32; vector++) {
        const struct handler handler = handler_at(idt, vector);
        const unsigned stack = vector == 2 ? 2 : vector == 18 ? 3 : 1;
        assert_true(handler.present);
        assert_int_equal(handler.address, STUBS + vector * FAULT_STUB_BYTES);
        assert_int_equal(handler.selector, SELECTOR_CODE64);
        assert_int_equal(handler.type, 0xe);
        assert_int_equal(handler.dpl, 0);
        assert_int_equal(handler.stack, own_stacks ? stack : 0);
    }
}

static void test_idt(void **state)
{
    (void)state;
    list_processors(3, 1);
    fill(3);
    for (size_t slot = 0; slot < 3; slot++) {
        assert_idt(pseudo_at(slot, LCPU_IDTR), true);
        assert_idt(pseudo_at(slot, LCPU_EARLY_IDTR), false);
    }
}

// Three stacks for each processor, for faults, NMI and machine check: no two share a byte, whoever
// they belong to, and all lie in memory of that processor alone.
static void test_interrupt_stacks(void **state)
{
    (void)state;
    list_processors(64, 1);
    fill(64);
    for (size_t slot = 0; slot < 64; slot++) {
        const struct lcpu_page *page = arena_page(&arena, slot);
        const uint64_t phys = arena_page_phys(&arena, slot);
        const uint64_t first_free = phys + offsetof(struct lcpu_page, line) + FAULT_LINE_BYTES;
        const uint64_t stack = arena_stack_phys(&arena, slot);

        for (size_t i = 0; i < INTERRUPT_STACKS; i++) {
            const uint64_t top = page->task.ist[i];
            const bool in_page = top - INTERRUPT_BYTES >= first_free && top <= phys + sizeof *page;
            const bool in_stack = top - INTERRUPT_BYTES >= stack && top <= stack + SMP_STACK_BYTES;
            assert_int_equal(top % 16, 0);
            assert_true(slot == 0 ? in_stack : in_page);
            for (size_t other = 0; other < i; other++) {
                const uint64_t distance = top > page->task.ist[other] ? top - page->task.ist[other]
                                                                      : page->task.ist[other] - top;
                assert_true(distance >= (slot == 0 ? SMP_STACK_BYTES / 4 : INTERRUPT_BYTES));
            }
        }
        // The others are never asked for, and there is no I/O map.
        for (size_t i = INTERRUPT_STACKS; i < 7; i++)
            assert_int_equal(page->task.ist[i], 0);
        assert_true(page->task.io_map > 103);
    }
}

// ---- the table of IDs ----

// As lcpu_start32 does it: a pointer, half the table's bytes, and unsigned comparisons. Returns the
// record, 0 for `unlisted`.
static uint32_t search(uint32_t apic_id, size_t *steps)
{
    uint64_t at = arena.phys + arena.table_offset;
    const uint64_t end = at + arena.table_entries * LCPU_ID_BYTES;

    *steps = 0;
    for (uint64_t half = arena.table_entries * LCPU_ID_BYTES / 2; half >= LCPU_ID_BYTES;
         half /= 2) {
        assert_true(at + half + LCPU_ID_BYTES <= end);
        if (load(at + half + LCPU_ID_APIC_ID, 4) <= apic_id)
            at += half;
        ++*steps;
    }
    if (load(at + LCPU_ID_APIC_ID, 4) != apic_id)
        return 0;
    return (uint32_t)load(at + LCPU_ID_LCPU, 4);
}

static int by_value(const void *left, const void *right)
{
    const uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

// The bare table, then each ID that is in it, and the neighbours of each that are not.
static void assert_table(size_t count)
{
    static uint32_t sorted[PROCESSORS_MAX];
    const struct lcpu_id *table = arena_table(&arena);
    size_t steps, bound = 0;

    while ((size_t)1 << bound < arena.table_entries)
        bound++;
    for (size_t i = 0; i < count; i++)
        sorted[i] = cpus[i].apic_id;
    qsort(sorted, count, sizeof sorted[0], by_value);
    for (size_t i = 0; i < arena.table_entries; i++) {
        assert_int_equal(table[i].apic_id, i < count ? sorted[i] : UINT32_MAX);
        if (i >= count)
            assert_int_equal(table[i].lcpu, 0);
    }
    for (size_t slot = 0; slot < count; slot++) {
        assert_int_equal(search(cpus[slot].apic_id, &steps), arena_page_phys(&arena, slot));
        assert_true(steps <= bound);
        for (uint32_t step = 0; step < 2; step++) {
            const uint32_t other = cpus[slot].apic_id + (step == 0 ? 1 : UINT32_MAX);
            if (!bsearch(&other, sorted, count, sizeof sorted[0], by_value))
                assert_int_equal(search(other, &steps), 0);
        }
    }
    assert_int_equal(search(UINT32_MAX, &steps), 0);
    for (size_t i = 0; i < 1000; i++) {
        const uint32_t other = (uint32_t)random_below(1ull << 32);
        if (!bsearch(&other, sorted, count, sizeof sorted[0], by_value))
            assert_int_equal(search(other, &steps), 0);
    }
}

static void test_table(void **state)
{
    static const struct {
        size_t count;
        uint32_t gap;
    } cases[] = {{1, 1},  {2, 1},   {2, 299},  {3, 1},   {3, 2},    {4, 1},          {5, 1},
                 {64, 1}, {64, 32}, {300, 13}, {300, 1}, {4096, 1}, {4096, 1048575}, {4095, 2}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        list_processors(cases[i].count, cases[i].gap);
        fill(cases[i].count);
        assert_table(cases[i].count);
    }
}

// The BSP may have any ID, 0 may be missing, and the largest that can be addressed is one below the
// padding.
static void test_table_edges(void **state)
{
    static const uint32_t ids[] = {0x106, UINT32_MAX - 1, 1, 0x80000000, 0x7fffffff, 0xff, 0x100};

    (void)state;
    for (size_t count = 1; count <= sizeof ids / sizeof ids[0]; count++) {
        for (size_t i = 0; i < count; i++)
            cpus[i] = (struct smp_cpu){.cpu = (uint32_t)i, .apic_id = ids[i]};
        fill(count);
        assert_table(count);
    }
}

// Ascending, descending and a saw: orders that real tables have.
static void test_table_orders(void **state)
{
    (void)state;
    for (unsigned order = 0; order < 3; order++) {
        for (uint32_t i = 0; i < 100; i++)
            cpus[i] = (struct smp_cpu){.cpu = i,
                                       .apic_id = order == 0   ? i
                                                  : order == 1 ? 99 - i
                                                  : i % 2      ? 50 + i / 2
                                                               : i / 2};
        fill(100);
        assert_table(100);
    }
}

// IDs that are a multiple of the marks' number apart leave theirs in the same place; slot 0, of ID
// 5 here, leaves none.
static void test_who_shares_a_mark(void **state)
{
    static const uint32_t ids[] = {5, 1024, 2048 + 7, 3, 1024 + 5, 7, 4096 + 7};
    static const uint32_t shared[] = {0, 0, 1, 0, 0, 1, 1};

    (void)state;
    for (size_t slot = 0; slot < 7; slot++)
        cpus[slot] = (struct smp_cpu){(uint32_t)slot, ids[slot]};
    fill(7);
    for (size_t slot = 0; slot < 7; slot++)
        assert_int_equal(arena_book(&arena, slot)->mark_shared, shared[slot]);
}

// An ID made false is found by nobody, and everybody else still is.
static void test_a_false_id(void **state)
{
    size_t steps;

    (void)state;
    list_processors(64, 3);
    fill(64);
    arena_falsify_id(&arena, cpus[9].apic_id);
    for (size_t slot = 0; slot < 64; slot++)
        assert_int_equal(search(cpus[slot].apic_id, &steps),
                         slot == 9 ? 0 : arena_page_phys(&arena, slot));
}

#define TEST(name) cmocka_unit_test_teardown(name, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_parts_are_disjoint),
        TEST(test_bytes_for_each),
        TEST(test_stacks),
        TEST(test_records),
        TEST(test_clears_its_own),
        TEST(test_gdt),
        TEST(test_idt),
        TEST(test_interrupt_stacks),
        TEST(test_table),
        TEST(test_table_edges),
        TEST(test_table_orders),
        TEST(test_who_shares_a_mark),
        TEST(test_a_false_id),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
