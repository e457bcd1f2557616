// The voice. Surprise: firmware's screens are no sink of the console. They show the journal, so
// that lines of APs stand there, too, although only CPU 0 may call firmware.

#include "voice.h"

#include "last_run.h"
#include "mem.h"
#include "memory.h"
#include "page.h"
#include "tell.h"
#include "timing.h"

// For the console's waits: it starts before the clock is calibrated, and a wait for a dead port may
// be too long but not too short.
#define TSC_TICKS_PER_US_MAX (TSC_HZ_MAX / 1000000u)

// The journal: what every run says, a page for every four processors, and a line for each round;
// and room for the end, however much there was to say.
#define JOURNAL_PAGES   16u
#define CPUS_PER_PAGE   4u
#define ROUNDS_PER_PAGE 16u
#define JOURNAL_RESERVE 1024u // journal-full, ev=end, and the few sentences behind it

static void open_journal(struct voice *voice, const struct firmware *firmware)
{
    voice->journal_memory = memory_allocate(firmware, JOURNAL_PAGES);
    if (!voice->journal_memory)
        return;
    voice->journal_pages = JOURNAL_PAGES;
    journal_open(&voice->journal, voice->journal_memory, JOURNAL_PAGES * PAGE_BYTES);
    journal_reserve(&voice->journal, JOURNAL_RESERVE);
    voice->console.sinks[SINK_JOURNAL] =
        (struct console_sink){.write_line = journal_write_line, .context = &voice->journal};
}

void voice_open(struct voice *voice, struct firmware *firmware, const struct options *options,
                bool under_qemu)
{
    struct console *console = &voice->console;

    memset(voice, 0, sizeof *voice);
    voice->port.uart = &console->uart;
    voice->problems = (struct problems){report_problem, console};
    console_start(console, options->log, TSC_TICKS_PER_US_MAX);
    voice->serial = serial_open(firmware, options, under_qemu, TSC_TICKS_PER_US_MAX, &voice->port);
    open_journal(voice, firmware);
    voice->screens.pause = options->pause;
    text_screens_open(firmware, !console->uart.present, &voice->screens);
    voice_show_firmware(voice);
}

void voice_add_display(struct voice *voice, const struct firmware *firmware,
                       const struct machine *machine, const struct options *options)
{
    const size_t bytes = display_plan(machine, options, &voice->display);
    const size_t pages = bytes / PAGE_BYTES + 1;

    if (bytes == 0)
        return;
    void *memory = memory_allocate(firmware, pages);
    if (!memory) {
        problem_tell(&voice->problems, SEVERITY_WARNING, "no-screen",
                     "no memory for the screen's shadow: nothing is shown after the exit");
        return;
    }
    voice->display_memory = memory;
    voice->display_pages = pages;
    display_open(&voice->display, memory, options->log);
    voice->console.sinks[SINK_SCREEN] = display_sink(&voice->display);
    // What was said before there was a screen.
    const char *text;
    for (size_t at = 0; (text = journal_next(&voice->journal, &at)) != NULL;)
        screen_write_line(&voice->display.screen, text);
}

void voice_grow(struct voice *voice, const struct firmware *firmware, size_t cpus, uint64_t rounds,
                enum save_choice save)
{
    const size_t wanted = JOURNAL_PAGES + cpus / CPUS_PER_PAGE + rounds / ROUNDS_PER_PAGE;
    const size_t pages = wanted < JOURNAL_PAGES_MAX ? wanted : JOURNAL_PAGES_MAX;
    void *memory = voice->journal_memory ? last_run_allocate(firmware, pages) : NULL;

    if (!memory)
        return;
    if (save == SAVE_NONE)
        journal_move(&voice->journal, memory, pages * PAGE_BYTES);
    else {
        voice->journal.born = time_of_day(firmware);
        journal_keep(&voice->journal, memory, pages * PAGE_BYTES);
    }
    memory_free(firmware, voice->journal_memory, voice->journal_pages);
    voice->journal_memory = memory;
    voice->journal_pages = pages;
}

static bool same(const char *one, const char *other)
{
    while (*one && *one == *other)
        one++, other++;
    return *one == *other;
}

// A console_sink for lines of CPU 0's: shows all that was not shown yet, and then, if the journal
// had no room for it, this line.
static void show_line(void *context, const char *text)
{
    struct voice *voice = context;
    const char *line;
    bool shown = text == NULL;

    while ((line = journal_next(&voice->journal, &voice->shown)) != NULL) {
        text_screens_write(&voice->screens, line);
        shown = shown || same(line, text);
    }
    if (!shown)
        text_screens_write(&voice->screens, text);
}

void voice_hide_firmware(struct voice *voice)
{
    voice->console.firmware.write_line = NULL;
}

void voice_show_firmware(struct voice *voice)
{
    voice->console.firmware = (struct console_sink){.write_line = show_line, .context = voice};
    show_line(voice, NULL);
}

void voice_tell_left_out(struct voice *voice)
{
    journal_reserve(&voice->journal, 0);
    if (voice->journal.left_out == 0)
        return;
    problem_tell(&voice->problems, SEVERITY_WARNING, "journal-full",
                 "%u lines found no room in the result that is saved; use log=quiet or fewer "
                 "rounds",
                 (uint64_t)voice->journal.left_out);
}

void voice_close(struct voice *voice, const struct firmware *firmware)
{
    voice->console.sinks[SINK_SCREEN].write_line = NULL;
    voice->console.sinks[SINK_JOURNAL].write_line = NULL;
    if (voice->journal.head)
        journal_drop(voice->journal.head);
    memory_free(firmware, voice->display_memory, voice->display_pages);
    memory_free(firmware, voice->journal_memory, voice->journal_pages);
    voice->display_memory = voice->journal_memory = NULL;
    voice->journal = (struct journal){0}; // firmware's screens have shown it all
    voice->shown = 0;
    uart_drain(&voice->console.uart);
}
