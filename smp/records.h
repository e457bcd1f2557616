// The records by which the processors of one engine know of each other: what an AP writes about
// itself, and what all of them share. Who writes what stands beside each line. Private to smp/.
#pragma once

#include <stdalign.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "handoff.h"
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
    // round, and whenever INIT has stopped the AP.
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
