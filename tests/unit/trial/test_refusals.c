// What a plan refuses, with the sentence that a person reads. Surprise: a refusal must not hide the
// next one. Everything that is wrong is told in one run.
#include "small_machine.h"

static struct small_machine small;

static int set_up(void **state)
{
    (void)state;
    small_start(&small);
    return 0;
}

static void assert_told(const char *what, const char *detail)
{
    assert_int_equal(told_times(&small.told, what, detail), 1);
}

static enum status check_guest(void)
{
    const struct problems problems = told_listen(&small.told);
    return plan_check_guest(&small.machine, &problems);
}

// Each by its own name, before the MADT or anything else is looked at.
static void test_guests(void **state)
{
    static const struct {
        enum guest guest;
        const char *what, *detail;
    } known[] = {
        {GUEST_SEV, "sev-guest",
         "this is an SEV guest: its memory is encrypted, and our page tables lack the bit that "
         "says so; run Reveille on the host or in a plain guest"},
        {GUEST_SEV_ES, "sev-es-guest",
         "this is an SEV-ES guest: its memory and registers are encrypted, so INIT and STARTUP do "
         "not reach its processors; run Reveille on the host or in a plain guest"},
        {GUEST_SEV_SNP, "snp-guest",
         "this is an SEV-SNP guest: INIT and STARTUP do not reach its processors, only its "
         "hypervisor can start them; run Reveille on the host or in a plain guest"},
        {GUEST_TDX, "tdx-guest",
         "this is a TDX guest: INIT and STARTUP do not reach its processors, only the "
         "MADT's mailbox (type 0x10) does; run Reveille on the host or in a plain guest"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        small.machine.processor.guest = known[i].guest;
        assert_int_equal(check_guest(), STATUS_UNSUPPORTED);
        assert_int_equal(small.told.count, 1);
        assert_string_equal(small.told.lines[0].what, known[i].what);
        assert_string_equal(small.told.lines[0].detail, known[i].detail);
    }
    small.machine.processor.guest = GUEST_NONE;
    assert_int_equal(check_guest(), STATUS_OK);
    assert_int_equal(small.told.count, 0);
}

// INIT to the processor that is flagged restarts the machine, so it has to be the one that sends.
static void test_another_is_flagged_as_the_bsp(void **state)
{
    (void)state;
    small.machine.apic_base = 0xfee00800;
    for (enum smp_strategy wake = SMP_PARALLEL; wake <= SMP_BROADCAST; wake++) {
        small.options.wake = wake;
        small_assert_refused(
            &small, STATUS_UNSUPPORTED, "bsp-flag",
            "this processor is not flagged as the BSP (IA32_APIC_BASE 0xfee00800), and an INIT to "
            "the one that is restarts the machine: choose the boot processor in firmware's "
            "setup, or use exit=no wake=firmware");
    }
    small.options.wake = SMP_FIRMWARE; // no message of ours
    small.options.exit = ANSWER_NO;
    small_assert_planned(&small);
}

static void test_a_shadow_stack(void **state)
{
    (void)state;
    small.machine.shadow_stack = true;
    small_assert_planned(&small);
    small.options.exit = ANSWER_NO;
    small_assert_refused(
        &small, STATUS_UNSUPPORTED, "shadow-stack",
        "firmware runs with a shadow stack (CET), which cannot be restored after a wake: "
        "use exit=yes");
}

// A mailbox in a plain machine: told, and tried all the same.
static void test_a_mailbox(void **state)
{
    (void)state;
    small.machine.inventory.wakeup_mailbox = true;
    assert_int_equal(small_plan(&small), STATUS_OK);
    assert_int_equal(small.plan.want, 3);
    assert_int_equal(small.told.count, 1);
    assert_int_equal(small.told.lines[0].severity, SEVERITY_WARNING);
    assert_string_equal(small.told.lines[0].what, "wakeup-mailbox");
}

// By whatever else of ours it would have to send.
static void test_firmwares_wake(void **state)
{
    static const char *const ours[] = {"inject=late", "bench=null", "sweep=wake:parallel",
                                       "run=sum"};

    (void)state;
    small.options.wake = SMP_FIRMWARE;
    small_assert_refused(&small, STATUS_INVALID, "firmware-wake",
                         "wake=firmware works only while firmware lives: add exit=no");
    small.options.exit = ANSWER_NO;
    small_assert_planned(&small);
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++) {
        small_start(&small);
        assert_int_equal(small_ask(&small, ours[i]), STATUS_OK);
        small.options.wake = SMP_FIRMWARE;
        small.options.exit = ANSWER_NO;
        small_assert_refused(&small, STATUS_INVALID, "firmware-wake",
                             "with wake=firmware Reveille sends no message itself: leave out "
                             "inject=, bench=, sweep= and run=");
    }
}

static void test_a_selection_of_the_disabled(void **state)
{
    (void)state;
    small_name_cpus(&small, 4, 4);
    small_assert_refused(&small, STATUS_INVALID, "no-such-cpu",
                         "cpus= names CPU 4, which the MADT lists as disabled");
}

static void test_a_selection_of_the_missing(void **state)
{
    (void)state;
    small_name_cpus(&small, 6, 6);
    small_assert_refused(&small, STATUS_INVALID, "no-such-cpu",
                         "cpus= names CPU 6, but the MADT lists CPUs 0 to 3 only");
}

// Each range is told by itself; the ends count, both of them.
static void test_each_bad_range_is_told(void **state)
{
    (void)state;
    small_name_cpus(&small, 1, 3);
    small_name_cpus(&small, 2, 4);
    small_name_cpus(&small, 5, 5);
    small_name_cpus(&small, 7, 4294967294u);
    assert_int_equal(small_plan(&small), STATUS_INVALID);
    assert_int_equal(small.told.count, 3);
    assert_told("no-such-cpu", "cpus= names CPU 4, which the MADT lists as disabled");
    assert_told("no-such-cpu", "cpus= names CPU 5, which the MADT lists as disabled");
    assert_told("no-such-cpu", "cpus= names CPU 4294967294, but the MADT lists CPUs 0 to 3 only");
}

static void test_no_x2apic(void **state)
{
    (void)state;
    small.options.apic = APIC_X2APIC;
    small.machine.processor.x2apic = false;
    small_assert_refused(
        &small, STATUS_UNSUPPORTED, "apic-mode",
        "apic=x2apic, but this processor has no x2APIC (CPUID 1, ECX bit 21); use apic=auto");
}

static void test_never_back_to_xapic(void **state)
{
    (void)state;
    small.options.apic = APIC_XAPIC;
    small.machine.apic_base = 0xfee00d00;
    small_assert_refused(
        &small, STATUS_UNSUPPORTED, "apic-mode",
        "apic=xapic, but firmware left the x2APIC on (IA32_APIC_BASE 0xfee00d00), and it "
        "cannot safely be switched off; use apic=auto");
}

static void test_ids_that_xapic_cannot_name(void **state)
{
    (void)state;
    small.options.apic = APIC_XAPIC;
    small.listed[1].apic_id = 0xfe; // the last that it can
    small.listed[2].apic_id = 0xff;
    small.listed[3].apic_id = 0x12b;
    assert_int_equal(small_plan(&small), STATUS_UNSUPPORTED);
    assert_int_equal(small.told.count, 2);
    assert_told("unreachable-id", "cpu 2 apic 0xff cannot be addressed in xapic mode; leave it out "
                                  "with cpus=, or use the x2APIC");
    assert_told("unreachable-id", "cpu 3 apic 0x12b cannot be addressed in xapic mode; leave it "
                                  "out with cpus=, or use the x2APIC");

    // The advice works.
    small_name_cpus(&small, 1, 1);
    small_assert_planned(&small);
    assert_int_equal(small.plan.want, 1);
    assert_int_equal(small.chosen[1].apic_id, 0xfe);
    small.options.cpus_count = 0;
    small.options.apic = APIC_AUTO;
    small_assert_planned(&small);
    assert_int_equal(small.plan.want, 3);
}

static void test_ids_that_x2apic_can_name(void **state)
{
    (void)state;
    small.listed[1].apic_id = 0xff;
    small.listed[2].apic_id = 0xfffffffe;
    small_assert_planned(&small);
    assert_int_equal(small.plan.want, 3);
    small.listed[2].apic_id = 0xffffffff; // all, the sender included
    small_assert_refused(&small, STATUS_UNSUPPORTED, "unreachable-id",
                         "cpu 2 apic 0xffffffff cannot be addressed in x2apic mode; leave it out "
                         "with cpus=, or use the x2APIC");
}

static void test_everything_wrong_is_told_at_once(void **state)
{
    (void)state;
    small.machine.apic_base = 0xfee00c00; // and the BSP's flag is missing
    small.options.apic = APIC_XAPIC;
    small.listed[2].apic_id = 0x100;
    small.listed[3].apic_id = 0xff;
    small_name_cpus(&small, 1, 3);
    small_name_cpus(&small, 5, 5);
    small_name_cpus(&small, 9, 10);
    assert_int_equal(small_plan(&small), STATUS_UNSUPPORTED);
    assert_int_equal(small.told.count, 6);
    assert_told("bsp-flag", "");
    assert_told("apic-mode", "0xfee00c00");
    assert_told("no-such-cpu", "CPU 5");
    assert_told("no-such-cpu", "CPU 10");
    assert_told("unreachable-id", "cpu 2 apic 0x100");
    assert_told("unreachable-id", "cpu 3 apic 0xff");
    for (size_t i = 0; i < small.told.count; i++)
        assert_int_equal(small.told.lines[i].severity, SEVERITY_ERROR);
}

// One answer for all of them: what firmware's wake forbids, before what this machine cannot do, and
// that before a CPU that does not exist.
static void test_which_answer(void **state)
{
    (void)state;
    small.options.apic = APIC_X2APIC;
    small.machine.processor.x2apic = false;
    small_name_cpus(&small, 9, 9);
    assert_int_equal(small_plan(&small), STATUS_UNSUPPORTED);
    assert_int_equal(small.told.count, 2);
    small.options.wake = SMP_FIRMWARE;
    assert_int_equal(small_plan(&small), STATUS_INVALID);
    assert_int_equal(small.told.count, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_guests, set_up),
        cmocka_unit_test_setup(test_another_is_flagged_as_the_bsp, set_up),
        cmocka_unit_test_setup(test_a_shadow_stack, set_up),
        cmocka_unit_test_setup(test_a_mailbox, set_up),
        cmocka_unit_test_setup(test_firmwares_wake, set_up),
        cmocka_unit_test_setup(test_a_selection_of_the_disabled, set_up),
        cmocka_unit_test_setup(test_a_selection_of_the_missing, set_up),
        cmocka_unit_test_setup(test_each_bad_range_is_told, set_up),
        cmocka_unit_test_setup(test_no_x2apic, set_up),
        cmocka_unit_test_setup(test_never_back_to_xapic, set_up),
        cmocka_unit_test_setup(test_ids_that_xapic_cannot_name, set_up),
        cmocka_unit_test_setup(test_ids_that_x2apic_can_name, set_up),
        cmocka_unit_test_setup(test_everything_wrong_is_told_at_once, set_up),
        cmocka_unit_test_setup(test_which_answer, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
