// Leaving firmware by the strict rule, against a firmware that refuses once, often, always, and
// that grows its map meanwhile. The rule itself stands in the fake: after the first attempt any
// service but GetMemoryMap and ExitBootServices ends the test. A story is the order of calls: m
// GetMemoryMap, a AllocatePages, f FreePages, x ExitBootServices.
#include "fake_firmware.h"
#include "failing.h"
#include "leave.h"

#define ATTEMPTS 8u   // the bound, as the test states it
#define SPARE    500u // descriptors by which the map may grow at once

static int set_up(void **state)
{
    (void)state;
    failures_fail_the_test();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_firmware_clear();
    return 0;
}

// A firmware with `descriptors` in its map, and a buffer into which the map has just been read.
static struct firmware ready_to_leave(UINTN descriptor_bytes, size_t descriptors)
{
    struct firmware firmware = fake_firmware_start(descriptor_bytes);
    fake_grow_map(descriptors);
    assert_int_equal(memory_read_map(&firmware), STATUS_OK);
    fake_firmware.call_count = 0;
    return firmware;
}

static void assert_leaves(struct firmware *firmware, const char *story)
{
    assert_int_equal(leave_firmware(firmware), STATUS_OK);
    assert_string_equal(fake_story(), story);
    assert_true(fake_firmware.left);
}

static void assert_stays(struct firmware *firmware, const char *story)
{
    assert_int_equal(leave_firmware(firmware), STATUS_INVALID);
    assert_string_equal(fake_story(), story);
    assert_false(fake_firmware.left);
}

static void test_at_once(void **state)
{
    static const UINTN sizes[] = {40, 48, 56, 128};

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct firmware firmware = ready_to_leave(sizes[i], 20);
        assert_leaves(&firmware, "mx");
    }
}

// A handler in ExitBootServices allocated: the key is stale, and the second map brings the new one.
static void test_stale_key_once(void **state)
{
    (void)state;
    struct firmware firmware = ready_to_leave(48, 20);
    fake_firmware.refusals = 1;
    fake_firmware.grow_at_exit = 2;
    assert_leaves(&firmware, "mxmx");
    assert_int_not_equal(fake_firmware.calls[1].asked, fake_firmware.calls[3].asked);
    assert_int_equal(fake_firmware.calls[3].asked, fake_firmware.key);
}

// The key that the last reading of the map brought is not believed: the map is read again first.
static void test_key_from_before(void **state)
{
    (void)state;
    struct firmware firmware = ready_to_leave(48, 20);
    fake_grow_map(1);
    assert_leaves(&firmware, "mx");
}

static void test_every_attempt_counts(void **state)
{
    (void)state;
    struct firmware firmware = ready_to_leave(48, 20);
    fake_firmware.refusals = ATTEMPTS - 1;
    assert_leaves(&firmware, "mxmxmxmxmxmxmxmx");
}

static void test_refused_for_ever(void **state)
{
    (void)state;
    struct firmware firmware = ready_to_leave(48, 20);
    fake_firmware.refusals = SIZE_MAX;
    assert_stays(&firmware, "mxmxmxmxmxmxmxmx");
}

// Hundreds of spare descriptors beforehand, however many there are. Without them a handler that
// allocates leaves nobody who can allocate.
static void test_grows_within_the_spare(void **state)
{
    (void)state;
    for (size_t descriptors = 1; descriptors < 400; descriptors++) {
        struct firmware firmware = ready_to_leave(48, descriptors);
        fake_firmware.refusals = 1;
        fake_firmware.grow_at_exit = SPARE;
        assert_leaves(&firmware, "mxmx");
    }
}

// The map that was read long ago had room; what was allocated since has eaten it. Reading again
// makes room.
static void test_spare_is_renewed(void **state)
{
    (void)state;
    for (size_t grown = 0; grown < 2 * SPARE; grown++) {
        struct firmware firmware = ready_to_leave(48, 20);
        fake_grow_map(grown);
        assert_int_equal(memory_read_map(&firmware), STATUS_OK);
        fake_firmware.call_count = 0;
        fake_firmware.refusals = 1;
        fake_firmware.grow_at_exit = SPARE;
        assert_leaves(&firmware, "mxmx");
    }
}

// Beyond the spare, by a UEFI before 2.9: no allocation may be tried, so all that is left is to ask
// again, and to end.
static void test_grows_beyond_the_buffer(void **state)
{
    (void)state;
    struct firmware firmware = ready_to_leave(48, 20);
    const size_t room = firmware.map_capacity / 48;

    fake_firmware.refusals = 1;
    fake_firmware.grow_at_exit = room - 20 + 1;
    const uint8_t *buffer = firmware.map;
    assert_stays(&firmware, "mxmmmmmmm");
    assert_int_equal(fake_firmware.calls[2].status, EFI_BUFFER_TOO_SMALL);
    assert_ptr_equal(firmware.map, buffer);
}

// UEFI 2.9 and later allow allocations between the attempts: a map of any length is read.
static void test_grows_beyond_the_buffer_by_uefi_2_9(void **state)
{
    (void)state;
    struct firmware firmware = ready_to_leave(48, 20);
    fake_firmware.system.Hdr.Revision = FAKE_REVISION_2_9;
    fake_firmware.refusals = 3;
    fake_firmware.grow_at_exit = 2000;
    assert_leaves(&firmware, "mxmmfamxmmfamxmmfamx");
    assert_int_equal(fake_count(FAKE_EXIT), 4);
}

// There, where there is no memory, either.
static void test_no_memory_by_uefi_2_9(void **state)
{
    (void)state;
    struct firmware firmware = ready_to_leave(48, 20);
    fake_firmware.system.Hdr.Revision = FAKE_REVISION_2_9;
    fake_firmware.refusals = 1;
    fake_firmware.grow_at_exit = 2000;
    fake_firmware.refuse_high_from = 1;
    assert_stays(&firmware, "mxmmfammammammammammamma");
    assert_null(firmware.map);
}

// Nothing was tried yet, so any UEFI lets us allocate.
static void test_grows_before_the_first_attempt(void **state)
{
    (void)state;
    struct firmware firmware = ready_to_leave(48, 20);
    fake_grow_map(2000);
    assert_leaves(&firmware, "mmfamx");
}

static void test_map_cannot_be_read(void **state)
{
    (void)state;
    struct firmware firmware = ready_to_leave(48, 20);
    fake_firmware.map_status = EFI_INVALID_PARAMETER;
    assert_stays(&firmware, "mmmmmmmm");
    assert_false(fake_firmware.exit_tried);
}

// ---- the fake itself: does the rule that all of the above stands on hold? ----

static jmp_buf failed;
static char message[128];

static void catch_failure(const char *text)
{
    strncpy(message, text, sizeof message - 1);
    longjmp(failed, 1);
}

static void test_the_fake_forbids(void **state)
{
    (void)state;
    const struct firmware firmware = ready_to_leave(48, 20);
    const EFI_BOOT_SERVICES *boot = firmware.boot;
    EFI_PHYSICAL_ADDRESS address = UINT32_MAX;

    fake_on_failure(catch_failure);
    if (setjmp(failed) == 0) {
        boot->Stall(1);
        fail_msg("Stall passed");
    }
    assert_string_equal(message, "fake: a boot service that is not modelled");
    fake_firmware.refusals = 1;
    assert_int_equal(boot->ExitBootServices(FAKE_HANDLE, 0), EFI_INVALID_PARAMETER);
    if (setjmp(failed) == 0) {
        boot->AllocatePages(AllocateMaxAddress, EfiLoaderData, 1, &address);
        fail_msg("AllocatePages passed");
    }
    assert_string_equal(message, "fake: AllocatePages after the first ExitBootServices");
    if (setjmp(failed) == 0) {
        boot->FreePages((uintptr_t)firmware.map, firmware.map_capacity / PAGE_BYTES);
        fail_msg("FreePages passed");
    }
    assert_string_equal(message, "fake: FreePages after the first ExitBootServices");
    assert_int_equal(boot->ExitBootServices(FAKE_HANDLE, fake_firmware.key - 1),
                     EFI_INVALID_PARAMETER);
    assert_int_equal(boot->ExitBootServices(FAKE_HANDLE, fake_firmware.key), EFI_SUCCESS);
    if (setjmp(failed) == 0) {
        boot->ExitBootServices(FAKE_HANDLE, fake_firmware.key);
        fail_msg("left twice");
    }
    assert_string_equal(message, "fake: ExitBootServices after boot services had ended");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stale_key_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_key_from_before, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_every_attempt_counts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refused_for_ever, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_grows_within_the_spare, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_spare_is_renewed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_grows_beyond_the_buffer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_grows_beyond_the_buffer_by_uefi_2_9, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_no_memory_by_uefi_2_9, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_grows_before_the_first_attempt, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_map_cannot_be_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_fake_forbids, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
