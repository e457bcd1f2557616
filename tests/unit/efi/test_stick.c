// The volume that the image was loaded from, as a fake one whose every call can fail. After a
// failure that does not get better there is no further call, be it only to close what is open; and
// it is told once.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "stick.h"

#define OLD_BYTES 8192u // of a file that is overwritten

static struct {
    size_t calls;   // to the file system
    size_t fail_at; // this one fails, counted from 1; 0: none
    EFI_STATUS status;
    size_t open; // handles
    bool has_folder;
    char text[3 * OLD_BYTES]; // of the last file
    size_t bytes;
    uint64_t file_bytes; // longer than what was written
} volume;
static EFI_BOOT_SERVICES boot;
static EFI_LOADED_IMAGE loaded = {.DeviceHandle = &volume};
static EFI_BLOCK_IO_MEDIA media;
static EFI_BLOCK_IO disk = {.Media = &media};
static EFI_FILE_IO_INTERFACE file_system;
static EFI_FILE root, folder, file;
static bool has_file_system, handle_is_gone;
static const struct firmware firmware = {.boot = &boot, .loaded = &loaded};
static struct console console;
static struct stick stick;
static size_t warnings; // that the volume may be slow
static struct journal journal;
static char journal_memory[4096], told[512];
static size_t told_count;

static void hear(void *context, enum severity severity, const char *what, const char *detail)
{
    (void)context;
    assert_int_equal(severity, SEVERITY_WARNING);
    assert_string_equal(what, "not-saved");
    snprintf(told, sizeof told, "%s", detail);
    told_count++;
}

static const struct problems problems = {hear, NULL};

static void hear_warning(void *context, const char *text)
{
    (void)context;
    assert_string_equal(text, "Saving to \\reveille: up to a minute if the volume is broken");
    assert_int_equal(volume.bytes, 0);
    warnings++;
}

static bool fails(void)
{
    return ++volume.calls == volume.fail_at;
}

static EFI_STATUS EFIAPI open_file(EFI_FILE *from, EFI_FILE **opened, CHAR16 *name, UINT64 mode,
                                   UINT64 attributes)
{
    (void)name, (void)attributes;
    if (fails())
        return volume.status;
    if (from == &root && !volume.has_folder && (mode & EFI_FILE_MODE_CREATE) == 0)
        return EFI_NOT_FOUND;
    volume.has_folder = true;
    *opened = from == &root ? &folder : &file;
    volume.open++;
    volume.bytes = 0;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI close_file(EFI_FILE *self)
{
    (void)self;
    volume.open--;
    return fails() ? volume.status : EFI_SUCCESS;
}

static EFI_STATUS EFIAPI delete_file(EFI_FILE *self)
{
    (void)self;
    volume.open--;
    return fails() ? EFI_WARN_DELETE_FAILURE : EFI_SUCCESS;
}

static EFI_STATUS EFIAPI write_file(EFI_FILE *self, UINTN *bytes, void *from)
{
    assert_ptr_equal(self, &file);
    if (fails()) {
        *bytes /= 2;
        return volume.status;
    }
    assert_true(volume.bytes + *bytes <= sizeof volume.text);
    memcpy(volume.text + volume.bytes, from, *bytes);
    volume.bytes += *bytes;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI flush_file(EFI_FILE *self)
{
    (void)self;
    return fails() ? volume.status : EFI_SUCCESS;
}

static EFI_STATUS EFIAPI get_info(EFI_FILE *self, EFI_GUID *guid, UINTN *bytes, void *info)
{
    (void)guid;
    if (fails())
        return volume.status;
    memset(info, 0, *bytes);
    if (self == &root)
        ((EFI_FILE_SYSTEM_INFO *)info)->FreeSpace = 1 << 20;
    else
        ((EFI_FILE_INFO *)info)->FileSize = volume.file_bytes;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI set_info(EFI_FILE *self, EFI_GUID *guid, UINTN bytes, void *info)
{
    (void)self, (void)guid, (void)bytes;
    assert_int_equal(((EFI_FILE_INFO *)info)->FileSize, volume.bytes);
    return fails() ? volume.status : EFI_SUCCESS;
}

static EFI_STATUS EFIAPI open_volume(EFI_FILE_IO_INTERFACE *self, EFI_FILE **opened)
{
    (void)self;
    if (fails())
        return volume.status;
    *opened = &root;
    volume.open++;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI handle_protocol(EFI_HANDLE handle, EFI_GUID *guid, void **found)
{
    EFI_GUID files = SIMPLE_FILE_SYSTEM_PROTOCOL, blocks = BLOCK_IO_PROTOCOL;

    assert_ptr_equal(handle, &volume);
    if (handle_is_gone)
        return EFI_INVALID_PARAMETER;
    if (memcmp(guid, &files, sizeof files) == 0 && has_file_system)
        *found = &file_system;
    else if (memcmp(guid, &blocks, sizeof blocks) == 0)
        *found = &disk;
    else
        return EFI_UNSUPPORTED;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI allocate_pool(EFI_MEMORY_TYPE type, UINTN bytes, void **memory)
{
    (void)type;
    *memory = test_malloc(bytes);
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI free_pool(void *memory)
{
    test_free(memory);
    return EFI_SUCCESS;
}

static void start(size_t fail_at, EFI_STATUS status)
{
    const EFI_FILE handle = {.Open = open_file,
                             .Close = close_file,
                             .Delete = delete_file,
                             .Write = write_file,
                             .Flush = flush_file,
                             .GetInfo = get_info,
                             .SetInfo = set_info};

    root = folder = file = handle;
    memset(&volume, 0, sizeof volume);
    volume.fail_at = fail_at;
    volume.status = status;
    volume.file_bytes = OLD_BYTES;
    media = (EFI_BLOCK_IO_MEDIA){.MediaPresent = TRUE};
    file_system.OpenVolume = open_volume;
    has_file_system = true;
    handle_is_gone = false;
    boot.HandleProtocol = handle_protocol;
    boot.AllocatePool = allocate_pool;
    boot.FreePool = free_pool;
    console_start(&console, LOG_NORMAL, 1);
    console.sinks[SINK_JOURNAL].write_line = hear_warning;
    stick = (struct stick){.firmware = &firmware, .console = &console};
    warnings = 0;
    told[0] = '\0';
    told_count = 0;
    journal_open(&journal, journal_memory, sizeof journal_memory);
    journal_write_line(&journal, "a sentence");
    journal_write_line(&journal, "REVEILLE ev=end ok=1");
}

static bool save(enum stick_end end)
{
    CHAR16 name[] = L"last";
    return stick_save(&stick, &journal, name, end, &problems);
}

static void test_a_volume_that_takes_it(void **state)
{
    (void)state;
    start(0, EFI_SUCCESS);
    assert_true(save(STICK_BLANK));
    assert_int_equal(volume.open, 0);
    assert_int_equal(volume.bytes, OLD_BYTES);
    assert_memory_equal(volume.text, "REVEILLE ev=end ok=1\r\n ", 23);
    assert_true(save(STICK_CUT));
    assert_int_equal(volume.bytes, 22);
    assert_true(stick_set_mark(&stick));
    assert_int_equal(stick_take_mark(&stick), STICK_MARK_TAKEN);
    assert_int_equal(volume.open, 0);
    assert_int_equal(told_count, 0);
    assert_int_equal(warnings, 1);
}

// Whatever call it is, and whatever comes after it in this start.
static void assert_asked_once(enum stick_end end, EFI_STATUS status)
{
    size_t calls;

    start(0, EFI_SUCCESS);
    assert_true(save(end));
    calls = volume.calls;
    for (size_t at = 1; at <= calls; at++) {
        start(at, status);
        const bool saved = save(end);
        if (!EFI_ERROR(stick.refusal)) { // Close cannot fail, and what GetInfo says can be missed
            assert_true(saved);
            continue;
        }
        assert_int_equal(stick.refusal, status);
        assert_false(saved);
        assert_int_equal(volume.calls, at);
        assert_int_equal(told_count, 1);
        assert_false(save(end));
        assert_false(stick_set_mark(&stick));
        assert_int_equal(stick_take_mark(&stick), STICK_UNMARKED);
        assert_int_equal(volume.calls, at);
        assert_int_equal(told_count, 1);
    }
}

static void test_a_volume_that_refuses_is_asked_once(void **state)
{
    static const EFI_STATUS kinds[] = {EFI_DEVICE_ERROR,    EFI_WRITE_PROTECTED, EFI_NO_MEDIA,
                                       EFI_MEDIA_CHANGED,   EFI_TIMEOUT,         EFI_NO_RESPONSE,
                                       EFI_VOLUME_CORRUPTED};

    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        assert_asked_once(STICK_BLANK, kinds[i]);
        assert_asked_once(STICK_CUT, kinds[i]);
    }
}

static void test_a_flush_that_fails(void **state)
{
    (void)state;
    start(0, EFI_SUCCESS);
    volume.file_bytes = 0;
    assert_true(save(STICK_BLANK));
    // OpenVolume, Open (the folder, twice, and what is free), Close, Open, Write, GetInfo, Flush.
    start(9, EFI_DEVICE_ERROR);
    volume.file_bytes = 0;
    assert_false(save(STICK_BLANK));
    assert_memory_equal(volume.text, "a sentence\r\n", 12);
    assert_int_equal(volume.calls, 9);
    assert_string_equal(told, "the volume reported an error: no \\reveille\\last.txt");
}

// A driver that calls it a success to have written a part: half a result is none.
static void test_a_write_that_ends_early(void **state)
{
    (void)state;
    start(7, EFI_SUCCESS); // Write: see above
    assert_false(save(STICK_BLANK));
    assert_int_equal(volume.bytes, 0);
    assert_int_equal(volume.open, 0);
    assert_string_equal(told, "the volume is full: no \\reveille\\last.txt");
    assert_int_equal(stick.refusal, EFI_SUCCESS); // one file's, and not the volume's
}

// The mark, too, is a first call; what it ran into is told by what is saved after it.
static void test_a_mark_on_a_volume_that_refuses(void **state)
{
    (void)state;
    start(1, EFI_DEVICE_ERROR);
    assert_int_equal(stick_take_mark(&stick), STICK_UNMARKED);
    assert_int_equal(told_count, 0);
    assert_false(save(STICK_BLANK));
    assert_int_equal(volume.calls, 1);
    assert_int_equal(told_count, 1);
}

// To look for the mark writes nothing, and is not told; to take it away is told before.
static void test_a_mark_that_stays(void **state)
{
    (void)state;
    start(0, EFI_SUCCESS);
    assert_int_equal(stick_take_mark(&stick), STICK_UNMARKED); // there is no folder
    assert_int_equal(warnings, 0);
    volume.has_folder = true;
    // OpenVolume, Open (folder), Close, Open (mark), Close, Delete.
    volume.fail_at = volume.calls + 6;
    assert_int_equal(stick_take_mark(&stick), STICK_MARK_STAYS);
    assert_int_equal(warnings, 1);
    assert_int_equal(volume.open, 0);
}

// A file that found no room leaves the volume as it is: closed, and asked again for a shorter one.
static void test_a_volume_that_is_full_in_the_middle(void **state)
{
    (void)state;
    start(0, EFI_SUCCESS);
    assert_true(save(STICK_BLANK));
    const size_t calls = volume.calls;
    for (size_t at = 1; at <= calls; at++) {
        start(at, EFI_VOLUME_FULL);
        const bool saved = save(STICK_BLANK);
        assert_int_equal(volume.open, 0);
        assert_int_equal(told_count, !saved);
        assert_true(save(STICK_BLANK));
    }
    start(7, EFI_VOLUME_FULL); // a write
    assert_false(save(STICK_BLANK));
    assert_string_equal(told, "the volume is full: no \\reveille\\last.txt");
}

static void assert_refused_unasked(const char *why)
{
    assert_false(save(STICK_BLANK));
    assert_false(save(STICK_BLANK));
    assert_int_equal(volume.calls, 0);
    assert_int_equal(told_count, 1);
    assert_string_equal(told, why);
}

static void test_what_is_known_beforehand_is_not_tried(void **state)
{
    (void)state;
    start(0, EFI_SUCCESS);
    media.MediaPresent = FALSE;
    assert_refused_unasked("the volume is gone: no \\reveille\\last.txt");
    start(0, EFI_SUCCESS);
    media.ReadOnly = TRUE;
    assert_refused_unasked("the volume is read-only: no \\reveille\\last.txt");
    start(0, EFI_SUCCESS);
    has_file_system = false;
    assert_refused_unasked("the image came from a network, or from a file system that firmware "
                           "cannot read: no \\reveille.cfg, no \\reveille\\last.txt");
    start(0, EFI_SUCCESS);
    handle_is_gone = true;
    assert_refused_unasked("the volume is gone: no \\reveille\\last.txt");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_volume_that_takes_it),
        cmocka_unit_test(test_a_volume_that_refuses_is_asked_once),
        cmocka_unit_test(test_a_flush_that_fails),
        cmocka_unit_test(test_a_write_that_ends_early),
        cmocka_unit_test(test_a_mark_on_a_volume_that_refuses),
        cmocka_unit_test(test_a_mark_that_stays),
        cmocka_unit_test(test_a_volume_that_is_full_in_the_middle),
        cmocka_unit_test(test_what_is_known_beforehand_is_not_tried),
    };

    return cmocka_run_group_tests_name("stick", tests, NULL, NULL);
}
