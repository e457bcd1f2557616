// Console: the lock around the UART, and which lines pass at which log level.
// Surprises: a processor that finds itself the owner goes straight on, since only its own fault
// handler can be here a second time, and that never returns to the line it broke into. Who gives
// the lock back must still be its owner, since a waiter may have taken it over.
#include "console.h"

#include <stdbool.h>

#include "hw.h"

#define UNOWNED 0u

#define LINE_END       "\r\n"
#define LINE_END_BYTES 2u

// The longest that a living processor holds the lock: a full line and its end at the slowest rate,
// the last FIFO load of the line before it and, should the port die under it, one time-out of the
// UART: (511 + 2 + 16 + 32) characters * 10 bits / 1200 baud, and one stall: 4.775 s. The UART's 32
// are two loads of 16.
#define LOCK_CHARACTERS \
    (LINE_BYTES - 1 + LINE_END_BYTES + UART_TIMEOUT_CHARACTERS / 2 + UART_TIMEOUT_CHARACTERS)
#define LOCK_US \
    (LOCK_CHARACTERS * UART_BITS_PER_CHARACTER * 1000000ull / UART_BAUD_MIN + UART_STALL_US)

// How the lock was come by: only a free one promises that the wire stands at the start of a line.
enum grip { GRIP_CLEAN, GRIP_MID_LINE };

static bool change_owner(struct console *console, uint32_t from, uint32_t to)
{
    return atomic_compare_exchange_strong_explicit(&console->owner, &from, to, memory_order_acq_rel,
                                                   memory_order_relaxed);
}

// The wait counts anew whenever the owner changes: a long queue of the living is no reason to break
// in.
static enum grip acquire(struct console *console, uint32_t self)
{
    uint32_t seen = UNOWNED;
    uint64_t since = 0;

    for (;;) {
        const uint32_t owner = atomic_load_explicit(&console->owner, memory_order_relaxed);

        if (owner == self) {
            return GRIP_MID_LINE;
        }
        if (owner == UNOWNED) {
            if (change_owner(console, UNOWNED, self)) {
                return GRIP_CLEAN;
            }
        } else if (owner != seen) {
            seen = owner;
            since = hw_tsc();
        } else if (hw_tsc() - since > console->lock_ticks && change_owner(console, owner, self)) {
            atomic_fetch_add_explicit(&console->takeovers, 1, memory_order_relaxed);
            return GRIP_MID_LINE;
        }
        hw_pause();
    }
}

static void write_whole_line(struct console *console, uint32_t cpu, const struct line *line)
{
    const uint32_t self = cpu + 1;

    if (acquire(console, self) == GRIP_MID_LINE) {
        uart_write(&console->uart, LINE_END, LINE_END_BYTES);
    }
    uart_write(&console->uart, line->text, line->length);
    uart_write(&console->uart, LINE_END, LINE_END_BYTES);
    for (size_t i = 0; i < CONSOLE_SINKS; i++) {
        const struct console_sink *sink = &console->sinks[i];
        if (sink->write_line != NULL) {
            sink->write_line(sink->context, line->text);
        }
    }
    change_owner(console, self, UNOWNED);
}

void console_start(struct console *console, enum log_level log, uint64_t ticks_per_us)
{
    console->uart = (struct uart){.present = false};
    console->log = log;
    for (size_t i = 0; i < CONSOLE_SINKS; i++) {
        console->sinks[i] = (struct console_sink){.write_line = NULL};
    }
    atomic_init(&console->owner, UNOWNED);
    console->lock_ticks = LOCK_US * ticks_per_us;
    atomic_init(&console->takeovers, 0);
}

void console_set_rate(struct console *console, uint64_t ticks_per_us)
{
    console->lock_ticks = LOCK_US * ticks_per_us;
    uart_set_rate(&console->uart, ticks_per_us);
}

void console_flush(struct console *console)
{
    for (size_t i = 0; i < CONSOLE_SINKS; i++) {
        const struct console_sink *sink = &console->sinks[i];
        if (sink->write_line != NULL && sink->flush != NULL) {
            sink->flush(sink->context);
        }
    }
    hw_drain_writes(); // or the last pixels wait in this processor, which may be about to halt
}

void console_say(struct console *console, uint32_t cpu, const struct line *line)
{
    if (console->log != LOG_QUIET) {
        write_whole_line(console, cpu, line);
    }
}

void console_tell(struct console *console, const char *format, uint64_t number)
{
    char buffer[LINE_BYTES];
    struct line line;

    line_start(&line, buffer, sizeof buffer);
    line_add_format(&line, format, number);
    console_say(console, 0, &line);
}

void console_debug(struct console *console, uint32_t cpu, const struct line *line)
{
    if (console->log == LOG_DEBUG) {
        write_whole_line(console, cpu, line);
    }
}

void console_record(struct console *console, uint32_t cpu, const struct line *line)
{
    write_whole_line(console, cpu, line);
}
