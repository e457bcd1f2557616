// Deciding, before anything is sent: may this machine's processors be woken at all, which of them,
// in which mode of the local APIC, with which delays. Which machine or wish wants what stands here;
// how long a sender waits while others still arrive is the engine's (smp/). Surprise: one refusal
// does not hide the next, so that one run tells everything that is wrong.

#include "plan.h"

#include "cpu_features.h"
#include "lapic.h"
#include "tell.h"

// Can every processor be named in xAPIC mode?
static bool all_fit_xapic(const struct machine *machine)
{
    const struct inventory *inventory = &machine->inventory;
    bool fit = smp_can_address(SMP_XAPIC, machine->bsp_apic_id);

    for (size_t cpu = 0; cpu < inventory->enabled && fit; cpu++)
        fit = smp_can_address(SMP_XAPIC, inventory->cpus[cpu].apic_id);
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
                               const struct problems *problems, enum smp_apic_mode *mode)
{
    const bool on = machine->apic_base & APIC_BASE_EXTD;
    const char *why = NULL;

    switch (options->apic) {
    case APIC_AUTO:
        *mode = is_x2apic_better(machine, options) ? SMP_X2APIC : SMP_XAPIC;
        return STATUS_OK;
    case APIC_X2APIC:
        *mode = SMP_X2APIC;
        if (on || (machine->processor.x2apic && options->exit == ANSWER_YES))
            return STATUS_OK;
        why = machine->processor.x2apic
                  ? "apic=x2apic with exit=no: firmware runs in xAPIC mode, and there is no safe "
                    "way back to it; use apic=auto, or exit=yes"
                  : "apic=x2apic, but this processor has no x2APIC (CPUID 1, ECX bit 21); use "
                    "apic=auto";
        break;
    case APIC_XAPIC:
        *mode = SMP_XAPIC;
        if (!on)
            return STATUS_OK;
        why = "apic=xapic, but firmware left the x2APIC on (IA32_APIC_BASE %x), and it cannot "
              "safely be switched off; use apic=auto";
        break;
    }
    problem_tell(problems, SEVERITY_ERROR, "apic-mode", why, machine->apic_base);
    return STATUS_UNSUPPORTED;
}

// Every CPU index that `cpus=` names has to be one that can be woken.
static enum status check_selection(const struct inventory *inventory, const struct options *options,
                                   const struct problems *problems)
{
    const char *lister = inventory_source_name(inventory->source);
    enum status status = STATUS_OK;

    for (size_t i = 0; i < options->cpus_count; i++) {
        const struct cpu_range *range = &options->cpus[i];
        if (range->last < inventory->enabled)
            continue;
        problem_tell(problems, SEVERITY_ERROR, "no-such-cpu",
                     range->last < inventory->count
                         ? "cpus= names CPU %u, which %s lists as disabled"
                         : "cpus= names CPU %u, but %s lists CPUs 0 to %u only",
                     (uint64_t)range->last, lister, (uint64_t)inventory->enabled - 1);
        status = STATUS_INVALID;
    }
    return status;
}

static enum status choose_cpus(const struct machine *machine, const struct options *options,
                               const struct problems *problems, struct plan *plan)
{
    const struct inventory *inventory = &machine->inventory;
    enum status status = check_selection(inventory, options, problems);

    plan->cpus[0] = (struct smp_cpu){.cpu = 0, .apic_id = machine->bsp_apic_id};
    for (uint32_t cpu = 1; cpu < inventory->enabled; cpu++) {
        if (!options_cpu_wanted(options, cpu))
            continue;
        const uint32_t apic_id = inventory->cpus[cpu].apic_id;
        if (!smp_can_address(plan->apic_mode, apic_id)) {
            problem_tell(problems, SEVERITY_ERROR, "unreachable-id",
                         "cpu %u apic %x cannot be addressed in %s mode; leave it out with cpus=, "
                         "or use the x2APIC",
                         (uint64_t)cpu, (uint64_t)apic_id, smp_apic_word(plan->apic_mode));
            status = STATUS_UNSUPPORTED;
            continue;
        }
        plan->cpus[++plan->want] = (struct smp_cpu){.cpu = cpu, .apic_id = apic_id};
    }
    return status;
}

enum status plan_check_guest(const struct machine *machine, const struct problems *problems)
{
    const enum guest guest = machine->processor.guest;

    if (guest == GUEST_NONE)
        return STATUS_OK;
    const struct guest_story story = guest_story(guest);
    problem_tell(problems, SEVERITY_ERROR, story.what,
                 "this is %s guest: %s; run Reveille on the host or in a plain guest", story.name,
                 story.why);
    return STATUS_UNSUPPORTED;
}

static void warn_of_mailbox(const struct machine *machine, const struct problems *problems)
{
    if (machine->inventory.wakeup_mailbox)
        problem_tell(problems, SEVERITY_WARNING, "wakeup-mailbox",
                     "the MADT has a wake-up mailbox (type 0x10): firmware parks processors there "
                     "and may not expect an INIT");
}

// An INIT to the processor that bears the BSP flag restarts the machine: it begins at the reset
// vector and waits for no STARTUP (SDM vol. 3A, "MP Initialization Protocol Algorithm"). Firmware
// may have handed over on another.
static enum status check_bsp_flag(const struct machine *machine, const struct options *options,
                                  const struct problems *problems)
{
    if (machine->apic_base & APIC_BASE_BSP || options->wake == SMP_FIRMWARE)
        return STATUS_OK;
    problem_tell(
        problems, SEVERITY_ERROR, "bsp-flag",
        "this processor is not flagged as the BSP (IA32_APIC_BASE %x), and an INIT to the one that "
        "is restarts the machine: choose the boot processor in firmware's setup, or use exit=no "
        "wake=firmware",
        machine->apic_base);
    return STATUS_UNSUPPORTED;
}

// Loading CS takes a far return, which a shadow stack refuses, so shadow stacks are off in the run.
// To switch them on again somewhere else in the chain of calls would be the next fault.
static enum status check_shadow_stack(const struct machine *machine, const struct options *options,
                                      const struct problems *problems)
{
    if (!machine->shadow_stack || options->exit == ANSWER_YES)
        return STATUS_OK;
    problem_tell(problems, SEVERITY_ERROR, "shadow-stack",
                 "firmware runs with a shadow stack (CET), which cannot be restored after a wake: "
                 "use exit=yes");
    return STATUS_UNSUPPORTED;
}

// Firmware's own wake needs firmware, and sends no message that could be left out or falsified.
static enum status check_firmware_wake(const struct options *options,
                                       const struct problems *problems)
{
    const bool ours =
        options->inject_count > 0 || options->bench != BENCH_NONE || options->sweep.count > 0;

    if (options->wake != SMP_FIRMWARE || (options->exit == ANSWER_NO && !ours))
        return STATUS_OK;
    problem_tell(problems, SEVERITY_ERROR, "firmware-wake",
                 options->exit != ANSWER_NO
                     ? "wake=firmware works only while firmware lives: add exit=no"
                     : "with wake=firmware Reveille sends no message itself: leave out inject=, "
                       "bench= and sweep=");
    return STATUS_INVALID;
}

// A retry is for whoever needed longer: it is never quicker than the manual.
static uint32_t at_least_the_manuals(uint32_t init_us)
{
    return init_us > SMP_INIT_MANUAL_US ? init_us : SMP_INIT_MANUAL_US;
}

struct smp_plan plan_messages(const struct machine *machine, const struct options *options)
{
    const uint32_t init_us = options->init_us != INIT_US_AUTO
                                 ? options->init_us
                                 : cpu_features_init_us(&machine->processor);

    return (struct smp_plan){
        .strategy = options->wake,
        .init_us = init_us,
        .init_retry_us = at_least_the_manuals(init_us),
        .sipi_us = options->sipi_us,
        .sipis = options->sipis,
        .timeout_us = options->timeout_us,
        .retries = options->retries,
        .turn_us = GREETING_US,
    };
}

struct smp_features plan_features(const struct machine *machine)
{
    return cpu_features_of(&machine->processor, machine->cr4);
}

enum status plan_make(const struct machine *machine, const struct options *options,
                      const struct problems *problems, struct smp_cpu *cpus, struct plan *plan)
{
    *plan = (struct plan){
        .messages = plan_messages(machine, options),
        .rounds = options->rounds,
        .cpus = cpus,
    };
    warn_of_mailbox(machine, problems);
    const enum status flag = check_bsp_flag(machine, options, problems);
    const enum status stack = check_shadow_stack(machine, options, problems);
    const enum status mode = choose_apic(machine, options, problems, &plan->apic_mode);
    const enum status chosen = choose_cpus(machine, options, problems, plan);
    const enum status wake = check_firmware_wake(options, problems);
    return wake != STATUS_OK    ? wake
           : flag != STATUS_OK  ? flag
           : stack != STATUS_OK ? stack
           : mode != STATUS_OK  ? mode
                                : chosen;
}
