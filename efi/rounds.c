// The rounds. Surprise: with exit=no the BSP is ours only in a window around each of them. Between
// the windows firmware runs as ever, so that its clock, its keyboard and its screen live.

#include "rounds.h"

#include "bound.h"
#include "hw.h"
#include "memory.h"
#include "note.h"
#include "null.h"
#include "page.h"
#include "report.h"
#include "report_drill.h"
#include "shell.h"
#include "sweep.h"
#include "tell.h"

// A page of boot services is ours now. It is proved first, then mapped for the APs, and written
// through the window.
static enum status take_late_page(const struct rounds_setup *setup)
{
    const uint32_t page = setup->pieces->late_page;

    if (memory_is_writable(page) && smp_map_page(setup->smp, page) == STATUS_OK) {
        hw_write_cr3(setup->window->home.cr3); // what was mapped there before is forgotten
        if (smp_fill_page(setup->smp, window_page_view(setup->window)) == STATUS_OK) {
            const struct smp_layout layout = smp_layout(setup->smp);
            report_trampoline(&setup->voice->console, &layout);
            return STATUS_OK;
        }
    }
    problem_tell(&setup->voice->problems, SEVERITY_ERROR, "no-low-page",
                 "the boot-services page below 1 MiB cannot be used either");
    return STATUS_NOT_FOUND;
}

// The machine's limit, on the same page; then the page is the trampoline's again. False: it is not,
// and who starts there would be lost.
static bool measure_null(const struct rounds_setup *setup)
{
    const struct plan *plan = setup->plan;
    struct null_times times;

    // The first wake of all is the cold one, whichever it is.
    const enum null_mode first = setup->options->bench == BENCH_NULL_LONG ? NULL_LONG : NULL_REAL;

    for (enum null_mode mode = first; mode <= NULL_LONG && plan->want > 0; mode++) {
        null_measure(setup->smp, &plan->messages, &setup->machine->clock, mode, &times);
        report_null(&setup->voice->console, plan->want, mode, &times);
    }
    return smp_fill_page(setup->smp, smp_layout(setup->smp).page_view) == STATUS_OK;
}

// The faults that were asked for, now that all has been proved.
static void inject(const struct rounds_setup *setup)
{
    const struct voice *voice = setup->voice;

    inject_arm(setup->smp, setup->injector);
    if (inject_has(setup->injector, FAULT_BAD_JOURNAL) && voice->journal_memory) {
        (void)smp_unmap(setup->smp, (uintptr_t)voice->journal_memory,
                        voice->journal_pages * PAGE_BYTES);
        hw_write_cr3(setup->window->home.cr3);
    }
}

static void run_round(const struct rounds_setup *setup, const struct plan *plan,
                      struct smp_round *round)
{
    if (plan->messages.strategy == SMP_FIRMWARE) {
        firmware_wake_round(setup->firmware, setup->smp, &setup->voice->problems, round);
        return;
    }
    window_open(setup->window);
    smp_wake(setup->smp, round);
    inject_send_nmis(setup->smp, setup->injector, GREETING_US);
    (void)smp_take_turns(setup->smp);
    window_close(setup->window);
    // With exit=no firmware has the BSP by now.
    inject_await_idle_faults(setup->smp, setup->injector, GREETING_US);
}

// In the last round APs do not go back to the page behind their turns, if run= has work for them.
static void keep_awake(const struct rounds_setup *setup, const struct plan *plan)
{
    struct smp_plan messages = plan->messages;

    messages.parking = setup->options->park;
    (void)smp_start(setup->smp, &messages); // as before, and that was right
}

// CTRL+C in the Shell, looked at between the rounds and between a sweep's settings.
static bool is_stopped(const struct rounds_setup *setup, const char *what, size_t done,
                       size_t wanted)
{
    if (!setup->window->firmware_lives || done == wanted || !shell_break(setup->firmware))
        return false;
    problem_tell(&setup->voice->problems, SEVERITY_WARNING, "stopped-by-key",
                 "CTRL+C: %u of %u %s were run", (uint64_t)done, (uint64_t)wanted, what);
    return true;
}

static void flush(const struct rounds_setup *setup)
{
    if (!setup->window->firmware_lives)
        console_flush(&setup->voice->console);
}

// All rounds of one plan; `last` is the number of the run's last. Counts into `done`.
static void run_rounds(const struct rounds_setup *setup, const struct plan *plan, uint32_t last,
                       struct sweep_result *result, struct rounds_done *done)
{
    const struct pieces *pieces = setup->pieces;

    *result = sweep_start((uint32_t)plan->want);
    for (done->rounds = 0; done->rounds < plan->rounds && !done->stopped;) {
        struct smp_round round;
        note_keep(pieces->note, setup->smp, NOTE_WAKING, smp_rounds(setup->smp) + 1, setup->resets);
        if (setup->options->run != RUN_NONE && smp_rounds(setup->smp) + 1 == last)
            keep_awake(setup, plan);
        run_round(setup, plan, &round);
        report_wake(&setup->voice->console, plan, &round,
                    round.round == last ? setup->firmware_times : NULL);
        flush(setup);
        pieces->lasts_us[done->rounds] = (uint32_t)round.last_us;
        pieces->medians_us[done->rounds] = (uint32_t)round.median_us;
        sweep_add(&round, (uint32_t)plan->want, result);
        done->rounds++;
        done->stopped = is_stopped(setup, "rounds", done->rounds, plan->rounds);
    }
}

// Every setting in turn, and what is best. A value that the plan cannot take is told, and ends it:
// what would come behind is left out of the judgement.
static void run_sweep(const struct rounds_setup *setup, struct rounds_done *done)
{
    const struct sweep *sweep = &setup->options->sweep;
    const struct pieces *pieces = setup->pieces;
    struct console *console = &setup->voice->console;
    const uint32_t last = setup->plan->rounds * (uint32_t)sweep->count;
    struct sweep_result results[SWEEP_MAX];
    size_t setting = 0;

    for (; setting < sweep->count && !done->stopped; setting++) {
        struct options options;
        struct plan plan;
        sweep_options(setup->options, setting, &options);
        if (plan_make(setup->machine, &options, &setup->voice->problems, pieces->cpus, &plan) !=
            STATUS_OK)
            break;
        if ((done->status = smp_start(setup->smp, &plan.messages)) != STATUS_OK)
            break;
        run_rounds(setup, &plan, last, &results[setting], done);
        plan.rounds = done->rounds;
        sweep_finish(pieces->medians_us, pieces->lasts_us, done->rounds, &results[setting]);
        report_sweep(console, &plan, sweep, setting, &results[setting]);
        if (!done->stopped)
            done->stopped = is_stopped(setup, "settings", setting + 1, sweep->count);
    }
    report_sweep_end(console, sweep, sweep_best(sweep, results, setting), setting);
}

// What run= asks for. Afterwards nobody is in our code any more but who has not come back.
static void exercise(const struct rounds_setup *setup, struct rounds_done *done)
{
    const struct drill_setup with = {setup->smp, setup->plan, &setup->machine->clock,
                                     setup->ground};
    struct drill_step steps[DRILL_STEPS];
    const size_t count = drill_steps(setup->options, steps);
    const uint64_t start = hw_tsc();

    note_keep(setup->pieces->note, setup->smp, NOTE_CALLING, done->rounds, setup->resets);
    drill_open(setup->injector, setup->ground);
    for (size_t i = 0; i < count; i++) {
        const struct drill_result result = drill_run(&with, &steps[i]);
        report_drill_problems(&setup->voice->problems, &steps[i], &result);
        if (result.aps == 0 && result.missing == 0)
            break;
        report_drill(&setup->voice->console, setup->plan, &steps[i], &result,
                     setup->firmware_times->warm_us);
        flush(setup);
        done->wrong_sum = done->wrong_sum || !result.right;
    }
    drill_close(&with);
    smp_close_turns(setup->smp); // wakes behind which no turns were taken
    note_keep(setup->pieces->note, setup->smp, NOTE_REPORTING, done->rounds, setup->resets);
    done->run_ticks = hw_tsc() - start;
}

struct rounds_done rounds_run(const struct rounds_setup *setup)
{
    struct rounds_done done = {.status = STATUS_OK};
    struct sweep_result result;
    bool good = true;

    window_open(setup->window);
    if (setup->pieces->low_page == 0 && (done.status = take_late_page(setup)) != STATUS_OK)
        return done;
    if ((done.status = smp_start(setup->smp, &setup->plan->messages)) != STATUS_OK)
        return done;
    if (setup->options->bench != BENCH_NONE)
        good = measure_null(setup); // else told
    inject(setup);
    window_close(setup->window);
    report_starting(&setup->voice->console, setup->plan);
    flush(setup);
    if (good && setup->options->sweep.count > 0)
        run_sweep(setup, &done);
    else if (good)
        run_rounds(setup, setup->plan, setup->plan->rounds, &result, &done);
    done.woken = hw_tsc();
    note_keep(setup->pieces->note, setup->smp, NOTE_REPORTING, done.rounds, setup->resets);
    window_open(setup->window);
    smp_await_late(setup->smp);
    smp_close_turns(setup->smp);
    if (setup->options->run != RUN_NONE && !done.stopped)
        exercise(setup, &done);
    window_close(setup->window);
    return done;
}
