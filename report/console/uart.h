// A 16550-compatible UART behind I/O ports or in device memory, or QEMU's debug console, polled.
// Every poll is bounded; a port that stops answering is dropped and no more written to, so that a
// run goes on without it; uart_close gives its registers back all the same. Not locked: console.c
// serialises the writers.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "status.h"
#include "uart_place.h"

#define UART_COM1 0x3f8u

// The 1.8432 MHz crystal of every PC over 16: the rate at divisor 1.
#define UART_BAUD_MAX 115200u

// The slowest rate that a divisor left by firmware may mean, and with it the longest wait of all.
#define UART_BAUD_MIN 1200u

// Start bit, eight data bits, stop bit.
#define UART_BITS_PER_CHARACTER 10u

// A character at the slowest rate, rounded up.
#define UART_CHARACTER_US_MAX \
    ((UART_BITS_PER_CHARACTER * 1000000u + UART_BAUD_MIN - 1) / UART_BAUD_MIN)

// A wait ends after the time of this many characters: one FIFO load, twice over; and after what a
// virtual port may stall while its reader is busy.
#define UART_TIMEOUT_CHARACTERS 32u
#define UART_STALL_US           100000u

// The longest that one time-out is, and the longest that writing so many bytes takes: they and the
// FIFO load before them at the slowest rate, and one time-out.
#define UART_TIMEOUT_US_MAX (UART_TIMEOUT_CHARACTERS * UART_CHARACTER_US_MAX + UART_STALL_US)
#define UART_WRITE_US_MAX(count) \
    (((count) + UART_TIMEOUT_CHARACTERS / 2) * UART_CHARACTER_US_MAX + UART_TIMEOUT_US_MAX)

// QEMU's and Bochs's debug console: what is written there comes out, and reading answers the port's
// own number.
#define UART_DEBUG_CONSOLE 0xe9u

// What stood in the registers before uart_open_at wrote to them, register names as in the PC16550D
// data sheet. Those that are always written; of the divisor and the FIFOs, whether they were.
struct uart_registers {
    uint8_t interrupts, line, modem, scratch; // IER, LCR, MCR, SCR
    uint16_t divisor;
    bool divisor_written;
    uint8_t fifo; // IIR bits 7:6; FCR itself cannot be read
    bool fifo_written;
};

struct uart {
    uint16_t port;          // base I/O port
    uint64_t mmio;          // the base in device memory; 0: I/O ports
    uint8_t stride, access; // as in struct uart_place
    bool present;           // false: writes are ignored
    uint16_t divisor;       // as it works now; 1 is 115200 baud
    uint8_t fifo_bytes;     // what one "transmitter holding register empty" has room for: 16 or 1
    uint64_t timeout_ticks; // longest wait for an empty FIFO, in TSC ticks
    uint64_t
        character_ticks; // UART_CHARACTER_US_MAX in ticks: no port may be slower in the long run
    uint64_t waits_most; // what all waits together may take; 0: no limit
    uint64_t waited;     // and have taken
    bool open;           // `before` waits to be written back, whether the port was dropped or not
    struct uart_registers before;
};

// Probes the port (line status not 0xFF, scratch or loopback write and read back), sets 8N1, no
// interrupts, and the FIFOs if they were off: what firmware has received in them stays. Keeps the
// divisor that firmware left if it is 1..96 (115200..1200 baud), else sets 1. Takes the wait for
// one FIFO load from the divisor: 16 characters of 10 bits at that rate, twice over; `ticks_per_us`
// is the TSC's rate, or an upper bound of it while it is not known (1..10000). Lets what firmware
// is still sending leave first, bounded by that same wait. Returns STATUS_NOT_FOUND when nothing
// answers there, STATUS_TIMEOUT when a UART does but its transmitter never empties; uart->present
// is false after both, and what was written to a register is undone.
enum status uart_open(struct uart *uart, uint16_t port, uint64_t ticks_per_us);

// The same at a place that firmware names. Device memory must be mapped uncached where its physical
// address is. The divisor is kept if it is sane, and never written where the rate is not known or
// in device memory, whose clock may be another.
enum status uart_open_at(struct uart *uart, const struct uart_place *place, uint64_t ticks_per_us);

// The debug console; STATUS_NOT_FOUND if it does not answer. To be asked only under a hypervisor.
enum status uart_open_debug_console(struct uart *uart);

// Sets the waits anew once the TSC's rate is known better. A port that is not present stays so.
void uart_set_rate(struct uart *uart, uint64_t ticks_per_us);

// From now on all waits of all lines together may take so many ticks; then the port is dropped, as
// at a time-out. One that never lets wait stays.
void uart_limit_waits(struct uart *uart, uint64_t ticks);

// Writes bytes as they are, up to fifo_bytes per "transmitter holding register empty". On the first
// time-out the port is dropped: present becomes false, the rest is lost, STATUS_TIMEOUT. The same
// if, each wait just within it, they crawl: all waits of a call take UART_WRITE_US_MAX(count) at
// most. STATUS_OK if not present.
enum status uart_write(struct uart *uart, const char *bytes, size_t count);

// Waits, bounded as above, until the last character has left the shift register.
void uart_drain(struct uart *uart);

// Drains the port, gives every register that uart_open_at wrote its value from before, and lets go:
// uart->present is false then. For a port that was dropped, too; nothing where none is open.
void uart_close(struct uart *uart);
