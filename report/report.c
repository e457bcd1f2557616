// Results into lines, before the wake and at the end. Programs read the records by their keys,
// which docs/contract.md lists: one may be added, and none is ever changed.

#include "report.h"

#include "lapic.h"
#include "page.h"
#include "report_line.h"

void report_problem(void *console, enum severity severity, const char *what, const char *detail)
{
    struct report_line out;

    struct line *line = report_start_record(&out, severity == SEVERITY_ERROR ? "error" : "warning");
    record_add_text(line, "what", what);
    record_add_text(line, "detail", detail);
    console_record(console, 0, line);
}

void report_start(struct console *console, const struct machine *machine, const char *version,
                  const struct serial_found *serial)
{
    struct report_line out;

    struct line *line = report_start_record(&out, "start");
    record_add_text(line, "version", version);
    record_add_text(line, "firmware", machine->firmware);
    record_add_hex(line, "firmware_rev", machine->firmware_revision);
    record_add_text(line, "hypervisor",
                    machine->processor.hypervisor[0] ? machine->processor.hypervisor : "none");
    console_record(console, 0, line);

    line = report_start_record(&out, "image");
    record_add_hex(line, "base", machine->image.base);
    record_add_hex(line, "text", machine->image.text.phys);
    record_add_decimal(line, "bytes", machine->image.bytes);
    record_add_hex(line, "crc", machine->image.crc);
    console_record(console, 0, line);

    line = report_start_record(&out, "serial");
    record_add_text(line, "found", serial->found);
    if (serial->by)
        record_add_text(line, "by", serial->by);
    if (serial->spcr)
        record_add_text(line, "spcr", serial->spcr);
    if (serial->dbg2)
        record_add_text(line, "dbg2", serial->dbg2);
    if (console->uart.present) {
        if (console->uart.mmio != 0)
            record_add_hex(line, "mmio", console->uart.mmio);
        else
            record_add_hex(line, "port", console->uart.port);
        record_add_decimal(line, "baud", UART_BAUD_MAX / console->uart.divisor);
    }
    console_record(console, 0, line);
    if (serial->refused)
        report_problem(console, SEVERITY_WARNING, "serial-not-named",
                       "with Secure Boot on, serial= takes only COM1 to COM4 and what firmware's "
                       "tables or PCI name: it was taken for serial=auto");
}

void report_machine(struct console *console, const struct machine *machine, const struct plan *plan)
{
    const struct inventory *inventory = &machine->inventory;
    const enum smp_apic_mode at_entry =
        machine->apic_base & APIC_BASE_EXTD ? SMP_X2APIC : SMP_XAPIC;
    struct report_line out;

    struct line *line = report_start_record(&out, "machine");
    record_add_text(line, "apic_at_entry", smp_apic_word(at_entry));
    record_add_text(line, "apic", smp_apic_word(plan->apic_mode));
    record_add_text(line, "inventory",
                    inventory->source == INVENTORY_MADT ? "madt" : "mp-services");
    record_add_decimal(line, "cpus", inventory->enabled);
    record_add_decimal(line, "disabled", inventory->disabled);
    record_add_decimal(line, "duplicate", inventory->duplicate);
    record_add_decimal(line, "impossible", inventory->impossible);
    record_add_decimal(line, "mp_services", machine->mp_services);
    record_add_decimal(line, "tsc_hz", machine->clock.tsc_hz);
    record_add_decimal(line, "tsc_invariant", machine->processor.tsc_invariant);
    record_add_text(line, "tsc_check", machine->clock_check);
    record_add_decimal(line, "tsc_check_hz", machine->clock_check_hz);
    record_add_text(line, "processor", machine->processor.brand);
    console_record(console, 0, line);
}

void report_initialized(struct console *console, const struct smp *smp)
{
    for (uint32_t slot = 1; slot < smp_count(smp); slot++) {
        const struct smp_account account = smp_examine(smp, slot);
        console_tell(console, "Initialized CPU %u: entry=%x, stack=%x", (uint64_t)account.cpu,
                     account.entry, account.stack);
    }
}

void report_trampoline(struct console *console, const struct smp_layout *layout)
{
    const uint64_t page = layout->page_phys;
    struct report_line out;

    console_tell(console, "Copied %u bytes to %x", (uint64_t)layout->image_bytes, page);
    console_tell(console, "Applied %u relocations to trampoline at %x",
                 (uint64_t)layout->relocations, page);
    console_tell(console, "Set page table addr in trampoline: %x", layout->cr3);

    struct line *line = report_start_record(&out, "trampoline");
    record_add_hex(line, "page", page);
    record_add_decimal(line, "bytes", layout->image_bytes);
    record_add_decimal(line, "relocations", layout->relocations);
    record_add_hex(line, "vector", page / PAGE_BYTES);
    record_add_hex(line, "cr3", layout->cr3);
    console_record(console, 0, line);
}

void report_memory(struct console *console, size_t cpus, const struct smp_layout *layout)
{
    struct report_line out;

    struct line *line = report_start_record(&out, "memory");
    record_add_decimal(line, "cpus", cpus);
    record_add_decimal(line, "per_cpu_bytes", layout->cpu_bytes);
    record_add_decimal(line, "total_bytes", layout->memory_bytes);
    record_add_decimal(line, "low_bytes", PAGE_BYTES);
    console_record(console, 0, line);
}

void report_bound(struct console *console, uint64_t us)
{
    struct report_line out;

    struct line *line = report_start_record(&out, "bound");
    record_add_decimal(line, "seconds", us / 1000000 + 1);
    console_record(console, 0, line);
}

void report_starting(struct console *console, const struct plan *plan)
{
    for (size_t slot = 1; slot <= plan->want; slot++)
        console_tell(console, "Starting CPU %u...", (uint64_t)plan->cpus[slot].cpu);
}

void report_times(struct console *console, const struct clock *clock, const struct run_times *times)
{
    struct report_line out;

    struct line *line = report_start_record(&out, "times");
    record_add_decimal(line, "prepare_us", clock_us(clock, times->prepared - times->start));
    record_add_decimal(line, "leave_us", clock_us(clock, times->left - times->prepared));
    record_add_decimal(line, "wake_us", clock_us(clock, times->woken - times->left));
    if (times->run_ticks > 0)
        record_add_decimal(line, "run_us", clock_us(clock, times->run_ticks));
    record_add_decimal(line, "report_us",
                       clock_us(clock, times->reported - times->woken - times->run_ticks));
    record_add_decimal(line, "total_us", clock_us(clock, times->reported - times->start));
    console_record(console, 0, line);
}

void report_end(struct console *console, const struct outcome *outcome)
{
    struct report_line out;

    struct line *line = report_start_record(&out, "end");
    record_add_decimal(line, "ok", outcome->ok);
    record_add_decimal(line, "want", outcome->want);
    record_add_decimal(line, "up", outcome->up);
    record_add_decimal(line, "failed", outcome->failed);
    console_record(console, 0, line);
}
