// The copier: poison, copy, patch, compare. Knows bytes and offsets, not processors.
// Surprise: nothing here knows what an operand means; the image brings the list of its own places.

#include "trampoline.h"

#include <stdatomic.h>

#include "handoff.h"
#include "mem.h"
#include "page.h"

extern const uint8_t trampoline_blob[];
extern const uint64_t trampoline_blob_bytes;

#define GATE_INTERRUPT32 0x8e00u // present, DPL 0

// What a trap leaves, in bytes below the end of its stack: the frame, the stub's return address,
// the magic.
#define CELL_INDEX_BYTES 2u
#define REAL_IP          6u
#define REAL_STUB        8u
#define REAL_MAGIC       10u
#define PROTECTED_IP     12u
#define PROTECTED_STUB   16u // 4 more for the last two where the vector has an error code
#define PROTECTED_MAGIC  20u

static size_t load16(const uint8_t *at)
{
    return (size_t)(at[0] | at[1] << 8);
}

static uint32_t load32(const uint8_t *at)
{
    return (uint32_t)(load16(at) | load16(at + 2) << 16);
}

static void store(uint8_t *at, uint32_t value, size_t width)
{
    for (size_t i = 0; i < width; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

struct patch {
    size_t offset, width, target;
};

static struct patch patch_at(const struct trampoline *trampoline, size_t index)
{
    const uint8_t *entry = trampoline->image + trampoline->patches_offset + index * PATCH_BYTES;
    return (struct patch){
        .offset = load16(entry + PATCH_OFFSET),
        .width = load16(entry + PATCH_WIDTH),
        .target = load16(entry + PATCH_TARGET),
    };
}

static bool patch_is_sound(const struct trampoline *trampoline, const struct patch *patch,
                           uint32_t page_phys)
{
    if (patch->width != 2 && patch->width != 4)
        return false;
    if (patch->offset + patch->width > trampoline->bytes || patch->target >= PAGE_BYTES)
        return false;
    return patch->width == 4 || page_phys + patch->target <= UINT16_MAX;
}

enum status trampoline_open(const uint8_t *image, size_t bytes, struct trampoline *trampoline)
{
    const size_t stubs_real = TRAP_VECTORS * TRAP_REAL_BYTES;
    const size_t stubs_protected = TRAP_VECTORS * TRAP_PROTECTED_BYTES;
    if (bytes < IMAGE_HEADER_END || bytes > PAGE_IMAGE_LIMIT ||
        load32(image + IMAGE_MAGIC_OFFSET) != IMAGE_MAGIC ||
        load16(image + IMAGE_BYTES_OFFSET) != bytes)
        return STATUS_INVALID;

    *trampoline = (struct trampoline){
        .image = image,
        .bytes = bytes,
        .patches_offset = load16(image + IMAGE_PATCHES_OFFSET),
        .patch_count = load16(image + IMAGE_PATCH_COUNT),
        .parameters_offset = load16(image + IMAGE_PARAMETERS_OFFSET),
        .traps_real_offset = load16(image + IMAGE_TRAPS_REAL),
        .traps_protected_offset = load16(image + IMAGE_TRAPS_PROTECTED),
    };
    if (trampoline->patches_offset < IMAGE_HEADER_END ||
        trampoline->patches_offset + trampoline->patch_count * PATCH_BYTES > bytes ||
        trampoline->parameters_offset < IMAGE_HEADER_END ||
        trampoline->parameters_offset + sizeof(struct trampoline_parameters) > bytes ||
        trampoline->traps_real_offset < IMAGE_HEADER_END ||
        trampoline->traps_real_offset + stubs_real > bytes ||
        trampoline->traps_protected_offset < IMAGE_HEADER_END ||
        trampoline->traps_protected_offset + stubs_protected > bytes)
        return STATUS_INVALID;
    return STATUS_OK;
}

enum status trampoline_open_builtin(struct trampoline *trampoline)
{
    return trampoline_open(trampoline_blob, trampoline_blob_bytes, trampoline);
}

enum status trampoline_copy(const struct trampoline *trampoline, uint8_t *view)
{
    memset(view, PAGE_POISON, PAGE_BYTES);
    memcpy(view, trampoline->image, trampoline->bytes);
    trampoline_clear_marks(view);
    return memcmp(view, trampoline->image, trampoline->bytes) == 0 ? STATUS_OK : STATUS_INVALID;
}

// Real mode: offset and segment (SDM vol. 3B, "8086 Emulation"). Protected mode: an interrupt gate
// (vol. 3A, "IDT Descriptors").
static void fill_traps(const struct trampoline *trampoline, uint8_t *view, uint32_t page_phys)
{
    for (uint32_t vector = 0; vector < TRAP_VECTORS; vector++) {
        uint8_t *real = view + PAGE_TRAPS_REAL + 4 * vector;
        uint8_t *gate = view + PAGE_TRAPS_PROTECTED + 8 * vector;
        const uint32_t stub = page_phys + (uint32_t)trampoline->traps_protected_offset +
                              vector * TRAP_PROTECTED_BYTES;
        store(real, (uint32_t)trampoline->traps_real_offset + vector * TRAP_REAL_BYTES, 2);
        store(real + 2, page_phys >> 4, 2);
        store(gate, stub & 0xffff, 2);
        store(gate + 2, SELECTOR_CODE32, 2);
        store(gate + 4, GATE_INTERRUPT32, 2);
        store(gate + 6, stub >> 16, 2);
    }
}

// 1: CLI; HLT; JMP 1b.
static const uint8_t park[PARK_BYTES] = {0xfa, 0xf4, 0xeb, 0xfc};

enum status trampoline_patch(const struct trampoline *trampoline, uint8_t *view, uint32_t page_phys,
                             size_t *applied)
{
    *applied = 0;
    for (size_t i = 0; i < trampoline->patch_count; i++) {
        const struct patch patch = patch_at(trampoline, i);
        if (!patch_is_sound(trampoline, &patch, page_phys))
            return STATUS_INVALID;
        store(view + patch.offset, page_phys + (uint32_t)patch.target, patch.width);
        ++*applied;
    }
    fill_traps(trampoline, view, page_phys);
    memcpy(view + PAGE_PARK, park, sizeof park);
    return STATUS_OK;
}

void trampoline_close(uint8_t *view)
{
    memcpy(view, park, sizeof park);
}

void trampoline_set_parameters(const struct trampoline *trampoline, uint8_t *view,
                               const struct trampoline_parameters *parameters)
{
    memcpy(view + trampoline->parameters_offset, parameters, sizeof *parameters);
}

enum status trampoline_verify(const struct trampoline *trampoline, const uint8_t *view,
                              uint32_t page_phys, const struct trampoline_parameters *parameters,
                              size_t *offset)
{
    uint8_t expected[PAGE_FIXED_END];
    size_t applied;

    memset(expected, PAGE_POISON, sizeof expected);
    memcpy(expected, trampoline->image, trampoline->bytes);
    const enum status status = trampoline_patch(trampoline, expected, page_phys, &applied);
    trampoline_set_parameters(trampoline, expected, parameters);
    for (*offset = 0; *offset < sizeof expected; ++*offset) {
        if (view[*offset] != expected[*offset])
            return STATUS_INVALID;
    }
    return status;
}

// By eight bytes: each store into a page of code costs an emulator a search for what it has
// translated there.
static void clear_words(uint8_t *at, size_t bytes)
{
    volatile uint64_t *const words = (volatile uint64_t *)(void *)at;

    for (size_t i = 0; i < bytes / sizeof words[0]; i++)
        words[i] = 0;
}

void trampoline_clear_marks(uint8_t *view)
{
    _Static_assert(STAGE_NONE == 0, "a mark of nobody's is 0");
    clear_words(view + PAGE_MARKS, MARK_COUNT);
    clear_words(view + PAGE_CELLS, CELL_COUNT * CELL_BYTES);
}

void trampoline_set_mark(uint8_t *view, uint32_t apic_id, uint8_t mark)
{
    _Atomic uint8_t *at = (_Atomic uint8_t *)(view + PAGE_MARKS + (apic_id & (MARK_COUNT - 1)));
    atomic_store_explicit(at, mark, memory_order_relaxed);
}

uint8_t trampoline_mark(const uint8_t *view, uint32_t apic_id)
{
    const _Atomic uint8_t *at =
        (const _Atomic uint8_t *)(view + PAGE_MARKS + (apic_id & (MARK_COUNT - 1)));
    return atomic_load_explicit(at, memory_order_relaxed);
}

// The end of a trap's stack in the cell of this processor, where its mark's index stands.
static size_t cell_end(uint32_t apic_id)
{
    return PAGE_CELLS + ((apic_id & (CELL_COUNT - 1)) + 1) * CELL_BYTES - CELL_INDEX_BYTES;
}

static bool is_in_cell(const uint8_t *view, uint32_t apic_id)
{
    return load16(view + cell_end(apic_id)) == (apic_id & (MARK_COUNT - 1));
}

void trampoline_forget(uint8_t *view, uint32_t apic_id)
{
    trampoline_set_mark(view, apic_id, STAGE_NONE);
    if (is_in_cell(view, apic_id))
        memset(view + cell_end(apic_id) + CELL_INDEX_BYTES - CELL_BYTES, 0, CELL_BYTES);
}

// The vector whose stub's call pushed this return address.
static bool vector_of(uint32_t pushed, size_t stubs, size_t stub_bytes, uint32_t *vector)
{
    const uint32_t beyond = pushed - (uint32_t)stubs;
    *vector = beyond / (uint32_t)stub_bytes - 1;
    return beyond % stub_bytes == 0 && *vector < TRAP_VECTORS;
}

// The magic is the last word of a frame that is pushed, so that all others are there; they are read
// behind it, in the order in which they stand here.
static bool is_whole(size_t last, size_t magic)
{
    atomic_signal_fence(memory_order_acquire); // the processor keeps the order by itself
    return last == magic;
}

static bool real_trap_at(const struct trampoline *trampoline, uint32_t page_phys,
                         const uint8_t *top, struct trap *trap)
{
    if (!is_whole(load16(top - REAL_MAGIC), TRAP_MAGIC_REAL))
        return false;
    *trap =
        (struct trap){.mode = STAGE_REAL, .ip_phys = page_phys + (uint32_t)load16(top - REAL_IP)};
    return vector_of((uint32_t)load16(top - REAL_STUB), trampoline->traps_real_offset,
                     TRAP_REAL_BYTES, &trap->vector);
}

bool trampoline_trap_at(const struct trampoline *trampoline, uint32_t page_phys, const uint8_t *top,
                        struct trap *trap)
{
    const size_t stubs = page_phys + trampoline->traps_protected_offset;
    size_t code_bytes = 0;

    if (!is_whole(load32(top - PROTECTED_MAGIC), TRAP_MAGIC_PROTECTED)) {
        code_bytes = 4;
        if (!is_whole(load32(top - PROTECTED_MAGIC - code_bytes), TRAP_MAGIC_PROTECTED))
            return false;
    }
    *trap = (struct trap){
        .mode = STAGE_PROTECTED,
        .ip_phys = load32(top - PROTECTED_IP),
        .error = code_bytes != 0 ? load32(top - PROTECTED_STUB) : 0,
    };
    return vector_of(load32(top - PROTECTED_STUB - code_bytes), stubs, TRAP_PROTECTED_BYTES,
                     &trap->vector);
}

bool trampoline_trap_in_cell(const struct trampoline *trampoline, const uint8_t *view,
                             uint32_t page_phys, uint32_t apic_id, struct trap *trap)
{
    const uint8_t *end = view + cell_end(apic_id);

    return is_in_cell(view, apic_id) && (real_trap_at(trampoline, page_phys, end, trap) ||
                                         trampoline_trap_at(trampoline, page_phys, end, trap));
}
