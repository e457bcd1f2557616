// Lines one behind another. Surprise: a line that finds no room is left out whole and counted, and
// a shorter one after it may still be kept: half a line would be a lie.

#include "journal.h"

#include "crc32.h"
#include "hw.h"
#include "mem.h"

#define JOURNAL_MAGIC 0x314c4e525552ull // "RURNL1"

_Static_assert(sizeof(struct journal_seal) % 8 == 0, "the second seal and the text are aligned");

void journal_open(struct journal *journal, void *memory, size_t bytes)
{
    *journal = (struct journal){.text = memory, .capacity = bytes};
}

void journal_move(struct journal *journal, void *memory, size_t bytes)
{
    memcpy(memory, journal->text, journal->length);
    journal->text = memory;
    journal->capacity = bytes;
}

static uint32_t crc_of(const struct journal_seal *seal)
{
    return crc32_add(0, seal, offsetof(struct journal_seal, crc));
}

// Text first, then the seal: what a seal proves has left the cache.
static void seal(struct journal *journal, size_t added)
{
    const size_t length = atomic_load_explicit(&journal->length, memory_order_relaxed);
    const char *text = journal->text + length - added;
    struct journal_seal *next = &journal->seal;

    next->text_crc = crc32_add(next->text_crc, text, added);
    next->length = length;
    next->turn++;
    next->crc = crc_of(next);
    hw_flush(text, added);
    journal->head->seals[next->turn % 2] = *next;
    hw_flush(journal->head, sizeof *journal->head);
}

void journal_keep(struct journal *journal, void *memory, size_t bytes)
{
    struct journal_head *head = memory;

    journal_drop(head);
    journal_move(journal, head + 1, bytes - sizeof *head);
    journal->head = head;
    journal->seal = (struct journal_seal){
        .magic = JOURNAL_MAGIC, .phys = (uintptr_t)head, .born = journal->born};
    seal(journal, journal->length);
}

void journal_ask_again(struct journal *journal)
{
    if (!journal->head)
        return;
    journal->seal.again = 1;
    seal(journal, 0);
}

void journal_reserve(struct journal *journal, size_t bytes)
{
    journal->reserve = bytes;
}

void journal_write_line(void *context, const char *text)
{
    struct journal *journal = context;
    size_t bytes = 0;

    while (text[bytes++] != '\0')
        ;
    const size_t length = atomic_load_explicit(&journal->length, memory_order_relaxed);
    const size_t room = journal->capacity - length;
    if (room < journal->reserve || bytes > room - journal->reserve) {
        journal->left_out++;
        return;
    }
    memcpy(journal->text + length, text, bytes);
    atomic_store_explicit(&journal->length, length + bytes, memory_order_release);
    if (journal->head)
        seal(journal, bytes);
}

const char *journal_next(const struct journal *journal, size_t *at)
{
    if (*at >= atomic_load_explicit(&journal->length, memory_order_acquire))
        return NULL;
    const char *line = journal->text + *at;
    while (journal->text[(*at)++] != '\0')
        ;
    return line;
}

const struct journal_seal *journal_seal_of(const struct journal_head *head)
{
    const struct journal_seal *best = NULL;

    for (size_t i = 0; i < 2; i++) {
        const struct journal_seal *one = &head->seals[i];
        if (one->magic == JOURNAL_MAGIC && one->phys == (uintptr_t)head &&
            one->crc == crc_of(one) && one->length > 0 && (!best || one->turn > best->turn))
            best = one;
    }
    return best;
}

bool journal_reopen(struct journal *journal, struct journal_head *head,
                    const struct journal_seal *found)
{
    char *text = (char *)(head + 1);
    const size_t length = found->length;

    if (text[length - 1] != '\0' || crc32_add(0, text, length) != found->text_crc)
        return false;
    *journal =
        (struct journal){.text = text, .capacity = length, .length = length, .born = found->born};
    return true;
}

void journal_drop(struct journal_head *head)
{
    memset(head, 0, sizeof *head);
    hw_flush(head, sizeof *head);
}

bool journal_is_complete(const struct journal *journal)
{
    static const char end[] = "REVEILLE ev=end ";
    const char *line;
    size_t at = 0;

    while ((line = journal_next(journal, &at)) != NULL) {
        size_t i = 0;
        while (end[i] && line[i] == end[i])
            i++;
        if (!end[i])
            return true;
    }
    return false;
}
