// The result of the run before this one, which waits in memory that a warm reset does not clear,
// goes to the volume. Surprise: a machine that clears its memory has only a mark on that volume to
// say that this start was asked for.

#include "harvest.h"

#include "nvram.h"
#include "report_line.h"
#include "tell.h"

// Also under this name if this run goes on, which writes its own beginning to the other one.
#define NEWEST L"last"
#define OLDER  L"previous"

static void report_harvest(struct console *console, const struct journal *found, bool saved,
                           bool fetched)
{
    struct report_line out;
    size_t lines = 0;

    for (size_t at = 0; journal_next(found, &at) != NULL;)
        lines++;
    struct line *line = report_start_record(&out, "harvest");
    record_add_decimal(line, "lines", lines);
    record_add_decimal(line, "complete", journal_is_complete(found));
    record_add_decimal(line, "saved", saved);
    console_record(console, 0, line);
    if (saved)
        console_tell(console,
                     fetched ? "The previous run's result is saved: \\reveille\\last.txt and .rec"
                             : "The previous run's result is saved: \\reveille\\previous.txt and "
                               ".rec");
}

bool harvest_own(const struct journal *journal, const CHAR16 *name, enum stick_end end,
                 struct stick *stick, struct past *past, const struct problems *problems)
{
    if (!stick_save(stick, journal, name, end, problems))
        return false;
    if (past->summary_told)
        nvram_forget(stick->firmware, problems);
    past->summary_told = false;
    return true;
}

// Only a summary, or nothing. This start's own lines tell the summary; they do not take the place
// of the beginning that the run itself has saved.
static void fetch_summary(const struct journal *own, struct stick *stick, struct past *past,
                          const struct problems *problems)
{
    CHAR16 older[] = OLDER;

    if (!past->summary_told)
        problem_tell(problems, SEVERITY_WARNING, "nothing-to-harvest",
                     "no result of a previous run is in memory: a cold start clears it, and some "
                     "firmware clears it at every start");
    else if (harvest_own(own, older, STICK_BLANK, stick, past, problems))
        console_tell(stick->console,
                     "The previous run's summary is saved: \\reveille\\previous.txt and .rec");
}

static bool fetch_journal(const struct journal *found, bool fetched, struct stick *stick,
                          const struct problems *problems)
{
    CHAR16 newest[] = NEWEST, older[] = OLDER;

    const bool saved = stick_save(stick, found, newest, STICK_BLANK, problems) &&
                       (fetched || stick_save(stick, found, older, STICK_BLANK, problems));
    report_harvest(stick->console, found, saved, fetched);
    return saved;
}

struct past harvest(const struct options *options, const struct journal *own, struct last_run *last,
                    struct stick *stick, const struct problems *problems)
{
    const bool only = options->harvest == HARVEST_ONLY;
    struct past past = {0};

    if (options->save == SAVE_NONE && !only)
        return past;
    const enum stick_mark mark = stick_take_mark(stick);
    past.fetched = only || (last->head ? last->again
                                       : mark == STICK_MARK_TAKEN && options->again == ANSWER_YES);
    past.forgotten = mark != STICK_UNMARKED && !last->head;
    if (last->head && fetch_journal(&last->journal, past.fetched, stick, problems)) {
        journal_drop(last->head);
        nvram_forget(stick->firmware, problems); // what is saved says more, or tells the summary
        return past;
    }
    past.unsaved = last->head != NULL;
    past.summary_told = nvram_tell(stick->firmware, stick->console);
    // A run that goes on needs the memory; harvest=only leaves what it could not save to another
    // try. The start that was asked for does not: each one after it would do nothing else.
    if (last->head && !only)
        journal_drop(last->head);
    if (!last->head && past.fetched)
        fetch_summary(own, stick, &past, problems);
    return past;
}
