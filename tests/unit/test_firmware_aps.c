// MP Services as firmware might have them: absent, deaf, slow, with a processor disabled, with a
// park that no INIT reaches; and what is believed of each. Surprise: the fake's processors run a
// procedure one after another on the test's own, with a CR2 and an APIC ID of their own.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "fake_hw.h"
#include "fake_machine.h"
#include "firmware_aps.h"
#include "mp_services.h"

#define CPUS     4u
#define APIC_MSR 0x802u

static struct fake_machine machine;
static struct reveille run;
static EFI_BOOT_SERVICES boot;

static struct {
    struct mp_services services;
    bool absent, refuses, parks_by_memory, times_out;
    uint32_t count;
    bool disabled[CPUS], lost[CPUS];
    uint64_t cr2[CPUS];
    uint32_t calls;
} mp;

void run_show_journal(struct reveille *unused)
{
    (void)unused;
}

static EFI_STATUS EFIAPI locate(EFI_GUID *guid, VOID *registration, VOID **interface)
{
    (void)guid, (void)registration;
    if (mp.absent)
        return EFI_NOT_FOUND;
    *interface = &mp.services;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI numbers(struct mp_services *self, UINTN *count, UINTN *enabled)
{
    (void)self;
    *count = mp.count;
    *enabled = 0;
    for (uint32_t i = 0; i < mp.count; i++)
        *enabled += !mp.disabled[i];
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI startup(struct mp_services *self, void(EFIAPI *procedure)(void *),
                                 BOOLEAN one_by_one, EFI_EVENT event, UINTN timeout_us,
                                 void *argument, UINTN **failed)
{
    (void)self, (void)failed;
    assert_false(one_by_one);
    assert_null(event);
    assert_int_not_equal(timeout_us, 0); // firmware is never asked to wait for ever
    mp.calls++;
    if (mp.refuses)
        return EFI_DEVICE_ERROR;
    for (uint32_t i = 1; i < mp.count; i++) {
        if (mp.disabled[i] || mp.lost[i])
            continue;
        fake_set_cr(FAKE_CR2, mp.parks_by_memory ? mp.cr2[i] : 0);
        fake_set_cell(FAKE_MSR, APIC_MSR, i);
        procedure(argument);
        mp.cr2[i] = hw_read_cr2();
    }
    return mp.times_out ? EFI_TIMEOUT : EFI_SUCCESS;
}

static int set_up(void **state)
{
    (void)state;
    fake_reset();
    fake_machine_start(&machine, CPUS, 0, NULL);
    memset(&run, 0, sizeof run);
    memset(&mp, 0, sizeof mp);
    mp.count = CPUS;
    mp.services.get_number_of_processors = numbers;
    mp.services.startup_all_aps = startup;
    boot.LocateProtocol = locate;
    run.firmware.boot = &boot;
    run.machine.apic_base = 0xfee00d00;
    run.arena = machine.arena;
    run.plan.want = CPUS - 1;
    fake_set_cell(FAKE_MSR, MSR_IA32_APIC_BASE, 0xfee00d00);
    fake_set_cell(FAKE_MSR, APIC_MSR, 0);
    fake_set_cr(FAKE_CR2, 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_machine_stop(&machine);
    return 0;
}

static enum parking parking(void)
{
    return firmware_parking(&run.firmware, &run.firmware_aps);
}

// ---- how they wait ----

static void test_woken_by_init(void **state)
{
    (void)state;
    assert_int_equal(parking(), PARKING_INIT);
    assert_int_equal(mp.calls, 2);
}

static void test_woken_by_memory(void **state)
{
    (void)state;
    mp.parks_by_memory = true;
    assert_int_equal(parking(), PARKING_OTHER);
    for (uint32_t i = 1; i < CPUS; i++)
        assert_int_equal(mp.cr2[i], 0); // the mark is taken away again
}

static void test_absent(void **state)
{
    (void)state;
    mp.absent = true;
    assert_int_equal(parking(), PARKING_UNKNOWN);
    assert_int_equal(firmware_takes_back(&run), 0);
    assert_false(everybody_is_back(&run));
}

static void test_refused_or_slow(void **state)
{
    (void)state;
    mp.refuses = true;
    assert_int_equal(parking(), PARKING_UNKNOWN);
    mp.refuses = false;
    mp.times_out = true;
    assert_int_equal(parking(), PARKING_UNKNOWN);
}

// One did not run, although it is counted: nothing is known of how it waits.
static void test_wrong_count(void **state)
{
    (void)state;
    mp.lost[2] = true;
    assert_int_equal(parking(), PARKING_UNKNOWN);
}

static void test_a_disabled_one_is_no_matter(void **state)
{
    (void)state;
    mp.disabled[2] = true;
    assert_int_equal(parking(), PARKING_INIT);
}

static void test_nobody(void **state)
{
    (void)state;
    mp.count = 1;
    assert_int_equal(parking(), PARKING_NOBODY);
    assert_int_equal(mp.calls, 0);
}

// ---- whether they are back ----

static void test_all_back(void **state)
{
    (void)state;
    assert_false(everybody_is_back(&run));
    assert_int_equal(firmware_takes_back(&run), CPUS - 1);
    assert_true(everybody_is_back(&run));
}

static void test_one_is_not(void **state)
{
    (void)state;
    mp.lost[3] = true;
    assert_int_equal(firmware_takes_back(&run), CPUS - 2);
    assert_false(everybody_is_back(&run));
}

// We woke whom firmware had disabled, and it does not take that one back.
static void test_the_disabled_one_is_not(void **state)
{
    (void)state;
    mp.disabled[1] = true;
    (void)firmware_takes_back(&run);
    assert_false(everybody_is_back(&run));
}

// Who came unasked has to come back as well, record or none.
static void test_unlisted(void **state)
{
    struct rally *rally = arena_rally(&run.arena);

    (void)state;
    rally->unlisted_ids[0] = 77;
    atomic_store(&rally->unlisted_count, 1);
    (void)firmware_takes_back(&run);
    assert_false(everybody_is_back(&run));
    rally->unlisted_ids[0] = 2;
    assert_true(everybody_is_back(&run));
    arena_falsify_id(&run.arena, 2); // its record has gone, as with inject=wrong-id
    atomic_store(&arena_lcpu(&run.arena, 2)->lcpu.back, 0);
    (void)firmware_takes_back(&run);
    assert_true(everybody_is_back(&run));
    atomic_store(&rally->unlisted_count, RALLY_UNLISTED_MAX + 1);
    assert_false(everybody_is_back(&run)); // more than were written down
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_woken_by_init), TEST(test_woken_by_memory),
        TEST(test_absent),        TEST(test_refused_or_slow),
        TEST(test_wrong_count),   TEST(test_a_disabled_one_is_no_matter),
        TEST(test_nobody),        TEST(test_all_back),
        TEST(test_one_is_not),    TEST(test_the_disabled_one_is_not),
        TEST(test_unlisted),
    };
    return cmocka_run_group_tests_name("firmware_aps", tests, NULL, NULL);
}
