// The fake itself: a fake that lets things pass would make every test above it worthless. Each
// access that was not set up must fail, and so must each kind of difference between a log and its
// list.
#include "fake_hw.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define SIPI_MSR 0x830u

static jmp_buf failed;
static bool expected;
static char message[512];

static void catch_failure(const char *text)
{
    if (!expected) {
        fail_msg("%s", text);
    }
    strncpy(message, text, sizeof message - 1);
    longjmp(failed, 1);
}

// `statement` must end in fake_fail().
#define ASSERT_FAILS(statement)                 \
    do {                                        \
        expected = true;                        \
        if (setjmp(failed) == 0) {              \
            statement;                          \
            fail_msg("passed: %s", #statement); \
        }                                       \
        expected = false;                       \
    } while (0)

static int set_up(void **state)
{
    (void)state;
    fake_reset();
    fake_on_failure(catch_failure);
    expected = false;
    return 0;
}

static void test_nothing_exists(void **state)
{
    (void)state;
    ASSERT_FAILS(hw_cpuid(0, 0));
    ASSERT_FAILS(hw_rdmsr(0x1b));
    ASSERT_FAILS(hw_wrmsr(SIPI_MSR, 0));
    assert_string_equal(message, "fake: unexpected wrmsr 0x830 = 0");
    ASSERT_FAILS(hw_in8(0x3f8));
    ASSERT_FAILS(hw_out8(0x3f8, 0));
    ASSERT_FAILS(hw_out16(0x604, 0));
    ASSERT_FAILS(hw_in32(0x608));
    ASSERT_FAILS(hw_out32(0x608, 0));
    ASSERT_FAILS(hw_mmio_read32(0xfee00020));
    ASSERT_FAILS(hw_mmio_write32(0xfee00300, 0));
    ASSERT_FAILS(hw_tsc());
    ASSERT_FAILS(hw_pause());
    ASSERT_FAILS(hw_halt());
    ASSERT_FAILS(hw_jump(0x9e780));
    ASSERT_FAILS((void)hw_interrupts_are_on());
    ASSERT_FAILS(hw_enable_interrupts());
    ASSERT_FAILS(hw_read_cr0());
    ASSERT_FAILS(hw_read_cr2());
    ASSERT_FAILS(hw_read_cr3());
    ASSERT_FAILS(hw_read_cr4());
    ASSERT_FAILS(hw_write_cr3(0));
    ASSERT_FAILS(hw_write_cr4(0));
    ASSERT_FAILS(hw_read_tables());
    ASSERT_FAILS(hw_write_tables(&(struct hw_tables){.segments = {.cs = 8}}));
    ASSERT_FAILS(fake_cell(FAKE_MSR, 0x1b));
    assert_int_equal(fake_log_count(), 0);
}

static void test_spaces_are_apart(void **state)
{
    (void)state;
    fake_set_cell(FAKE_PORT8, 0x608, 1);
    assert_int_equal(hw_in8(0x608), 1);
    ASSERT_FAILS(hw_in32(0x608));
    ASSERT_FAILS(hw_rdmsr(0x608));
    ASSERT_FAILS(hw_mmio_read32(0x608));
    fake_set_cell(FAKE_MMIO, 0x60a, 1);
    ASSERT_FAILS(hw_mmio_read32(0x60a)); // unaligned
}

static void count_write(void *context, uint64_t address, uint64_t value)
{
    uint64_t *sum = context;

    *sum += address + value;
}

static void test_cells_and_hooks(void **state)
{
    uint64_t sum = 0;

    (void)state;
    fake_set_cell(FAKE_MSR, 0x1b, 0xfee00900);
    assert_int_equal(hw_rdmsr(0x1b), 0xfee00900);
    hw_wrmsr(0x1b, 0xfee00d00);
    assert_int_equal(hw_rdmsr(0x1b), 0xfee00d00);
    fake_hook(FAKE_MSR, 0x1b, 0x1c, NULL, count_write, &sum);
    hw_wrmsr(0x1b, 1);
    assert_int_equal(sum, 0x1c);
    assert_int_equal(fake_cell(FAKE_MSR, 0x1b), 1);
    hw_wrmsr(0x1c, 1); // no cell: to the hook alone
    assert_int_equal(sum, 0x1c + 0x1d);
    ASSERT_FAILS(hw_rdmsr(0x1c));
    ASSERT_FAILS(hw_wrmsr(0x1d, 1));
}

static void test_cpuid(void **state)
{
    (void)state;
    fake_set_cpuid(0xb, FAKE_ANY_SUBLEAF, (struct cpuid){.eax = 1});
    fake_set_cpuid(0xb, 1, (struct cpuid){.eax = 2});
    assert_int_equal(hw_cpuid(0xb, 0).eax, 1);
    assert_int_equal(hw_cpuid(0xb, 1).eax, 2);
    fake_set_cpuid(0xb, 1, (struct cpuid){.eax = 3});
    assert_int_equal(hw_cpuid(0xb, 1).eax, 3);
    ASSERT_FAILS(hw_cpuid(0xc, 0));
}

static void arrive(void *context, uint64_t now)
{
    bool *arrived = context;

    *arrived = *arrived || now >= 150;
}

static void test_time(void **state)
{
    bool arrived = false;

    (void)state;
    fake_start_clock(100, 10);
    fake_on_time(arrive, &arrived);
    assert_int_equal(hw_tsc(), 110);
    hw_pause();
    assert_int_equal(fake_now(), 120);
    assert_int_equal(hw_tsc(), 130);
    assert_false(arrived);
    fake_advance(20);
    assert_true(arrived);
    assert_int_equal(fake_now(), 150);
}

static void test_unbounded_wait(void **state)
{
    (void)state;
    fake_start_clock(0, 0);
    ASSERT_FAILS(for (;;) { hw_pause(); });
}

static void test_log(void **state)
{
    (void)state;
    fake_start_clock(0, 100);
    fake_set_cell(FAKE_MSR, SIPI_MSR, 0);
    hw_fence_before_x2apic();
    hw_wrmsr(SIPI_MSR, 0x1000c4500);
    hw_rdmsr(SIPI_MSR); // not logged unless asked for
    hw_pause();
    hw_pause();
    hw_fence_before_x2apic();
    hw_wrmsr(SIPI_MSR, 0x1000c469e);
    fake_note(1, 2);
    FAKE_EXPECT_LOG({FAKE_FENCE, 0, 0, 0, 0}, {FAKE_WRMSR, SIPI_MSR, 0x1000c4500, 0, 0},
                    {FAKE_FENCE, 0, 0, 200, FAKE_FOR_EVER},
                    {FAKE_WRMSR, SIPI_MSR, 0x1000c469e, 0, 0}, {FAKE_NOTE, 1, 2, 0, 0});
    fake_log_kinds(FAKE_RDMSR);
    hw_rdmsr(SIPI_MSR);
    hw_wrmsr(SIPI_MSR, 0);
    assert_int_equal(fake_log_count(), 6);
    assert_int_equal(fake_log_at(5)->kind, FAKE_RDMSR);
    assert_int_equal(fake_log_at(5)->value, 0x1000c469e);
    assert_int_equal(fake_log_at(5)->tsc, 200);
    ASSERT_FAILS(fake_log_at(6));
}

// What the log below must not be taken for.
static void compare(struct fake_expected second)
{
    FAKE_EXPECT_LOG({FAKE_NOTE, 1, 1, 0, 0}, second);
}

static void test_log_differences(void **state)
{
    (void)state;
    fake_start_clock(0, 100);
    fake_note(1, 1);
    fake_advance(200);
    fake_note(2, 2);
    compare((struct fake_expected){FAKE_NOTE, 2, 2, 0, 0});
    compare((struct fake_expected){FAKE_NOTE, 2, 2, 200, 200});
    ASSERT_FAILS(compare((struct fake_expected){FAKE_WRMSR, 2, 2, 0, 0}));
    ASSERT_FAILS(compare((struct fake_expected){FAKE_NOTE, 1, 2, 0, 0}));
    ASSERT_FAILS(compare((struct fake_expected){FAKE_NOTE, 2, 1, 0, 0}));
    ASSERT_FAILS(compare((struct fake_expected){FAKE_NOTE, 2, 2, 201, FAKE_FOR_EVER}));
    ASSERT_FAILS(compare((struct fake_expected){FAKE_NOTE, 2, 2, 1, 199}));
    fake_note(3, 3); // one too many
    ASSERT_FAILS(compare((struct fake_expected){FAKE_NOTE, 2, 2, 0, 0}));
    fake_log_clear();
    fake_note(1, 1); // one missing
    ASSERT_FAILS(compare((struct fake_expected){FAKE_NOTE, 2, 2, 0, 0}));
    ASSERT_FAILS(fake_expect_log(__FILE__, __LINE__, NULL, 0));
}

static void test_halt(void **state)
{
    (void)state;
    FAKE_UNTIL_HALT(hw_halt());
    FAKE_EXPECT_LOG({FAKE_HALT, 0, 0, 0, 0});
    ASSERT_FAILS(hw_halt()); // armed for one only
}

static void test_control_registers(void **state)
{
    (void)state;
    fake_set_cr(FAKE_CR0, 1);
    fake_set_cr(FAKE_CR2, 2);
    fake_set_cr(FAKE_CR3, 3);
    fake_set_cr(FAKE_CR4, 4);
    hw_write_cr3(0x1000);
    hw_write_cr4(0x20);
    hw_disable_interrupts();
    assert_int_equal(hw_read_cr0(), 1);
    assert_int_equal(hw_read_cr2(), 2);
    assert_int_equal(hw_read_cr3(), 0x1000);
    assert_int_equal(hw_read_cr4(), 0x20);
    FAKE_EXPECT_LOG({FAKE_WRITE_CR3, 3, 0x1000, 0, 0}, {FAKE_WRITE_CR4, 4, 0x20, 0, 0},
                    {FAKE_DISABLE_INTERRUPTS, 0, 0, 0, 0});
}

static void test_tables(void **state)
{
    const struct hw_tables before = {
        .gdt = {0x17, 0x1000}, .idt = {0xfff, 0x2000}, .segments = {.cs = 0x38}};
    const struct hw_tables after = {
        .gdt = {0x2f, 0x3000}, .idt = {0x1ff, 0x4000}, .segments = {.cs = 0x18}};

    (void)state;
    fake_set_tables(&before);
    assert_int_equal(hw_read_tables().segments.cs, 0x38);
    hw_write_tables(&after);
    assert_int_equal(hw_read_tables().segments.cs, 0x18);
    assert_true(hw_read_tables().gdt.base == 0x3000);
    FAKE_EXPECT_LOG({FAKE_WRITE_TABLES, 0x3000, 0x4000, 0, 0});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_nothing_exists, set_up),
        cmocka_unit_test_setup(test_spaces_are_apart, set_up),
        cmocka_unit_test_setup(test_cells_and_hooks, set_up),
        cmocka_unit_test_setup(test_cpuid, set_up),
        cmocka_unit_test_setup(test_time, set_up),
        cmocka_unit_test_setup(test_unbounded_wait, set_up),
        cmocka_unit_test_setup(test_log, set_up),
        cmocka_unit_test_setup(test_log_differences, set_up),
        cmocka_unit_test_setup(test_halt, set_up),
        cmocka_unit_test_setup(test_control_registers, set_up),
        cmocka_unit_test_setup(test_tables, set_up),
    };

    return cmocka_run_group_tests_name("fake_hw", tests, NULL, NULL);
}
