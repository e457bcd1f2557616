// The pre-flight page's warnings: each for its fact alone, and none on a machine that is well.
#include "preflight.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lapic.h"
#include "told.h"

static struct machine machine;
static struct console console;

static int set_up(void **state)
{
    (void)state;
    machine = (struct machine){.mp_services = 4,
                               .cr3 = 0x1000,
                               .framebuffer_count = 1,
                               .platform.low_pages = 100,
                               .processor.tsc_invariant = true};
    console = (struct console){.uart.present = true};
    return 0;
}

static void assert_warned(const char *what)
{
    struct told told;
    const struct problems problems = told_listen(&told);

    preflight_warn(&problems, &machine, &console);
    assert_int_equal(told.count, what ? 1 : 0);
    if (what) {
        assert_string_equal(told.lines[0].what, what);
        assert_int_equal(told.lines[0].severity, SEVERITY_WARNING);
    }
}

static void test_a_machine_that_is_well(void **state)
{
    (void)state;
    assert_warned(NULL);
}

static void test_nobody_confirms_the_madt(void **state)
{
    (void)state;
    machine.mp_services = 0;
    assert_warned("no-mp-services");
}

static void test_nothing_to_see(void **state)
{
    (void)state;
    console.uart.present = false;
    assert_warned(NULL); // there is a screen
    machine.framebuffer_count = 0;
    assert_warned("nothing-to-see");
    console.uart.present = true;
    assert_warned(NULL); // there is a port
}

static void test_little_low_memory(void **state)
{
    (void)state;
    machine.platform.low_pages = 8;
    assert_warned(NULL);
    machine.platform.low_pages = 7;
    assert_warned("low-memory");
}

static void test_page_tables_out_of_reach(void **state)
{
    (void)state;
    machine.cr3 = 0xfffff000;
    assert_warned(NULL);
    machine.cr3 = 0x100000000;
    assert_warned("high-cr3");
}

static void test_x2apic(void **state)
{
    (void)state;
    machine.dmar_x2apic_opt_out = true;
    assert_warned("x2apic-opt-out");
    machine.apic_base = APIC_BASE_EXTD; // firmware itself does not heed it
    assert_warned(NULL);
    machine.platform.apic_locked = true;
    assert_warned("x2apic-locked");
}

// On hardware. Where a hypervisor counts, it answers for its counter.
static void test_a_counter_that_varies(void **state)
{
    (void)state;
    machine.processor.tsc_invariant = false;
    assert_warned("tsc-varies");
    machine.processor.hypervisor[0] = 'K';
    assert_warned(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_a_machine_that_is_well, set_up),
        cmocka_unit_test_setup(test_a_counter_that_varies, set_up),
        cmocka_unit_test_setup(test_nobody_confirms_the_madt, set_up),
        cmocka_unit_test_setup(test_nothing_to_see, set_up),
        cmocka_unit_test_setup(test_little_low_memory, set_up),
        cmocka_unit_test_setup(test_page_tables_out_of_reach, set_up),
        cmocka_unit_test_setup(test_x2apic, set_up),
    };

    return cmocka_run_group_tests_name("preflight", tests, NULL, NULL);
}
