// Handoff: everything that the trampoline's assembler and C both know about an AP's way to C.
// Offsets stand once, here; C asserts each against its struct (smp/records.h), the assembler uses the
// same names.
// Surprise: all of this lives below 4 GiB, since an AP reaches it first without paging.
#pragma once

// How far an AP has come. In the low byte of lcpu.state, and in the real-mode marks.
//
//     none -> real -> protected -> long -> c -> ready -> done
//
// The AP drives every edge; the BSP drives only the way back to none, before a round and when INIT
// has stopped it. c is its first act in C, ready means that it has checked in, done that it has run
// the caller's function.
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
// ones, each asserted against its struct.
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
#define LCPU_BYTES    512
#define LCPU_TRAP_TOP LCPU_BYTES // the record's last line is the stack of a trap
#define LCPU_TSS_TYPE (LCPU_BYTES + 37) // behind the record: the type byte of its TSS descriptor (arena.h)

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
#define VECTOR_NMI       2

#ifdef __ASSEMBLER__
#define SET_OFFSET(name, type, field, value) .set name, value;
HANDOFF_OFFSETS(SET_OFFSET)
#endif
