// The journal: every line that was written, kept in memory that the caller gives, to be shown or
// saved later. A sink of the console, so one writer at a time, on any processor; readers need no
// lock, since a line is whole before the length says that it is there. It may lie in memory that a
// warm reset does not clear: then it is sealed after every line, so that the next start finds what
// was said, up to the last whole line. Surprise: there are two seals, written in turn, since a
// machine may go down while one is being written.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// What proves a kept journal. Whatever does not agree with it is not there.
struct journal_seal {
    uint64_t magic;
    uint64_t phys;     // where it was written: a copy elsewhere is not it
    uint64_t length;   // of the text
    uint64_t born;     // grows from run to run; 0 where nobody knows the time
    uint32_t text_crc; // CRC-32 of so much text
    uint32_t again;    // 1: the run asked for the start that finds this
    uint32_t turn;     // the later of the two seals has the larger one
    uint32_t crc;      // CRC-32 of all before
};

// The memory of a kept journal begins with these; the text follows.
struct journal_head {
    struct journal_seal seals[2];
};

struct journal {
    char *text; // lines, each ended by NUL
    size_t capacity;
    _Atomic size_t length;     // whole lines; the writer stores it with release
    size_t reserve;            // bytes at the end that only the last lines may take
    uint32_t left_out;         // lines that found no room
    struct journal_head *head; // NULL: not to be found after a reset
    uint64_t born;             // for its seals; set before journal_keep
    struct journal_seal seal;  // the last one written
};

// Starts empty.
void journal_open(struct journal *journal, void *memory, size_t bytes);

// Continues in other memory, at least as large as what is kept; the old is the caller's again.
void journal_move(struct journal *journal, void *memory, size_t bytes);

// The same with a head: bytes for the head more. Sealed from now on.
void journal_keep(struct journal *journal, void *memory, size_t bytes);

// The start that finds a kept journal was asked for: it fetches it, and does nothing else.
void journal_ask_again(struct journal *journal);

// Keeps so many bytes free for the last lines, until it is called with 0 before them.
void journal_reserve(struct journal *journal, size_t bytes);

// Keeps a line, as a console_sink does: `journal` is a struct journal.
void journal_write_line(void *journal, const char *text);

// The line at *at, which moves on to the next; NULL behind the last. Start with *at = 0, or with
// the length that the journal had at some moment. May run while another processor writes.
const char *journal_next(const struct journal *journal, size_t *at);

// The newer good seal of a head that lies here; NULL if there is none. Its length is not believed
// until the caller has seen that so much can be read.
const struct journal_seal *journal_seal_of(const struct journal_head *head);

// Opens the kept text behind the head for reading, if it is what the seal says.
bool journal_reopen(struct journal *journal, struct journal_head *head,
                    const struct journal_seal *seal);

// From now on nothing is found there.
void journal_drop(struct journal_head *head);

// Is the last line ev=end, so that nothing is missing?
bool journal_is_complete(const struct journal *journal);
