// The layout of the trampoline's image and of the page it is copied to: offsets that the assembler
// source, the copier and the build's proofs share.
// Surprise: the page holds more than the image. Its upper half is written by APs in real mode,
// before they can reach any other memory.
#pragma once

// The image begins with a short jump over this header.
#define IMAGE_MAGIC_OFFSET      4
#define IMAGE_MAGIC             0x4c564552 // "REVL"
#define IMAGE_BYTES_OFFSET      8          // u16: bytes of the whole image
#define IMAGE_PATCHES_OFFSET    10         // u16: where the relocation table begins
#define IMAGE_PATCH_COUNT       12         // u16: its entries
#define IMAGE_PARAMETERS_OFFSET 14         // u16: where struct trampoline_parameters begins
#define IMAGE_TRAPS_REAL        16         // u16: the first of 32 stubs, TRAP_REAL_BYTES each
#define IMAGE_TRAPS_PROTECTED   18         // u16: the same, TRAP_PROTECTED_BYTES each
#define IMAGE_HEADER_END        20

// One entry of the relocation table: at `offset`, `width` bytes are to hold page + target.
#define PATCH_BYTES  6
#define PATCH_OFFSET 0
#define PATCH_WIDTH  2
#define PATCH_TARGET 4

// A trap stub is one near call, so that the return address tells the vector.
#define TRAP_VECTORS         32
#define TRAP_REAL_BYTES      3
#define TRAP_PROTECTED_BYTES 5

// The page.
#define PAGE_IMAGE_LIMIT     0x600 // the image ends below this
#define PAGE_TRAPS_REAL      0x600 // 32 real-mode vectors of 4 bytes
#define PAGE_TRAPS_PROTECTED 0x680 // 32 interrupt gates of 8 bytes
#define PAGE_PARK            0x780 // CLI; HLT; and back: where processors end, the same in every mode
#define PARK_BYTES           4
#define PAGE_FIXED_END       0x800 // up to here the page never changes after it is filled
#define PAGE_MARKS           0x800 // one byte for each ID & (MARK_COUNT - 1): the last STAGE_ reached
#define MARK_COUNT           1024
#define PAGE_CELLS           0xc00 // stacks for a trap before the record is found, by ID & (CELL_COUNT - 1)
#define CELL_COUNT           16
#define CELL_BYTES           64
#define PAGE_POISON          0xcc // INT3: whoever jumps beside the image is told, not lost

// What C fills in after the copy and the assembler only reads, 32 bits each: one list, of which C
// makes struct trampoline_parameters, and the assembler its labels.
// clang-format off
#define TRAMPOLINE_PARAMETERS(parameter)                                                        \
    parameter(x86_bpt_pml4_addr) /* CR3: below 4 GiB, page-aligned, not 0 */                    \
    parameter(lcpus)             /* physical address of the sorted struct lcpu_id table */      \
    parameter(lcpus_half)        /* bytes of that table / 2; padded to a power of two */        \
    parameter(rally)             /* physical address of struct rally */                         \
    parameter(cr4)               /* PAE, MCE, and LA57 where the BSP has it */                  \
    parameter(efer)              /* LME, and NXE where the tables use it */                     \
    parameter(x2apic)            /* 1: set EXTD before the ID is read */                        \
    parameter(id_leaf)           /* CPUID leaf of the ID: 0xB (EDX) or 1 (EBX[31:24]) */        \
    parameter(misc_enable)       /* the MSR in which NX may be switched off; 0: there is none */
// clang-format on
