// The plan: who is woken by what messages, from facts and options alone; and what is refused, with
// the sentence that a person reads. One test for each rule of the options' table. Surprise: a
// refusal must not hide the next one. Everything that is wrong is told in one run.
#include "plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "option_text.h"
#include "told.h"

#define CPUS_MAX 512u

static struct machine machine;
static struct options options;
static struct cpu cpus[CPUS_MAX];
static struct lcpu_plan lcpus[CPUS_MAX];
static struct plan plan;
static struct told told;

// Four enabled processors, the IDs 0, 2, 4, 6, and two disabled; a modern Intel with an x2APIC that
// is off.
static int set_up(void **state)
{
    (void)state;
    memset(cpus, 0, sizeof cpus);
    memset(lcpus, 0xa5, sizeof lcpus);
    for (uint32_t cpu = 0; cpu < 6; cpu++)
        cpus[cpu] = (struct cpu){2 * cpu, 50 + cpu,
                                 cpu == 0  ? CPU_BSP
                                 : cpu < 4 ? CPU_LISTED
                                           : CPU_DISABLED,
                                 false};
    machine = (struct machine){
        .processor = {.vendor = VENDOR_INTEL, .family = 6, .x2apic = true},
        .apic_base = 0xfee00900,
        .inventory = {.cpus = cpus, .capacity = CPUS_MAX, .count = 6, .enabled = 4, .disabled = 2},
    };
    options_set_defaults(&options);
    return 0;
}

static enum status make(void)
{
    const struct problems problems = told_listen(&told);
    memset(&plan, 0xa5, sizeof plan);
    return plan_make(&machine, &options, &problems, lcpus, &plan);
}

static void name_cpus(uint32_t first, uint32_t last)
{
    options.cpus[options.cpus_count++] = (struct cpu_range){first, last};
}

static void assert_told(size_t index, const char *what, const char *detail)
{
    assert_true(index < told.count);
    assert_int_equal(told.lines[index].severity, SEVERITY_ERROR);
    assert_string_equal(told.lines[index].what, what);
    assert_string_equal(told.lines[index].detail, detail);
}

// ---- what the options say is what the plan holds ----

static void test_defaults(void **state)
{
    (void)state;
    assert_int_equal(make(), STATUS_OK);
    assert_int_equal(told.count, 0);
    assert_int_equal(plan.wake, WAKE_PARALLEL);
    assert_ptr_equal(plan.apic, &apic_x2apic);
    assert_int_equal(plan.init_us, 10);
    assert_int_equal(plan.init_retry_us, 10000);
    assert_int_equal(plan.sipi_us, 200);
    assert_int_equal(plan.sipis, SIPIS_AUTO);
    assert_int_equal(plan.timeout_us, 1000000);
    assert_int_equal(plan.retries, 1);
    assert_int_equal(plan.rounds, 1);
    assert_int_equal(plan.want, 3);
    assert_ptr_equal(plan.lcpus, lcpus);
    for (uint32_t slot = 0; slot < 4; slot++) {
        assert_int_equal(lcpus[slot].cpu, slot);
        assert_int_equal(lcpus[slot].apic_id, 2 * slot);
    }
}

static void test_every_option_is_kept(void **state)
{
    (void)state;
    options.wake = WAKE_BROADCAST;
    options.init_us = 4711;
    options.sipi_us = 17;
    options.sipis = 3;
    options.timeout_us = 99;
    options.retries = 5;
    options.rounds = 200;
    assert_int_equal(make(), STATUS_OK);
    assert_int_equal(plan.wake, WAKE_BROADCAST);
    assert_int_equal(plan.init_us, 4711);
    assert_int_equal(plan.sipi_us, 17);
    assert_int_equal(plan.sipis, 3);
    assert_int_equal(plan.timeout_us, 99);
    assert_int_equal(plan.retries, 5);
    assert_int_equal(plan.rounds, 200);
}

// The manual's own sequence, as the options' page gives it.
static void test_the_manuals_sequence(void **state)
{
    static const char text[] = "wake=one-by-one init_us=10000 sipi_us=200 sipis=2";
    const struct problems problems = told_listen(&told);

    (void)state;
    assert_int_equal(options_parse(text, sizeof text - 1, "test", &problems, &options), STATUS_OK);
    assert_int_equal(make(), STATUS_OK);
    assert_int_equal(plan.wake, WAKE_ONE_BY_ONE);
    assert_int_equal(plan.init_us, 10000);
    assert_int_equal(plan.init_retry_us, 10000);
    assert_int_equal(plan.sipi_us, 200);
    assert_int_equal(plan.sipis, 2);
}

// ---- while firmware lives ----

// Its APIC mode is kept, since there is no safe way back to it.
static void test_firmwares_mode_is_kept(void **state)
{
    (void)state;
    options.exit = ANSWER_NO;
    assert_int_equal(make(), STATUS_OK);
    assert_ptr_equal(plan.apic, &apic_xapic);
    machine.apic_base |= APIC_BASE_EXTD;
    assert_int_equal(make(), STATUS_OK);
    assert_ptr_equal(plan.apic, &apic_x2apic);
    machine.apic_base &= ~(uint64_t)APIC_BASE_EXTD;
    options.apic = APIC_X2APIC;
    assert_int_equal(make(), STATUS_UNSUPPORTED);
    assert_told(
        0, "apic-mode",
        "apic=x2apic with exit=no: firmware runs in xAPIC mode, and there is no safe way back to "
        "it; use apic=auto, or exit=yes");
}

// Firmware's code behind save=nvram may run in SMM, and know the mode alone that firmware left.
static void test_firmwares_mode_is_kept_for_nvram(void **state)
{
    (void)state;
    options.save = SAVE_NVRAM;
    assert_int_equal(make(), STATUS_OK);
    assert_ptr_equal(plan.apic, &apic_xapic);
    cpus[3].apic_id = 0xfe;
    assert_int_equal(make(), STATUS_OK);
    assert_ptr_equal(plan.apic, &apic_xapic);
    cpus[3].apic_id = 0xff; // it must be woken first of all
    assert_int_equal(make(), STATUS_OK);
    assert_ptr_equal(plan.apic, &apic_x2apic);
    cpus[3].apic_id = 6;
    machine.bsp_apic_id = 0x100;
    assert_int_equal(make(), STATUS_OK);
    assert_ptr_equal(plan.apic, &apic_x2apic);
    machine.bsp_apic_id = 0;
    machine.apic_base |= APIC_BASE_EXTD;
    assert_int_equal(make(), STATUS_OK);
    assert_ptr_equal(plan.apic, &apic_x2apic);
    machine.apic_base &= ~(uint64_t)APIC_BASE_EXTD;
    options.apic = APIC_X2APIC; // who asks for it gets it
    assert_int_equal(make(), STATUS_OK);
    assert_ptr_equal(plan.apic, &apic_x2apic);
}

static void test_firmwares_wake(void **state)
{
    (void)state;
    options.wake = WAKE_FIRMWARE;
    assert_int_equal(make(), STATUS_INVALID);
    assert_told(0, "firmware-wake", "wake=firmware works while firmware lives: add exit=no");
    options.exit = ANSWER_NO;
    assert_int_equal(make(), STATUS_OK);
    options.inject_count = 1;
    assert_int_equal(make(), STATUS_INVALID);
    options.inject_count = 0;
    options.sweep = (struct sweep){.key = SWEEP_WAKE, .count = 1, .values = {WAKE_PARALLEL}};
    assert_int_equal(make(), STATUS_INVALID);
    assert_told(0, "firmware-wake",
                "wake=firmware sends no message of ours: leave out inject=, bench= and sweep=");
}

// ---- init_us ----

static void test_init_auto_by_family(void **state)
{
    static const struct {
        enum vendor vendor;
        uint32_t family, init_us;
    } known[] = {
        {VENDOR_INTEL, 5, 10000},   {VENDOR_INTEL, 6, 10},       {VENDOR_INTEL, 0xf, 10},
        {VENDOR_INTEL, 0x13, 10},   {VENDOR_AMD, 6, 10000},      {VENDOR_AMD, 0xe, 10000},
        {VENDOR_AMD, 0xf, 10},      {VENDOR_AMD, 0x19, 10},      {VENDOR_HYGON, 0x17, 10000},
        {VENDOR_HYGON, 0x18, 10},   {VENDOR_HYGON, 0xf, 10000},  {VENDOR_OTHER, 6, 10000},
        {VENDOR_OTHER, 0x7, 10000}, {VENDOR_OTHER, 0xff, 10000},
    };

    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        machine.processor.vendor = known[i].vendor;
        machine.processor.family = known[i].family;
        options.init_us = INIT_US_AUTO;
        assert_int_equal(make(), STATUS_OK);
        assert_int_equal(plan.init_us, known[i].init_us);
        assert_int_equal(plan.init_retry_us, 10000);
        options.init_us = 123; // a number is a number on any of them
        assert_int_equal(make(), STATUS_OK);
        assert_int_equal(plan.init_us, 123);
    }
}

// A retry is never quicker than the manual, nor quicker than asked.
static void test_init_of_a_retry(void **state)
{
    static const uint32_t asked[][2] = {{0, 10000},     {1, 10000},     {9999, 10000},
                                        {10000, 10000}, {10001, 10001}, {10000000, 10000000}};

    (void)state;
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++) {
        options.init_us = asked[i][0];
        assert_int_equal(make(), STATUS_OK);
        assert_int_equal(plan.init_us, asked[i][0]);
        assert_int_equal(plan.init_retry_us, asked[i][1]);
    }
}

// ---- apic ----

// Everything that the choice depends on, and all that it can be.
static void test_choice_of_the_apic(void **state)
{
    static const struct {
        enum apic_choice asked;
        bool on, has, opt_out;
        const struct apic_operations *chosen;
        enum status status;
    } known[] = {
        // auto: what firmware left on, else x2APIC where the CPU has it, else xAPIC
        {APIC_AUTO, false, false, false, &apic_xapic, STATUS_OK},
        {APIC_AUTO, false, false, true, &apic_xapic, STATUS_OK},
        {APIC_AUTO, false, true, false, &apic_x2apic, STATUS_OK},
        {APIC_AUTO, false, true, true, &apic_xapic, STATUS_OK}, // the DMAR asks, and is heard
        {APIC_AUTO, true, true, false, &apic_x2apic, STATUS_OK},
        {APIC_AUTO, true, true, true, &apic_x2apic, STATUS_OK},   // too late to stay out of it
        {APIC_AUTO, true, false, false, &apic_x2apic, STATUS_OK}, // CPUID hidden; the MSR knows
        // x2apic: where there is one; the user's word counts for more than the DMAR's
        {APIC_X2APIC, false, false, false, NULL, STATUS_UNSUPPORTED},
        {APIC_X2APIC, false, true, false, &apic_x2apic, STATUS_OK},
        {APIC_X2APIC, false, true, true, &apic_x2apic, STATUS_OK},
        {APIC_X2APIC, true, true, false, &apic_x2apic, STATUS_OK},
        {APIC_X2APIC, true, false, false, &apic_x2apic, STATUS_OK},
        // xapic: never back
        {APIC_XAPIC, false, false, false, &apic_xapic, STATUS_OK},
        {APIC_XAPIC, false, true, false, &apic_xapic, STATUS_OK},
        {APIC_XAPIC, true, true, false, NULL, STATUS_UNSUPPORTED},
    };

    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        options.apic = known[i].asked;
        machine.apic_base = known[i].on ? 0xfee00d00 : 0xfee00900;
        machine.processor.x2apic = known[i].has;
        machine.dmar_x2apic_opt_out = known[i].opt_out;
        assert_int_equal(make(), known[i].status);
        assert_int_equal(told.count, known[i].status == STATUS_OK ? 0 : 1);
        if (known[i].chosen != NULL)
            assert_ptr_equal(plan.apic, known[i].chosen);
    }
}

static void test_no_x2apic(void **state)
{
    (void)state;
    options.apic = APIC_X2APIC;
    machine.processor.x2apic = false;
    assert_int_equal(make(), STATUS_UNSUPPORTED);
    assert_int_equal(told.count, 1);
    assert_told(
        0, "apic-mode",
        "apic=x2apic, but this processor has no x2APIC (CPUID 1, ECX bit 21); use apic=auto");
}

static void test_never_back_to_xapic(void **state)
{
    (void)state;
    options.apic = APIC_XAPIC;
    machine.apic_base = 0xfee00d00;
    assert_int_equal(make(), STATUS_UNSUPPORTED);
    assert_int_equal(told.count, 1);
    assert_told(0, "apic-mode",
                "apic=xapic, but firmware left the x2APIC on (IA32_APIC_BASE 0xfee00d00), and it "
                "cannot safely be left; use apic=auto");
}

// ---- IDs ----

static void test_ids_that_xapic_cannot_name(void **state)
{
    (void)state;
    options.apic = APIC_XAPIC;
    cpus[1].apic_id = 0xfe; // the last that it can
    cpus[2].apic_id = 0xff;
    cpus[3].apic_id = 0x12b;
    assert_int_equal(make(), STATUS_UNSUPPORTED);
    assert_int_equal(told.count, 2);
    assert_told(
        0, "unreachable-id",
        "cpu 2 apic 0xff cannot be addressed in xapic mode; leave it out with cpus=, or use "
        "the x2APIC");
    assert_told(
        1, "unreachable-id",
        "cpu 3 apic 0x12b cannot be addressed in xapic mode; leave it out with cpus=, or use "
        "the x2APIC");

    // The advice works.
    name_cpus(1, 1);
    assert_int_equal(make(), STATUS_OK);
    assert_int_equal(told.count, 0);
    assert_int_equal(plan.want, 1);
    assert_int_equal(lcpus[1].apic_id, 0xfe);
    options.cpus_count = 0;
    options.apic = APIC_AUTO;
    assert_int_equal(make(), STATUS_OK);
    assert_int_equal(plan.want, 3);
}

static void test_ids_that_x2apic_can_name(void **state)
{
    (void)state;
    cpus[1].apic_id = 0xff;
    cpus[2].apic_id = 0xfffffffe;
    assert_int_equal(make(), STATUS_OK);
    assert_int_equal(plan.want, 3);
    cpus[2].apic_id = 0xffffffff; // all, the sender included
    assert_int_equal(make(), STATUS_UNSUPPORTED);
    assert_int_equal(told.count, 1);
    assert_int_equal(told_times(&told, "unreachable-id", "cpu 2 apic 0xffffffff"), 1);
}

// The BSP sends nothing to itself; its own ID may be whatever it is.
static void test_the_bsp_is_by_its_own_id(void **state)
{
    (void)state;
    options.apic = APIC_XAPIC;
    cpus[0].apic_id = 0x300;
    machine.bsp_apic_id = 0x300;
    assert_int_equal(make(), STATUS_OK);
    assert_int_equal(lcpus[0].cpu, 0);
    assert_int_equal(lcpus[0].apic_id, 0x300);
}

// ---- cpus ----

static void test_a_selection(void **state)
{
    (void)state;
    name_cpus(1, 1);
    name_cpus(3, 3);
    assert_int_equal(make(), STATUS_OK);
    assert_int_equal(told.count, 0);
    assert_int_equal(plan.want, 2);
    assert_int_equal(lcpus[1].cpu, 1);
    assert_int_equal(lcpus[1].apic_id, 2);
    assert_int_equal(lcpus[2].cpu, 3);
    assert_int_equal(lcpus[2].apic_id, 6);
}

static void test_a_selection_of_the_disabled(void **state)
{
    (void)state;
    name_cpus(4, 4);
    assert_int_equal(make(), STATUS_INVALID);
    assert_int_equal(told.count, 1);
    assert_told(0, "no-such-cpu", "cpus= names CPU 4, which the MADT lists as disabled");
}

static void test_a_selection_of_the_missing(void **state)
{
    (void)state;
    name_cpus(6, 6);
    assert_int_equal(make(), STATUS_INVALID);
    assert_int_equal(told.count, 1);
    assert_told(0, "no-such-cpu", "cpus= names CPU 6, but the MADT lists CPUs 0 to 3 only");
}

// Each range is told by itself; the ends count, both of them.
static void test_each_bad_range_is_told(void **state)
{
    (void)state;
    name_cpus(1, 3);
    name_cpus(2, 4);
    name_cpus(5, 5);
    name_cpus(7, 4294967294u);
    assert_int_equal(make(), STATUS_INVALID);
    assert_int_equal(told.count, 3);
    assert_told(0, "no-such-cpu", "cpus= names CPU 4, which the MADT lists as disabled");
    assert_told(1, "no-such-cpu", "cpus= names CPU 5, which the MADT lists as disabled");
    assert_told(2, "no-such-cpu",
                "cpus= names CPU 4294967294, but the MADT lists CPUs 0 to 3 only");
}

static void test_nobody_to_wake(void **state)
{
    (void)state;
    machine.inventory.count = machine.inventory.enabled = 1;
    for (enum wake_strategy wake = WAKE_PARALLEL; wake <= WAKE_BROADCAST; wake++) {
        options.wake = wake;
        assert_int_equal(make(), STATUS_OK);
        assert_int_equal(told.count, 0);
        assert_int_equal(plan.want, 0);
        assert_int_equal(lcpus[0].cpu, 0);
        assert_int_equal(lcpus[1].cpu, 0xa5a5a5a5); // beyond the caller's one entry
    }
    name_cpus(1, 1);
    assert_int_equal(make(), STATUS_INVALID);
    assert_told(0, "no-such-cpu", "cpus= names CPU 1, but the MADT lists CPUs 0 to 0 only");
}

// As many as there is room for, and not one more is written.
static void test_full(void **state)
{
    (void)state;
    for (uint32_t cpu = 0; cpu < CPUS_MAX; cpu++)
        cpus[cpu] = (struct cpu){cpu, cpu, cpu == 0 ? CPU_BSP : CPU_LISTED, false};
    machine.inventory.enabled = CPUS_MAX - 1;
    machine.inventory.count = CPUS_MAX - 1;
    assert_int_equal(make(), STATUS_OK);
    assert_int_equal(plan.want, CPUS_MAX - 2);
    assert_int_equal(lcpus[CPUS_MAX - 2].cpu, CPUS_MAX - 2);
    assert_int_equal(lcpus[CPUS_MAX - 1].cpu, 0xa5a5a5a5);
}

// ---- what INIT cannot wake ----

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
        const struct problems problems = told_listen(&told);
        machine.processor.guest = known[i].guest;
        assert_int_equal(plan_check_guest(&machine, &problems), STATUS_UNSUPPORTED);
        assert_int_equal(told.count, 1);
        assert_told(0, known[i].what, known[i].detail);
    }
    machine.processor.guest = GUEST_NONE;
    const struct problems problems = told_listen(&told);
    assert_int_equal(plan_check_guest(&machine, &problems), STATUS_OK);
    assert_int_equal(told.count, 0);
}

// INIT to the processor that is flagged restarts the machine, so it has to be the one that sends.
static void test_another_is_flagged_as_the_bsp(void **state)
{
    (void)state;
    machine.apic_base = 0xfee00800;
    for (enum wake_strategy wake = WAKE_PARALLEL; wake <= WAKE_BROADCAST; wake++) {
        options.wake = wake;
        assert_int_equal(make(), STATUS_UNSUPPORTED);
        assert_int_equal(told.count, 1);
        assert_told(
            0, "bsp-flag",
            "this processor is not flagged as the BSP (IA32_APIC_BASE 0xfee00800), and an INIT to "
            "the one that is restarts the machine: choose the boot processor in firmware's "
            "setup, or use exit=no wake=firmware");
    }
    options.wake = WAKE_FIRMWARE; // no message of ours
    options.exit = ANSWER_NO;
    assert_int_equal(make(), STATUS_OK);
}

static void test_a_shadow_stack(void **state)
{
    (void)state;
    machine.shadow_stack = true;
    assert_int_equal(make(), STATUS_OK);
    assert_int_equal(told.count, 0);
    options.exit = ANSWER_NO;
    assert_int_equal(make(), STATUS_UNSUPPORTED);
    assert_int_equal(told.count, 1);
    assert_told(0, "shadow-stack",
                "firmware runs with a shadow stack (CET), which cannot be restored after a wake: "
                "use exit=yes");
}

// A mailbox in a plain machine: told, and tried all the same.
static void test_a_mailbox(void **state)
{
    (void)state;
    machine.inventory.wakeup_mailbox = true;
    assert_int_equal(make(), STATUS_OK);
    assert_int_equal(plan.want, 3);
    assert_int_equal(told.count, 1);
    assert_int_equal(told.lines[0].severity, SEVERITY_WARNING);
    assert_string_equal(told.lines[0].what, "wakeup-mailbox");
}

// ---- everything at once ----

static void test_everything_wrong_is_told_at_once(void **state)
{
    (void)state;
    machine.apic_base = 0xfee00c00; // and the BSP's flag is missing
    options.apic = APIC_XAPIC;
    cpus[2].apic_id = 0x100;
    cpus[3].apic_id = 0xff;
    name_cpus(1, 3);
    name_cpus(5, 5);
    name_cpus(9, 10);
    assert_int_equal(make(), STATUS_UNSUPPORTED);
    assert_int_equal(told.count, 6);
    assert_int_equal(told_times(&told, "bsp-flag", ""), 1);
    assert_int_equal(told_times(&told, "apic-mode", "0xfee00c00"), 1);
    assert_int_equal(told_times(&told, "no-such-cpu", "CPU 5"), 1);
    assert_int_equal(told_times(&told, "no-such-cpu", "CPU 10"), 1);
    assert_int_equal(told_times(&told, "unreachable-id", "cpu 2 apic 0x100"), 1);
    assert_int_equal(told_times(&told, "unreachable-id", "cpu 3 apic 0xff"), 1);
    for (size_t i = 0; i < told.count; i++)
        assert_int_equal(told.lines[i].severity, SEVERITY_ERROR);
}

// ---- the bound ----

static uint64_t bound(enum wake_strategy wake, uint32_t sipis, uint32_t init_us, uint32_t retries)
{
    options.apic = APIC_X2APIC;
    options.wake = wake;
    options.sipis = sipis;
    options.init_us = init_us;
    options.retries = retries;
    options.sipi_us = 300;
    options.timeout_us = 5000;
    assert_int_equal(make(), STATUS_OK);
    return plan_round_bound_us(&plan);
}

// At least what a wake with nobody there takes by the manual's arithmetic, and not twice as much.
static void test_bound(void **state)
{
    (void)state;
    assert_in_range(bound(WAKE_PARALLEL, 1, 10000, 0), 15000, 30000);
    assert_in_range(bound(WAKE_PARALLEL, 2, 10000, 0), 15300, 30600);
    assert_in_range(bound(WAKE_PARALLEL, 4, 0, 1), 5900 + 15900, 2 * (5900 + 15900));
    assert_in_range(bound(WAKE_BROADCAST, 2, 10000, 0), 15300, 30600);
    assert_in_range(bound(WAKE_ONE_BY_ONE, 2, 10000, 0), 3 * 15300, 6 * 15300);
    assert_in_range(bound(WAKE_ONE_BY_ONE, 2, 20000, 2), 9 * 25300, 18 * 25300);
    assert_in_range(bound(WAKE_PARALLEL, SIPIS_AUTO, INIT_US_AUTO, 1), 5310 + 15300, 42000);
}

// The largest values that options can have: no overflow.
static void test_bound_of_the_largest(void **state)
{
    (void)state;
    for (uint32_t cpu = 0; cpu < CPUS_MAX; cpu++)
        cpus[cpu] = (struct cpu){cpu, cpu, cpu == 0 ? CPU_BSP : CPU_LISTED, false};
    machine.inventory.count = CPUS_MAX;
    machine.inventory.enabled = CPUS_MAX;
    options.wake = WAKE_ONE_BY_ONE;
    options.init_us = options.sipi_us = 10000000;
    options.sipis = 4;
    options.timeout_us = 60000000;
    options.retries = 100;
    assert_int_equal(make(), STATUS_OK);
    assert_int_equal(plan_round_bound_us(&plan), 511ull * 101 * (10000000ull * 5 + 60000000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_defaults, set_up),
        cmocka_unit_test_setup(test_every_option_is_kept, set_up),
        cmocka_unit_test_setup(test_the_manuals_sequence, set_up),
        cmocka_unit_test_setup(test_firmwares_mode_is_kept, set_up),
        cmocka_unit_test_setup(test_firmwares_mode_is_kept_for_nvram, set_up),
        cmocka_unit_test_setup(test_firmwares_wake, set_up),
        cmocka_unit_test_setup(test_init_auto_by_family, set_up),
        cmocka_unit_test_setup(test_init_of_a_retry, set_up),
        cmocka_unit_test_setup(test_choice_of_the_apic, set_up),
        cmocka_unit_test_setup(test_no_x2apic, set_up),
        cmocka_unit_test_setup(test_never_back_to_xapic, set_up),
        cmocka_unit_test_setup(test_ids_that_xapic_cannot_name, set_up),
        cmocka_unit_test_setup(test_ids_that_x2apic_can_name, set_up),
        cmocka_unit_test_setup(test_the_bsp_is_by_its_own_id, set_up),
        cmocka_unit_test_setup(test_a_selection, set_up),
        cmocka_unit_test_setup(test_a_selection_of_the_disabled, set_up),
        cmocka_unit_test_setup(test_a_selection_of_the_missing, set_up),
        cmocka_unit_test_setup(test_each_bad_range_is_told, set_up),
        cmocka_unit_test_setup(test_nobody_to_wake, set_up),
        cmocka_unit_test_setup(test_full, set_up),
        cmocka_unit_test_setup(test_guests, set_up),
        cmocka_unit_test_setup(test_another_is_flagged_as_the_bsp, set_up),
        cmocka_unit_test_setup(test_a_shadow_stack, set_up),
        cmocka_unit_test_setup(test_a_mailbox, set_up),
        cmocka_unit_test_setup(test_everything_wrong_is_told_at_once, set_up),
        cmocka_unit_test_setup(test_bound, set_up),
        cmocka_unit_test_setup(test_bound_of_the_largest, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
