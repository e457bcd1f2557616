// Each processor's own memory, and the block that they share: where everything lies, and what it
// holds before the first message. One arena below 4 GiB, given by efi/, never reused.
//
//     rally + IDT | lcpu_id table | lcpu pages | stacks (guard, then 16 KiB, each) | accounts |
//     window | page tables
//
// Surprise: the window is an address and not memory. The trampoline's page is mapped there a second
// time, writable, since where APs execute it, it is not.
#pragma once

#include <stdalign.h>
#include <stddef.h>
#include <stdint.h>

#include "console.h"
#include "handoff.h"
#include "line.h"
#include "page.h"

#define STACK_BYTES      16384u
#define GUARD_BYTES      PAGE_BYTES
#define INTERRUPT_STACKS 3u // faults, NMI, machine check: IST 1 to 3
#define INTERRUPT_BYTES  1024u
#define VECTORS          32u
#define FAULT_LINE_BYTES 384u // a fault's line has 200 characters at most

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

_Static_assert(sizeof(struct lcpu_page) == PAGE_BYTES, "one page for each processor");
_Static_assert(offsetof(struct lcpu_page, gdt) + SELECTOR_TSS + 5 == LCPU_TSS_TYPE,
               "the trampoline clears the busy bit there");

// The BSP's own book about an AP; no other processor reads or writes it.
struct account {
    uint32_t cpu;         // CPU index
    uint32_t tries;       // sequences sent in the last round that needed it
    uint32_t lost;        // rounds in which it did not come
    uint32_t up;          // 1: came in the last round
    uint32_t greeted;     // 1: has greeted, in whatever round
    uint32_t unheard;     // turns that it lost without a greeting
    uint32_t startups;    // sent to it in its last sequence
    uint32_t held;        // 1: its last INIT was sent, and it can write nothing before a STARTUP
    uint32_t given_up;    // 1: its last time-out of this round ended without it
    uint32_t mark_shared; // 1: another one of the arena leaves its mark in the page's same place
    uint32_t faults;      // injected on purpose: a bit for each enum fault_kind
    uint64_t startup_tsc; // when the last of them was sent
    uint64_t us;          // first message to first act in C, in the last round it came
};

// The arena's parts. Page-aligned each.
struct arena {
    uint64_t phys;
    size_t
        count; // processors, BSP included; lcpu pages and stacks are indexed by slot, 0 the BSP's
    size_t table_entries; // a power of two
    size_t rally_offset, table_offset, pages_offset, stacks_offset, accounts_offset, window_offset,
        tables_offset;
    size_t tables_pages;
    size_t bytes;
};

// Computes the parts for `count` processors and a pool of `tables_pages`; phys is left 0.
void arena_plan(size_t count, size_t tables_pages, struct arena *arena);

static inline struct rally *arena_rally(const struct arena *arena)
{
    return (struct rally *)(uintptr_t)(arena->phys + arena->rally_offset);
}

static inline struct lcpu_id *arena_table(const struct arena *arena)
{
    return (struct lcpu_id *)(uintptr_t)(arena->phys + arena->table_offset);
}

static inline struct lcpu_page *arena_lcpu(const struct arena *arena, size_t slot)
{
    return (struct lcpu_page *)(uintptr_t)(arena->phys + arena->pages_offset) + slot;
}

static inline struct account *arena_account(const struct arena *arena, size_t slot)
{
    return (struct account *)(uintptr_t)(arena->phys + arena->accounts_offset) + slot;
}

// The lowest address of a slot's stack; the guard page lies below it.
static inline uint64_t arena_stack(const struct arena *arena, size_t slot)
{
    return arena->phys + arena->stacks_offset + slot * (GUARD_BYTES + STACK_BYTES) + GUARD_BYTES;
}

// The record of the processor with this APIC ID; NULL where it has none. O(log n).
struct lcpu *arena_find(const struct arena *arena, uint32_t apic_id);

// For good: every entry and every vector leads to this loop and not to code of ours.
void arena_close(const struct arena *arena, uint64_t park);

// Puts an ID that no processor has into this one's entry of the table (inject=wrong-id).
void arena_falsify_id(const struct arena *arena, uint32_t apic_id);

// One processor to prepare, in slot order; slot 0 is the BSP.
struct lcpu_plan {
    uint32_t cpu, apic_id;
};

// Clears the arena and fills it: rally, IDT, every lcpu with its GDT, TSS, stack and entry, and the
// table sorted by APIC ID. O(n log n). `plans` holds arena->count entries.
void arena_prepare(const struct arena *arena, const struct lcpu_plan *plans,
                   void (*entry)(struct lcpu *), struct console *console);
