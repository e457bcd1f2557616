// The two local APICs behind one interface: register by register, against numbers written out from
// the manual, and a model of IA32_APIC_BASE that refuses what the hardware refuses. (SDM vol. 3A,
// "Local APIC", "x2APIC State Transitions".)
#include "apic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "failing.h"
#include "fake_hw.h"

#define BASE_MSR 0x1bu
#define MMIO     0xfee00000ull

static uint64_t base_msr;

static int set_up(void **state)
{
    (void)state;
    fake_reset();
    failures_fail_the_test();
    fake_log_kinds(FAKE_LOG_DEFAULT | FAKE_RDMSR | FAKE_READ32);
    return 0;
}

// ---- IA32_APIC_BASE: EN is bit 11, EXTD bit 10 ----

static uint64_t read_base(void *context, uint64_t address)
{
    (void)context;
    (void)address;
    return base_msr;
}

// From one mode to the next, as the manual's diagram has it; whatever else it has is #GP.
static void write_base(void *context, uint64_t address, uint64_t value)
{
    enum { DISABLED = 0, EXTD = 1, EN = 2, BOTH = 3 };
    static const bool legal[4][4] = {
        [DISABLED] = {[DISABLED] = true, [EN] = true},
        [EN] = {[DISABLED] = true, [EN] = true, [BOTH] = true},
        [BOTH] = {[DISABLED] = true, [BOTH] = true},
    };

    (void)context;
    (void)address;
    if (!legal[base_msr >> 10 & 3][value >> 10 & 3])
        fake_fail("#GP: IA32_APIC_BASE %#lx -> %#lx", (unsigned long)base_msr,
                  (unsigned long)value);
    if ((base_msr ^ value) & ~0xc00ull)
        fake_fail("IA32_APIC_BASE: more than the mode was changed: %#lx -> %#lx",
                  (unsigned long)base_msr, (unsigned long)value);
    base_msr = value;
}

static uint64_t base_after_enable(const struct apic_operations *operations, uint64_t before)
{
    fake_reset();
    fake_hook(FAKE_MSR, BASE_MSR, BASE_MSR, read_base, write_base, NULL);
    base_msr = before;
    operations->enable();
    return base_msr;
}

static void test_enable_xapic(void **state)
{
    (void)state;
    assert_int_equal(base_after_enable(&apic_xapic, 0xfee00100), 0xfee00900); // was off
    assert_int_equal(base_after_enable(&apic_xapic, 0xfee00900), 0xfee00900);
    assert_int_equal(fake_log_count(), 0); // nothing to change, nothing written
    assert_int_equal(base_after_enable(&apic_xapic, 0x12fee00800), 0x12fee00800);
    // Never back: where it is on, it stays on.
    assert_int_equal(base_after_enable(&apic_xapic, 0xfee00d00), 0xfee00d00);
    assert_int_equal(fake_log_count(), 0);
}

static void test_enable_x2apic(void **state)
{
    (void)state;
    assert_int_equal(base_after_enable(&apic_x2apic, 0xfee00900), 0xfee00d00);
    assert_int_equal(base_after_enable(&apic_x2apic, 0xfee00800), 0xfee00c00); // not the BSP's
    assert_int_equal(base_after_enable(&apic_x2apic, 0xfee00d00), 0xfee00d00);
    assert_int_equal(fake_log_count(), 0);
}

// Off altogether: first EN, then EXTD. Both in one write are #GP.
static void test_enable_x2apic_from_off(void **state)
{
    (void)state;
    assert_int_equal(base_after_enable(&apic_x2apic, 0xfee00100), 0xfee00d00);
    FAKE_EXPECT_LOG({FAKE_WRMSR, 0x1b, 0xfee00900, 0, 0}, {FAKE_WRMSR, 0x1b, 0xfee00d00, 0, 0});
}

// ---- the ID ----

static void test_read_id(void **state)
{
    (void)state;
    fake_set_cell(FAKE_MMIO, 0xfee00020, 0x7f000000);
    assert_int_equal(apic_xapic.read_id(MMIO), 0x7f);
    fake_set_cell(FAKE_MMIO, 0xfee00020, 0xfe123456); // the rest is reserved
    assert_int_equal(apic_xapic.read_id(MMIO), 0xfe);
    // where the caller sees it, not where it is usually
    fake_set_cell(FAKE_MMIO, 0x12345020, 0x03000000);
    assert_int_equal(apic_xapic.read_id(0x12345000), 3);
    fake_set_cell(FAKE_MSR, 0x802, 0x12b);
    assert_int_equal(apic_x2apic.read_id(MMIO), 0x12b);
    fake_set_cell(FAKE_MSR, 0x802, 0xfffffffe);
    assert_int_equal(apic_x2apic.read_id(MMIO), 0xfffffffe);
}

static void test_can_address(void **state)
{
    (void)state;
    assert_true(smp_can_address(SMP_XAPIC, 0));
    assert_true(smp_can_address(SMP_XAPIC, 0xfe));
    assert_false(smp_can_address(SMP_XAPIC, 0xff)); // all, the sender included
    assert_false(smp_can_address(SMP_XAPIC, 0x100));
    assert_false(smp_can_address(SMP_XAPIC, 0xffffffff));
    assert_true(smp_can_address(SMP_X2APIC, 0));
    assert_true(smp_can_address(SMP_X2APIC, 0xff));
    assert_true(smp_can_address(SMP_X2APIC, 0x100));
    assert_true(smp_can_address(SMP_X2APIC, 0xfffffffe));
    assert_false(smp_can_address(SMP_X2APIC, 0xffffffff));
}

static void test_names(void **state)
{
    (void)state;
    assert_string_equal(smp_apic_word(SMP_XAPIC), "xapic");
    assert_string_equal(smp_apic_word(SMP_X2APIC), "x2apic");
}

// ---- the names of the ICR's fields ----

static void test_icr_fields(void **state)
{
    (void)state;
    assert_int_equal(ICR_VECTOR(0x9e), 0x9e);
    assert_int_equal(ICR_VECTOR(0x19e), 0x9e);
    assert_int_equal(ICR_DELIVERY_NMI, 0x400);
    assert_int_equal(ICR_DELIVERY_INIT, 0x500);
    assert_int_equal(ICR_DELIVERY_STARTUP, 0x600);
    assert_int_equal(ICR_PHYSICAL, 0);
    assert_int_equal(ICR_STATUS_PENDING, 0x1000);
    assert_int_equal(ICR_ASSERT, 0x4000);
    assert_int_equal(ICR_EDGE, 0);
    assert_int_equal(ICR_TO_DESTINATION, 0);
    assert_int_equal(ICR_TO_ALL_BUT_SELF, 0xc0000);
}

// ---- sending ----

static void test_send_x2apic(void **state)
{
    struct apic apic = {.operations = &apic_x2apic};

    (void)state;
    // No clock and no xAPIC register exist here: there is nothing to wait for.
    fake_set_cell(FAKE_MSR, 0x830, 0);
    assert_int_equal(apic_x2apic.send(&apic, 0x12b, 0x4500), STATUS_OK);
    assert_int_equal(apic_x2apic.send(&apic, 0xfffffffe, 0x469e), STATUS_OK);
    assert_int_equal(apic_x2apic.send(&apic, 0, 0xc4500), STATUS_OK);
    FAKE_EXPECT_LOG({FAKE_FENCE, 0, 0, 0, 0}, {FAKE_WRMSR, 0x830, 0x0000012b00004500, 0, 0},
                    {FAKE_FENCE, 0, 0, 0, 0}, {FAKE_WRMSR, 0x830, 0xfffffffe0000469e, 0, 0},
                    {FAKE_FENCE, 0, 0, 0, 0}, {FAKE_WRMSR, 0x830, 0x00000000000c4500, 0, 0});
    assert_int_equal(apic.icr_writes, 3);
}

static void test_send_xapic(void **state)
{
    struct apic apic = {.operations = &apic_xapic, .view = MMIO, .idle_ticks = 5000};

    (void)state;
    fake_start_clock(1000, 10);
    fake_set_cell(FAKE_MMIO, 0xfee00300, 0);
    fake_set_cell(FAKE_MMIO, 0xfee00310, 0);
    assert_int_equal(apic_xapic.send(&apic, 0x12, 0x4500), STATUS_OK);
    assert_int_equal(apic_xapic.send(&apic, 0xfe, 0x469e), STATUS_OK);
    assert_int_equal(apic_xapic.send(&apic, 0, 0xc469e), STATUS_OK);
    // The high half first: the write of the low half sends.
    FAKE_EXPECT_LOG(
        {FAKE_READ32, 0xfee00300, 0, 0, 0}, {FAKE_WRITE32, 0xfee00310, 0x12000000, 0, 0},
        {FAKE_WRITE32, 0xfee00300, 0x4500, 0, 0}, {FAKE_READ32, 0xfee00300, 0x4500, 0, 0},
        {FAKE_WRITE32, 0xfee00310, 0xfe000000, 0, 0}, {FAKE_WRITE32, 0xfee00300, 0x469e, 0, 0},
        {FAKE_READ32, 0xfee00300, 0x469e, 0, 0}, {FAKE_WRITE32, 0xfee00310, 0, 0, 0},
        {FAKE_WRITE32, 0xfee00300, 0xc469e, 0, 0});
    assert_int_equal(apic.icr_writes, 3);
}

static uint64_t busy_until;

static uint64_t read_busy(void *context, uint64_t address)
{
    (void)context;
    assert_int_equal(address, 0xfee00300);
    return 0x4500 | (fake_now() < busy_until ? 0x1000 : 0);
}

// The message before is still on its way: its high half must not be overwritten.
static void test_xapic_waits_until_idle(void **state)
{
    struct apic apic = {.operations = &apic_xapic, .view = MMIO, .idle_ticks = 5000};

    (void)state;
    fake_start_clock(1000, 10);
    fake_hook(FAKE_MMIO, 0xfee00300, 0xfee00300, read_busy, NULL, NULL);
    fake_set_cell(FAKE_MMIO, 0xfee00300, 0);
    fake_set_cell(FAKE_MMIO, 0xfee00310, 0);
    fake_log_kinds(FAKE_LOG_DEFAULT);
    busy_until = 4000;
    assert_int_equal(apic_xapic.send(&apic, 1, 0x4500), STATUS_OK);
    FAKE_EXPECT_LOG({FAKE_WRITE32, 0xfee00310, 0x01000000, 0, 0},
                    {FAKE_WRITE32, 0xfee00300, 0x4500, 0, 0});
    assert_in_range(fake_log_at(0)->tsc, 4000, 4030);
}

static void test_xapic_that_sticks(void **state)
{
    struct apic apic = {.operations = &apic_xapic, .view = MMIO, .idle_ticks = 5000};

    (void)state;
    fake_start_clock(1000, 10);
    fake_hook(FAKE_MMIO, 0xfee00300, 0xfee00300, read_busy, NULL, NULL);
    fake_log_kinds(FAKE_LOG_DEFAULT);
    busy_until = UINT64_MAX;
    assert_int_equal(apic_xapic.send(&apic, 1, 0x4500), STATUS_TIMEOUT);
    fake_expect_log(__FILE__, __LINE__, NULL, 0); // nothing was written, neither half
    assert_int_equal(apic.icr_writes, 0);
    assert_in_range(fake_now(), 1000 + 5000, 1000 + 5000 + 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_enable_xapic, set_up),
        cmocka_unit_test_setup(test_enable_x2apic, set_up),
        cmocka_unit_test_setup(test_enable_x2apic_from_off, set_up),
        cmocka_unit_test_setup(test_read_id, set_up),
        cmocka_unit_test_setup(test_can_address, set_up),
        cmocka_unit_test_setup(test_names, set_up),
        cmocka_unit_test_setup(test_icr_fields, set_up),
        cmocka_unit_test_setup(test_send_x2apic, set_up),
        cmocka_unit_test_setup(test_send_xapic, set_up),
        cmocka_unit_test_setup(test_xapic_waits_until_idle, set_up),
        cmocka_unit_test_setup(test_xapic_that_sticks, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
