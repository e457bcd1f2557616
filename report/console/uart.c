// UART: a 16550 and its elders, polled, behind I/O ports or in device memory. Register names as in
// the PC16550D data sheet. Surprises: nothing is written before a first read proves that the bus
// does not float, and a wait is measured in time that was watched (watch.h), so that a processor
// that was stopped in between (SMI, a hypervisor) does not take its own absence for the port's.
#include "uart.h"

#include "hw.h"
#include "watch.h"

// Registers, in strides from the base. With LCR.DLAB set, 0 and 1 are the divisor latch instead.
#define REGISTER_DATA           0u // THR
#define REGISTER_INTERRUPTS     1u // IER
#define REGISTER_IDENTIFICATION 2u // IIR, read
#define REGISTER_FIFO_CONTROL   2u // FCR, written
#define REGISTER_LINE_CONTROL   3u // LCR
#define REGISTER_MODEM_CONTROL  4u // MCR
#define REGISTER_LINE_STATUS    5u // LSR
#define REGISTER_MODEM_STATUS   6u // MSR
#define REGISTER_SCRATCH        7u // SCR; not in an 8250
#define REGISTER_LAST           7u

#define REGISTER_DIVISOR_LOW  0u // DLL
#define REGISTER_DIVISOR_HIGH 1u // DLM

#define IER_NONE 0x00u

// Both bits: FIFOs on and working. The first 16550 shows bit 7 alone, and its FIFO loses
// characters.
#define IIR_FIFO 0xc0u

#define FCR_OFF      0x00u
#define FCR_ENABLE   0x01u
#define FCR_CLEAR_RX 0x02u
#define FCR_CLEAR_TX 0x04u

#define LCR_8N1  0x03u
#define LCR_DLAB 0x80u

#define MCR_DTR  0x01u
#define MCR_RTS  0x02u
#define MCR_OUT1 0x04u
#define MCR_OUT2 0x08u // in a PC also the gate to the interrupt line
#define MCR_LOOP 0x10u

#define LSR_THRE     0x20u // transmitter holding register, or FIFO, empty
#define LSR_TEMT     0x40u // shift register empty too
#define LSR_FLOATING 0xffu

// In loopback the four outputs come back as the four inputs.
#define MSR_INPUTS 0xf0u
#define MSR_CTS    0x10u // from RTS
#define MSR_DSR    0x20u // from DTR
#define MSR_RI     0x40u // from OUT1
#define MSR_DCD    0x80u // from OUT2

#define FIFO_BYTES 16u

#define DIVISOR_MAX (UART_BAUD_MAX / UART_BAUD_MIN)

// UART_TIMEOUT_CHARACTERS at divisor 1, rounded up: 32 * 10 bits / 115200 baud = 2778 us.
#define TIMEOUT_US_PER_DIVISOR                                                            \
    ((UART_TIMEOUT_CHARACTERS * UART_BITS_PER_CHARACTER * 1000000u + UART_BAUD_MAX - 1) / \
     UART_BAUD_MAX)

_Static_assert(UART_TIMEOUT_CHARACTERS == 2 * FIFO_BYTES, "a wait is a FIFO load, twice over");

static uint8_t read_register(const struct uart *uart, uint32_t offset)
{
    const uint64_t at = uart->mmio + (uint64_t)offset * uart->stride;

    if (uart->mmio == 0)
        return hw_in8((uint16_t)(uart->port + offset));
    return uart->access == 4 ? (uint8_t)hw_mmio_read32(at) : hw_mmio_read8(at);
}

static void write_register(const struct uart *uart, uint32_t offset, uint32_t value)
{
    const uint64_t at = uart->mmio + (uint64_t)offset * uart->stride;

    if (uart->mmio == 0)
        hw_out8((uint16_t)(uart->port + offset), (uint8_t)value);
    else if (uart->access == 4)
        hw_mmio_write32(at, (uint8_t)value);
    else
        hw_mmio_write8(at, (uint8_t)value);
}

static bool is_debug_console(const struct uart *uart)
{
    return uart->mmio == 0 && uart->port == UART_DEBUG_CONSOLE;
}

// Waits one time-out at most, and no longer than `left`, from which it takes what it waited.
static bool wait_for_line_status(const struct uart *uart, uint32_t bit, uint64_t *left)
{
    if (is_debug_console(uart))
        return true; // it takes everything at once
    const uint64_t most = *left < uart->timeout_ticks ? *left : uart->timeout_ticks;
    struct watch watch = watch_start(hw_tsc(), most);

    for (;;) {
        const bool late = watch_is_over(&watch, hw_tsc());

        if ((read_register(uart, REGISTER_LINE_STATUS) & bit) != 0) {
            *left -= watch.watched;
            return true;
        }
        if (late) {
            return false;
        }
        hw_pause();
    }
}

// Two complementary patterns: a port that always reads the same passes at most one.
static bool scratch_holds(const struct uart *uart)
{
    static const uint8_t patterns[] = {0x5a, 0xa5};

    for (size_t i = 0; i < sizeof patterns; i++) {
        write_register(uart, REGISTER_SCRATCH, patterns[i]);
        if (read_register(uart, REGISTER_SCRATCH) != patterns[i]) {
            return false;
        }
    }
    return true;
}

static bool loopback_answers(const struct uart *uart)
{
    static const struct {
        uint8_t outputs, inputs;
    } pairs[] = {
        {MCR_RTS | MCR_OUT2, MSR_CTS | MSR_DCD},
        {MCR_DTR | MCR_OUT1, MSR_DSR | MSR_RI},
    };

    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        write_register(uart, REGISTER_MODEM_CONTROL, MCR_LOOP | pairs[i].outputs);
        if ((read_register(uart, REGISTER_MODEM_STATUS) & MSR_INPUTS) != pairs[i].inputs) {
            return false;
        }
    }
    return true;
}

// With LCR.DLAB set.
static void write_divisor(const struct uart *uart, uint32_t divisor)
{
    write_register(uart, REGISTER_DIVISOR_LOW, divisor & 0xffu);
    write_register(uart, REGISTER_DIVISOR_HIGH, divisor >> 8);
}

// `baud` 0: the divisor is only read, for the length of the waits.
static void take_divisor(struct uart *uart, uint32_t baud)
{
    uint32_t divisor;

    write_register(uart, REGISTER_LINE_CONTROL, LCR_DLAB | LCR_8N1);
    divisor = read_register(uart, REGISTER_DIVISOR_LOW);
    divisor |= (uint32_t)read_register(uart, REGISTER_DIVISOR_HIGH) << 8;
    uart->before.divisor = (uint16_t)divisor;
    if (baud == 0 || uart->mmio != 0) {
        divisor = divisor < 1 || divisor > DIVISOR_MAX ? DIVISOR_MAX : divisor;
    } else if (divisor < 1 || divisor > DIVISOR_MAX) {
        divisor = UART_BAUD_MAX / baud;
        write_divisor(uart, divisor);
        uart->before.divisor_written = true;
    }
    write_register(uart, REGISTER_LINE_CONTROL, LCR_8N1);
    uart->divisor = (uint16_t)divisor;
}

static uint8_t read_fifo(const struct uart *uart)
{
    return read_register(uart, REGISTER_IDENTIFICATION) & IIR_FIFO;
}

// FIFOs that are on stay as they are, with what firmware has received in them and with its trigger
// level, which cannot be read.
static void start_fifo(struct uart *uart)
{
    uart->before.fifo = read_fifo(uart);
    uart->fifo_bytes = FIFO_BYTES;
    if (uart->before.fifo == IIR_FIFO) {
        return;
    }
    uart->before.fifo_written = true;
    write_register(uart, REGISTER_FIFO_CONTROL, FCR_ENABLE | FCR_CLEAR_RX | FCR_CLEAR_TX);
    if (read_fifo(uart) != IIR_FIFO) {
        write_register(uart, REGISTER_FIFO_CONTROL, FCR_OFF);
        uart->fifo_bytes = 1;
    }
}

// To be undone in this order: DLAB hides IER, and LCR.DLAB may have been set before.
static void write_back(const struct uart *uart)
{
    const struct uart_registers *before = &uart->before;

    if (before->fifo_written) {
        write_register(uart, REGISTER_FIFO_CONTROL, before->fifo != 0 ? FCR_ENABLE : FCR_OFF);
    }
    if (before->divisor_written) {
        write_register(uart, REGISTER_LINE_CONTROL, LCR_DLAB | LCR_8N1);
        write_divisor(uart, before->divisor);
        write_register(uart, REGISTER_LINE_CONTROL, LCR_8N1);
    }
    write_register(uart, REGISTER_SCRATCH, before->scratch);
    write_register(uart, REGISTER_MODEM_CONTROL, before->modem);
    write_register(uart, REGISTER_INTERRUPTS, before->interrupts);
    write_register(uart, REGISTER_LINE_CONTROL, before->line);
}

void uart_set_rate(struct uart *uart, uint64_t ticks_per_us)
{
    uart->timeout_ticks = (uart->divisor * TIMEOUT_US_PER_DIVISOR + UART_STALL_US) * ticks_per_us;
    uart->character_ticks = UART_CHARACTER_US_MAX * ticks_per_us;
}

void uart_limit_waits(struct uart *uart, uint64_t ticks)
{
    uart->waits_most = ticks;
    uart->waited = 0;
}

// What all waits from now on may take.
static uint64_t patience_of(const struct uart *uart)
{
    if (uart->waits_most == 0)
        return UINT64_MAX;
    return uart->waited < uart->waits_most ? uart->waits_most - uart->waited : 0;
}

enum status uart_open(struct uart *uart, uint16_t port, uint64_t ticks_per_us)
{
    const struct uart_place place = {.base = port, .baud = UART_BAUD_MAX};
    return uart_open_at(uart, &place, ticks_per_us);
}

enum status uart_open_debug_console(struct uart *uart)
{
    *uart = (struct uart){.port = UART_DEBUG_CONSOLE, .divisor = 1, .fifo_bytes = 1};
    uart->present = hw_in8(UART_DEBUG_CONSOLE) == UART_DEBUG_CONSOLE;
    return uart->present ? STATUS_OK : STATUS_NOT_FOUND;
}

// What stands in the registers, and then a line without interrupts. DLAB first: while it is set,
// the interrupt enables are hidden behind the divisor.
static void take_registers(struct uart *uart)
{
    struct uart_registers *before = &uart->before;

    before->line = read_register(uart, REGISTER_LINE_CONTROL);
    before->modem = read_register(uart, REGISTER_MODEM_CONTROL);
    before->scratch = read_register(uart, REGISTER_SCRATCH);
    write_register(uart, REGISTER_LINE_CONTROL, LCR_8N1);
    before->interrupts = read_register(uart, REGISTER_INTERRUPTS);
    write_register(uart, REGISTER_INTERRUPTS, IER_NONE);
}

static enum status start(struct uart *uart, uint32_t baud, uint64_t ticks_per_us)
{
    if (!scratch_holds(uart) && !loopback_answers(uart)) {
        return STATUS_NOT_FOUND;
    }
    take_divisor(uart, baud);
    uart_set_rate(uart, ticks_per_us);
    // Also ends loopback, and a later UART's flow control that firmware may have left on.
    write_register(uart, REGISTER_MODEM_CONTROL, MCR_DTR | MCR_RTS);
    uint64_t left = UINT64_MAX;
    if (!wait_for_line_status(uart, LSR_TEMT, &left)) {
        return STATUS_TIMEOUT;
    }
    start_fifo(uart);
    return STATUS_OK;
}

enum status uart_open_at(struct uart *uart, const struct uart_place *place, uint64_t ticks_per_us)
{
    *uart = (struct uart){.stride = place->stride, .access = place->access};
    if (place->stride != 0) {
        uart->mmio = place->base;
    } else if (place->base > UINT16_MAX - REGISTER_LAST) {
        return STATUS_NOT_FOUND;
    } else {
        uart->port = (uint16_t)place->base;
    }
    if (read_register(uart, REGISTER_LINE_STATUS) == LSR_FLOATING) {
        return STATUS_NOT_FOUND;
    }
    take_registers(uart);
    const enum status status = start(uart, place->baud, ticks_per_us);
    if (status != STATUS_OK) {
        write_back(uart);
        return status;
    }
    uart->present = uart->open = true;
    return STATUS_OK;
}

enum status uart_write(struct uart *uart, const char *bytes, size_t count)
{
    const uint64_t patience = patience_of(uart);
    const uint64_t slowest = (count + FIFO_BYTES) * uart->character_ticks + uart->timeout_ticks;
    const uint64_t most = patience < slowest ? patience : slowest;
    uint64_t left = most;
    size_t sent = 0;

    if (!uart->present) {
        return STATUS_OK;
    }
    while (sent < count) {
        if (!wait_for_line_status(uart, LSR_THRE, &left)) {
            uart->present = false;
            return STATUS_TIMEOUT;
        }
        for (uint32_t room = uart->fifo_bytes; room > 0 && sent < count; room--) {
            write_register(uart, REGISTER_DATA, (uint8_t)bytes[sent++]);
        }
    }
    uart->waited += most - left;
    return STATUS_OK;
}

void uart_drain(struct uart *uart)
{
    uint64_t left = patience_of(uart);

    if (uart->present && !wait_for_line_status(uart, LSR_TEMT, &left)) {
        uart->present = false;
    }
}

void uart_close(struct uart *uart)
{
    uart_drain(uart);
    if (uart->open) {
        write_back(uart);
    }
    uart->present = uart->open = false;
}
