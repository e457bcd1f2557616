// The BSP between firmware and us: what is taken is given back, in the order that UEFI wants, and a
// difference in any field has its name.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "bsp.h"
#include "control.h"
#include "fake_bsp.h"
#include "smp.h"

// Where we move to.
#define GDT  0x5100u
#define IDT  0x5200u
#define IDT0 0x5300u // on the current stack
#define CODE 0x08u
#define DATA 0x10u
#define TASK 0x28u

static struct firmware firmware;
static struct processor processor;
static struct bsp_home home;
static struct bsp_state found;
static EFI_BOOT_SERVICES boot;

static void fail_test(const char *message)
{
    fail_msg("%s", message);
}

static int set_up(void **state)
{
    (void)state;
    fake_reset();
    fake_on_failure(fail_test);
    fake_bsp_start(&boot);
    fake_set_cell(FAKE_MSR, 0x1b, 0xfee00d00);
    firmware = (struct firmware){.boot = &boot, .cr4 = 0x6a8};
    processor = (struct processor){.no_execute = true, .pat = true, .mtrr = true};
    home = (struct bsp_home){.cr3 = 0x5000,
                             .no_execute = true,
                             .gdt = {0x37, GDT},
                             .early_idt = {0x1ff, IDT0},
                             .idt = {0x1ff, IDT},
                             .segments = {CODE, DATA, DATA, DATA},
                             .task = TASK};
    return 0;
}

static const char *difference(void)
{
    struct bsp_state now;
    bsp_read(&firmware, &processor, &now);
    return bsp_difference(&found, &now);
}

static void test_what_is_taken_is_given_back(void **state)
{
    (void)state;
    bsp_read(&firmware, &processor, &found);
    assert_null(difference());
    const EFI_TPL back = bsp_borrow(&firmware, &home);
    assert_int_equal(fake_tpl, TPL_HIGH_LEVEL);
    assert_false(hw_interrupts_are_on());
    assert_int_equal(hw_read_cr3(), 0x5000);
    assert_int_equal(hw_read_tables().segments.cs, CODE);
    assert_int_equal(hw_read_tables().segments.ss, DATA);
    assert_int_equal(hw_read_tables().segments.ds, DATA);
    assert_int_equal(hw_read_tables().segments.es, DATA);
    assert_int_equal(hw_read_tables().task, fake_bsp_tables.task); // none of ours
    bsp_hand_back(&firmware, &found, back);
    assert_null(difference());
    assert_int_equal(fake_tpl, TPL_APPLICATION);
}

// UEFI forbids interrupts at TPL_HIGH_LEVEL: they come after RestoreTPL, and as they were.
static void test_the_order(void **state)
{
    (void)state;
    bsp_read(&firmware, &processor, &found);
    fake_log_reset();
    const EFI_TPL back = bsp_borrow(&firmware, &home);
    // Our tables before our CR3: our handlers run in both address spaces.
    FAKE_EXPECT_LOG({FAKE_DISABLE_INTERRUPTS, 0, 0, 0, 0},
                    {FAKE_NOTE, FAKE_RAISED, TPL_HIGH_LEVEL, 0, 0},
                    {FAKE_DISABLE_INTERRUPTS, 0, 0, 0, 0}, {FAKE_WRITE_CR4, 4, 0x628, 0, 0},
                    {FAKE_WRITE_CR0, 0, 0x80010033, 0, 0}, {FAKE_WRMSR, 0xc0000080, 0xd00, 0, 0},
                    {FAKE_WRITE_TABLES, GDT, IDT0, 0, 0}, {FAKE_WRITE_CR3, 3, 0x5000, 0, 0});
    fake_log_reset();
    bsp_hand_back(&firmware, &found, back);
    FAKE_EXPECT_LOG({FAKE_WRMSR, 0x277, 0x0007040600070406, 0, 0},
                    {FAKE_WRITE_CR3, 3, 0x4000, 0, 0}, {FAKE_WRITE_CR4, 4, 0x6a8, 0, 0},
                    {FAKE_WRITE_CR0, 0, 0x80000033, 0, 0}, {FAKE_WRMSR, 0xc0000080, 0x500, 0, 0},
                    {FAKE_WRITE_TABLES, 0x1000, 0x2000, 0, 0},
                    {FAKE_NOTE, FAKE_RESTORED, TPL_APPLICATION, 0, 0},
                    {FAKE_ENABLE_INTERRUPTS, 0, 0, 0, 0}, {FAKE_ENABLE_INTERRUPTS, 0, 0, 0, 0});
}

// A far return under a shadow stack is a fault: it is off before the first one, and stays off where
// firmware is only visited.
static void test_a_shadow_stack_is_switched_off(void **state)
{
    struct bsp_registers ours;

    (void)state;
    firmware.cr0 = 0x80010033;
    firmware.cr3 = 0x4000;
    firmware.cr4 = 0x8006a8;
    firmware.efer = 0x500;
    firmware.tables = fake_bsp_tables;
    fake_set_cr(FAKE_CR4, firmware.cr4);
    fake_log_reset();
    bsp_take_over(&firmware, &home);
    assert_int_equal(hw_read_cr4(), 0x628);
    assert_int_equal(fake_log_at(1)->kind, FAKE_WRITE_CR4); // behind CLI, before the tables
    bsp_visit_firmware(&firmware, &ours);
    assert_int_equal(hw_read_cr4(), 0x6a8);
}

// For runtime services, everything that the two address spaces differ in, and back.
static void test_a_visit_to_firmware(void **state)
{
    struct bsp_registers ours;

    (void)state;
    firmware.cr0 = 0x80000033;
    firmware.cr3 = 0x4000;
    firmware.efer = 0x500;
    firmware.pat = 0x0007040600070406;
    firmware.tables = fake_bsp_tables;
    home.pat = SMP_PAT_WITH_COMBINING;
    bsp_take_over(&firmware, &home);
    assert_int_equal(hw_read_tables().task, TASK);
    assert_int_equal(hw_read_tables().idt.base, IDT);
    bsp_visit_firmware(&firmware, &ours);
    assert_int_equal(ours.tables.task, 0); // loaded, and busy: never a second time
    assert_int_equal(hw_read_cr0(), 0x80000033);
    assert_int_equal(hw_read_cr3(), 0x4000);
    assert_int_equal(hw_read_cr4(), 0x6a8);
    assert_int_equal(fake_cell(FAKE_MSR, 0xc0000080), 0x500);
    assert_int_equal(fake_cell(FAKE_MSR, 0x277), 0x0007040600070406);
    assert_int_equal(hw_read_tables().gdt.base, fake_bsp_tables.gdt.base);
    fake_set_interrupts(true); // whatever firmware did
    bsp_return(&ours);
    assert_false(hw_interrupts_are_on());
    assert_int_equal(hw_read_cr0(), 0x80010033);
    assert_int_equal(hw_read_cr3(), 0x5000);
    assert_int_equal(hw_read_cr4(), 0x628);
    assert_int_equal(fake_cell(FAKE_MSR, 0xc0000080), 0xd00);
    assert_int_equal(fake_cell(FAKE_MSR, 0x277), SMP_PAT_WITH_COMBINING);
    assert_int_equal(hw_read_tables().gdt.base, GDT);
}

// Firmware that runs us with interrupts off finds them off, although RestoreTPL switches them on.
static void test_interrupts_that_were_off(void **state)
{
    (void)state;
    fake_set_interrupts(false);
    bsp_read(&firmware, &processor, &found);
    assert_false(hw_interrupts_are_on()); // to look changes nothing
    const EFI_TPL back = bsp_borrow(&firmware, &home);
    bsp_hand_back(&firmware, &found, back);
    assert_false(hw_interrupts_are_on());
    assert_null(difference());
}

// ---- each field has its name ----

static void assert_named(const char *name)
{
    assert_non_null(difference());
    assert_string_equal(difference(), name);
    found = (struct bsp_state){0};
    bsp_read(&firmware, &processor, &found);
}

static void change_tables(size_t offset, uint8_t by)
{
    struct hw_tables tables = hw_read_tables();
    ((uint8_t *)&tables)[offset] ^= by;
    fake_set_tables(&tables);
}

static void test_each_register(void **state)
{
    static const struct {
        uint32_t msr;
        const char *name;
    } msrs[] = {
        {0xc0000080, "EFER"},   {0x277, "IA32_PAT"},    {0x2ff, "IA32_MTRR_DEF_TYPE"},
        {0x808, "APIC TPR"},    {0x80f, "APIC SVR"},    {0x832, "an APIC LVT"},
        {0x835, "an APIC LVT"}, {0x836, "an APIC LVT"}, {0x837, "an APIC LVT"},
        {0x834, "an APIC LVT"}, {0x833, "an APIC LVT"},
    };

    (void)state;
    bsp_read(&firmware, &processor, &found);
    fake_set_interrupts(false);
    assert_named("RFLAGS.IF");
    fake_tpl = TPL_CALLBACK;
    assert_named("TPL");
    fake_set_cr(FAKE_CR0, 0x80010033);
    assert_named("CR0");
    fake_set_cr(FAKE_CR3, 0x6000);
    assert_named("CR3");
    fake_set_cr(FAKE_CR4, 0x628);
    assert_named("CR4");
    for (size_t i = 0; i < sizeof msrs / sizeof msrs[0]; i++) {
        fake_set_cell(FAKE_MSR, msrs[i].msr, fake_cell(FAKE_MSR, msrs[i].msr) ^ 1);
        assert_named(msrs[i].name);
    }
    fake_set_cell(FAKE_MSR, 0x1b, 0xfee00c00);
    assert_named("IA32_APIC_BASE");
}

static void test_each_table(void **state)
{
    (void)state;
    bsp_read(&firmware, &processor, &found);
    change_tables(offsetof(struct hw_tables, gdt.limit), 8);
    assert_named("GDTR");
    change_tables(offsetof(struct hw_tables, gdt.base), 8);
    assert_named("GDTR");
    change_tables(offsetof(struct hw_tables, idt.limit), 8);
    assert_named("IDTR");
    change_tables(offsetof(struct hw_tables, idt.base), 8);
    assert_named("IDTR");
    change_tables(offsetof(struct hw_tables, segments.cs), 8);
    assert_named("a segment");
    change_tables(offsetof(struct hw_tables, segments.ss), 8);
    assert_named("a segment");
    change_tables(offsetof(struct hw_tables, segments.ds), 8);
    assert_named("a segment");
    change_tables(offsetof(struct hw_tables, segments.es), 8);
    assert_named("a segment");
    change_tables(offsetof(struct hw_tables, task), 8);
    assert_named("TR");
}

// Hardware moves these bits of a local vector by itself; of the spurious one they are settings.
static void test_moving_bits_are_no_difference(void **state)
{
    (void)state;
    bsp_read(&firmware, &processor, &found);
    fake_set_cell(FAKE_MSR, 0x835, 0x835 | 1u << 14);
    fake_set_cell(FAKE_MSR, 0x832, 0x832 | 1u << 12);
    assert_null(difference());
    fake_set_cell(FAKE_MSR, 0x80f, 0x80f | 1u << 12);
    assert_named("APIC SVR");
}

// What a processor does not have is not read: the fake would end the test.
static void test_nothing_is_read_that_is_not_there(void **state)
{
    (void)state;
    fake_reset();
    fake_on_failure(fail_test);
    fake_set_interrupts(true);
    for (enum fake_control_register cr = FAKE_CR0; cr <= FAKE_CR4; cr++)
        fake_set_cr(cr, 1);
    fake_set_cell(FAKE_MSR, 0xc0000080, 0x500);
    fake_set_cell(FAKE_MSR, 0x1b, 0xfee00100); // the APIC is off
    fake_set_tables(&fake_bsp_tables);
    processor = (struct processor){.pat = false};
    bsp_read(&firmware, &processor, &found);
    assert_null(difference());
    // By memory, with four local vectors and no more.
    fake_set_cell(FAKE_MSR, 0x1b, 0xfee00900);
    fake_set_cell(FAKE_MMIO, 0xfee00030, 0x30014);
    fake_set_cell(FAKE_MMIO, 0xfee00080, 0x10);
    fake_set_cell(FAKE_MMIO, 0xfee000f0, 0x1ff);
    fake_set_cell(FAKE_MMIO, 0xfee00320, 0x10000);
    fake_set_cell(FAKE_MMIO, 0xfee00350, 0x700);
    fake_set_cell(FAKE_MMIO, 0xfee00360, 0x400);
    fake_set_cell(FAKE_MMIO, 0xfee00370, 0x10000);
    bsp_read(&firmware, &processor, &found);
    fake_set_cell(FAKE_MMIO, 0xfee00080, 0x20);
    assert_named("APIC TPR");
}

#define TEST(function) cmocka_unit_test_setup(function, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_what_is_taken_is_given_back),
        TEST(test_the_order),
        TEST(test_a_shadow_stack_is_switched_off),
        TEST(test_a_visit_to_firmware),
        TEST(test_interrupts_that_were_off),
        TEST(test_each_register),
        TEST(test_each_table),
        TEST(test_moving_bits_are_no_difference),
        TEST(test_nothing_is_read_that_is_not_there),
    };
    return cmocka_run_group_tests_name("bsp", tests, NULL, NULL);
}
