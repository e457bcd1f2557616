// The journal: every line that was written, kept in memory that the caller gives, to be shown or
// saved later. A sink of the console, so one writer at a time, on any processor.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct journal {
    char *text; // lines, each ended by NUL
    size_t capacity, length;
    uint32_t left_out; // lines that found no room
};

// Starts empty.
void journal_open(struct journal *journal, void *memory, size_t bytes);

// Goes on in other memory, at least as large as what is kept; the old memory is the caller's again.
void journal_move(struct journal *journal, void *memory, size_t bytes);

// Keeps a line, as a console_sink does: `journal` is a struct journal.
void journal_write_line(void *journal, const char *text);

// The line at *at, which moves on to the next; NULL behind the last. Start with *at = 0, or with
// the length that the journal had at some moment.
const char *journal_next(const struct journal *journal, size_t *at);
