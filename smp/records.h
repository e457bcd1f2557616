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

// What an AP is called for.
enum call_kind {
    CALL_NOTHING, // to look anew at how it is to wait
    CALL_WORK,
    CALL_LOOP,
    CALL_HAND_OVER,
};

// A call as its AP reads it. The BSP writes it while the AP waits, and `ticket` last.
struct call {
    _Atomic uint32_t ticket; // another one than before: a call. An AP in MWAIT watches this line
    _Atomic uint32_t first;  // that an AP finds old when it comes to C
    uint32_t kind;           // CALL_
    uint32_t loop;           // the loop's number, with CALL_LOOP
    union {
        struct {
            void (*run)(void *context, const struct smp_self *self);
            void *context;
        } work;
        struct {
            void (*body)(void *context, uint64_t first, uint64_t end, const struct smp_self *self);
            void *context;
            uint64_t count, grain;
        } loop_of;
        struct smp_handover handover;
    };
};

// How far it is with it, as the AP writes it.
struct call_way {
    _Atomic uint32_t serving;      // the round in which it takes calls; 0: it takes none
    _Atomic uint32_t begun, ended; // tickets
    uint32_t parking;              // enum smp_parking, as it does wait; behind `serving`, `ended`
    _Atomic uint32_t nudged;       // 1, by the BSP: an NMI is on its way that is no fault
    uint64_t tsc_begun, tsc_ended; // behind `begun` and `ended`
    _Atomic uint64_t done;         // items of the loop
    _Atomic uint64_t from, to;     // the items that it has, or had last
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
    // Line 5: what it is called for; by the BSP. Line 6: how far it is; by the AP, but for one
    // flag.
    alignas(64) struct call call;
    alignas(64) struct call_way way;
    // Line 7: the stack of a trap in protected mode, from its end downwards. Cleared before each
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
    _Atomic uint32_t parking; // BSP: enum smp_parking, how they are to wait
    alignas(64) _Atomic uint32_t
        unlisted_count; // processors that found no record, counted by themselves
    _Atomic uint32_t unlisted_ids[SMP_UNLISTED_MAX]; // SMP_NO_ID until its processor wrote it
    struct smp_host host;                            // BSP: whom the processors call
    uint32_t faults_of_bsp;                          // BSP: of its own, so far
    // The loop under way: its number << 48 | the next item that nobody has. BSP and APs, by CAS.
    alignas(64) _Atomic uint64_t cursor;
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
