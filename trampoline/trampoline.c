// The copier: poison, copy, patch, compare. Knows bytes and offsets, not processors.
// Surprise: nothing here knows what an operand means; the image brings the list of its own places.

#include "trampoline.h"

#include <stdbool.h>

#include "handoff.h"
#include "mem.h"
#include "page.h"

extern const uint8_t trampoline_blob[];
extern const uint64_t trampoline_blob_bytes;

_Static_assert(sizeof(struct trampoline_parameters) == 32, "eight labels in ap_start.S");

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
    const size_t header_end = IMAGE_PARAMETERS_OFFSET + 2;
    if (bytes < header_end || bytes > PAGE_IMAGE_LIMIT ||
        load32(image + IMAGE_MAGIC_OFFSET) != IMAGE_MAGIC ||
        load16(image + IMAGE_BYTES_OFFSET) != bytes)
        return STATUS_INVALID;

    *trampoline = (struct trampoline){
        .image = image,
        .bytes = bytes,
        .patches_offset = load16(image + IMAGE_PATCHES_OFFSET),
        .patch_count = load16(image + IMAGE_PATCH_COUNT),
        .parameters_offset = load16(image + IMAGE_PARAMETERS_OFFSET),
    };
    if (trampoline->patches_offset + trampoline->patch_count * PATCH_BYTES > bytes ||
        trampoline->parameters_offset < header_end ||
        trampoline->parameters_offset + sizeof(struct trampoline_parameters) > bytes)
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
    return STATUS_OK;
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
    uint8_t expected[PAGE_IMAGE_LIMIT];
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

void trampoline_clear_marks(uint8_t *view)
{
    memset(view + PAGE_MARKS, STAGE_NONE, MARK_COUNT);
}

uint8_t trampoline_mark(const uint8_t *view, uint32_t apic_id)
{
    const volatile uint8_t *mark = view + PAGE_MARKS + (apic_id & (MARK_COUNT - 1));
    return *mark;
}
