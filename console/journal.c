// Lines one behind another. Surprise: a line that finds no room is left out whole and counted, and
// a shorter one after it may still be kept: half a line would be a lie.

#include "journal.h"

#include "mem.h"

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

void journal_write_line(void *context, const char *text)
{
    struct journal *journal = context;
    size_t bytes = 0;

    while (text[bytes++] != '\0')
        ;
    if (bytes > journal->capacity - journal->length) {
        journal->left_out++;
        return;
    }
    memcpy(journal->text + journal->length, text, bytes);
    journal->length += bytes;
}

const char *journal_next(const struct journal *journal, size_t *at)
{
    const char *line = journal->text + *at;

    if (*at >= journal->length)
        return NULL;
    while (journal->text[(*at)++] != '\0')
        ;
    return line;
}
