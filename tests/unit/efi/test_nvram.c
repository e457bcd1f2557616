// save=nvram against a variable store that is full, small, old, or refuses: nothing is written
// where much of it is not free, firmware's code runs in firmware's own address space, and what was
// read is gone only when that is asked for.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "control.h"
#include "failing.h"
#include "fake_hw.h"
#include "msr.h"
#include "nvram.h"
#include "report.h"

#define OURS_CR0      0x80010033u
#define OURS_CR3      0x211d000u
#define OURS_CR4      0x668u
#define OURS_EFER     0xd00u
#define OURS_PAT      0x0007010600070106u
#define FIRMWARE_CR0  0x80000033u
#define FIRMWARE_CR3  0x1000u
#define FIRMWARE_CR4  0x20u
#define FIRMWARE_EFER 0x500u
#define FIRMWARE_PAT  0x0007040600070406u
#define REVISION_2    (2u << 16)
#define KIB           1024u

static struct firmware firmware;
static struct console console;
static const struct problems problems = {report_problem, &console};
static EFI_SYSTEM_TABLE table;
static EFI_RUNTIME_SERVICES runtime;
static struct {
    UINT64 all, left, largest;
    EFI_STATUS query, set, get;
    char text[1200];
    UINTN bytes; // 0: there is no variable
    UINTN lie;   // with success, told instead of what was written; 0: none
    uint32_t sets, deletions;
} store;
static char heard[8192];

static void hear(void *context, const char *text)
{
    (void)context;
    strncat(heard, text, sizeof heard - strlen(heard) - 1);
}

static const struct hw_tables firmwares = {.gdt = {0x47, 0x1000}, .idt = {0xfff, 0x2000}};
static const struct hw_tables ours = {
    .gdt = {0x37, 0x5000}, .idt = {0x1ff, 0x6000}, .segments = {.cs = 8}, .task = 0x28};

static EFI_STATUS EFIAPI query(UINT32 attributes, UINT64 *all, UINT64 *left, UINT64 *largest)
{
    assert_int_equal(attributes, 7); // non-volatile, boot services, runtime
    *all = store.all;
    *left = store.left;
    *largest = store.largest;
    return store.query;
}

static EFI_STATUS EFIAPI get(CHAR16 *name, EFI_GUID *guid, UINT32 *attributes, UINTN *bytes,
                             void *data)
{
    assert_int_equal(name[0], L'R');
    assert_int_equal(guid->Data1, 0x7a9d2c1e);
    assert_null(attributes);
    if (EFI_ERROR(store.get))
        return store.get;
    if (store.bytes == 0)
        return EFI_NOT_FOUND;
    if (store.bytes > *bytes)
        return EFI_BUFFER_TOO_SMALL;
    memcpy(data, store.text, store.bytes);
    *bytes = store.lie != 0 ? store.lie : store.bytes;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI set(CHAR16 *name, EFI_GUID *guid, UINT32 attributes, UINTN bytes,
                             void *data)
{
    assert_int_equal(name[0], L'R');
    assert_int_equal(guid->Data1, 0x7a9d2c1e);
    assert_int_equal(attributes, 7);
    if (bytes == 0) {
        store.deletions++;
        return store.set;
    }
    assert_int_equal(hw_read_cr0(), FIRMWARE_CR0);
    assert_int_equal(hw_rdmsr(MSR_EFER), FIRMWARE_EFER);
    assert_int_equal(hw_read_cr3(), FIRMWARE_CR3);
    assert_int_equal(hw_read_cr4(), FIRMWARE_CR4);
    assert_int_equal(hw_read_tables().gdt.base, firmwares.gdt.base);
    assert_true(firmware.pat == 0 || hw_rdmsr(MSR_IA32_PAT) == FIRMWARE_PAT);
    assert_in_range(bytes, 1, 1000);
    store.sets++;
    if (EFI_ERROR(store.set))
        return store.set;
    memcpy(store.text, data, bytes);
    store.bytes = bytes;
    return EFI_SUCCESS;
}

static int set_up(void **state)
{
    (void)state;
    fake_reset();
    failures_fail_the_test();
    fake_start_clock(0, 1);
    memset(&firmware, 0, sizeof firmware);
    memset(&store, 0, sizeof store);
    heard[0] = '\0';
    store.all = 64 * KIB;
    store.left = 33 * KIB;
    store.largest = 32 * KIB;
    runtime = (EFI_RUNTIME_SERVICES){.Hdr = {.Revision = REVISION_2},
                                     .QueryVariableInfo = query,
                                     .GetVariable = get,
                                     .SetVariable = set};
    table.RuntimeServices = &runtime;
    firmware.system = &table;
    console_start(&console, LOG_NORMAL, 1);
    console.sinks[0] = (struct console_sink){.write_line = hear};
    fake_set_tables(&ours);
    firmware.cr0 = FIRMWARE_CR0;
    firmware.cr3 = FIRMWARE_CR3;
    firmware.cr4 = FIRMWARE_CR4;
    firmware.efer = FIRMWARE_EFER;
    firmware.tables = firmwares;
    fake_set_cr(FAKE_CR0, OURS_CR0);
    fake_set_cr(FAKE_CR3, OURS_CR3);
    fake_set_cr(FAKE_CR4, OURS_CR4);
    fake_set_cell(FAKE_MSR, MSR_EFER, OURS_EFER);
    return 0;
}

static void assert_refused(void)
{
    heard[0] = '\0';
    assert_false(nvram_has_room(&firmware, &problems));
    assert_non_null(strstr(heard, "what=no-nvram"));
}

static void assert_taken(void)
{
    heard[0] = '\0';
    assert_true(nvram_has_room(&firmware, &problems));
    assert_string_equal(heard, "");
}

// 5 KiB and half of the store have to be free, and one variable of our length allowed.
static void test_a_store_without_room(void **state)
{
    (void)state;
    assert_taken();
    store.left = 32 * KIB;
    assert_taken();
    store.left = 32 * KIB - 1;
    assert_refused();
    store.all = 8 * KIB;
    store.left = 5 * KIB;
    assert_taken();
    store.left = 5 * KIB - 1;
    assert_refused();
    store.left = 8 * KIB;
    store.largest = 1000;
    assert_taken();
    store.largest = 999;
    assert_refused();
}

static void test_a_store_that_does_not_say(void **state)
{
    (void)state;
    store.query = EFI_UNSUPPORTED;
    assert_refused();
    store.query = EFI_SUCCESS;
    runtime.Hdr.Revision = REVISION_2 - 1; // the service is not in its table yet
    runtime.QueryVariableInfo = NULL;
    assert_refused();
}

// Firmware's code in firmware's address space, and then ours again, whatever it answers.
static void test_written_in_firmwares_address_space(void **state)
{
    char text[] = "REVEILLE and what became of it";
    const struct line summary = {text, sizeof text, sizeof text - 1};

    (void)state;
    for (int refused = 0; refused <= 1; refused++) {
        store.set = refused ? EFI_OUT_OF_RESOURCES : EFI_SUCCESS;
        firmware.pat = refused ? FIRMWARE_PAT : 0;
        fake_set_cell(FAKE_MSR, MSR_IA32_PAT, OURS_PAT);
        nvram_save(&firmware, &summary, &console);
        assert_int_equal(store.sets, 1 + refused);
        assert_int_equal(hw_read_cr0(), OURS_CR0);
        assert_int_equal(hw_rdmsr(MSR_EFER), OURS_EFER);
        assert_int_equal(hw_read_cr3(), OURS_CR3);
        assert_int_equal(hw_read_cr4(), OURS_CR4);
        assert_int_equal(hw_rdmsr(MSR_IA32_PAT), OURS_PAT);
        const struct hw_tables now = hw_read_tables();
        assert_int_equal(now.gdt.base, ours.gdt.base);
        assert_int_equal(now.idt.base, ours.idt.base);
        assert_int_equal(now.segments.cs, ours.segments.cs);
        assert_int_equal(strstr(heard, "refused") != NULL, refused);
    }
    assert_int_equal(store.bytes, summary.length);
    assert_memory_equal(store.text, text, summary.length);
}

static void test_told_and_then_forgotten(void **state)
{
    (void)state;
    assert_false(nvram_tell(&firmware, &console));
    assert_string_equal(heard, "");
    memset(store.text, 'x', sizeof store.text);
    memcpy(store.text, "a \x1b[2J", 6); // what is in a variable is not believed
    store.bytes = 1000;
    assert_true(nvram_tell(&firmware, &console));
    assert_non_null(strstr(heard, "ev=nvram summary="));
    assert_null(strchr(heard, 0x1b));
    assert_int_equal(store.deletions, 0);
    nvram_forget(&firmware, &problems);
    assert_int_equal(store.deletions, 1);
    assert_null(strstr(heard, "nvram-kept"));
    store.set = EFI_WRITE_PROTECTED;
    nvram_forget(&firmware, &problems);
    assert_non_null(strstr(heard, "what=nvram-kept"));
    store.bytes = 0; // there is none: nothing is written
    heard[0] = '\0';
    nvram_forget(&firmware, &problems);
    assert_int_equal(store.deletions, 2);
    assert_string_equal(heard, "");
}

// Longer than what we write: somebody else's, and left alone.
static void test_a_variable_that_is_too_long(void **state)
{
    (void)state;
    store.bytes = 1001;
    assert_false(nvram_tell(&firmware, &console));
    nvram_forget(&firmware, &problems);
    assert_int_equal(store.deletions, 0);
    store.bytes = 10;
    store.get = EFI_DEVICE_ERROR;
    assert_false(nvram_tell(&firmware, &console));
    assert_string_equal(heard, "");
}

// Success, and a length that there was no room for: nothing of it is believed.
static void test_a_length_that_cannot_be(void **state)
{
    (void)state;
    memset(store.text, 'x', sizeof store.text);
    store.bytes = 10;
    for (store.lie = 1001; store.lie != 0; store.lie *= 2) {
        assert_false(nvram_tell(&firmware, &console));
        nvram_forget(&firmware, &problems);
    }
    assert_int_equal(store.deletions, 0);
    assert_string_equal(heard, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_a_store_without_room, set_up),
        cmocka_unit_test_setup(test_a_store_that_does_not_say, set_up),
        cmocka_unit_test_setup(test_written_in_firmwares_address_space, set_up),
        cmocka_unit_test_setup(test_told_and_then_forgotten, set_up),
        cmocka_unit_test_setup(test_a_variable_that_is_too_long, set_up),
        cmocka_unit_test_setup(test_a_length_that_cannot_be, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
