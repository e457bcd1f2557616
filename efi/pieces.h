// The memory that a run takes of firmware for itself, under one owner, in two kinds: what only CPU
// 0 touches, and what an AP may touch whenever it comes, which is never given back while one may.
#pragma once

#include "firmware.h"
#include "hello.h"
#include "note.h"
#include "options.h"
#include "problem.h"
#include "smp.h"
#include "status.h"

struct pieces {
    // CPU 0's; an AP reads `cpus` in its turn and where a call begins alone, which is over when
    // this is given back.
    void *lists; // NULL: not taken; the next six point into it
    size_t list_pages;
    struct smp_account *accounts; // for every processor that is enabled
    struct smp_cpu *cpus;
    struct smp_region *regions; // as many as were asked for
    uint32_t *scratch;
    uint32_t *lasts_us, *medians_us; // one of each for every round

    // The APs', too.
    struct hello *hellos; // for every processor that is woken, the BSP included
    size_t hello_pages;
    struct note *note; // in memory that outlives a warm reset; the engine's follows it
    size_t note_pages;
    uint32_t low_page;   // where APs start; 0: none yet
    uint32_t late_page;  // a page of boot services that is ours after the exit; 0: none
    uint32_t decoy_page; // for inject=bad-vector: full of HLT instructions; 0: none
};

// The lists, for so many processors, regions and rounds. STATUS_NO_SPACE after telling.
enum status pieces_take_lists(const struct firmware *firmware, size_t cpus, size_t regions,
                              uint32_t rounds, const struct problems *problems,
                              struct pieces *pieces);

// Memory for what `cpus` processors say of themselves, cleared. STATUS_NO_SPACE after telling.
enum status pieces_take_hellos(const struct firmware *firmware, size_t cpus,
                               const struct problems *problems, struct pieces *pieces);

// A note, which says nothing yet, and behind it `bytes` for the engine of `cpus` processors.
// STATUS_NO_SPACE after telling.
enum status pieces_take_engine(const struct firmware *firmware, size_t cpus, uint64_t bytes,
                               const struct problems *problems, struct pieces *pieces,
                               struct smp_memory *memory);

// The page where APs start, or one that will be ours; after telling, what memory_take_low_page
// returns. `late`: only one that will be ours.
enum pieces_page { PIECES_ANY_PAGE, PIECES_LATE_PAGE };
enum status pieces_take_page(struct firmware *firmware, enum pieces_page which,
                             const struct problems *problems, struct pieces *pieces);
enum status pieces_take_decoy(struct firmware *firmware, const struct problems *problems,
                              struct pieces *pieces);

// Gives all back; what an AP may still touch is kept on demand.
enum keep { KEEP_NOTHING, KEEP_WHAT_APS_TOUCH };
void pieces_free(const struct firmware *firmware, enum keep keep, struct pieces *pieces);
