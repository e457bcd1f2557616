// The end of a wake while firmware lives: everybody is held by INIT, and what has to be kept leads
// nowhere but to the loop in the page, which is kept with it. Gates are decoded as the processor
// does it, from the bytes that LIDT gets.

#include "fake_aps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "fault.h"

#define PARK (FAKE_PAGE + 0x780u)

static const uint8_t loop[] = {0xfa, 0xf4, 0xeb, 0xfc}; // cli; 1: hlt; jmp 1b, in every mode

static struct fake_aps aps;

static void fail_test(const char *message)
{
    fail_msg("%s", message);
}

static int set_up(void **state)
{
    (void)state;
    fake_on_failure(fail_test);
    fake_aps_open(&aps, 4);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_aps_close(&aps);
    return 0;
}

static void wake_with(enum wake_strategy strategy)
{
    struct wake_result result;

    aps.plan.wake = strategy;
    wake_round(&aps.wake, &result);
    assert_int_equal(result.up, 3);
}

static void start(enum apic_choice apic)
{
    aps.options.apic = apic;
    fake_aps_prepare(&aps);
    wake_with(WAKE_PARALLEL);
}

static void assert_held(void)
{
    for (size_t cpu = 1; cpu < aps.count + aps.hidden; cpu++)
        assert_int_equal(aps.aps[cpu].state, FAKE_AP_WAITS);
}

static void test_each_is_held(void **state)
{
    (void)state;
    start(APIC_X2APIC);
    assert_int_equal(wake_hold(&aps.wake), STATUS_OK);
    assert_held();
}

// Who is in no table came by a broadcast, in whatever round, and only another one reaches it.
static void test_a_broadcast_is_remembered(void **state)
{
    (void)state;
    aps.hidden = 1;
    aps.aps[4].apic_id = 9;
    start(APIC_X2APIC);
    assert_false(aps.wake.broadcast);
    wake_with(WAKE_BROADCAST);
    wake_with(WAKE_PARALLEL);
    assert_int_equal(wake_hold(&aps.wake), STATUS_OK);
    assert_held();
}

static void test_a_message_that_did_not_leave_is_told(void **state)
{
    (void)state;
    start(APIC_XAPIC);
    aps.busy_from = aps.messages + 1;
    aps.busy_ticks = 1000ull * APIC_IDLE_US * FAKE_TICKS_PER_US;
    assert_int_equal(wake_hold(&aps.wake), STATUS_TIMEOUT); // the first blocks the others
}

// ---- what is kept ----

static void assert_gates(const struct pseudo_descriptor *idtr, const struct gate *before)
{
    const struct gate *gates = (const struct gate *)(uintptr_t)idtr->base;

    assert_int_equal(idtr->limit + 1u, VECTORS * sizeof *gates);
    for (uint32_t vector = 0; vector < VECTORS; vector++) {
        const struct gate *gate = &gates[vector];
        assert_int_equal(gate->offset_low | (uint64_t)gate->offset_middle << 16 |
                             (uint64_t)gate->offset_high << 32,
                         PARK);
        assert_int_equal(gate->selector, before[vector].selector);
        assert_int_equal(gate->flags, before[vector].flags); // the same stack
    }
}

static void test_all_ways_lead_to_the_loop(void **state)
{
    struct gate before[2 * VECTORS];
    struct trampoline trampoline;
    size_t applied;

    (void)state;
    start(APIC_X2APIC);
    assert_int_equal(trampoline_open_builtin(&trampoline), STATUS_OK);
    assert_int_equal(trampoline_copy(&trampoline, aps.wake.page_view), STATUS_OK);
    assert_int_equal(trampoline_patch(&trampoline, aps.wake.page_view, FAKE_PAGE, &applied),
                     STATUS_OK);
    const struct lcpu *first = &arena_lcpu(&aps.arena, 0)->lcpu;
    memcpy(before, (void *)(uintptr_t)first->idtr.base, sizeof before);
    assert_int_equal(arena_rally(&aps.arena)->park, PARK);
    assert_memory_equal(aps.wake.page_view + 0x780, loop, sizeof loop);
    assert_memory_not_equal(aps.wake.page_view, loop, sizeof loop);
    wake_seal(&aps.wake);
    for (size_t slot = 0; slot < aps.arena.count; slot++) {
        const struct lcpu *lcpu = &arena_lcpu(&aps.arena, slot)->lcpu;
        assert_int_equal(lcpu->entry, PARK);
        assert_gates(&lcpu->idtr, before);
        assert_gates(&lcpu->early_idtr, before + VECTORS);
    }
    assert_memory_equal(aps.wake.page_view, loop, sizeof loop);
    assert_memory_equal(aps.wake.page_view + 0x780, loop, sizeof loop);
}

// A processor that met a fault ends there as well, and not in the image.
static void test_a_fault_ends_in_the_loop(void **state)
{
    const struct fault_frame frame = {.vector = 6, .rip = 0x1234};

    (void)state;
    start(APIC_X2APIC);
    struct lcpu_page *page = arena_lcpu(&aps.arena, 2);
    const struct hw_tables tables = {.gdt = page->lcpu.gdtr, .idt = page->lcpu.idtr};
    fake_set_tables(&tables);
    fake_set_cr(FAKE_CR2, 0);
    fake_log_reset();
    fake_log_kinds(FAKE_JUMP | FAKE_HALT);
    FAKE_UNTIL_HALT(fault_report(&frame));
    FAKE_EXPECT_LOG({FAKE_JUMP, PARK, 0, 0, 0});
    assert_int_equal(page->lcpu.fault.vector, 6);
    arena_rally(&aps.arena)->park = 0; // before the first round there is none
    fake_log_reset();
    fake_log_kinds(FAKE_JUMP | FAKE_HALT);
    FAKE_UNTIL_HALT(fault_report(&frame));
    FAKE_EXPECT_LOG({FAKE_HALT, 0, 0, 0, 0});
}

// ---- a fault on the way of a fault ----

static char heard[2048];

static void ignore(void *context, uint64_t address, uint64_t value)
{
    (void)context, (void)address, (void)value;
}

static void hear(void *context, const char *text)
{
    (void)context;
    assert_true(strlen(heard) + strlen(text) + 2 < sizeof heard);
    strcat(strcat(heard, text), "|");
}

static size_t lines_heard(void)
{
    size_t lines = 0;
    for (const char *at = heard; *at; at++)
        lines += *at == '|';
    return lines;
}

static struct lcpu_page *become(size_t slot)
{
    start(APIC_X2APIC);
    struct lcpu_page *page = arena_lcpu(&aps.arena, slot);
    const struct hw_tables tables = {.gdt = page->lcpu.gdtr, .idt = page->lcpu.idtr};
    fake_set_tables(&tables);
    fake_set_cr(FAKE_CR2, 0);
    heard[0] = '\0';
    aps.console.sinks[SINK_JOURNAL] = (struct console_sink){.write_line = hear};
    return page;
}

static void fault(uint32_t vector)
{
    const struct fault_frame frame = {.vector = vector, .rip = 0x1000 + vector};
    FAKE_UNTIL_HALT(fault_report(&frame));
}

// An AP's second fault, wherever it is: the first account stays, nothing is written, and nobody
// waits for the lock that it held.
static void test_an_aps_second_fault_parks_it(void **state)
{
    (void)state;
    const struct lcpu_page *page = become(2);
    fault(6);
    assert_int_equal(lines_heard(), 1);
    atomic_store(&aps.console.owner, page->lcpu.index + 1); // it was inside a line
    fault(14);
    assert_int_equal(page->lcpu.fault.vector, 6);
    assert_int_equal(page->lcpu.fault.ip, 0x1006);
    assert_int_equal(lines_heard(), 1);
    assert_int_equal(atomic_load(&aps.console.owner), 0);
}

static struct {
    uint32_t calls;
    bool sinks[4], port[4];
} stopped;

static void bsp_stopped(void *context)
{
    (void)context;
    assert_true(stopped.calls < 4);
    stopped.sinks[stopped.calls] = aps.console.sinks[SINK_JOURNAL].write_line != NULL;
    stopped.port[stopped.calls++] = aps.console.uart.present;
}

// The BSP has the account to give: each of its faults leaves it less to give it by.
static void test_the_bsps_further_faults_cost_the_sinks(void **state)
{
    (void)state;
    const struct lcpu_page *page = become(0);
    stopped.calls = 0;
    arena_rally(&aps.arena)->bsp_stopped = bsp_stopped;
    aps.console.uart = (struct uart){.port = UART_DEBUG_CONSOLE, .present = true, .fifo_bytes = 1};
    fake_hook(FAKE_PORT8, UART_DEBUG_CONSOLE, UART_DEBUG_CONSOLE, NULL, ignore, NULL);
    for (uint32_t vector = 12; vector < 15; vector++)
        fault(vector);
    assert_int_equal(page->lcpu.fault.vector, 12);
    assert_int_equal(lines_heard(), 1);
    assert_int_equal(stopped.calls, 3);
    assert_true(stopped.sinks[0] && stopped.port[0]);
    assert_true(!stopped.sinks[1] && stopped.port[1]);
    assert_true(!stopped.sinks[2] && !stopped.port[2]);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_each_is_held),
        TEST(test_a_broadcast_is_remembered),
        TEST(test_a_message_that_did_not_leave_is_told),
        TEST(test_all_ways_lead_to_the_loop),
        TEST(test_a_fault_ends_in_the_loop),
        TEST(test_an_aps_second_fault_parks_it),
        TEST(test_the_bsps_further_faults_cost_the_sinks),
    };
    return cmocka_run_group_tests_name("hold", tests, NULL, NULL);
}
