// Results into lines. Every key of contract.md that a run prints after its options is written here.

#include "report.h"

#include "examine.h"
#include "fault.h"
#include "options.h"
#include "sort.h"

struct report_line {
    struct line line;
    char buffer[LINE_BYTES];
};

static struct line *record(struct report_line *out, const char *event)
{
    record_start(&out->line, out->buffer, sizeof out->buffer, event);
    return &out->line;
}

static struct line *sentence(struct report_line *out)
{
    line_start(&out->line, out->buffer, sizeof out->buffer);
    return &out->line;
}

void report_problem(void *context, enum severity severity, const char *what, const char *detail)
{
    struct problem_log *log = context;
    struct report_line out;

    if (severity == SEVERITY_ERROR)
        log->errors++;
    else
        log->warnings++;
    struct line *line = record(&out, severity == SEVERITY_ERROR ? "error" : "warning");
    record_add_text(line, "what", what);
    record_add_text(line, "detail", detail);
    console_record(log->console, 0, line);
}

void report_start(struct console *console, const struct machine *machine, const char *version,
                  const struct serial_found *serial)
{
    struct report_line out;

    struct line *line = record(&out, "start");
    record_add_text(line, "version", version);
    record_add_text(line, "firmware", machine->firmware);
    record_add_hex(line, "firmware_rev", machine->firmware_revision);
    record_add_text(line, "hypervisor",
                    machine->processor.hypervisor[0] ? machine->processor.hypervisor : "none");
    console_record(console, 0, line);

    line = record(&out, "image");
    record_add_hex(line, "base", machine->image.base);
    record_add_hex(line, "text", machine->image.text.phys);
    record_add_decimal(line, "bytes", machine->image.bytes);
    record_add_hex(line, "crc", machine->image.crc);
    console_record(console, 0, line);

    line = record(&out, "serial");
    record_add_text(line, "found", serial->found);
    if (serial->by)
        record_add_text(line, "by", serial->by);
    if (serial->spcr)
        record_add_text(line, "spcr", serial->spcr);
    if (console->uart.present) {
        if (console->uart.mmio != 0)
            record_add_hex(line, "mmio", console->uart.mmio);
        else
            record_add_hex(line, "port", console->uart.port);
        record_add_decimal(line, "baud", UART_BAUD_MAX / console->uart.divisor);
    }
    console_record(console, 0, line);
}

void report_machine(struct console *console, const struct machine *machine, const struct plan *plan)
{
    const struct inventory *inventory = &machine->inventory;
    struct report_line out;

    struct line *line = record(&out, "machine");
    record_add_text(line, "apic_at_entry",
                    machine->apic_base & APIC_BASE_EXTD ? apic_x2apic.name : apic_xapic.name);
    record_add_text(line, "apic", plan->apic->name);
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

void report_lcpus(struct console *console, const struct arena *arena)
{
    struct report_line out;

    for (size_t slot = 1; slot < arena->count; slot++) {
        const struct lcpu *lcpu = &arena_lcpu(arena, slot)->lcpu;
        struct line *line = sentence(&out);
        line_add_format(line, "Initialized CPU %u: entry=%x, stack=%x", (uint64_t)lcpu->index,
                        lcpu->entry, lcpu->stack);
        console_say(console, 0, line);
    }
}

void report_trampoline(struct console *console, const struct machine *machine,
                       const struct trampoline *trampoline, size_t relocations, uint64_t cr3)
{
    const uint64_t page = machine->low_page;
    struct report_line out;

    struct line *line = sentence(&out);
    line_add_format(line, "Copied %u bytes to %x", (uint64_t)trampoline->bytes, page);
    console_say(console, 0, line);
    line = sentence(&out);
    line_add_format(line, "Applied %u relocations to trampoline at %x", (uint64_t)relocations,
                    page);
    console_say(console, 0, line);
    line = sentence(&out);
    line_add_format(line, "Set page table addr in trampoline: %x", cr3);
    console_say(console, 0, line);

    line = record(&out, "trampoline");
    record_add_hex(line, "page", page);
    record_add_decimal(line, "bytes", trampoline->bytes);
    record_add_decimal(line, "relocations", relocations);
    record_add_hex(line, "vector", page / PAGE_BYTES);
    record_add_hex(line, "cr3", cr3);
    console_record(console, 0, line);
}

void report_bound(struct console *console, uint64_t us)
{
    struct report_line out;

    struct line *line = record(&out, "bound");
    record_add_decimal(line, "seconds", us / 1000000 + 1);
    console_record(console, 0, line);
}

void report_starting(struct console *console, const struct plan *plan)
{
    struct report_line out;

    for (size_t slot = 1; slot <= plan->want; slot++) {
        struct line *line = sentence(&out);
        line_add_format(line, "Starting CPU %u...", (uint64_t)plan->lcpus[slot].cpu);
        console_say(console, 0, line);
    }
}

void report_firmware(struct console *console, const struct machine *machine,
                     const struct firmware_times *times)
{
    struct report_line out;

    struct line *line = record(&out, "firmware");
    record_add_decimal(line, "cpus", machine->mp_services_enabled);
    record_add_decimal(line, "cold_us", times->cold_us);
    record_add_decimal(line, "warm_us", times->warm_us);
    console_record(console, 0, line);
}

// Firmware's time over ours, with one decimal.
static void add_ratio(struct line *line, uint64_t firmware_us, uint64_t our_us)
{
    const uint64_t tenths = our_us > 0 ? firmware_us * 10 / our_us : 0;
    line_add_format(line, " ratio=%u.%u", tenths / 10, tenths % 10);
}

void report_wake(struct console *console, const struct wake *wake, const struct wake_result *result,
                 const struct firmware_times *times)
{
    const struct plan *plan = wake->plan;
    struct report_line out;

    struct line *line = record(&out, "wake");
    record_add_text(line, "wake", smp_strategy_word(plan->wake));
    record_add_decimal(line, "round", wake->generation);
    record_add_decimal(line, "want", plan->want);
    record_add_decimal(line, "up", result->up);
    record_add_decimal(line, "icr_writes", result->icr_writes);
    record_add_decimal(line, "first_us", result->first_us);
    record_add_decimal(line, "median_us", result->median_us);
    record_add_decimal(line, "last_us", result->last_us);
    record_add_decimal(line, "send_us", result->send_us);
    record_add_decimal(line, "retried", result->retried);
    if (result->helped > 0)
        record_add_decimal(line, "helped", result->helped);
    if (result->unsent > 0)
        record_add_decimal(line, "unsent", result->unsent);
    if (times && times->warm_us > 0 && result->up > 0 && result->up == plan->want)
        add_ratio(line, times->warm_us, result->last_us);
    console_record(console, 0, line);
}

void report_null(struct console *console, const struct wake *wake, enum null_mode mode,
                 const struct null_times *times)
{
    struct report_line out;

    struct line *line = record(&out, "null");
    record_add_text(line, "mode", mode == NULL_REAL ? "real" : "long");
    record_add_decimal(line, "cpus", wake->plan->want);
    record_add_decimal(line, "up", times->up);
    record_add_decimal(line, "cold_us", times->cold_us);
    record_add_decimal(line, "warm_min_us", times->warm_us.min);
    record_add_decimal(line, "warm_median_us", times->warm_us.median);
    record_add_decimal(line, "warm_max_us", times->warm_us.max);
    console_record(console, 0, line);
}

void report_sweep(struct console *console, const struct wake *wake, const struct sweep *sweep,
                  size_t setting, const struct sweep_result *result)
{
    char digits[SWEEP_DIGITS];
    struct report_line out;

    struct line *line = record(&out, "sweep");
    record_add_text(line, "key", sweep_word(sweep->key));
    record_add_text(line, "value", sweep_value(sweep, setting, digits));
    record_add_decimal(line, "rounds", wake->plan->rounds);
    record_add_decimal(line, "want", wake->plan->want);
    record_add_decimal(line, "first_try", result->first_try);
    record_add_decimal(line, "up", result->up);
    record_add_decimal(line, "lost", result->lost);
    record_add_decimal(line, "first_us", result->first_us);
    record_add_decimal(line, "median_us", result->median_us.median);
    record_add_decimal(line, "last_us", result->last_us.median);
    record_add_decimal(line, "slowest_us", result->last_us.max);
    record_add_decimal(line, "icr_writes", result->icr_writes);
    console_record(console, 0, line);
}

// Is the setting `left` to be preferred? Words among numbers (auto) are no number.
static bool is_better(const struct sweep *sweep, const struct sweep_result *results, size_t left,
                      size_t right)
{
    if (sweep->key == SWEEP_WAKE)
        return results[left].last_us.median < results[right].last_us.median;
    return sweep->values[left] < sweep->values[right];
}

static bool is_candidate(const struct sweep *sweep, const struct sweep_result *result,
                         size_t setting)
{
    const bool comparable = sweep->key == SWEEP_WAKE || sweep_is_number(sweep, setting);
    return comparable && result->lost == 0;
}

void report_sweep_end(struct console *console, const struct sweep *sweep,
                      const struct sweep_result *results)
{
    const bool of_words = sweep->key == SWEEP_WAKE;
    const char *best_word = of_words ? "fastest" : "smallest";
    size_t best = SWEEP_MAX;
    char digits[SWEEP_DIGITS];
    struct report_line out;

    for (size_t i = 0; i < sweep->count; i++) {
        if (is_candidate(sweep, &results[i], i) &&
            (best == SWEEP_MAX || is_better(sweep, results, i, best)))
            best = i;
    }
    const char *value = best < SWEEP_MAX ? sweep_value(sweep, best, digits) : "none";
    struct line *line = record(&out, "sweep-result");
    record_add_text(line, "key", sweep_word(sweep->key));
    record_add_text(line, best_word, value);
    console_record(console, 0, line);
    line = sentence(&out);
    if (best < SWEEP_MAX)
        line_add_format(line, "The %s %s at which nobody was ever lost: %s", best_word,
                        sweep_word(sweep->key), value);
    else
        line_add_format(line, "With every value of %s somebody was lost at the first try",
                        sweep_word(sweep->key));
    console_say(console, 0, line);
}

void report_memory(struct console *console, const struct arena *arena)
{
    const size_t per_cpu = sizeof(struct lcpu_page) + GUARD_BYTES + STACK_BYTES;
    struct report_line out;

    struct line *line = record(&out, "memory");
    record_add_decimal(line, "cpus", arena->count);
    record_add_decimal(line, "per_cpu_bytes", per_cpu);
    record_add_decimal(line, "total_bytes", arena->bytes);
    record_add_decimal(line, "low_bytes", PAGE_BYTES);
    console_record(console, 0, line);
}

void report_times(struct console *console, const struct clock *clock, const struct run_times *times)
{
    struct report_line out;

    struct line *line = record(&out, "times");
    record_add_decimal(line, "prepare_us", clock_us(clock, times->prepared - times->start));
    record_add_decimal(line, "leave_us", clock_us(clock, times->left - times->prepared));
    record_add_decimal(line, "wake_us", clock_us(clock, times->woken - times->left));
    record_add_decimal(line, "report_us", clock_us(clock, times->reported - times->woken));
    record_add_decimal(line, "total_us", clock_us(clock, times->reported - times->start));
    console_record(console, 0, line);
}

void report_rounds(struct console *console, const struct plan *plan, uint32_t *last_us)
{
    struct report_line out;

    if (plan->rounds < 2)
        return;
    const uint32_t cold = last_us[0];
    const struct spread warm = spread_of(last_us + 1, plan->rounds - 1);
    struct line *line = record(&out, "rounds");
    record_add_decimal(line, "rounds", plan->rounds);
    record_add_decimal(line, "cold_us", cold);
    record_add_decimal(line, "warm_min_us", warm.min);
    record_add_decimal(line, "warm_median_us", warm.median);
    record_add_decimal(line, "warm_max_us", warm.max);
    console_record(console, 0, line);
}

// When an AP reached a stage, in nanoseconds: real mode since the round's first message, a later
// one since its own first instruction. 0 if it did not; it says so itself from protected mode on.
static uint64_t stage_ns(const struct wake *wake, const struct lcpu *lcpu, uint32_t stage)
{
    const uint64_t stamp = stage == STAGE_REAL        ? lcpu->tsc_real
                           : stage == STAGE_PROTECTED ? lcpu->tsc_protected
                           : stage == STAGE_LONG      ? lcpu->tsc_long
                                                      : lcpu->tsc_c;
    const uint64_t since = stage == STAGE_REAL ? wake->started : lcpu->tsc_real;
    const uint32_t reached = wake_stage(lcpu, wake->generation);
    const uint64_t khz = (wake->clock.tsc_hz + 999) / 1000;
    // Whom firmware woke was in C from the start.
    if (reached < STAGE_PROTECTED || reached < stage || lcpu->tsc_real == 0 || stamp < since)
        return 0;
    return (stamp - since) * 1000000 / khz;
}

// Those who came far enough to leave stamps.
static size_t stamped(const struct wake *wake)
{
    size_t count = 0;

    for (uint32_t slot = 1; slot <= wake->plan->want; slot++)
        count += stage_ns(wake, &arena_lcpu(wake->arena, slot)->lcpu, STAGE_PROTECTED) > 0;
    return count;
}

void report_stages(struct console *console, struct wake *wake)
{
    static const struct {
        uint32_t stage;
        const char *min, *median, *max;
    } keys[] = {
        {STAGE_REAL, "real_min_ns", "real_median_ns", "real_max_ns"},
        {STAGE_PROTECTED, "protected_min_ns", "protected_median_ns", "protected_max_ns"},
        {STAGE_LONG, "long_min_ns", "long_median_ns", "long_max_ns"},
        {STAGE_C, "c_min_ns", "c_median_ns", "c_max_ns"},
    };
    struct report_line out;
    struct line *line = record(&out, "stages");

    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        size_t count = 0;
        for (uint32_t slot = 1; slot <= wake->plan->want; slot++) {
            const struct lcpu *lcpu = &arena_lcpu(wake->arena, slot)->lcpu;
            const uint64_t ns = stage_ns(wake, lcpu, keys[i].stage);
            if (ns > 0)
                wake->values[count++] = ns < UINT32_MAX ? (uint32_t)ns : UINT32_MAX;
        }
        const struct spread spread = spread_of(wake->values, count);
        if (keys[i].stage == STAGE_REAL) // by two processors' counters: one may be behind
            record_add_decimal(line, "cpus", stamped(wake));
        record_add_decimal(line, keys[i].min, spread.min);
        record_add_decimal(line, keys[i].median, spread.median);
        record_add_decimal(line, keys[i].max, spread.max);
    }
    console_record(console, 0, line);
}

static struct line *cpu_record(struct report_line *out, uint32_t index, const struct cpu *cpu,
                               const char *state)
{
    struct line *line = record(out, "cpu");
    record_add_decimal(line, "cpu", index);
    record_add_hex(line, "apic", cpu->apic_id);
    if (cpu->uid != CPU_UID_UNKNOWN)
        record_add_decimal(line, "uid", cpu->uid);
    record_add_text(line, "state", state);
    return line;
}

// For people: what happened, and what to look at next.
static void tell_story(struct console *console, uint32_t cpu, const struct evidence *evidence,
                       enum cause cause)
{
    struct report_line out;

    struct line *line = sentence(&out);
    line_add_format(line, "CPU %u failed: %s", (uint64_t)cpu, cause_story(cause));
    if (cause == CAUSE_FAULT)
        line_add_format(line, ": vector %u (%s) in %s at %x, error code %x, CR2 %x",
                        (uint64_t)evidence->fault.vector, fault_name(evidence->fault.vector),
                        mode_story(evidence->fault.mode), evidence->fault.ip,
                        (uint64_t)evidence->fault.error, evidence->fault.cr2);
    line_add_text(line, ".");
    console_say(console, 0, line);
    line = sentence(&out);
    line_add_format(line, "  Look next: %s", cause_advice(cause));
    console_say(console, 0, line);
}

static void add_fault(struct line *line, const struct fault_evidence *fault)
{
    record_add_text(line, "mode", mode_word(fault->mode));
    record_add_decimal(line, "vector", fault->vector);
    record_add_hex(line, "error", fault->error);
    record_add_hex(line, "ip", fault->ip);
    record_add_hex(line, "cr2", fault->cr2);
}

// What made it come: nothing but the first message, a further STARTUP, or a further sequence.
static const char *helped_by(const struct account *account, const struct lcpu *lcpu)
{
    if (account->tries > 1)
        return "sequence";
    return wake_helped_by_startup(account, lcpu) ? "startup" : NULL;
}

static void report_wanted(struct console *console, const struct wake *wake, uint32_t slot,
                          const struct cpu *cpu, struct outcome *outcome)
{
    const struct account *account = arena_account(wake->arena, slot);
    const struct lcpu *lcpu = &arena_lcpu(wake->arena, slot)->lcpu;
    const struct evidence evidence = examine(wake, slot);
    const enum cause cause = verdict(&evidence);
    struct report_line out;

    struct line *line =
        cpu_record(&out, account->cpu, cpu, cause == CAUSE_NONE ? "online" : "failed");
    record_add_text(line, "stage", stage_word(evidence_stage(&evidence)));
    record_add_decimal(line, "tries", account->tries);
    if (account->up && helped_by(account, lcpu))
        record_add_text(line, "retry", helped_by(account, lcpu));
    if (account->up)
        record_add_decimal(line, "us", account->us);
    if (evidence.greeted && lcpu->location_known) {
        record_add_decimal(line, "package", lcpu->package);
        record_add_decimal(line, "core", lcpu->core);
        record_add_decimal(line, "thread", lcpu->thread);
    }
    if (account->lost > 0)
        record_add_decimal(line, "lost", account->lost);
    if (cause != CAUSE_NONE)
        record_add_text(line, "cause", cause_word(cause));
    if (cause == CAUSE_FAULT)
        add_fault(line, &evidence.fault);
    console_record(console, 0, line);

    outcome->want++;
    if (cause == CAUSE_NONE) {
        outcome->up++;
        return;
    }
    outcome->failed++;
    tell_story(console, account->cpu, &evidence, cause);
}

void report_aswoken(struct console *console, const struct wake *wake)
{
    struct report_line out;

    if (console->log != LOG_DEBUG)
        return;
    for (uint32_t slot = 1; slot <= wake->plan->want; slot++) {
        const struct lcpu *lcpu = &arena_lcpu(wake->arena, slot)->lcpu;
        if (wake_stage(lcpu, wake->generation) < STAGE_PROTECTED)
            continue;
        struct line *line = record(&out, "aswoken");
        record_add_decimal(line, "cpu", lcpu->index);
        record_add_hex(line, "bist", lcpu->bist);
        record_add_hex(line, "signature", lcpu->signature);
        record_add_hex(line, "cr0", lcpu->cr0);
        record_add_hex(line, "cr4", lcpu->cr4);
        record_add_hex(line, "efer", lcpu->efer);
        record_add_hex(line, "apic_base", lcpu->apic_base);
        record_add_hex(line, "microcode", lcpu->microcode);
        record_add_text(line, "missing_msr", missing_msr_word(lcpu->missing_msr));
        record_add_decimal(line, "tsc_real", lcpu->tsc_real);
        record_add_decimal(line, "protected_ns", stage_ns(wake, lcpu, STAGE_PROTECTED));
        record_add_decimal(line, "long_ns", stage_ns(wake, lcpu, STAGE_LONG));
        record_add_decimal(line, "c_ns", stage_ns(wake, lcpu, STAGE_C));
        console_record(console, 0, line);
    }
}

void report_flags(const struct wake *wake, const struct problems *problems)
{
    struct report_line out;

    for (uint32_t slot = 1; slot <= wake->plan->want; slot++) {
        const struct lcpu *lcpu = &arena_lcpu(wake->arena, slot)->lcpu;
        if (!(lcpu->apic_base & APIC_BASE_BSP))
            continue;
        struct line *line = sentence(&out);
        line_add_format(
            line,
            "CPU %u is also flagged as a BSP (IA32_APIC_BASE %x), and an INIT to such a "
            "processor may restart the machine: leave it out with cpus=",
            (uint64_t)lcpu->index, lcpu->apic_base);
        problems->tell(problems->context, SEVERITY_WARNING, "bsp-flag", line->text);
    }
}

// A processor that the inventory has as disabled; it may have come by a broadcast all the same.
static void report_disabled(struct console *console, const struct machine *machine,
                            const struct wake *wake, uint32_t index)
{
    const struct cpu *cpu = &machine->inventory.cpus[index];
    const bool came = wake && examine_came_unasked(wake, cpu->apic_id);
    struct report_line out;

    struct line *line = cpu_record(&out, index, cpu, "disabled");
    if (came)
        record_add_decimal(line, "came", 1);
    console_record(console, 0, line);
    if (!came)
        return;
    line = sentence(&out);
    line_add_format(
        line,
        "CPU %u (APIC ID %u) started unasked: %s lists it as disabled, so it was plugged "
        "in since, or firmware keeps it out; it is parked",
        (uint64_t)index, (uint64_t)cpu->apic_id, inventory_source_name(machine->inventory.source));
    console_say(console, 0, line);
}

// Processors that came by a broadcast and found no record: those of the inventory are told already.
static void report_unlisted(struct console *console, const struct machine *machine,
                            const struct wake *wake)
{
    const struct rally *rally = arena_rally(wake->arena);
    const uint32_t count = atomic_load_explicit(&rally->unlisted_count, memory_order_acquire);
    const uint32_t named = count < RALLY_UNLISTED_MAX ? count : RALLY_UNLISTED_MAX;
    struct report_line out;

    for (uint32_t i = 0; i < named; i++) {
        const uint32_t apic_id = rally_unlisted_id(rally, i);
        bool told = apic_id == RALLY_NO_ID; // it is about to say which it is
        for (uint32_t before = 0; before < i && !told; before++)
            told = rally_unlisted_id(rally, before) == apic_id;
        for (size_t cpu = 0; cpu < machine->inventory.count && !told; cpu++)
            told = machine->inventory.cpus[cpu].apic_id == apic_id;
        if (told)
            continue;
        struct line *line = record(&out, "cpu");
        record_add_hex(line, "apic", apic_id);
        record_add_text(line, "state", "unlisted");
        console_record(console, 0, line);
    }
    if (count > named) {
        struct line *line = record(&out, "warning");
        record_add_text(line, "what", "many-unlisted");
        record_add_decimal(line, "count", count);
        record_add_decimal(line, "named", named);
        console_record(console, 0, line);
    }
}

void report_cpus(struct console *console, const struct machine *machine, const struct wake *wake,
                 struct outcome *outcome)
{
    const struct inventory *inventory = &machine->inventory;
    struct report_line out;
    uint32_t slot = 1;

    *outcome = (struct outcome){0};
    for (uint32_t index = 0; index < inventory->count; index++) {
        const struct cpu *cpu = &inventory->cpus[index];
        if (wake && index > 0 && slot <= wake->plan->want && wake->plan->lcpus[slot].cpu == index) {
            report_wanted(console, wake, slot++, cpu, outcome);
            continue;
        }
        if (cpu->repeated)
            continue;
        if (index > 0 && cpu->listing == CPU_DISABLED)
            report_disabled(console, machine, wake, index);
        else
            console_record(console, 0,
                           cpu_record(&out, index, cpu, index == 0 ? "bsp" : "skipped"));
    }
    if (wake)
        report_unlisted(console, machine, wake);
    outcome->ok = wake && outcome->failed == 0;
}

void report_end(struct console *console, const struct outcome *outcome)
{
    struct report_line out;

    struct line *line = record(&out, "end");
    record_add_decimal(line, "ok", outcome->ok);
    record_add_decimal(line, "want", outcome->want);
    record_add_decimal(line, "up", outcome->up);
    record_add_decimal(line, "failed", outcome->failed);
    console_record(console, 0, line);
}
