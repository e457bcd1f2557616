// Fuzzer: what the run before left in memory that a reset does not clear, and what the reset or
// somebody else made of it: journals and notes, whole, damaged, forged with right checksums, in
// pages that are somebody's. Surprise: ASan keeps watch over memory that firmware has not granted,
// so that to read a page before it is allocated, or behind what a seal promises, ends the fuzzer.
#include "last_run.h"

#include <sanitizer/asan_interface.h>
#include <sys/mman.h>

#include "crc32.h"
#include "fake_hw.h"
#include "fuzz.h"
#include "page.h"
#include "records.h"
#include "arena.h"

// One of the pieces where both sides look, with its places; what else there is, is taken.
#define PIECE_PHYS  (64ull << 20)
#define PIECE_PAGES 512u
#define PIECE_BYTES ((size_t)PIECE_PAGES * PAGE_BYTES)
#define PLACES      8u
#define PLACE_BYTES (PIECE_BYTES / PLACES)

#define JOURNAL_MAGIC 0x314c4e525552ull
#define NOTE_MAGIC    0x31455450564552ull

#define LEAVINGS_MAX 4u
#define PAGES_MAX    4u // of a journal
#define RECORDS_MAX  6u
#define SUSPECTS     3u

static uint8_t *const piece = (uint8_t *)PIECE_PHYS;
static bool granted[PIECE_PAGES], others[PIECE_PAGES], written[PIECE_PAGES];

// A journal that a run left, and what it must still say if it is found.
struct leaving {
    struct journal_head *head; // NULL: it is none, or something was written over it
    uint64_t born;
    bool again, damaged;
    size_t lengths[2]; // when it was sealed last, and before that
    char text[PAGES_MAX * PAGE_BYTES];
};

static struct leaving leavings[LEAVINGS_MAX];
static bool journals_only; // nothing forged, no notes: an intact journal must be found

// The note that was left last, if it proves itself, and how many there are; nothing else is a note.
static const void *whole_note;
static size_t notes;

// ---- firmware ----

static bool is_free(uint64_t phys, UINTN pages)
{
    if (phys < PIECE_PHYS || phys % PAGE_BYTES != 0 || phys - PIECE_PHYS >= PIECE_BYTES ||
        pages > PIECE_PAGES - (phys - PIECE_PHYS) / PAGE_BYTES)
        return false;
    for (size_t i = (phys - PIECE_PHYS) / PAGE_BYTES, end = i + pages; i < end; i++) {
        if (granted[i] || others[i])
            return false;
    }
    return true;
}

static EFI_STATUS EFIAPI allocate(EFI_ALLOCATE_TYPE how, EFI_MEMORY_TYPE type, UINTN pages,
                                  EFI_PHYSICAL_ADDRESS *address)
{
    (void)type;
    MUST(pages > 0);
    if (how != AllocateAddress || !is_free(*address, pages))
        return EFI_NOT_FOUND; // or elsewhere; but there the next start does not look
    memset(&granted[(*address - PIECE_PHYS) / PAGE_BYTES], true, pages);
    __asan_unpoison_memory_region((void *)*address, pages * PAGE_BYTES);
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI release(EFI_PHYSICAL_ADDRESS address, UINTN pages)
{
    MUST(address >= PIECE_PHYS && address % PAGE_BYTES == 0 && pages > 0);
    const size_t first = (address - PIECE_PHYS) / PAGE_BYTES;
    MUST(first < PIECE_PAGES && pages <= PIECE_PAGES - first);
    for (size_t i = first; i < first + pages; i++) {
        MUST(granted[i]);
        granted[i] = false;
    }
    __asan_poison_memory_region((void *)address, pages * PAGE_BYTES);
    return EFI_SUCCESS;
}

static EFI_BOOT_SERVICES boot = {.AllocatePages = allocate, .FreePages = release};
static const struct firmware firmware = {.boot = &boot};

static size_t pages_granted(void)
{
    size_t count = 0;

    for (size_t i = 0; i < PIECE_PAGES; i++)
        count += granted[i];
    return count;
}

// Memory that the input is about to write to: closed again, and cleared, by close_memory.
static uint8_t *open_memory(uint64_t phys, size_t pages)
{
    MUST(phys >= PIECE_PHYS && phys + pages * PAGE_BYTES <= PIECE_PHYS + PIECE_BYTES);
    memset(&written[(phys - PIECE_PHYS) / PAGE_BYTES], true, pages);
    __asan_unpoison_memory_region((void *)phys, pages * PAGE_BYTES);
    return (uint8_t *)phys;
}

static void close_memory(bool clear)
{
    for (size_t i = 0; i < PIECE_PAGES; i++) {
        if (!written[i])
            continue;
        __asan_unpoison_memory_region(piece + i * PAGE_BYTES, PAGE_BYTES);
        if (clear)
            memset(piece + i * PAGE_BYTES, 0, PAGE_BYTES);
        __asan_poison_memory_region(piece + i * PAGE_BYTES, PAGE_BYTES);
    }
}

static void start(void)
{
    static bool mapped;

    if (!mapped) {
        MUST(mmap(piece, PIECE_BYTES, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == piece);
        __asan_poison_memory_region(piece, PIECE_BYTES);
        fake_reset();
        fake_log_kinds(0); // no flush: there may be any number
        mapped = true;
    }
    close_memory(true);
    memset(granted, false, sizeof granted);
    memset(others, false, sizeof others);
    memset(written, false, sizeof written);
    for (size_t i = 0; i < LEAVINGS_MAX; i++)
        leavings[i].head = NULL;
    journals_only = true;
    whole_note = NULL;
    notes = 0;
}

// ---- what lies there ----

// What lay in this place is gone.
static uint8_t *take_place(struct input *input)
{
    uint8_t *place = open_memory(PIECE_PHYS + input_choice(input, PLACES) * PLACE_BYTES, PAGES_MAX);

    for (size_t i = 0; i < LEAVINGS_MAX; i++) {
        if ((uint8_t *)leavings[i].head == place)
            leavings[i].head = NULL;
    }
    if (place == whole_note)
        whole_note = NULL;
    memset(place, 0, PAGE_BYTES);
    return place;
}

static const char *take_line(struct input *input, char buffer[LINE_BYTES])
{
    static const char *const lines[] = {
        "REVEILLE ev=end ok=1", "REVEILLE ev=end", "REVEILLE ev=e", "", "Hello",
        "REVEILLE ev=start"};
    const size_t which = input_choice(input, sizeof lines / sizeof lines[0] + 2);

    if (which < sizeof lines / sizeof lines[0])
        return lines[which];
    buffer[input_take(input, buffer, input_u8(input) % LINE_BYTES)] = '\0';
    return buffer;
}

static void write_lines(struct input *input, struct journal *journal, struct leaving *left)
{
    const size_t before = journal->length;
    size_t written = 0, kept = 0;
    char buffer[LINE_BYTES];

    const uint32_t left_out = journal->left_out;
    for (size_t lines = input_choice(input, 32); written < lines; written++) {
        const size_t length = journal->length;
        journal_write_line(journal, take_line(input, buffer));
        MUST(journal->length <= journal->capacity);
        kept += journal->length > length;
        if (journal->length > length && journal->head) {
            left->lengths[1] = left->lengths[0];
            left->lengths[0] = journal->length;
        }
    }
    MUST(kept + (journal->left_out - left_out) == written);
    size_t read = 0;
    for (size_t at = before; journal_next(journal, &at) != NULL;)
        read++;
    MUST(read == kept);
}

static void leave_journal(struct input *input, struct leaving *left)
{
    static const size_t sizes[] = {1024, PAGE_BYTES, 2 * PAGE_BYTES, PAGES_MAX * PAGE_BYTES};
    struct journal journal;
    char first[768];

    *left = (struct leaving){.head = NULL};
    uint8_t *place = take_place(input);
    const size_t bytes = sizes[input_choice(input, sizeof sizes / sizeof sizes[0])];
    journal_open(&journal, first, sizeof first);
    write_lines(input, &journal, left);
    journal.born = left->born = input_u8(input);
    journal_keep(&journal, place, bytes);
    left->head = journal.head;
    left->lengths[0] = left->lengths[1] = journal.length;
    journal_reserve(&journal, input_u16(input));
    write_lines(input, &journal, left);
    journal_reserve(&journal, 0);
    write_lines(input, &journal, left);
    left->again = input_u8(input) % 2;
    if (left->again) {
        journal_ask_again(&journal);
        left->lengths[1] = left->lengths[0];
    }
    memcpy(left->text, journal.text, journal.length);
    for (size_t flips = input_choice(input, 4); flips > 0; flips--) {
        const uint8_t flip = input_u8(input);
        const size_t used = sizeof(struct journal_head) + journal.length;
        place[input_u16(input) % used] ^= flip;
        left->damaged |= flip != 0;
    }
}

// A seal that agrees with itself, whatever it promises.
static void forge_journal(struct input *input)
{
    struct journal_head *head = (struct journal_head *)take_place(input);
    const size_t room = PAGES_MAX * PAGE_BYTES - sizeof *head;
    const size_t which = input_choice(input, 2);
    struct journal_seal seal = {.magic = JOURNAL_MAGIC, .phys = (uintptr_t)head};

    journals_only = false;
    const uint8_t wrong = input_u8(input);
    seal.length = wrong & 1 ? input_u64(input) : input_u16(input);
    seal.born = input_u8(input);
    seal.again = input_u8(input);
    seal.turn = input_u32(input);
    input_take(input, head + 1, input_u16(input) % 512);
    seal.text_crc = seal.length <= room && !(wrong & 2) ? crc32_add(0, head + 1, seal.length)
                                                        : input_u32(input);
    seal.phys += wrong & 4 ? PAGE_BYTES : 0;
    seal.crc =
        wrong & 8 ? input_u32(input) : crc32_add(0, &seal, offsetof(struct journal_seal, crc));
    head->seals[which] = seal;
}

static void leave_records(struct input *input, const struct note *note)
{
    const size_t count = note->cpus < RECORDS_MAX ? note->cpus : RECORDS_MAX;
    const uint64_t at = note->records_phys;

    if (at < PIECE_PHYS || at % PAGE_BYTES != 0 || at > PIECE_PHYS + PIECE_BYTES ||
        count > (PIECE_PHYS + PIECE_BYTES - at) / PAGE_BYTES)
        return;
    struct lcpu_page *records = (struct lcpu_page *)(void *)open_memory(at, count);
    for (size_t slot = 0; slot < count; slot++) {
        struct lcpu *lcpu = &records[slot].lcpu;
        const uint32_t round = input_u8(input) % 4 == 0 ? input_u8(input) : note->round;
        lcpu->cpu = input_u8(input) % 8 == 0 ? input_u8(input) : (uint32_t)slot;
        lcpu->apic_id = input_u32(input);
        lcpu->rally = input_u8(input) % 4 == 0 ? NULL : (struct rally *)records;
        atomic_store(&lcpu->state, round << STATE_STAGE_BITS | input_choice(input, STAGE_DONE + 2));
    }
}

static void leave_note(struct input *input)
{
    struct note *place = (struct note *)(void *)take_place(input);
    struct note note = {.magic = NOTE_MAGIC, .bytes = sizeof note, .phys = (uintptr_t)place};

    journals_only = false;
    const uint8_t wrong = input_u8(input);
    note.step = wrong & 1 ? input_u32(input) : NOTE_WAKING;
    note.round = input_u8(input);
    note.resets = input_u8(input);
    note.cpus = wrong & 2 ? input_u32(input) : input_u8(input) % 8;
    note.records_phys =
        wrong & 4 ? input_u64(input) : PIECE_PHYS + input_u16(input) % PIECE_PAGES * PAGE_BYTES;
    note.magic ^= wrong & 8 ? 1 : 0;
    note.bytes += wrong & 16 ? 1 : 0;
    note.phys += wrong & 32 ? PAGE_BYTES : 0;
    note.crc = wrong & 64 ? input_u32(input) : crc32_add(0, &note, sizeof note);
    leave_records(input, &note);
    memcpy(place, &note, sizeof note);
    notes++;
    whole_note = (wrong & (8 | 16 | 32 | 64)) == 0 ? place : NULL;
}

static void leave_anything(struct input *input)
{
    journals_only = false;
    input_take(input, take_place(input), input_u16(input) % 512);
}

static void leave(struct input *input)
{
    const size_t count = 1 + input_choice(input, LEAVINGS_MAX);

    for (size_t i = 0; i < count; i++) {
        switch (input_choice(input, 6)) {
        case 0:
            forge_journal(input);
            break;
        case 1:
        case 2:
            leave_note(input);
            break;
        case 3:
            leave_anything(input);
            break;
        default:
            leave_journal(input, &leavings[i]);
            break;
        }
    }
    for (size_t i = input_choice(input, 4); i > 0; i--) {
        others[input_u16(input) % PIECE_PAGES] = true;
        journals_only = false;
    }
}

// ---- what is found ----

// All its lines are within it, and whether the last record is among them is told.
static void check_lines(const struct journal *journal)
{
    size_t bytes = 0;
    bool complete = false;
    const char *line;

    for (size_t at = 0; (line = journal_next(journal, &at)) != NULL;) {
        bytes += strlen(line) + 1;
        complete |= strncmp(line, "REVEILLE ev=end ", 16) == 0;
        MUST(at == bytes);
    }
    MUST(bytes == journal->length);
    MUST(complete == journal_is_complete(journal));
}

// A journal that a run left is read as it was written, or as it was one line before; and of those
// that nothing happened to, the latest.
static void check_journal(const struct last_run *last)
{
    for (size_t i = 0; i < LEAVINGS_MAX; i++) {
        const struct leaving *left = &leavings[i];
        if (left->head == NULL || left->lengths[0] == 0)
            continue;
        if (last->head == left->head) {
            const size_t length = last->journal.length;
            MUST(length == left->lengths[0] || length == left->lengths[1]);
            MUST(memcmp(last->journal.text, left->text, length) == 0);
            MUST(last->journal.born == left->born);
            MUST(left->damaged || (length == left->lengths[0] && last->again == left->again));
        }
        MUST(left->damaged || !journals_only || (last->head && last->journal.born >= left->born));
    }
    if (last->head) {
        MUST(last_run_keeps(last->head) && last->head_pages <= JOURNAL_PAGES_MAX);
        MUST(sizeof *last->head + last->journal.length <= last->head_pages * PAGE_BYTES);
        check_lines(&last->journal);
    }
}

// What is said of a note is what it says, and it is said once.
static void check_note(const struct last_run *last)
{
    struct smp_under_way suspects[SUSPECTS];
    struct heard heard = {0};
    struct console console;

    console_start(&console, LOG_NORMAL, 1);
    console.sinks[SINK_JOURNAL] =
        (struct console_sink){.write_line = heard_line, .context = &heard};
    if (last->note) {
        const size_t count = note_suspects(last->note, last->records, SUSPECTS, suspects);
        MUST(note_is_whole(last->note, (uintptr_t)last->note));
        MUST(count == 0 || (last->records && count < last->note->cpus));
        for (size_t i = 0; i < count && i < SUSPECTS; i++) {
            MUST(suspects[i].cpu != 0);
            MUST(suspects[i].stage > SMP_STAGE_NONE && suspects[i].stage < SMP_STAGE_READY);
        }
    }
    MUST(notes != 1 || last->note == NULL || last->note == whole_note);
    const uint32_t in_a_row = last->note ? last->note->resets + 1 : 0;
    MUST(last_run_tell(last, &console) == in_a_row);
    MUST(heard.sentences == (last->note != NULL) && heard.records == (last->note != NULL));
    MUST(!last->note || !note_is_whole(last->note, (uintptr_t)last->note));
}

// Where this run leaves its own, it is found again.
static void allocate_again(size_t pages)
{
    void *memory = last_run_allocate(&firmware, pages);

    MUST(memory == NULL || (last_run_keeps(memory) && pages_granted() == pages));
    if (memory)
        release((uintptr_t)memory, pages);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    struct last_run last;

    start();
    leave(&input);
    close_memory(false);
    last_run_find(&firmware, &last);
    MUST(pages_granted() ==
         last.head_pages + (last.note ? 1 : 0) + (last.records ? last.records_pages : 0));
    check_journal(&last);
    check_note(&last);
    const struct journal_head *head = last.head;
    if (head)
        journal_drop(last.head);
    last_run_release(&firmware, &last);
    MUST(pages_granted() == 0);
    last_run_find(&firmware, &last);
    MUST(head == NULL || last.head != head);
    last_run_release(&firmware, &last);
    MUST(pages_granted() == 0);
    allocate_again(1 + input_u8(&input));
    return 0;
}
