// Console: where finished lines go. One writer at a time, whole lines only, from any processor.
// Besides the UART, sinks may be attached. The one that calls firmware is CPU 0's alone: no other
// processor may run firmware's code, which its tables do not even map executable. Surprise: the
// lock is given up on. A processor that died with the lock in its hands must not silence the
// others, so a waiter takes it over after a bounded wait.
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "line.h"
#include "log_level.h"
#include "uart.h"

// A sink gets one whole line, NUL-terminated, without line end; the console's lock is held. A
// record begins with "REVEILLE ".
struct console_sink {
    void (*write_line)(void *context, const char *text);
    void *context;
    void (*flush)(void *context); // shows what was written so far; NULL: it is shown at once
    // Writes a line in place of the one that it wrote before, unless another came in between. NULL:
    // what is written stays as it is.
    void (*rewrite_line)(void *context, const char *text);
};

// Each sink has a place of its own, so that attaching one never displaces another.
enum console_place { SINK_SCREEN, SINK_JOURNAL, CONSOLE_SINKS };

struct console {
    struct uart uart;
    enum log_level log;
    struct console_sink sinks[CONSOLE_SINKS]; // write_line NULL: none
    // Gets each line of CPU 0's, after the sinks and without the lock: however long firmware takes,
    // nobody waits for it. write_line NULL: none, or out of reach.
    struct console_sink firmware;
    _Atomic uint32_t owner; // 0: free; else CPU index + 1 of the processor that is writing
    uint64_t lock_ticks;    // longest wait for the lock, in TSC ticks, before it is taken over
};

// Starts with no port and no sink. `ticks_per_us` as in uart_open.
void console_start(struct console *console, enum log_level log, uint64_t ticks_per_us);

// Sets the waits anew once the TSC's rate is known better.
void console_set_rate(struct console *console, uint64_t ticks_per_us);

// Shows on every sink what was written so far. For the BSP alone, outside of what is timed.
void console_flush(struct console *console);

// A processor that will write no more gives the lock back, if it has it: the line stays as it is.
void console_let_go(struct console *console, uint32_t cpu);

// From now on there is the UART alone: for a processor that met a fault in a sink.
void console_drop_sinks(struct console *console);

// A sentence for people: dropped with log=quiet.
void console_say(struct console *console, uint32_t cpu, const struct line *line);

// The same of the BSP's, with arguments as line_add_format takes them.
void console_tell(struct console *console, const char *format, ...);

// The same of what a person is to do, such as which key to press: at any log level, and with at
// most one number in it.
void console_ask(struct console *console, const char *format, uint64_t number);

// The same of a line that changes, as a count-down does: only on sinks that can rewrite a line,
// each in place of the one before.
void console_rewrite(struct console *console, const char *format, uint64_t number);

// A record, or anything that must always come out.
void console_record(struct console *console, uint32_t cpu, const struct line *line);

// The same of a text that is a whole line already: an interrupt stack has no room for another.
void console_record_text(struct console *console, uint32_t cpu, const char *text, size_t length);
