// Memory that outlives a warm reset: where this run's note, arena and journal are put, and where
// the last run's are looked for. Surprise: nothing tells the next start where they are, so both
// sides go through the same short list of places. A place is allocated before it is read: firmware
// may have closed what nobody has allocated (EFI_MEMORY_RP), and to look there would be a fault.

#include "last_run.h"

#include "line.h"
#include "memory.h"
#include "page.h"

#define MIB 0x100000ull

// Firmware's own start-up code and heap lie below the first place, or near the top of memory; the
// later ones are for machines whose loaders or drivers lie there, and for arenas that need more
// room in one piece. Surprise: the places stand close together in a few pieces of 2 MiB, since an
// emulator's host may clear so much at once for the first byte that is looked at.
static const EFI_PHYSICAL_ADDRESS pieces[] = {32 * MIB,  40 * MIB,  64 * MIB,
                                              128 * MIB, 256 * MIB, 512 * MIB};
#define PIECE_PLACES 8u
#define PLACE_BYTES  (2 * MIB / PIECE_PLACES)
#define PLACES       (sizeof pieces / sizeof pieces[0] * PIECE_PLACES)

static EFI_PHYSICAL_ADDRESS place_at(size_t number)
{
    return pieces[number / PIECE_PLACES] + number % PIECE_PLACES * PLACE_BYTES;
}

void *last_run_allocate(const struct firmware *firmware, size_t pages)
{
    for (size_t i = 0; i < PLACES; i++) {
        EFI_PHYSICAL_ADDRESS address = place_at(i);
        if (!EFI_ERROR(firmware->boot->AllocatePages(AllocateAddress, EfiReservedMemoryType, pages,
                                                     &address)))
            return (void *)(uintptr_t)address;
    }
    return memory_allocate(firmware, pages); // it will not be found again, and the run goes on
}

bool last_run_keeps(const struct journal_head *head)
{
    for (size_t i = 0; head && i < PLACES; i++) {
        if (place_at(i) == (uintptr_t)head)
            return true;
    }
    return false;
}

// These pages, to be read where they are; NULL if they are somebody's, or no memory.
static void *take(const struct firmware *firmware, uint64_t phys, size_t pages)
{
    EFI_PHYSICAL_ADDRESS address = phys;

    if (pages == 0 || phys % PAGE_BYTES != 0 ||
        EFI_ERROR(firmware->boot->AllocatePages(AllocateAddress, EfiLoaderData, pages, &address)))
        return NULL;
    return (void *)(uintptr_t)address;
}

static void free_journal(const struct firmware *firmware, struct journal_head *head, size_t pages)
{
    if (pages > 1)
        memory_free(firmware, (uint8_t *)head + PAGE_BYTES, pages - 1);
    memory_free(firmware, head, 1);
}

// Of two the later one: the other is of a run before it, which found no way to the volume.
static void keep_later(const struct firmware *firmware, const struct last_run *found,
                       struct last_run *last)
{
    struct journal_head *older = found->head;
    size_t pages = found->head_pages;

    if (!last->head || last->journal.born < found->journal.born) {
        older = last->head;
        pages = last->head_pages;
        last->head = found->head;
        last->head_pages = found->head_pages;
        last->again = found->again;
        last->journal = found->journal;
    }
    if (!older)
        return;
    journal_drop(older);
    free_journal(firmware, older, pages);
}

// A journal that begins in this page, which is taken: the pages behind it are taken, too.
static bool open_journal(const struct firmware *firmware, void *page, struct last_run *last)
{
    struct journal_head *head = page;
    struct last_run found = {.head = head};
    const struct journal_seal *seal = journal_seal_of(head);

    if (!seal || seal->length > JOURNAL_BYTES_MAX)
        return false;
    found.head_pages = (sizeof *head + seal->length - 1) / PAGE_BYTES + 1;
    found.again = seal->again != 0;
    uint8_t *rest = (uint8_t *)page + PAGE_BYTES;
    if (found.head_pages > 1 && !take(firmware, (uintptr_t)rest, found.head_pages - 1))
        return false;
    if (journal_reopen(&found.journal, head, seal)) {
        keep_later(firmware, &found, last);
        return true;
    }
    if (found.head_pages > 1)
        memory_free(firmware, rest, found.head_pages - 1);
    return false;
}

// A note that lies in this page, which is taken: the records that it tells of are taken, too.
static bool open_note(const struct firmware *firmware, void *page, struct last_run *last)
{
    struct note *note = page;

    if (last->note || !note_is_whole(note, (uintptr_t)page))
        return false;
    last->note = note;
    last->records_pages = note->cpus;
    last->records = take(firmware, note->records_phys, last->records_pages);
    return true;
}

void last_run_find(const struct firmware *firmware, struct last_run *last)
{
    *last = (struct last_run){0};
    for (size_t i = 0; i < PLACES; i++) {
        void *page = take(firmware, place_at(i), 1);
        if (page && !open_note(firmware, page, last) && !open_journal(firmware, page, last))
            memory_free(firmware, page, 1);
    }
}

void last_run_release(const struct firmware *firmware, struct last_run *last)
{
    memory_free(firmware, last->records, last->records_pages);
    memory_free(firmware, last->note, 1);
    if (last->head)
        free_journal(firmware, last->head, last->head_pages);
    *last = (struct last_run){0};
}

uint32_t last_run_tell(const struct last_run *last, struct console *console)
{
    struct note *note = last->note;
    struct smp_under_way suspect;
    char buffer[LINE_BYTES];
    struct line line;

    if (!note)
        return 0;
    const size_t count = note_suspects(note, last->records, 1, &suspect);
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
        record_add_text(&line, "stage", smp_stage_word(suspect.stage));
    }
    console_record(console, 0, &line);
    const uint32_t in_a_row = note->resets + 1;
    note_drop(note);
    return in_a_row;
}
