// The end on hardware: keys, the power button, and resets without firmware, as port logs.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "fake_hw.h"
#include "person.h"
#include "reset.h"

static const struct fadt laptop = {.has_8042 = true, .power_status = 0x600, .power_enable = 0x602};
static const struct clock clock_1mhz = {.tsc_hz = 1000000};

// What the keyboard controller has for us: status and byte, one after the other.
static struct {
    uint8_t status, byte;
} waiting[64];
static size_t waiting_at, waiting_count;

static void fail_test(const char *message)
{
    fail_msg("%s", message);
}

static uint64_t read_status(void *context, uint64_t address)
{
    (void)context, (void)address;
    return waiting_at < waiting_count ? waiting[waiting_at].status : 0;
}

static uint64_t read_data(void *context, uint64_t address)
{
    (void)context, (void)address;
    assert_true(waiting_at < waiting_count);
    return waiting[waiting_at++].byte;
}

static int set_up(void **state)
{
    (void)state;
    fake_reset();
    fake_on_failure(fail_test);
    fake_hook(FAKE_PORT8, 0x64, 0x64, read_status, NULL, NULL);
    fake_hook(FAKE_PORT8, 0x60, 0x60, read_data, NULL, NULL);
    fake_set_cell(FAKE_PORT16, 0x600, 0);
    fake_set_cell(FAKE_PORT16, 0x602, 0x20);
    waiting_at = waiting_count = 0;
    return 0;
}

static void send(uint8_t status, uint8_t byte)
{
    waiting[waiting_count].status = status;
    waiting[waiting_count++].byte = byte;
}

static void test_only_a_key_that_goes_down_is_a_wish(void **state)
{
    static const struct {
        uint8_t status, byte;
        enum wish wish;
    } cases[] = {
        {0x1d, 0x1c, WISH_KEY},     {0x1d, 0x9c, WISH_NOTHING}, // released
        {0x3d, 0x1c, WISH_NOTHING},                             // the mouse
        {0x1d, 0xe0, WISH_NOTHING}, {0x1d, 0xfa, WISH_NOTHING}, {0x1d, 0x00, WISH_NOTHING},
    };

    (void)state;
    assert_int_equal(person_asks(&laptop), WISH_NOTHING);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        send(cases[i].status, cases[i].byte);
        assert_int_equal(person_asks(&laptop), cases[i].wish);
    }
    assert_int_equal(waiting_at, waiting_count);
}

static void test_what_was_pressed_before_is_forgotten(void **state)
{
    (void)state;
    send(0x1d, 0x1c);
    send(0x1d, 0x9c);
    person_listen(&laptop);
    FAKE_EXPECT_LOG({FAKE_OUT16, 0x600, 0x100, 0, 0}, {FAKE_OUT16, 0x602, 0x120, 0, 0});
    fake_set_cell(FAKE_PORT16, 0x600, 0x001);
    assert_int_equal(person_asks(&laptop), WISH_NOTHING);
    fake_set_cell(FAKE_PORT16, 0x600, 0x101);
    assert_int_equal(person_asks(&laptop), WISH_POWER);
}

static void test_a_controller_that_never_ends(void **state)
{
    (void)state;
    for (size_t i = 0; i < 64; i++)
        send(0xff, 0xff); // a floating bus
    person_listen(&laptop);
    assert_int_equal(waiting_at, 0);
    waiting_count = 0;
    for (size_t i = 0; i < 64; i++)
        send(0x1d, 0x55);
    person_listen(&laptop);
    assert_int_equal(waiting_at, 32);
}

static void test_what_the_fadt_does_not_name_is_not_touched(void **state)
{
    const struct fadt nothing = {.has_8042 = false};

    (void)state;
    fake_reset(); // any access is a failure now
    fake_on_failure(fail_test);
    person_listen(&nothing);
    assert_int_equal(person_asks(&nothing), WISH_NOTHING);
}

static void test_a_controller_that_is_not_there(void **state)
{
    const struct fadt none = {.has_8042 = false};

    (void)state;
    assert_true(person_has_keys(&laptop));
    send(0xff, 0xff);
    assert_false(person_has_keys(&laptop));
    fake_reset(); // the port is not asked
    fake_on_failure(fail_test);
    assert_false(person_has_keys(&none));
}

static struct {
    uint32_t told, last;
    uint64_t at;
} count_down;

static void tell_seconds(void *context, uint32_t left)
{
    assert_ptr_equal(context, &count_down);
    count_down.told++;
    count_down.last = left;
    count_down.at = fake_now();
    assert_in_range(count_down.at, (3 - left) * 1000000, (3 - left) * 1000000 + 10000);
}

static void test_a_count_down(void **state)
{
    (void)state;
    memset(&count_down, 0, sizeof count_down);
    fake_start_clock(0, 1000);
    person_count_down(&clock_1mhz, 3, tell_seconds, &count_down);
    assert_int_equal(count_down.told, 3);
    assert_int_equal(count_down.last, 1);
    assert_in_range(fake_now(), 3000000, 3010000);
    person_count_down(&clock_1mhz, 0, tell_seconds, &count_down);
    assert_int_equal(count_down.told, 3);
    assert_in_range(fake_now(), 3000000, 3020000);
}

static void test_reset_by_port(void **state)
{
    const struct fadt fadt = {
        .can_reset = true, .reset_space = GAS_IO, .reset_address = 0xcf9, .reset_value = 0x0f};

    (void)state;
    fake_set_cell(FAKE_PORT8, 0xcf9, 0);
    fake_start_clock(0, 100);
    assert_true(reset_by_fadt(&fadt, &clock_1mhz));
    FAKE_EXPECT_LOG({FAKE_OUT8, 0xcf9, 0x0f, 0, 0});
    assert_in_range(fake_now(), 1000000, 1000400); // a second, and no more
}

static void test_reset_by_memory_or_not_at_all(void **state)
{
    const struct fadt fadt = {.can_reset = true,
                              .reset_space = GAS_MEMORY,
                              .reset_address = 0xfed40000,
                              .reset_value = 6};
    const struct fadt none = {.can_reset = false};

    (void)state;
    fake_set_cell(FAKE_MMIO, 0xfed40000, 0);
    fake_start_clock(0, 1000);
    assert_true(reset_by_fadt(&fadt, &clock_1mhz));
    FAKE_EXPECT_LOG({FAKE_WRITE8, 0xfed40000, 6, 0, 0});
    fake_log_clear();
    assert_false(reset_by_fadt(&none, &clock_1mhz));
    assert_int_equal(fake_log_count(), 0);
}

static void test_reset_by_the_chipset(void **state)
{
    (void)state;
    fake_set_cell(FAKE_PORT8, 0xcf9, 0);
    fake_start_clock(0, 1000);
    reset_by_chipset(&clock_1mhz);
    // Memory is kept first; the power cycle that loses it is the last resort.
    FAKE_EXPECT_LOG({FAKE_OUT8, 0xcf9, 0x02, 0, 0}, {FAKE_OUT8, 0xcf9, 0x06, 0, 0},
                    {FAKE_OUT8, 0xcf9, 0x0a, 0, 0}, {FAKE_OUT8, 0xcf9, 0x0e, 0, 0});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_only_a_key_that_goes_down_is_a_wish, set_up),
        cmocka_unit_test_setup(test_what_was_pressed_before_is_forgotten, set_up),
        cmocka_unit_test_setup(test_a_controller_that_never_ends, set_up),
        cmocka_unit_test_setup(test_what_the_fadt_does_not_name_is_not_touched, set_up),
        cmocka_unit_test_setup(test_a_controller_that_is_not_there, set_up),
        cmocka_unit_test_setup(test_a_count_down, set_up),
        cmocka_unit_test_setup(test_reset_by_port, set_up),
        cmocka_unit_test_setup(test_reset_by_memory_or_not_at_all, set_up),
        cmocka_unit_test_setup(test_reset_by_the_chipset, set_up),
    };

    return cmocka_run_group_tests_name("person", tests, NULL, NULL);
}
