// The page before the wake. Surprise: nothing here looks at the machine; whatever is said was
// gathered before, so it can be said again.

#include "preflight.h"

#include "control.h"
#include "lapic.h"
#include "report_line.h"
#include "tell.h"

#define DETAIL_COLUMN 16u
#define LOW_PAGES_FEW 8u // firmware's own resume vectors and option ROMs want some, too
#define REACHABLE     0x100000000ull

static const char *secure_boot_word(enum secure_boot secure_boot)
{
    static const char *const words[] = {"none", "off", "setup", "on"};
    return words[secure_boot];
}

static const char *or_unknown(const char *text)
{
    return text[0] ? text : "unknown";
}

void preflight_record(struct console *console, const struct machine *machine)
{
    const struct platform *platform = &machine->platform;
    struct report_line out;

    struct line *line = report_start_record(&out, "platform");
    record_add_text(line, "maker", platform->maker);
    record_add_text(line, "product", platform->product);
    record_add_text(line, "board", platform->board);
    record_add_text(line, "bios", platform->bios);
    record_add_text(line, "bios_date", platform->bios_date);
    record_add_hex(line, "microcode", platform->microcode);
    record_add_text(line, "secure_boot", secure_boot_word(platform->secure_boot));
    record_add_decimal(line, "apic_locked", platform->apic_locked);
    record_add_decimal(line, "low_pages", platform->low_pages);
    if (machine->processor.missing_msr != MISSING_MSR_UNKNOWN)
        record_add_text(line, "missing_msr", missing_msr_word(machine->processor.missing_msr));
    console_record(console, 0, line);
}

// A topic, and what is to be said of it, as line_add_format takes it. Whatever the machine does not
// tell leaves no blank at the end.
static void say(struct console *console, const char *topic, const char *format, ...)
{
    char buffer[LINE_BYTES];
    struct line line;
    va_list arguments;

    line_start(&line, buffer, sizeof buffer);
    line_add_format(&line, "  %s", topic);
    while (line.length < DETAIL_COLUMN)
        line_add_text(&line, " ");
    const size_t start = line.length;
    va_start(arguments, format);
    line_add_arguments(&line, format, arguments);
    va_end(arguments);
    while (line.length > start && line.text[line.length - 1] == ' ')
        line.text[--line.length] = '\0';
    console_say(console, 0, &line);
}

static void say_processors(struct console *console, const struct machine *machine,
                           const struct plan *plan)
{
    const struct inventory *inventory = &machine->inventory;
    const struct processor *processor = &machine->processor;
    const bool x2apic = machine->apic_base & APIC_BASE_EXTD;

    say(console, "processor", "%s", or_unknown(processor->brand));
    say(console, "", "family %u, microcode %x, %u bits of physical address",
        (uint64_t)processor->family, (uint64_t)machine->platform.microcode,
        (uint64_t)processor->phys_bits);
    say(console, "hypervisor", "%s", processor->hypervisor[0] ? processor->hypervisor : "none");
    say(console, "APIC", "%s now, %s in the run", x2apic ? "x2apic" : "xapic",
        smp_apic_word(plan->apic_mode));
    if (machine->platform.apic_locked)
        say(console, "", "locked: x2APIC mode cannot be left");
    if (machine->dmar_x2apic_opt_out)
        say(console, "", "the DMAR asks to stay out of x2APIC mode");
    say(console, "MADT",
        inventory->source == INVENTORY_MADT
            ? "%u enabled, %u disabled, %u listed twice"
            : "not usable: MP Services lists %u enabled, %u disabled, %u twice",
        (uint64_t)inventory->enabled, (uint64_t)inventory->disabled,
        (uint64_t)inventory->duplicate);
    if (machine->mp_services > 0)
        say(console, "MP Services", "counts %u, %u enabled", (uint64_t)machine->mp_services,
            (uint64_t)machine->mp_services_enabled);
    else
        say(console, "MP Services", "absent");
}

static void say_outputs(struct console *console, const struct machine *machine,
                        const struct serial_found *serial)
{
    for (size_t i = 0; i < machine->framebuffer_count; i++)
        say(console, "screen", "%ux%u at %x", (uint64_t)machine->framebuffers[i].width,
            (uint64_t)machine->framebuffers[i].height, machine->framebuffers[i].phys);
    if (machine->framebuffer_count == 0)
        say(console, "screen", "no frame buffer");
    say(console, "serial port", "%s, by %s", serial->found, serial->by ? serial->by : "nobody");
    if (serial->spcr)
        say(console, "", "the SPCR's is not used: %s", serial->spcr);
    if (serial->dbg2)
        say(console, "", "the DBG2's is not used: %s", serial->dbg2);
}

void preflight_page(struct console *console, const struct machine *machine, const struct plan *plan,
                    const struct serial_found *serial, uint32_t low_page)
{
    const struct platform *platform = &machine->platform;

    console_tell(console, "Pre-flight:");
    say(console, "machine", "%s %s", or_unknown(platform->maker), platform->product);
    say(console, "board", "%s %s", or_unknown(platform->board_maker), platform->board);
    say(console, "firmware", "%s, BIOS %s", machine->firmware, or_unknown(platform->bios));
    say(console, "", "of %s, %s", or_unknown(platform->bios_maker),
        or_unknown(platform->bios_date));
    say(console, "Secure Boot", "%s", secure_boot_word(platform->secure_boot));
    say_processors(console, machine, plan);
    say(console, "low memory", "%u pages free below 1 MiB, the trampoline at %x",
        (uint64_t)platform->low_pages, (uint64_t)low_page);
    say(console, "page tables", "firmware's at %x, %u levels", machine->cr3,
        (uint64_t)(machine->cr4 & CR4_LA57 ? 5 : 4));
    say_outputs(console, machine, serial);
}

void preflight_warn(const struct problems *problems, const struct machine *machine,
                    const struct console *console)
{
    if (machine->mp_services == 0)
        problem_tell(problems, SEVERITY_WARNING, "no-mp-services",
                     "firmware has no MP Services, so nothing confirms what the MADT lists");
    if (!console->uart.present && machine->framebuffer_count == 0)
        problem_tell(problems, SEVERITY_WARNING, "nothing-to-see",
                     "no serial port and no frame buffer: after the exit only the stick can tell "
                     "what happened; use again=yes, or exit=no");
    if (machine->platform.apic_locked)
        problem_tell(problems, SEVERITY_WARNING, "x2apic-locked",
                     "firmware has locked x2APIC mode: apic=xapic is not possible");
    if (machine->dmar_x2apic_opt_out && (machine->apic_base & APIC_BASE_EXTD) == 0)
        problem_tell(problems, SEVERITY_WARNING, "x2apic-opt-out",
                     "the DMAR table asks to stay out of x2APIC mode: apic=auto does");
    if (!machine->processor.tsc_invariant && !machine->processor.hypervisor[0])
        problem_tell(
            problems, SEVERITY_WARNING, "tsc-varies",
            "the time-stamp counter may change its rate (CPUID 0x80000007, EDX bit 8 is 0), "
            "so times and waits may be off: raise timeout_us if a processor is late");
    if (machine->platform.low_pages < LOW_PAGES_FEW)
        problem_tell(problems, SEVERITY_WARNING, "low-memory",
                     "hardly any page below 1 MiB is free: a legacy driver or CSM holds it");
    if (machine->cr3 >= REACHABLE)
        problem_tell(problems, SEVERITY_WARNING, "high-cr3",
                     "firmware's page tables lie above 4 GiB, where a processor in protected "
                     "mode cannot load them; ours are used");
}
