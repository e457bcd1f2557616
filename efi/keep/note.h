// The note: what a run was about to do, kept in RAM that a warm reset does not clear. If the
// machine goes down, the next start finds it and tells where. Pure: last_run.c finds the memory.
// Surprise: it is not the note that knows which processor took the machine down, but the
// processors' own records, which lie behind it.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "line.h"
#include "smp.h"

enum note_step { NOTE_NOTHING, NOTE_LEAVING, NOTE_WAKING, NOTE_REPORTING, NOTE_CALLING };

// The first page of the memory that a run takes for itself; the engine's follows.
struct note {
    uint64_t magic;
    uint32_t bytes; // of this struct
    uint32_t crc;   // CRC-32 of the struct with this field 0
    uint64_t phys;  // where it was written: a copy elsewhere is not it
    uint32_t step, round;
    uint32_t resets;       // runs in a row that ended in a reset before this one
    uint32_t cpus;         // processors with a record, BSP included
    uint64_t records_phys; // SMP_RECORD_BYTES of each
};

// Writes the note for a step that is about to be taken, and sees to it that it has left the cache.
void note_keep(struct note *note, const struct smp *smp, enum note_step step, uint32_t round,
               uint32_t resets);

// Makes it say nothing.
void note_drop(struct note *note);

// Is this a whole note that was written at this very address?
bool note_is_whole(const struct note *note, uint64_t phys);

// The processors that had begun and not checked in when the machine went down, as smp_read_remains
// has them. `records` are note->cpus records, or NULL where they did not survive.
size_t note_suspects(const struct note *note, const void *records, size_t capacity,
                     struct smp_under_way *suspects);

// "The previous run ended in a reset while CPU 2 went from protected to long mode"
void note_tell(const struct note *note, const struct smp_under_way *suspects, size_t count,
               struct line *line);

// The word for a step: leaving, waking, reporting, calling.
const char *note_word(uint32_t step);
