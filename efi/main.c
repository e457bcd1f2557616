// Reveille: a bugle call for cores. efi_main is the table of contents; each step below it is one call into the
// room that knows how.
//
// What holds, whatever the machine does:
//   1. until "Leaving firmware" nothing is changed that is not given back when the run is refused;
//   2. after it, no firmware is called but to switch the machine off;
//   3. the last record is ev=end, unless the machine is gone.

#include "firmware.h"

#include "address_space.h"
#include "control.h"
#include "hw.h"
#include "inject.h"
#include "mem.h"
#include "option_text.h"
#include "prepare.h"
#include "report.h"
#include "trampoline.h"
#include "wake.h"

// An upper bound of any TSC's ticks in a microsecond, for the console's waits: it starts before the clock is
// calibrated, and a wait for a dead port may be too long but not too short.
#define TSC_TICKS_PER_US_MAX 10000u

// One greeting at the slowest baud rate, twice over: 2 * 80 characters * 10 bits / 1200 baud, rounded up.
#define GREETING_US 2000000u

// Runs in a row that may end in a reset before the next one refuses to wake anybody.
#define RESETS_MAX 2u

#define MSR_EFER 0xc0000080u
#define CR0_WP   (1u << 16)
#define CR4_PGE  (1u << 7)

// Everything a run knows. Static, since processors still hold pointers into it when efi_main is left behind.
static struct reveille {
    struct firmware firmware;
    struct options options;
    struct console console;
    struct text_screens screens;
    struct problem_log log;
    struct problems problems;
    struct machine machine;
    struct plan plan;
    struct arena arena;
    struct page_tables tables;
    struct trampoline trampoline;
    struct trampoline_parameters parameters;
    struct wake wake;
    struct outcome outcome;
    struct note *note; // in memory that outlives a warm reset
    uint32_t resets;   // runs in a row, before this one, that ended in one
    size_t relocations;
    uint32_t low_page_after_exit;
} g_run;

// ---- before the exit ----

static void open_console(struct reveille *run)
{
    const struct problems nobody = {problems_ignore, NULL};
    struct console *console = &run->console;

    (void)configure(&run->firmware, &nobody, &run->options);
    console_start(console, run->options.log, TSC_TICKS_PER_US_MAX);
    if (run->options.serial != SERIAL_OFF) {
        const uint16_t port =
            run->options.serial == SERIAL_PORT ? run->options.serial_port : UART_COM1;
        (void)uart_open(&console->uart, port, TSC_TICKS_PER_US_MAX);
    }
    text_screens_open(&run->firmware, !console->uart.present, &run->screens);
    console->sink = (struct console_sink){text_screens_write, &run->screens};
    run->log = (struct problem_log){.console = console};
    run->problems = (struct problems){report_problem, &run->log};
}

static EFI_STATUS open_run(struct reveille *run, EFI_HANDLE handle, EFI_SYSTEM_TABLE *system)
{
    EFI_GUID loaded_image = LOADED_IMAGE_PROTOCOL;

    memset(run, 0, sizeof *run);
    run->firmware.handle = handle;
    run->firmware.system = system;
    run->firmware.boot = system->BootServices;
    const EFI_STATUS status =
        system->BootServices->HandleProtocol(handle, &loaded_image, (void **)&run->firmware.loaded);
    if (EFI_ERROR(status))
        return status;
    gather_identity(&run->firmware, &run->machine);
    open_console(run);
    return EFI_SUCCESS;
}

// A machine that keeps resetting must come to rest, and a fault on purpose is not committed twice.
static enum status look_back(struct reveille *run)
{
    run->resets = last_run_tell(&run->firmware, &run->console);
    if (run->resets > 0 && run->options.inject_count > 0) {
        run->options.inject_count = 0;
        report_problem(&run->log, SEVERITY_WARNING, "inject",
                       "the previous run did not survive: this one injects nothing");
    }
    if (run->resets < RESETS_MAX)
        return STATUS_OK;
    report_problem(&run->log, SEVERITY_ERROR, "keeps-resetting",
                   "the last runs all ended in a reset, so this one wakes nobody; change the options, "
                   "for example cpus=, and start again");
    return STATUS_UNSUPPORTED;
}

static enum status allocate_plan(struct reveille *run)
{
    const size_t enabled = run->machine.inventory.enabled;
    const size_t bytes = enabled * (sizeof(struct lcpu_plan) + sizeof(uint32_t));
    struct lcpu_plan *lcpus = memory_allocate(&run->firmware, bytes / PAGE_BYTES + 1);

    if (!lcpus) {
        report_problem(&run->log, SEVERITY_ERROR, "no-memory", "no memory below 4 GiB for the plan");
        return STATUS_NO_SPACE;
    }
    run->wake.missing = (uint32_t *)(void *)(lcpus + enabled);
    const enum status status =
        plan_make(&run->machine, &run->options, &run->problems, lcpus, &run->plan);
    return status != STATUS_OK ? status
                               : inject_check(&run->options, &run->plan, &run->problems);
}

static enum status allocate_arena(struct reveille *run)
{
    const size_t count = run->plan.want + 1;
    char buffer[LINE_BYTES];
    struct line line;

    arena_plan(count, address_space_bound(&run->machine, count), &run->arena);
    run->note = last_run_allocate(&run->firmware, run->arena.bytes / PAGE_BYTES + 1);
    if (run->note) {
        run->arena.phys = (uintptr_t)run->note + PAGE_BYTES;
        note_drop(run->note);
        arena_prepare(&run->arena, run->plan.lcpus, ap_main, &run->console);
        return STATUS_OK;
    }
    line_start(&line, buffer, sizeof buffer);
    line_add_format(&line,
                    "%u processors need %u bytes in one piece below 4 GiB, and there are none; wake "
                    "fewer with cpus=",
                    (uint64_t)count, (uint64_t)run->arena.bytes);
    report_problem(&run->log, SEVERITY_ERROR, "no-memory", line.text);
    return STATUS_NO_SPACE;
}

static enum status fill_page(struct reveille *run)
{
    const enum status status =
        prepare_page(&run->machine, &run->arena, &run->trampoline, &run->parameters,
                     (uintptr_t)ap_main, &run->problems, &run->tables, &run->relocations);
    if (status == STATUS_OK)
        report_trampoline(&run->console, &run->machine, &run->trampoline, run->relocations,
                          run->tables.pool_phys);
    return status;
}

// inject=bad-vector sends an AP to a page of HLT instructions, and not to memory that is somebody's.
static enum status take_decoy_page(struct reveille *run)
{
    const uint8_t halt = 0xf4;
    uint32_t after_exit;
    const enum status status = memory_take_low_page(&run->firmware, &run->problems,
                                                    &run->wake.decoy_page, &after_exit);
    if (status == STATUS_OK && run->wake.decoy_page != 0)
        memset((void *)(uintptr_t)run->wake.decoy_page, halt, PAGE_BYTES);
    return run->wake.decoy_page != 0 ? STATUS_OK : STATUS_NOT_FOUND;
}

// Everything that can be known, decided and proved while an error can still be returned.
static enum status prepare(struct reveille *run)
{
    enum status status;

    if ((status = gather(&run->firmware, &run->options, &run->problems, &run->machine)) != STATUS_OK)
        return status;
    console_set_rate(&run->console, clock_ticks(&run->machine.clock, 1));
    if ((status = look_back(run)) != STATUS_OK)
        return status;
    if ((status = allocate_plan(run)) != STATUS_OK)
        return status;
    report_machine(&run->console, &run->machine, &run->plan);
    if ((status = allocate_arena(run)) != STATUS_OK ||
        (status = address_space_build(&run->machine, &run->arena, &run->problems, &run->tables)) !=
            STATUS_OK ||
        (status = trampoline_open_builtin(&run->trampoline)) != STATUS_OK ||
        (status = memory_take_low_page(&run->firmware, &run->problems, &run->machine.low_page,
                                       &run->low_page_after_exit)) != STATUS_OK)
        return status;
    if (inject_has(&run->options, FAULT_BAD_VECTOR) &&
        (status = take_decoy_page(run)) != STATUS_OK)
        return status;
    run->parameters =
        prepare_parameters(&run->machine, &run->plan, &run->arena, &run->tables);
    report_lcpus(&run->console, &run->arena);
    return run->machine.low_page != 0 ? fill_page(run) : STATUS_OK;
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
static EFI_STATUS refuse(struct reveille *run, enum status status)
{
    const struct firmware *firmware = &run->firmware;
    const size_t enabled = run->machine.inventory.enabled;

    report_end(&run->console, &run->outcome);
    if (run->machine.low_page != 0)
        firmware->boot->FreePages(run->machine.low_page, 1);
    if (run->wake.decoy_page != 0)
        firmware->boot->FreePages(run->wake.decoy_page, 1);
    memory_free(firmware, run->note, run->arena.bytes / PAGE_BYTES + 1);
    memory_free(firmware, run->plan.lcpus,
                enabled * (sizeof(struct lcpu_plan) + sizeof(uint32_t)) / PAGE_BYTES + 1);
    memory_free(firmware, run->machine.inventory.cpus, run->machine.inventory_pages);
    memory_free(firmware, run->machine.ram, run->machine.ram_pages);
    memory_free(firmware, firmware->map, firmware->map_capacity / PAGE_BYTES);
    end_refused(&run->machine, &run->options);
    return efi_status_of(status);
}

static void print_help(void *context, const char *text)
{
    char buffer[LINE_BYTES];
    struct line line;

    line_start(&line, buffer, sizeof buffer);
    line_add_text(&line, text);
    console_record(context, 0, &line);
}

// ---- after it ----

static void say(struct reveille *run, const char *text)
{
    char buffer[LINE_BYTES];
    struct line line;

    line_start(&line, buffer, sizeof buffer);
    line_add_text(&line, text);
    console_say(&run->console, 0, &line);
}

static _Noreturn void finish(struct reveille *run)
{
    note_drop(run->note);
    report_end(&run->console, &run->outcome);
    end_run(&run->firmware, &run->machine, &run->options, &run->console,
            run->outcome.ok ? EXIT_OK : EXIT_FAILED);
}

// Where the BSP goes on after a fault of its own: the account of what is known, and the end.
static void bsp_stopped(void *context)
{
    struct reveille *run = context;
    report_cpus(&run->console, &run->machine, &run->wake, &run->outcome);
    run->outcome.ok = false;
    finish(run);
}

static void keep_note(struct reveille *run, enum note_step step, uint32_t round)
{
    note_keep(run->note, &run->arena, step, round, run->resets);
}

static void leave(struct reveille *run)
{
    uint32_t attempts;

    say(run, "Leaving firmware");
    uart_drain(&run->console.uart);
    run->firmware.boot->SetWatchdogTimer(0, 0, 0, NULL); // firmware resets after five minutes
    run->console.sink.write_line = NULL;
    keep_note(run, NOTE_LEAVING, 0);
    const enum status status = memory_read_map(&run->firmware) == STATUS_OK
                                   ? leave_firmware(&run->firmware, &attempts)
                                   : STATUS_NO_SPACE;
    if (status != STATUS_OK) {
        report_problem(&run->log, SEVERITY_ERROR, "exit-refused",
                       "ExitBootServices was refused every time; boot services cannot be used any more");
        finish(run);
    }
    hw_disable_interrupts();
}

// The BSP moves to the address space and the descriptors that the APs will have.
static void take_over(struct reveille *run)
{
    const struct lcpu *self = &arena_lcpu(&run->arena, 0)->lcpu;
    struct rally *rally = arena_rally(&run->arena);
    const struct hw_tables tables = {
        .gdt = self->gdtr,
        .idt = self->idtr,
        .code = SELECTOR_CODE64,
        .data = SELECTOR_DATA,
        .task = SELECTOR_TSS,
    };

    run->firmware.tables = hw_read_tables();
    run->firmware.cr3 = hw_read_cr3();
    run->firmware.cr4 = hw_read_cr4();
    hw_write_cr0(hw_read_cr0() | CR0_WP);
    if (run->machine.processor.no_execute)
        hw_wrmsr(MSR_EFER, hw_rdmsr(MSR_EFER) | EFER_NXE);
    hw_write_cr4(run->firmware.cr4 & ~(uint64_t)CR4_PGE); // no global entry of firmware's survives
    hw_write_cr3(run->tables.pool_phys);
    hw_write_tables(&tables);
    rally->bsp_context = run;
    rally->bsp_stopped = bsp_stopped;
}

// A page of boot services is ours now: it is proved and filled before the tables are loaded.
static void take_late_page(struct reveille *run)
{
    run->machine.low_page = run->low_page_after_exit;
    if (memory_is_writable(run->machine.low_page) && fill_page(run) == STATUS_OK)
        return;
    report_problem(&run->log, SEVERITY_ERROR, "no-low-page",
                   "the boot-services page below 1 MiB cannot be used either");
    finish(run);
}

// The faults that were asked for, now that all has been proved.
static void inject(struct reveille *run)
{
    const uint8_t halt = 0xf4;

    inject_arm(&run->options, &run->plan, &run->arena, run->parameters.x86_bpt_pml4_addr);
    if (inject_has(&run->options, FAULT_BAD_COPY))
        memcpy(run->wake.page_view, &halt, sizeof halt);
}

static void wake_all(struct reveille *run)
{
    struct rally *rally = arena_rally(&run->arena);
    struct wake *wake = &run->wake;

    wake->plan = &run->plan;
    wake->arena = &run->arena;
    wake->trampoline = &run->trampoline;
    wake->parameters = &run->parameters;
    wake->clock = run->machine.clock;
    wake->page_phys = run->machine.low_page;
    wake->page_view = (uint8_t *)(uintptr_t)(run->arena.phys + run->arena.window_offset);
    wake->apic = (struct apic){
        .operations = run->plan.apic,
        .mmio_phys = APIC_MMIO_PHYS(run->machine.apic_base),
        .idle_ticks = clock_ticks(&wake->clock, APIC_IDLE_US),
    };
    wake->apic.operations->enable(&wake->apic);
    rally->ticks_per_us = clock_ticks(&wake->clock, 1);
    rally->late_us = run->plan.timeout_us + run->plan.timeout_us / 4;
    rally->turn_wait_ticks =
        clock_ticks(&wake->clock, plan_round_bound_us(&run->plan) + run->arena.count * GREETING_US);
    inject(run);
    report_starting(&run->console, &run->plan);
    for (uint32_t round = 1; round <= run->plan.rounds; round++) {
        struct wake_result result;
        keep_note(run, NOTE_WAKING, round);
        wake_round(wake, &result);
        (void)wake_greet(wake, GREETING_US);
        report_wake(&run->console, &run->plan, wake, &result);
    }
    keep_note(run, NOTE_REPORTING, run->plan.rounds);
    wake_await_late(wake);
    wake_close(wake);
}

// Called by gnu-efi's start-up code.
EFI_STATUS efi_main(EFI_HANDLE handle, EFI_SYSTEM_TABLE *system);

EFI_STATUS efi_main(EFI_HANDLE handle, EFI_SYSTEM_TABLE *system)
{
    struct reveille *run = &g_run;
    EFI_STATUS opened = open_run(run, handle, system);
    if (EFI_ERROR(opened))
        return opened;

    // gather and plan
    report_start(&run->console, &run->machine, VERSION);
    enum status status = configure(&run->firmware, &run->problems, &run->options);
    if (run->options.help) {
        options_help(print_help, &run->console);
        run->outcome.ok = true;
        report_end(&run->console, &run->outcome);
        return EFI_SUCCESS;
    }
    if (status == STATUS_OK)
        status = prepare(run);
    if (status != STATUS_OK)
        return refuse(run, status);

    // leave
    leave(run);
    if (run->machine.low_page == 0)
        take_late_page(run);
    take_over(run);

    // wake, examine, report
    wake_all(run);
    report_aswoken(&run->console, &run->wake);
    report_cpus(&run->console, &run->machine, &run->wake, &run->outcome);
    finish(run);
}
