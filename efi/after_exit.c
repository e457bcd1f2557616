// The run's steps after the exit. Nothing of firmware is called but to switch the machine off;
// whatever goes wrong becomes a record, and the run goes on to its end.

#include "run.h"

#include "control.h"
#include "hw.h"
#include "inject.h"
#include "mem.h"

// One greeting at the slowest baud rate, twice over: 2 * 80 characters * 10 bits / 1200 baud,
// rounded up.
#define GREETING_US 2000000u

#define MSR_EFER 0xc0000080u
#define CR0_WP   (1u << 16)
#define CR4_PGE  (1u << 7)

static void say(struct reveille *run, const char *text)
{
    char buffer[LINE_BYTES];
    struct line line;

    line_start(&line, buffer, sizeof buffer);
    line_add_text(&line, text);
    console_say(&run->console, 0, &line);
}

static _Noreturn void end(struct reveille *run)
{
    note_drop(run->note);
    report_end(&run->console, &run->outcome);
    arena_rally(&run->arena)->bsp_stopped = NULL; // the end is told once
    end_run(&run->firmware, &run->machine, &run->options, &run->console,
            run->outcome.ok ? EXIT_OK : EXIT_FAILED);
}

// Where the BSP goes on after a fault of its own: the account of what is known, and the end.
static void bsp_stopped(void *context)
{
    struct reveille *run = context;
    report_cpus(&run->console, &run->machine, &run->wake, &run->outcome);
    run->outcome.ok = false;
    end(run);
}

static void keep_note(struct reveille *run, enum note_step step, uint32_t round)
{
    note_keep(run->note, &run->arena, step, round, run->resets);
}

void run_leave(struct reveille *run)
{
    uint32_t attempts;

    say(run, "Leaving firmware");
    uart_drain(&run->console.uart);
    run->firmware.boot->SetWatchdogTimer(0, 0, 0, NULL); // firmware resets after five minutes
    run->console.sinks[SINK_FIRMWARE].write_line = NULL;
    keep_note(run, NOTE_LEAVING, 0);
    const enum status status = memory_read_map(&run->firmware) == STATUS_OK
                                   ? leave_firmware(&run->firmware, &attempts)
                                   : STATUS_NO_SPACE;
    if (status != STATUS_OK) {
        report_problem(
            &run->log, SEVERITY_ERROR, "exit-refused",
            "ExitBootServices was refused every time; boot services cannot be used any more");
        end(run);
    }
    hw_disable_interrupts();
}

static uint8_t *window_of(const struct reveille *run)
{
    return (uint8_t *)(uintptr_t)(run->arena.phys + run->arena.window_offset);
}

// A page of boot services is ours now. It is proved first, then mapped for the APs, and written
// through the window.
static void take_late_page(struct reveille *run)
{
    run->machine.low_page = run->low_page_after_exit;
    if (memory_is_writable(run->machine.low_page) &&
        address_space_place(&run->machine, &run->arena, &run->problems, &run->tables) ==
            STATUS_OK) {
        hw_write_cr3(run->tables.pool_phys); // what was mapped there before is forgotten
        if (run_fill_page(run, window_of(run)) == STATUS_OK)
            return;
    }
    report_problem(&run->log, SEVERITY_ERROR, "no-low-page",
                   "the boot-services page below 1 MiB cannot be used either");
    end(run);
}

void run_take_over(struct reveille *run)
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

    hw_write_cr0(hw_read_cr0() | CR0_WP);
    if (run->machine.processor.no_execute)
        hw_wrmsr(MSR_EFER, hw_rdmsr(MSR_EFER) | EFER_NXE);
    hw_write_cr4(run->firmware.cr4 & ~(uint64_t)CR4_PGE); // no global entry of firmware's survives
    hw_write_cr3(run->tables.pool_phys);
    hw_write_tables(&tables);
    rally->bsp_context = run;
    rally->bsp_stopped = bsp_stopped;
    if (run->machine.low_page == 0)
        take_late_page(run);
}

// The faults that were asked for, now that all has been proved.
static void inject(struct reveille *run)
{
    const uint8_t halt = 0xf4;

    inject_arm(&run->options, &run->plan, &run->arena, run->parameters.x86_bpt_pml4_addr);
    if (inject_has(&run->options, FAULT_BAD_COPY))
        memcpy(run->wake.page_view, &halt, sizeof halt);
}

void run_wake(struct reveille *run)
{
    struct rally *rally = arena_rally(&run->arena);
    struct wake *wake = &run->wake;

    wake->plan = &run->plan;
    wake->arena = &run->arena;
    wake->trampoline = &run->trampoline;
    wake->parameters = &run->parameters;
    wake->clock = run->machine.clock;
    wake->page_phys = run->machine.low_page;
    wake->page_view = window_of(run);
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
        report_wake(&run->console, wake, &result, &run->firmware_times);
        run->rounds_us[round - 1] = (uint32_t)result.last_us;
    }
    keep_note(run, NOTE_REPORTING, run->plan.rounds);
    wake_await_late(wake);
    wake_close(wake);
}

void run_finish(struct reveille *run)
{
    report_rounds(&run->console, &run->plan, run->rounds_us);
    report_stages(&run->console, &run->wake);
    report_aswoken(&run->console, &run->wake);
    report_cpus(&run->console, &run->machine, &run->wake, &run->outcome);
    end(run);
}
