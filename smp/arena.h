// The engine's memory: where everything lies, and what it holds before the first message. One piece
// below 4 GiB, never reused.
//
//     engine | rally + IDTs | table of APIC IDs | a page for each processor |
//     stacks (guard, then 16 KiB, each) | books | lists | window | page tables
//
// Surprises: the window is an address and not memory: the trampoline's page is mapped there a
// second time, writable, since where APs execute it, it is not. And each part has two addresses:
// the view, by which the caller's processor reads and writes it, and the physical one, which is the
// APs' own, since their page tables map it so.
#pragma once

#include <stdalign.h>
#include <stddef.h>
#include <stdint.h>

#include "page.h"
#include "records.h"
#include "smp.h"

#define GUARD_BYTES      PAGE_BYTES
#define INTERRUPT_STACKS 3u // faults, NMI, machine check: IST 1 to 3
#define INTERRUPT_BYTES  1024u
#define VECTORS          32u
#define FAULT_LINE_BYTES 256u // a fault's line has 200 characters at most

// SDM vol. 3A, "Task Management in 64-bit Mode".
struct __attribute__((packed)) task_state {
    uint32_t reserved0;
    uint64_t rsp[3];
    uint64_t reserved1;
    uint64_t ist[7];
    uint64_t reserved2;
    uint16_t reserved3, io_map;
};

// One page for each processor, so that a fault handler finds its own record from its GDT's address.
struct lcpu_page {
    struct lcpu lcpu;
    alignas(64) uint64_t gdt[6]; // the TSS descriptor takes two
    alignas(64) struct task_state task;
    alignas(64) char line[FAULT_LINE_BYTES]; // an interrupt stack is small
    alignas(1024) uint8_t interrupt_stacks[INTERRUPT_STACKS][INTERRUPT_BYTES];
};

_Static_assert(sizeof(struct lcpu_page) == PAGE_BYTES && SMP_RECORD_BYTES == PAGE_BYTES,
               "one page for each processor");
_Static_assert(offsetof(struct lcpu_page, gdt) + SELECTOR_TSS + 5 == LCPU_TSS_TYPE,
               "the trampoline clears the busy bit there");

// The BSP's own book about an AP; no other processor reads or writes it.
struct book {
    uint32_t tries;       // sequences sent in the last round that needed it
    uint32_t lost;        // rounds in which it did not arrive in time
    uint32_t arrived;     // 1: in the last round, in time
    uint32_t done;        // 1: has run the caller's function, in whatever round
    uint32_t unheard;     // turns that it lost
    uint32_t startups;    // sent to it in its last sequence
    uint32_t held;        // 1: its last INIT was sent, and it can write nothing before a STARTUP
    uint32_t round;       // the last one that it was woken in
    uint32_t ticket;      // of its last call
    uint32_t closed;      // the last ticket that is over, whether it returned or not
    uint32_t called;      // 1: since the last smp_wait
    uint32_t handed_over; // 1: since its last round
    uint32_t nudged;      // 1: in its call
    uint32_t listed;      // by smp_wake_slots
    uint32_t put_back;    // 1: by smp_hold, and not woken since
    uint32_t astray;      // 1: in this round it arrived, and did not come to where it takes calls
    uint64_t called_tsc;  // its last call
    uint32_t given_up;    // 1: its last time-out of this round ended without it
    uint32_t mark_before; // the furthest mark that an earlier try of this round left
    uint32_t mark_shared; // 1: another one of the arena leaves its mark in the page's same place
    uint32_t real_defect; // DEFECT_HANG_REAL or DEFECT_UD_REAL; else 0
    uint64_t startup_tsc; // when the last of its STARTUPs was sent
    uint64_t us;          // first message to first act in C, in the last round it arrived
};

struct arena {
    uint64_t phys;
    uint8_t *view;
    size_t count;         // processors, slot 0 included
    size_t table_entries; // a power of two
    size_t rally_offset, table_offset, pages_offset, stacks_offset, books_offset, lists_offset,
        window_offset, tables_offset;
    size_t tables_pages;
    size_t bytes;
};

// Computes the parts for `count` processors and a pool of `tables_pages`; phys and view are left 0.
// The engine's own struct takes the first `engine_bytes`.
void arena_plan(size_t engine_bytes, size_t count, size_t tables_pages, struct arena *arena);

static inline struct rally *arena_rally(const struct arena *arena)
{
    return (struct rally *)(void *)(arena->view + arena->rally_offset);
}

static inline struct lcpu_id *arena_table(const struct arena *arena)
{
    return (struct lcpu_id *)(void *)(arena->view + arena->table_offset);
}

static inline struct lcpu_page *arena_page(const struct arena *arena, size_t slot)
{
    return (struct lcpu_page *)(void *)(arena->view + arena->pages_offset) + slot;
}

static inline struct lcpu *arena_lcpu(const struct arena *arena, size_t slot)
{
    return &arena_page(arena, slot)->lcpu;
}

static inline struct book *arena_book(const struct arena *arena, size_t slot)
{
    return (struct book *)(void *)(arena->view + arena->books_offset) + slot;
}

// Two lists of `count` numbers, for whoever counts and sorts.
static inline uint32_t *arena_list(const struct arena *arena, size_t which)
{
    return (uint32_t *)(void *)(arena->view + arena->lists_offset) + which * arena->count;
}

static inline uint64_t arena_page_phys(const struct arena *arena, size_t slot)
{
    return arena->phys + arena->pages_offset + slot * sizeof(struct lcpu_page);
}

// The lowest address of a slot's stack; the guard page lies below it.
static inline uint64_t arena_stack_phys(const struct arena *arena, size_t slot)
{
    return arena->phys + arena->stacks_offset + slot * (GUARD_BYTES + SMP_STACK_BYTES) +
           GUARD_BYTES;
}

// The slot of the processor with this APIC ID; UINT32_MAX where it has none. O(log n).
uint32_t arena_find(const struct arena *arena, uint32_t apic_id);

// For good: every entry and every vector leads to this loop and not to code of the caller's.
void arena_seal(const struct arena *arena, uint64_t park);

// Puts an ID that no processor has into this one's entry of the table.
void arena_falsify_id(const struct arena *arena, uint32_t apic_id);

// Clears the arena behind the engine's struct and fills it: rally, IDTs, every record with its GDT,
// TSS, stack and entry, and the table sorted by APIC ID. O(n log n). `cpus` holds arena->count;
// `fault_stubs` is where the stub of vector 0 lies, the others behind it.
void arena_fill(const struct arena *arena, const struct smp_cpu *cpus, uint64_t entry,
                uint64_t fault_stubs, const struct smp_host *host);
