// Results into lines. Every key of contract.md that a run prints after its options is written here.

#include "report.h"

#include "verdict.h"

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

static const char *wake_word(enum wake_strategy wake)
{
    static const char *const words[] = {"parallel", "one-by-one", "broadcast"};
    return words[wake];
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

void report_start(struct console *console, const struct machine *machine, const char *version)
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
    record_add_decimal(line, "cpus", inventory->enabled);
    record_add_decimal(line, "disabled", inventory->disabled);
    record_add_decimal(line, "duplicate", inventory->duplicate);
    record_add_decimal(line, "impossible", inventory->impossible);
    record_add_decimal(line, "mp_services", machine->mp_services);
    record_add_decimal(line, "tsc_hz", machine->clock.tsc_hz);
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
    line_add_format(line, "Applied %u relocations to trampoline at %x", (uint64_t)relocations, page);
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

void report_starting(struct console *console, const struct plan *plan)
{
    struct report_line out;

    for (size_t slot = 1; slot <= plan->want; slot++) {
        struct line *line = sentence(&out);
        line_add_format(line, "Starting CPU %u...", (uint64_t)plan->lcpus[slot].cpu);
        console_say(console, 0, line);
    }
}

void report_wake(struct console *console, const struct plan *plan, const struct wake *wake,
                 const struct wake_result *result)
{
    struct report_line out;

    struct line *line = record(&out, "wake");
    record_add_text(line, "wake", wake_word(plan->wake));
    record_add_decimal(line, "round", wake->generation);
    record_add_decimal(line, "want", plan->want);
    record_add_decimal(line, "up", result->up);
    record_add_decimal(line, "icr_writes", result->icr_writes);
    record_add_decimal(line, "first_us", result->first_us);
    record_add_decimal(line, "last_us", result->last_us);
    record_add_decimal(line, "send_us", result->send_us);
    record_add_decimal(line, "retried", result->retried);
    if (result->unsent > 0)
        record_add_decimal(line, "unsent", result->unsent);
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

// Does another wanted AP leave its real-mode mark in the same place? O(n), asked for the lost only.
static bool mark_is_shared(const struct wake *wake, uint32_t slot)
{
    const uint32_t apic_id = wake->plan->lcpus[slot].apic_id;
    for (uint32_t other = 0; other <= wake->plan->want; other++) {
        if (other != slot && ((wake->plan->lcpus[other].apic_id ^ apic_id) & (MARK_COUNT - 1)) == 0)
            return true;
    }
    return false;
}

static struct evidence gather_evidence(const struct wake *wake, uint32_t slot)
{
    const struct lcpu *lcpu = &arena_lcpu(wake->arena, slot)->lcpu;
    const struct account *account = arena_account(wake->arena, slot);
    return (struct evidence){
        .stage = wake_stage(lcpu, wake->generation),
        .mark = trampoline_mark(wake->page_view, lcpu->apic_id),
        .mark_shared = !account->up && mark_is_shared(wake, slot),
        .fault = atomic_load_explicit(&lcpu->fault.valid, memory_order_acquire) != 0,
        .greeted = account->greeted,
        .lost = account->lost,
    };
}

static void tell_advice(struct console *console, uint32_t cpu, enum cause cause)
{
    struct report_line out;

    struct line *line = sentence(&out);
    line_add_format(line, "CPU %u failed: %s. Next: %s.", (uint64_t)cpu, cause_story(cause),
                    cause_advice(cause));
    console_say(console, 0, line);
}

static void report_wanted(struct console *console, const struct wake *wake, uint32_t slot,
                          const struct cpu *cpu, struct outcome *outcome)
{
    const struct account *account = arena_account(wake->arena, slot);
    const struct evidence evidence = gather_evidence(wake, slot);
    const enum cause cause = verdict(&evidence);
    const uint32_t stage = evidence.greeted          ? STAGE_GREETED
                           : evidence.stage != 0      ? evidence.stage
                           : !evidence.mark_shared    ? evidence.mark
                                                      : STAGE_NONE;
    struct report_line out;

    struct line *line =
        cpu_record(&out, account->cpu, cpu, cause == CAUSE_NONE ? "online" : "failed");
    record_add_text(line, "stage", stage_word(stage));
    record_add_decimal(line, "tries", account->tries);
    if (account->up)
        record_add_decimal(line, "us", account->us);
    if (account->lost > 0)
        record_add_decimal(line, "lost", account->lost);
    if (cause != CAUSE_NONE)
        record_add_text(line, "cause", cause_word(cause));
    console_record(console, 0, line);

    outcome->want++;
    if (cause == CAUSE_NONE) {
        outcome->up++;
        return;
    }
    outcome->failed++;
    tell_advice(console, account->cpu, cause);
}

// Processors that came by a broadcast and found no record: those of the inventory are `skipped` already.
static void report_unlisted(struct console *console, const struct machine *machine,
                            const struct wake *wake)
{
    const struct rally *rally = arena_rally(wake->arena);
    const uint32_t count = atomic_load_explicit(&rally->unlisted_count, memory_order_acquire);
    const uint32_t named = count < RALLY_UNLISTED_MAX ? count : RALLY_UNLISTED_MAX;
    struct report_line out;

    for (uint32_t i = 0; i < named; i++) {
        const uint32_t apic_id = rally->unlisted_ids[i];
        bool told = false;
        for (uint32_t before = 0; before < i && !told; before++)
            told = rally->unlisted_ids[before] == apic_id;
        for (uint32_t cpu = 0; cpu < machine->inventory.enabled && !told; cpu++)
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
        console_record(console, 0,
                       cpu_record(&out, index, cpu,
                                  index == 0                           ? "bsp"
                                  : cpu->listing == CPU_DISABLED ? "disabled"
                                                                       : "skipped"));
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
