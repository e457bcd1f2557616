// Memory as firmware tells and gives it: the map with every lie that a map can hold, and the page
// below 1 MiB from firmware that gives a good one, a useless one, or none. Surprise:
// memory_take_low_page writes to the page it is given, so low memory is mapped for real
// (fake_map_low), and a page that the code must not touch is simply not there.
#include "fake_firmware.h"
#include "failing.h"
#include "fake_hw.h"
#include "told.h"

#define MIB        0x100000ull
#define GIB        0x40000000ull
#define DESCRIPTOR 48u

static struct told told;

static int set_up(void **state)
{
    (void)state;
    fake_reset();
    failures_fail_the_test();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_firmware_clear();
    return 0;
}

// ---- allocation ----

static void test_allocate(void **state)
{
    (void)state;
    const struct firmware firmware = fake_firmware_start(DESCRIPTOR);
    void *memory = memory_allocate(&firmware, 3);

    assert_non_null(memory);
    assert_string_equal(fake_story(), "a");
    assert_int_equal(fake_firmware.calls[0].how, AllocateMaxAddress);
    assert_int_equal(fake_firmware.calls[0].type, EfiLoaderData);
    assert_int_equal(fake_firmware.calls[0].pages, 3);
    assert_int_equal(fake_firmware.calls[0].asked, 4 * GIB - 1);
    memory_free(&firmware, memory, 3);
    memory_free(&firmware, NULL, 3);
    assert_string_equal(fake_story(), "af");
    assert_int_equal(fake_firmware.owned_count, 0);
    fake_firmware.refuse_high_from = 1;
    assert_null(memory_allocate(&firmware, 3));
}

// ---- reading the map ----

static void test_read_map_sizes(void **state)
{
    static const UINTN good[] = {40, 48, 56, 64, 128, 1024};
    // 0 would be a loop without end; 41 a descriptor that is not aligned.
    static const UINTN bad[] = {0, 1, 8, 39, 41, 44, 50, UINT64_MAX};

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct firmware firmware = fake_firmware_start(good[i]);
        fake_grow_map(33);
        assert_int_equal(memory_read_map(&firmware), STATUS_OK);
        assert_int_equal(firmware.descriptor_bytes, good[i]);
        assert_int_equal(firmware.map_bytes, 33 * good[i]);
        assert_int_equal(firmware.map_key, fake_firmware.key);
        assert_string_equal(fake_story(), "mam");
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct firmware firmware = fake_firmware_start(DESCRIPTOR);
        fake_grow_map(33);
        assert_int_equal(memory_read_map(&firmware), STATUS_OK);
        fake_firmware.lie_about_size = true;
        fake_firmware.lie_descriptor_bytes = bad[i];
        assert_int_equal(memory_read_map(&firmware), STATUS_INVALID);
        // What is left can be asked without harm, and holds nothing.
        assert_null(memory_view(&firmware, MIB, 1));
        assert_int_equal(fake_count(FAKE_ALLOCATE), 1);
    }
}

// The size is a lie from the first call on, when firmware also says how much it wants.
static void test_read_map_lies_at_once(void **state)
{
    static const UINTN lies[] = {0, 1, 39, 41, 1ull << 40, UINT64_MAX - 7, UINT64_MAX};

    (void)state;
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        struct firmware firmware = fake_firmware_start(DESCRIPTOR);
        fake_grow_map(33);
        fake_firmware.lie_about_size = true;
        fake_firmware.lie_descriptor_bytes = lies[i];
        assert_int_not_equal(memory_read_map(&firmware), STATUS_OK);
        assert_null(memory_view(&firmware, MIB, 1));
        assert_in_range(fake_firmware.call_count, 1, 16);
    }
}

// More bytes than the buffer has, with the word that all is well.
static void test_read_map_overrun(void **state)
{
    (void)state;
    struct firmware firmware = fake_firmware_start(DESCRIPTOR);
    fake_grow_map(20);
    fake_firmware.overrun = true;
    assert_int_equal(memory_read_map(&firmware), STATUS_INVALID);
    assert_null(memory_view(&firmware, MIB, 1));
}

static void test_read_map_grows(void **state)
{
    (void)state;
    // The allocation of the buffer adds more descriptors than the spare: the second buffer fits.
    struct firmware firmware = fake_firmware_start(DESCRIPTOR);
    fake_grow_map(20);
    fake_firmware.grow_at_allocate = 20;
    assert_int_equal(memory_read_map(&firmware), STATUS_OK);
    assert_int_equal(fake_firmware.owned_count, 1);
    assert_int_equal(firmware.map_bytes, fake_firmware.map_count * DESCRIPTOR);

    // A map that always wants more than was promised: bounded, one buffer owned, an empty map.
    firmware = fake_firmware_start(DESCRIPTOR);
    fake_firmware.grow_at_get = 1500;
    assert_int_equal(memory_read_map(&firmware), STATUS_NO_SPACE);
    assert_string_equal(fake_story(), "mamfamfamfa");
    assert_int_equal(fake_firmware.owned_count, 1);
    assert_int_equal(fake_firmware.owned[0].address, (uintptr_t)firmware.map);
    assert_int_equal(fake_firmware.owned[0].pages, firmware.map_capacity / PAGE_BYTES);
    assert_null(memory_view(&firmware, MIB, 1));
}

static void test_read_map_fails(void **state)
{
    (void)state;
    struct firmware firmware = fake_firmware_start(DESCRIPTOR);
    fake_firmware.map_status = EFI_DEVICE_ERROR;
    assert_int_equal(memory_read_map(&firmware), STATUS_INVALID);
    assert_string_equal(fake_story(), "m");

    // No memory for the first buffer, and none for a larger one: nothing is kept, nothing half
    // read.
    for (size_t from = 1; from <= 2; from++) {
        firmware = fake_firmware_start(DESCRIPTOR);
        fake_grow_map(20);
        fake_firmware.refuse_high_from = from;
        if (from == 2) {
            assert_int_equal(memory_read_map(&firmware), STATUS_OK);
            fake_grow_map(2000);
        }
        assert_int_equal(memory_read_map(&firmware), STATUS_NO_SPACE);
        assert_null(firmware.map);
        assert_int_equal(firmware.map_capacity, 0);
        assert_int_equal(fake_firmware.owned_count, 0);
        assert_null(memory_view(&firmware, MIB, 1));
    }
}

// ---- RAM ----

static struct firmware with_map(const EFI_MEMORY_DESCRIPTOR *descriptors, size_t count)
{
    struct firmware firmware = fake_firmware_start(DESCRIPTOR);
    for (size_t i = 0; i < count; i++)
        fake_add(descriptors[i].Type, descriptors[i].PhysicalStart, descriptors[i].NumberOfPages);
    assert_int_equal(memory_read_map(&firmware), STATUS_OK);
    return firmware;
}

#define AREA(type, start, pages)                                           \
    {                                                                      \
        .Type = (type), .PhysicalStart = (start), .NumberOfPages = (pages) \
    }
#define WITH_MAP(...)                                      \
    with_map((const EFI_MEMORY_DESCRIPTOR[]){__VA_ARGS__}, \
             sizeof((const EFI_MEMORY_DESCRIPTOR[]){__VA_ARGS__}) / sizeof(EFI_MEMORY_DESCRIPTOR))

static void assert_ram(struct firmware *firmware, const struct range *expected, size_t count)
{
    struct machine machine = {0};

    assert_int_equal(memory_collect_ram(firmware, &machine), STATUS_OK);
    assert_int_equal(machine.ram_count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(machine.ram[i].phys, expected[i].phys);
        assert_int_equal(machine.ram[i].bytes, expected[i].bytes);
    }
    assert_true(machine.ram_count * sizeof(struct range) <= machine.ram_pages * PAGE_BYTES);
    memory_free(firmware, machine.ram, machine.ram_pages);
}

#define ASSERT_RAM(firmware, ...)                             \
    assert_ram(firmware, (const struct range[]){__VA_ARGS__}, \
               sizeof((const struct range[]){__VA_ARGS__}) / sizeof(struct range))

static void test_ram_by_type(void **state)
{
    (void)state;
    for (uint32_t type = 0; type < 20; type++) {
        struct firmware firmware = WITH_MAP(AREA(type, MIB, 2));
        const bool memory = type == EfiLoaderCode || type == EfiLoaderData ||
                            type == EfiBootServicesCode || type == EfiBootServicesData ||
                            type == EfiRuntimeServicesCode || type == EfiRuntimeServicesData ||
                            type == EfiConventionalMemory || type == EfiACPIReclaimMemory ||
                            type == EfiACPIMemoryNVS;
        const struct range expected = {MIB, 2 * PAGE_BYTES};
        assert_ram(&firmware, &expected, memory);
    }
}

static void test_ram_merges(void **state)
{
    (void)state;
    struct firmware firmware =
        WITH_MAP(AREA(EfiConventionalMemory, 4 * GIB, 256), // out of order
                 AREA(EfiLoaderCode, MIB + 0x10000, 16),    // touches the next
                 AREA(EfiBootServicesData, MIB, 16), AREA(EfiConventionalMemory, 0, 160),
                 AREA(EfiReservedMemoryType, 0xa0000, 96),     // a hole
                 AREA(EfiConventionalMemory, MIB + 0x8000, 4), // inside another
                 AREA(EfiACPIMemoryNVS, 16 * MIB, 16),
                 AREA(EfiACPIReclaimMemory, 16 * MIB + 0x8000, 16)); // overlaps
    ASSERT_RAM(&firmware, {0, 0xa0000}, {MIB, 0x20000}, {16 * MIB, 0x18000}, {4 * GIB, MIB});
}

static void test_ram_hostile(void **state)
{
    (void)state;
    struct firmware firmware =
        WITH_MAP(AREA(EfiConventionalMemory, 2 * MIB, 0),            // nothing
                 AREA(EfiConventionalMemory, 3 * MIB + 0x10, 16),    // not on a page
                 AREA(EfiConventionalMemory, 4 * MIB, UINT64_MAX),   // wraps
                 AREA(EfiConventionalMemory, 5 * MIB, 1ull << 52),   // wraps to itself
                 AREA(EfiConventionalMemory, UINT64_MAX - 0xfff, 1), // ends where addresses do
                 AREA(EfiConventionalMemory, UINT64_MAX, 1),
                 AREA(EfiConventionalMemory, 6 * MIB, (1ull << 52) + 4), // wraps to a sound end
                 AREA(EfiConventionalMemory, MIB, 1));
    ASSERT_RAM(&firmware, {MIB, PAGE_BYTES});

    // The largest that does not wrap is left to those who know how wide an address is.
    firmware = WITH_MAP(AREA(EfiConventionalMemory, MIB, (1ull << 52) - 257));
    ASSERT_RAM(&firmware, {MIB, 0ull - MIB - PAGE_BYTES});

    // Bytes behind the last whole descriptor are not read.
    firmware = WITH_MAP(AREA(EfiConventionalMemory, MIB, 1));
    fake_firmware.extra_bytes = DESCRIPTOR - 1;
    ASSERT_RAM(&firmware, {MIB, PAGE_BYTES});

    firmware = fake_firmware_start(DESCRIPTOR);
    assert_ram(&firmware, NULL, 0);
}

static uint64_t random_state;

// xorshift64: the same numbers in every run.
static uint64_t random_below(uint64_t limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % limit;
}

// Random maps against a model of one byte for each page.
static void test_ram_random(void **state)
{
    enum { PAGES = 300 };

    (void)state;
    random_state = 0x6d656d6f7279ull;
    for (int round = 0; round < 200; round++) {
        struct firmware firmware = fake_firmware_start(DESCRIPTOR);
        struct range expected[PAGES];
        uint8_t model[PAGES + 1] = {0};
        size_t count = 0;

        for (uint64_t areas = random_below(60); areas-- > 0;) {
            const uint64_t first = random_below(PAGES), pages = random_below(PAGES - first);
            const bool memory = random_below(4) != 0;
            fake_add(memory ? EfiConventionalMemory : EfiMemoryMappedIO, first * PAGE_BYTES,
                     round % 2 ? pages : pages % 8);
            for (uint64_t i = 0; memory && i < (round % 2 ? pages : pages % 8); i++)
                model[first + i] = 1;
        }
        for (uint64_t at = 0; at < PAGES; at++) {
            if (!model[at])
                continue;
            const uint64_t first = at;
            while (model[at])
                at++;
            expected[count++] = (struct range){first * PAGE_BYTES, (at - first) * PAGE_BYTES};
        }
        assert_ram(&firmware, expected, count);
    }
}

static void test_ram_without_memory(void **state)
{
    struct machine machine = {0};

    (void)state;
    struct firmware firmware = WITH_MAP(AREA(EfiConventionalMemory, MIB, 1));
    fake_firmware.refuse_high_from = 1;
    assert_int_equal(memory_collect_ram(&firmware, &machine), STATUS_NO_SPACE);
    assert_null(machine.ram);
    fake_firmware.map_status = EFI_DEVICE_ERROR;
    assert_int_equal(memory_collect_ram(&firmware, &machine), STATUS_INVALID);
}

// ---- what can be read ----

static bool readable(const struct firmware *firmware, uint64_t address, uint64_t bytes)
{
    const void *view = memory_view(firmware, address, bytes);
    assert_true(view == NULL || view == (const void *)(uintptr_t)address);
    return view != NULL;
}

// Firmware may have closed what nobody has allocated: a table that is said to lie there is none.
static void test_view_of_free_memory(void **state)
{
    (void)state;
    const struct firmware firmware = WITH_MAP(AREA(EfiACPIReclaimMemory, 16 * MIB, 1),
                                              AREA(EfiConventionalMemory, 16 * MIB + 0x1000, 1),
                                              AREA(EfiACPIReclaimMemory, 16 * MIB + 0x2000, 1));

    assert_true(readable(&firmware, 16 * MIB, PAGE_BYTES));
    assert_false(readable(&firmware, 16 * MIB, PAGE_BYTES + 1));
    assert_false(readable(&firmware, 16 * MIB + 0x1000, 1));
    assert_false(readable(&firmware, 16 * MIB, 0x3000));
    assert_true(readable(&firmware, 16 * MIB + 0x2000, PAGE_BYTES));
}

static void test_view(void **state)
{
    (void)state;
    const struct firmware firmware = WITH_MAP(
        AREA(EfiACPIReclaimMemory, 17 * MIB, 256), // straddled backwards: listed first
        AREA(EfiLoaderData, 0, 160), AREA(EfiBootServicesData, 16 * MIB, 256), //
        AREA(EfiReservedMemoryType, 18 * MIB, 1), // tables may lie in it
        AREA(EfiMemoryMappedIO, 18 * MIB + 0x1000, 1), AREA(EfiLoaderData, 18 * MIB + 0x2000, 1),
        AREA(EfiLoaderData, 20 * MIB + 8, 16), // not on a page
        AREA(EfiLoaderData, 24 * MIB, UINT64_MAX));
    const uint64_t end = 18 * MIB + 0x1000; // of the run 16 MiB, 17 MiB, 18 MiB

    assert_true(readable(&firmware, 16 * MIB, 1));
    assert_true(readable(&firmware, 16 * MIB, end - 16 * MIB));
    assert_false(readable(&firmware, 16 * MIB, end - 16 * MIB + 1));
    assert_false(readable(&firmware, 16 * MIB - 1, 2));
    assert_true(readable(&firmware, 17 * MIB - 1, 2));
    assert_true(readable(&firmware, 17 * MIB - 3, 8)); // no alignment is promised
    assert_true(readable(&firmware, end - 1, 1));
    assert_false(readable(&firmware, end - 1, 2));
    assert_false(readable(&firmware, end, 1));
    assert_false(readable(&firmware, end - 1, 0x1002)); // memory on both sides of a hole
    assert_true(readable(&firmware, end + 0x1000, PAGE_BYTES));
    assert_false(readable(&firmware, end + 0x1000, PAGE_BYTES + 1));
    assert_false(readable(&firmware, 20 * MIB + 8, 1));
    assert_false(readable(&firmware, 24 * MIB, 1));
    assert_false(readable(&firmware, 8 * MIB, 1));
}

static void test_view_edges(void **state)
{
    (void)state;
    const struct firmware firmware = WITH_MAP(AREA(EfiLoaderData, 0, 160));

    assert_false(readable(&firmware, 0, 1)); // a null pointer is no table
    assert_true(readable(&firmware, 1, 1));
    assert_true(readable(&firmware, 0x9ffff, 1));
    assert_false(readable(&firmware, 0x9ffff, 2));
    assert_false(readable(&firmware, 1, UINT64_MAX));
    assert_false(readable(&firmware, UINT64_MAX, 1));
    assert_false(readable(&firmware, UINT64_MAX, 2));
    assert_false(readable(&firmware, UINT64_MAX - 10, 10));
    assert_false(readable(&firmware, 1ull << 63, 1ull << 63));

    // The BIOS area, where old tables lie and which maps leave out.
    assert_true(readable(&firmware, 0xe0000, 0x20000));
    assert_true(readable(&firmware, 0xfffff, 1));
    assert_false(readable(&firmware, 0xfffff, 2));
    assert_false(readable(&firmware, 0xdffff, 2));
    assert_false(readable(&firmware, 0xe0000, 0x20001));
    assert_false(readable(&firmware, 0xa0000, 1));
}

// ---- is it memory? ----

static void test_writable(void **state)
{
    const uint64_t page = 0x50000;
    uint8_t *bytes = (uint8_t *)(uintptr_t)page;

    (void)state;
    (void)fake_firmware_start(DESCRIPTOR);
    fake_map_low(page, 1);
    for (size_t i = 0; i < PAGE_BYTES; i++)
        bytes[i] = (uint8_t)(i * 7 + 1);
    assert_true(memory_is_writable(page));
    for (size_t i = 0; i < PAGE_BYTES; i++)
        assert_int_equal(bytes[i], (uint8_t)(i * 7 + 1));
}

// A byte that keeps its value is found at either end of the page, whatever the value: each bit is
// tried both ways.
static void test_not_writable(void **state)
{
    static const uint8_t values[] = {0x00, 0xff, 0x55, 0xaa, 0x54};
    static const size_t places[] = {0, PAGE_BYTES - 1};

    (void)state;
    for (size_t value = 0; value < sizeof values; value++) {
        for (size_t place = 0; place < 2; place++) {
            (void)fake_firmware_start(DESCRIPTOR);
            fake_map_low(0x50000, 1);
            memset((void *)(uintptr_t)0x50000, values[value], PAGE_BYTES);
            fake_keep_bytes(0x50000, places[place], places[place] + 1);
            assert_false(memory_is_writable(0x50000));
        }
    }
}

// No memory behind the cache: what was written is there until the line is flushed.
static void forget(const void *memory, uint64_t bytes)
{
    assert_int_equal(bytes, 1);
    *(uint8_t *)(uintptr_t)memory = 0xff; // as an open bus reads
}

static void test_a_cache_without_memory(void **state)
{
    (void)state;
    (void)fake_firmware_start(DESCRIPTOR);
    fake_map_low(0x50000, 1);
    fake_on_flush(forget);
    assert_false(memory_is_writable(0x50000));
    fake_on_flush(NULL);
    assert_true(memory_is_writable(0x50000));
}

// ---- the low page ----

// Takes a page, and says how it ended.
struct taken {
    enum status status;
    uint32_t page, after_exit;
};

static struct taken take(struct firmware *firmware)
{
    const struct problems problems = told_listen(&told);
    struct taken taken = {.page = 0xdead, .after_exit = 0xbeef};

    taken.status = memory_take_low_page(firmware, &problems, &taken.page, &taken.after_exit);
    return taken;
}

static void assert_taken(struct firmware *firmware, uint32_t page)
{
    const struct taken taken = take(firmware);

    assert_int_equal(taken.status, STATUS_OK);
    assert_int_equal(taken.page, page);
    assert_int_equal(taken.after_exit, 0);
    assert_int_equal(told.count, 0);
    // Of all pages below 1 MiB, this one is ours and no other.
    size_t low = 0;
    for (size_t i = 0; i < fake_firmware.owned_count; i++)
        low += !fake_firmware.owned[i].high;
    assert_int_equal(low, 1);
    assert_true(fake_owns(page));
}

static void answer_low(uint64_t page)
{
    fake_firmware.low[fake_firmware.low_count++] = page;
}

static void test_low_first_answer(void **state)
{
    (void)state;
    struct firmware firmware = WITH_MAP(AREA(EfiConventionalMemory, 0, 160));
    fake_map_low(0x9f000, 1);
    answer_low(0x9f000);
    fake_firmware.call_count = 0;
    assert_taken(&firmware, 0x9f000);
    assert_string_equal(fake_story(), "a");
    assert_int_equal(fake_firmware.calls[0].how, AllocateMaxAddress);
    // Code: on firmware that is strict about it, data could not be executed.
    assert_int_equal(fake_firmware.calls[0].type, EfiLoaderCode);
    assert_int_equal(fake_firmware.calls[0].pages, 1);
    // The limit is the last byte that may belong to the page: nothing in 0xA0000-0xFFFFF.
    assert_true(fake_firmware.calls[0].asked >= 0x9f000 && fake_firmware.calls[0].asked < 0xa0000);
}

// Page 0 is not there: touching it would end the test. It is kept until another has come, else the
// same page would come again, and given back then.
static void test_low_page_zero(void **state)
{
    (void)state;
    struct firmware firmware = WITH_MAP(AREA(EfiConventionalMemory, 0, 160));
    fake_map_low(0x50000, 1);
    answer_low(0);
    answer_low(0x50000);
    fake_firmware.call_count = 0;
    assert_taken(&firmware, 0x50000);
    assert_string_equal(fake_story(), "aaf");
    assert_int_equal(fake_firmware.calls[2].address, 0);
}

static void test_low_not_writable(void **state)
{
    (void)state;
    struct firmware firmware = WITH_MAP(AREA(EfiConventionalMemory, 0, 160));
    fake_map_low(0x9e000, 2);
    fake_map_low(0x60000, 1);
    fake_keep_bytes(0x9f000, 0, PAGE_BYTES);
    fake_keep_bytes(0x9e000, PAGE_BYTES - 1, PAGE_BYTES);
    answer_low(0x9f000);
    answer_low(0x9e000);
    answer_low(0x60000);
    fake_firmware.call_count = 0;
    assert_taken(&firmware, 0x60000);
    assert_string_equal(fake_story(), "aaaff");
}

// Firmware that does not keep to the limit: what it gives is not touched, and given back.
static void test_low_answers_too_high(void **state)
{
    static const uint64_t high[] = {0xa0000, 0xb8000,  0xc0000,          0xbf000,
                                    0xff000, 0x100000, 4 * GIB + 0x9f000};

    (void)state;
    struct firmware firmware = WITH_MAP(AREA(EfiConventionalMemory, 0, 160));
    for (size_t i = 0; i < sizeof high / sizeof high[0]; i++)
        answer_low(high[i]);
    fake_map_low(0x70000, 1);
    answer_low(0x70000);
    assert_taken(&firmware, 0x70000);
}

// Nothing but useless answers: bounded, and every one of them given back.
static void test_low_answers_bounded(void **state)
{
    (void)state;
    struct firmware firmware = WITH_MAP(AREA(EfiMemoryMappedIO, 0xa0000, 32));
    for (size_t i = 0; i < FAKE_ANSWERS; i++)
        answer_low(0xa0000 + i * PAGE_BYTES);
    assert_int_equal(take(&firmware).status, STATUS_NOT_FOUND);
    assert_in_range(fake_firmware.low_next, 4, 32);
    assert_int_equal(fake_firmware.owned_count, 1); // the map's buffer
}

// AllocateMaxAddress fails although the map has free pages: they are asked for by address, the
// highest of a descriptor first.
static void test_low_walk(void **state)
{
    (void)state;
    struct firmware firmware =
        WITH_MAP(AREA(EfiReservedMemoryType, 0x90000, 16), AREA(EfiBootServicesData, 0x80000, 16),
                 AREA(EfiConventionalMemory, 0x40000, 4), AREA(EfiConventionalMemory, MIB, 256));
    fake_map_low(0x43000, 1);
    assert_taken(&firmware, 0x43000);
    const struct fake_call *last = &fake_firmware.calls[fake_firmware.call_count - 1];
    assert_int_equal(last->how, AllocateAddress);
    assert_int_equal(last->type, EfiLoaderCode);
}

// Some of them cannot be had, and some are not memory after all.
static void test_low_walk_goes_on(void **state)
{
    (void)state;
    struct firmware firmware =
        WITH_MAP(AREA(EfiConventionalMemory, 0x50000, 2), AREA(EfiConventionalMemory, 0x40000, 4));
    fake_firmware.taken[fake_firmware.taken_count++] = 0x51000;
    fake_firmware.taken[fake_firmware.taken_count++] = 0x50000;
    fake_map_low(0x41000, 3);
    fake_keep_bytes(0x43000, 0, PAGE_BYTES);
    fake_keep_bytes(0x42000, 0, PAGE_BYTES);
    assert_taken(&firmware, 0x41000);
}

// A descriptor that reaches into the VGA window, or far beyond 1 MiB, is cut at 640 KiB; one that
// is whole above it is passed over.
static void test_low_walk_stops_at_640k(void **state)
{
    (void)state;
    struct firmware firmware = WITH_MAP(AREA(EfiConventionalMemory, 0xa0000, 96),
                                        AREA(EfiConventionalMemory, 0x9e000, 0x10000));
    fake_map_low(0x9f000, 1);
    assert_taken(&firmware, 0x9f000);
    for (size_t i = 0; i < fake_firmware.call_count; i++) {
        const struct fake_call *call = &fake_firmware.calls[i];
        assert_false(call->how == AllocateAddress && call->asked >= 0xa0000);
    }
}

// Page 0 is no page, even if it is the last one.
static void test_low_walk_stops_at_page_zero(void **state)
{
    (void)state;
    struct firmware firmware =
        WITH_MAP(AREA(EfiBootServicesData, 0, 1), AREA(EfiBootServicesCode, 0, 1));
    assert_int_equal(take(&firmware).status, STATUS_NOT_FOUND);
    firmware = WITH_MAP(AREA(EfiConventionalMemory, 0, 1));
    assert_int_equal(take(&firmware).status, STATUS_NOT_FOUND);
    for (size_t i = 0; i < fake_firmware.call_count; i++)
        assert_false(fake_firmware.calls[i].service == FAKE_ALLOCATE &&
                     fake_firmware.calls[i].how == AllocateAddress);
    // Page 1 is one.
    firmware = WITH_MAP(AREA(EfiBootServicesData, 0, 2));
    assert_int_equal(take(&firmware).after_exit, PAGE_BYTES);
}

// Only boot services' pages: one is promised for after the exit, and neither asked for nor touched
// before.
static void test_low_after_exit(void **state)
{
    static const EFI_MEMORY_TYPE types[] = {EfiBootServicesData, EfiBootServicesCode};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct firmware firmware =
            WITH_MAP(AREA(EfiReservedMemoryType, 0, 1), AREA(EfiRuntimeServicesData, 0x1000, 15),
                     AREA(types[i], 0x10000, 16), AREA(EfiLoaderData, 0x20000, 16),
                     AREA(EfiBootServicesData, 16 * MIB, 16));
        const struct taken taken = take(&firmware);
        assert_int_equal(taken.status, STATUS_OK);
        assert_int_equal(taken.page, 0);
        assert_int_equal(taken.after_exit, 0x1f000);
        assert_int_equal(told.count, 0);
        assert_int_equal(fake_firmware.owned_count, 1); // the map's buffer
    }
}

// A free page is better than one of boot services, wherever it stands in the map.
static void test_low_prefers_free(void **state)
{
    (void)state;
    struct firmware firmware =
        WITH_MAP(AREA(EfiBootServicesData, 0x80000, 16), AREA(EfiBootServicesCode, 0x70000, 16),
                 AREA(EfiConventionalMemory, 0x60000, 1));
    fake_map_low(0x60000, 1);
    assert_taken(&firmware, 0x60000);
}

// Nothing at all: every descriptor below 1 MiB is told, and no other.
static void test_low_nothing(void **state)
{
    (void)state;
    struct firmware firmware = WITH_MAP(
        AREA(EfiReservedMemoryType, 0, 1), AREA(EfiRuntimeServicesData, 0x1000, 143),
        AREA(EfiACPIMemoryNVS, 0x90000, 16), AREA(EfiMemoryMappedIO, 0xa0000, 32),
        AREA(EfiConventionalMemory, 0xc0000, 64), AREA(EfiConventionalMemory, MIB, 256),
        AREA(EfiConventionalMemory, 0x8001, 1), AREA(EfiConventionalMemory, 0x8000, UINT64_MAX));
    const struct taken taken = take(&firmware);

    assert_int_equal(taken.status, STATUS_NOT_FOUND);
    assert_int_equal(taken.page, 0);
    assert_int_equal(taken.after_exit, 0);
    assert_int_equal(told_times(&told, "no-low-page", ""), 1);
    assert_int_equal(told_times(&told, "low-memory", ""), 7);
    assert_int_equal(told.count, 8);
    assert_int_equal(told_times(&told, "low-memory", "type 0 at 0x0, 1 pages"), 1);
    assert_int_equal(told_times(&told, "low-memory", "type 6 at 0x1000, 143 pages"), 1);
    assert_int_equal(told_times(&told, "low-memory", "type 10 at 0x90000, 16 pages"), 1);
    assert_int_equal(told_times(&told, "low-memory", "type 11 at 0xa0000, 32 pages"), 1);
    assert_int_equal(told_times(&told, "low-memory", "type 7 at 0xc0000, 64 pages, attributes 0x8"),
                     1);
    assert_int_equal(told_times(&told, "low-memory", "at 0x8001"), 1);
    assert_int_equal(told_times(&told, "low-memory", "18446744073709551615 pages"), 1);
    for (size_t i = 0; i < told.count; i++)
        assert_int_equal(told.lines[i].severity, SEVERITY_ERROR);
    assert_int_equal(fake_firmware.owned_count, 1); // the map's buffer
}

static void test_low_without_map(void **state)
{
    (void)state;
    struct firmware firmware = WITH_MAP(AREA(EfiConventionalMemory, 0x60000, 1));
    fake_firmware.map_status = EFI_DEVICE_ERROR;
    const struct taken taken = take(&firmware);
    assert_int_equal(taken.status, STATUS_INVALID);
    assert_int_equal(taken.page, 0);
    assert_int_equal(taken.after_exit, 0);
    assert_int_equal(told.count, 1);
    assert_int_equal(told_times(&told, "no-memory-map", "could not be read"), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_allocate),
        TEST(test_read_map_sizes),
        TEST(test_read_map_lies_at_once),
        TEST(test_read_map_overrun),
        TEST(test_read_map_grows),
        TEST(test_read_map_fails),
        TEST(test_ram_by_type),
        TEST(test_ram_merges),
        TEST(test_ram_hostile),
        TEST(test_ram_random),
        TEST(test_ram_without_memory),
        TEST(test_view_of_free_memory),
        TEST(test_view),
        TEST(test_view_edges),
        TEST(test_writable),
        TEST(test_not_writable),
        TEST(test_a_cache_without_memory),
        TEST(test_low_first_answer),
        TEST(test_low_page_zero),
        TEST(test_low_not_writable),
        TEST(test_low_answers_too_high),
        TEST(test_low_answers_bounded),
        TEST(test_low_walk),
        TEST(test_low_walk_goes_on),
        TEST(test_low_walk_stops_at_640k),
        TEST(test_low_walk_stops_at_page_zero),
        TEST(test_low_after_exit),
        TEST(test_low_prefers_free),
        TEST(test_low_nothing),
        TEST(test_low_without_map),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
