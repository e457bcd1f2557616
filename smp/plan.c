// Deciding what will be sent to whom. Every rule that came from a manual or from another's bug
// stands here, in one line each, and nowhere in the code that sends.

#include "plan.h"

#include "line.h"

// Processors since the P6, K8 and the first Hygon are ready at once; 0 us has been seen to hang on
// some.
#define INIT_MODERN_US 10u

static void tell(const struct problems *problems, enum severity severity, const char *what,
                 const struct line *line)
{
    problems->tell(problems->context, severity, what, line->text);
}

static bool init_is_quick(const struct processor *processor)
{
    switch (processor->vendor) {
    case VENDOR_INTEL:
        return processor->family >= 6;
    case VENDOR_AMD:
        return processor->family >= 0xf;
    case VENDOR_HYGON:
        return processor->family >= 0x18;
    case VENDOR_OTHER:
        break;
    }
    return false;
}

// Can every processor be named in xAPIC mode?
static bool all_fit_xapic(const struct machine *machine)
{
    const struct inventory *inventory = &machine->inventory;
    bool fit = apic_xapic.can_address(machine->bsp_apic_id);

    for (size_t cpu = 0; cpu < inventory->enabled && fit; cpu++)
        fit = apic_xapic.can_address(inventory->cpus[cpu].apic_id);
    return fit;
}

// What firmware left on stays on. Else the x2APIC, unless somebody needs the xAPIC afterwards:
// firmware that is given its processors back; an I/O MMU; or firmware's code behind save=nvram,
// which may run in SMM and use the local APIC there in the mode that it knows.
static bool is_x2apic_better(const struct machine *machine, const struct options *options)
{
    if (machine->apic_base & APIC_BASE_EXTD)
        return true;
    return options->exit == ANSWER_YES && machine->processor.x2apic &&
           !machine->dmar_x2apic_opt_out &&
           !(options->save == SAVE_NVRAM && all_fit_xapic(machine));
}

static enum status choose_apic(const struct machine *machine, const struct options *options,
                               const struct problems *problems, const struct apic_operations **apic)
{
    const bool on = machine->apic_base & APIC_BASE_EXTD;
    char buffer[LINE_BYTES];
    struct line line;

    line_start(&line, buffer, sizeof buffer);
    switch (options->apic) {
    case APIC_AUTO:
        *apic = is_x2apic_better(machine, options) ? &apic_x2apic : &apic_xapic;
        return STATUS_OK;
    case APIC_X2APIC:
        *apic = &apic_x2apic;
        if (on || (machine->processor.x2apic && options->exit == ANSWER_YES))
            return STATUS_OK;
        if (machine->processor.x2apic) {
            line_add_text(&line,
                          "apic=x2apic with exit=no: firmware runs in xAPIC mode, and there is no "
                          "safe way back to it; use apic=auto, or exit=yes");
            break;
        }
        line_add_text(&line, "apic=x2apic, but this processor has no x2APIC (CPUID 1, ECX bit 21); "
                             "use apic=auto");
        break;
    case APIC_XAPIC:
        *apic = &apic_xapic;
        if (!on)
            return STATUS_OK;
        line_add_format(&line,
                        "apic=xapic, but firmware left the x2APIC on (IA32_APIC_BASE %x), and it "
                        "cannot safely be left; use apic=auto",
                        machine->apic_base);
        break;
    }
    tell(problems, SEVERITY_ERROR, "apic-mode", &line);
    return STATUS_UNSUPPORTED;
}

// Every CPU index that `cpus=` names has to be one that can be woken.
static enum status check_selection(const struct inventory *inventory, const struct options *options,
                                   const struct problems *problems)
{
    const char *lister = inventory_source_name(inventory->source);
    enum status status = STATUS_OK;
    char buffer[LINE_BYTES];
    struct line line;

    for (size_t i = 0; i < options->cpus_count; i++) {
        const struct cpu_range *range = &options->cpus[i];
        if (range->last < inventory->enabled)
            continue;
        line_start(&line, buffer, sizeof buffer);
        if (range->last < inventory->count)
            line_add_format(&line, "cpus= names CPU %u, which %s lists as disabled",
                            (uint64_t)range->last, lister);
        else
            line_add_format(&line, "cpus= names CPU %u, but %s lists CPUs 0 to %u only",
                            (uint64_t)range->last, lister, (uint64_t)inventory->enabled - 1);
        tell(problems, SEVERITY_ERROR, "no-such-cpu", &line);
        status = STATUS_INVALID;
    }
    return status;
}

static enum status choose_cpus(const struct machine *machine, const struct options *options,
                               const struct problems *problems, struct plan *plan)
{
    const struct inventory *inventory = &machine->inventory;
    enum status status = check_selection(inventory, options, problems);
    char buffer[LINE_BYTES];
    struct line line;

    plan->lcpus[0] = (struct lcpu_plan){.cpu = 0, .apic_id = machine->bsp_apic_id};
    for (uint32_t cpu = 1; cpu < inventory->enabled; cpu++) {
        if (!options_cpu_wanted(options, cpu))
            continue;
        const uint32_t apic_id = inventory->cpus[cpu].apic_id;
        if (!plan->apic->can_address(apic_id)) {
            line_start(&line, buffer, sizeof buffer);
            line_add_format(
                &line,
                "cpu %u apic %x cannot be addressed in %s mode; leave it out with cpus=, "
                "or use the x2APIC",
                (uint64_t)cpu, (uint64_t)apic_id, plan->apic->name);
            tell(problems, SEVERITY_ERROR, "unreachable-id", &line);
            status = STATUS_UNSUPPORTED;
            continue;
        }
        plan->lcpus[++plan->want] = (struct lcpu_plan){.cpu = cpu, .apic_id = apic_id};
    }
    return status;
}

enum status plan_check_guest(const struct machine *machine, const struct problems *problems)
{
    static const struct {
        const char *what, *name, *why;
    } guests[] = {
        [GUEST_SEV] = {"sev-guest", "an SEV",
                       "its memory is encrypted, and our page tables lack the bit that says so"},
        [GUEST_SEV_ES] =
            {"sev-es-guest", "an SEV-ES",
             "its memory and registers are encrypted, so INIT and STARTUP do not reach "
             "its processors"},
        [GUEST_SEV_SNP] =
            {"snp-guest", "an SEV-SNP",
             "INIT and STARTUP do not reach its processors, only its hypervisor can start "
             "them"},
        [GUEST_TDX] =
            {"tdx-guest", "a TDX",
             "INIT and STARTUP do not reach its processors, only the MADT's mailbox (type "
             "0x10) does"},
    };
    const enum guest guest = machine->processor.guest;
    char buffer[LINE_BYTES];
    struct line line;

    if (guest == GUEST_NONE)
        return STATUS_OK;
    line_start(&line, buffer, sizeof buffer);
    line_add_format(&line, "this is %s guest: %s; run Reveille on the host or in a plain guest",
                    guests[guest].name, guests[guest].why);
    tell(problems, SEVERITY_ERROR, guests[guest].what, &line);
    return STATUS_UNSUPPORTED;
}

static void warn_of_mailbox(const struct machine *machine, const struct problems *problems)
{
    char buffer[LINE_BYTES];
    struct line line;

    if (!machine->inventory.wakeup_mailbox)
        return;
    line_start(&line, buffer, sizeof buffer);
    line_add_text(&line,
                  "the MADT has a wake-up mailbox (type 0x10): firmware parks processors there "
                  "and may not expect an INIT");
    tell(problems, SEVERITY_WARNING, "wakeup-mailbox", &line);
}

// An INIT to the processor that bears the BSP flag restarts the machine: it begins at the reset
// vector and waits for no STARTUP (SDM vol. 3A, "MP Initialization Protocol Algorithm"). Firmware
// may have handed over on another.
static enum status check_bsp_flag(const struct machine *machine, const struct options *options,
                                  const struct problems *problems)
{
    char buffer[LINE_BYTES];
    struct line line;

    if (machine->apic_base & APIC_BASE_BSP || options->wake == WAKE_FIRMWARE)
        return STATUS_OK;
    line_start(&line, buffer, sizeof buffer);
    line_add_format(
        &line,
        "this processor is not flagged as the BSP (IA32_APIC_BASE %x), and an INIT to the one that "
        "is restarts the machine: choose the boot processor in firmware's setup, or use exit=no "
        "wake=firmware",
        machine->apic_base);
    tell(problems, SEVERITY_ERROR, "bsp-flag", &line);
    return STATUS_UNSUPPORTED;
}

// Loading CS takes a far return, which a shadow stack refuses, so shadow stacks are off in the run.
// To switch them on again somewhere else in the chain of calls would be the next fault.
static enum status check_shadow_stack(const struct machine *machine, const struct options *options,
                                      const struct problems *problems)
{
    char buffer[LINE_BYTES];
    struct line line;

    if (!machine->shadow_stack || options->exit == ANSWER_YES)
        return STATUS_OK;
    line_start(&line, buffer, sizeof buffer);
    line_add_text(&line,
                  "firmware runs with a shadow stack (CET), which cannot be restored after a wake: "
                  "use exit=yes");
    tell(problems, SEVERITY_ERROR, "shadow-stack", &line);
    return STATUS_UNSUPPORTED;
}

// Firmware's own wake needs firmware, and sends no message that could be left out or falsified.
static enum status check_firmware_wake(const struct options *options,
                                       const struct problems *problems)
{
    char buffer[LINE_BYTES];
    struct line line;

    const bool ours =
        options->inject_count > 0 || options->bench != BENCH_NONE || options->sweep.count > 0;

    if (options->wake != WAKE_FIRMWARE || (options->exit == ANSWER_NO && !ours))
        return STATUS_OK;
    line_start(&line, buffer, sizeof buffer);
    line_add_text(
        &line,
        options->exit != ANSWER_NO
            ? "wake=firmware works while firmware lives: add exit=no"
            : "wake=firmware sends no message of ours: leave out inject=, bench= and sweep=");
    tell(problems, SEVERITY_ERROR, "firmware-wake", &line);
    return STATUS_INVALID;
}

void plan_set_times(const struct machine *machine, const struct options *options, struct plan *plan)
{
    const bool quick = init_is_quick(&machine->processor);

    plan->wake = options->wake;
    plan->init_us = plan->init_retry_us = options->init_us;
    plan->sipi_us = options->sipi_us;
    plan->sipis = options->sipis;
    plan->timeout_us = options->timeout_us;
    plan->retries = options->retries;
    plan->rounds = options->rounds;
    if (options->init_us == INIT_US_AUTO) {
        plan->init_us = quick ? INIT_MODERN_US : PLAN_INIT_MANUAL_US;
        plan->init_retry_us = PLAN_INIT_MANUAL_US;
    } else if (plan->init_retry_us < PLAN_INIT_MANUAL_US) {
        plan->init_retry_us = PLAN_INIT_MANUAL_US; // a retry is for whoever needed longer
    }
}

enum status plan_make(const struct machine *machine, const struct options *options,
                      const struct problems *problems, struct lcpu_plan *lcpus, struct plan *plan)
{
    *plan = (struct plan){.lcpus = lcpus};
    plan_set_times(machine, options, plan);

    warn_of_mailbox(machine, problems);
    const enum status flag = check_bsp_flag(machine, options, problems);
    const enum status stack = check_shadow_stack(machine, options, problems);
    const enum status apic = choose_apic(machine, options, problems, &plan->apic);
    const enum status cpus = choose_cpus(machine, options, problems, plan);
    const enum status wake = check_firmware_wake(options, problems);
    return wake != STATUS_OK    ? wake
           : flag != STATUS_OK  ? flag
           : stack != STATUS_OK ? stack
           : apic != STATUS_OK  ? apic
                                : cpus;
}

uint64_t plan_round_bound_us(const struct plan *plan)
{
    const uint64_t sipis = plan->sipis == SIPIS_AUTO ? 2 : plan->sipis;
    const uint64_t between = // with auto the wait goes on while APs come, half the time-out at most
        plan->sipis == SIPIS_AUTO ? plan->timeout_us / 2 : sipis * (uint64_t)plan->sipi_us;
    const uint64_t longest_init =
        plan->init_us > plan->init_retry_us ? plan->init_us : plan->init_retry_us;
    const uint64_t sequence = longest_init + between + plan->timeout_us;
    const uint64_t in_turn = plan->wake == WAKE_ONE_BY_ONE ? plan->want : 1;
    const uint64_t sending = // a stuck xAPIC lets each message wait
        plan->apic == &apic_xapic ? (1 + sipis) * plan->want * APIC_IDLE_US : 0;
    return (sequence * in_turn + sending) * (plan->retries + 1u);
}
