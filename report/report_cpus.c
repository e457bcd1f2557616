// Accounts into lines. Surprise: the inventory decides who has a record, and not the engine, so a
// processor that was left out, is disabled, or is in no table at all has one, too.

#include "report_cpus.h"

#include "advice.h"
#include "lapic.h"
#include "report_line.h"
#include "stages.h"
#include "tell.h"

// The words of docs/contract.md: the function that an AP has run says hello.
static const char *stage_word(enum smp_stage stage)
{
    return stage == SMP_STAGE_DONE ? "greeted" : smp_stage_word(stage);
}

// The mode in which a fault was met: C is the last.
static const char *mode_word(enum smp_stage mode)
{
    return smp_stage_word(mode < SMP_STAGE_C ? mode : SMP_STAGE_C);
}

static const char *mode_phrase(enum smp_stage mode)
{
    static const char *const phrases[] = {"a mode unknown", "real mode", "protected mode",
                                          "long mode"};
    return mode < SMP_STAGE_C ? phrases[mode] : "C";
}

static struct line *cpu_record(struct report_line *out, uint32_t index, const struct cpu *cpu,
                               const char *state)
{
    struct line *line = report_start_record(out, "cpu");
    record_add_decimal(line, "cpu", index);
    record_add_hex(line, "apic", cpu->apic_id);
    if (cpu->uid != CPU_UID_UNKNOWN)
        record_add_decimal(line, "uid", cpu->uid);
    record_add_text(line, "state", state);
    return line;
}

// For people: what happened, and what to look at next.
static void tell_story(struct console *console, const struct smp_account *account,
                       enum smp_cause cause)
{
    const struct smp_fault *fault = &account->fault;
    struct report_line out;

    struct line *line = report_start_sentence(&out);
    line_add_format(line, "CPU %u failed: %s", (uint64_t)account->cpu, smp_cause_story(cause));
    if (cause == SMP_CAUSE_FAULT)
        line_add_format(line, ": vector %u (%s) in %s at %x, error code %x, CR2 %x",
                        (uint64_t)fault->vector, smp_fault_word(fault->vector),
                        mode_phrase(fault->mode), fault->ip, (uint64_t)fault->error, fault->cr2);
    line_add_text(line, ".");
    console_say(console, 0, line);
    console_tell(console, "  Look next: %s", cause_advice(cause));
}

static void add_fault(struct line *line, const struct smp_fault *fault)
{
    record_add_text(line, "mode", mode_word(fault->mode));
    record_add_decimal(line, "vector", fault->vector);
    record_add_hex(line, "error", fault->error);
    record_add_hex(line, "ip", fault->ip);
    record_add_hex(line, "cr2", fault->cr2);
}

// What it took beyond the first STARTUP: another one, or another sequence; NULL: nothing.
static const char *helped_by(const struct smp_account *account)
{
    if (account->tries > 1)
        return "sequence";
    return account->startup_helped ? "startup" : NULL;
}

static void add_kind(struct line *line, enum core_kind kind)
{
    if (kind != CORE_UNKNOWN)
        record_add_text(line, "kind", core_kind_word(kind));
}

static void add_place(struct line *line, const struct topology *place)
{
    record_add_decimal(line, "package", place->package);
    record_add_decimal(line, "core", place->core);
    record_add_decimal(line, "thread", place->thread);
    for (size_t domain = 0; domain < DOMAINS; domain++) {
        if (place->domains[domain].named)
            record_add_decimal(line, domain_word((enum domain)domain),
                               place->domains[domain].number);
    }
    add_kind(line, place->kind);
}

void report_ap(struct console *console, const struct cpu *cpu, const struct smp_account *account,
               const struct hello *hello)
{
    const enum smp_cause cause = smp_verdict(account);
    struct report_line out;

    struct line *line =
        cpu_record(&out, account->cpu, cpu, cause == SMP_CAUSE_NONE ? "online" : "failed");
    record_add_text(line, "stage", stage_word(smp_account_stage(account)));
    record_add_decimal(line, "tries", account->tries);
    if (account->arrived && helped_by(account))
        record_add_text(line, "retry", helped_by(account));
    if (account->arrived)
        record_add_decimal(line, "us", account->us);
    if (account->done && hello->known)
        add_place(line, &hello->place);
    if (account->lost > 0)
        record_add_decimal(line, "lost", account->lost);
    if (cause != SMP_CAUSE_NONE)
        record_add_text(line, "cause", smp_cause_word(cause));
    if (cause == SMP_CAUSE_FAULT)
        add_fault(line, &account->fault);
    console_record(console, 0, line);
    if (cause != SMP_CAUSE_NONE)
        tell_story(console, account, cause);
}

static void report_bsp(struct console *console, const struct cpu *cpu,
                       const struct evidence *evidence)
{
    struct report_line out;

    struct line *line = cpu_record(&out, 0, cpu, "bsp");
    if (evidence && evidence->hellos[0].known)
        add_kind(line, evidence->hellos[0].place.kind);
    console_record(console, 0, line);
}

// A processor that the inventory lists as disabled; a broadcast may have started it all the same.
static void report_disabled(struct console *console, const struct inventory *inventory,
                            const struct evidence *evidence, uint32_t index)
{
    const struct cpu *cpu = &inventory->cpus[index];
    const bool came = evidence && evidence_came_unlisted(evidence, cpu->apic_id);
    struct report_line out;

    struct line *line = cpu_record(&out, index, cpu, "disabled");
    if (came)
        record_add_decimal(line, "came", 1);
    console_record(console, 0, line);
    if (!came)
        return;
    console_tell(console,
                 "CPU %u (APIC ID %u) started although %s lists it as disabled: it was plugged in "
                 "since, or firmware holds it back; it is parked",
                 (uint64_t)index, (uint64_t)cpu->apic_id, inventory_source_name(inventory->source));
}

static void report_strangers(struct console *console, const struct inventory *inventory,
                             const struct evidence *evidence)
{
    uint32_t apic_ids[SMP_UNLISTED_MAX];
    const size_t count = evidence_strangers(evidence, inventory, apic_ids);
    const uint32_t named = evidence_named(evidence);
    struct report_line out;

    for (size_t i = 0; i < count; i++) {
        struct line *line = report_start_record(&out, "cpu");
        record_add_hex(line, "apic", apic_ids[i]);
        record_add_text(line, "state", "unlisted");
        console_record(console, 0, line);
    }
    if (evidence->unlisted > named) {
        struct line *line = report_start_record(&out, "warning");
        record_add_text(line, "what", "many-unlisted");
        record_add_decimal(line, "count", evidence->unlisted);
        record_add_decimal(line, "named", named);
        console_record(console, 0, line);
    }
}

static void report_kinds(struct console *console, const struct evidence *evidence)
{
    uint32_t counts[CORE_KINDS];
    struct report_line out;

    if (!evidence_count_kinds(evidence, counts))
        return;
    struct line *line = report_start_record(&out, "kinds");
    record_add_decimal(line, "p", counts[CORE_PERFORMANCE]);
    record_add_decimal(line, "e", counts[CORE_EFFICIENCY]);
    record_add_decimal(line, "lp", counts[CORE_LOW_POWER]);
    record_add_decimal(line, "unknown", counts[CORE_UNKNOWN]);
    console_record(console, 0, line);
    console_tell(console,
                 "Processors by kind of core, CPU 0 included: %u P, %u E, %u low-power E, %u "
                 "unknown",
                 (uint64_t)counts[CORE_PERFORMANCE], (uint64_t)counts[CORE_EFFICIENCY],
                 (uint64_t)counts[CORE_LOW_POWER], (uint64_t)counts[CORE_UNKNOWN]);
}

void report_cpus(struct console *console, const struct inventory *inventory,
                 const struct evidence *evidence)
{
    struct report_line out;
    uint32_t slot = 1;

    for (uint32_t index = 0; index < inventory->count; index++) {
        const struct cpu *cpu = &inventory->cpus[index];
        if (evidence && slot < evidence->count && evidence->accounts[slot].cpu == index) {
            report_ap(console, cpu, &evidence->accounts[slot], &evidence->hellos[slot]);
            slot++;
            continue;
        }
        if (cpu->repeated)
            continue;
        if (index == 0)
            report_bsp(console, cpu, evidence);
        else if (cpu->listing == CPU_DISABLED)
            report_disabled(console, inventory, evidence, index);
        else
            console_record(console, 0, cpu_record(&out, index, cpu, "skipped"));
    }
    if (!evidence)
        return;
    report_strangers(console, inventory, evidence);
    report_kinds(console, evidence);
}

void report_aswoken(struct console *console, const struct evidence *evidence,
                    const struct clock *clock)
{
    struct report_line out;

    if (console->log != LOG_DEBUG)
        return;
    for (uint32_t slot = 1; slot < evidence->count; slot++) {
        const struct smp_account *account = &evidence->accounts[slot];
        const struct hello *hello = &evidence->hellos[slot];
        if (account->stage < SMP_STAGE_PROTECTED)
            continue;
        struct line *line = report_start_record(&out, "aswoken");
        record_add_decimal(line, "cpu", account->cpu);
        record_add_hex(line, "bist", account->bist);
        record_add_hex(line, "signature", account->signature);
        record_add_hex(line, "cr0", account->cr0);
        record_add_hex(line, "cr4", account->cr4);
        record_add_hex(line, "efer", account->efer);
        record_add_hex(line, "apic_base", account->apic_base);
        record_add_hex(line, "microcode", hello->microcode);
        record_add_text(line, "missing_msr", missing_msr_word(hello->missing_msr));
        record_add_decimal(line, "tsc_real", account->tsc_real);
        record_add_decimal(line, "protected_ns", stage_ns(account, SMP_STAGE_PROTECTED, clock));
        record_add_decimal(line, "long_ns", stage_ns(account, SMP_STAGE_LONG, clock));
        record_add_decimal(line, "c_ns", stage_ns(account, SMP_STAGE_C, clock));
        console_record(console, 0, line);
    }
}

void report_flags(const struct evidence *evidence, const struct problems *problems)
{
    for (uint32_t slot = 1; slot < evidence->count; slot++) {
        const struct smp_account *account = &evidence->accounts[slot];
        if (!(account->apic_base & APIC_BASE_BSP))
            continue;
        problem_tell(problems, SEVERITY_WARNING, "bsp-flag",
                     "CPU %u is also flagged as a BSP (IA32_APIC_BASE %x), and an INIT to such a "
                     "processor may restart the machine: leave it out with cpus=",
                     (uint64_t)account->cpu, account->apic_base);
    }
}
