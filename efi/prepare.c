// The steps before the exit. Surprise: what is touched after it has to be known to the byte, since
// the memory map may not call it memory at all.

#include "prepare.h"

#include "compare.h"
#include "gather.h"
#include "graphics.h"
#include "hw.h"
#include "last_run.h"
#include "lapic.h"
#include "map.h"
#include "mem.h"
#include "nvram.h"
#include "page.h"
#include "preflight.h"
#include "report.h"
#include "tell.h"

// Runs in a row that may end in a reset before the next one refuses to wake anybody.
#define RESETS_MAX 2u

// ---- facts ----

// The previous run's result and its end, while the memory that has them is ours.
static struct past meet_last_run(const struct firmware *firmware, const struct options *asked,
                                 struct voice *voice, struct stick *stick)
{
    struct last_run last;

    last_run_find(firmware, &last);
    struct past past = harvest(asked, &voice->journal, &last, stick, &voice->problems);
    if (!past.fetched)
        past.resets = last_run_tell(&last, &voice->console);
    last_run_release(firmware, &last);
    return past;
}

enum status prepare_facts(struct firmware *firmware, const struct options *asked,
                          struct voice *voice, struct stick *stick, struct machine *machine,
                          struct past *past)
{
    const struct problems *problems = &voice->problems;
    enum status status;

    if (asked->exit == ANSWER_NO && (asked->again == ANSWER_YES || asked->save == SAVE_NVRAM))
        problem_tell(
            &voice->problems, SEVERITY_WARNING, "no-effect",
            "again=yes and save=nvram do nothing with exit=no: the result is on the volume at "
            "once");
    if ((status = plan_check_guest(machine, problems)) != STATUS_OK ||
        (status = gather(firmware, asked, problems, machine)) != STATUS_OK)
        return status;
    firmware->pat = machine->processor.pat ? hw_rdmsr(MSR_IA32_PAT) : 0;
    console_set_rate(&voice->console, clock_ticks(&machine->clock, 1));
    *past = meet_last_run(firmware, asked, voice, stick);
    return STATUS_OK;
}

// ---- the plan ----

// A machine that keeps resetting must come to rest, and a fault on purpose is not committed twice.
static enum status look_back(const struct past *past, const struct voice *voice,
                             struct options *settled)
{
    if (past->resets > 0 && settled->inject_count > 0) {
        settled->inject_count = 0;
        problem_tell(&voice->problems, SEVERITY_WARNING, "inject",
                     "the previous run did not survive: this one injects nothing");
    }
    if (past->resets < RESETS_MAX)
        return STATUS_OK;
    problem_tell(&voice->problems, SEVERITY_ERROR, "keeps-resetting",
                 "the last runs all ended in a reset, so this one wakes no processor; change the "
                 "options, for "
                 "example cpus=, and start again");
    return STATUS_UNSUPPORTED;
}

// Whoever leaves processors out, or asks for messages to each, may have a reason.
static void warn_of_null(const struct options *options, const struct voice *voice)
{
    if (options->bench != BENCH_NONE &&
        (!smp_strategy_reaches_all(options->wake) || options->cpus_count > 0))
        problem_tell(
            &voice->problems, SEVERITY_WARNING, "null-broadcasts",
            "the null trampolines are for all but self: every processor is woken by broadcast "
            "first, also who is hidden or left out");
}

// Without run= nobody is called, and so nobody hangs.
static void warn_of_calls(const struct options *options, const struct injector *injector,
                          const struct voice *voice)
{
    if (options->run == RUN_NONE && inject_has(injector, FAULT_HANG_CALL))
        problem_tell(&voice->problems, SEVERITY_WARNING, "no-effect",
                     "inject=hang-call does nothing without run=: no processor is called");
}

// Of ours that is touched after the exit: the BSP's stack, the journal, the lists, the inventory,
// the screen's shadow, the hellos, the note.
#define OWN_MOST 7u

enum status prepare_plan(struct firmware *firmware, const struct past *past,
                         const struct options *asked, struct voice *voice, struct machine *machine,
                         struct pieces *pieces, struct injector *injector, struct options *settled,
                         struct plan *plan)
{
    const struct problems *problems = &voice->problems;
    enum status status;

    *settled = *asked;
    if ((status = look_back(past, voice, settled)) != STATUS_OK)
        return status;
    if (settled->screen != SCREEN_OFF)
        graphics_gather(firmware, settled, &voice->console, problems, machine);
    // Before the plan, which keeps firmware's APIC mode for save=nvram.
    if (settled->save == SAVE_NVRAM && !nvram_has_room(firmware, problems))
        settled->save = SAVE_RAM;
    if ((status = pieces_take_lists(firmware, machine->inventory.enabled,
                                    map_regions_most(machine, OWN_MOST), settled->rounds, problems,
                                    pieces)) != STATUS_OK)
        return status;
    warn_of_null(settled, voice);
    if ((status = plan_make(machine, settled, problems, pieces->cpus, plan)) != STATUS_OK)
        return status;
    *injector = (struct injector){settled->inject, settled->inject_count, plan, 0};
    if ((status = inject_check(injector, problems)) != STATUS_OK)
        return status;
    warn_of_calls(settled, injector, voice);
    voice_add_display(voice, firmware, machine, settled);
    const size_t settings = settled->sweep.count > 0 ? settled->sweep.count : 1;
    voice_grow(voice, firmware, machine->inventory.count, settled->rounds * settings,
               settled->save);
    return STATUS_OK;
}

void prepare_report(const struct firmware *firmware, const struct options *options,
                    const struct machine *machine, const struct plan *plan, struct voice *voice,
                    struct firmware_times *times)
{
    report_machine(&voice->console, machine, plan);
    preflight_record(&voice->console, machine);
    preflight_warn(&voice->problems, machine, &voice->console);
    *times = (struct firmware_times){0};
    if (options->compare != COMPARE_FIRMWARE)
        return;
    if (compare_firmware(firmware, machine, times))
        report_firmware(&voice->console, machine, times);
    else
        problem_tell(
            &voice->problems, SEVERITY_WARNING, "no-comparison",
            "MP Services is absent, or its StartupAllAPs fails; there is nothing to compare with");
}

// ---- the engine ----

// Of the stack, our callers' frames above us are in the same page or the next; below us a quarter
// of what UEFI promises, of which we have used some (UEFI 2.10, "Handoff State": 128 KiB).
#define STACK_BELOW (32u * 1024u)

static size_t list_own_memory(const struct firmware *firmware, const struct machine *machine,
                              const struct voice *voice, const struct pieces *pieces,
                              const void *note, struct own_memory own[OWN_MOST])
{
    const struct own_memory all[OWN_MOST] = {
        own_memory_of("the BSP's stack",
                      (const void *)(uintptr_t)(firmware->stack_top - STACK_BELOW),
                      STACK_BELOW + PAGE_BYTES),
        own_memory_of("the journal", voice->journal_memory, voice->journal_pages * PAGE_BYTES),
        own_memory_of("the plan", pieces->lists, pieces->list_pages * PAGE_BYTES),
        own_memory_of("the list of processors", machine->inventory.cpus,
                      machine->inventory_pages * PAGE_BYTES),
        own_memory_of("the screen's shadow", voice->display_memory,
                      voice->display_pages * PAGE_BYTES),
        own_memory_of("the hellos", pieces->hellos, pieces->hello_pages * PAGE_BYTES),
        own_memory_of("the note", note, PAGE_BYTES),
    };

    memcpy(own, all, sizeof all);
    return OWN_MOST;
}

static enum status open_engine(struct firmware *firmware, const struct machine *machine,
                               const struct plan *plan, struct host *host, struct voice *voice,
                               struct pieces *pieces, uint64_t pat, struct smp **smp)
{
    const void *const anywhere =
        (const void *)(uintptr_t)PAGE_BYTES; // one page takes as much there
    struct own_memory own[OWN_MOST];
    struct smp_setup setup = {
        .cpus = plan->cpus,
        .count = plan->want + 1,
        .features = plan_features(machine),
        .apic_mode = plan->apic_mode,
        .apic_phys = APIC_MMIO_PHYS(machine->apic_base),
        .apic_view = APIC_MMIO_PHYS(machine->apic_base),
        .tsc_hz = machine->clock.tsc_hz,
        .pat = pat,
        .regions = pieces->regions,
        .host = host_callbacks(host, &voice->problems),
    };

    size_t owned = list_own_memory(firmware, machine, voice, pieces, anywhere, own);
    setup.region_count = map_regions(machine, own, owned, pieces->regions);
    const enum status status = pieces_take_engine(firmware, setup.count, smp_memory_bytes(&setup),
                                                  &voice->problems, pieces, &setup.memory);
    if (status != STATUS_OK)
        return status;
    owned = list_own_memory(firmware, machine, voice, pieces, pieces->note, own);
    setup.region_count = map_regions(machine, own, owned, pieces->regions);
    return smp_open(&setup, smp);
}

static enum status take_pages(struct firmware *firmware, const struct injector *injector,
                              const struct voice *voice, struct pieces *pieces)
{
    const enum pieces_page which =
        inject_has(injector, FAULT_NO_LOW_PAGE) ? PIECES_LATE_PAGE : PIECES_ANY_PAGE;
    const enum status status = pieces_take_page(firmware, which, &voice->problems, pieces);

    if (status != STATUS_OK || !inject_has(injector, FAULT_BAD_VECTOR))
        return status;
    return pieces_take_decoy(firmware, &voice->problems, pieces);
}

enum status prepare_engine(struct firmware *firmware, const struct machine *machine,
                           const struct plan *plan, struct host *host, struct voice *voice,
                           struct pieces *pieces, uint64_t *pat, struct smp **smp)
{
    enum status status;

    *pat = voice->display_memory && machine->processor.pat ? SMP_PAT_WITH_COMBINING : 0;
    if ((status = pieces_take_hellos(firmware, plan->want + 1, &voice->problems, pieces)) !=
        STATUS_OK)
        return status;
    host->hellos = (struct hellos){&voice->console, pieces->hellos, &host->injector};
    if ((status = open_engine(firmware, machine, plan, host, voice, pieces, *pat, smp)) !=
            STATUS_OK ||
        (status = take_pages(firmware, &host->injector, voice, pieces)) != STATUS_OK)
        return status;
    host->injector.decoy_page = pieces->decoy_page;
    const struct smp_layout empty = smp_layout(*smp);
    report_initialized(&voice->console, *smp);
    report_memory(&voice->console, plan->want + 1, &empty);
    if (pieces->low_page == 0)
        return STATUS_OK; // the page is firmware's until the exit
    if ((status = smp_map_page(*smp, pieces->low_page)) != STATUS_OK ||
        (status = smp_fill_page(*smp, (uint8_t *)(uintptr_t)pieces->low_page)) != STATUS_OK)
        return status;
    const struct smp_layout filled = smp_layout(*smp);
    report_trampoline(&voice->console, &filled);
    return STATUS_OK;
}
