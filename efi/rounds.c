// The wake, round by round, whether firmware is left or not. Surprise: with exit=no the BSP is ours
// only in a window around each round. Between the windows firmware runs as ever, so that its clock,
// its keyboard and its screen live; what was said in the window is shown behind it.

#include "run.h"

#include "hw.h"
#include "inject.h"
#include "mem.h"
#include "shell.h"

// One greeting at the slowest baud rate, twice over: 2 * 80 characters * 10 bits / 1200 baud,
// rounded up.
#define GREETING_US 2000000u

static bool firmware_lives(const struct reveille *run)
{
    return run->options.exit == ANSWER_NO;
}

// Where the trampoline's page can be written: in our address space it is executable at its own
// address, and writable in the window.
static uint8_t *page_view(const struct reveille *run, bool ours)
{
    return (uint8_t *)(uintptr_t)(ours ? run->arena.phys + run->arena.window_offset
                                       : run->machine.low_page);
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
        if (run_fill_page(run, page_view(run, true)) == STATUS_OK)
            return;
    }
    report_problem(&run->log, SEVERITY_ERROR, "no-low-page",
                   "the boot-services page below 1 MiB cannot be used either");
    run_end(run);
}

void run_show_journal(struct reveille *run)
{
    const char *line;

    run->console.sinks[SINK_FIRMWARE].write_line = text_screens_write;
    while ((line = journal_next(&run->journal, &run->shown)) != NULL)
        text_screens_write(&run->screens, line);
}

void run_open_window(struct reveille *run)
{
    if (run->window_is_open)
        return;
    if (firmware_lives(run)) {
        run->shown = run->journal.length;
        run->console.sinks[SINK_FIRMWARE].write_line = NULL;
        run->tpl = run->firmware.boot->RaiseTPL(TPL_HIGH_LEVEL);
    }
    run_expect_faults(run);
    bsp_take_over(run);
    run->window_is_open = true;
    run->wake.page_view = page_view(run, true);
    if (run->machine.low_page == 0)
        take_late_page(run);
}

void run_close_window(struct reveille *run)
{
    if (!firmware_lives(run))
        return;
    bsp_hand_back(&run->firmware_bsp);
    run->window_is_open = false;
    run->wake.page_view = page_view(run, false);
    run->firmware.boot->RestoreTPL(run->tpl);
    run_show_journal(run);
}

// The faults that were asked for, now that all has been proved.
static void inject(struct reveille *run)
{
    const uint8_t halt = 0xf4;

    inject_arm(&run->options, &run->plan, &run->arena, run->parameters.x86_bpt_pml4_addr);
    if (inject_has(&run->options, FAULT_BAD_COPY))
        memcpy(run->wake.page_view, &halt, sizeof halt);
}

static void prepare_wake(struct reveille *run)
{
    struct rally *rally = arena_rally(&run->arena);
    struct wake *wake = &run->wake;

    wake->plan = &run->plan;
    wake->arena = &run->arena;
    wake->trampoline = &run->trampoline;
    wake->parameters = &run->parameters;
    wake->clock = run->machine.clock;
    wake->page_phys = run->machine.low_page;
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
}

static void run_round(struct reveille *run, struct wake_result *result)
{
    if (run->plan.wake == WAKE_FIRMWARE) {
        firmware_wake_round(run, GREETING_US, result);
        return;
    }
    run_open_window(run);
    wake_round(&run->wake, result);
    (void)wake_greet(&run->wake, GREETING_US);
    run_close_window(run);
}

// CTRL+C in the Shell, looked at between the rounds.
static bool is_stopped(struct reveille *run, uint32_t round)
{
    char buffer[LINE_BYTES];
    struct line line;

    if (!firmware_lives(run) || round == run->plan.rounds || !shell_break(&run->firmware))
        return false;
    run->stopped = true;
    line_start(&line, buffer, sizeof buffer);
    line_add_format(&line, "CTRL+C: %u of %u rounds were run", (uint64_t)round,
                    (uint64_t)run->plan.rounds);
    report_problem(&run->log, SEVERITY_WARNING, "stopped-by-key", line.text);
    run->plan.rounds = round;
    return true;
}

void run_wake(struct reveille *run)
{
    struct wake *wake = &run->wake;

    run_open_window(run);
    prepare_wake(run);
    run_close_window(run);
    report_starting(&run->console, &run->plan);
    for (uint32_t round = 1; round <= run->plan.rounds; round++) {
        struct wake_result result;
        run_keep_note(run, NOTE_WAKING, round);
        run_round(run, &result);
        report_wake(&run->console, wake, &result, &run->firmware_times);
        run->rounds_us[round - 1] = (uint32_t)result.last_us;
        if (is_stopped(run, round))
            break;
    }
    run_keep_note(run, NOTE_REPORTING, run->plan.rounds);
    run_open_window(run);
    wake_await_late(wake);
    wake_close(wake);
    run_close_window(run);
}
