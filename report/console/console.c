// Console: the lock around the UART, and which lines pass at which log level.
// Surprises: a processor that finds itself the owner goes straight on, since only its own fault
// handler can be here a second time, and that never returns to the line it broke into. Who gives
// the lock back must still be its owner, since a waiter may have taken it over.
#include "console.h"

#include <stdbool.h>

#include "hw.h"
#include "watch.h"

#define UNOWNED 0u
#define BSP     1u // CPU 0 as an owner

#define LINE_END       "\r\n"
#define LINE_END_BYTES 2u

// The longest that a living processor holds the lock, which no call of firmware lengthens: the end
// of a line that was broken into, a full line, and its own end, each at the slowest that the UART
// lets them be before it drops the port. 5.8 s.
#define LOCK_US (UART_WRITE_US_MAX(LINE_BYTES - 1) + 2 * UART_WRITE_US_MAX(LINE_END_BYTES))

// How the lock was taken: only a free one promises that the wire stands at the start of a line.
enum grip { GRIP_CLEAN, GRIP_MID_LINE };

static bool change_owner(struct console *console, uint32_t from, uint32_t to)
{
    return atomic_compare_exchange_strong_explicit(&console->owner, &from, to, memory_order_acq_rel,
                                                   memory_order_relaxed);
}

// The wait counts anew whenever the owner changes: a long queue of the living is no reason to break
// in. Nor is a time in which this processor was stopped, since the owner may have been, too.
static enum grip acquire(struct console *console, uint32_t self)
{
    uint32_t seen = UNOWNED;
    struct watch watch = {0};

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
            watch = watch_start(hw_tsc(), console->lock_ticks);
        } else if (watch_is_over(&watch, hw_tsc()) && change_owner(console, owner, self)) {
            return GRIP_MID_LINE;
        }
        hw_pause();
    }
}

static void write_whole_line(struct console *console, uint32_t cpu, const char *text, size_t length)
{
    const uint32_t self = cpu + 1;

    if (acquire(console, self) == GRIP_MID_LINE) {
        uart_write(&console->uart, LINE_END, LINE_END_BYTES);
    }
    uart_write(&console->uart, text, length);
    uart_write(&console->uart, LINE_END, LINE_END_BYTES);
    for (size_t i = 0; i < CONSOLE_SINKS; i++) {
        const struct console_sink *sink = &console->sinks[i];
        if (sink->write_line != NULL) {
            sink->write_line(sink->context, text);
        }
    }
    change_owner(console, self, UNOWNED);
    if (cpu == 0 && console->firmware.write_line != NULL) {
        console->firmware.write_line(console->firmware.context, text);
    }
}

void console_let_go(struct console *console, uint32_t cpu)
{
    change_owner(console, cpu + 1, UNOWNED);
}

void console_drop_sinks(struct console *console)
{
    console->firmware = (struct console_sink){.write_line = NULL};
    for (size_t i = 0; i < CONSOLE_SINKS; i++) {
        console->sinks[i] = (struct console_sink){.write_line = NULL};
    }
}

void console_start(struct console *console, enum log_level log, uint64_t ticks_per_us)
{
    console->uart = (struct uart){.present = false};
    console->log = log;
    console_drop_sinks(console);
    atomic_init(&console->owner, UNOWNED);
    console->lock_ticks = LOCK_US * ticks_per_us;
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
        write_whole_line(console, cpu, line->text, line->length);
    }
}

void console_tell(struct console *console, const char *format, ...)
{
    char buffer[LINE_BYTES];
    struct line line;
    va_list arguments;

    line_start(&line, buffer, sizeof buffer);
    va_start(arguments, format);
    line_add_arguments(&line, format, arguments);
    va_end(arguments);
    console_say(console, 0, &line);
}

void console_ask(struct console *console, const char *format, uint64_t number)
{
    char buffer[LINE_BYTES];
    struct line line;

    line_start(&line, buffer, sizeof buffer);
    line_add_format(&line, format, number);
    write_whole_line(console, 0, line.text, line.length);
}

void console_rewrite(struct console *console, const char *format, uint64_t number)
{
    char buffer[LINE_BYTES];
    struct line line;

    line_start(&line, buffer, sizeof buffer);
    line_add_format(&line, format, number);
    (void)acquire(console, BSP);
    for (size_t i = 0; i < CONSOLE_SINKS; i++) {
        const struct console_sink *sink = &console->sinks[i];
        if (sink->rewrite_line != NULL) {
            sink->rewrite_line(sink->context, line.text);
        }
    }
    change_owner(console, BSP, UNOWNED);
}

void console_record(struct console *console, uint32_t cpu, const struct line *line)
{
    write_whole_line(console, cpu, line->text, line->length);
}

void console_record_text(struct console *console, uint32_t cpu, const char *text, size_t length)
{
    write_whole_line(console, cpu, text, length);
}
