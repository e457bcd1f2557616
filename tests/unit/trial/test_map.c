// The regions of a run: which, in which order, with which rights. The order is half of it, since a
// later one takes the place of an earlier one.
#include "map.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define REGIONS_MAX 32u
#define DEVICE      (SMP_WRITE | SMP_UNCACHED)
#define OWN         (SMP_WRITE | SMP_FILL | SMP_NEEDED)

static struct machine machine;
static struct range ram[2] = {{0x1000, 0x9f000}, {0x100000, 0x7ff00000}};
static struct own_memory own[] = {{"the journal", {0x7e000000, 0x10000}}, {"nothing", {0, 0}}};
static struct smp_region regions[REGIONS_MAX];
static size_t count;

// RAM, the image and nothing else.
static int set_up(void **state)
{
    (void)state;
    machine = (struct machine){
        .ram = ram,
        .ram_count = 2,
        .image = {.text = {0x70000000, 0x20000},
                  .rodata = {0x70020000, 0x8000},
                  .data = {0x70028000, 0x5000}},
    };
    return 0;
}

static void list(size_t own_count)
{
    const size_t most = map_regions_most(&machine, own_count);

    assert_in_range(most, 1, REGIONS_MAX);
    memset(regions, 0xa5, sizeof regions);
    count = map_regions(&machine, own, own_count, regions);
    assert_true(count <= most);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(regions[i].virt, regions[i].phys);
        assert_int_equal(regions[i].phys % 4096, 0);
        assert_int_equal(regions[i].bytes % 4096, 0);
        assert_int_not_equal(regions[i].bytes, 0);
    }
}

static void assert_region(size_t place, const char *name, uint64_t phys, uint64_t bytes,
                          uint32_t rights)
{
    assert_true(place < count);
    assert_string_equal(regions[place].name, name);
    assert_int_equal(regions[place].phys, phys);
    assert_int_equal(regions[place].bytes, bytes);
    assert_int_equal(regions[place].rights, rights);
}

static void test_ram_and_the_image(void **state)
{
    (void)state;
    list(0);
    assert_int_equal(count, 5);
    assert_region(0, "RAM", 0x1000, 0x9f000, SMP_WRITE);
    assert_region(1, "RAM", 0x100000, 0x7ff00000, SMP_WRITE);
    assert_region(2, "code", 0x70000000, 0x20000, SMP_EXECUTE | SMP_NEEDED);
    assert_region(3, "constants", 0x70020000, 0x8000, SMP_READ | SMP_NEEDED);
    assert_region(4, "data", 0x70028000, 0x5000, SMP_WRITE | SMP_NEEDED);
}

// What is our own is mapped over RAM only where that is not there; none of nothing.
static void test_own_memory(void **state)
{
    (void)state;
    list(2);
    assert_int_equal(count, 6);
    assert_region(2, "the journal", 0x7e000000, 0x10000, OWN);
    assert_region(3, "code", 0x70000000, 0x20000, SMP_EXECUTE | SMP_NEEDED);
}

static void test_pages_of_own_memory(void **state)
{
    static const struct {
        uint64_t memory, bytes, first, all;
    } known[] = {
        {0x5000, 0x1000, 0x5000, 0x1000}, {0x5001, 0x1000, 0x5000, 0x2000},
        {0x5fff, 1, 0x5000, 0x1000},      {0x5fff, 2, 0x5000, 0x2000},
        {0x5000, 0, 0x5000, 0},           {0, 0x1000, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        const struct own_memory piece =
            own_memory_of("a piece", (const void *)(uintptr_t)known[i].memory, known[i].bytes);
        assert_string_equal(piece.name, "a piece");
        assert_int_equal(piece.range.bytes, known[i].all);
        if (known[i].all != 0)
            assert_int_equal(piece.range.phys, known[i].first);
    }
}

// Before the image, which it is not to take the place of; nothing is proved of it.
static void test_reset_register(void **state)
{
    (void)state;
    machine.fadt =
        (struct fadt){.can_reset = true, .reset_space = GAS_MEMORY, .reset_address = 0xff00000ff8};
    list(1);
    assert_int_equal(count, 7);
    assert_region(2, "the journal", 0x7e000000, 0x10000, OWN);
    assert_region(3, "reset register", 0xff00000000, 0x1000, DEVICE);
    assert_region(4, "code", 0x70000000, 0x20000, SMP_EXECUTE | SMP_NEEDED);
    machine.fadt.reset_space = GAS_IO;
    list(0);
    assert_int_equal(count, 5);
    machine.fadt.reset_space = GAS_MEMORY;
    machine.fadt.can_reset = false;
    list(0);
    assert_int_equal(count, 5);
}

static void test_serial_port(void **state)
{
    (void)state;
    machine.serial_mmio = 0xfe032010;
    list(0);
    assert_int_equal(count, 6);
    assert_region(5, "serial port", 0xfe032000, 0x1000, DEVICE | SMP_NEEDED);
}

// As many bytes as the lines take at this depth, in whole pages, and not one page more.
static void test_frame_buffers(void **state)
{
    (void)state;
    for (uint32_t bytes = 1; bytes <= 4; bytes++) {
        const uint64_t end = (0xc0000800 + 810ull * 600 * bytes + 4095) / 4096 * 4096;
        machine.framebuffer_count = 2;
        machine.framebuffers[0] = (struct framebuffer){.phys = 0xc0000800,
                                                       .bytes = 0x1000000,
                                                       .width = 800,
                                                       .height = 600,
                                                       .pitch_pixels = 810,
                                                       .pixel_bytes = bytes};
        machine.framebuffers[1] = (struct framebuffer){
            .phys = 0x4000000000, .width = 32, .height = 32, .pitch_pixels = 32, .pixel_bytes = 4};
        machine.processor.pat = false;
        list(0);
        assert_int_equal(count, 7);
        assert_region(5, "a frame buffer", 0xc0000000, end - 0xc0000000, DEVICE | SMP_NEEDED);
        assert_region(6, "a frame buffer", 0x4000000000, 0x1000, DEVICE | SMP_NEEDED);
        machine.processor.pat = true;
        list(0);
        assert_region(5, "a frame buffer", 0xc0000000, end - 0xc0000000,
                      SMP_WRITE | SMP_COMBINING | SMP_NEEDED);
    }
}

// All that there can be fits where the caller was told that it does, and takes all of it.
static void test_everything(void **state)
{
    static const char *const order[] = {
        "RAM",       "RAM",  "the journal", "reset register", "code",
        "constants", "data", "serial port", "a frame buffer"};

    (void)state;
    machine.fadt =
        (struct fadt){.can_reset = true, .reset_space = GAS_MEMORY, .reset_address = 0xfed40008};
    machine.serial_mmio = 0xfe032010;
    machine.framebuffer_count = 1;
    machine.framebuffers[0] = (struct framebuffer){
        .phys = 0xc0000000, .width = 32, .height = 32, .pitch_pixels = 32, .pixel_bytes = 4};
    list(1);
    assert_int_equal(count, sizeof order / sizeof order[0]);
    assert_int_equal(count, map_regions_most(&machine, 1));
    for (size_t i = 0; i < count; i++)
        assert_string_equal(regions[i].name, order[i]);
    assert_int_equal((uint8_t)regions[count].rights, 0xa5); // and not one more
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_ram_and_the_image, set_up),
        cmocka_unit_test_setup(test_own_memory, set_up),
        cmocka_unit_test_setup(test_pages_of_own_memory, set_up),
        cmocka_unit_test_setup(test_reset_register, set_up),
        cmocka_unit_test_setup(test_serial_port, set_up),
        cmocka_unit_test_setup(test_frame_buffers, set_up),
        cmocka_unit_test_setup(test_everything, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
