// One engine, as its parts see it: what it was given, what it built, and the round that is under
// way. It lies in the first page of its own memory. Private to smp/.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "apic.h"
#include "arena.h"
#include "clock.h"
#include "page_table.h"
#include "smp.h"
#include "trampoline.h"

struct smp {
    struct arena arena;
    struct smp_features features;
    enum smp_apic_mode apic_mode;
    uint64_t apic_phys;
    const struct smp_region *regions; // the caller's
    size_t region_count;
    struct smp_host host;
    struct clock clock;

    struct page_tables tables;
    struct trampoline trampoline;
    struct trampoline_parameters parameters;
    size_t relocations;
    uint32_t page_phys; // where the APs start; 0: nowhere yet
    uint8_t *page_view; // where it can be written
    bool page_filled;   // it was once what it should be
    bool proved;        // and so was all that an AP touches
    bool is_started;    // by smp_start, and not sealed
    bool looping;       // a loop is under way

    struct smp_plan plan;
    struct apic apic;
    uint32_t want;     // APs: slots 1 to want
    uint32_t round;    // begun so far
    uint64_t started;  // TSC just before this round's first message
    uint32_t due;      // APs that this round is for
    uint32_t *missing; // in this round: their slots
    size_t missing_count;
    uint64_t called_tsc; // the first call since the last smp_wait
    uint32_t loops;      // begun so far
    uint32_t *values;    // room for a number of each AP's, to find their median
    uint32_t unsent;     // messages of this round that the xAPIC did not take
    bool broadcast;      // one was to all but self, in whatever round
};

_Static_assert(sizeof(struct smp) <= PAGE_BYTES, "the engine's struct has a page");

static inline bool may_send(const struct smp *smp)
{
    return smp->proved && smp->is_started;
}

// The stage that an AP's record says it has reached in this round; STAGE_NONE: in another, or none.
static inline uint32_t stage_in_round(const struct lcpu *lcpu, uint32_t round)
{
    const uint32_t state = atomic_load_explicit(&lcpu->state, memory_order_acquire);
    return state >> STATE_STAGE_BITS == round ? state & ((1u << STATE_STAGE_BITS) - 1) : STAGE_NONE;
}

// In the last round that it was woken in.
static inline uint32_t stage_of(const struct smp *smp, uint32_t slot)
{
    return stage_in_round(arena_lcpu(&smp->arena, slot), arena_book(&smp->arena, slot)->round);
}

static inline bool has_arrived(const struct smp *smp, uint32_t slot)
{
    return stage_of(smp, slot) >= STAGE_C;
}

// A round for the APs that `missing` names, whose calls that are under way have been closed, or are
// what they are woken for.
void wake_listed(struct smp *smp, size_t count, struct smp_round *round);

// Is the caller the processor of slot 0?
bool is_slot_0(const struct smp *smp);

// What an AP does between its turn and the page's loop: it takes calls, if it is to.
void serve(struct lcpu *self, uint32_t round);

// A part of a loop: a chunk of those items that nobody has yet. False: there are none.
bool run_chunk(const struct call *call, struct call_way *way, _Atomic uint64_t *cursor,
               const struct smp_self *self);
#define CURSOR_ITEM_BITS 40
#define CURSOR_ITEMS     (1ull << CURSOR_ITEM_BITS)
#define CURSOR_LOOPS     ((1u << (64 - CURSOR_ITEM_BITS)) - 1)

// The first act of an AP in C; its argument is its record, and it returns to the loop in the page.
void ap_main(struct lcpu *self);
