// Handoff: everything that the trampoline's assembler and C both know about an AP's way to C.
// Offsets stand once, here; C asserts each against its struct, the assembler uses the same names.
// Surprise: all of this lives below 4 GiB, since an AP reaches it first without paging.
#pragma once

// How far an AP has come. In the low byte of lcpu.state, and in the real-mode marks.
//
//     none -> real -> protected -> long -> c -> ready -> done
//
// The AP drives every edge; the BSP drives only the way back to none, before it sends INIT. c is
// its first act in C, ready means that it has checked in, done that it has run the caller's
// function.
#define STAGE_NONE      0
#define STAGE_REAL      1
#define STAGE_PROTECTED 2
#define STAGE_LONG      3
#define STAGE_C         4
#define STAGE_READY     5
#define STAGE_DONE      6

// lcpu.state is generation << 8 | stage: a late AP of an earlier round cannot be taken for a new
// one.
#define STATE_STAGE_BITS 8

// Where the assembler finds its fields: one list, of which it makes its constants, and C the same
// ones, each asserted against its struct below.
// clang-format off
#define HANDOFF_OFFSETS(offset)                                   \
    offset(LCPU_ID_APIC_ID, lcpu_id, apic_id, 0)                  \
    offset(LCPU_ID_LCPU, lcpu_id, lcpu, 4)                        \
    offset(LCPU_ENTRY, lcpu, entry, 8)                            \
    offset(LCPU_STACK, lcpu, stack, 16)                           \
    offset(LCPU_GDTR, lcpu, gdtr, 24)                             \
    offset(LCPU_IDTR, lcpu, idtr, 34)                             \
    offset(LCPU_EARLY_IDTR, lcpu, early_idtr, 44)                 \
    offset(LCPU_DEFECT, lcpu, defect, 54)                         \
    offset(LCPU_STATE, lcpu, state, 64)                           \
    offset(LCPU_TSC_REAL, lcpu, tsc_real, 72)                     \
    offset(LCPU_TSC_PROTECTED, lcpu, tsc_protected, 80)           \
    offset(LCPU_TSC_LONG, lcpu, tsc_long, 88)                     \
    offset(LCPU_BIST, lcpu, bist, 128)                            \
    offset(LCPU_SIGNATURE, lcpu, signature, 132)                  \
    offset(LCPU_CR0, lcpu, cr0, 136)                              \
    offset(LCPU_CR4, lcpu, cr4, 140)                              \
    offset(LCPU_EFER, lcpu, efer, 144)                            \
    offset(LCPU_APIC_BASE, lcpu, apic_base, 152)                  \
    offset(LCPU_NO_NX, lcpu, no_nx, 160)                          \
    offset(LCPU_CR3_ERROR, lcpu, cr3_error, 264)                  \
    offset(RALLY_GENERATION, rally, generation, 0)                \
    offset(RALLY_UNLISTED_COUNT, rally, unlisted_count, 192)      \
    offset(RALLY_UNLISTED_IDS, rally, unlisted_ids, 196)
// clang-format on
#define LCPU_ID_BYTES 8
#define LCPU_BYTES    384
#define LCPU_TRAP_TOP LCPU_BYTES // the record's last line is the stack of a trap
#define LCPU_TSS_TYPE 421        // behind the record: the type byte of its TSS descriptor (arena.h)

// Where a processor fails by itself because it was told to (smp_break): in lcpu.defect, and the two
// of real mode, where no record is in reach, in the processor's mark.
#define DEFECT_NONE           0
#define DEFECT_HANG_PROTECTED 1
#define DEFECT_UD_PROTECTED   2
#define DEFECT_HANG_LONG      3
#define DEFECT_UD_LONG        4
#define DEFECT_HANG_C         5
#define DEFECT_UD_C           6
#define DEFECT_LATE           7
#define DEFECT_UD_WHEN_DONE   8
#define DEFECT_HANG_REAL      0x80
#define DEFECT_UD_REAL        0x81

// What a trap before long mode leaves as the last word on its stack: "this frame is finished".
#define TRAP_MAGIC_REAL      0x7254
#define TRAP_MAGIC_PROTECTED 0x50617254

#define RALLY_UNLISTED_MAX 63 // IDs that there is room for

// Selectors, the same in the trampoline's GDT and in every processor's own.
#define SELECTOR_CODE32 0x08
#define SELECTOR_DATA   0x10
#define SELECTOR_CODE64 0x18
#define SELECTOR_TSS    0x20

// The entry stubs of exceptions, 32 of them, one behind the other (fault_entry.S).
#define FAULT_STUB_BYTES 16

#ifdef __ASSEMBLER__

#define SET_OFFSET(name, type, field, value) .set name, value;
HANDOFF_OFFSETS(SET_OFFSET)

#else

#include <stdalign.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "hw.h"
#include "smp.h"

#define TURN_CLOSED UINT32_MAX // nobody is given a turn any more: halt

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
    uint32_t cpu;
    uint32_t apic_id;
    uint64_t entry; // void (*)(struct lcpu *); returns to the loop in the page
    uint64_t stack; // top, 16-byte aligned
    struct pseudo_descriptor gdtr;
    struct pseudo_descriptor idtr; // each vector on an interrupt stack of this processor's TSS
    struct pseudo_descriptor early_idtr; // the same on the current stack, until the TSS is loaded
    uint8_t defect;                      // DEFECT_
    struct rally *rally;
    // Line 1: written by the AP as it moves; `state` with release, read by the BSP with acquire.
    alignas(64) _Atomic uint32_t state;
    uint64_t tsc_real; // the low 32 bits were taken in real mode
    uint64_t tsc_protected;
    uint64_t tsc_long;
    uint64_t tsc_c;
    // Line 2: as woken, before the AP changed anything. Written by the AP once a wake.
    alignas(64) uint32_t bist; // EAX at reset: 0 is a passed self-test
    uint32_t signature;        // EDX at reset: CPUID signature
    uint32_t cr0;
    uint32_t cr4;
    uint64_t efer;
    uint64_t apic_base;
    uint8_t no_nx; // 1: stopped before long mode, without the NX that the page tables use
    // Line 3: a fault of this processor in long mode.
    alignas(64) struct lcpu_fault fault;
    // Line 4: its turn; written by the BSP before it opens the turns, read by the AP.
    alignas(64) uint32_t has_turn; // 1: it is given a turn, when rally.turn names its slot
    uint32_t next_turn;            // whose turn it is then; 0: nobody's
    uint32_t cr3_error;            // added to CR3; 0 but for SMP_BAD_CR3
    uint32_t slot;                 // the same number by which C knows it
    // Line 5: the stack of a trap in protected mode, from its end downwards. Cleared before each
    // round and each further try.
    alignas(64) uint8_t trap[64];
};

// What all processors of a wake share. Who writes what stands beside each line. The fields that are
// written inside the timed wake have cache lines of their own; `turn` is not, and shares one with
// what is only read.
struct rally {
    _Atomic uint32_t generation; // BSP, before each round; 1..2^24-1
    alignas(64) _Atomic uint32_t
        arrived; // APs, once each on reaching C; the BSP sets it to 0 before a round
    alignas(64) _Atomic uint32_t
        turn;                 // the slot whose turn it is; 0: nobody's yet. BSP and APs, by CAS
    uint32_t late_us;         // BSP: the time-out that an AP with DEFECT_LATE oversleeps
    uint64_t ticks_per_us;    // BSP: the TSC's rate
    uint64_t turn_wait_ticks; // BSP: how long an AP waits for its turn at most
    uint64_t pat;             // BSP: IA32_PAT of every processor; 0: as it is
    uint64_t park; // BSP: the loop in the page where a processor ends; 0: there is none yet
    alignas(64) _Atomic uint32_t
        unlisted_count; // processors that found no record, counted by themselves
    _Atomic uint32_t unlisted_ids[SMP_UNLISTED_MAX]; // SMP_NO_ID until its processor wrote it
    struct smp_host host;                            // BSP: whom the processors call
    uint32_t faults_of_bsp;                          // BSP: of its own, so far
};

#define ASSERT_OFFSET(name, type, field, value) \
    enum { name = value };                      \
    _Static_assert(offsetof(struct type, field) == name, #type "." #field " moved");
HANDOFF_OFFSETS(ASSERT_OFFSET)
_Static_assert(sizeof(struct lcpu_id) == LCPU_ID_BYTES, "lcpu_id grew");
_Static_assert(sizeof(struct lcpu) == LCPU_BYTES, "lcpu is not whole cache lines");
_Static_assert(offsetof(struct lcpu, trap) + 64 == LCPU_TRAP_TOP, "struct lcpu.trap moved");
_Static_assert(RALLY_UNLISTED_MAX == SMP_UNLISTED_MAX, "the assembler's room for unlisted IDs");
_Static_assert(STAGE_NONE == SMP_STAGE_NONE && STAGE_REAL == SMP_STAGE_REAL &&
                   STAGE_PROTECTED == SMP_STAGE_PROTECTED && STAGE_LONG == SMP_STAGE_LONG &&
                   STAGE_C == SMP_STAGE_C && STAGE_READY == SMP_STAGE_READY &&
                   STAGE_DONE == SMP_STAGE_DONE,
               "the stages of the door are those of the records");

#endif
