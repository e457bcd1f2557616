// UART: port logs, literal, against a model of a 16550 that sends one character every so many ticks
// and fails the test when a character is written that it has no room for.
// Surprise: the model's clock is the fake's, so "how long" is exact and the same in every run.
#include "uart.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "failing.h"
#include "fake_hw.h"

#define PORT         UART_COM1
#define IER          0x0fu // as firmware leaves it
#define TICKS_PER_US 100u
#define CLOCK_START  1000000u

// 32 characters of 10 bits at 115200 baud, rounded up to whole microseconds.
#define STALL_TICKS      (100000u * TICKS_PER_US)
#define STUCK_STEP_TICKS 1000u
#define TIMEOUT_TICKS    (2778u * TICKS_PER_US + STALL_TICKS)

// What the model is, and what it has become.
struct model {
    bool has_scratch, no_loop, stuck, answers_zero;
    uint8_t iir_fifo;             // IIR bits 7:6 once the FIFO has been enabled
    uint64_t ticks_per_character; // 0: sends at once
    uint8_t ier, lcr, mcr, fcr, scratch;
    uint8_t had_ier; // as firmware left it
    uint16_t divisor;
    uint32_t queued;
    uint64_t head_done; // when the character in the shift register is out
    uint64_t stop_at;
    char sent[16384];
    size_t sent_count;
};

static void pass_time(struct model *model)
{
    while (model->queued > 0 && !model->stuck && fake_now() >= model->head_done) {
        model->queued--;
        model->head_done += model->ticks_per_character;
    }
}

static uint64_t line_status(struct model *model)
{
    pass_time(model);
    if (model->queued == 0) {
        return 0x60;
    }
    // The last one is in the shift register: there is room, but the line is not quiet.
    return model->queued == 1 && !model->stuck ? 0x20 : 0x00;
}

static uint64_t modem_status(const struct model *model)
{
    if ((model->mcr & 0x10) == 0 || model->no_loop) {
        return 0xb0;
    }
    return (uint64_t)((model->mcr & 0x0c) << 4 | (model->mcr & 0x01) << 5 |
                      (model->mcr & 0x02) << 3);
}

static uint64_t model_read(void *context, uint64_t address)
{
    struct model *model = context;
    const bool latch = (model->lcr & 0x80) != 0;

    if (model->answers_zero) {
        return 0;
    }
    switch (address - PORT) {
    case 0:
        return latch ? model->divisor & 0xffu : 0;
    case 1:
        return latch ? model->divisor >> 8u : model->ier;
    case 2:
        return (model->fcr & 1) != 0 ? model->iir_fifo | 1u : 1u;
    case 3:
        return model->lcr;
    case 4:
        return model->mcr;
    case 5:
        return line_status(model);
    case 6:
        return modem_status(model);
    case 7:
        return model->has_scratch ? model->scratch : 0x42;
    default:
        fake_fail("model: unexpected read of register %u", (unsigned)(address - PORT));
    }
}

static void take_character(struct model *model, char character)
{
    // The FIFO and the shift register; one and one without a working FIFO.
    const uint32_t room = (model->fcr & 1) != 0 && model->iir_fifo == 0xc0 ? 17 : 2;

    pass_time(model);
    if (model->queued == room) {
        fake_fail("model: character %zu written into a full FIFO", model->sent_count);
    }
    if (model->queued == 0) {
        model->head_done = fake_now() + model->ticks_per_character;
    }
    model->queued++;
    assert_true(model->sent_count < sizeof model->sent);
    model->sent[model->sent_count++] = character;
}

static void model_write(void *context, uint64_t address, uint64_t value)
{
    struct model *model = context;
    const bool latch = (model->lcr & 0x80) != 0;
    const uint8_t byte = (uint8_t)value;

    switch (address - PORT) {
    case 0:
        if (latch) {
            model->divisor = (uint16_t)((model->divisor & 0xff00) | byte);
        } else {
            take_character(model, (char)byte);
        }
        break;
    case 1:
        if (latch) {
            model->divisor = (uint16_t)((model->divisor & 0xff) | byte << 8);
        } else {
            assert_true(byte == 0 || byte == model->had_ier); // no interrupt but as it was
            model->ier = byte;
        }
        break;
    case 2:
        model->fcr = byte;
        break;
    case 3:
        model->lcr = byte;
        break;
    case 4:
        model->mcr = byte;
        break;
    case 7:
        model->scratch = byte;
        break;
    default:
        fake_fail("model: unexpected write of register %u", (unsigned)(address - PORT));
    }
}

// A 16550A as firmware leaves it, with interrupts on; tests change what they need before they open
// it.
static void plug_in(struct model *model)
{
    fake_reset();
    failures_fail_the_test();
    fake_start_clock(CLOCK_START, 10);
    fake_log_kinds(FAKE_IN8 | FAKE_OUT8);
    *model = (struct model){.has_scratch = true,
                            .iir_fifo = 0xc0,
                            .ier = IER,
                            .divisor = 1,
                            .mcr = 0x0b,
                            .scratch = 0x77,
                            .had_ier = IER};
    fake_hook(FAKE_PORT8, PORT, PORT + 7, model_read, model_write, model);
}

static void open_port(struct model *model, struct uart *uart)
{
    assert_int_equal(uart_open(uart, PORT, TICKS_PER_US), STATUS_OK);
    assert_true(uart->present);
    fake_log_clear();
    model->sent_count = 0;
}

static void test_open(void **state)
{
    struct model model;
    struct uart uart;

    (void)state;
    plug_in(&model);
    assert_int_equal(uart_open(&uart, PORT, TICKS_PER_US), STATUS_OK);
    FAKE_EXPECT_LOG({FAKE_IN8, 0x3fd, 0x60, 0, 0},  // LSR: not a floating bus
                    {FAKE_IN8, 0x3fb, 0x00, 0, 0},  // LCR
                    {FAKE_IN8, 0x3fc, 0x0b, 0, 0},  // MCR
                    {FAKE_IN8, 0x3ff, 0x77, 0, 0},  // SCR
                    {FAKE_OUT8, 0x3fb, 0x03, 0, 0}, // LCR: 8N1, DLAB off
                    {FAKE_IN8, 0x3f9, 0x0f, 0, 0},  // IER
                    {FAKE_OUT8, 0x3f9, 0x00, 0, 0}, // IER: nothing
                    {FAKE_OUT8, 0x3ff, 0x5a, 0, 0}, // SCR
                    {FAKE_IN8, 0x3ff, 0x5a, 0, 0},  //
                    {FAKE_OUT8, 0x3ff, 0xa5, 0, 0}, //
                    {FAKE_IN8, 0x3ff, 0xa5, 0, 0},  //
                    {FAKE_OUT8, 0x3fb, 0x83, 0, 0}, // LCR: DLAB on
                    {FAKE_IN8, 0x3f8, 0x01, 0, 0},  // DLL
                    {FAKE_IN8, 0x3f9, 0x00, 0, 0},  // DLM
                    {FAKE_OUT8, 0x3fb, 0x03, 0, 0}, // LCR: DLAB off
                    {FAKE_OUT8, 0x3fc, 0x03, 0, 0}, // MCR: DTR, RTS; no OUT2, no loop
                    {FAKE_IN8, 0x3fd, 0x60, 0, 0},  // LSR: firmware's last character is out
                    {FAKE_IN8, 0x3fa, 0x01, 0, 0},  // IIR: the FIFO is off
                    {FAKE_OUT8, 0x3fa, 0x07, 0, 0}, // FCR: on, both cleared
                    {FAKE_IN8, 0x3fa, 0xc1, 0, 0}); // IIR: a FIFO that works
    assert_true(uart.present);
    assert_int_equal(uart.port, PORT);
    assert_int_equal(uart.divisor, 1);
    assert_int_equal(uart.fifo_bytes, 16);
    assert_int_equal(uart.timeout_ticks, TIMEOUT_TICKS);
}

static void test_open_without_scratch(void **state)
{
    struct model model;
    struct uart uart;

    (void)state;
    plug_in(&model);
    model.has_scratch = false;
    fake_log_kinds(FAKE_OUT8);
    assert_int_equal(uart_open(&uart, PORT, TICKS_PER_US), STATUS_OK);
    FAKE_EXPECT_LOG({FAKE_OUT8, 0x3fb, 0x03, 0, 0}, {FAKE_OUT8, 0x3f9, 0x00, 0, 0},
                    {FAKE_OUT8, 0x3ff, 0x5a, 0, 0}, //
                    {FAKE_OUT8, 0x3fc, 0x1a, 0, 0}, // loop, RTS, OUT2
                    {FAKE_OUT8, 0x3fc, 0x15, 0, 0}, // loop, DTR, OUT1
                    {FAKE_OUT8, 0x3fb, 0x83, 0, 0}, {FAKE_OUT8, 0x3fb, 0x03, 0, 0}, //
                    {FAKE_OUT8, 0x3fc, 0x03, 0, 0},                                 // loop ends
                    {FAKE_OUT8, 0x3fa, 0x07, 0, 0});
    assert_true(uart.present);
}

static void test_absent_floating(void **state)
{
    struct model model;
    struct uart uart;

    (void)state;
    plug_in(&model);
    fake_set_cell(FAKE_PORT8, PORT + 5, 0xff);
    fake_hook(FAKE_PORT8, PORT, PORT + 7, NULL, NULL, NULL);
    assert_int_equal(uart_open(&uart, PORT, TICKS_PER_US), STATUS_NOT_FOUND);
    FAKE_EXPECT_LOG({FAKE_IN8, 0x3fd, 0xff, 0, 0}); // and nothing written
    assert_false(uart.present);
    fake_log_clear();
    assert_int_equal(uart_write(&uart, "abc", 3), STATUS_OK);
    uart_drain(&uart);
    fake_expect_log(__FILE__, __LINE__, NULL, 0);
}

static void test_absent_zero(void **state)
{
    struct model model;
    struct uart uart;

    (void)state;
    plug_in(&model);
    model.answers_zero = true;
    assert_int_equal(uart_open(&uart, PORT, TICKS_PER_US), STATUS_NOT_FOUND);
    FAKE_EXPECT_LOG({FAKE_IN8, 0x3fd, 0x00, 0, 0}, {FAKE_IN8, 0x3fb, 0x00, 0, 0},
                    {FAKE_IN8, 0x3fc, 0x00, 0, 0}, {FAKE_IN8, 0x3ff, 0x00, 0, 0},
                    {FAKE_OUT8, 0x3fb, 0x03, 0, 0}, {FAKE_IN8, 0x3f9, 0x00, 0, 0},
                    {FAKE_OUT8, 0x3f9, 0x00, 0, 0}, {FAKE_OUT8, 0x3ff, 0x5a, 0, 0},
                    {FAKE_IN8, 0x3ff, 0x00, 0, 0}, {FAKE_OUT8, 0x3fc, 0x1a, 0, 0},
                    {FAKE_IN8, 0x3fe, 0x00, 0, 0}, // no UART: all as it was
                    {FAKE_OUT8, 0x3ff, 0x00, 0, 0}, {FAKE_OUT8, 0x3fc, 0x00, 0, 0},
                    {FAKE_OUT8, 0x3f9, 0x00, 0, 0}, {FAKE_OUT8, 0x3fb, 0x00, 0, 0});
    assert_false(uart.present);
    fake_log_clear();
    assert_int_equal(uart_write(&uart, "abc", 3), STATUS_OK);
    fake_expect_log(__FILE__, __LINE__, NULL, 0);
}

// A register that happens to read as the first pattern does not make a UART.
static uint64_t read_5a(void *context, uint64_t address)
{
    (void)context;
    (void)address;
    return 0x5a;
}

static void test_absent_constant(void **state)
{
    struct model model;
    struct uart uart;

    (void)state;
    plug_in(&model);
    model.had_ier = 0x5a;
    fake_hook(FAKE_PORT8, PORT, PORT + 7, read_5a, model_write, &model);
    assert_int_equal(uart_open(&uart, PORT, TICKS_PER_US), STATUS_NOT_FOUND);
    assert_false(uart.present);
}

static void test_port_beyond_the_last(void **state)
{
    struct uart uart;

    (void)state;
    fake_reset(); // nothing there: any access fails
    failures_fail_the_test();
    assert_int_equal(uart_open(&uart, 0xfff9, TICKS_PER_US), STATUS_NOT_FOUND);
    assert_false(uart.present);
}

static void check_divisor(uint16_t left, uint16_t expected)
{
    struct model model;
    struct uart uart;

    plug_in(&model);
    model.divisor = left;
    assert_int_equal(uart_open(&uart, PORT, TICKS_PER_US), STATUS_OK);
    assert_int_equal(model.divisor, expected);
    assert_int_equal(uart.divisor, expected);
    assert_int_equal(model.lcr, 0x03);
    assert_int_equal(uart.timeout_ticks,
                     (uint64_t)(TIMEOUT_TICKS - STALL_TICKS) * expected + STALL_TICKS);
}

static void test_divisors(void **state)
{
    static const uint16_t kept[] = {1, 2, 3, 6, 12, 24, 48, 96};
    static const uint16_t replaced[] = {0, 97, 0x100, 0x101, 0x180, 0xffff};

    (void)state;
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++) {
        check_divisor(kept[i], kept[i]);
    }
    for (size_t i = 0; i < sizeof replaced / sizeof replaced[0]; i++) {
        check_divisor(replaced[i], 1);
    }
}

static size_t first_write(uint64_t address)
{
    size_t at = 0;
    while (fake_log_at(at)->kind != FAKE_OUT8 || fake_log_at(at)->address != address)
        at++;
    return at;
}

// Nothing of firmware's last line is cleared away with the FIFO.
static void test_open_lets_firmware_finish(void **state)
{
    struct model model;
    struct uart uart;

    (void)state;
    plug_in(&model);
    model.ticks_per_character = 87 * TICKS_PER_US;
    for (uint32_t i = 0; i < 2; i++) {
        take_character(&model, 'f');
    }
    assert_int_equal(uart_open(&uart, PORT, TICKS_PER_US), STATUS_OK);
    const size_t clear = first_write(PORT + 2);
    assert_int_equal(fake_log_at(clear - 2)->value, 0x60);
    assert_true(fake_log_at(clear)->tsc - 1000000 >= 2 * model.ticks_per_character);
}

// The clock takes longer steps from here on: each look at a port that never answers is an event.
static void get_stuck(struct model *model)
{
    model->stuck = true;
    fake_start_clock(fake_now(), STUCK_STEP_TICKS);
}

static void test_open_with_stuck_transmitter(void **state)
{
    struct model model;
    struct uart uart;

    (void)state;
    plug_in(&model);
    take_character(&model, 'f');
    get_stuck(&model);
    assert_int_equal(uart_open(&uart, PORT, TICKS_PER_US), STATUS_TIMEOUT);
    assert_false(uart.present);
    fake_log_clear();
    assert_int_equal(uart_write(&uart, "abc", 3), STATUS_OK);
    fake_expect_log(__FILE__, __LINE__, NULL, 0);
}

static void test_write_fills_the_fifo(void **state)
{
    static const char text[] = "The quick brown fox jumps over the lazy dog";
    const size_t length = sizeof text - 1;
    struct fake_expected expected[64];
    struct model model;
    struct uart uart;
    size_t count = 0;

    (void)state;
    plug_in(&model);
    open_port(&model, &uart);
    assert_int_equal(uart_write(&uart, text, length), STATUS_OK);
    for (size_t i = 0; i < length; i++) {
        if (i % 16 == 0) {
            expected[count++] = (struct fake_expected){FAKE_IN8, 0x3fd, 0x60, 0, 0};
        }
        expected[count++] = (struct fake_expected){FAKE_OUT8, 0x3f8, (uint8_t)text[i], 0, 0};
    }
    fake_expect_log(__FILE__, __LINE__, expected, count);
    assert_memory_equal(model.sent, text, length);
}

static void test_write_without_fifo(void **state)
{
    static const uint8_t kinds[] = {0x00, 0x80}; // 8250 and 16450; the first 16550

    (void)state;
    for (size_t i = 0; i < sizeof kinds; i++) {
        struct model model;
        struct uart uart;

        plug_in(&model);
        model.iir_fifo = kinds[i];
        open_port(&model, &uart);
        assert_int_equal(uart.fifo_bytes, 1);
        assert_int_equal(model.fcr, 0);
        assert_int_equal(uart_write(&uart, "abc", 3), STATUS_OK);
        FAKE_EXPECT_LOG({FAKE_IN8, 0x3fd, 0x60, 0, 0}, {FAKE_OUT8, 0x3f8, 'a', 0, 0},
                        {FAKE_IN8, 0x3fd, 0x60, 0, 0}, {FAKE_OUT8, 0x3f8, 'b', 0, 0},
                        {FAKE_IN8, 0x3fd, 0x60, 0, 0}, {FAKE_OUT8, 0x3f8, 'c', 0, 0});
    }
}

// A real line rate: the model fails on a character too many, and none may be lost or out of order.
static void check_paced(uint8_t iir_fifo, uint16_t divisor)
{
    char text[500];
    struct model model;
    struct uart uart;

    for (size_t i = 0; i < sizeof text; i++) {
        text[i] = (char)(' ' + i % 95);
    }
    plug_in(&model);
    fake_log_kinds(0);
    model.iir_fifo = iir_fifo;
    model.divisor = divisor;
    model.ticks_per_character = 87ull * TICKS_PER_US * divisor;
    open_port(&model, &uart);
    assert_int_equal(uart_write(&uart, text, sizeof text), STATUS_OK);
    assert_true(uart.present);
    assert_int_equal(model.sent_count, sizeof text);
    assert_memory_equal(model.sent, text, sizeof text);
    assert_int_not_equal(line_status(&model), 0x60);
    uart_drain(&uart);
    assert_true(uart.present);
    assert_int_equal(line_status(&model), 0x60);
}

static void test_write_at_line_rate(void **state)
{
    (void)state;
    check_paced(0xc0, 1);
    check_paced(0xc0, 96);
    check_paced(0x00, 1);
    check_paced(0x00, 96);
}

static void test_stuck_port_is_dropped(void **state)
{
    struct model model;
    struct uart uart;
    uint64_t before;

    (void)state;
    plug_in(&model);
    open_port(&model, &uart);
    get_stuck(&model);
    before = fake_now();
    assert_int_equal(uart_write(&uart, "0123456789abcdefXYZ", 19), STATUS_TIMEOUT);
    assert_false(uart.present);
    assert_int_equal(model.sent_count, 16); // X, Y and Z are lost
    assert_true(fake_now() - before > TIMEOUT_TICKS);
    assert_true(fake_now() - before < TIMEOUT_TICKS + 20 * STUCK_STEP_TICKS);

    fake_log_clear();
    before = fake_now();
    assert_int_equal(uart_write(&uart, "more", 4), STATUS_OK);
    uart_drain(&uart);
    fake_expect_log(__FILE__, __LINE__, NULL, 0);
    assert_int_equal(fake_now(), before);
}

static void test_drain_drops_a_stuck_port(void **state)
{
    struct model model;
    struct uart uart;

    (void)state;
    plug_in(&model);
    open_port(&model, &uart);
    get_stuck(&model);
    assert_int_equal(uart_write(&uart, "0123", 4), STATUS_OK);
    uart_drain(&uart);
    assert_false(uart.present);
}

// A processor that was away (SMI, a hypervisor) for longer than the wait looks once more before it
// gives up.
static void go_away(void *context, uint64_t now)
{
    uint32_t *moves_left = context;

    if (*moves_left > 0 && --*moves_left == 0) {
        fake_start_clock(now + 10 * TIMEOUT_TICKS, 10);
    }
}

static void test_absence_is_not_a_timeout(void **state)
{
    (void)state;
    for (uint32_t move = 1; move <= 6; move++) {
        uint32_t moves_left = move;
        struct model model;
        struct uart uart;

        plug_in(&model);
        open_port(&model, &uart);
        model.ticks_per_character = 87 * TICKS_PER_US;
        assert_int_equal(uart_write(&uart, "0123456789abcdef", 16), STATUS_OK);
        fake_on_time(go_away, &moves_left);
        assert_int_equal(uart_write(&uart, "ghi", 3), STATUS_OK);
        assert_int_equal(moves_left, 0);
        assert_int_equal(model.sent_count, 19);
        assert_true(uart.present);
    }
}

// A guest that is stopped as a whole: its port has not moved either.
static void stand_still(void *context, uint64_t now)
{
    struct model *model = context;

    if (now > model->stop_at) {
        model->stop_at = UINT64_MAX;
        model->head_done += 10 * TIMEOUT_TICKS;
        fake_start_clock(now + 10 * TIMEOUT_TICKS, 10);
    }
}

static void test_a_stopped_guest_keeps_its_port(void **state)
{
    (void)state;
    for (uint64_t us = 1; us < 1500; us += 100) {
        struct model model;
        struct uart uart;

        plug_in(&model);
        open_port(&model, &uart);
        fake_log_kinds(0);
        model.ticks_per_character = 87 * TICKS_PER_US;
        assert_int_equal(uart_write(&uart, "0123456789abcdef", 16), STATUS_OK);
        model.stop_at = fake_now() + us * TICKS_PER_US;
        fake_on_time(stand_still, &model);
        assert_int_equal(uart_write(&uart, "ghi", 3), STATUS_OK);
        assert_true(us > 1400 || model.stop_at == UINT64_MAX);
        assert_int_equal(model.sent_count, 19);
    }
}

// A port that crawls, each wait just within its time-out. How much of it comes out?
static size_t crawl(struct uart *uart, struct model *model, uint8_t iir_fifo, uint16_t divisor,
                    uint64_t limit)
{
    static char text[511];

    memset(text, 'x', sizeof text);
    plug_in(model);
    model->iir_fifo = iir_fifo;
    model->divisor = divisor;
    open_port(model, uart);
    fake_log_kinds(0);
    fake_start_clock(fake_now(), TICKS_PER_US * 100);
    model->ticks_per_character = (uart->timeout_ticks - 1000u * TICKS_PER_US) / uart->fifo_bytes;
    if (limit != 0)
        uart_limit_waits(uart, limit);
    (void)uart_write(uart, text, sizeof text);
    return model->sent_count;
}

// The longest write of all is a bound, and no honest port is slow enough to meet it.
static void test_a_crawling_port_is_dropped(void **state)
{
    const uint64_t most_us = (511 + 16) * 8334 + 32 * 8334 + 100000;
    struct model model;
    struct uart uart;

    (void)state;
    assert_int_equal(UART_WRITE_US_MAX(511), most_us);
    assert_int_equal(crawl(&uart, &model, 0xc0, 1, 0), 511); // 102 ms for each load: 3.3 s
    assert_true(uart.present);
    assert_in_range(crawl(&uart, &model, 0x00, 1, 0), 40, 60);
    assert_false(uart.present);
    assert_in_range(fake_now() - CLOCK_START, (most_us - 400000) * TICKS_PER_US,
                    (most_us + 10000) * TICKS_PER_US);
    assert_in_range(crawl(&uart, &model, 0xc0, 96, 0), 100, 300);
    assert_false(uart.present);
    assert_in_range(fake_now() - CLOCK_START, (most_us - 400000) * TICKS_PER_US,
                    (most_us + 10000) * TICKS_PER_US);
}

// All waits of a run together have a bound, too; who never waits never meets it.
static void test_all_waits_have_a_bound(void **state)
{
    const uint64_t limit = 1000000u * TICKS_PER_US;
    struct model model;
    struct uart uart;

    (void)state;
    assert_in_range(crawl(&uart, &model, 0xc0, 1, limit), 9 * 16, 11 * 16);
    assert_false(uart.present);
    assert_in_range(fake_now() - CLOCK_START, limit, limit + limit / 10);

    plug_in(&model);
    open_port(&model, &uart);
    uart_limit_waits(&uart, 1);
    for (uint32_t i = 0; i < 1000; i++)
        assert_int_equal(uart_write(&uart, "0123", 4), STATUS_OK);
    uart_drain(&uart);
    assert_true(uart.present);
}

// ---- given back ----

// Everything in the model that is a register, but what is sent.
static void assert_same_registers(const struct model *now, const struct model *before)
{
    assert_int_equal(now->ier, before->ier);
    assert_int_equal(now->lcr, before->lcr);
    assert_int_equal(now->mcr, before->mcr);
    assert_int_equal(now->fcr, before->fcr);
    assert_int_equal(now->scratch, before->scratch);
    assert_int_equal(now->divisor, before->divisor);
}

static void check_close(const struct model *firmwares)
{
    struct model model;
    struct uart uart;

    plug_in(&model);
    model = *firmwares;
    model.had_ier = model.ier;
    assert_int_equal(uart_open(&uart, PORT, TICKS_PER_US), STATUS_OK);
    assert_int_equal(model.ier, 0);
    assert_int_equal(model.lcr, 0x03);
    assert_int_equal(model.mcr, 0x03);
    assert_int_equal(uart_write(&uart, "abc", 3), STATUS_OK);
    uart_close(&uart);
    assert_memory_equal(model.sent, "abc", 3);
    assert_same_registers(&model, firmwares);
    assert_false(uart.present);
    fake_log_clear();
    assert_int_equal(uart_write(&uart, "more", 4), STATUS_OK);
    uart_close(&uart); // once
    fake_expect_log(__FILE__, __LINE__, NULL, 0);
}

static void test_every_register_is_given_back(void **state)
{
    static const struct model firmwares[] = {
        {.has_scratch = true, .iir_fifo = 0xc0, .ier = IER, .divisor = 1, .mcr = 0x0b},
        {.has_scratch = true, .iir_fifo = 0xc0, .lcr = 0x1b, .divisor = 12, .scratch = 0x77},
        {.has_scratch = true,
         .iir_fifo = 0xc0,
         .fcr = 0xc1,
         .lcr = 0x03,
         .divisor = 1},                                                     // its level
        {.has_scratch = true, .iir_fifo = 0x80, .fcr = 0x01, .divisor = 1}, // a FIFO that is broken
        {.has_scratch = true,
         .iir_fifo = 0xc0,
         .divisor = 0,
         .mcr = 0x10}, // never set up, in loopback
        {.has_scratch = true, .iir_fifo = 0xc0, .lcr = 0x83, .divisor = 0x1234, .ier = IER},
        {.has_scratch = false,
         .iir_fifo = 0x00,
         .divisor = 3,
         .mcr = 0x2b,
         .scratch = 0x42}, // an 8250
    };

    (void)state;
    for (size_t i = 0; i < sizeof firmwares / sizeof firmwares[0]; i++)
        check_close(&firmwares[i]);
}

// What firmware has received and not read yet is in the FIFO.
static void test_a_fifo_that_is_on_is_left_alone(void **state)
{
    struct model model;
    struct uart uart;

    (void)state;
    plug_in(&model);
    model.fcr = 0xc1;
    fake_log_kinds(FAKE_OUT8);
    assert_int_equal(uart_open(&uart, PORT, TICKS_PER_US), STATUS_OK);
    assert_int_equal(uart.fifo_bytes, 16);
    uart_close(&uart);
    for (size_t i = 0; i < fake_log_count(); i++)
        assert_int_not_equal(fake_log_at(i)->address, PORT + 2);
}

// Not before the last character is out: a FIFO that is switched off loses what it holds.
static void test_close_drains(void **state)
{
    struct model model;
    struct uart uart;

    (void)state;
    plug_in(&model);
    model.ticks_per_character = 87 * TICKS_PER_US;
    open_port(&model, &uart);
    assert_int_equal(uart_write(&uart, "0123456789", 10), STATUS_OK);
    fake_log_clear();
    uart_close(&uart);
    assert_int_equal(fake_log_at(first_write(PORT + 2) - 1)->value, 0x60);
}

static void test_a_port_that_was_dropped_is_given_back(void **state)
{
    struct model model;
    struct uart uart;

    (void)state;
    plug_in(&model);
    const struct model firmwares = model;
    open_port(&model, &uart);
    get_stuck(&model);
    assert_int_equal(uart_write(&uart, "0123456789abcdefXYZ", 19), STATUS_TIMEOUT);
    fake_log_kinds(FAKE_OUT8);
    fake_log_clear();
    uart_close(&uart);
    assert_same_registers(&model, &firmwares);
    assert_true(fake_log_count() < 10); // no wait for it
}

static void test_a_probe_that_finds_nothing_leaves_all_as_it_was(void **state)
{
    struct model model;
    struct uart uart;

    (void)state;
    plug_in(&model);
    model.divisor = 0;
    take_character(&model, 'f');
    get_stuck(&model);
    struct model firmwares = model;
    assert_int_equal(uart_open(&uart, PORT, TICKS_PER_US), STATUS_TIMEOUT);
    assert_same_registers(&model, &firmwares);

    plug_in(&model);
    model.has_scratch = false;
    model.no_loop = true; // some other device's registers
    model.divisor = 0;
    model.scratch = 0;
    firmwares = model;
    assert_int_equal(uart_open(&uart, PORT, TICKS_PER_US), STATUS_NOT_FOUND);
    firmwares.scratch = 0x42; // as it reads
    assert_same_registers(&model, &firmwares);
    uart_close(&uart);
}

#define MMIO 0xfe030000u

// Device memory: the same model, a register every 4 bytes.
static uint64_t mmio_read(void *context, uint64_t address)
{
    return model_read(context, PORT + (address - MMIO) / 4);
}

static void mmio_write(void *context, uint64_t address, uint64_t value)
{
    model_write(context, PORT + (address - MMIO) / 4, value);
}

static void test_device_memory(void **state)
{
    static const struct uart_place places[] = {
        {MMIO, 4, 4, 115200}, {MMIO, 4, 1, 9600}, {MMIO, 4, 4, 0}};
    struct model model;
    struct uart uart;

    (void)state;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        plug_in(&model);
        model.divisor = 0x1234; // of another clock: never written
        fake_hook(FAKE_MMIO, MMIO, MMIO + 31, mmio_read, mmio_write, &model);
        assert_int_equal(uart_open_at(&uart, &places[i], TICKS_PER_US), STATUS_OK);
        assert_int_equal(model.divisor, 0x1234);
        assert_int_equal(uart.divisor, 96); // the longest wait
        assert_int_equal(uart_write(&uart, "hello", 5), STATUS_OK);
        assert_memory_equal(model.sent, "hello", 5);
        assert_int_equal(model.lcr, 0x03);
        uart_close(&uart);
        assert_int_equal(model.lcr, 0x00);
        assert_int_equal(model.ier, IER);
        assert_int_equal(model.divisor, 0x1234);
        for (size_t event = 0; event < fake_log_count(); event++)
            assert_true(fake_log_at(event)->address < 0x100 || fake_log_at(event)->address >= MMIO);
    }
}

static void test_a_rate_that_is_not_known_is_left_alone(void **state)
{
    const struct uart_place as_it_is = {.base = PORT, .baud = 0},
                            slow = {.base = PORT, .baud = 9600};
    struct model model;
    struct uart uart;

    (void)state;
    plug_in(&model);
    model.divisor = 0;
    assert_int_equal(uart_open_at(&uart, &as_it_is, TICKS_PER_US), STATUS_OK);
    assert_int_equal(model.divisor, 0);
    plug_in(&model);
    model.divisor = 0;
    assert_int_equal(uart_open_at(&uart, &slow, TICKS_PER_US), STATUS_OK);
    assert_int_equal(model.divisor, 12);
}

static void test_stuck_device_memory_is_dropped(void **state)
{
    const struct uart_place place = {MMIO, 4, 4, 115200};
    struct model model;
    struct uart uart;

    (void)state;
    plug_in(&model);
    fake_hook(FAKE_MMIO, MMIO, MMIO + 31, mmio_read, mmio_write, &model);
    assert_int_equal(uart_open_at(&uart, &place, TICKS_PER_US), STATUS_OK);
    model.stuck = true;
    fake_start_clock(1000000, STUCK_STEP_TICKS);
    assert_int_equal(uart_write(&uart, "0123456789abcdef0123", 20), STATUS_TIMEOUT);
    assert_false(uart.present);
}

static void test_the_debug_console(void **state)
{
    struct uart uart;

    (void)state;
    fake_reset();
    failures_fail_the_test();
    fake_set_cell(FAKE_PORT8, 0xe9, 0xff);
    assert_int_equal(uart_open_debug_console(&uart), STATUS_NOT_FOUND);
    assert_int_equal(uart_write(&uart, "lost", 4), STATUS_OK);
    fake_set_cell(FAKE_PORT8, 0xe9, 0xe9);
    assert_int_equal(uart_open_debug_console(&uart), STATUS_OK);
    fake_log_clear();
    assert_int_equal(uart_write(&uart, "hi", 2), STATUS_OK);
    uart_drain(&uart);
    FAKE_EXPECT_LOG({FAKE_OUT8, 0xe9, 'h', 0, 0}, {FAKE_OUT8, 0xe9, 'i', 0, 0});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open),
        cmocka_unit_test(test_open_without_scratch),
        cmocka_unit_test(test_absent_floating),
        cmocka_unit_test(test_absent_zero),
        cmocka_unit_test(test_absent_constant),
        cmocka_unit_test(test_port_beyond_the_last),
        cmocka_unit_test(test_divisors),
        cmocka_unit_test(test_open_lets_firmware_finish),
        cmocka_unit_test(test_open_with_stuck_transmitter),
        cmocka_unit_test(test_write_fills_the_fifo),
        cmocka_unit_test(test_write_without_fifo),
        cmocka_unit_test(test_write_at_line_rate),
        cmocka_unit_test(test_stuck_port_is_dropped),
        cmocka_unit_test(test_drain_drops_a_stuck_port),
        cmocka_unit_test(test_absence_is_not_a_timeout),
        cmocka_unit_test(test_a_stopped_guest_keeps_its_port),
        cmocka_unit_test(test_a_crawling_port_is_dropped),
        cmocka_unit_test(test_all_waits_have_a_bound),
        cmocka_unit_test(test_every_register_is_given_back),
        cmocka_unit_test(test_a_fifo_that_is_on_is_left_alone),
        cmocka_unit_test(test_close_drains),
        cmocka_unit_test(test_a_port_that_was_dropped_is_given_back),
        cmocka_unit_test(test_a_probe_that_finds_nothing_leaves_all_as_it_was),
        cmocka_unit_test(test_device_memory),
        cmocka_unit_test(test_a_rate_that_is_not_known_is_left_alone),
        cmocka_unit_test(test_stuck_device_memory_is_dropped),
        cmocka_unit_test(test_the_debug_console),
    };

    return cmocka_run_group_tests_name("uart", tests, NULL, NULL);
}
