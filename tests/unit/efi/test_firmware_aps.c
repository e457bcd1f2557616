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
    bool lies; // tells these instead of the truth
    UINTN told_count, told_enabled;
    bool disabled[CPUS], lost[CPUS];
    uint64_t cr2[CPUS];
    uint32_t calls;
} mp;

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
    if (mp.lies) {
        *count = mp.told_count;
        *enabled = mp.told_enabled;
    }
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

// What was told, line by line.
static char heard[4096];

static void hear(void *context, const char *line)
{
    (void)context;
    assert_true(strlen(heard) + strlen(line) + 2 < sizeof heard);
    strcat(strcat(heard, line), "\n");
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
    run.machine.low_page = FAKE_LOW_PAGE;
    run.machine.mp_services = run.machine.mp_services_enabled = CPUS;
    run.voice.log.console = &run.voice.console;
    run.voice.problems = (struct problems){report_problem, &run.voice.log};
    console_start(&run.voice.console, LOG_NORMAL, 1);
    run.voice.console.sinks[SINK_JOURNAL] = (struct console_sink){.write_line = hear};
    heard[0] = '\0';
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
    assert_int_equal(firmware_takes_back(&run).ran, 0);
    assert_false(firmware_takes_back(&run).answered);
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

// Counts that cannot be are believed in nothing.
static void test_counts_that_cannot_be(void **state)
{
    static const UINTN lies[][2] = {{0, 0}, {4, 0}, {4, 5}, {0, 1}, {1, 2}};

    (void)state;
    mp.lies = true;
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        mp.told_count = lies[i][0];
        mp.told_enabled = lies[i][1];
        assert_int_equal(parking(), PARKING_UNKNOWN);
    }
    assert_int_equal(mp.calls, 0);
}

// More or fewer than really run, as when MP Services and the MADT do not mean the same machine.
static void test_counts_of_another_machine(void **state)
{
    (void)state;
    mp.lies = true;
    mp.told_count = mp.told_enabled = CPUS + 1;
    assert_int_equal(parking(), PARKING_UNKNOWN);
    mp.told_count = mp.told_enabled = CPUS - 1;
    assert_int_equal(parking(), PARKING_UNKNOWN);
}

// ---- who is refused ----

static void expect_return(enum status status, const char *text)
{
    heard[0] = '\0';
    assert_int_equal(run_check_return(&run), status);
    if (text)
        assert_non_null(strstr(heard, text));
    else
        assert_string_equal(heard, "");
}

static void test_init_is_not_refused(void **state)
{
    (void)state;
    expect_return(STATUS_OK, NULL);
    assert_int_equal(run.parking, PARKING_INIT);
    mp.count = 1;
    expect_return(STATUS_OK, NULL);
}

static void test_other_parking_is_refused(void **state)
{
    (void)state;
    mp.parks_by_memory = true;
    expect_return(STATUS_UNSUPPORTED, "ev=error what=parking");
    assert_non_null(strstr(heard, "wait for a word in memory"));
    run.options.force = ANSWER_YES;
    expect_return(STATUS_OK, "ev=warning what=parking");
    assert_int_equal(run.parking, PARKING_OTHER);
}

static void test_unknown_parking_is_refused(void **state)
{
    (void)state;
    mp.absent = true;
    expect_return(STATUS_UNSUPPORTED, "ev=error what=parking");
    assert_non_null(strstr(heard, "it cannot be found out"));
    run.options.force = ANSWER_YES;
    expect_return(STATUS_OK, "ev=warning what=parking");
}

// Firmware's own wake takes nobody away, however they wait.
static void test_firmwares_wake_is_not_refused(void **state)
{
    (void)state;
    mp.parks_by_memory = true;
    run.plan.wake = WAKE_FIRMWARE;
    expect_return(STATUS_OK, NULL);
}

static void test_a_late_page_is_refused(void **state)
{
    (void)state;
    run.machine.low_page = 0;
    run.options.force = ANSWER_YES;
    expect_return(STATUS_NOT_FOUND, "ev=error what=no-low-page");
}

// ---- one round by firmware ----

static uint32_t missing[CPUS], values[CPUS];
static uint8_t page[PAGE_BYTES];

static struct wake_result round_by_firmware(void)
{
    struct wake_result result;

    run.wake.plan = &run.plan;
    run.wake.arena = &run.arena;
    run.wake.missing = missing;
    run.wake.values = values;
    run.wake.page_view = page;
    run.wake.clock.tsc_hz = 1000000000;
    run.plan.wake = WAKE_FIRMWARE;
    arena_rally(&run.arena)->console = &run.voice.console;
    arena_rally(&run.arena)->turn_wait_ticks = 1000;
    fake_start_clock(1, 10);
    fake_set_cr(FAKE_CR0, 1);
    fake_set_cr(FAKE_CR4, 1);
    fake_set_cell(FAKE_MSR, 0xc0000080, 0x500);
    for (uint32_t leaf = 0; leaf < 0x20; leaf++)
        fake_set_cpuid(leaf, FAKE_ANY_SUBLEAF, (struct cpuid){0});
    fake_set_cpuid(0x80000000, FAKE_ANY_SUBLEAF, (struct cpuid){0});
    firmware_wake_round(&run, 100, &result);
    return result;
}

static void test_a_round(void **state)
{
    (void)state;
    assert_int_equal(round_by_firmware().up, CPUS - 1);
    assert_string_equal(heard, "Hello from CPU 1! APIC ID: 1\nHello from CPU 2! APIC ID: 2\n"
                               "Hello from CPU 3! APIC ID: 3\n");
}

// Who did run has come, all the same; nobody is asked a second time.
static void test_a_round_that_times_out(void **state)
{
    (void)state;
    mp.times_out = mp.lost[2] = true;
    assert_int_equal(round_by_firmware().up, CPUS - 2);
    assert_int_equal(arena_account(&run.arena, 2)->lost, 1);
    assert_non_null(strstr(heard, "ev=error what=mp-services"));
    assert_int_equal(mp.calls, 1);
}

static void test_a_round_without_mp_services(void **state)
{
    (void)state;
    mp.absent = true;
    assert_int_equal(round_by_firmware().up, 0);
    assert_non_null(strstr(heard, "ev=error what=mp-services"));
}

static void test_a_round_with_a_disabled_one(void **state)
{
    (void)state;
    mp.disabled[1] = true;
    assert_int_equal(round_by_firmware().up, CPUS - 2);
}

// ---- whether they are back ----

static bool all_are_back(void)
{
    const struct taken_back taken = firmware_takes_back(&run);
    return everybody_is_back(&run, &taken);
}

static void test_all_back(void **state)
{
    const struct taken_back nothing = {0}, claimed = {.answered = true, .counts = true};

    (void)state;
    assert_false(everybody_is_back(&run, &nothing));
    assert_false(everybody_is_back(&run, &claimed)); // nobody has said so itself
    const struct taken_back taken = firmware_takes_back(&run);
    assert_int_equal(taken.ran, CPUS - 1);
    assert_true(taken.answered && taken.counts);
    assert_true(everybody_is_back(&run, &taken));
    assert_false(everybody_is_back(&run, &nothing));
}

static void test_one_is_not(void **state)
{
    (void)state;
    mp.lost[3] = true;
    const struct taken_back taken = firmware_takes_back(&run);
    assert_int_equal(taken.ran, CPUS - 2);
    assert_true(taken.answered);
    assert_false(taken.counts);
    assert_false(everybody_is_back(&run, &taken));
}

// All ran, and still it did not end well.
static void test_a_time_out_is_kept(void **state)
{
    (void)state;
    mp.times_out = true;
    const struct taken_back taken = firmware_takes_back(&run);
    assert_int_equal(taken.ran, CPUS - 1);
    assert_false(taken.answered);
    assert_true(taken.counts);
    assert_false(everybody_is_back(&run, &taken));
    mp.refuses = true;
    assert_false(all_are_back());
}

static void test_counts_that_changed(void **state)
{
    static const UINTN lies[][2] = {{0, 0}, {CPUS, CPUS - 1}, {CPUS + 1, CPUS}, {CPUS, CPUS + 1}};

    (void)state;
    mp.lies = true;
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        mp.told_count = lies[i][0];
        mp.told_enabled = lies[i][1];
        assert_false(all_are_back());
    }
    mp.lies = false;
    assert_true(all_are_back());
    run.machine.mp_services = CPUS + 1; // it counted one more before
    assert_false(all_are_back());
}

// We woke whom firmware had disabled, and it does not take that one back.
static void test_the_disabled_one_is_not(void **state)
{
    (void)state;
    mp.disabled[1] = true;
    run.machine.mp_services_enabled = CPUS - 1;
    const struct taken_back taken = firmware_takes_back(&run);
    assert_true(taken.answered && taken.counts);
    assert_false(everybody_is_back(&run, &taken));
}

// Who came unasked has to come back as well, record or none.
static void test_unlisted(void **state)
{
    struct rally *rally = arena_rally(&run.arena);

    (void)state;
    atomic_store(&arena_lcpu(&run.arena, 0)->lcpu.back, 1); // somebody whose ID is 0
    atomic_store(&rally->unlisted_count, 1);                // and it has not said yet which it is
    assert_false(all_are_back());
    rally->unlisted_ids[0] = 77;
    assert_false(all_are_back());
    rally->unlisted_ids[0] = 2;
    assert_true(all_are_back());
    arena_falsify_id(&run.arena, 2); // its record has gone, as with inject=wrong-id
    atomic_store(&arena_lcpu(&run.arena, 2)->lcpu.back, 0);
    assert_true(all_are_back());
    atomic_store(&rally->unlisted_count, RALLY_UNLISTED_MAX + 1);
    assert_false(all_are_back()); // more than were written down
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_woken_by_init),
        TEST(test_woken_by_memory),
        TEST(test_absent),
        TEST(test_refused_or_slow),
        TEST(test_wrong_count),
        TEST(test_a_disabled_one_is_no_matter),
        TEST(test_nobody),
        TEST(test_counts_that_cannot_be),
        TEST(test_counts_of_another_machine),
        TEST(test_init_is_not_refused),
        TEST(test_other_parking_is_refused),
        TEST(test_unknown_parking_is_refused),
        TEST(test_firmwares_wake_is_not_refused),
        TEST(test_a_late_page_is_refused),
        TEST(test_a_round),
        TEST(test_a_round_that_times_out),
        TEST(test_a_round_without_mp_services),
        TEST(test_a_round_with_a_disabled_one),
        TEST(test_all_back),
        TEST(test_one_is_not),
        TEST(test_a_time_out_is_kept),
        TEST(test_counts_that_changed),
        TEST(test_the_disabled_one_is_not),
        TEST(test_unlisted),
    };
    return cmocka_run_group_tests_name("firmware_aps", tests, NULL, NULL);
}
