// Copying the trampoline to its page below 1 MiB, and making it fit there.
// Pure: the page is reached through `view`, which need not be where the processors will see it.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image_layout.h"
#include "status.h"

#define PARAMETER_FIELD(name) uint32_t name;
struct trampoline_parameters {
    TRAMPOLINE_PARAMETERS(PARAMETER_FIELD)
};
#undef PARAMETER_FIELD

struct trampoline {
    const uint8_t *image;
    size_t bytes;
    size_t patches_offset, patch_count;
    size_t parameters_offset;
    size_t traps_real_offset, traps_protected_offset;
};

// A trap that a processor met before long mode and did not come back from.
struct trap {
    uint32_t mode; // STAGE_REAL or STAGE_PROTECTED
    uint32_t vector;
    uint32_t error;   // 0 where the vector has none, and in real mode
    uint32_t ip_phys; // where: the physical address
};

// Checks an image's header against its size. Returns STATUS_OK or STATUS_INVALID.
enum status trampoline_open(const uint8_t *image, size_t bytes, struct trampoline *trampoline);

// The image that is built into this program.
enum status trampoline_open_builtin(struct trampoline *trampoline);

// Poisons the 4096-byte page at `view` and copies the image. Returns STATUS_INVALID if what is read
// back differs.
enum status trampoline_copy(const struct trampoline *trampoline, uint8_t *view);

// Applies the relocation table, and fills the trap tables, for a page at physical address page_phys
// (page-aligned, below 1 MiB). `applied` counts. Returns STATUS_INVALID if an entry lies outside
// the image, has an unknown width, or its value does not fit the width; the page is then not to be
// used.
enum status trampoline_patch(const struct trampoline *trampoline, uint8_t *view, uint32_t page_phys,
                             size_t *applied);

void trampoline_set_parameters(const struct trampoline *trampoline, uint8_t *view,
                               const struct trampoline_parameters *parameters);

// Compares the page byte by byte with what copy, patch and parameters should have left; `offset`
// tells the first difference. Returns STATUS_OK or STATUS_INVALID.
enum status trampoline_verify(const struct trampoline *trampoline, const uint8_t *view,
                              uint32_t page_phys, const struct trampoline_parameters *parameters,
                              size_t *offset);

// For good: whoever starts in the page from now on parks at its first instruction. Afterwards the
// page is no trampoline any more.
void trampoline_close(uint8_t *view);

// What processors leave in the page before they find their record: marks and trap cells, cleared
// before a round, or of one processor alone, by APIC ID; marks set only to break a processor in
// real mode (DEFECT_*_REAL), and read after the round.
void trampoline_clear_marks(uint8_t *view);
void trampoline_forget(uint8_t *view, uint32_t apic_id);
void trampoline_set_mark(uint8_t *view, uint32_t apic_id, uint8_t mark);
uint8_t trampoline_mark(const uint8_t *view, uint32_t apic_id);

// The trap left by the processor with this APIC ID in its cell, which several share: only one that
// bears this ID's mark is told. Returns false if there is none.
bool trampoline_trap_in_cell(const struct trampoline *trampoline, const uint8_t *view,
                             uint32_t page_phys, uint32_t apic_id, struct trap *trap);

// The trap left in protected mode on a stack that ended at `top`; at least 64 bytes below it are
// readable.
bool trampoline_trap_at(const struct trampoline *trampoline, uint32_t page_phys, const uint8_t *top,
                        struct trap *trap);
