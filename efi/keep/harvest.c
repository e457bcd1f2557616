// The result of the run before this one, which waits in memory that a warm reset does not clear,
// goes to the volume. And the start that will fetch this run's: firmware is asked to boot the same
// entry once more. Surprise: on a machine that clears its memory that start finds nothing, and
// would begin all over again, for ever; so a mark on the volume says that it was asked for.

#include "run.h"

// Also under this name if this run goes on, which writes its own beginning to the other one.
#define NEWEST L"last"
#define OLDER  L"previous"

static void report_harvest(struct reveille *run, const struct journal *found, bool saved)
{
    char buffer[LINE_BYTES];
    struct line line;
    size_t lines = 0;

    for (size_t at = 0; journal_next(found, &at) != NULL;)
        lines++;
    record_start(&line, buffer, sizeof buffer, "harvest");
    record_add_decimal(&line, "lines", lines);
    record_add_decimal(&line, "complete", journal_is_complete(found));
    record_add_decimal(&line, "saved", saved);
    console_record(&run->console, 0, &line);
    if (!saved)
        return;
    line_start(&line, buffer, sizeof buffer);
    line_add_format(&line, "The previous run's result is saved: \\reveille\\%s.txt and .rec",
                    run->fetched ? "last" : "previous");
    console_say(&run->console, 0, &line);
}

// Before the first write of a start. On a broken volume it is the last line for a while.
static void tell_saving(struct reveille *run)
{
    if (!run->stick.told && !EFI_ERROR(run->stick.refusal))
        console_tell(&run->console, "Saving to \\reveille: up to a minute if the volume is broken",
                     0);
    run->stick.told = true;
}

bool run_save(struct reveille *run, const CHAR16 *name, enum stick_end end,
              const struct problems *problems)
{
    tell_saving(run);
    if (!stick_save(&run->stick, &run->firmware, &run->journal, name, end, problems))
        return false;
    if (run->summary_told)
        nvram_forget(run);
    run->summary_told = false;
    return true;
}

// Only a summary, or nothing. This start's own lines tell the summary; they do not take the place
// of the beginning that the run itself has saved.
static void fetch_summary(struct reveille *run)
{
    CHAR16 older[] = OLDER;

    if (!run->summary_told)
        report_problem(&run->log, SEVERITY_WARNING, "nothing-to-harvest",
                       "no result of a previous run is in memory: a cold start clears it, and some "
                       "firmware clears it at every start");
    else if (run_save(run, older, STICK_BLANK, &run->problems))
        console_tell(&run->console,
                     "The previous run's summary is saved: \\reveille\\previous.txt and .rec", 0);
}

static bool fetch_journal(struct reveille *run, const struct journal *found)
{
    CHAR16 newest[] = NEWEST, older[] = OLDER;

    tell_saving(run);
    const bool saved =
        stick_save(&run->stick, &run->firmware, found, newest, STICK_BLANK, &run->problems) &&
        (run->fetched ||
         stick_save(&run->stick, &run->firmware, found, older, STICK_BLANK, &run->problems));
    report_harvest(run, found, saved);
    return saved;
}

void run_harvest(struct reveille *run)
{
    struct last_run *last = &run->last_run;
    const bool only = run->options.harvest == HARVEST_ONLY;

    if (run->options.save == SAVE_NONE && !only)
        return;
    const bool marked = stick_has_mark(&run->stick, &run->firmware);
    if (marked)
        tell_saving(run); // to take the mark away is to write
    const bool taken = marked && stick_take_mark(&run->stick, &run->firmware);
    run->fetched = only || (last->head ? last->again : taken && run->options.again == ANSWER_YES);
    run->forgets = marked && !last->head;
    if (last->head && fetch_journal(run, &last->journal)) {
        journal_drop(last->head);
        nvram_forget(run); // what is saved says more than a summary, or tells it
        return;
    }
    run->unsaved = last->head != NULL;
    run->summary_told = nvram_tell(run);
    if (!last->head) {
        if (run->fetched)
            fetch_summary(run);
        return;
    }
    // A run that goes on needs the memory; harvest=only leaves what it could not save to another
    // try. The start that was asked for does not: each one after it would do nothing else.
    if (!only)
        journal_drop(last->head);
}

void run_allow_reset(struct reveille *run)
{
    if (!end_resets_itself(&run->machine, &run->options) || !run->saved ||
        !last_run_keeps(run->journal.head))
        return;
    if (run->forgets) {
        report_problem(
            &run->log, SEVERITY_WARNING, "memory-cleared",
            "the result of the previous run is gone from memory, cleared by its reset or "
            "switched off before, so this run does not reset the machine: use save=nvram "
            "to keep a summary");
        return;
    }
    tell_saving(run);
    run->resets_itself = stick_set_mark(&run->stick, &run->firmware);
}

static EFI_STATUS set_next(struct reveille *run)
{
    EFI_GUID global = EFI_GLOBAL_VARIABLE;
    EFI_RUNTIME_SERVICES *runtime = run->firmware.system->RuntimeServices;
    CHAR16 current[] = L"BootCurrent", next[] = L"BootNext";
    UINT16 entry;
    UINTN bytes = sizeof entry;

    EFI_STATUS status = runtime->GetVariable(current, &global, NULL, &bytes, &entry);
    if (!EFI_ERROR(status))
        status = runtime->SetVariable(next, &global,
                                      EFI_VARIABLE_NON_VOLATILE | EFI_VARIABLE_BOOTSERVICE_ACCESS |
                                          EFI_VARIABLE_RUNTIME_ACCESS,
                                      bytes, &entry);
    return status;
}

void run_ask_for_another_start(struct reveille *run)
{
    if (run->saved && last_run_keeps(run->journal.head)) {
        tell_saving(run);
        if (stick_set_mark(&run->stick, &run->firmware) && !EFI_ERROR(set_next(run))) {
            journal_ask_again(&run->journal); // not before: else a start by hand would wake nobody
            return;
        }
        (void)stick_take_mark(&run->stick, &run->firmware);
    }
    run->options.again = ANSWER_NO;
    report_problem(
        &run->log, SEVERITY_WARNING, "no-next-start",
        "again=yes needs save=ram, memory that outlives a reset, room on the volume, and "
        "a firmware that takes BootNext: this run ends without another start");
}
