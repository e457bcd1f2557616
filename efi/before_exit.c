// The run's steps before the exit. Each can fail, and then all is given back and firmware gets the
// right status. Surprise: the options are read twice. Only they say where the console is, and only
// there can be told what is wrong with them.

#include "run.h"

#include "compare.h"
#include "firmware_aps.h"
#include "gather.h"
#include "graphics.h"
#include "inject.h"
#include "last_run.h"
#include "mem.h"
#include "memory.h"
#include "nvram.h"
#include "options.h"
#include "preflight.h"
#include "prepare.h"
#include "processors.h"

// Runs in a row that may end in a reset before the next one refuses to wake anybody.
#define RESETS_MAX 2u

// Silently: only the options say where they can be told.
static void open_voice(struct reveille *run)
{
    const struct problems nobody = {problems_ignore, NULL};

    (void)configure(&run->firmware, &run->typed, &nobody, &run->asked);
    voice_open(&run->voice, &run->firmware, &run->asked, run->machine.under_qemu);
    const struct uart *uart = &run->voice.console.uart;
    run->machine.serial_mmio = uart->present ? uart->mmio : 0;
    run->stick = (struct stick){.firmware = &run->firmware, .console = &run->voice.console};
}

EFI_STATUS run_open(struct reveille *run, EFI_HANDLE handle, EFI_SYSTEM_TABLE *system)
{
    const struct typed typed = run->typed;
    memset(run, 0, sizeof *run);
    run->typed = typed;
    run->times.start = hw_tsc();
    const EFI_STATUS status = firmware_open(handle, system, &run->firmware);
    if (EFI_ERROR(status))
        return status;
    gather_identity(&run->firmware, &run->machine);
    open_voice(run);
    return EFI_SUCCESS;
}

enum status run_configure(struct reveille *run)
{
    const struct configured configured =
        configure(&run->firmware, &run->typed, &run->voice.problems, &run->asked);

    run->options = run->asked;
    if (configured.unread)
        run->options.save = SAVE_NONE;
    return configured.status;
}

// A machine that keeps resetting must come to rest, and a fault on purpose is not committed twice.
static enum status look_back(struct reveille *run, const struct last_run *last)
{
    run->past.resets = last_run_tell(last, &run->voice.console);
    if (run->past.resets > 0 && run->asked.inject_count > 0) {
        run->options.inject_count = 0;
        report_problem(&run->voice.log, SEVERITY_WARNING, "inject",
                       "the previous run did not survive: this one injects nothing");
    }
    if (run->past.resets < RESETS_MAX)
        return STATUS_OK;
    report_problem(
        &run->voice.log, SEVERITY_ERROR, "keeps-resetting",
        "the last runs all ended in a reset, so this one wakes nobody; change the options, "
        "for example cpus=, and start again");
    return STATUS_UNSUPPORTED;
}

// The previous run's result and its end, while the memory that has them is ours.
static enum status meet_last_run(struct reveille *run)
{
    struct last_run last;
    enum status status = STATUS_OK;

    last_run_find(&run->firmware, &last);
    run->past = harvest(&run->asked, &run->voice.journal, &last, &run->stick, &run->voice.problems);
    if (!run->past.fetched)
        status = look_back(run, &last);
    last_run_release(&run->firmware, &last);
    return status;
}

// Whoever leaves processors out, or asks for messages to each, may have a reason.
static void warn_of_null(const struct options *options, const struct problems *problems)
{
    if (options->bench != BENCH_NONE &&
        (options->wake != SMP_BROADCAST || options->cpus_count > 0))
        problems->tell(problems->context, SEVERITY_WARNING, "null-broadcasts",
                       "the null trampolines are for all but self: every processor is woken by "
                       "broadcast first, also who is hidden or left out");
}

static enum status allocate_plan(struct reveille *run)
{
    const size_t enabled = run->machine.inventory.enabled;
    const size_t bytes = enabled * (sizeof(struct lcpu_plan) + 2 * sizeof(uint32_t)) +
                         2 * run->options.rounds * sizeof(uint32_t);
    run->plan_pages = bytes / PAGE_BYTES + 1;
    struct lcpu_plan *lcpus = memory_allocate(&run->firmware, run->plan_pages);

    if (!lcpus) {
        report_problem(&run->voice.log, SEVERITY_ERROR, "no-memory",
                       "no memory below 4 GiB for the plan");
        return STATUS_NO_SPACE;
    }
    run->wake.missing = (uint32_t *)(void *)(lcpus + enabled);
    run->wake.values = run->wake.missing + enabled;
    run->rounds_us = run->wake.values + enabled;
    run->medians_us = run->rounds_us + run->options.rounds;
    warn_of_null(&run->options, &run->voice.problems);
    const enum status status =
        plan_make(&run->machine, &run->options, &run->voice.problems, lcpus, &run->plan);
    return status != STATUS_OK ? status
                               : inject_check(&run->options, &run->plan, &run->voice.problems);
}

// What is touched after the exit beside the image and the arena. Of the stack, our callers' frames
// above us are in the same page or the next; below us a quarter of what UEFI promises, of which we
// have used some (UEFI 2.10, "Handoff State": 128 KiB).
static enum status list_own_memory(struct reveille *run)
{
    struct machine *machine = &run->machine;
    const uint64_t stack_below = 32u * 1024u;
    const struct {
        const char *name;
        const void *memory;
        size_t bytes;
    } pieces[] = {
        {"the BSP's stack", (const void *)(uintptr_t)(run->firmware.stack_top - stack_below),
         stack_below + PAGE_BYTES},
        {"the journal", run->voice.journal_memory, run->voice.journal_pages * PAGE_BYTES},
        {"the plan", run->plan.lcpus, run->plan_pages * PAGE_BYTES},
        {"the list of processors", machine->inventory.cpus, machine->inventory_pages * PAGE_BYTES},
        {"the screen's shadow", run->voice.display_memory, run->voice.display_pages * PAGE_BYTES},
    };

    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        const enum status status =
            address_space_own(machine, pieces[i].name, pieces[i].memory, pieces[i].bytes);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

static enum status allocate_arena(struct reveille *run)
{
    const size_t count = run->plan.want + 1;
    char buffer[LINE_BYTES];
    struct line line;

    const enum status status = list_own_memory(run);
    if (status != STATUS_OK)
        return status;
    arena_plan(count, address_space_bound(&run->machine, count), &run->arena);
    run->note = last_run_allocate(&run->firmware, run->arena.bytes / PAGE_BYTES + 1);
    if (run->note) {
        run->arena.phys = (uintptr_t)run->note + PAGE_BYTES;
        note_drop(run->note);
        arena_prepare(&run->arena, run->plan.lcpus, ap_main, &run->voice.console);
        if (run->voice.display_memory && run->machine.processor.pat)
            arena_rally(&run->arena)->pat = PAT_WITH_COMBINING;
        return address_space_own(&run->machine, "the note", run->note, PAGE_BYTES);
    }
    line_start(&line, buffer, sizeof buffer);
    line_add_format(
        &line,
        "%u processors need %u bytes in one piece below 4 GiB, and there is no such piece; wake "
        "fewer with cpus=",
        (uint64_t)count, (uint64_t)run->arena.bytes);
    report_problem(&run->voice.log, SEVERITY_ERROR, "no-memory", line.text);
    return STATUS_NO_SPACE;
}

enum status run_fill_page(struct reveille *run, uint8_t *view)
{
    size_t relocations;
    const enum status status =
        prepare_page(&run->machine, &run->arena, &run->trampoline, &run->parameters,
                     (uintptr_t)ap_main, &run->voice.problems, &run->tables, view, &relocations);
    if (status == STATUS_OK)
        report_trampoline(&run->voice.console, &run->machine, &run->trampoline, relocations,
                          run->tables.pool_phys);
    return status;
}

static enum status take_low_page(struct reveille *run)
{
    if (inject_has(&run->options, FAULT_NO_LOW_PAGE))
        return memory_find_late_page(&run->firmware, &run->voice.problems,
                                     &run->low_page_after_exit);
    return memory_take_low_page(&run->firmware, &run->voice.problems, &run->machine.low_page,
                                &run->low_page_after_exit);
}

// inject=bad-vector sends an AP to a page of HLT instructions, and not to memory that is
// somebody's.
static enum status take_decoy_page(struct reveille *run)
{
    const uint8_t halt = 0xf4;
    uint32_t after_exit;
    const enum status status = memory_take_low_page(&run->firmware, &run->voice.problems,
                                                    &run->wake.decoy_page, &after_exit);
    if (status == STATUS_OK && run->wake.decoy_page != 0)
        memset((void *)(uintptr_t)run->wake.decoy_page, halt, PAGE_BYTES);
    return run->wake.decoy_page != 0 ? STATUS_OK : STATUS_NOT_FOUND;
}

static void compare(struct reveille *run)
{
    if (compare_firmware(&run->firmware, &run->machine, &run->firmware_times))
        report_firmware(&run->voice.console, &run->machine, &run->firmware_times);
    else
        report_problem(
            &run->voice.log, SEVERITY_WARNING, "no-comparison",
            "MP Services is absent, or its StartupAllAPs fails; there is nothing to compare "
            "with");
}

static enum status prepare(struct reveille *run)
{
    enum status status;

    if ((status = plan_check_guest(&run->machine, &run->voice.problems)) != STATUS_OK)
        return status;
    if ((status = gather(&run->firmware, &run->options, &run->voice.problems, &run->machine)) !=
        STATUS_OK)
        return status;
    run->firmware.pat = run->machine.processor.pat ? hw_rdmsr(MSR_IA32_PAT) : 0;
    console_set_rate(&run->voice.console, clock_ticks(&run->machine.clock, 1));
    status = meet_last_run(run);
    if (run->past.fetched || status != STATUS_OK)
        return status;
    if (run->options.screen != SCREEN_OFF)
        graphics_gather(&run->firmware, &run->options, &run->voice.console, &run->voice.problems,
                        &run->machine);
    // Before the plan, which keeps firmware's APIC mode for save=nvram.
    if (run->asked.save == SAVE_NVRAM && !nvram_has_room(&run->firmware, &run->voice.problems))
        run->options.save = SAVE_RAM;
    if ((status = allocate_plan(run)) != STATUS_OK)
        return status;
    voice_add_display(&run->voice, &run->firmware, &run->machine, &run->options);
    const size_t settings = run->options.sweep.count > 0 ? run->options.sweep.count : 1;
    voice_grow(&run->voice, &run->firmware, run->machine.inventory.count,
               run->options.rounds * settings, run->options.save);
    report_machine(&run->voice.console, &run->machine, &run->plan);
    preflight_record(&run->voice.console, &run->machine);
    preflight_warn(&run->voice.problems, &run->machine, &run->voice.console);
    if (run->options.compare == COMPARE_FIRMWARE)
        compare(run);
    if ((status = allocate_arena(run)) != STATUS_OK ||
        (status = address_space_build(&run->machine, &run->arena, &run->voice.problems,
                                      &run->tables)) != STATUS_OK ||
        (status = trampoline_open_builtin(&run->trampoline)) != STATUS_OK ||
        (status = take_low_page(run)) != STATUS_OK)
        return status;
    if (inject_has(&run->options, FAULT_BAD_VECTOR) && (status = take_decoy_page(run)) != STATUS_OK)
        return status;
    run->parameters = prepare_parameters(&run->machine, &run->plan, &run->arena, &run->tables);
    report_lcpus(&run->voice.console, &run->arena);
    report_memory(&run->voice.console, &run->arena);
    if (run->machine.low_page == 0)
        return STATUS_OK; // the page is firmware's until the exit
    if ((status = address_space_place(&run->machine, &run->arena, &run->voice.problems,
                                      &run->tables)) != STATUS_OK)
        return status;
    return run_fill_page(run, (uint8_t *)(uintptr_t)run->machine.low_page);
}

enum status run_prepare(struct reveille *run)
{
    if (run->options.exit == ANSWER_NO &&
        (run->options.again == ANSWER_YES || run->options.save == SAVE_NVRAM))
        report_problem(&run->voice.log, SEVERITY_WARNING, "no-effect",
                       "again=yes and save=nvram do nothing with exit=no: the result is on the "
                       "volume at once");
    const enum status status = prepare(run);
    run->times.prepared = hw_tsc();
    return status == STATUS_OK && !run->past.fetched && run->options.exit == ANSWER_NO
               ? run_check_return(run)
               : status;
}

static EFI_STATUS efi_status_of(enum status status)
{
    switch (status) {
    case STATUS_OK:
        return EFI_SUCCESS;
    case STATUS_NOT_FOUND:
        return EFI_NOT_FOUND;
    case STATUS_NO_SPACE:
        return EFI_OUT_OF_RESOURCES;
    case STATUS_TIMEOUT:
        return EFI_TIMEOUT;
    case STATUS_UNSUPPORTED:
        return EFI_UNSUPPORTED;
    case STATUS_TRUNCATED:
        return EFI_VOLUME_CORRUPTED;
    case STATUS_INVALID:
        break;
    }
    return EFI_INVALID_PARAMETER;
}

// Gives back what was taken, and returns to whoever started us.
void run_free(struct reveille *run, enum keep keep)
{
    const struct firmware *firmware = &run->firmware;

    if (keep == KEEP_NOTHING) {
        if (run->machine.low_page != 0)
            firmware->boot->FreePages(run->machine.low_page, 1);
        if (run->wake.decoy_page != 0)
            firmware->boot->FreePages(run->wake.decoy_page, 1);
        memory_free(firmware, run->note, run->arena.bytes / PAGE_BYTES + 1);
    }
    memory_free(firmware, run->plan.lcpus, run->plan_pages);
    memory_free(firmware, run->machine.inventory.cpus, run->machine.inventory_pages);
    memory_free(firmware, run->machine.ram, run->machine.ram_pages);
    memory_free(firmware, firmware->map, firmware->map_capacity / PAGE_BYTES);
    voice_close(&run->voice, firmware);
}

static bool firmware_stays(const struct options *options)
{
    return options->exit == ANSWER_NO || options->check == ANSWER_YES;
}

void run_tell_end(struct reveille *run)
{
    const struct problems nobody = {problems_ignore, NULL};
    const enum stick_end end =
        run->options.check == ANSWER_NO && run->options.exit == ANSWER_NO ? STICK_CUT : STICK_BLANK;
    CHAR16 name[] = L"last";

    voice_tell_left_out(&run->voice);
    // Twice: what the volume says of the first belongs in the journal, and so does the last record.
    const bool saved =
        run->options.save != SAVE_NONE &&
        harvest_own(&run->voice.journal, name, end, &run->stick, &run->past, &run->voice.problems);
    report_end(&run->voice.console, &run->outcome);
    if (saved)
        (void)harvest_own(&run->voice.journal, name, end, &run->stick, &run->past, &nobody);
}

// A run that was stopped by hand is no result; a refusal is one.
EFI_STATUS run_refuse(struct reveille *run, enum status status)
{
    if (status == STATUS_OK)
        report_end(&run->voice.console, &run->outcome);
    else
        run_tell_end(run);
    run_free(run, KEEP_NOTHING);
    if (!firmware_stays(&run->options))
        end_refused(&run->machine, &run->options);
    else
        end_inside(&run->options, EXIT_REFUSED);
    return efi_status_of(status);
}

EFI_STATUS run_start_over(struct reveille *run)
{
    run_free(run, KEEP_NOTHING);
    serial_close(&run->voice.port); // the next start reads its registers anew
    run->start_over = true;
    return EFI_SUCCESS;
}

EFI_STATUS run_fetched(struct reveille *run)
{
    run->outcome.ok = !run->past.unsaved;
    report_end(&run->voice.console, &run->outcome);
    run_free(run, KEEP_NOTHING);
    end_fetched(&run->firmware, &run->machine, &run->options,
                run->outcome.ok ? EXIT_OK : EXIT_FAILED);
    return EFI_SUCCESS;
}

EFI_STATUS run_checked(struct reveille *run)
{
    preflight_page(&run->voice.console, &run->machine, &run->plan, &run->voice.serial);
    processors_read_census(&run->firmware, run->machine.mp_services, &run->census);
    firmware_census_tell(run, NULL);
    run->outcome.ok = true;
    note_drop(run->note);
    run_tell_end(run);
    run_free(run, KEEP_NOTHING);
    end_inside(&run->options, EXIT_OK);
    return EFI_SUCCESS;
}

static void print_help(void *context, const char *text)
{
    char buffer[LINE_BYTES];
    struct line line;

    line_start(&line, buffer, sizeof buffer);
    line_add_text(&line, text);
    console_record(context, 0, &line);
}

EFI_STATUS run_help(struct reveille *run)
{
    options_help(print_help, &run->voice.console);
    run->outcome.ok = true;
    report_end(&run->voice.console, &run->outcome);
    run_free(run, KEEP_NOTHING);
    return EFI_SUCCESS;
}
