// What the engine calls back, and what a fault on the way of a fault may still do: an AP says one
// line and no second, the BSP has less to report by each time. Surprise: what the BSP does behind
// its fault never returns; here it comes back, so that it can meet the next one.

#include "aps_fixture.h"

#include "heard.h"
#include "host.h"

#define CPUS 4u

static struct heard heard;
static struct host host;
static struct hello hellos[CPUS];
static struct ending ending;

// What stood open each time that the BSP began to end the run.
static struct {
    uint32_t calls;
    bool sinks[4], port[4];
} ended;

_Noreturn void ending_after_fault(struct ending *of)
{
    assert_ptr_equal(of, &ending);
    assert_true(ended.calls < 4);
    ended.sinks[ended.calls] = heard.console.sinks[SINK_JOURNAL].write_line != NULL;
    ended.port[ended.calls++] = heard.console.uart.present;
    hw_halt();
}

// Each with its faults, as `inject=` has them.
static void prepare(size_t count, const struct injection *faults)
{
    memset(&ended, 0, sizeof ended);
    memset(hellos, 0, sizeof hellos);
    fake_aps_open(&aps, CPUS);
    host = (struct host){
        .console = heard_start(&heard, LOG_NORMAL),
        .ending = &ending,
        .injector = {.faults = faults, .count = count, .plan = &aps.plan},
    };
    host.hellos = (struct hellos){&heard.console, hellos, &host.injector};
    aps.host = host_callbacks(&host, &aps.host.problems);
    fake_aps_prepare(&aps);
}

static struct smp_round wake(void)
{
    struct smp_round round;
    smp_wake(aps.smp, &round);
    return round;
}

// ---- the filter ----

// A message is looked at twice only where somebody asked for it.
static void test_no_filter_without_need(void **state)
{
    static const struct injection faults[] = {{.kind = FAULT_LATE, .cpu = 2},
                                              {.kind = FAULT_MUTE, .cpu = FAULT_ANY_CPU}};

    (void)state;
    prepare(0, NULL);
    assert_null(aps.host.filter);
    prepare(2, faults);
    assert_null(aps.host.filter);
}

static void test_a_filter_for_a_messages_fault(void **state)
{
    static const enum fault_kind kinds[] = {FAULT_NO_INIT, FAULT_NO_SIPI, FAULT_LOST_SIPI,
                                            FAULT_BAD_VECTOR};

    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const struct injection fault = {.kind = kinds[i], .cpu = 2};
        prepare(1, &fault);
        assert_non_null(aps.host.filter);
        fake_aps_close(&aps);
    }
}

static void test_the_filter_withholds(void **state)
{
    static const struct injection fault = {.kind = FAULT_NO_SIPI, .cpu = 2};

    (void)state;
    fake_aps_open(&aps, CPUS);
    prepare(1, &fault);
    assert_int_equal(
        smp_start(aps.smp, &(struct smp_plan){.sipis = 1, .timeout_us = 1000, .turn_us = 1000}),
        STATUS_OK);
    assert_int_equal(wake().arrived, CPUS - 2);
    assert_int_equal(aps.aps[2].inits, 1);
    assert_int_equal(aps.aps[2].startups, 0);
}

// ---- the function that APs run ----

static void test_each_says_hello(void **state)
{
    (void)state;
    prepare(0, NULL);
    aps.run_ap_main = true;
    for (uint32_t leaf = 0; leaf < 0x20; leaf++)
        fake_set_cpuid(leaf, FAKE_ANY_SUBLEAF, (struct cpuid){0});
    fake_set_cpuid(0x80000000, FAKE_ANY_SUBLEAF, (struct cpuid){0});
    assert_int_equal(wake().arrived, CPUS - 1);
    assert_string_equal(heard.text, "");
    assert_int_equal(smp_take_turns(aps.smp), CPUS - 1);
    assert_string_equal(heard.text, "Hello from CPU 1! APIC ID: 1\nHello from CPU 2! APIC ID: 2\n"
                                    "Hello from CPU 3! APIC ID: 3\n");
}

static void test_a_mute_one_is_not_counted(void **state)
{
    static const struct injection fault = {.kind = FAULT_MUTE, .cpu = 2};
    const struct smp_self self = {.slot = 2, .cpu = 2, .apic_id = 2};

    (void)state;
    prepare(1, &fault);
    assert_false(aps.host.run(aps.host.context, &self));
    assert_string_equal(heard.text, "");
}

// ---- faults ----

static void fault(uint32_t slot, uint32_t before)
{
    const struct smp_fault_report report = {
        .self = {slot, slot, slot}, .before = before, .text = "somebody stopped"};
    aps.host.fault(aps.host.context, &report);
}

// An AP's second fault, wherever it is: nothing is written, and nobody waits for the lock that it
// held. The engine parks it when this returns.
static void test_an_aps_second_fault_says_nothing(void **state)
{
    (void)state;
    prepare(0, NULL);
    fault(2, 0);
    assert_string_equal(heard.text, "somebody stopped\n");
    atomic_store(&heard.console.owner, 2 + 1); // it was inside a line
    fault(2, 1);
    assert_string_equal(heard.text, "somebody stopped\n");
    assert_int_equal(atomic_load(&heard.console.owner), 0);
    assert_int_equal(ended.calls, 0);
}

// It gives back what it has itself, and nothing else.
static void test_an_ap_leaves_others_lock_alone(void **state)
{
    (void)state;
    prepare(0, NULL);
    atomic_store(&heard.console.owner, 3 + 1);
    fault(2, 1);
    assert_int_equal(atomic_load(&heard.console.owner), 3 + 1);
}

static void ignore(void *context, uint64_t address, uint64_t value)
{
    (void)context, (void)address, (void)value;
}

// The BSP has the account to give: each of its faults leaves it less to give it by.
static void test_the_bsps_further_faults_cost_the_sinks(void **state)
{
    (void)state;
    prepare(0, NULL);
    heard.console.uart =
        (struct uart){.port = UART_DEBUG_CONSOLE, .present = true, .fifo_bytes = 1};
    fake_hook(FAKE_PORT8, UART_DEBUG_CONSOLE, UART_DEBUG_CONSOLE, NULL, ignore, NULL);
    fake_log_kinds(FAKE_OUT8);
    for (uint32_t before = 0; before < 3; before++) {
        fake_log_clear();
        FAKE_UNTIL_HALT(fault(0, before));
        assert_int_equal(fake_log_count() > 0, before < 2); // by the port
    }
    assert_string_equal(heard.text, "somebody stopped\n");
    assert_int_equal(ended.calls, 3);
    assert_true(ended.sinks[0] && ended.port[0]);
    assert_true(!ended.sinks[1] && ended.port[1]);
    assert_true(!ended.sinks[2] && !ended.port[2]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        APS_TEST(test_no_filter_without_need),
        APS_TEST(test_a_filter_for_a_messages_fault),
        APS_TEST(test_the_filter_withholds),
        APS_TEST(test_each_says_hello),
        APS_TEST(test_a_mute_one_is_not_counted),
        APS_TEST(test_an_aps_second_fault_says_nothing),
        APS_TEST(test_an_ap_leaves_others_lock_alone),
        APS_TEST(test_the_bsps_further_faults_cost_the_sinks),
    };
    return cmocka_run_group_tests_name("host", tests, aps_set_up, NULL);
}
