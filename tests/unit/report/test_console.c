// Console: what passes at which log level, whole lines, and the lock: waited for, taken over,
// entered a second time by a fault. The other processors are hooks: one that holds the lock is a
// number in `owner`, and it lets go when the fake's clock says so.
#include "console.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "failing.h"
#include "fake_hw.h"

#define PORT         UART_COM1
#define TICKS_PER_US 2u

struct wire {
    struct console *console;
    char text[4096]; // all that went out, NUL-terminated
    size_t length;
    char sink[4096]; // all that the sink got, each line ended by '|'
    uint64_t act_at; // when, or at which character, `act` happens; 0: not
    void (*act)(struct wire *wire);
};

static uint64_t read_line_status(void *context, uint64_t address)
{
    (void)context;
    (void)address;
    return 0x60;
}

static void write_data(void *context, uint64_t address, uint64_t value)
{
    struct wire *wire = context;

    (void)address;
    assert_true(wire->length + 1 < sizeof wire->text);
    wire->text[wire->length++] = (char)value;
    wire->text[wire->length] = '\0';
    if (wire->act != NULL && wire->length == wire->act_at) {
        wire->act(wire);
    }
}

static void write_sink(void *context, const char *text)
{
    struct wire *wire = context;

    assert_true(strlen(wire->sink) + strlen(text) + 2 < sizeof wire->sink);
    strcat(wire->sink, text);
    strcat(wire->sink, "|");
}

static void act_in_time(void *context, uint64_t now)
{
    struct wire *wire = context;

    if (wire->act_at != 0 && now >= wire->act_at) {
        wire->act_at = 0;
        wire->act(wire);
    }
}

static void set_up(struct console *console, struct wire *wire, enum log_level log)
{
    fake_reset();
    failures_fail_the_test();
    fake_start_clock(1000, 1000);
    *wire = (struct wire){.console = console};
    fake_hook(FAKE_PORT8, PORT + 5, PORT + 5, read_line_status, NULL, NULL);
    fake_hook(FAKE_PORT8, PORT, PORT, NULL, write_data, wire);
    console_start(console, log, TICKS_PER_US);
    console->uart = (struct uart){.port = PORT,
                                  .present = true,
                                  .divisor = 1,
                                  .fifo_bytes = 16,
                                  .timeout_ticks = 5600,
                                  .character_ticks = 5600};
}

typedef void (*console_fn)(struct console *console, uint32_t cpu, const struct line *line);

static void put(console_fn write, struct console *console, uint32_t cpu, const char *text)
{
    char buffer[LINE_BYTES];
    struct line line;

    line_start(&line, buffer, sizeof buffer);
    line_add_text(&line, text);
    write(console, cpu, &line);
}

static void test_start(void **state)
{
    struct console console;

    (void)state;
    fake_reset();
    failures_fail_the_test();
    memset(&console, 0xa5, sizeof console);
    console_start(&console, LOG_DEBUG, TICKS_PER_US);
    assert_false(console.uart.present);
    for (size_t i = 0; i < CONSOLE_SINKS; i++)
        assert_null(console.sinks[i].write_line);
    assert_null(console.firmware.write_line);
    assert_int_equal(console.log, LOG_DEBUG);
    assert_int_equal(atomic_load(&console.owner), 0);
    // 511, 2 and 2 characters, each with a load of 16 before it and one time-out of 32 behind, of
    // 10 bits at 1200 baud (8334 us), and 100 ms for each time-out.
    assert_int_equal(console.lock_ticks, (659 * 8334ull + 300000) * TICKS_PER_US);
    // No port and no sink: nothing is touched, and that is no error.
    put(console_record, &console, 0, "into the void");
}

static void check_levels(enum log_level log, const char *expected, const char *expected_sink)
{
    struct console console;
    struct wire wire;

    set_up(&console, &wire, log);
    console.sinks[SINK_SCREEN] = (struct console_sink){write_sink, &wire, NULL, NULL};
    put(console_say, &console, 0, "say");
    put(console_record, &console, 0, "record");
    console_ask(&console, "press %u", 1);
    assert_string_equal(wire.text, expected);
    assert_string_equal(wire.sink, expected_sink);
    assert_int_equal(atomic_load(&console.owner), 0);
}

static void test_levels(void **state)
{
    (void)state;
    check_levels(LOG_QUIET, "record\r\npress 1\r\n", "record|press 1|");
    check_levels(LOG_NORMAL, "say\r\nrecord\r\npress 1\r\n", "say|record|press 1|");
    check_levels(LOG_DEBUG, "say\r\nrecord\r\npress 1\r\n", "say|record|press 1|");
}

// The wire and the journal get no line that is written anew.
static void test_a_line_that_changes(void **state)
{
    struct console console;
    struct wire wire;

    (void)state;
    set_up(&console, &wire, LOG_QUIET);
    console.sinks[SINK_SCREEN] =
        (struct console_sink){.rewrite_line = write_sink, .context = &wire};
    console.sinks[SINK_JOURNAL] = (struct console_sink){.write_line = write_sink, .context = &wire};
    console_rewrite(&console, "%u s", 2);
    console_rewrite(&console, "%u s", 1);
    assert_string_equal(wire.text, "");
    assert_string_equal(wire.sink, "2 s|1 s|");
    assert_int_equal(atomic_load(&console.owner), 0);
}

static void test_sink_without_port(void **state)
{
    struct console console;
    struct wire wire;

    (void)state;
    set_up(&console, &wire, LOG_NORMAL);
    console.uart.present = false;
    console.sinks[SINK_SCREEN] = (struct console_sink){write_sink, &wire, NULL, NULL};
    put(console_say, &console, 0, "on the screen");
    assert_string_equal(wire.sink, "on the screen|");
    assert_string_equal(wire.text, "");
}

static void write_to_firmware(void *context, const char *text)
{
    const struct wire *wire = context;

    assert_int_equal(atomic_load(&wire->console->owner), 0);
    assert_non_null(strstr(wire->text, text)); // the port has it already
    write_sink(context, text);
}

// Its code is not executable in the APs' tables, and however long it takes, nobody waits for it.
static void test_firmware_is_cpu_0s_alone(void **state)
{
    struct console console;
    struct wire wire;

    (void)state;
    set_up(&console, &wire, LOG_NORMAL);
    console.firmware = (struct console_sink){write_to_firmware, &wire, NULL, NULL};
    put(console_record, &console, 2, "CPU 2 stopped");
    put(console_say, &console, 0, "Starting CPU 1...");
    put(console_say, &console, 1, "Hello from CPU 1!");
    assert_string_equal(wire.sink, "Starting CPU 1...|");
    assert_string_equal(wire.text, "CPU 2 stopped\r\nStarting CPU 1...\r\nHello from CPU 1!\r\n");
}

static void test_without_sinks(void **state)
{
    struct console console;
    struct wire wire;

    (void)state;
    set_up(&console, &wire, LOG_NORMAL);
    console.firmware = (struct console_sink){write_sink, &wire, NULL, NULL};
    for (size_t i = 0; i < CONSOLE_SINKS; i++)
        console.sinks[i] = (struct console_sink){write_sink, &wire, NULL, NULL};
    console_drop_sinks(&console);
    put(console_record, &console, 0, "the end");
    assert_string_equal(wire.sink, "");
    assert_string_equal(wire.text, "the end\r\n");
}

static void test_let_go(void **state)
{
    struct console console;
    struct wire wire;

    (void)state;
    set_up(&console, &wire, LOG_NORMAL);
    atomic_store(&console.owner, 3);
    console_let_go(&console, 1); // another's
    assert_int_equal(atomic_load(&console.owner), 3);
    console_let_go(&console, 2);
    assert_int_equal(atomic_load(&console.owner), 0);
}

static void test_full_line(void **state)
{
    char text[LINE_BYTES + 20];
    struct console console;
    struct wire wire;

    (void)state;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    set_up(&console, &wire, LOG_NORMAL);
    put(console_say, &console, 0, text);
    assert_int_equal(wire.length, LINE_BYTES - 1 + 2);
    assert_string_equal(wire.text + LINE_BYTES - 4, "...\r\n");
}

// ---- the lock ----

static void let_go(struct wire *wire)
{
    assert_string_equal(wire->text, ""); // nobody wrote meanwhile
    atomic_store(&wire->console->owner, 0);
}

static void test_waits_for_the_owner(void **state)
{
    struct console console;
    struct wire wire;

    (void)state;
    set_up(&console, &wire, LOG_NORMAL);
    atomic_store(&console.owner, 5);
    wire.act = let_go;
    wire.act_at = fake_now() + console.lock_ticks / 2;
    fake_on_time(act_in_time, &wire);
    put(console_say, &console, 1, "second");
    assert_string_equal(wire.text, "second\r\n");
    assert_int_equal(atomic_load(&console.owner), 0);
}

static void test_takes_over_from_the_dead(void **state)
{
    struct console console;
    struct wire wire;
    uint64_t before;

    (void)state;
    set_up(&console, &wire, LOG_NORMAL);
    strcpy(wire.text, "Hello fr"); // what the dead one got out
    wire.length = strlen(wire.text);
    atomic_store(&console.owner, 5);
    before = fake_now();
    put(console_record, &console, 1, "REVEILLE ev=end");
    assert_true(fake_now() - before > console.lock_ticks);
    assert_true(fake_now() - before < console.lock_ticks + 100 * 1000);
    assert_string_equal(wire.text, "Hello fr\r\nREVEILLE ev=end\r\n");
    assert_int_equal(atomic_load(&console.owner), 0);

    // And the dead is waited for once only.
    before = fake_now();
    put(console_record, &console, 2, "more");
    assert_true(fake_now() - before < 100 * 1000);
}

static void pass_on(struct wire *wire)
{
    const uint32_t owner = atomic_load(&wire->console->owner);

    assert_string_equal(wire->text, "");
    atomic_store(&wire->console->owner, owner == 9 ? 0 : owner + 1);
    wire->act_at = fake_now() + wire->console->lock_ticks * 3 / 4;
}

static void test_a_queue_of_the_living_is_waited_for(void **state)
{
    struct console console;
    struct wire wire;

    (void)state;
    set_up(&console, &wire, LOG_NORMAL);
    atomic_store(&console.owner, 5);
    wire.act = pass_on;
    wire.act_at = fake_now() + console.lock_ticks * 3 / 4;
    fake_on_time(act_in_time, &wire);
    put(console_say, &console, 1, "last");
    assert_string_equal(wire.text, "last\r\n");
}

// An SMI, or a hypervisor, takes the waiting processor away for longer than the bound.
static void be_away(struct wire *wire)
{
    fake_start_clock(fake_now() + 3 * wire->console->lock_ticks, 1000);
    wire->act = let_go;
    wire->act_at = fake_now() + wire->console->lock_ticks / 4;
}

static void test_a_stop_is_no_reason_to_break_in(void **state)
{
    struct console console;
    struct wire wire;

    (void)state;
    set_up(&console, &wire, LOG_NORMAL);
    atomic_store(&console.owner, 5);
    wire.act = be_away;
    wire.act_at = fake_now() + console.lock_ticks / 4;
    fake_on_time(act_in_time, &wire);
    put(console_say, &console, 1, "second");
    assert_string_equal(wire.text, "second\r\n");
}

static void be_taken_over(struct wire *wire)
{
    atomic_store(&wire->console->owner, 7);
}

static void test_does_not_give_back_what_was_taken(void **state)
{
    struct console console;
    struct wire wire;

    (void)state;
    set_up(&console, &wire, LOG_NORMAL);
    wire.act = be_taken_over;
    wire.act_at = 3;
    put(console_say, &console, 1, "slow");
    assert_int_equal(atomic_load(&console.owner), 7);
}

// Two wait for a dead one; the other is quicker at the very end.
static void lose_the_race(struct wire *wire)
{
    atomic_store(&wire->console->owner, 8);
    wire->act = let_go;
    wire->act_at = fake_now() + wire->console->lock_ticks / 2;
}

static void test_two_do_not_take_over_at_once(void **state)
{
    struct console console;
    struct wire wire;

    (void)state;
    set_up(&console, &wire, LOG_NORMAL);
    atomic_store(&console.owner, 5);
    wire.act = lose_the_race;
    // Moves: 1 starts the wait, then a pause, a look, a pause, a look... The look that finds the
    // wait over is this one, and it comes after `owner` was read as 5.
    wire.act_at = fake_now() + console.lock_ticks + 2000;
    fake_on_time(act_in_time, &wire);
    put(console_say, &console, 1, "ours");
    assert_string_equal(wire.text, "ours\r\n");
}

// A fault in the middle of a write: its line comes whole and at once, and the lock is free
// afterwards although the broken write never ends.
static void fault(struct wire *wire)
{
    wire->act = NULL;
    put(console_say, wire->console, 1, "CPU 1: page fault");
    put(console_record, wire->console, 1, "REVEILLE ev=fault");
    hw_halt();
}

static void test_fault_inside_a_write(void **state)
{
    struct console console;
    struct wire wire;
    const uint64_t before = 1000;

    (void)state;
    set_up(&console, &wire, LOG_NORMAL);
    wire.act = fault;
    wire.act_at = 8;
    FAKE_UNTIL_HALT(put(console_say, &console, 1, "Hello from CPU 1!"));
    put(console_say, &console, 2, "Hello from CPU 2!");
    assert_string_equal(wire.text, "Hello fr\r\nCPU 1: page fault\r\nREVEILLE ev=fault\r\n"
                                   "Hello from CPU 2!\r\n");
    assert_true(fake_now() - before < 100 * 1000);
}

static void test_goes_on_when_the_port_dies(void **state)
{
    struct console console;
    struct wire wire;

    (void)state;
    set_up(&console, &wire, LOG_NORMAL);
    console.sinks[SINK_SCREEN] = (struct console_sink){write_sink, &wire, NULL, NULL};
    fake_set_cell(FAKE_PORT8, PORT + 5, 0x00);
    fake_hook(FAKE_PORT8, PORT + 5, PORT + 5, NULL, NULL, NULL);
    put(console_say, &console, 0, "one");
    put(console_say, &console, 0, "two");
    assert_false(console.uart.present);
    assert_string_equal(wire.text, "");
    assert_string_equal(wire.sink, "one|two|");
    assert_int_equal(atomic_load(&console.owner), 0);
}

static void paint(void *context)
{
    (void)context;
    fake_note(1, 0);
}

// Pixels in write-combining memory wait in the processor: what is shown is drained, behind the
// last.
static void test_what_is_painted_is_drained(void **state)
{
    struct console console;
    struct wire wire;

    (void)state;
    set_up(&console, &wire, LOG_NORMAL);
    console.sinks[SINK_SCREEN] = (struct console_sink){write_sink, &wire, paint, NULL};
    console_flush(&console);
    FAKE_EXPECT_LOG({FAKE_NOTE, 1, 0, 0, 0}, {FAKE_DRAIN, 0, 0, 0, 0});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start),
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_a_line_that_changes),
        cmocka_unit_test(test_sink_without_port),
        cmocka_unit_test(test_firmware_is_cpu_0s_alone),
        cmocka_unit_test(test_without_sinks),
        cmocka_unit_test(test_let_go),
        cmocka_unit_test(test_full_line),
        cmocka_unit_test(test_waits_for_the_owner),
        cmocka_unit_test(test_takes_over_from_the_dead),
        cmocka_unit_test(test_a_queue_of_the_living_is_waited_for),
        cmocka_unit_test(test_a_stop_is_no_reason_to_break_in),
        cmocka_unit_test(test_does_not_give_back_what_was_taken),
        cmocka_unit_test(test_two_do_not_take_over_at_once),
        cmocka_unit_test(test_fault_inside_a_write),
        cmocka_unit_test(test_goes_on_when_the_port_dies),
        cmocka_unit_test(test_what_is_painted_is_drained),
    };

    return cmocka_run_group_tests_name("console", tests, NULL, NULL);
}
