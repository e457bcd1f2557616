// \reveille.cfg on a volume that a test makes up: not there, a directory, empty, too long, not
// readable, in each step that can fail. Each is told with what to do. What cannot be read stops the
// run, anything else does not.
// Surprise: the fake volume counts what is open and what is allocated; every test ends with both at
// zero.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "configure.h"

static struct {
    EFI_STATUS has_volume, opens_volume, opens, tells_info, allocates, reads;
    bool directory;
    const char *text;
    size_t bytes;
} world;
static int opened, allocated;
static size_t longest_read;
static char told[1024];
static bool error;

static void tell(void *context, enum severity severity, const char *what, const char *detail)
{
    (void)context;
    error = error || severity == SEVERITY_ERROR;
    strcat(told, what);
    strcat(told, " ");
    assert_in_range(strlen(detail), 20, 300);
}

static EFI_STATUS EFIAPI close_file(EFI_FILE_HANDLE file)
{
    (void)file;
    opened--;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI get_info(EFI_FILE_HANDLE file, EFI_GUID *guid, UINTN *bytes, void *memory)
{
    EFI_FILE_INFO *info = memory;

    (void)file;
    assert_int_equal(guid->Data1, 0x9576e92);
    assert_in_range(*bytes, offsetof(EFI_FILE_INFO, FileName) + sizeof L"reveille.cfg", 4096);
    if (EFI_ERROR(world.tells_info))
        return world.tells_info;
    memset(info, 0xff, *bytes);
    info->Attribute = world.directory ? EFI_FILE_DIRECTORY | EFI_FILE_ARCHIVE : EFI_FILE_ARCHIVE;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI read_file(EFI_FILE_HANDLE file, UINTN *bytes, void *memory)
{
    (void)file;
    if (EFI_ERROR(world.reads))
        return world.reads;
    longest_read = *bytes;
    const size_t count = world.bytes < *bytes ? world.bytes : *bytes;
    for (size_t i = 0; i < count; i++)
        ((char *)memory)[i] = world.text ? world.text[i] : ' ';
    *bytes = count;
    return EFI_SUCCESS;
}

static EFI_FILE file_handle = {.Close = close_file, .GetInfo = get_info, .Read = read_file};

static EFI_STATUS EFIAPI open_file(EFI_FILE_HANDLE root, EFI_FILE_HANDLE *file, CHAR16 *name,
                                   UINT64 mode, UINT64 attributes)
{
    (void)root;
    assert_memory_equal(name, L"\\reveille.cfg", sizeof L"\\reveille.cfg");
    assert_int_equal(mode, EFI_FILE_MODE_READ);
    assert_int_equal(attributes, 0);
    if (EFI_ERROR(world.opens))
        return world.opens;
    *file = &file_handle;
    opened++;
    return EFI_SUCCESS;
}

static EFI_FILE root_handle = {.Open = open_file, .Close = close_file};

static EFI_STATUS EFIAPI open_volume(EFI_FILE_IO_INTERFACE *volume, EFI_FILE_HANDLE *root)
{
    (void)volume;
    if (EFI_ERROR(world.opens_volume))
        return world.opens_volume;
    *root = &root_handle;
    opened++;
    return EFI_SUCCESS;
}

static EFI_FILE_IO_INTERFACE volume_protocol = {.OpenVolume = open_volume};

static EFI_STATUS EFIAPI handle_protocol(EFI_HANDLE handle, EFI_GUID *guid, void **protocol)
{
    (void)handle;
    (void)guid;
    *protocol = &volume_protocol;
    return world.has_volume;
}

static EFI_STATUS EFIAPI allocate(EFI_MEMORY_TYPE type, UINTN bytes, void **memory)
{
    (void)type;
    if (EFI_ERROR(world.allocates))
        return world.allocates;
    *memory = malloc(bytes);
    allocated++;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI release(void *memory)
{
    free(memory);
    allocated--;
    return EFI_SUCCESS;
}

static EFI_BOOT_SERVICES boot = {
    .HandleProtocol = handle_protocol, .AllocatePool = allocate, .FreePool = release};
static char words[] = "X.EFI cpus=2";
static EFI_LOADED_IMAGE loaded = {
    .DeviceHandle = &boot, .LoadOptions = words, .LoadOptionsSize = sizeof words};
static const struct firmware firmware = {.boot = &boot, .loaded = &loaded};
static struct options options;

static int set_up(void **state)
{
    (void)state;
    memset(&world, 0, sizeof world);
    world.text = "rounds=3 cpus=1 save=nvram";
    world.bytes = strlen(world.text);
    loaded.DeviceHandle = &boot;
    return 0;
}

// The run goes on, with the load options, and nothing stays open.
static void assert_configures(uint32_t rounds, enum save_choice save, const char *findings)
{
    const struct problems problems = {tell, NULL};
    const struct typed typed = {.given = false};

    told[0] = '\0';
    error = false;
    const struct configured configured = configure(&firmware, &typed, &problems, &options);
    assert_int_equal(configured.status, STATUS_OK);
    assert_false(configured.unread);
    assert_string_equal(told, findings);
    assert_false(error);
    assert_int_equal(options.rounds, rounds);
    assert_int_equal(options.save, save);
    assert_int_equal(options.cpus_count, 1);
    assert_int_equal(options.cpus[0].first, 2);
    assert_int_equal(opened, 0);
    assert_int_equal(allocated, 0);
}

static void test_a_file(void **state)
{
    (void)state;
    assert_configures(3, SAVE_NVRAM, "");
    world.tells_info = EFI_UNSUPPORTED; // then it is taken for a file
    assert_configures(3, SAVE_NVRAM, "");
}

static void test_no_file(void **state)
{
    (void)state;
    world.opens = EFI_NOT_FOUND;
    assert_configures(1, SAVE_RAM, "");
    world.opens = EFI_SUCCESS;
    world.has_volume = EFI_UNSUPPORTED;
    assert_configures(1, SAVE_RAM, "");
    loaded.DeviceHandle = NULL;
    assert_configures(1, SAVE_RAM, "");
}

static void test_a_directory(void **state)
{
    (void)state;
    world.directory = true;
    assert_configures(1, SAVE_RAM, "config-directory ");
}

static void test_an_empty_file(void **state)
{
    (void)state;
    world.bytes = 0;
    assert_configures(1, SAVE_RAM, "config-empty ");
}

// Whose options are not known: nobody is woken, and nothing is saved.
static void assert_refuses(const char *finding)
{
    const struct problems problems = {tell, NULL};
    const struct typed typed = {.given = false};

    told[0] = '\0';
    error = false;
    const struct configured configured = configure(&firmware, &typed, &problems, &options);
    assert_int_equal(configured.status, STATUS_INVALID);
    assert_true(configured.unread);
    assert_string_equal(told, finding);
    assert_true(error);
    assert_int_equal(opened, 0);
    assert_int_equal(allocated, 0);
}

static void test_a_file_that_is_too_long(void **state)
{
    (void)state;
    world.text = NULL;
    world.bytes = 65535;
    assert_configures(1, SAVE_RAM, "");
    assert_int_equal(longest_read, 65536);
    world.bytes = 65536;
    assert_refuses("config-too-long ");
    world.bytes = 1000000;
    assert_refuses("config-too-long ");
}

static void test_a_file_that_cannot_be_read(void **state)
{
    (void)state;
    world.reads = EFI_DEVICE_ERROR;
    assert_refuses("config-unreadable ");
    world.reads = EFI_SUCCESS;
    world.allocates = EFI_OUT_OF_RESOURCES;
    assert_refuses("config-unreadable ");
    world.opens = EFI_VOLUME_CORRUPTED;
    assert_refuses("config-unreadable ");
    world.opens_volume = EFI_NO_MEDIA;
    assert_refuses("config-unreadable ");
}

// What is wrong with an option in it still stops the run.
static void test_a_bad_value(void **state)
{
    (void)state;
    const struct problems problems = {tell, NULL};
    const struct typed typed = {.given = false};

    world.text = "rounds=0";
    world.bytes = strlen(world.text);
    told[0] = '\0';
    const struct configured configured = configure(&firmware, &typed, &problems, &options);
    assert_int_equal(configured.status, STATUS_INVALID);
    assert_false(configured.unread);
    assert_string_equal(told, "bad-value ");
}

// A line that was edited: neither file nor load options.
static void test_a_typed_line(void **state)
{
    (void)state;
    const struct problems problems = {tell, NULL};
    struct typed typed = {.text = "rounds=4", .length = 8, .given = true};

    world.directory = true;
    told[0] = '\0';
    const struct configured configured = configure(&firmware, &typed, &problems, &options);
    assert_int_equal(configured.status, STATUS_OK);
    assert_false(configured.unread);
    assert_string_equal(told, "");
    assert_int_equal(options.rounds, 4);
    assert_int_equal(options.cpus_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_a_file, set_up),
        cmocka_unit_test_setup(test_no_file, set_up),
        cmocka_unit_test_setup(test_a_directory, set_up),
        cmocka_unit_test_setup(test_an_empty_file, set_up),
        cmocka_unit_test_setup(test_a_file_that_is_too_long, set_up),
        cmocka_unit_test_setup(test_a_file_that_cannot_be_read, set_up),
        cmocka_unit_test_setup(test_a_bad_value, set_up),
        cmocka_unit_test_setup(test_a_typed_line, set_up),
    };
    return cmocka_run_group_tests_name("configure", tests, NULL, NULL);
}
