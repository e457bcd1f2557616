// Memory that outlives a warm reset: where this run's note and arena are put, and where the last
// run's are looked for. Surprise: nothing tells the next start where they are. They begin at a
// multiple of 1 MiB, as low as firmware allows above what it uses itself while it starts, and the
// next start looks at each of those places.

#include "last_run.h"

#include "line.h"
#include "verdict.h"

#define MIB         0x100000u
#define FIRST_PLACE (32u * MIB) // firmware's own start-up code and heap lie below, or near the top
#define LAST_PLACE  (1024u * MIB) // a thousand places to look at

void *last_run_allocate(const struct firmware *firmware, size_t pages)
{
    for (EFI_PHYSICAL_ADDRESS at = FIRST_PLACE; at <= LAST_PLACE; at += MIB) {
        EFI_PHYSICAL_ADDRESS address = at;
        if (!EFI_ERROR(firmware->boot->AllocatePages(AllocateAddress, EfiReservedMemoryType, pages,
                                                     &address)))
            return (void *)(uintptr_t)address;
    }
    return memory_allocate(firmware, pages); // it will not be found again, and the run goes on
}

bool last_run_keeps(const struct journal_head *head)
{
    const uint64_t at = (uintptr_t)head;
    return at >= FIRST_PLACE && at <= LAST_PLACE && at % MIB == 0;
}

static struct note *find_note(const struct firmware *firmware)
{
    for (uint64_t at = FIRST_PLACE; at <= LAST_PLACE; at += MIB) {
        struct note *note = (struct note *)(uintptr_t)at;
        if (memory_view(firmware, at, sizeof *note) && note_is_whole(note, at))
            return note;
    }
    return NULL;
}

static void report(const struct firmware *firmware, const struct note *note,
                   struct console *console)
{
    struct note_suspect suspect;
    const uint64_t bytes = (uint64_t)note->cpus * sizeof(struct lcpu_page);
    const struct lcpu_page *pages = memory_view(firmware, note->pages_phys, bytes);
    const size_t count = note_suspects(note, pages, 1, &suspect);
    char buffer[LINE_BYTES];
    struct line line;

    line_start(&line, buffer, sizeof buffer);
    note_tell(note, &suspect, count, &line);
    console_say(console, 0, &line);
    record_start(&line, buffer, sizeof buffer, "previous");
    record_add_text(&line, "ended", "reset");
    record_add_text(&line, "step", note_word(note->step));
    record_add_decimal(&line, "round", note->round);
    record_add_decimal(&line, "in_a_row", note->resets + 1);
    record_add_decimal(&line, "under_way", count);
    if (count > 0) {
        record_add_decimal(&line, "cpu", suspect.cpu);
        record_add_hex(&line, "apic", suspect.apic_id);
        record_add_text(&line, "stage", stage_word(suspect.stage));
    }
    console_record(console, 0, &line);
}

struct journal_head *last_run_find_journal(const struct firmware *firmware, struct journal *found,
                                           bool *again)
{
    for (uint64_t at = FIRST_PLACE; at <= LAST_PLACE; at += MIB) {
        struct journal_head *head = (struct journal_head *)(uintptr_t)at;
        if (!memory_view(firmware, at, sizeof *head))
            continue;
        const struct journal_seal *seal = journal_seal_of(head);
        if (seal && seal->length < LAST_PLACE &&
            memory_view(firmware, at, sizeof *head + seal->length) &&
            journal_reopen(found, head, seal)) {
            *again = seal->again != 0;
            return head;
        }
    }
    return NULL;
}

uint32_t last_run_tell(const struct firmware *firmware, struct console *console)
{
    struct note *note = find_note(firmware);
    if (!note)
        return 0;
    report(firmware, note, console);
    const uint32_t resets = note->resets + 1;
    note_drop(note);
    return resets;
}
