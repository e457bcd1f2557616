// From facts to a page that processors can start in: what the APs are told, and every way in which
// preparing the page can fail. The page is real memory below 1 MiB, some of whose bytes can be told
// to keep their value whatever is written (fake_firmware.h).
#include "fake_firmware.h"
#include "fake_machine.h"
#include "told.h"

#include <stdlib.h>

#include "control.h"
#include "prepare.h"

static struct fake_machine fake;
static struct told told;
static struct trampoline trampoline;

static void entry(struct lcpu *self)
{
    (void)self;
}

static int set_up(void **state)
{
    (void)state;
    fake_firmware_clear();
    fake_machine_start(&fake, 4, 0, entry);
    assert_int_equal(trampoline_open_builtin(&trampoline), STATUS_OK);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_machine_stop(&fake);
    fake_firmware_clear();
    return 0;
}

static void build(void)
{
    const struct problems problems = told_listen(&told);
    assert_int_equal(address_space_build(&fake.machine, &fake.arena, &problems, &fake.tables),
                     STATUS_OK);
}

static struct trampoline_parameters parameters_with(const struct apic_operations *apic)
{
    const struct plan plan = {.apic = apic};
    return prepare_parameters(&fake.machine, &plan, &fake.arena, &fake.tables);
}

// ---- what the APs are told ----

static void test_addresses(void **state)
{
    (void)state;
    build();
    const struct trampoline_parameters parameters = parameters_with(&apic_xapic);
    const struct lcpu_id *table = arena_table(&fake.arena);

    assert_int_equal(parameters.x86_bpt_pml4_addr, fake.arena.phys + fake.arena.tables_offset);
    assert_int_equal(parameters.lcpus, (uintptr_t)table);
    assert_int_equal(parameters.rally, (uintptr_t)arena_rally(&fake.arena));
    // Half of the table, in bytes: the search's first step.
    assert_int_equal(parameters.lcpus_half, 2 * sizeof table[0]);
    for (size_t count = 1; count < 600; count++) {
        struct arena arena;
        arena_plan(count, 1, &arena);
        const struct plan plan = {.apic = &apic_xapic};
        assert_int_equal(prepare_parameters(&fake.machine, &plan, &arena, &fake.tables).lcpus_half,
                         arena.table_entries * sizeof table[0] / 2);
    }
}

// Each fact moves its own bit and no other. (SDM vol. 3A, "Control Registers", "IA32_EFER".)
static void test_modes(void **state)
{
    (void)state;
    build();
    for (unsigned facts = 0; facts < 16; facts++) {
        const bool mce = facts & 1, la57 = facts & 2, nx = facts & 4, x2apic = facts & 8;
        // What else the BSP has on is not for the APs: they set it up for themselves, or never need
        // it.
        fake.machine.cr4 = 0x3306f8ull & ~(uint64_t)CR4_LA57;
        fake.machine.cr4 |= la57 ? CR4_LA57 : 0;
        fake.machine.processor.mce = mce;
        fake.machine.processor.no_execute = nx;
        const struct trampoline_parameters parameters =
            parameters_with(x2apic ? &apic_x2apic : &apic_xapic);
        assert_int_equal(parameters.cr4, 1u << 5 | (mce ? 1u << 6 : 0) | (la57 ? 1u << 12 : 0));
        assert_int_equal(parameters.efer, 1u << 8 | (nx ? 1u << 11 : 0));
        assert_int_equal(parameters.x2apic, x2apic);
    }
}

static void test_id_leaf(void **state)
{
    static const uint32_t leaves[] = {1, 0xb};

    (void)state;
    build();
    for (size_t i = 0; i < 2; i++) {
        fake.machine.processor.id_leaf = leaves[i];
        assert_int_equal(parameters_with(&apic_xapic).id_leaf, leaves[i]);
    }
}

// Where NX may be switched off, and a processor that lacks it may switch it on again.
static void test_misc_enable(void **state)
{
    (void)state;
    build();
    for (enum vendor vendor = VENDOR_OTHER; vendor <= VENDOR_HYGON; vendor++) {
        for (uint32_t family = 5; family <= 0x19; family++) {
            fake.machine.processor.vendor = vendor;
            fake.machine.processor.family = family;
            assert_int_equal(parameters_with(&apic_xapic).misc_enable,
                             vendor == VENDOR_INTEL && family >= 6 ? 0x1a0 : 0);
        }
    }
}

// ---- the page ----

static enum status prepare(size_t *relocations)
{
    const struct problems problems = told_listen(&told);
    const struct trampoline_parameters parameters = parameters_with(&apic_x2apic);

    struct page_tables sound = fake.tables; // a test may have falsified CR3
    sound.pool_phys = fake.arena.phys + fake.arena.tables_offset;
    const enum status placed = address_space_place(&fake.machine, &fake.arena, &problems, &sound);
    if (placed != STATUS_OK)
        return placed;
    fake.tables.pages_used = sound.pages_used;
    return prepare_page(&fake.machine, &fake.arena, &trampoline, &parameters, fake.entry, &problems,
                        &fake.tables, (uint8_t *)(uintptr_t)fake.machine.low_page, relocations);
}

static void assert_fails(const char *what, const char *text)
{
    size_t relocations = 0;

    assert_int_equal(prepare(&relocations), STATUS_INVALID);
    if (told.count != 1 || told_times(&told, what, text) != 1)
        print_error("wanted %s: %s, told %s: %s\n", what, text, told.lines[0].what,
                    told.lines[0].detail);
    assert_int_equal(told.count, 1);
    assert_int_equal(told_times(&told, what, text), 1);
    assert_int_equal(told.lines[0].severity, SEVERITY_ERROR);
}

static void test_page(void **state)
{
    static const uint32_t pages[] = {0x10000, 0x50000, 0x9f000};

    (void)state;
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        const uint8_t *page = (const uint8_t *)(uintptr_t)pages[i];
        size_t relocations = 0, difference;

        fake_map_low(pages[i], 1);
        fake.machine.low_page = pages[i];
        build();
        assert_int_equal(prepare(&relocations), STATUS_OK);
        assert_int_equal(told.count, 0);
        assert_true(relocations > 0);
        assert_int_equal(relocations, trampoline.patch_count);
        const struct trampoline_parameters parameters = parameters_with(&apic_x2apic);
        assert_int_equal(trampoline_verify(&trampoline, page, pages[i], &parameters, &difference),
                         STATUS_OK);
        assert_memory_equal(page + trampoline.parameters_offset, &parameters, sizeof parameters);
        for (uint32_t id = 0; id < MARK_COUNT; id++)
            assert_int_equal(trampoline_mark(page, id), STAGE_NONE);
        // And the APs will find it, where the BSP will see it too.
        const struct page_walk run = page_tables_walk(&fake.tables, pages[i]);
        const struct page_walk window =
            page_tables_walk(&fake.tables, fake.arena.phys + fake.arena.window_offset);
        assert_true(run.mapped && run.executable && !run.writable && run.phys == pages[i]);
        assert_true(window.mapped && window.writable && !window.executable &&
                    window.phys == pages[i]);
    }
}

// Refused before the page is touched: there is none.
static void test_cr3(void **state)
{
    static const uint64_t bad[] = {0,         0x1008, 0x80000001, 1ull << 32, (1ull << 32) + 0x1000,
                                   1ull << 63};
    char text[64];

    (void)state;
    build();
    fake.machine.low_page = 0x30000;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        fake.tables.pool_phys = bad[i];
        snprintf(text, sizeof text, "CR3 is 0x%llx: it must not be 0", (unsigned long long)bad[i]);
        assert_fails("bad-cr3", text);
    }
}

static void test_page_that_is_no_memory(void **state)
{
    (void)state;
    build();
    fake.machine.low_page = 0x60000;
    fake_map_low(0x60000, 1);
    fake_keep_bytes(0x60000, 0, PAGE_BYTES);
    assert_fails("bad-copy", "the trampoline at 0x60000 does not read back");
}

// The copy holds, and what is written later does not: a parameter, and a byte of the poison behind
// the image.
static void test_page_with_one_bad_byte(void **state)
{
    char text[64];

    (void)state;
    build();
    fake.machine.low_page = 0x60000;
    fake_map_low(0x60000, 1);
    const size_t bad[] = {
        trampoline.parameters_offset + offsetof(struct trampoline_parameters, cr4),
        trampoline.bytes + 5,
    };
    for (size_t i = 0; i < 2; i++) {
        fake_firmware_clear();
        fake_map_low(0x60000, 1);
        fake_keep_bytes(0x60000, bad[i], bad[i] + 1); // 0
        snprintf(text, sizeof text, "differs at offset 0x%zx", bad[i]);
        assert_fails("bad-copy", text);
    }
}

static void test_broken_relocations(void **state)
{
    (void)state;
    uint8_t *image = malloc(trampoline.bytes);
    assert_non_null(image);
    build();
    fake.machine.low_page = 0x60000;
    fake_map_low(0x60000, 1);
    for (size_t entry_index = 0; entry_index < trampoline.patch_count; entry_index++) {
        const struct trampoline good = trampoline;
        char text[64];

        memcpy(image, good.image, good.bytes);
        image[good.patches_offset + entry_index * PATCH_BYTES + PATCH_WIDTH] = 3;
        trampoline.image = image;
        snprintf(text, sizeof text, "relocation %zu of the trampoline does not fit", entry_index);
        assert_fails("bad-relocation", text);
        trampoline = good;
    }
    free(image);
}

// The page is sound, and the address space is not.
static void test_address_space_is_proved(void **state)
{
    size_t relocations;

    (void)state;
    fake.machine.low_page = 0x60000;
    fake_map_low(0x60000, 1);
    build();
    const uint64_t stack = arena_stack(&fake.arena, 2);
    assert_int_equal(page_tables_unmap(&fake.tables, stack, PAGE_BYTES), STATUS_OK);
    assert_fails("page-walk", "a stack at 0x");
    build();
    fake.entry = fake.machine.image.data.phys;
    assert_fails("page-walk", "the AP's entry at 0x");
    // No table is left for the page: nothing else is mapped near it.
    fake.machine.ram++;
    fake.machine.ram_count--;
    fake.machine.ram[0].bytes -= 63 * FAKE_MIB;
    fake.machine.ram[0].phys += 63 * FAKE_MIB;
    build();
    fake.entry = fake.machine.image.text.phys;
    fake.tables.pool_pages = fake.tables.pages_used;
    assert_int_equal(prepare(&relocations), STATUS_NO_SPACE);
    assert_int_equal(told_times(&told, "page-tables", "cannot map trampoline at 0x60000"), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_addresses),
        TEST(test_modes),
        TEST(test_id_leaf),
        TEST(test_misc_enable),
        TEST(test_page),
        TEST(test_cr3),
        TEST(test_page_that_is_no_memory),
        TEST(test_page_with_one_bad_byte),
        TEST(test_broken_relocations),
        TEST(test_address_space_is_proved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
