// Handoff: everything that the trampoline's assembler and C both know about an AP's way to C.
// Offsets stand once, here; C asserts each against its struct, the assembler uses the same names.
// Surprise: all of this lives below 4 GiB, since an AP reaches it first without paging.
#pragma once

// How far an AP has come. In the low byte of lcpu.state, and in the real-mode marks.
//
//     none -> real -> protected -> long -> c -> ready -> greeted
//
// The AP drives every edge; the BSP drives only the way back to none, before it sends INIT. c is
// its first act in C, ready means that it has checked in.
#define STAGE_NONE      0
#define STAGE_REAL      1
#define STAGE_PROTECTED 2
#define STAGE_LONG      3
#define STAGE_C         4
#define STAGE_READY     5
#define STAGE_GREETED   6

// lcpu.state is generation << 8 | stage: a late AP of an earlier round cannot be taken for a new
// one.
#define STATE_STAGE_BITS 8

// struct lcpu_id
#define LCPU_ID_BYTES   8
#define LCPU_ID_APIC_ID 0
#define LCPU_ID_LCPU    4

// struct lcpu: one processor's record, whole cache lines of 64 bytes.
#define LCPU_INDEX         0
#define LCPU_APIC_ID       4
#define LCPU_ENTRY         8
#define LCPU_STACK         16
#define LCPU_GDTR          24 // three pseudo-descriptors of 10 bytes; 32-bit code reads the first 6
#define LCPU_IDTR          34
#define LCPU_EARLY_IDTR    44
#define LCPU_INJECT        54
#define LCPU_STATE         64
#define LCPU_TSC_REAL      72
#define LCPU_TSC_PROTECTED 80
#define LCPU_TSC_LONG      88
#define LCPU_BIST          128
#define LCPU_SIGNATURE     132
#define LCPU_CR0           136
#define LCPU_CR4           140
#define LCPU_EFER          144
#define LCPU_APIC_BASE     152
#define LCPU_NO_NX         160
#define LCPU_CR3_ERROR     264
#define LCPU_TRAP_TOP      384
#define LCPU_BYTES         448
#define LCPU_TSS_TYPE      485 // behind the record: the type byte of its TSS descriptor (smp/lcpu.h)

// Faults that a processor commits by itself when told to (option inject=): in lcpu.inject, and the
// two of real mode, where no record is in reach, in the processor's mark.
#define INJECT_NONE           0
#define INJECT_HANG_PROTECTED 1
#define INJECT_UD_PROTECTED   2
#define INJECT_HANG_LONG      3
#define INJECT_UD_LONG        4
#define INJECT_HANG_C         5
#define INJECT_UD_C           6
#define INJECT_LATE           7
#define INJECT_MUTE           8
#define INJECT_UD_IDLE        9
#define INJECT_HANG_REAL      0x80
#define INJECT_UD_REAL        0x81

// What a trap before long mode leaves as the last word on its stack: "this frame is finished".
#define TRAP_MAGIC_REAL      0x7254
#define TRAP_MAGIC_PROTECTED 0x50617254

// struct rally: what all processors of one wake share. The fields that are written inside the timed
// wake have lines of their own; `turn` is not, and shares one with what is only read.
#define RALLY_GENERATION     0
#define RALLY_UNLISTED_COUNT 192
#define RALLY_UNLISTED_IDS   196
#define RALLY_UNLISTED_MAX   63
#define RALLY_NO_ID          0xffffffff // of no processor: every APIC's ID for "all"

// Selectors, the same in the trampoline's GDT and in every processor's own.
#define SELECTOR_CODE32 0x08
#define SELECTOR_DATA   0x10
#define SELECTOR_CODE64 0x18
#define SELECTOR_TSS    0x20

#ifndef __ASSEMBLER__

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "gate.h"

struct console;

#define TURN_CLOSED UINT32_MAX // no one will be asked any more: halt

// One entry of the table that an AP searches for its own APIC ID, sorted by apic_id. `lcpu` is the
// physical address of its record.
struct lcpu_id {
    uint32_t apic_id;
    uint32_t lcpu;
};

// The evidence of a fault, written by the processor that met it and then stops.
struct lcpu_fault {
    _Atomic uint32_t valid; // 1 once all other fields are written
    uint32_t mode;          // the STAGE_ in whose processor mode it happened
    uint32_t vector;
    uint32_t error;
    uint64_t ip;
    uint64_t cr2;
    uint64_t sp;
};

// One processor's record: the checklist's lcpus[] entry. Static for the whole run: never reused, so
// that an AP that comes late finds only what is its own.
struct lcpu {
    // Line 0: written by the BSP before the wake, read by the AP.
    uint32_t index;
    uint32_t apic_id;
    uint64_t entry; // void (*)(struct lcpu *); returns to the loop in the page
    uint64_t stack; // top, 16-byte aligned
    struct pseudo_descriptor gdtr;
    struct pseudo_descriptor idtr; // each vector on an interrupt stack of this processor's TSS
    struct pseudo_descriptor early_idtr; // the same on the current stack, until the TSS is loaded
    uint8_t inject;                      // INJECT_
    uint8_t line0_pad;
    struct rally *rally;
    // Line 1: written by the AP as it moves; `state` with release, read by the BSP with acquire.
    _Atomic uint32_t state;
    uint32_t state_pad;
    uint64_t tsc_real; // the low 32 bits were taken in real mode
    uint64_t tsc_protected;
    uint64_t tsc_long;
    uint64_t tsc_c;
    uint8_t line1_pad[24];
    // Line 2: as woken, before the AP changed anything. Written by the AP once a wake.
    uint32_t bist;      // EAX at reset: 0 is a passed self-test
    uint32_t signature; // EDX at reset: CPUID signature
    uint32_t cr0;
    uint32_t cr4;
    uint64_t efer;
    uint64_t apic_base;
    uint8_t no_nx; // 1: stopped before long mode, without the NX that the page tables use
    uint8_t line2_pad[31];
    // Line 3: a fault of this processor in long mode.
    struct lcpu_fault fault;
    uint8_t line3_pad[24];
    // Line 4: the greeting; written by the BSP before it opens the turn, read by the AP.
    uint32_t greet;      // 1: greet when rally.turn names this index
    uint32_t greet_next; // whose turn it is then
    uint32_t cr3_error;  // added to CR3; 0 unless inject=bad-cr3
    uint8_t line4_pad[52];
    // Line 5: the stack of a trap in protected mode, from its end downwards. Cleared before each
    // round and each further try.
    uint8_t trap[64];
    // Line 6: where this processor sits, by its own CPUID; written by the AP before it greets.
    uint32_t location_known; // 1: the next three were read
    uint32_t package, core, thread;
    _Atomic uint32_t back; // 1: firmware had it run again after the wake (exit=no)
    uint32_t microcode;    // its revision; 0: not asked (log=debug does), or not told
    uint32_t missing_msr;  // enum missing_msr (machine/processor.h), by log=debug too
    uint8_t line6_pad[36];
};

#define ASSERT_OFFSET(type, field, offset) \
    _Static_assert(offsetof(type, field) == (offset), #type "." #field " moved")
ASSERT_OFFSET(struct lcpu_id, apic_id, LCPU_ID_APIC_ID);
ASSERT_OFFSET(struct lcpu_id, lcpu, LCPU_ID_LCPU);
_Static_assert(sizeof(struct lcpu_id) == LCPU_ID_BYTES, "lcpu_id grew");
ASSERT_OFFSET(struct lcpu, index, LCPU_INDEX);
ASSERT_OFFSET(struct lcpu, apic_id, LCPU_APIC_ID);
ASSERT_OFFSET(struct lcpu, entry, LCPU_ENTRY);
ASSERT_OFFSET(struct lcpu, stack, LCPU_STACK);
ASSERT_OFFSET(struct lcpu, gdtr, LCPU_GDTR);
ASSERT_OFFSET(struct lcpu, idtr, LCPU_IDTR);
ASSERT_OFFSET(struct lcpu, early_idtr, LCPU_EARLY_IDTR);
ASSERT_OFFSET(struct lcpu, inject, LCPU_INJECT);
ASSERT_OFFSET(struct lcpu, state, LCPU_STATE);
ASSERT_OFFSET(struct lcpu, tsc_real, LCPU_TSC_REAL);
ASSERT_OFFSET(struct lcpu, tsc_protected, LCPU_TSC_PROTECTED);
ASSERT_OFFSET(struct lcpu, tsc_long, LCPU_TSC_LONG);
ASSERT_OFFSET(struct lcpu, bist, LCPU_BIST);
ASSERT_OFFSET(struct lcpu, signature, LCPU_SIGNATURE);
ASSERT_OFFSET(struct lcpu, cr0, LCPU_CR0);
ASSERT_OFFSET(struct lcpu, cr4, LCPU_CR4);
ASSERT_OFFSET(struct lcpu, efer, LCPU_EFER);
ASSERT_OFFSET(struct lcpu, apic_base, LCPU_APIC_BASE);
ASSERT_OFFSET(struct lcpu, no_nx, LCPU_NO_NX);
ASSERT_OFFSET(struct lcpu, fault, 192);
ASSERT_OFFSET(struct lcpu, greet, 256);
ASSERT_OFFSET(struct lcpu, cr3_error, LCPU_CR3_ERROR);
_Static_assert(offsetof(struct lcpu, trap) + 64 == LCPU_TRAP_TOP, "struct lcpu.trap moved");
_Static_assert(sizeof(struct lcpu) == LCPU_BYTES, "lcpu is not whole cache lines");

// What all processors of a wake share. Who writes what stands beside each line.
struct rally {
    _Atomic uint32_t generation; // BSP, before each round; 1..2^24-1
    uint32_t line0_pad[15];
    _Atomic uint32_t arrived; // APs, once each on reaching C; the BSP sets it to 0 before a round
    uint32_t line1_pad[15];
    _Atomic uint32_t
        turn;         // CPU index whose turn it is to greet; 0: nobody's yet. BSP and APs, by CAS
    uint32_t late_us; // BSP: the time-out that an AP with INJECT_LATE oversleeps
    uint64_t ticks_per_us;    // BSP: the TSC's rate
    uint64_t turn_wait_ticks; // BSP: how long an AP waits for its turn at most
    struct console *console;  // BSP
    void (*bsp_stopped)(
        void *context); // BSP: where it goes on after a fault of its own; NULL: halts
    void *bsp_context;
    uint64_t pat;  // BSP: IA32_PAT of every processor; 0: as it is
    uint64_t park; // BSP: the loop in the page where a processor ends; 0: there is none yet
    _Atomic uint32_t
        unlisted_count; // processors that found no record of theirs, counted by themselves
    _Atomic uint32_t
        unlisted_ids[RALLY_UNLISTED_MAX]; // RALLY_NO_ID until the one that took the place wrote it
    uint32_t bsp_faults;                  // BSP: faults of its own so far
};

// The APIC ID of a processor that found no record, by its place below `unlisted_count`; RALLY_NO_ID
// where it was counted and has not written it yet, or there was no room.
static inline uint32_t rally_unlisted_id(const struct rally *rally, uint32_t place)
{
    return place < RALLY_UNLISTED_MAX
               ? atomic_load_explicit(&rally->unlisted_ids[place], memory_order_acquire)
               : RALLY_NO_ID;
}

ASSERT_OFFSET(struct rally, generation, RALLY_GENERATION);
ASSERT_OFFSET(struct rally, arrived, 64);
ASSERT_OFFSET(struct rally, turn, 128);
ASSERT_OFFSET(struct rally, unlisted_count, RALLY_UNLISTED_COUNT);
ASSERT_OFFSET(struct rally, unlisted_ids, RALLY_UNLISTED_IDS);

#endif
