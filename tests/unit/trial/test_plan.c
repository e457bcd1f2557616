// The plan: who is woken by what messages, in which mode, from facts and options alone. One test
// for each rule of the options' table.
#include "small_machine.h"

#include <stdio.h>

#include "control.h"
#include "lapic.h"

static struct small_machine small;

static int set_up(void **state)
{
    (void)state;
    small_start(&small);
    return 0;
}

// The turn is no option: 160 characters at 1200 baud, and some.
static void assert_messages(struct smp_plan wanted)
{
    wanted.turn_us = 2000000;
    assert_memory_equal(&small.plan.messages, &wanted, sizeof wanted);
}

static void test_defaults(void **state)
{
    (void)state;
    small_assert_planned(&small);
    assert_messages((struct smp_plan){.strategy = SMP_PARALLEL,
                                      .init_us = 10,
                                      .init_retry_us = 10000,
                                      .sipi_us = 200,
                                      .sipis = SMP_SIPIS_AUTO,
                                      .timeout_us = 1000000,
                                      .retries = 1});
    assert_int_equal(small.plan.apic_mode, SMP_X2APIC);
    assert_int_equal(small.plan.rounds, 1);
    assert_int_equal(small.plan.want, 3);
    assert_ptr_equal(small.plan.cpus, small.chosen);
    for (uint32_t slot = 0; slot < 4; slot++) {
        assert_int_equal(small.chosen[slot].cpu, slot);
        assert_int_equal(small.chosen[slot].apic_id, 2 * slot);
    }
}

static void test_every_option_is_kept(void **state)
{
    (void)state;
    assert_int_equal(small_ask(&small, "wake=broadcast init_us=4711 sipi_us=17 sipis=3 "
                                       "timeout_us=99 retries=5 rounds=200"),
                     STATUS_OK);
    small_assert_planned(&small);
    assert_messages((struct smp_plan){.strategy = SMP_BROADCAST,
                                      .init_us = 4711,
                                      .init_retry_us = 10000,
                                      .sipi_us = 17,
                                      .sipis = 3,
                                      .timeout_us = 99,
                                      .retries = 5});
    assert_int_equal(small.plan.rounds, 200);
}

// Each strategy is the engine's of the same name.
static void test_every_strategy(void **state)
{
    char text[64];

    (void)state;
    small.options.exit = ANSWER_NO;
    for (uint32_t strategy = 0; strategy < smp_strategy_count(); strategy++) {
        snprintf(text, sizeof text, "wake=%s", smp_strategy_word(strategy));
        assert_int_equal(small_ask(&small, text), STATUS_OK);
        small_assert_planned(&small);
        assert_int_equal(small.plan.messages.strategy, strategy);
    }
}

// The manual's own sequence, as the options' page gives it.
static void test_the_manuals_sequence(void **state)
{
    (void)state;
    assert_int_equal(small_ask(&small, "wake=one-by-one init_us=10000 sipi_us=200 sipis=2"),
                     STATUS_OK);
    small_assert_planned(&small);
    assert_messages((struct smp_plan){.strategy = SMP_ONE_BY_ONE,
                                      .init_us = 10000,
                                      .init_retry_us = 10000,
                                      .sipi_us = 200,
                                      .sipis = 2,
                                      .timeout_us = 1000000,
                                      .retries = 1});
}

static void assert_mode(enum smp_apic_mode mode)
{
    small_assert_planned(&small);
    assert_int_equal(small.plan.apic_mode, mode);
}

// Its APIC mode is kept, since there is no safe way back to it.
static void test_firmwares_mode_is_kept(void **state)
{
    (void)state;
    small.options.exit = ANSWER_NO;
    assert_mode(SMP_XAPIC);
    small.machine.apic_base |= APIC_BASE_EXTD;
    assert_mode(SMP_X2APIC);
    small.machine.apic_base &= ~(uint64_t)APIC_BASE_EXTD;
    small.options.apic = APIC_X2APIC;
    small_assert_refused(
        &small, STATUS_UNSUPPORTED, "apic-mode",
        "apic=x2apic with exit=no: firmware runs in xAPIC mode, and there is no safe way back to "
        "it; use apic=auto, or exit=yes");
}

// Firmware's code behind save=nvram may run in SMM, and know the mode alone that firmware left.
static void test_firmwares_mode_is_kept_for_nvram(void **state)
{
    (void)state;
    small.options.save = SAVE_NVRAM;
    assert_mode(SMP_XAPIC);
    small.listed[3].apic_id = 0xfe;
    assert_mode(SMP_XAPIC);
    small.listed[3].apic_id = 0xff; // it must be woken first of all
    assert_mode(SMP_X2APIC);
    small.listed[3].apic_id = 6;
    small.machine.bsp_apic_id = 0x100;
    assert_mode(SMP_X2APIC);
    small.machine.bsp_apic_id = 0;
    small.machine.apic_base |= APIC_BASE_EXTD;
    assert_mode(SMP_X2APIC);
    small.machine.apic_base &= ~(uint64_t)APIC_BASE_EXTD;
    small.options.apic = APIC_X2APIC; // who asks for it gets it
    assert_mode(SMP_X2APIC);
}

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
        small.machine.processor.vendor = known[i].vendor;
        small.machine.processor.family = known[i].family;
        small.options.init_us = INIT_US_AUTO;
        small_assert_planned(&small);
        assert_int_equal(small.plan.messages.init_us, known[i].init_us);
        assert_int_equal(small.plan.messages.init_retry_us, 10000);
        small.options.init_us = 123; // a number is a number on any of them
        small_assert_planned(&small);
        assert_int_equal(small.plan.messages.init_us, 123);
    }
}

// A retry is never quicker than the manual, nor quicker than asked.
static void test_init_of_a_retry(void **state)
{
    static const uint32_t asked[][2] = {{0, 10000},     {1, 10000},     {9999, 10000},
                                        {10000, 10000}, {10001, 10001}, {10000000, 10000000}};

    (void)state;
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++) {
        small.options.init_us = asked[i][0];
        small_assert_planned(&small);
        assert_int_equal(small.plan.messages.init_us, asked[i][0]);
        assert_int_equal(small.plan.messages.init_retry_us, asked[i][1]);
    }
}

// Everything that the choice depends on, and all that it can be.
static void test_choice_of_the_apic(void **state)
{
    static const struct {
        enum apic_choice asked;
        bool on, has, opt_out;
        enum { XAPIC, X2APIC, REFUSED } chosen;
    } known[] = {
        // auto: what firmware left on, else x2APIC where the CPU has it, else xAPIC
        {APIC_AUTO, false, false, false, XAPIC},
        {APIC_AUTO, false, false, true, XAPIC},
        {APIC_AUTO, false, true, false, X2APIC},
        {APIC_AUTO, false, true, true, XAPIC}, // the DMAR asks, and is heard
        {APIC_AUTO, true, true, false, X2APIC},
        {APIC_AUTO, true, true, true, X2APIC},   // too late to stay out of it
        {APIC_AUTO, true, false, false, X2APIC}, // CPUID hidden; the MSR knows
        // x2apic: where there is one; the user's word counts for more than the DMAR's
        {APIC_X2APIC, false, false, false, REFUSED},
        {APIC_X2APIC, false, true, false, X2APIC},
        {APIC_X2APIC, false, true, true, X2APIC},
        {APIC_X2APIC, true, true, false, X2APIC},
        {APIC_X2APIC, true, false, false, X2APIC},
        // xapic: never back
        {APIC_XAPIC, false, false, false, XAPIC},
        {APIC_XAPIC, false, true, false, XAPIC},
        {APIC_XAPIC, true, true, false, REFUSED},
    };

    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        small.options.apic = known[i].asked;
        small.machine.apic_base = known[i].on ? 0xfee00d00 : 0xfee00900;
        small.machine.processor.x2apic = known[i].has;
        small.machine.dmar_x2apic_opt_out = known[i].opt_out;
        if (known[i].chosen == REFUSED)
            assert_int_equal(small_plan(&small), STATUS_UNSUPPORTED);
        else
            assert_mode(known[i].chosen == X2APIC ? SMP_X2APIC : SMP_XAPIC);
    }
}

// The BSP sends nothing to itself; its own ID may be whatever it is.
static void test_the_bsp_is_by_its_own_id(void **state)
{
    (void)state;
    small.options.apic = APIC_XAPIC;
    small.listed[0].apic_id = 0x300;
    small.machine.bsp_apic_id = 0x300;
    small_assert_planned(&small);
    assert_int_equal(small.chosen[0].cpu, 0);
    assert_int_equal(small.chosen[0].apic_id, 0x300);
}

static void test_a_selection(void **state)
{
    (void)state;
    small_name_cpus(&small, 1, 1);
    small_name_cpus(&small, 3, 3);
    small_assert_planned(&small);
    assert_int_equal(small.plan.want, 2);
    assert_int_equal(small.chosen[1].cpu, 1);
    assert_int_equal(small.chosen[1].apic_id, 2);
    assert_int_equal(small.chosen[2].cpu, 3);
    assert_int_equal(small.chosen[2].apic_id, 6);
}

static void test_nobody_to_wake(void **state)
{
    (void)state;
    small.machine.inventory.count = small.machine.inventory.enabled = 1;
    for (enum smp_strategy wake = SMP_PARALLEL; wake <= SMP_BROADCAST; wake++) {
        small.options.wake = wake;
        small_assert_planned(&small);
        assert_int_equal(small.plan.want, 0);
        assert_int_equal(small.chosen[0].cpu, 0);
        assert_int_equal(small.chosen[1].cpu, 0xa5a5a5a5); // beyond the caller's one entry
    }
    small_name_cpus(&small, 1, 1);
    small_assert_refused(&small, STATUS_INVALID, "no-such-cpu",
                         "cpus= names CPU 1, but the MADT lists CPUs 0 to 0 only");
}

// As many as there is room for, and not one more is written.
static void test_full(void **state)
{
    (void)state;
    small_list(&small, CPUS_MAX - 1, 1);
    small_assert_planned(&small);
    assert_int_equal(small.plan.want, CPUS_MAX - 2);
    assert_int_equal(small.chosen[CPUS_MAX - 2].cpu, CPUS_MAX - 2);
    assert_int_equal(small.chosen[CPUS_MAX - 1].cpu, 0xa5a5a5a5);
}

// What the engine is told of the processors is what the machine says of the BSP.
static void test_features(void **state)
{
    (void)state;
    small.machine.processor = (struct processor){
        .vendor = VENDOR_AMD, .family = 6, .phys_bits = 43, .id_leaf = 0xb, .gib_pages = true};
    struct smp_features features = plan_features(&small.machine);
    assert_int_equal(features.phys_bits, 43);
    assert_int_equal(features.id_leaf, 0xb);
    assert_true(features.gib_pages);
    assert_false(features.five_levels || features.no_execute || features.machine_check);
    assert_false(features.misc_enable); // Intel's alone

    small.machine.processor = (struct processor){
        .vendor = VENDOR_INTEL, .family = 6, .id_leaf = 1, .no_execute = true, .mce = true};
    small.machine.cr4 = CR4_PAE | CR4_LA57;
    features = plan_features(&small.machine);
    assert_int_equal(features.id_leaf, 1);
    assert_false(features.gib_pages);
    assert_true(features.five_levels && features.no_execute && features.machine_check);
    assert_true(features.misc_enable);
    small.machine.processor.family = 5;
    small.machine.cr4 = CR4_PAE;
    features = plan_features(&small.machine);
    assert_false(features.misc_enable || features.five_levels);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_defaults, set_up),
        cmocka_unit_test_setup(test_every_option_is_kept, set_up),
        cmocka_unit_test_setup(test_every_strategy, set_up),
        cmocka_unit_test_setup(test_the_manuals_sequence, set_up),
        cmocka_unit_test_setup(test_firmwares_mode_is_kept, set_up),
        cmocka_unit_test_setup(test_firmwares_mode_is_kept_for_nvram, set_up),
        cmocka_unit_test_setup(test_init_auto_by_family, set_up),
        cmocka_unit_test_setup(test_init_of_a_retry, set_up),
        cmocka_unit_test_setup(test_choice_of_the_apic, set_up),
        cmocka_unit_test_setup(test_the_bsp_is_by_its_own_id, set_up),
        cmocka_unit_test_setup(test_a_selection, set_up),
        cmocka_unit_test_setup(test_nobody_to_wake, set_up),
        cmocka_unit_test_setup(test_full, set_up),
        cmocka_unit_test_setup(test_features, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
