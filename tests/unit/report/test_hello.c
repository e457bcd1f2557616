// An AP's turn: what it notes of itself, what it says, and that a mute one does neither.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "failing.h"
#include "fake_hw.h"
#include "heard.h"
#include "hello.h"
#include "msr.h"

#define SLOT 2u

static const struct smp_self self = {.slot = SLOT, .cpu = 5, .apic_id = 13};
static struct heard heard;
static struct hello of_slot[4];
static struct plan plan = {.want = 3};
static struct injector injector;
static struct hellos hellos;

// Two threads in a core, two cores in a package; microcode of revision 0x1234.
static int set_up(void **state)
{
    (void)state;
    fake_reset();
    failures_fail_the_test();
    // "AuthenticAMD"
    fake_set_cpuid(
        0, 0, (struct cpuid){.eax = 0xb, .ebx = 0x68747541, .edx = 0x69746e65, .ecx = 0x444d4163});
    fake_set_cell(FAKE_MSR, MSR_IA32_BIOS_SIGN_ID, 0x1234);
    fake_remove_msr(MSR_RESERVED);
    fake_set_cpuid(0xb, 0, (struct cpuid){.eax = 1, .ebx = 2, .ecx = 1u << 8});
    fake_set_cpuid(0xb, 1, (struct cpuid){.eax = 2, .ebx = 4, .ecx = 2u << 8 | 1});
    fake_set_cpuid(0xb, 2, (struct cpuid){.ecx = 2});
    fake_set_cpuid(0x80000000, 0, (struct cpuid){.eax = 0x80000000});
    memset(of_slot, 0, sizeof of_slot);
    injector = (struct injector){.plan = &plan};
    hellos = (struct hellos){
        .console = heard_start(&heard, LOG_NORMAL), .of_slot = of_slot, .injector = &injector};
    return 0;
}

static void fail_on_line(void *context, const char *text)
{
    (void)context;
    fail_msg("firmware's sink got \"%s\" on an AP", text);
}

static void test_its_line_and_its_place(void **state)
{
    (void)state;
    heard.console.firmware.write_line = fail_on_line; // CPU 0's alone
    assert_true(hello_say(&hellos, &self));
    assert_string_equal(heard.text, "Hello from CPU 5! APIC ID: 13\n");
    assert_true(of_slot[SLOT].known);
    assert_int_equal(of_slot[SLOT].place.package, 3);
    assert_int_equal(of_slot[SLOT].place.core, 0);
    assert_int_equal(of_slot[SLOT].place.thread, 1);
    assert_int_equal(of_slot[SLOT].microcode, 0); // log=debug asks
    assert_int_equal(of_slot[SLOT].missing_msr, MISSING_MSR_UNKNOWN);
    for (uint32_t other = 0; other < 4; other++)
        assert_int_equal(of_slot[other].known, other == SLOT);
}

static void test_mute(void **state)
{
    static const struct injection mute = {.kind = FAULT_MUTE, .cpu = 7};
    static struct smp_cpu cpus[] = {{0, 0}, {1, 1}, {7, 13}, {8, 2}};

    (void)state;
    plan.cpus = cpus;
    injector.faults = &mute;
    injector.count = 1;
    assert_false(hello_say(&hellos, &self));
    assert_string_equal(heard.text, "");
    assert_false(of_slot[SLOT].known);
    const struct smp_self other = {.slot = 1, .cpu = 1, .apic_id = 1};
    assert_true(hello_say(&hellos, &other));
}

static void test_with_log_debug(void **state)
{
    (void)state;
    heard.console.log = LOG_DEBUG;
    assert_true(hello_say(&hellos, &self));
    assert_string_equal(heard.text, "Hello from CPU 5! APIC ID: 13\n");
    assert_true(of_slot[SLOT].known);
    assert_int_equal(of_slot[SLOT].microcode, 0x1234);
    assert_int_equal(of_slot[SLOT].missing_msr, MISSING_MSR_FAULT);
}

// It has run all the same.
static void test_with_log_quiet(void **state)
{
    (void)state;
    heard.console.log = LOG_QUIET;
    assert_true(hello_say(&hellos, &self));
    assert_string_equal(heard.text, "");
    assert_true(of_slot[SLOT].known);
}

static void test_the_largest_numbers(void **state)
{
    const struct smp_self largest = {.slot = 1, .cpu = 4294967294, .apic_id = 4294967294};

    (void)state;
    assert_true(hello_say(&hellos, &largest));
    assert_string_equal(heard.text, "Hello from CPU 4294967294! APIC ID: 4294967294\n");
}

static void test_the_bsp_says_nothing(void **state)
{
    (void)state;
    hello_locate(6, &of_slot[0]);
    assert_true(of_slot[0].known);
    assert_int_equal(of_slot[0].place.package, 1);
    assert_int_equal(of_slot[0].place.core, 1);
    assert_int_equal(of_slot[0].place.thread, 0);
    assert_string_equal(heard.text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_its_line_and_its_place, set_up),
        cmocka_unit_test_setup(test_mute, set_up),
        cmocka_unit_test_setup(test_with_log_debug, set_up),
        cmocka_unit_test_setup(test_with_log_quiet, set_up),
        cmocka_unit_test_setup(test_the_largest_numbers, set_up),
        cmocka_unit_test_setup(test_the_bsp_says_nothing, set_up),
    };
    return cmocka_run_group_tests_name("hello", tests, NULL, NULL);
}
