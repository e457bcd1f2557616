// Nothing of firmware is called here but to keep a summary where save=nvram asks for it, and to
// switch the machine off. Surprise: the BSP may meet a fault in any of these steps, and comes back
// in by ending_after_fault; so each step is counted before it is taken.

#include "ending.h"

#include "display.h"
#include "end.h"
#include "hw.h"
#include "line.h"
#include "nvram.h"
#include "report.h"
#include "report_cpus.h"
#include "summary.h"

#define ACCOUNTS_MOST 2u

// For what is drawn and kept: before the first round nobody was woken.
static const struct evidence *evidence_of(const struct ending *ending)
{
    return ending->evidence->rounds > 0 ? ending->evidence : NULL;
}

void ending_examine(struct ending *ending)
{
    evidence_take(ending->smp, ending->evidence);
    ending->outcome = outcome_of(ending->evidence);
}

static void give_account(struct ending *ending)
{
    report_cpus(&ending->voice->console, &ending->machine->inventory, ending->evidence);
}

void ending_account(struct ending *ending)
{
    ending->accounts++;
    give_account(ending);
}

static void drop_note(struct ending *ending)
{
    note_drop(ending->note);
}

static void tell_left_out(struct ending *ending)
{
    voice_tell_left_out(ending->voice);
}

// There twice: a fault on the way costs the sink that it was in, and not the record.
static void tell_end(struct ending *ending)
{
    if (!ending->told)
        report_end(&ending->voice->console, &ending->outcome);
    ending->told = true;
}

static void finish_display(struct ending *ending)
{
    if (ending->window->is_open)
        display_finish(&ending->voice->display, ending->machine, evidence_of(ending),
                       &ending->outcome, &ending->voice->console);
}

// Firmware's code: by now all is told, should it not come back.
static void keep_summary(struct ending *ending)
{
    char buffer[LINE_BYTES];
    struct line line;

    if (!ending->window->is_open || ending->options->save != SAVE_NVRAM)
        return;
    line_start(&line, buffer, sizeof buffer);
    summary_write(ending->machine, evidence_of(ending), &ending->outcome, VERSION, &line);
    nvram_save(ending->firmware, &line, &ending->voice->console);
}

static void leave_machine(struct ending *ending)
{
    end_run(ending->firmware, ending->machine, ending->options, ending->next,
            &ending->voice->journal, &ending->voice->console,
            ending->outcome.ok ? EXIT_OK : EXIT_FAILED);
}

_Noreturn void ending_run(struct ending *ending)
{
    static void (*const steps[])(struct ending *) = {
        drop_note, tell_left_out, tell_end, tell_end, finish_display, keep_summary, leave_machine,
    };

    while (ending->step < sizeof steps / sizeof steps[0])
        steps[ending->step++](ending);
    hw_halt();
}

_Noreturn void ending_after_fault(struct ending *ending)
{
    if (ending->accounts++ < ACCOUNTS_MOST) {
        ending_examine(ending);
        give_account(ending);
    }
    ending->outcome = outcome_cut_short(ending->outcome);
    ending_run(ending);
}
