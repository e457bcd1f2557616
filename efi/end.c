// The end of a run: by QEMU's debug port, by runtime services, or by a halt. Once firmware is left
// nothing returns; before, only the debug port and end=poweroff are tried. Surprise: when nobody
// can be heard, the machine may reset itself.

#include "end.h"

#include "bsp.h"
#include "hw.h"
#include "person.h"
#include "reset.h"
#include "watch.h"

#define DEBUG_EXIT_PORT 0xf4u   // -device isa-debug-exit,iobase=0xf4,iosize=4
#define DEBUG_EXIT_US   200000u // many turns of QEMU's main loop

bool end_waits(const struct machine *machine, const struct options *options)
{
    return options->end == END_HALT || (options->end == END_AUTO && !machine->under_qemu);
}

bool end_resets_itself(const struct machine *machine, const struct options *options)
{
    return options->end == END_AUTO && end_waits(machine, options) &&
           machine->fadt.power_status == 0 && !person_has_keys(&machine->fadt);
}

static bool uses_debug_exit(const struct machine *machine, const struct options *options)
{
    return options->end == END_DEBUG_EXIT || (options->end == END_AUTO && machine->under_qemu);
}

// QEMU leaves a moment after the write, if it has the device: nothing more is said until then.
static void debug_exit(const struct machine *machine, enum exit_code code)
{
    const uint64_t ticks = clock_ticks(&machine->clock, DEBUG_EXIT_US);
    const uint64_t start = hw_tsc();

    hw_out32(DEBUG_EXIT_PORT, code);
    while (hw_tsc() - start < ticks)
        hw_pause();
}

static void say(struct console *console, const char *text)
{
    console_tell(console, "%s", text);
    console_flush(console);
}

static void ask(struct console *console, const char *format, uint64_t number)
{
    console_ask(console, format, number);
    console_flush(console);
}

// A reset register in memory is mapped in our own address space, and not certainly in firmware's,
// which is the one that is left where the exit was refused.
static bool reset_by_register(const struct firmware *firmware, const struct machine *machine)
{
    if (machine->fadt.reset_space == GAS_MEMORY && hw_read_cr3() == firmware->cr3)
        return false;
    return reset_by_fadt(&machine->fadt, &machine->clock);
}

// Firmware first, then the registers that firmware would have used. Returns if nothing helped.
static void switch_machine(const struct firmware *firmware, const struct machine *machine,
                           struct console *console, EFI_RESET_TYPE type)
{
    struct bsp_registers ours;

    say(console, type == EfiResetShutdown ? "Powering the machine off" : "Resetting the machine");
    uart_drain(&console->uart);
    bsp_visit_firmware(firmware, &ours);
    firmware->system->RuntimeServices->ResetSystem(type, EFI_SUCCESS, 0, NULL);
    bsp_return(&ours);
    if (type != EfiResetShutdown) {
        say(console, "Firmware did not reset the machine: trying the FADT's reset register");
        if (!reset_by_register(firmware, machine))
            say(console, "The FADT has no reset register that can be used");
        say(console, "Trying the chipset's reset register, port 0xcf9");
        reset_by_chipset(&machine->clock);
    }
    ask(console, "The machine is still running: switch it off by hand", 0);
    uart_drain(&console->uart);
}

// A cold reset may clear the memory in which the result waits for the next start.
static EFI_RESET_TYPE reset_type(const struct options *options)
{
    return options->save == SAVE_NONE ? EfiResetCold : EfiResetWarm;
}

static void tell_seconds(void *console, uint32_t left)
{
    console_rewrite(console, "Resetting in %u s", left);
    console_flush(console);
}

// Nobody can be heard. Without a reset the result would be lost by the power cycle that remains.
static EFI_RESET_TYPE reset_for_the_result(const struct machine *machine,
                                           const struct options *options, struct journal *journal,
                                           struct console *console)
{
    ask(console,
        "The end: no key or power button works here. The machine resets in %u s: start it from "
        "the same stick again to save the result",
        options->linger_s);
    uart_drain(&console->uart);
    person_count_down(&machine->clock, options->linger_s, tell_seconds, console);
    journal_ask_again(journal); // the start that finds it comes to rest, and does not reset again
    return reset_type(options);
}

// The last screen stays until somebody has seen it.
static EFI_RESET_TYPE wait_for_person(const struct machine *machine, const struct options *options,
                                      struct console *console)
{
    const struct fadt *fadt = &machine->fadt;
    const bool key = person_has_keys(fadt), button = fadt->power_status != 0;

    person_listen(fadt);
    ask(console,
        key && button ? "The end: press a key to restart, or the power button to switch off. USB "
                        "keyboards do not work here, PS/2 and built-in ones do"
        : key         ? "The end: press a key to restart. USB keyboards do not work here, PS/2 and "
                        "built-in ones do"
        : button      ? "The end: press the power button to switch off; no key works here"
                      : "The end: no key or power button works here. The machine is halted: "
                        "switch it off by hand",
        0);
    uart_drain(&console->uart);
    if (!key && !button)
        hw_halt();
    for (;;) {
        const enum wish wish = person_asks(fadt);
        if (wish != WISH_NOTHING)
            return wish == WISH_KEY ? reset_type(options) : EfiResetShutdown;
        hw_pause();
    }
}

_Noreturn void end_run(const struct firmware *firmware, const struct machine *machine,
                       const struct options *options, enum next_start next, struct journal *journal,
                       struct console *console, enum exit_code code)
{
    EFI_RESET_TYPE type = options->end == END_RESET ? reset_type(options) : EfiResetShutdown;
    bool halt = options->end == END_HALT || options->end == END_AUTO;

    uart_drain(&console->uart);
    if (next == NEXT_BY_FIRMWARE) { // the next start brings the result to the volume
        type = EfiResetWarm;
        halt = false;
    } else if (uses_debug_exit(machine, options)) {
        debug_exit(machine, code);
        halt = options->end == END_DEBUG_EXIT; // there was nobody to hear it
    }
    if (halt && next == NEXT_BY_RESET)
        type = reset_for_the_result(machine, options, journal, console);
    else if (halt)
        type = wait_for_person(machine, options, console);
    switch_machine(firmware, machine, console, type);
    hw_halt();
}

void end_inside(const struct options *options, enum exit_code code)
{
    if (options->end == END_DEBUG_EXIT)
        hw_out32(DEBUG_EXIT_PORT, code);
}

void end_fetched(const struct firmware *firmware, const struct machine *machine,
                 const struct options *options, enum exit_code code)
{
    if (uses_debug_exit(machine, options))
        hw_out32(DEBUG_EXIT_PORT, code);
    if (options->end == END_POWEROFF)
        firmware->system->RuntimeServices->ResetSystem(EfiResetShutdown, EFI_SUCCESS, 0, NULL);
}

void end_refused(const struct machine *machine, const struct options *options)
{
    if (uses_debug_exit(machine, options))
        hw_out32(DEBUG_EXIT_PORT, EXIT_REFUSED);
}
