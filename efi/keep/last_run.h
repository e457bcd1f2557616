// What the run before this one left in memory that outlives a warm reset, and where this run puts
// its own.
#pragma once

#include "console.h"
#include "firmware.h"
#include "journal.h"
#include "note.h"

// Found in memory that is ours until last_run_release.
struct last_run {
    struct note *note; // that run did not end; NULL: there is none
    void *records;     // of its processors; NULL: they cannot be read
    size_t records_pages;
    struct journal_head *head; // what it said; NULL: there is none
    size_t head_pages;
    struct journal journal; // open for reading, where there is a head
    bool again;             // that run asked for this start
};

// The longest journal that a run keeps, its head included.
#define JOURNAL_PAGES_MAX 4096u
#define JOURNAL_BYTES_MAX ((uint64_t)JOURNAL_PAGES_MAX * PAGE_BYTES)

// Memory for a note and engine, or a journal, where the next start will look; elsewhere if all
// those places are taken; NULL where there is none.
void *last_run_allocate(const struct firmware *firmware, size_t pages);

// Looks for both. Nothing is read that was not allocated first, and what is found stays allocated.
void last_run_find(const struct firmware *firmware, struct last_run *last);

// Tells a note, and drops it. Returns how many runs in a row ended in a reset; 0 if there is none.
uint32_t last_run_tell(const struct last_run *last, struct console *console);

// Gives all memory back. What was not dropped can be found again, as long as nobody else gets it.
void last_run_release(const struct firmware *firmware, struct last_run *last);

// Does a journal with this head lie where the next start looks for it? Not if it is NULL.
bool last_run_keeps(const struct journal_head *head);
