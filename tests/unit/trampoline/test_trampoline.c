// The copier on the image that is built in, and on images made here whose every field lies. The
// relocation table is read a second time, by this file, and each page is compared byte by byte.
// Surprise: images and pages are allocations of exactly their size, so that AddressSanitizer sees
// one byte too far.
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "handoff.h"
#include "page.h"
#include "trampoline.h"

static const uint32_t pages[] = {0x1000, 0x8000, 0x9f000};

#define PAGES (sizeof pages / sizeof pages[0])

static uint64_t random_state;

// xorshift64: the same numbers in every run.
static uint64_t random_below(uint64_t limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % limit;
}

static uint32_t load(const uint8_t *at, size_t bytes)
{
    uint32_t value = 0;
    memcpy(&value, at, bytes);
    return value;
}

static void store(uint8_t *at, uint32_t value, size_t bytes)
{
    memcpy(at, &value, bytes);
}

static uint8_t *exact_copy(const uint8_t *bytes, size_t count)
{
    uint8_t *copy = malloc(count);
    assert_non_null(copy);
    memcpy(copy, bytes, count);
    return copy;
}

static uint8_t *new_page(void)
{
    uint8_t *page = malloc(PAGE_BYTES);
    assert_non_null(page);
    memset(page, 0xa5, PAGE_BYTES);
    return page;
}

static void assert_filled(const uint8_t *bytes, size_t first, size_t end, uint8_t value)
{
    for (size_t i = first; i < end; i++)
        assert_int_equal(bytes[i], value);
}

static struct trampoline_parameters some_parameters(void)
{
    struct trampoline_parameters parameters;
    for (size_t i = 0; i < sizeof parameters; i++)
        ((uint8_t *)&parameters)[i] = (uint8_t)(0x40 + i);
    return parameters;
}

// ---- the built-in image ----

static struct trampoline builtin(void)
{
    struct trampoline trampoline;
    assert_int_equal(trampoline_open_builtin(&trampoline), STATUS_OK);
    return trampoline;
}

static void test_copy(void **state)
{
    (void)state;
    const struct trampoline trampoline = builtin();
    uint8_t *page = new_page();

    assert_int_equal(trampoline_copy(&trampoline, page), STATUS_OK);
    assert_memory_equal(page, trampoline.image, trampoline.bytes);
    assert_filled(page, trampoline.bytes, PAGE_MARKS, PAGE_POISON);
    assert_filled(page, PAGE_MARKS, PAGE_MARKS + MARK_COUNT, STAGE_NONE);
    free(page);
}

// The table, entry by entry: each place held the target's offset, as assembled for page 0, and
// holds page + target. Each is inside the image, and none overlaps another, the header or the
// table.
static void test_patched_places(void **state)
{
    (void)state;
    const struct trampoline trampoline = builtin();

    assert_true(trampoline.patch_count > 0);
    for (size_t i = 0; i < PAGES; i++) {
        uint8_t *page = new_page(), *expected = new_page();
        bool patched[PAGE_IMAGE_LIMIT] = {false};
        size_t applied = 0;

        assert_int_equal(trampoline_copy(&trampoline, page), STATUS_OK);
        memcpy(expected, page, PAGE_BYTES);
        for (size_t entry = 0; entry < trampoline.patch_count; entry++) {
            const uint8_t *at = trampoline.image + trampoline.patches_offset + entry * PATCH_BYTES;
            const uint32_t offset = load(at + PATCH_OFFSET, 2), width = load(at + PATCH_WIDTH, 2);
            const uint32_t target = load(at + PATCH_TARGET, 2);

            assert_true(width == 2 || width == 4);
            assert_true(offset >= IMAGE_HEADER_END);
            assert_true(offset + width <= trampoline.patches_offset);
            assert_int_equal(load(trampoline.image + offset, width), target);
            for (size_t byte = offset; byte < offset + width; byte++) {
                assert_false(patched[byte]);
                patched[byte] = true;
            }
            store(expected + offset, pages[i] + target, width);
        }
        assert_int_equal(trampoline_patch(&trampoline, page, pages[i], &applied), STATUS_OK);
        assert_int_equal(applied, trampoline.patch_count);
        assert_memory_equal(page, expected, PAGE_IMAGE_LIMIT);
        assert_memory_equal(page + PAGE_FIXED_END, expected + PAGE_FIXED_END,
                            PAGE_BYTES - PAGE_FIXED_END);
        assert_filled(page, trampoline.bytes, PAGE_IMAGE_LIMIT, PAGE_POISON);
        free(page);
        free(expected);
    }
}

// Each vector leads to its own stub, in both modes, and each stub is a near call to the same place.
static void test_trap_tables(void **state)
{
    (void)state;
    const struct trampoline trampoline = builtin();
    for (size_t i = 0; i < PAGES; i++) {
        uint8_t *page = new_page();
        uint32_t common_real = 0, common_protected = 0;
        size_t applied;

        assert_int_equal(trampoline_copy(&trampoline, page), STATUS_OK);
        assert_int_equal(trampoline_patch(&trampoline, page, pages[i], &applied), STATUS_OK);
        for (uint32_t vector = 0; vector < TRAP_VECTORS; vector++) {
            const uint8_t *real = page + PAGE_TRAPS_REAL + 4 * vector;
            const uint8_t *gate = page + PAGE_TRAPS_PROTECTED + 8 * vector;
            // SDM vol. 3A, "IDT Descriptors": present, DPL 0, 32-bit interrupt gate.
            assert_int_equal(load(gate + 2, 2), SELECTOR_CODE32);
            assert_int_equal(load(gate + 4, 2), 0x8e00);

            uint32_t stub = load(real, 2) + (load(real + 2, 2) << 4) - pages[i];
            assert_int_equal(load(real + 2, 2) << 4, pages[i]);
            assert_in_range(stub, IMAGE_HEADER_END, trampoline.bytes - TRAP_REAL_BYTES);
            assert_int_equal(page[stub], 0xe8);
            uint32_t called = (stub + 3 + load(page + stub + 1, 2)) & 0xffff;
            assert_int_equal(called, vector == 0 ? called : common_real);
            common_real = called;

            stub = (load(gate, 2) | load(gate + 6, 2) << 16) - pages[i];
            assert_in_range(stub, IMAGE_HEADER_END, trampoline.bytes - TRAP_PROTECTED_BYTES);
            assert_int_equal(page[stub], 0xe8);
            called = stub + 5 + load(page + stub + 1, 4);
            assert_int_equal(called, vector == 0 ? called : common_protected);
            common_protected = called;
        }
        assert_true(common_real < trampoline.bytes && common_protected < trampoline.bytes);
        free(page);
    }
}

static void test_parameters(void **state)
{
    (void)state;
    const struct trampoline trampoline = builtin();
    const struct trampoline_parameters parameters = some_parameters();
    const size_t end = trampoline.parameters_offset + sizeof parameters;
    uint8_t *page = new_page();

    trampoline_set_parameters(&trampoline, page, &parameters);
    assert_filled(page, 0, trampoline.parameters_offset, 0xa5);
    assert_memory_equal(page + trampoline.parameters_offset, &parameters, sizeof parameters);
    assert_filled(page, end, PAGE_BYTES, 0xa5);
    free(page);
}

// One bit wrong anywhere, up to where processors write: found, and named.
static void test_verify(void **state)
{
    (void)state;
    const struct trampoline trampoline = builtin();
    const struct trampoline_parameters parameters = some_parameters();
    uint8_t *page = new_page();
    size_t applied, offset = SIZE_MAX;

    assert_int_equal(trampoline_copy(&trampoline, page), STATUS_OK);
    assert_int_equal(trampoline_patch(&trampoline, page, 0x9f000, &applied), STATUS_OK);
    trampoline_set_parameters(&trampoline, page, &parameters);
    assert_int_equal(trampoline_verify(&trampoline, page, 0x9f000, &parameters, &offset),
                     STATUS_OK);
    for (size_t at = 0; at < PAGE_FIXED_END; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            page[at] ^= (uint8_t)(1u << bit);
            assert_int_equal(trampoline_verify(&trampoline, page, 0x9f000, &parameters, &offset),
                             STATUS_INVALID);
            assert_int_equal(offset, at);
            page[at] ^= (uint8_t)(1u << bit);
        }
    }
    // Patched for another page, or with other parameters.
    assert_int_equal(trampoline_verify(&trampoline, page, 0x9e000, &parameters, &offset),
                     STATUS_INVALID);
    struct trampoline_parameters other = parameters;
    other.lcpus++;
    assert_int_equal(trampoline_verify(&trampoline, page, 0x9f000, &other, &offset),
                     STATUS_INVALID);
    assert_in_range(offset, trampoline.parameters_offset,
                    trampoline.parameters_offset + sizeof other - 1);
    // What processors leave behind is no difference.
    memset(page + PAGE_MARKS, 0x77, PAGE_BYTES - PAGE_MARKS);
    assert_int_equal(trampoline_verify(&trampoline, page, 0x9f000, &parameters, &offset),
                     STATUS_OK);
    free(page);
}

// ---- images made here ----

#define MADE_PATCHES    0x20u
#define MADE_COUNT      3u
#define MADE_PARAMETERS 0x40u
#define MADE_TRAPS      0x80u
#define MADE_BYTES      0x200u

// A sound image: three entries of four bytes each, at 0x1e0, 0x1e8 and 0x1f0.
static void make_image(uint8_t *image)
{
    memset(image, 0x90, MADE_BYTES);
    store(image + IMAGE_MAGIC_OFFSET, IMAGE_MAGIC, 4);
    store(image + IMAGE_BYTES_OFFSET, MADE_BYTES, 2);
    store(image + IMAGE_PATCHES_OFFSET, MADE_PATCHES, 2);
    store(image + IMAGE_PATCH_COUNT, MADE_COUNT, 2);
    store(image + IMAGE_PARAMETERS_OFFSET, MADE_PARAMETERS, 2);
    store(image + IMAGE_TRAPS_REAL, MADE_TRAPS, 2);
    store(image + IMAGE_TRAPS_PROTECTED, MADE_TRAPS + TRAP_VECTORS * TRAP_REAL_BYTES, 2);
    for (uint32_t i = 0; i < MADE_COUNT; i++) {
        uint8_t *entry = image + MADE_PATCHES + i * PATCH_BYTES;
        store(entry + PATCH_OFFSET, 0x1e0 + 8 * i, 2);
        store(entry + PATCH_WIDTH, 4, 2);
        store(entry + PATCH_TARGET, 0x10 * i, 2);
    }
}

_Static_assert(sizeof(struct trampoline_parameters) <= MADE_TRAPS - MADE_PARAMETERS,
               "they overlap");

static enum status open_exact(const uint8_t *image, size_t bytes)
{
    struct trampoline trampoline;
    uint8_t *copy = exact_copy(image, bytes);
    const enum status status = trampoline_open(copy, bytes, &trampoline);
    free(copy);
    return status;
}

static void test_open_checks_the_size(void **state)
{
    (void)state;
    const struct trampoline trampoline = builtin();
    uint8_t grown[PAGE_IMAGE_LIMIT + 1] = {0};

    memcpy(grown, trampoline.image, trampoline.bytes);
    assert_int_equal(open_exact(grown, trampoline.bytes), STATUS_OK);
    for (size_t bytes = 0; bytes < trampoline.bytes; bytes++)
        assert_int_equal(open_exact(grown, bytes), STATUS_INVALID);
    assert_int_equal(open_exact(grown, trampoline.bytes + 1), STATUS_INVALID);
    store(grown + IMAGE_BYTES_OFFSET, PAGE_IMAGE_LIMIT, 2);
    assert_int_equal(open_exact(grown, PAGE_IMAGE_LIMIT), STATUS_OK);
    store(grown + IMAGE_BYTES_OFFSET, PAGE_IMAGE_LIMIT + 1, 2);
    assert_int_equal(open_exact(grown, PAGE_IMAGE_LIMIT + 1), STATUS_INVALID);
}

static void test_open_checks_the_header(void **state)
{
    static const struct {
        size_t field;
        uint32_t first, last; // values that hold; just outside, and far outside, they do not
    } fields[] = {
        {IMAGE_BYTES_OFFSET, MADE_BYTES, MADE_BYTES},
        {IMAGE_PATCHES_OFFSET, IMAGE_HEADER_END, MADE_BYTES - MADE_COUNT * PATCH_BYTES},
        {IMAGE_PATCH_COUNT, 0, (MADE_BYTES - MADE_PATCHES) / PATCH_BYTES},
        {IMAGE_PARAMETERS_OFFSET, IMAGE_HEADER_END,
         MADE_BYTES - sizeof(struct trampoline_parameters)},
        {IMAGE_TRAPS_REAL, IMAGE_HEADER_END, MADE_BYTES - TRAP_VECTORS * TRAP_REAL_BYTES},
        {IMAGE_TRAPS_PROTECTED, IMAGE_HEADER_END, MADE_BYTES - TRAP_VECTORS * TRAP_PROTECTED_BYTES},
    };
    uint8_t image[MADE_BYTES];

    (void)state;
    make_image(image);
    assert_int_equal(open_exact(image, MADE_BYTES), STATUS_OK);
    for (unsigned bit = 0; bit < 32; bit++) {
        make_image(image);
        store(image + IMAGE_MAGIC_OFFSET, IMAGE_MAGIC ^ 1u << bit, 4);
        assert_int_equal(open_exact(image, MADE_BYTES), STATUS_INVALID);
    }
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        make_image(image);
        store(image + fields[i].field, fields[i].last, 2);
        assert_int_equal(open_exact(image, MADE_BYTES), STATUS_OK);
        const uint32_t beyond[] = {fields[i].last + 1, MADE_BYTES + 1, 0x7fff, 0x8000, 0xffff};
        for (size_t j = 0; j < sizeof beyond / sizeof beyond[0]; j++) {
            store(image + fields[i].field, beyond[j], 2);
            assert_int_equal(open_exact(image, MADE_BYTES), STATUS_INVALID);
        }
        // Nothing begins inside the header.
        for (uint32_t value = 0; value < fields[i].first; value++) {
            store(image + fields[i].field, value, 2);
            assert_int_equal(open_exact(image, MADE_BYTES), STATUS_INVALID);
        }
    }
}

// ---- relocation tables made here ----

// Patches with one entry changed; says how many were applied and checks that no byte beside them
// moved.
static enum status patch_with(size_t entry, uint32_t offset, uint32_t width, uint32_t target,
                              uint32_t page_phys, size_t *applied)
{
    uint8_t made[MADE_BYTES];
    struct trampoline trampoline;
    uint8_t *page = new_page();

    make_image(made);
    uint8_t *at = made + MADE_PATCHES + entry * PATCH_BYTES;
    store(at + PATCH_OFFSET, offset, 2);
    store(at + PATCH_WIDTH, width, 2);
    store(at + PATCH_TARGET, target, 2);
    uint8_t *image = exact_copy(made, MADE_BYTES);
    assert_int_equal(trampoline_open(image, MADE_BYTES, &trampoline), STATUS_OK);
    assert_int_equal(trampoline_copy(&trampoline, page), STATUS_OK);
    const enum status status = trampoline_patch(&trampoline, page, page_phys, applied);
    if (status == STATUS_OK) {
        assert_int_equal(load(page + offset, width), page_phys + target);
        assert_memory_equal(page, image, offset < 0x1e0 ? offset : 0x1e0);
        assert_filled(page, MADE_BYTES, PAGE_IMAGE_LIMIT, PAGE_POISON);
        // Verified by the same table: the finished page is as it should be.
        const struct trampoline_parameters parameters = some_parameters();
        size_t difference;
        trampoline_set_parameters(&trampoline, page, &parameters);
        assert_int_equal(trampoline_verify(&trampoline, page, page_phys, &parameters, &difference),
                         STATUS_OK);
    }
    free(image);
    free(page);
    return status;
}

static void test_patch_widths(void **state)
{
    size_t applied;

    (void)state;
    assert_int_equal(patch_with(1, 0x1e8, 2, 0xfff, 0xf000, &applied), STATUS_OK); // 0xffff
    assert_int_equal(patch_with(1, 0x1e8, 2, 0, 0x1000, &applied), STATUS_OK);
    assert_int_equal(patch_with(1, 0x1e8, 4, 0xfff, 0x9f000, &applied), STATUS_OK);
    assert_int_equal(applied, MADE_COUNT);
    // A real-mode word cannot hold a page above 64 KiB.
    assert_int_equal(patch_with(1, 0x1e8, 2, 0, 0x10000, &applied), STATUS_INVALID);
    assert_int_equal(patch_with(1, 0x1e8, 2, 0xfff, 0x9f000, &applied), STATUS_INVALID);
    static const uint32_t unknown[] = {0, 1, 3, 5, 6, 8, 0x104, 0x200, 0x400, 0xffff};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        for (size_t entry = 0; entry < MADE_COUNT; entry++) {
            assert_int_equal(patch_with(entry, 0x1e8, unknown[i], 0, 0x8000, &applied),
                             STATUS_INVALID);
            assert_int_equal(applied, entry); // tells which one
        }
    }
}

static void test_patch_offsets(void **state)
{
    size_t applied;

    (void)state;
    for (uint32_t width = 2; width <= 4; width += 2) {
        assert_int_equal(patch_with(2, MADE_BYTES - width, width, 8, 0x8000, &applied), STATUS_OK);
        const uint32_t outside[] = {
            MADE_BYTES - width + 1, MADE_BYTES, PAGE_IMAGE_LIMIT, PAGE_MARKS,
            PAGE_BYTES - 2,         PAGE_BYTES, 0xfffc,           0xffff};
        for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++) {
            assert_int_equal(patch_with(2, outside[i], width, 8, 0x8000, &applied), STATUS_INVALID);
            assert_int_equal(applied, 2);
        }
    }
}

static void test_patch_targets(void **state)
{
    static const uint32_t outside[] = {PAGE_BYTES, PAGE_BYTES + 1, 0x8000, 0xffff};
    size_t applied;

    (void)state;
    assert_int_equal(patch_with(0, 0x1e0, 4, PAGE_BYTES - 1, 0x9f000, &applied), STATUS_OK);
    for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++) {
        assert_int_equal(patch_with(0, 0x1e0, 4, outside[i], 0x1000, &applied), STATUS_INVALID);
        assert_int_equal(applied, 0);
    }
}

// Images of random header and table: whatever is let through keeps to the page, which ASan watches.
static void test_random_images(void **state)
{
    size_t opened = 0, patched = 0;

    (void)state;
    random_state = 0x7472616d70ull;
    for (int round = 0; round < 20000; round++) {
        uint8_t made[MADE_BYTES];
        struct trampoline trampoline;
        size_t applied, offset;

        make_image(made);
        const size_t bytes = random_below(8) ? MADE_BYTES : random_below(MADE_BYTES + 1);
        if (bytes >= IMAGE_BYTES_OFFSET + 2)
            store(made + IMAGE_BYTES_OFFSET, (uint32_t)bytes, 2);
        for (uint64_t changes = random_below(4); changes-- > 0;) {
            const size_t at = 2 * random_below((MADE_PATCHES + MADE_COUNT * PATCH_BYTES) / 2);
            store(made + at, (uint32_t)random_below(random_below(2) ? 0x10000 : MADE_BYTES), 2);
        }
        uint8_t *image = exact_copy(made, bytes);
        uint8_t *page = new_page();
        if (trampoline_open(image, bytes, &trampoline) == STATUS_OK) {
            const struct trampoline_parameters parameters = some_parameters();
            opened++;
            assert_int_equal(trampoline_copy(&trampoline, page), STATUS_OK);
            const enum status status = trampoline_patch(&trampoline, page, 0x8000, &applied);
            patched += status == STATUS_OK;
            assert_true(applied <= trampoline.patch_count);
            trampoline_set_parameters(&trampoline, page, &parameters);
            assert_int_equal(trampoline_verify(&trampoline, page, 0x8000, &parameters, &offset),
                             status);
        }
        free(image);
        free(page);
    }
    // Both ways were tried often.
    assert_in_range(opened, 2000, 19000);
    assert_in_range(patched, 1000, opened - 500);
}

// ---- what processors leave ----

static void test_marks(void **state)
{
    static const uint32_t ids[] = {0, 1, 0xff, 0x106, 1023, 1024, 1025, UINT32_MAX - 1, UINT32_MAX};

    (void)state;
    uint8_t *page = new_page();
    trampoline_clear_marks(page);
    assert_filled(page, 0, PAGE_MARKS, 0xa5); // the image stays
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++)
        assert_int_equal(trampoline_mark(page, ids[i]), STAGE_NONE);
    assert_filled(page, PAGE_MARKS, PAGE_MARKS + MARK_COUNT, STAGE_NONE);

    // As the assembler addresses them: the ID's low bits, a byte each.
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        trampoline_clear_marks(page);
        page[PAGE_MARKS + ids[i] % MARK_COUNT] = STAGE_PROTECTED;
        assert_int_equal(trampoline_mark(page, ids[i]), STAGE_PROTECTED);
        assert_int_equal(trampoline_mark(page, ids[i] ^ 1), STAGE_NONE);
        trampoline_set_mark(page, ids[i] ^ 1, DEFECT_UD_REAL);
        assert_int_equal(page[PAGE_MARKS + (ids[i] ^ 1) % MARK_COUNT], DEFECT_UD_REAL);
        assert_int_equal(trampoline_mark(page, ids[i]), STAGE_PROTECTED);
    }
    free(page);
}

// A stack that is filled as a processor does it: from its end downwards.
struct stack {
    uint8_t *top;
};

static void push(struct stack *stack, uint32_t value, size_t bytes)
{
    stack->top -= bytes;
    store(stack->top, value, bytes);
}

static bool has_error_code(uint32_t vector)
{
    return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 ||
           vector == 29 || vector == 30;
}

// The processor's frame, the stub's call, and, if it came so far, the magic word (ap_start.S).
static void push_real_trap(struct stack *stack, const struct trampoline *trampoline,
                           uint32_t page_phys, uint32_t vector, uint32_t ip, bool whole)
{
    push(stack, 0x0002, 2); // FLAGS
    push(stack, page_phys >> 4, 2);
    push(stack, ip, 2);
    push(stack, (uint32_t)trampoline->traps_real_offset + (vector + 1) * TRAP_REAL_BYTES, 2);
    if (whole)
        push(stack, TRAP_MAGIC_REAL, 2);
}

static void push_protected_trap(struct stack *stack, const struct trampoline *trampoline,
                                uint32_t page_phys, uint32_t vector, uint32_t ip, bool whole)
{
    push(stack, 0x00010002, 4); // EFLAGS
    push(stack, SELECTOR_CODE32, 4);
    push(stack, ip, 4);
    if (has_error_code(vector))
        push(stack, 0xe0000 + vector, 4);
    push(stack,
         page_phys + (uint32_t)trampoline->traps_protected_offset +
             (vector + 1) * TRAP_PROTECTED_BYTES,
         4);
    if (whole)
        push(stack, TRAP_MAGIC_PROTECTED, 4);
}

static struct stack cell_of(uint8_t *page, uint32_t apic_id)
{
    struct stack stack = {page + PAGE_CELLS + (apic_id % CELL_COUNT + 1) * CELL_BYTES};
    push(&stack, apic_id % MARK_COUNT, 2);
    return stack;
}

static void test_traps_in_cells(void **state)
{
    static const uint32_t ids[] = {0, 1, 15, 16, 0xff, 0x106, 1023, 0x12345};

    (void)state;
    const struct trampoline trampoline = builtin();
    uint8_t *page = new_page();
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        const uint32_t id = ids[i], page_phys = pages[i % PAGES];
        for (uint32_t variant = 0; variant < 4 * TRAP_VECTORS; variant++) {
            const uint32_t vector = variant / 4;
            const bool real = variant & 1, whole = variant & 2;
            struct trap trap;
            trampoline_clear_marks(page);
            assert_false(trampoline_trap_in_cell(&trampoline, page, page_phys, id, &trap));
            struct stack stack = cell_of(page, id);
            if (real)
                push_real_trap(&stack, &trampoline, page_phys, vector, 0x123, whole);
            else
                push_protected_trap(&stack, &trampoline, page_phys, vector, page_phys + 0x123,
                                    whole);
            assert_int_equal(trampoline_trap_in_cell(&trampoline, page, page_phys, id, &trap),
                             whole);
            if (!whole)
                continue;
            assert_int_equal(trap.mode, real ? STAGE_REAL : STAGE_PROTECTED);
            assert_int_equal(trap.vector, vector);
            assert_int_equal(trap.ip_phys, page_phys + 0x123);
            assert_int_equal(trap.error, !real && has_error_code(vector) ? 0xe0000 + vector : 0);
            // Not taken for one of a neighbour, nor of another ID that shares the cell.
            assert_false(trampoline_trap_in_cell(&trampoline, page, page_phys, id ^ 1, &trap));
            assert_false(
                trampoline_trap_in_cell(&trampoline, page, page_phys, id ^ CELL_COUNT, &trap));
        }
    }
    free(page);
}

// What one processor left: its mark, and the cell if it is the last who was there.
static void test_one_is_forgotten(void **state)
{
    (void)state;
    uint8_t *page = new_page();
    trampoline_clear_marks(page);
    for (uint32_t id = 0; id < 2 * CELL_COUNT; id++)
        trampoline_set_mark(page, id, STAGE_REAL);
    struct stack stack = cell_of(page, 3);
    push(&stack, 0x12345678, 4);
    trampoline_forget(page, 3 + CELL_COUNT); // in the same cell
    trampoline_forget(page, 4);
    assert_int_equal(trampoline_mark(page, 3 + CELL_COUNT), STAGE_NONE);
    assert_int_equal(trampoline_mark(page, 4), STAGE_NONE);
    assert_int_equal(trampoline_mark(page, 3), STAGE_REAL);
    assert_int_equal(page[PAGE_CELLS + 4 * CELL_BYTES - 2], 3);
    trampoline_forget(page, 3);
    assert_filled(page, PAGE_CELLS, PAGE_CELLS + CELL_COUNT * CELL_BYTES, 0);
    for (uint32_t id = 0; id < 2 * CELL_COUNT; id++)
        assert_int_equal(trampoline_mark(page, id),
                         id == 3 || id == 4 || id == 3 + CELL_COUNT ? STAGE_NONE : STAGE_REAL);
    free(page);
}

static void test_trap_on_a_stack(void **state)
{
    (void)state;
    const struct trampoline trampoline = builtin();
    uint8_t *memory = malloc(64);
    struct trap trap;

    for (uint32_t vector = 0; vector < TRAP_VECTORS; vector++) {
        memset(memory, 0, 64);
        assert_false(trampoline_trap_at(&trampoline, 0x9f000, memory + 64, &trap));
        struct stack stack = {memory + 64};
        push_protected_trap(&stack, &trampoline, 0x9f000, vector, 0x9f0aa, true);
        assert_true(trampoline_trap_at(&trampoline, 0x9f000, memory + 64, &trap));
        assert_int_equal(trap.mode, STAGE_PROTECTED);
        assert_int_equal(trap.vector, vector);
        assert_int_equal(trap.error, has_error_code(vector) ? 0xe0000 + vector : 0);
        assert_int_equal(trap.ip_phys, 0x9f0aa);
        // A return address that is no stub's is no trap.
        stack.top[4]++;
        assert_false(trampoline_trap_at(&trampoline, 0x9f000, memory + 64, &trap));
        // Nor is one that is behind the last stub, or before the first.
        for (uint32_t beyond = 0; beyond < 2; beyond++) {
            const uint32_t stubs = 0x9f000 + (uint32_t)trampoline.traps_protected_offset;
            store(stack.top + 4, beyond ? stubs + (TRAP_VECTORS + 1) * TRAP_PROTECTED_BYTES : stubs,
                  4);
            assert_false(trampoline_trap_at(&trampoline, 0x9f000, memory + 64, &trap));
        }
    }
    free(memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copy),
        cmocka_unit_test(test_patched_places),
        cmocka_unit_test(test_trap_tables),
        cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_verify),
        cmocka_unit_test(test_open_checks_the_size),
        cmocka_unit_test(test_open_checks_the_header),
        cmocka_unit_test(test_patch_widths),
        cmocka_unit_test(test_patch_offsets),
        cmocka_unit_test(test_patch_targets),
        cmocka_unit_test(test_random_images),
        cmocka_unit_test(test_marks),
        cmocka_unit_test(test_traps_in_cells),
        cmocka_unit_test(test_one_is_forgotten),
        cmocka_unit_test(test_trap_on_a_stack),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
