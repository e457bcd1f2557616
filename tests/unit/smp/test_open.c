// Opening an engine: what the APs are told, what the caller is told, and every way in which memory,
// regions or the page below 1 MiB can be refused. Surprise: no register of the fake machine exists
// here, so that one that is read or written ends the test. The page is one whose bytes can be told
// to keep their value whatever is written (fake_firmware.h).
#include "fake_firmware.h"
#include "failing.h"

#include <stdio.h>
#include <stdlib.h>

#include "address_space.h"
#include "engine.h"
#include "fake_hw.h"
#include "fake_memory.h"
#include "told.h"

#define CPUS        4u
#define PAGE_PHYS   0x60000u
#define SPARE_BYTES (8 * PAGE_BYTES) // behind what was asked for
#define MIB         (1ull << 20)
#define GIB         (1ull << 30)

static const struct smp_cpu cpus[CPUS] = {{0, 7}, {1, 3}, {2, 9}, {3, 0x12b}};

static struct told told;
static struct smp_region regions[3];
static struct smp_setup setup;
static struct smp *smp;
static uint8_t *page;

// A setup that can be opened; a test changes it before.
static int set_up(void **state)
{
    const uint64_t entry = (uintptr_t)ap_main / PAGE_BYTES * PAGE_BYTES;

    (void)state;
    fake_reset();
    failures_fail_the_test();
    fake_firmware_clear();
    regions[0] = (struct smp_region){"RAM", 2 * MIB, 2 * MIB, 62 * MIB, SMP_WRITE};
    regions[1] =
        (struct smp_region){"code", entry, entry, 2 * PAGE_BYTES, SMP_EXECUTE | SMP_NEEDED};
    setup = (struct smp_setup){
        .cpus = cpus,
        .count = CPUS,
        .features = {.phys_bits = 40, .id_leaf = 0xb, .no_execute = true, .gib_pages = true},
        .apic_mode = SMP_X2APIC,
        .apic_phys = 0xfee00000,
        .apic_view = 0xfee00000,
        .tsc_hz = 1000000000,
        .regions = regions,
        .region_count = 2,
        .host = {.problems = told_listen(&told)},
    };
    setup.memory = fake_map_memory(smp_memory_bytes(&setup) + SPARE_BYTES, 0, UINT64_MAX);
    setup.memory.bytes -= SPARE_BYTES;
    page = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(page != MAP_FAILED);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    setup.memory.bytes += SPARE_BYTES;
    fake_unmap_memory(&setup.memory);
    munmap(page, PAGE_BYTES);
    fake_firmware_clear();
    return 0;
}

static void open_engine(void)
{
    assert_int_equal(smp_open(&setup, &smp), STATUS_OK);
    assert_int_equal(told.count, 0);
}

static void open_and_map(void)
{
    open_engine();
    assert_int_equal(smp_map_page(smp, PAGE_PHYS), STATUS_OK);
    assert_int_equal(told.count, 0);
}

static void assert_told(const char *what, const char *text)
{
    if (told.count != 1 || told_times(&told, what, text) != 1)
        print_error("wanted %s: %s, told %zu, the first %s: %s\n", what, text, told.count,
                    told.lines[0].what, told.lines[0].detail);
    assert_int_equal(told.count, 1);
    assert_int_equal(told_times(&told, what, text), 1);
    assert_int_equal(told.lines[0].severity, SEVERITY_ERROR);
    memset(&told, 0, sizeof told);
}

// ---- the memory ----

static void assert_memory_refused(struct smp_memory memory, enum status status, const char *text)
{
    const struct smp_memory good = setup.memory;

    setup.memory = memory;
    assert_int_equal(smp_open(&setup, &smp), status);
    assert_told("memory", text);
    setup.memory = good;
}

// Refused before anything is written.
static void test_memory_that_is_refused(void **state)
{
    const uint64_t phys = setup.memory.phys, bytes = setup.memory.bytes;
    uint8_t *const view = setup.memory.view;

    (void)state;
    assert_memory_refused((struct smp_memory){phys + 8, view, bytes}, STATUS_INVALID,
                          "is not page-aligned");
    assert_memory_refused((struct smp_memory){phys, view + 16, bytes}, STATUS_INVALID,
                          "is not page-aligned");
    assert_memory_refused((struct smp_memory){0, view, bytes}, STATUS_INVALID,
                          "no memory is given");
    assert_memory_refused((struct smp_memory){4 * GIB, view, bytes}, STATUS_INVALID,
                          "memory at 0x100000000 is not wholly below 4 GiB");
    assert_memory_refused((struct smp_memory){4 * GIB - bytes + PAGE_BYTES, view, bytes},
                          STATUS_INVALID, "is not wholly below 4 GiB");
    assert_memory_refused((struct smp_memory){phys, view, UINT64_MAX}, STATUS_INVALID,
                          "is not wholly below 4 GiB");
    assert_memory_refused((struct smp_memory){phys, view, bytes - 1}, STATUS_NO_SPACE,
                          "and it needs more");
    assert_memory_refused((struct smp_memory){phys, view, 0}, STATUS_NO_SPACE, "has 0 bytes");
    for (size_t i = 0; i < bytes; i++)
        assert_int_equal(view[i], 0xa5);
}

// The last byte below 4 GiB is as good as any.
// What no engine can be opened for, whatever its memory.
static void test_more_than_can_be(void **state)
{
    (void)state;
    setup.count = SIZE_MAX;
    assert_true(smp_memory_bytes(&setup) == UINT64_MAX);
    assert_int_equal(smp_open(&setup, &smp), STATUS_INVALID);
    assert_told("setup", "no room below 4 GiB");
}

static void test_no_memory(void **state)
{
    const struct smp_memory memory = setup.memory;

    (void)state;
    setup.memory.view = NULL;
    assert_int_equal(smp_open(&setup, &smp), STATUS_INVALID);
    assert_told("memory", "no memory");
    setup.memory = memory;
    setup.memory.phys = 0;
    assert_int_equal(smp_open(&setup, &smp), STATUS_INVALID);
    assert_told("memory", "no memory");
    setup.memory = memory;
}

// One page seen at two addresses, as where an address line is missing.
static void test_memory_that_does_not_keep_what_is_written(void **state)
{
    uint8_t *const view = setup.memory.view;
    char text[80];

    (void)state;
    assert_true(mremap(view + 4 * PAGE_BYTES, 0, PAGE_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED,
                       view + 9 * PAGE_BYTES) == view + 9 * PAGE_BYTES);
    assert_int_equal(smp_open(&setup, &smp), STATUS_INVALID);
    snprintf(text, sizeof text, "at %#llx does not keep",
             (unsigned long long)(setup.memory.phys + 4 * PAGE_BYTES));
    assert_told("memory", text);
}

static void test_page_in_the_engines_memory(void **state)
{
    (void)state;
    fake_unmap_memory(&(struct smp_memory){setup.memory.phys, setup.memory.view,
                                           setup.memory.bytes + SPARE_BYTES});
    setup.memory = fake_map_memory(setup.memory.bytes + SPARE_BYTES, MIB / 2, UINT64_MAX);
    setup.memory.bytes -= SPARE_BYTES;
    open_engine();
    for (uint64_t offset = 0; offset < MIB / 2; offset += MIB / 8) {
        const bool inside = offset < setup.memory.bytes;
        assert_int_equal(smp_map_page(smp, (uint32_t)(MIB / 2 + offset)),
                         inside ? STATUS_INVALID : STATUS_OK);
        if (inside)
            assert_told("low-page", "lies in the engine's memory");
    }
}

static void test_processors_that_are_refused(void **state)
{
    static const struct smp_cpu twice[CPUS] = {{0, 7}, {1, 3}, {2, 7}, {3, 9}};

    (void)state;
    setup.cpus = twice;
    assert_int_equal(smp_open(&setup, &smp), STATUS_INVALID);
    assert_told("repeated-id", "with APIC ID 0x7");
    setup.cpus = cpus;
    setup.apic_mode = SMP_XAPIC; // CPU 3 has 0x12b
    assert_int_equal(smp_open(&setup, &smp), STATUS_INVALID);
    assert_told("unreachable-id", "APIC ID 0x12b");
    setup.apic_mode = SMP_X2APIC;
    setup.count = 0;
    assert_int_equal(smp_open(&setup, &smp), STATUS_INVALID);
    assert_told("setup", "no processor");
    setup.count = CPUS;
    setup.tsc_hz = 0;
    assert_int_equal(smp_open(&setup, &smp), STATUS_INVALID);
    assert_told("setup", "rate of the TSC");
}

static void test_memory_that_ends_at_4_gib(void **state)
{
    (void)state;
    setup.memory.phys = 4 * GIB - setup.memory.bytes;
    setup.apic_phys = GIB;
    open_engine();
    setup.memory.phys = (uintptr_t)0; // not mapped there: nothing to give back
    munmap(setup.memory.view, setup.memory.bytes + SPARE_BYTES);
    setup.memory.view = NULL;
}

// As many bytes as were asked for are used, and none behind them.
static void test_memory_is_enough(void **state)
{
    (void)state;
    assert_int_equal(setup.memory.bytes % PAGE_BYTES, 0);
    open_and_map();
    assert_int_equal(smp_fill_page(smp, page), STATUS_OK);
    const uint8_t *behind = (const uint8_t *)setup.memory.view + setup.memory.bytes;
    for (size_t i = 0; i < SPARE_BYTES; i++)
        assert_int_equal(behind[i], 0xa5);
    const struct smp_layout layout = smp_layout(smp);
    assert_int_equal(layout.memory_bytes, setup.memory.bytes);
}

// A region that cannot be mapped, and one that is nothing.
static void test_regions(void **state)
{
    (void)state;
    regions[2] = (struct smp_region){"device", 64 * MIB, 1ull << 40, PAGE_BYTES, SMP_WRITE};
    setup.region_count = 3;
    setup.memory.bytes += SPARE_BYTES; // what set_up has behind it
    assert_true(setup.memory.bytes >= smp_memory_bytes(&setup));
    assert_int_equal(smp_open(&setup, &smp), STATUS_INVALID);
    assert_told("page-tables", "cannot map device at 0x10000000000, 4096 bytes");
    regions[2].bytes = 0;
    open_engine();
    setup.memory.bytes -= SPARE_BYTES;
}

// ---- what the APs are told ----

static void test_addresses(void **state)
{
    (void)state;
    open_engine();
    const struct trampoline_parameters *parameters = &smp->parameters;
    const struct arena *arena = &smp->arena;

    // Physical, every one.
    assert_int_equal(parameters->x86_bpt_pml4_addr, setup.memory.phys + arena->tables_offset);
    assert_int_equal(parameters->lcpus, setup.memory.phys + arena->table_offset);
    assert_int_equal(parameters->rally, setup.memory.phys + arena->rally_offset);
    // Half of the table, in bytes: the search's first step.
    assert_int_equal(parameters->lcpus_half, 2 * LCPU_ID_BYTES);
}

// Two processors to a thousand: the search's first step, and memory for all.
static void test_half_of_the_table(void **state)
{
    static struct smp_cpu many[600];
    uint32_t half = LCPU_ID_BYTES;

    (void)state;
    for (uint32_t i = 0; i < 600; i++)
        many[i] = (struct smp_cpu){i, i};
    for (uint32_t count = 2; count <= 600; count += count < 20 ? 1 : 97) {
        struct smp_setup larger = setup;
        larger.cpus = many;
        larger.count = count;
        larger.memory = fake_map_memory(smp_memory_bytes(&larger), 0, PAGE_BYTES);
        assert_int_equal(smp_open(&larger, &smp), STATUS_OK);
        while (half * 2 < count * LCPU_ID_BYTES)
            half *= 2;
        assert_int_equal(smp->parameters.lcpus_half, half);
        assert_int_equal(smp_count(smp), count);
        fake_unmap_memory(&larger.memory);
    }
}

// Each fact moves its own bit and no other. (SDM vol. 3A, "Control Registers", "IA32_EFER".)
static void test_modes(void **state)
{
    static const struct smp_cpu low[CPUS] = {{0, 7}, {1, 3}, {2, 9}, {3, 0xfe}};

    (void)state;
    setup.cpus = low; // in either mode
    for (unsigned facts = 0; facts < 16; facts++) {
        const bool mce = facts & 1, la57 = facts & 2, nx = facts & 4, x2apic = facts & 8;
        setup.features.machine_check = mce;
        setup.features.five_levels = la57;
        setup.features.no_execute = nx;
        setup.apic_mode = x2apic ? SMP_X2APIC : SMP_XAPIC;
        open_engine();
        const uint32_t cr4 = 1u << 5 | (mce ? 1u << 6 : 0) | (la57 ? 1u << 12 : 0);
        const uint32_t efer = 1u << 8 | (nx ? 1u << 11 : 0);
        assert_int_equal(smp->parameters.cr4, cr4);
        assert_int_equal(smp->parameters.efer, efer);
        assert_int_equal(smp->parameters.x2apic, x2apic);
        const struct smp_layout layout = smp_layout(smp);
        assert_int_equal(layout.cr4, cr4);
        assert_int_equal(layout.efer, efer);
    }
}

static void test_id_leaf_and_misc_enable(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 2; i++) {
        setup.features.id_leaf = i == 0 ? 1 : 0xb;
        setup.features.misc_enable = i == 0;
        open_engine();
        assert_int_equal(smp->parameters.id_leaf, i == 0 ? 1 : 0xb);
        assert_int_equal(smp->parameters.misc_enable, i == 0 ? 0x1a0 : 0);
    }
}

static void test_pat(void **state)
{
    (void)state;
    setup.pat = SMP_PAT_WITH_COMBINING;
    open_engine();
    assert_true(arena_rally(&smp->arena)->pat == SMP_PAT_WITH_COMBINING);
    setup.pat = 0;
    open_engine();
    assert_true(arena_rally(&smp->arena)->pat == 0);
}

// ---- what the caller is told ----

static void test_layout(void **state)
{
    (void)state;
    open_engine();
    struct smp_layout layout = smp_layout(smp);
    assert_int_equal(layout.page_phys, 0);
    assert_int_equal(smp_map_page(smp, PAGE_PHYS), STATUS_OK);
    assert_int_equal(smp_fill_page(smp, page), STATUS_OK);
    layout = smp_layout(smp);
    assert_int_equal(layout.cpu_bytes, 24 * 1024);
    assert_int_equal(layout.cr3, smp->parameters.x86_bpt_pml4_addr);
    assert_int_equal(layout.page_phys, PAGE_PHYS);
    assert_ptr_equal(layout.page_view, page);
    assert_int_equal(layout.page_window, setup.memory.phys + smp->arena.window_offset);
    assert_int_equal(layout.image_bytes, smp->trampoline.bytes);
    assert_int_equal(layout.relocations, smp->trampoline.patch_count);
    uint8_t elsewhere[1];
    smp_set_page_view(smp, elsewhere);
    layout = smp_layout(smp);
    assert_ptr_equal(layout.page_view, elsewhere);
}

// Slot 0's own, for a caller who runs on them.
static void test_tables(void **state)
{
    (void)state;
    open_engine();
    const struct smp_tables tables = smp_tables(smp);
    const uint64_t record = smp_records_phys(smp);
    const uint64_t rally = setup.memory.phys + smp->arena.rally_offset;

    assert_int_equal(record, arena_page_phys(&smp->arena, 0));
    assert_int_equal(tables.cr3, smp->parameters.x86_bpt_pml4_addr);
    assert_int_equal(tables.gdt, record + offsetof(struct lcpu_page, gdt));
    assert_int_equal(tables.gdt_limit, 6 * 8 - 1);
    assert_in_range(tables.idt, rally, rally + PAGE_BYTES);
    assert_int_equal(tables.early_idt, tables.idt + 32 * 16);
    assert_int_equal(tables.idt_limit, 32 * 16 - 1);
    assert_int_equal(tables.code, 0x18);
    assert_int_equal(tables.data, 0x10);
    assert_int_equal(tables.task, 0x20);
}

// Slots, by APIC ID and back.
static void test_slots(void **state)
{
    (void)state;
    open_engine();
    assert_int_equal(smp_count(smp), CPUS);
    assert_int_equal(smp_rounds(smp), 0);
    for (uint32_t slot = 0; slot < CPUS; slot++)
        assert_int_equal(smp_slot_of(smp, cpus[slot].apic_id), slot);
    assert_int_equal(smp_slot_of(smp, 8), UINT32_MAX);
    assert_int_equal(smp_slot_of(smp, SMP_NO_ID), UINT32_MAX);
    // Nobody has come, nobody has been asked.
    assert_int_equal(smp_unlisted_count(smp), 0);
    assert_int_equal(smp_unlisted_id(smp, 0), SMP_NO_ID);
    assert_int_equal(smp_unlisted_id(smp, SMP_UNLISTED_MAX), SMP_NO_ID);
    for (uint32_t slot = 0; slot < CPUS; slot++) {
        const struct smp_account account = smp_examine(smp, slot);
        assert_int_equal(account.slot, slot);
        assert_int_equal(account.cpu, cpus[slot].cpu);
        assert_int_equal(account.apic_id, cpus[slot].apic_id);
        assert_int_equal(account.entry, (uintptr_t)ap_main);
        assert_int_equal(account.stack, arena_stack_phys(&smp->arena, slot) + SMP_STACK_BYTES);
        assert_int_equal(smp_account_stage(&account), SMP_STAGE_NONE);
        assert_false(account.arrived || account.done || account.stray || account.fault.valid);
    }
}

// ---- the page below 1 MiB ----

static void test_pages(void **state)
{
    static const uint32_t good[] = {0x1000, 0x10000, 0x50000, 0x9f000, 0xff000};

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        size_t difference;

        open_engine();
        assert_int_equal(smp_map_page(smp, good[i]), STATUS_OK);
        assert_int_equal(smp_fill_page(smp, page), STATUS_OK);
        assert_int_equal(told.count, 0);
        assert_int_equal(
            trampoline_verify(&smp->trampoline, page, good[i], &smp->parameters, &difference),
            STATUS_OK);
        assert_memory_equal(page + smp->trampoline.parameters_offset, &smp->parameters,
                            sizeof smp->parameters);
        for (uint32_t id = 0; id < MARK_COUNT; id++)
            assert_int_equal(trampoline_mark(page, id), STAGE_NONE);
        // And the APs will find it, where they can write to it too.
        const struct smp_layout layout = smp_layout(smp);
        const struct page_walk run = page_tables_walk(&smp->tables, good[i]);
        const struct page_walk window = page_tables_walk(&smp->tables, layout.page_window);
        assert_true(run.mapped && run.executable && !run.writable && run.phys == good[i]);
        assert_true(window.mapped && window.writable && !window.executable &&
                    window.phys == good[i]);
    }
}

// Another page takes the place of the first, window included.
static void test_another_page(void **state)
{
    (void)state;
    open_and_map();
    assert_int_equal(smp_fill_page(smp, page), STATUS_OK);
    assert_int_equal(smp_map_page(smp, 0x7000), STATUS_OK);
    assert_int_equal(smp_fill_page(smp, page), STATUS_OK);
    const struct page_walk window = page_tables_walk(&smp->tables, smp_layout(smp).page_window);
    assert_int_equal(window.phys, 0x7000);
}

static void test_page_that_no_startup_can_name(void **state)
{
    static const uint32_t bad[] = {0, 0x60001, 0x60800, 0x100000, 0xfffff000, UINT32_MAX};

    (void)state;
    open_engine();
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(smp_map_page(smp, bad[i]), STATUS_INVALID);
        assert_told("low-page", "cannot be named by a STARTUP");
        assert_int_equal(smp_layout(smp).page_phys, 0);
    }
}

static void assert_not_filled(const char *what, const char *text)
{
    assert_int_equal(smp_fill_page(smp, page), STATUS_INVALID);
    assert_told(what, text);
}

static void test_page_that_nobody_mapped(void **state)
{
    (void)state;
    open_engine();
    assert_int_equal(smp_fill_page(smp, page), STATUS_INVALID);
    assert_int_equal(told_times(&told, "page-walk", "the trampoline at 0x0 is to be executable"),
                     1);
    assert_true(told_times(&told, "page-walk", "the window at ") == 1);
}

// Refused before the page is touched: there is none.
static void test_cr3(void **state)
{
    static const uint64_t bad[] = {0,         0x1008, 0x80000001, 1ull << 32, (1ull << 32) + 0x1000,
                                   1ull << 63};
    char text[64];

    (void)state;
    open_and_map();
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        smp->tables.pool_phys = bad[i];
        snprintf(text, sizeof text, "CR3 is 0x%llx: it must not be 0", (unsigned long long)bad[i]);
        assert_int_equal(smp_fill_page(smp, NULL), STATUS_INVALID);
        assert_told("bad-cr3", text);
    }
}

static void test_page_that_is_no_memory(void **state)
{
    (void)state;
    open_and_map();
    fake_keep_bytes((uintptr_t)page, 0, PAGE_BYTES);
    assert_not_filled("bad-copy", "the trampoline at 0x60000 does not read back");
}

// The copy holds, and what is written later does not: a parameter, and a byte of the poison behind
// the image.
static void test_page_with_one_bad_byte(void **state)
{
    char text[64];

    (void)state;
    setup.features.five_levels = true; // so that no byte of CR4 is 0
    setup.features.machine_check = true;
    open_and_map();
    const size_t bad[] = {
        smp->trampoline.parameters_offset + offsetof(struct trampoline_parameters, cr4),
        smp->trampoline.bytes + 5,
    };
    for (size_t i = 0; i < 2; i++) {
        fake_firmware_clear();
        mprotect(page, PAGE_BYTES, PROT_READ | PROT_WRITE);
        memset(page, 0, PAGE_BYTES);
        fake_keep_bytes((uintptr_t)page, bad[i], bad[i] + 1); // 0
        snprintf(text, sizeof text, "differs at offset 0x%zx", bad[i]);
        assert_not_filled("bad-copy", text);
    }
}

static void test_broken_relocations(void **state)
{
    (void)state;
    open_and_map();
    const struct trampoline good = smp->trampoline;
    uint8_t *image = malloc(good.bytes);
    assert_non_null(image);
    for (size_t entry = 0; entry < good.patch_count; entry++) {
        char text[64];

        memcpy(image, good.image, good.bytes);
        image[good.patches_offset + entry * PATCH_BYTES + PATCH_WIDTH] = 3;
        smp->trampoline.image = image;
        snprintf(text, sizeof text, "relocation %zu of the trampoline does not fit", entry);
        assert_not_filled("bad-relocation", text);
    }
    smp->trampoline = good;
    free(image);
    assert_int_equal(smp_fill_page(smp, page), STATUS_OK);
}

// The page is sound, and the address space is not.
static void test_address_space_is_proved(void **state)
{
    (void)state;
    open_and_map();
    const uint64_t stack = arena_stack_phys(&smp->arena, 2);
    assert_int_equal(smp_unmap(smp, stack, PAGE_BYTES), STATUS_OK);
    assert_not_filled("page-walk", "a stack at 0x");
    open_and_map();
    for (uint32_t slot = 0; slot < CPUS; slot++)
        arena_lcpu(&smp->arena, slot)->entry = 4 * MIB;
    assert_not_filled("page-walk", "the AP's entry at 0x400000 is to be executable");
}

// No table is left for the page: nothing else is mapped near it but the null page.
static void test_no_table_for_the_page(void **state)
{
    (void)state;
    open_engine();
    smp->tables.pool_pages = smp->tables.pages_used;
    assert_int_equal(page_tables_unmap(&smp->tables, 0, 2 * MIB), STATUS_OK);
    assert_int_equal(smp_map_page(smp, PAGE_PHYS), STATUS_NO_SPACE);
    assert_told("page-tables", "cannot map trampoline at 0x60000");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_memory_that_is_refused),
        TEST(test_processors_that_are_refused),
        TEST(test_more_than_can_be),
        TEST(test_no_memory),
        TEST(test_memory_that_does_not_keep_what_is_written),
        TEST(test_page_in_the_engines_memory),
        TEST(test_memory_that_ends_at_4_gib),
        TEST(test_memory_is_enough),
        TEST(test_regions),
        TEST(test_addresses),
        TEST(test_half_of_the_table),
        TEST(test_modes),
        TEST(test_id_leaf_and_misc_enable),
        TEST(test_pat),
        TEST(test_layout),
        TEST(test_tables),
        TEST(test_slots),
        TEST(test_pages),
        TEST(test_another_page),
        TEST(test_page_that_no_startup_can_name),
        TEST(test_page_that_nobody_mapped),
        TEST(test_cr3),
        TEST(test_page_that_is_no_memory),
        TEST(test_page_with_one_bad_byte),
        TEST(test_broken_relocations),
        TEST(test_address_space_is_proved),
        TEST(test_no_table_for_the_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
