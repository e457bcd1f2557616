// Surprise: the run may die from here on, or never be heard again. So what it has said is on the
// volume first, and what it may take at most is said.

#include "departure.h"

#include "bound.h"
#include "end.h"
#include "graphics.h"
#include "hw.h"
#include "last_run.h"
#include "leave.h"
#include "memory.h"
#include "report.h"
#include "tell.h"

// How long the rest can take; and the part of it that is the serial port's is all that it gets.
static void tell_bound(const struct machine *machine, const struct options *options,
                       const struct plan *plan, size_t faults, struct voice *voice)
{
    struct console *console = &voice->console;
    const uint64_t bits = BOUND_LINE_CHARACTERS * UART_BITS_PER_CHARACTER;
    const struct bound_facts facts = {
        .port = console->uart.present,
        .line_us = bits * 1000000 * console->uart.divisor / UART_BAUD_MAX + 1,
        .lock_us = clock_us(&machine->clock, console->lock_ticks) + 1,
        .pixels = display_pixels(&voice->display),
        .faults = faults,
    };
    const uint64_t serial_us = bound_serial_us(options, machine, plan, &facts);

    report_bound(console, bound_run_us(options, machine, plan, &facts));
    uart_limit_waits(&console->uart, clock_ticks(&machine->clock, serial_us));
}

// A run that dies leaves at least its beginning. And where this finds no room, the result will not
// either: then no reset takes it from the screen.
static enum next_start arrange_next_start(const struct machine *machine,
                                          const struct options *options, struct past *past,
                                          struct stick *stick, struct voice *voice)
{
    CHAR16 name[] = L"last";
    struct journal *journal = &voice->journal;
    const struct problems *problems = &voice->problems;

    const bool saved = options->save != SAVE_NONE &&
                       harvest_own(journal, name, STICK_BLANK, stick, past, problems);
    struct journal *kept = saved && last_run_keeps(journal->head) ? journal : NULL;
    if (options->again == ANSWER_YES && next_start_ask(kept, stick, problems))
        return NEXT_BY_FIRMWARE;
    if (end_resets_itself(machine, options) && next_start_allows_reset(kept, past, stick, problems))
        return NEXT_BY_RESET;
    return NEXT_BY_HAND;
}

enum status departure(struct firmware *firmware, const struct machine *machine,
                      const struct options *options, const struct plan *plan, size_t faults,
                      const struct smp *smp, struct note *note, struct past *past,
                      struct stick *stick, struct voice *voice, enum next_start *next)
{
    tell_bound(machine, options, plan, faults, voice);
    console_tell(&voice->console, "Leaving firmware");
    *next = arrange_next_start(machine, options, past, stick, voice);
    uart_drain(&voice->console.uart);
    firmware_stop_watchdog(firmware);
    voice_hide_firmware(voice);
    if (voice->display_memory)
        graphics_clear(firmware, machine);
    console_flush(&voice->console); // the exit may never return, and the screen is not black then
    note_keep(note, smp, NOTE_LEAVING, 0, past->resets);
    const enum status status =
        memory_read_map(firmware) == STATUS_OK ? leave_firmware(firmware) : STATUS_NO_SPACE;
    if (status == STATUS_OK)
        hw_disable_interrupts();
    else
        problem_tell(
            &voice->problems, SEVERITY_ERROR, "exit-refused",
            "ExitBootServices was refused every time; boot services cannot be used any more");
    return status;
}
