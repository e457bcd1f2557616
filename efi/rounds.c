// The wake, round by round, whether firmware is left or not. Surprise: with exit=no the BSP is ours
// only in a window around each round. Between the windows firmware runs as ever, so that its clock,
// its keyboard and its screen live; what was said in the window is shown behind it.

#include "run.h"

#include "bound.h"
#include "inject.h"
#include "memory.h"
#include "options.h"
#include "prepare.h"
#include "shell.h"

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
        address_space_place(&run->machine, &run->arena, &run->voice.problems, &run->tables) ==
            STATUS_OK) {
        hw_write_cr3(run->tables.pool_phys); // what was mapped there before is forgotten
        if (run_fill_page(run, page_view(run, true)) == STATUS_OK)
            return;
    }
    report_problem(&run->voice.log, SEVERITY_ERROR, "no-low-page",
                   "the boot-services page below 1 MiB cannot be used either");
    run_end(run);
}

static struct bsp_home home_of(const struct reveille *run)
{
    const struct lcpu *self = &arena_lcpu(&run->arena, 0)->lcpu;

    return (struct bsp_home){
        .cr3 = run->tables.pool_phys,
        .pat = arena_rally(&run->arena)->pat,
        .no_execute = run->machine.processor.no_execute,
        .gdt = self->gdtr,
        .early_idt = self->early_idtr,
        .idt = self->idtr,
    };
}

void run_open_window(struct reveille *run)
{
    if (run->window_is_open)
        return;
    voice_hide_firmware(&run->voice);
    run_expect_faults(run);
    const struct bsp_home home = home_of(run);
    if (firmware_lives(run))
        run->tpl = bsp_borrow(&run->firmware, &home);
    else
        bsp_take_over(&run->firmware, &home);
    run->window_is_open = true;
    run->wake.page_view = page_view(run, true);
    if (run->machine.low_page == 0)
        take_late_page(run);
}

void run_close_window(struct reveille *run)
{
    if (!firmware_lives(run))
        return;
    bsp_hand_back(&run->firmware, &run->firmware_bsp, run->tpl);
    run->window_is_open = false;
    run->wake.page_view = page_view(run, false);
    voice_show_firmware(&run->voice);
}

// The faults that were asked for, now that all has been proved.
static void inject(struct reveille *run)
{
    inject_arm(&run->options, &run->plan, &run->arena, run->parameters.x86_bpt_pml4_addr);
    if (inject_has(&run->options, FAULT_BAD_COPY))
        trampoline_close(run->wake.page_view); // a loop: QEMU's STARTUP ends a HLT
    if (inject_has(&run->options, FAULT_BAD_JOURNAL) && run->voice.journal_pages > 0) {
        (void)page_tables_unmap(&run->tables, (uintptr_t)run->voice.journal_memory,
                                run->voice.journal_pages * PAGE_BYTES);
        hw_write_cr3(run->tables.pool_phys);
    }
}

// An AP waits for its turn to greet as long as a round and everybody's greeting can take.
static void set_patience(struct reveille *run)
{
    struct rally *rally = arena_rally(&run->arena);
    const uint64_t us = plan_round_bound_us(&run->plan) + run->arena.count * GREETING_US;

    rally->late_us = run->plan.timeout_us;
    rally->turn_wait_ticks = clock_ticks(&run->machine.clock, us);
}

static void prepare_wake(struct reveille *run)
{
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
    arena_rally(&run->arena)->ticks_per_us = clock_ticks(&wake->clock, 1);
    set_patience(run);
}

// The machine's limit, on the same page; then the page is the trampoline's again.
static void measure_null(struct reveille *run)
{
    struct null_times times;
    size_t relocations;

    // The first wake of all is the cold one, whichever it is.
    const enum null_mode first = run->options.bench == BENCH_NULL_LONG ? NULL_LONG : NULL_REAL;

    for (enum null_mode mode = first; mode <= NULL_LONG && run->plan.want > 0; mode++) {
        null_measure(&run->wake, mode, &times);
        report_null(&run->voice.console, &run->wake, mode, &times);
    }
    if (prepare_page(&run->machine, &run->arena, &run->trampoline, &run->parameters,
                     (uintptr_t)ap_main, &run->voice.problems, &run->tables, run->wake.page_view,
                     &relocations) != STATUS_OK)
        run->options.sweep.count = run->plan.rounds = 0; // told; who starts there would be lost
}

static void run_round(struct reveille *run, struct wake_result *result)
{
    if (run->plan.wake == SMP_FIRMWARE) {
        firmware_wake_round(run, GREETING_US, result);
        return;
    }
    run_open_window(run);
    wake_round(&run->wake, result);
    (void)wake_greet(&run->wake, GREETING_US);
    run_close_window(run);
    wake_await_idle_faults(&run->wake, GREETING_US); // with exit=no firmware has the BSP by now
}

// CTRL+C in the Shell, looked at between the rounds and between a sweep's settings.
static bool is_stopped(struct reveille *run, const char *what, size_t done, size_t wanted)
{
    char buffer[LINE_BYTES];
    struct line line;

    if (!firmware_lives(run) || done == wanted || run->stopped || !shell_break(&run->firmware))
        return run->stopped;
    run->stopped = true;
    line_start(&line, buffer, sizeof buffer);
    line_add_format(&line, "CTRL+C: %u of %u %s were run", (uint64_t)done, (uint64_t)wanted, what);
    report_problem(&run->voice.log, SEVERITY_WARNING, "stopped-by-key", line.text);
    return true;
}

static void add_to_sweep(const struct wake_result *result, uint32_t want, struct sweep_result *sum)
{
    // With sipis=auto a second STARTUP makes up for a wait that was too short.
    const uint32_t first_try = result->up - result->retried - result->helped;

    sum->lost += want - first_try;
    sum->first_try = first_try < sum->first_try ? first_try : sum->first_try;
    sum->up = result->up < sum->up ? result->up : sum->up;
    if (result->up > 0 && result->first_us < sum->first_us)
        sum->first_us = (uint32_t)result->first_us;
    sum->icr_writes = result->icr_writes > sum->icr_writes ? result->icr_writes : sum->icr_writes;
}

// All rounds of one setting.
static void run_rounds(struct reveille *run, struct sweep_result *sum)
{
    struct wake *wake = &run->wake;
    const uint32_t want = (uint32_t)run->plan.want;
    const uint32_t settings = run->options.sweep.count > 0 ? (uint32_t)run->options.sweep.count : 1;

    *sum = (struct sweep_result){.first_try = want, .up = want, .first_us = UINT32_MAX};
    for (uint32_t round = 1; round <= run->plan.rounds; round++) {
        struct wake_result result;
        run_keep_note(run, NOTE_WAKING, wake->generation + 1);
        run_round(run, &result);
        const bool last = wake->generation == run->plan.rounds * settings;
        report_wake(&run->voice.console, wake, &result, last ? &run->firmware_times : NULL);
        if (!firmware_lives(run))
            console_flush(&run->voice.console);
        run->rounds_us[round - 1] = (uint32_t)result.last_us;
        run->medians_us[round - 1] = (uint32_t)result.median_us;
        add_to_sweep(&result, want, sum);
        if (is_stopped(run, "rounds", round, run->plan.rounds))
            run->plan.rounds = round;
    }
}

// Every setting in turn, and what is best. A value that the plan cannot take is told, and ends it:
// what would come behind is left out of the judgement.
static void run_sweep(struct reveille *run)
{
    const struct sweep *sweep = &run->options.sweep;
    size_t setting = 0;

    for (; setting < sweep->count && !run->stopped; setting++) {
        struct sweep_result *result = &run->sweep_results[setting];
        struct options options;
        sweep_options(&run->options, setting, &options);
        if (plan_make(&run->machine, &options, &run->voice.problems, run->plan.lcpus, &run->plan) !=
            STATUS_OK)
            break;
        set_patience(run);
        run_rounds(run, result);
        result->median_us = spread_of(run->medians_us, run->plan.rounds);
        result->last_us = spread_of(run->rounds_us, run->plan.rounds);
        report_sweep(&run->voice.console, &run->wake, sweep, setting, result);
        (void)is_stopped(run, "settings", setting + 1, sweep->count);
    }
    struct sweep done = *sweep;
    done.count = setting;
    report_sweep_end(&run->voice.console, &done, run->sweep_results);
}

void run_wake(struct reveille *run)
{
    struct wake *wake = &run->wake;
    struct sweep_result sum;

    run->times.left = hw_tsc();
    run_open_window(run);
    prepare_wake(run);
    if (run->options.bench != BENCH_NONE)
        measure_null(run);
    inject(run);
    run_close_window(run);
    report_starting(&run->voice.console, &run->plan);
    if (!firmware_lives(run))
        console_flush(&run->voice.console);
    if (run->options.sweep.count > 0)
        run_sweep(run);
    else
        run_rounds(run, &sum);
    run->times.woken = hw_tsc();
    run_keep_note(run, NOTE_REPORTING, run->plan.rounds);
    run_open_window(run);
    wake_await_late(wake);
    wake_close(wake);
    run_close_window(run);
}
