// The TSC's rate, by a firmware whose Stall() is right, too long once, or wrong, and held against
// CPUID and the ACPI power-management timer.
#include "fake_firmware.h"

#include "fake_hw.h"
#include "timing.h"
#include "told.h"

#define PM_PORT 0x608u
#define GHZ     1000000000ull
#define STEP    100u // ticks of a look at the counter: what a measurement is too long by

static struct firmware firmware;
static struct machine machine;
static struct told told;
static struct {
    uint64_t tsc_hz; // the real one
    uint64_t late_us[3];
    size_t calls;
} stall;

static void fail_test(const char *message)
{
    fail_msg("%s", message);
}

static EFI_STATUS EFIAPI stall_for(UINTN us)
{
    assert_in_range(stall.calls, 0, 2);
    fake_advance((us + stall.late_us[stall.calls++]) * (stall.tsc_hz / 1000000));
    return EFI_SUCCESS;
}

static uint64_t read_pm_timer(void *context, uint64_t address)
{
    (void)context, (void)address;
    // 24 bits of it, and it wraps in the first measurement.
    return (0xfffff0 + fake_now() * 3579545 / stall.tsc_hz) & 0xffffff;
}

static int set_up(void **state)
{
    (void)state;
    fake_reset();
    fake_on_failure(fail_test);
    fake_start_clock(0, STEP);
    fake_hook(FAKE_PORT32, PM_PORT, PM_PORT, read_pm_timer, NULL, NULL);
    firmware = fake_firmware_start(48);
    fake_firmware.boot.Stall = stall_for;
    memset(&stall, 0, sizeof stall);
    memset(&told, 0, sizeof told);
    machine = (struct machine){0};
    stall.tsc_hz = 2 * GHZ;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_firmware_clear();
    return 0;
}

static enum status calibrate(uint16_t pm_port)
{
    const struct problems problems = told_listen(&told);
    return time_calibrate(&firmware, pm_port, &problems, &machine);
}

// To within a tick of the fake's counter in a measurement of 10 ms.
static void assert_hz(uint64_t hz, uint64_t expected)
{
    assert_in_range(hz, expected, expected + 2 * STEP * 100);
}

static void test_the_shortest_measurement_counts(void **state)
{
    (void)state;
    stall.late_us[0] = 5000;
    stall.late_us[2] = 300000;
    assert_int_equal(calibrate(0), STATUS_OK);
    assert_hz(machine.clock.tsc_hz, 2 * GHZ);
    assert_string_equal(machine.clock_check, "none");
    assert_int_equal(told.count, 0);
}

static void test_the_timer_agrees(void **state)
{
    (void)state;
    assert_int_equal(calibrate(PM_PORT), STATUS_OK);
    assert_string_equal(machine.clock_check, "pm-timer");
    assert_in_range(machine.clock_check_hz, 1999 * GHZ / 1000, 2001 * GHZ / 1000);
    assert_int_equal(told.count, 0);
}

// Stall() that comes back too early makes the TSC slow, and waits too short; one that comes back
// too late does no harm.
static void test_waits_use_the_larger_rate(void **state)
{
    static const struct {
        uint64_t cpuid_hz, used_hz;
        const char *text;
    } cases[] = {
        {2 * GHZ + GHZ / 10, 2 * GHZ, NULL}, // near enough
        {3 * GHZ, 3 * GHZ, "cpuid makes it 3000000000 Hz; waits use 3000000000 Hz"},
        {1 * GHZ, 2 * GHZ, "cpuid makes it 1000000000 Hz; waits use 20000"},
        {11 * GHZ, 2 * GHZ, "cpuid makes it 11000000000 Hz; waits use 20000"}, // no TSC is so fast
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        set_up(state);
        machine.processor.tsc_hz = cases[i].cpuid_hz;
        assert_int_equal(calibrate(PM_PORT), STATUS_OK);
        assert_string_equal(machine.clock_check, "cpuid");
        assert_hz(machine.clock.tsc_hz, cases[i].used_hz);
        assert_int_equal(told.count, cases[i].text != NULL);
        if (cases[i].text)
            assert_int_equal(told_times(&told, "tsc-disagrees", cases[i].text), 1);
        tear_down(state);
    }
}

static void test_no_clock(void **state)
{
    static const uint64_t rates[] = {9000000, 10100000000};

    for (size_t i = 0; i < 2; i++) {
        set_up(state);
        fake_start_clock(0, 1);
        stall.tsc_hz = rates[i];
        assert_int_equal(calibrate(0), STATUS_UNSUPPORTED);
        assert_int_equal(told_times(&told, "no-clock", "it cannot time a wait"), 1);
        tear_down(state);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_shortest_measurement_counts),
        TEST(test_the_timer_agrees),
        TEST(test_waits_use_the_larger_rate),
        TEST(test_no_clock),
    };
    return cmocka_run_group_tests_name("time", tests, NULL, NULL);
}
