// Graphics outputs as firmware describes them, right and wrong: which of them are drawn on after
// the exit, in which mode, and what is told of the others.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake_hw.h"
#include "graphics.h"
#include "report.h"

#define MIB         (1ull << 20)
#define GIB         (1ull << 30)
#define BASE        0xc0000000u
#define OUTPUTS_MAX 6u
#define MODES       4u

static const EFI_PIXEL_BITMASK bits_24 = {0xff0000, 0xff00, 0xff, 0},
                               bits_16 = {0xf800, 0x7e0, 0x1f, 0},
                               bits_32 = {0xff0000, 0xff00, 0xff, 0xff000000};

static struct output {
    EFI_GRAPHICS_OUTPUT_PROTOCOL protocol;
    EFI_GRAPHICS_OUTPUT_MODE_INFORMATION modes[MODES], now;
    EFI_GRAPHICS_OUTPUT_PROTOCOL_MODE mode;
    EFI_STATUS set_status;
    UINTN short_by; // bytes, after a mode was set
    EFI_PHYSICAL_ADDRESS moves_to;
    unsigned sets, fills, fills_before_set;
} outputs[OUTPUTS_MAX];
static UINTN output_count;
static EFI_BOOT_SERVICES boot;
static struct firmware firmware;
static struct options options;
static struct console console;
static struct machine machine;
static struct range ram[] = {{0, 0xa0000}, {MIB, 2 * GIB - MIB}, {4 * GIB, 2 * GIB}};
static char heard[8192];

static void hear(void *context, const char *text)
{
    (void)context;
    strncat(heard, text, sizeof heard - strlen(heard) - 1);
}

// ---- firmware ----

static EFI_STATUS EFIAPI locate(EFI_LOCATE_SEARCH_TYPE type, EFI_GUID *guid, void *key,
                                UINTN *count, EFI_HANDLE **handles)
{
    (void)type, (void)guid, (void)key;
    *count = output_count;
    if (output_count == 0)
        return EFI_NOT_FOUND;
    *handles = malloc(output_count * sizeof **handles);
    assert_non_null(*handles);
    for (UINTN i = 0; i < output_count; i++)
        (*handles)[i] = &outputs[i];
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI handle(EFI_HANDLE output, EFI_GUID *guid, void **protocol)
{
    (void)guid;
    *protocol = &((struct output *)output)->protocol;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI release(void *memory)
{
    assert_non_null(memory);
    free(memory);
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI query(EFI_GRAPHICS_OUTPUT_PROTOCOL *protocol, UINT32 mode, UINTN *bytes,
                               EFI_GRAPHICS_OUTPUT_MODE_INFORMATION **info)
{
    const struct output *output = (const struct output *)(const void *)protocol;

    assert_true(mode < output->mode.MaxMode);
    if (output->modes[mode].HorizontalResolution == 0)
        return output->modes[mode].Version == 0 ? EFI_DEVICE_ERROR : EFI_SUCCESS; // with nothing
    *bytes = sizeof **info;
    *info = malloc(sizeof **info);
    assert_non_null(*info);
    **info = output->modes[mode];
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI set(EFI_GRAPHICS_OUTPUT_PROTOCOL *protocol, UINT32 mode)
{
    struct output *output = (struct output *)(void *)protocol;

    output->sets++;
    output->fills_before_set = output->fills;
    if (EFI_ERROR(output->set_status))
        return output->set_status;
    output->mode.Mode = mode;
    output->now = output->modes[mode];
    output->mode.FrameBufferSize = 16 * MIB - (mode != 0 ? output->short_by : 0);
    if (output->moves_to != 0)
        output->mode.FrameBufferBase = output->moves_to;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI blt(EFI_GRAPHICS_OUTPUT_PROTOCOL *protocol,
                             EFI_GRAPHICS_OUTPUT_BLT_PIXEL *pixel,
                             EFI_GRAPHICS_OUTPUT_BLT_OPERATION operation, UINTN from_x,
                             UINTN from_y, UINTN x, UINTN y, UINTN width, UINTN height, UINTN delta)
{
    struct output *output = (struct output *)(void *)protocol;

    (void)from_x, (void)from_y, (void)delta;
    assert_int_equal(operation, EfiBltVideoFill);
    assert_int_equal(pixel->Red | pixel->Green | pixel->Blue, 0);
    assert_int_equal(x | y, 0);
    assert_int_equal(width, output->now.HorizontalResolution);
    assert_int_equal(height, output->now.VerticalResolution);
    output->fills++;
    return EFI_SUCCESS;
}

// ---- set-up ----

static EFI_GRAPHICS_OUTPUT_MODE_INFORMATION info_of(UINT32 width, UINT32 height,
                                                    EFI_GRAPHICS_PIXEL_FORMAT format,
                                                    const EFI_PIXEL_BITMASK *masks)
{
    EFI_GRAPHICS_OUTPUT_MODE_INFORMATION info = {.HorizontalResolution = width,
                                                 .VerticalResolution = height,
                                                 .PixelFormat = format,
                                                 .PixelsPerScanLine = width};
    if (masks)
        info.PixelInformation = *masks;
    return info;
}

// Mode 0 is 800x600 and set; the others are the test's.
static struct output *add_output(EFI_PHYSICAL_ADDRESS base)
{
    struct output *output = &outputs[output_count++];

    *output = (struct output){
        .protocol = {.QueryMode = query, .SetMode = set, .Blt = blt, .Mode = &output->mode},
        .modes = {info_of(800, 600, PixelBlueGreenRedReserved8BitPerColor, NULL)},
        .mode = {.MaxMode = MODES,
                 .Info = &output->now,
                 .SizeOfInfo = sizeof output->now,
                 .FrameBufferBase = base,
                 .FrameBufferSize = 16 * MIB},
    };
    output->now = output->modes[0];
    return output;
}

static int set_up(void **state)
{
    (void)state;
    fake_reset();
    fake_start_clock(0, 1);
    memset(&machine, 0, sizeof machine);
    memset(&console, 0, sizeof console);
    output_count = 0;
    heard[0] = '\0';
    boot.LocateHandleBuffer = locate;
    boot.HandleProtocol = handle;
    boot.FreePool = release;
    firmware.boot = &boot;
    machine.ram = ram;
    machine.ram_count = sizeof ram / sizeof ram[0];
    machine.processor.phys_bits = 40;
    machine.apic_base = 0xfee00900;
    options.exit = ANSWER_YES;
    options.check = ANSWER_NO;
    options.screen = SCREEN_MODE;
    options.screen_width = 1024;
    options.screen_height = 768;
    console_start(&console, LOG_NORMAL, 1);
    console.sinks[0] = (struct console_sink){.write_line = hear};
    return 0;
}

static void gather(void)
{
    const struct problems problems = {report_problem, &console};

    graphics_gather(&firmware, &options, &console, &problems, &machine);
}

static void assert_heard(const char *text)
{
    if (!strstr(heard, text))
        fail_msg("not heard: %s\n%s", text, heard);
}

static void assert_not_warned(void)
{
    if (strstr(heard, "ev=warning"))
        fail_msg("%s", heard);
}

static void assert_drawn(size_t index, uint32_t width, uint32_t pixel_bytes)
{
    assert_true(index < machine.framebuffer_count);
    assert_int_equal(machine.framebuffers[index].width, width);
    assert_int_equal(machine.framebuffers[index].pixel_bytes, pixel_bytes);
}

// ---- modes ----

static void test_the_mode_that_can_be_drawn_best(void **state)
{
    const EFI_GRAPHICS_OUTPUT_MODE_INFORMATION none = info_of(1024, 768, PixelBltOnly, NULL),
                                               packed = info_of(1024, 768, PixelBitMask, &bits_24),
                                               high = info_of(1024, 768, PixelBitMask, &bits_16),
                                               masks = info_of(1024, 768, PixelBitMask, &bits_32),
                                               rgb = info_of(1024, 768,
                                                             PixelRedGreenBlueReserved8BitPerColor,
                                                             NULL),
                                               bgr = info_of(1024, 768,
                                                             PixelBlueGreenRedReserved8BitPerColor,
                                                             NULL),
                                               unknown = info_of(1024, 768, PixelFormatMax, NULL),
                                               wrong = {0}, missing = {.Version = 1};
    const struct {
        EFI_GRAPHICS_OUTPUT_MODE_INFORMATION modes[3];
        UINT32 chosen;
        uint32_t pixel_bytes;
    } cases[] = {
        {{packed, bgr, masks}, 2, 4},    {{rgb, packed, none}, 1, 4},
        {{none, masks, rgb}, 3, 4},      {{packed, masks, none}, 2, 4},
        {{none, high, packed}, 3, 3},    {{none, unknown, high}, 3, 2},
        {{wrong, none, packed}, 3, 3},   {{rgb, bgr, rgb}, 1, 4},
        {{missing, none, packed}, 3, 3},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        set_up(state);
        struct output *output = add_output(BASE);
        memcpy(&output->modes[1], cases[i].modes, sizeof cases[i].modes);
        gather();
        assert_int_equal(output->mode.Mode, cases[i].chosen);
        assert_int_equal(output->sets, 1);
        assert_drawn(0, 1024, cases[i].pixel_bytes);
        assert_not_warned();
    }
}

static void test_a_mode_that_is_set_stays(void **state)
{
    const UINT32 current = 2;

    (void)state;
    struct output *output = add_output(BASE);
    output->modes[1] = output->modes[current] = output->now =
        info_of(1024, 768, PixelRedGreenBlueReserved8BitPerColor, NULL);
    output->mode.Mode = current;
    gather();
    assert_int_equal(output->sets, 0);
    assert_drawn(0, 1024, 4);
    assert_not_warned();
}

static void test_no_mode_is_set_without_need(void **state)
{
    for (unsigned i = 0; i < 3; i++) {
        set_up(state);
        struct output *output = add_output(BASE);
        output->modes[1] = info_of(1024, 768, PixelBlueGreenRedReserved8BitPerColor, NULL);
        options.screen = i == 0 ? SCREEN_AUTO : SCREEN_MODE;
        options.exit = i == 1 ? ANSWER_NO : ANSWER_YES;
        options.check = i == 2 ? ANSWER_YES : ANSWER_NO;
        gather();
        assert_int_equal(output->sets, 0);
        assert_drawn(0, 800, 4);
        assert_not_warned();
    }
}

static void test_no_mode_that_can_be_drawn(void **state)
{
    (void)state;
    struct output *output = add_output(BASE);
    output->modes[1] = info_of(1024, 768, PixelBltOnly, NULL);
    gather();
    assert_int_equal(output->sets, 0);
    assert_drawn(0, 800, 4);
    assert_heard("ev=warning what=no-such-mode ");
}

static void test_a_mode_that_firmware_refuses(void **state)
{
    (void)state;
    struct output *output = add_output(BASE);
    output->modes[1] = info_of(1024, 768, PixelBlueGreenRedReserved8BitPerColor, NULL);
    output->set_status = EFI_DEVICE_ERROR;
    gather();
    assert_int_equal(output->sets, 1);
    assert_drawn(0, 800, 4);
    assert_heard("ev=warning what=mode-refused ");
}

static void test_a_mode_whose_frame_buffer_is_wrong(void **state)
{
    for (unsigned i = 0; i < 2; i++) {
        set_up(state);
        struct output *output = add_output(BASE);
        output->modes[1] = info_of(1024, 768, PixelBlueGreenRedReserved8BitPerColor, NULL);
        output->short_by = i == 0 ? 16 * MIB - 1024 * 768 * 4 + 1 : 0;
        output->modes[1].PixelsPerScanLine += i == 1 ? UINT32_MAX - 1024 : 0;
        gather();
        assert_int_equal(output->mode.Mode, 0);
        assert_int_equal(output->sets, 2);
        assert_drawn(0, 800, 4);
        assert_heard("ev=warning what=mode-refused ");
    }
}

static void test_a_frame_buffer_that_moves_with_its_mode(void **state)
{
    (void)state;
    struct output *output = add_output(BASE);
    output->modes[1] = info_of(1024, 768, PixelBitMask, &bits_24);
    output->moves_to = 8 * GIB;
    gather();
    assert_drawn(0, 1024, 3);
    assert_int_equal(machine.framebuffers[0].phys, 8 * GIB);
    assert_heard("format=masks bits=24 base=0x200000000");
}

// Two handles lead to one screen, and only the second knows the mode.
static void test_a_mode_that_is_set_through_another_output(void **state)
{
    (void)state;
    struct output *first = add_output(BASE), *second = add_output(BASE);
    first->protocol.Mode = &second->mode;
    second->modes[1] = info_of(1024, 768, PixelBlueGreenRedReserved8BitPerColor, NULL);
    second->moves_to = 8 * GIB;
    gather();
    assert_int_equal(machine.framebuffer_count, 1);
    assert_drawn(0, 1024, 4);
    assert_int_equal(machine.framebuffers[0].phys, 8 * GIB);
    assert_not_warned();
}

// ---- places ----

static void test_a_frame_buffer_where_none_can_be(void **state)
{
    static const struct {
        uint64_t base;
        const char *why;
    } cases[] = {
        {0xb8000, "below 1 MiB"},
        {0xa0000, "below 1 MiB"},
        {0x1000, "below 1 MiB"},
        {MIB - 4, "below 1 MiB"},
        {MIB, "in RAM that is in use"},
        {32 * MIB, "in RAM that is in use"},
        {2 * GIB - 4, "in RAM that is in use"},
        {4 * GIB, "in RAM that is in use"},
        {6 * GIB - 0x1000, "in RAM that is in use"},
        {4 * GIB - 800 * 600 * 4 + 4, "in RAM that is in use"},
        {4 * GIB - 800 * 600 * 4, "over another device"}, // flash
        {0xfec00000, "over another device"},
        {0xfebff000, "over another device"},
        {0xd0000000 - 4, "over another device"}, // the serial port
        {0xe0000000, "over another device"},     // the APIC
        {1ull << 40, "beyond what the processor can address"},
        {(1ull << 40) - 0x1000, "beyond what the processor can address"},
        {UINT64_MAX - 0xfff, "contradicts itself"},
        {0, "it has no frame buffer"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        set_up(state);
        machine.serial_mmio = 0xd0000010;
        machine.apic_base = 0xe0100900;
        (void)add_output(cases[i].base);
        gather();
        if (machine.framebuffer_count != 0 || !strstr(heard, cases[i].why))
            fail_msg("0x%llx: not told as %s\n%s", (unsigned long long)cases[i].base, cases[i].why,
                     heard);
        assert_heard("ev=warning what=no-screen ");
    }
}

// Graphics that take their memory from RAM have it in what the map calls reserved, or leaves out.
static void test_a_frame_buffer_beside_ram(void **state)
{
    static const uint64_t bases[] = {
        2 * GIB,
        BASE,
        6 * GIB,
        0xfec00000 - 800 * 600 * 4,
        4 * GIB - 40 * MIB,
        8 * GIB,
        (1ull << 40) - 800 * 600 * 4,
    };

    for (size_t i = 0; i < sizeof bases / sizeof bases[0]; i++) {
        set_up(state);
        options.screen = SCREEN_AUTO;
        (void)add_output(bases[i]);
        gather();
        assert_drawn(0, 800, 4);
        assert_not_warned();
    }
}

// ---- outputs ----

static void test_outputs_that_are_no_screen(void **state)
{
    (void)state;
    options.screen_width = 800; // which the current mode has, if it is one
    options.screen_height = 600;
    add_output(BASE)->protocol.Mode = NULL;
    add_output(BASE)->mode.Info = NULL;
    add_output(BASE)->now.PixelFormat = PixelBltOnly;
    add_output(BASE)->now.PixelFormat = PixelFormatMax;
    add_output(BASE)->now.PixelsPerScanLine = 799;
    gather();
    assert_int_equal(machine.framebuffer_count, 0);
    assert_heard("gop=0 skipped=\"it has no mode\"");
    assert_heard("gop=1 skipped=\"it has no mode\"");
    assert_heard("gop=2 skipped=\"it has no frame buffer\"");
    assert_heard("gop=3 skipped=\"its pixel format is unknown\"");
    assert_heard("gop=4 skipped=\"its frame buffer contradicts itself\"");
    assert_heard("ev=warning what=no-screen ");
}

static void test_no_output_is_no_reason_to_warn(void **state)
{
    (void)state;
    gather();
    assert_int_equal(machine.framebuffer_count, 0);
    assert_string_equal(heard, "");
}

static void test_several_outputs(void **state)
{
    (void)state;
    options.screen = SCREEN_AUTO;
    (void)add_output(BASE);
    (void)add_output(BASE);
    (void)add_output(BASE + 800 * 600 * 4 - 4); // its first pixel is the other's last
    (void)add_output(BASE + 800 * 600 * 4);
    add_output(8 * GIB)->now.PixelFormat = PixelBltOnly;
    (void)add_output(9 * GIB);
    gather();
    assert_int_equal(machine.framebuffer_count, 3);
    assert_int_equal(machine.framebuffers[1].phys, BASE + 800 * 600 * 4);
    assert_int_equal(machine.framebuffers[2].phys, 9 * GIB);
    assert_heard("gop=1 skipped=\"it is another's frame buffer\"");
    assert_heard("gop=2 skipped=\"it is another's frame buffer\"");
    assert_not_warned();
}

static void test_more_outputs_than_there_is_room_for(void **state)
{
    (void)state;
    options.screen = SCREEN_AUTO;
    for (unsigned i = 0; i <= FRAMEBUFFERS_MAX; i++)
        (void)add_output(BASE + i * 16 * MIB);
    gather();
    assert_int_equal(machine.framebuffer_count, FRAMEBUFFERS_MAX);
    assert_heard("gop=4 skipped=\"there are too many\"");
}

// ---- before the exit ----

// GRUB drives the display of some hypervisors by itself, and firmware knows nothing of the mode
// that it leaves.
static void test_behind_a_hypervisor_the_mode_is_set_again(void **state)
{
    static const struct {
        const char *hypervisor;
        bool under_qemu;
        unsigned sets;
    } cases[] = {
        {"TCGTCGTCGTCG", true, 1}, {"VBoxVBoxVBox", false, 1}, {"", true, 1}, {"", false, 0}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        set_up(state);
        struct output *output = add_output(BASE);
        output->modes[2] = output->now = info_of(1280, 800, PixelBitMask, &bits_32);
        output->mode.Mode = 2;
        strcpy(machine.processor.hypervisor, cases[i].hypervisor);
        machine.under_qemu = cases[i].under_qemu;
        options.screen = SCREEN_AUTO;
        gather();
        graphics_clear(&firmware, &machine);
        assert_int_equal(output->sets, cases[i].sets);
        assert_int_equal(output->mode.Mode, 2);
        assert_int_equal(output->fills, 1);
        assert_int_equal(output->fills_before_set, 0);
    }
}

// What stands for all displays at once, as EDK II's console splitter does, may believe in a mode
// that they no longer have: to set it would undo screen=.
static void test_the_mode_of_an_output_that_is_not_drawn_on_is_not_set(void **state)
{
    (void)state;
    machine.under_qemu = true;
    options.screen = SCREEN_AUTO;
    struct output *drawn = add_output(BASE), *old = add_output(BASE), *blt = add_output(8 * GIB);
    drawn->modes[2] = drawn->now = info_of(1920, 1080, PixelBlueGreenRedReserved8BitPerColor, NULL);
    drawn->mode.Mode = 2;
    blt->now.PixelFormat = PixelBltOnly;
    gather();
    graphics_clear(&firmware, &machine);
    assert_int_equal(drawn->sets, 1);
    assert_int_equal(old->sets + blt->sets, 0);
    assert_int_equal(drawn->fills + old->fills + blt->fills, 3);
}

static void test_what_has_no_mode_is_left_alone(void **state)
{
    (void)state;
    machine.under_qemu = true;
    struct output *none = add_output(BASE), *bare = add_output(BASE), *refused = add_output(BASE);
    none->protocol.Mode = NULL;
    bare->mode.Info = NULL;
    refused->set_status = EFI_DEVICE_ERROR;
    graphics_clear(&firmware, &machine);
    assert_int_equal(none->sets + bare->sets, 0);
    assert_int_equal(none->fills + bare->fills, 0);
    assert_int_equal(refused->fills, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_the_mode_that_can_be_drawn_best, set_up),
        cmocka_unit_test_setup(test_a_mode_that_is_set_stays, set_up),
        cmocka_unit_test_setup(test_no_mode_is_set_without_need, set_up),
        cmocka_unit_test_setup(test_no_mode_that_can_be_drawn, set_up),
        cmocka_unit_test_setup(test_a_mode_that_firmware_refuses, set_up),
        cmocka_unit_test_setup(test_a_mode_whose_frame_buffer_is_wrong, set_up),
        cmocka_unit_test_setup(test_a_frame_buffer_that_moves_with_its_mode, set_up),
        cmocka_unit_test_setup(test_a_mode_that_is_set_through_another_output, set_up),
        cmocka_unit_test_setup(test_a_frame_buffer_where_none_can_be, set_up),
        cmocka_unit_test_setup(test_a_frame_buffer_beside_ram, set_up),
        cmocka_unit_test_setup(test_outputs_that_are_no_screen, set_up),
        cmocka_unit_test_setup(test_no_output_is_no_reason_to_warn, set_up),
        cmocka_unit_test_setup(test_several_outputs, set_up),
        cmocka_unit_test_setup(test_more_outputs_than_there_is_room_for, set_up),
        cmocka_unit_test_setup(test_behind_a_hypervisor_the_mode_is_set_again, set_up),
        cmocka_unit_test_setup(test_the_mode_of_an_output_that_is_not_drawn_on_is_not_set, set_up),
        cmocka_unit_test_setup(test_what_has_no_mode_is_left_alone, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
