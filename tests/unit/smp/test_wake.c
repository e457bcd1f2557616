// The messages of a wake, one by one, as the manual's table reads, for every strategy, in both
// modes of the local APIC, with the time between them. (SDM vol. 3A, "MP Initialization Protocol
// Algorithm for MP Systems": INIT, 10 ms, STARTUP, 200 us, STARTUP; "Interrupt Command Register
// (ICR)": 000C4500H and 000C46XXH are its own examples for all but self.) Surprise: the values are
// written out. A test that composed them as the code does would be wrong with it.
#include "fake_aps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

// The waits between messages. Everything but these follows at once.
enum wait { NEXT, AFTER_INIT, AFTER_RETRY_INIT, AFTER_SIPI, AFTER_TIMEOUT, WAITS };

// One message, by MSR 0x830 and by the two registers at 0x310 and 0x300.
struct message {
    enum wait wait;
    uint64_t x2apic;
    uint32_t icr_high, icr_low;
};

#define EVENTS_MAX 256u
#define SIPI_US    200u
#define TIMEOUT_US 3000u

// No wait may be a microsecond longer than asked.
#define SLACK_TICKS 1000u

// Three APs; their IDs are neither 1, 2, 3 nor in a row.
static const uint32_t ids[] = {0x00, 0x01, 0x04, 0xfe};

static struct fake_aps aps;

static void fail_test(const char *message)
{
    fail_msg("%s", message);
}

static int set_up(void **state)
{
    (void)state;
    fake_on_failure(fail_test);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_aps_close(&aps);
    return 0;
}

static struct fake_expected after(enum fake_kind kind, uint64_t address, uint64_t value,
                                  uint64_t wait_ticks)
{
    return (struct fake_expected){kind, address, value, wait_ticks, wait_ticks + SLACK_TICKS};
}

// A list of messages as the events that each is made of, in one mode; the waits in microseconds.
static size_t as_events(const struct message *messages, size_t count, const uint64_t *waits_us,
                        enum apic_choice apic, struct fake_expected *events)
{
    uint32_t last_low = 0;
    size_t n = 0;

    for (size_t i = 0; i < count; i++) {
        const struct message *m = &messages[i];
        const uint64_t ticks = i == 0 ? 0 : waits_us[m->wait] * FAKE_TICKS_PER_US;
        assert_true(n + 3 <= EVENTS_MAX);
        if (apic == APIC_X2APIC) {
            events[n++] = after(FAKE_FENCE, 0, 0, ticks);
            events[n++] = after(FAKE_WRMSR, 0x830, m->x2apic, 0);
        } else {
            events[n++] = after(FAKE_READ32, 0xfee00300, last_low, ticks);
            events[n++] = after(FAKE_WRITE32, 0xfee00310, m->icr_high, 0);
            events[n++] = after(FAKE_WRITE32, 0xfee00300, m->icr_low, 0);
            last_low = m->icr_low;
        }
    }
    return n;
}

// What one run is asked for, and what its APs do.
struct run {
    enum smp_strategy wake;
    uint32_t sipis;
    uint32_t init_us;            // the option
    uint32_t first_us, retry_us; // what it comes to
    uint32_t lost_startups[4];   // by CPU
    uint32_t deaf_inits[4];
    uint32_t retries;
};

static void run_once(const struct run *run, enum apic_choice apic, const struct message *messages,
                     size_t count)
{
    const uint64_t waits_us[WAITS] = {0, run->first_us, run->retry_us, SIPI_US, TIMEOUT_US};
    struct fake_expected events[EVENTS_MAX];
    struct wake_result result;

    fake_aps_open(&aps, 4);
    for (uint32_t cpu = 0; cpu < 4; cpu++) {
        aps.aps[cpu].apic_id = ids[cpu];
        aps.aps[cpu].lost_startups = run->lost_startups[cpu];
        aps.aps[cpu].deaf_inits = run->deaf_inits[cpu];
    }
    aps.options.wake = run->wake;
    aps.options.sipis = run->sipis;
    aps.options.sipi_us = SIPI_US;
    aps.options.init_us = run->init_us;
    aps.options.timeout_us = TIMEOUT_US;
    aps.options.retries = run->retries;
    aps.options.apic = apic;
    fake_aps_prepare(&aps);
    fake_log_kinds(FAKE_LOG_DEFAULT | FAKE_READ32 | FAKE_RDMSR);

    wake_round(&aps.wake, &result);

    const size_t expected = as_events(messages, count, waits_us, apic, events);
    fake_expect_log(__FILE__, __LINE__, events, expected);
    assert_int_equal(result.icr_writes, count);
    assert_int_equal(aps.messages, count);
    assert_int_equal(result.unsent, 0);
    // No AP ever saw less than the manual's time: INIT to STARTUP, STARTUP to STARTUP.
    assert_true(aps.least_init_ticks >= (uint64_t)run->first_us * FAKE_TICKS_PER_US);
    assert_true(aps.least_sipi_ticks >= (uint64_t)SIPI_US * FAKE_TICKS_PER_US);
    fake_aps_close(&aps);
}

// Both modes, and every wait after INIT.
static void run_all(struct run run, const struct message *messages, size_t count)
{
    static const struct {
        uint32_t init_us, first_us;
    } inits[] = {{INIT_US_AUTO, 10}, {0, 0}, {10000, 10000}, {12345, 12345}};

    for (size_t i = 0; i < sizeof inits / sizeof inits[0]; i++) {
        run.init_us = inits[i].init_us;
        run.first_us = inits[i].first_us;
        run.retry_us = run.first_us > 10000 ? run.first_us : 10000;
        run_once(&run, APIC_X2APIC, messages, count);
        run_once(&run, APIC_XAPIC, messages, count);
    }
}

#define RUN_ALL(messages, ...) \
    run_all((struct run){__VA_ARGS__}, messages, sizeof(messages) / sizeof((messages)[0]))

// ---- parallel: each message to all, the waits shared ----

static const struct message parallel_1[] = {
    {NEXT, 0x0000000100004500, 0x01000000, 0x00004500},
    {NEXT, 0x0000000400004500, 0x04000000, 0x00004500},
    {NEXT, 0x000000fe00004500, 0xfe000000, 0x00004500},
    {AFTER_INIT, 0x000000010000469e, 0x01000000, 0x0000469e},
    {NEXT, 0x000000040000469e, 0x04000000, 0x0000469e},
    {NEXT, 0x000000fe0000469e, 0xfe000000, 0x0000469e},
};

static const struct message parallel_2[] = {
    {NEXT, 0x0000000100004500, 0x01000000, 0x00004500},
    {NEXT, 0x0000000400004500, 0x04000000, 0x00004500},
    {NEXT, 0x000000fe00004500, 0xfe000000, 0x00004500},
    {AFTER_INIT, 0x000000010000469e, 0x01000000, 0x0000469e},
    {NEXT, 0x000000040000469e, 0x04000000, 0x0000469e},
    {NEXT, 0x000000fe0000469e, 0xfe000000, 0x0000469e},
    {AFTER_SIPI, 0x000000010000469e, 0x01000000, 0x0000469e},
    {NEXT, 0x000000040000469e, 0x04000000, 0x0000469e},
    {NEXT, 0x000000fe0000469e, 0xfe000000, 0x0000469e},
};

static const struct message parallel_4[] = {
    {NEXT, 0x0000000100004500, 0x01000000, 0x00004500},
    {NEXT, 0x0000000400004500, 0x04000000, 0x00004500},
    {NEXT, 0x000000fe00004500, 0xfe000000, 0x00004500},
    {AFTER_INIT, 0x000000010000469e, 0x01000000, 0x0000469e},
    {NEXT, 0x000000040000469e, 0x04000000, 0x0000469e},
    {NEXT, 0x000000fe0000469e, 0xfe000000, 0x0000469e},
    {AFTER_SIPI, 0x000000010000469e, 0x01000000, 0x0000469e},
    {NEXT, 0x000000040000469e, 0x04000000, 0x0000469e},
    {NEXT, 0x000000fe0000469e, 0xfe000000, 0x0000469e},
    {AFTER_SIPI, 0x000000010000469e, 0x01000000, 0x0000469e},
    {NEXT, 0x000000040000469e, 0x04000000, 0x0000469e},
    {NEXT, 0x000000fe0000469e, 0xfe000000, 0x0000469e},
    {AFTER_SIPI, 0x000000010000469e, 0x01000000, 0x0000469e},
    {NEXT, 0x000000040000469e, 0x04000000, 0x0000469e},
    {NEXT, 0x000000fe0000469e, 0xfe000000, 0x0000469e},
};

static void test_parallel(void **state)
{
    (void)state;
    RUN_ALL(parallel_1, .wake = SMP_PARALLEL, .sipis = 1);
    RUN_ALL(parallel_2, .wake = SMP_PARALLEL, .sipis = 2);
    RUN_ALL(parallel_4, .wake = SMP_PARALLEL, .sipis = 4);
    // A number is a number: whoever has answered gets the rest all the same, and who answers late
    // is no matter.
    RUN_ALL(parallel_4, .wake = SMP_PARALLEL, .sipis = 4, .lost_startups = {0, 3, 0, 1});
}

static void test_parallel_auto(void **state)
{
    static const struct message straggler[] = {
        {NEXT, 0x0000000100004500, 0x01000000, 0x00004500},
        {NEXT, 0x0000000400004500, 0x04000000, 0x00004500},
        {NEXT, 0x000000fe00004500, 0xfe000000, 0x00004500},
        {AFTER_INIT, 0x000000010000469e, 0x01000000, 0x0000469e},
        {NEXT, 0x000000040000469e, 0x04000000, 0x0000469e},
        {NEXT, 0x000000fe0000469e, 0xfe000000, 0x0000469e},
        {AFTER_SIPI, 0x000000040000469e, 0x04000000, 0x0000469e},
    };

    (void)state;
    RUN_ALL(parallel_1, .wake = SMP_PARALLEL, .sipis = SMP_SIPIS_AUTO);
    RUN_ALL(parallel_2, .wake = SMP_PARALLEL, .sipis = SMP_SIPIS_AUTO, .lost_startups = {0, 1, 1, 1});
    RUN_ALL(straggler, .wake = SMP_PARALLEL, .sipis = SMP_SIPIS_AUTO, .lost_startups = {0, 0, 1, 0});
}

static void test_parallel_retry(void **state)
{
    static const struct message messages[] = {
        {NEXT, 0x0000000100004500, 0x01000000, 0x00004500},
        {NEXT, 0x0000000400004500, 0x04000000, 0x00004500},
        {NEXT, 0x000000fe00004500, 0xfe000000, 0x00004500},
        {AFTER_INIT, 0x000000010000469e, 0x01000000, 0x0000469e},
        {NEXT, 0x000000040000469e, 0x04000000, 0x0000469e},
        {NEXT, 0x000000fe0000469e, 0xfe000000, 0x0000469e},
        {AFTER_SIPI, 0x000000010000469e, 0x01000000, 0x0000469e},
        {NEXT, 0x000000fe0000469e, 0xfe000000, 0x0000469e},
        {AFTER_TIMEOUT, 0x0000000100004500, 0x01000000, 0x00004500},
        {NEXT, 0x000000fe00004500, 0xfe000000, 0x00004500},
        {AFTER_RETRY_INIT, 0x000000010000469e, 0x01000000, 0x0000469e},
        {NEXT, 0x000000fe0000469e, 0xfe000000, 0x0000469e},
        {AFTER_SIPI, 0x000000fe0000469e, 0xfe000000, 0x0000469e},
        {AFTER_TIMEOUT, 0x000000fe00004500, 0xfe000000, 0x00004500},
        {AFTER_RETRY_INIT, 0x000000fe0000469e, 0xfe000000, 0x0000469e},
    };
    static const struct message fixed[] = {
        {NEXT, 0x0000000100004500, 0x01000000, 0x00004500},
        {NEXT, 0x0000000400004500, 0x04000000, 0x00004500},
        {NEXT, 0x000000fe00004500, 0xfe000000, 0x00004500},
        {AFTER_INIT, 0x000000010000469e, 0x01000000, 0x0000469e},
        {NEXT, 0x000000040000469e, 0x04000000, 0x0000469e},
        {NEXT, 0x000000fe0000469e, 0xfe000000, 0x0000469e},
        {AFTER_SIPI, 0x000000010000469e, 0x01000000, 0x0000469e},
        {NEXT, 0x000000040000469e, 0x04000000, 0x0000469e},
        {NEXT, 0x000000fe0000469e, 0xfe000000, 0x0000469e},
        {AFTER_TIMEOUT, 0x0000000400004500, 0x04000000, 0x00004500},
        {AFTER_RETRY_INIT, 0x000000040000469e, 0x04000000, 0x0000469e},
        {AFTER_SIPI, 0x000000040000469e, 0x04000000, 0x0000469e},
    };

    (void)state;
    RUN_ALL(messages, .wake = SMP_PARALLEL, .sipis = SMP_SIPIS_AUTO, .retries = 2,
            .deaf_inits = {0, 1, 0, 2});
    RUN_ALL(fixed, .wake = SMP_PARALLEL, .sipis = 2, .retries = 1, .deaf_inits = {0, 0, 1, 0});
}

// ---- one by one: the manual's loop ----

static const struct message one_by_one_1[] = {
    {NEXT, 0x0000000100004500, 0x01000000, 0x00004500},
    {AFTER_INIT, 0x000000010000469e, 0x01000000, 0x0000469e},
    {NEXT, 0x0000000400004500, 0x04000000, 0x00004500},
    {AFTER_INIT, 0x000000040000469e, 0x04000000, 0x0000469e},
    {NEXT, 0x000000fe00004500, 0xfe000000, 0x00004500},
    {AFTER_INIT, 0x000000fe0000469e, 0xfe000000, 0x0000469e},
};

static const struct message one_by_one_2[] = {
    {NEXT, 0x0000000100004500, 0x01000000, 0x00004500},
    {AFTER_INIT, 0x000000010000469e, 0x01000000, 0x0000469e},
    {AFTER_SIPI, 0x000000010000469e, 0x01000000, 0x0000469e},
    {NEXT, 0x0000000400004500, 0x04000000, 0x00004500},
    {AFTER_INIT, 0x000000040000469e, 0x04000000, 0x0000469e},
    {AFTER_SIPI, 0x000000040000469e, 0x04000000, 0x0000469e},
    {NEXT, 0x000000fe00004500, 0xfe000000, 0x00004500},
    {AFTER_INIT, 0x000000fe0000469e, 0xfe000000, 0x0000469e},
    {AFTER_SIPI, 0x000000fe0000469e, 0xfe000000, 0x0000469e},
};

static const struct message one_by_one_4[] = {
    {NEXT, 0x0000000100004500, 0x01000000, 0x00004500},
    {AFTER_INIT, 0x000000010000469e, 0x01000000, 0x0000469e},
    {AFTER_SIPI, 0x000000010000469e, 0x01000000, 0x0000469e},
    {AFTER_SIPI, 0x000000010000469e, 0x01000000, 0x0000469e},
    {AFTER_SIPI, 0x000000010000469e, 0x01000000, 0x0000469e},
    {NEXT, 0x0000000400004500, 0x04000000, 0x00004500},
    {AFTER_INIT, 0x000000040000469e, 0x04000000, 0x0000469e},
    {AFTER_SIPI, 0x000000040000469e, 0x04000000, 0x0000469e},
    {AFTER_SIPI, 0x000000040000469e, 0x04000000, 0x0000469e},
    {AFTER_SIPI, 0x000000040000469e, 0x04000000, 0x0000469e},
    {NEXT, 0x000000fe00004500, 0xfe000000, 0x00004500},
    {AFTER_INIT, 0x000000fe0000469e, 0xfe000000, 0x0000469e},
    {AFTER_SIPI, 0x000000fe0000469e, 0xfe000000, 0x0000469e},
    {AFTER_SIPI, 0x000000fe0000469e, 0xfe000000, 0x0000469e},
    {AFTER_SIPI, 0x000000fe0000469e, 0xfe000000, 0x0000469e},
};

static void test_one_by_one(void **state)
{
    (void)state;
    RUN_ALL(one_by_one_1, .wake = SMP_ONE_BY_ONE, .sipis = 1);
    RUN_ALL(one_by_one_2, .wake = SMP_ONE_BY_ONE, .sipis = 2);
    RUN_ALL(one_by_one_4, .wake = SMP_ONE_BY_ONE, .sipis = 4);
    RUN_ALL(one_by_one_4, .wake = SMP_ONE_BY_ONE, .sipis = 4, .lost_startups = {0, 3, 0, 1});
}

static void test_one_by_one_auto(void **state)
{
    static const struct message straggler[] = {
        {NEXT, 0x0000000100004500, 0x01000000, 0x00004500},
        {AFTER_INIT, 0x000000010000469e, 0x01000000, 0x0000469e},
        {NEXT, 0x0000000400004500, 0x04000000, 0x00004500},
        {AFTER_INIT, 0x000000040000469e, 0x04000000, 0x0000469e},
        {AFTER_SIPI, 0x000000040000469e, 0x04000000, 0x0000469e},
        {NEXT, 0x000000fe00004500, 0xfe000000, 0x00004500},
        {AFTER_INIT, 0x000000fe0000469e, 0xfe000000, 0x0000469e},
    };

    (void)state;
    RUN_ALL(one_by_one_1, .wake = SMP_ONE_BY_ONE, .sipis = SMP_SIPIS_AUTO);
    RUN_ALL(one_by_one_2, .wake = SMP_ONE_BY_ONE, .sipis = SMP_SIPIS_AUTO,
            .lost_startups = {0, 1, 1, 1});
    RUN_ALL(straggler, .wake = SMP_ONE_BY_ONE, .sipis = SMP_SIPIS_AUTO, .lost_startups = {0, 0, 1, 0});
}

static void test_one_by_one_retry(void **state)
{
    static const struct message messages[] = {
        {NEXT, 0x0000000100004500, 0x01000000, 0x00004500},
        {AFTER_INIT, 0x000000010000469e, 0x01000000, 0x0000469e},
        {AFTER_SIPI, 0x000000010000469e, 0x01000000, 0x0000469e},
        {AFTER_TIMEOUT, 0x0000000400004500, 0x04000000, 0x00004500},
        {AFTER_INIT, 0x000000040000469e, 0x04000000, 0x0000469e},
        {NEXT, 0x000000fe00004500, 0xfe000000, 0x00004500},
        {AFTER_INIT, 0x000000fe0000469e, 0xfe000000, 0x0000469e},
        {AFTER_SIPI, 0x000000fe0000469e, 0xfe000000, 0x0000469e},
        {AFTER_TIMEOUT, 0x0000000100004500, 0x01000000, 0x00004500},
        {AFTER_RETRY_INIT, 0x000000010000469e, 0x01000000, 0x0000469e},
        {NEXT, 0x000000fe00004500, 0xfe000000, 0x00004500},
        {AFTER_RETRY_INIT, 0x000000fe0000469e, 0xfe000000, 0x0000469e},
    };

    (void)state;
    RUN_ALL(messages, .wake = SMP_ONE_BY_ONE, .sipis = SMP_SIPIS_AUTO, .retries = 1,
            .deaf_inits = {0, 1, 0, 1});
}

// ---- broadcast: all but self; the retry names the missing ----

static const struct message broadcast_1[] = {
    {NEXT, 0x00000000000c4500, 0x00000000, 0x000c4500},
    {AFTER_INIT, 0x00000000000c469e, 0x00000000, 0x000c469e},
};

static const struct message broadcast_2[] = {
    {NEXT, 0x00000000000c4500, 0x00000000, 0x000c4500},
    {AFTER_INIT, 0x00000000000c469e, 0x00000000, 0x000c469e},
    {AFTER_SIPI, 0x00000000000c469e, 0x00000000, 0x000c469e},
};

static const struct message broadcast_4[] = {
    {NEXT, 0x00000000000c4500, 0x00000000, 0x000c4500},
    {AFTER_INIT, 0x00000000000c469e, 0x00000000, 0x000c469e},
    {AFTER_SIPI, 0x00000000000c469e, 0x00000000, 0x000c469e},
    {AFTER_SIPI, 0x00000000000c469e, 0x00000000, 0x000c469e},
    {AFTER_SIPI, 0x00000000000c469e, 0x00000000, 0x000c469e},
};

static void test_broadcast(void **state)
{
    (void)state;
    RUN_ALL(broadcast_1, .wake = SMP_BROADCAST, .sipis = 1);
    RUN_ALL(broadcast_2, .wake = SMP_BROADCAST, .sipis = 2);
    RUN_ALL(broadcast_4, .wake = SMP_BROADCAST, .sipis = 4);
    RUN_ALL(broadcast_4, .wake = SMP_BROADCAST, .sipis = 4, .lost_startups = {0, 3, 0, 1});
}

static void test_broadcast_auto(void **state)
{
    // The second STARTUP is for stragglers, by name: the others may be in C by now.
    static const struct message stragglers[] = {
        {NEXT, 0x00000000000c4500, 0x00000000, 0x000c4500},
        {AFTER_INIT, 0x00000000000c469e, 0x00000000, 0x000c469e},
        {AFTER_SIPI, 0x000000010000469e, 0x01000000, 0x0000469e},
        {NEXT, 0x000000fe0000469e, 0xfe000000, 0x0000469e},
    };

    (void)state;
    RUN_ALL(broadcast_1, .wake = SMP_BROADCAST, .sipis = SMP_SIPIS_AUTO);
    RUN_ALL(stragglers, .wake = SMP_BROADCAST, .sipis = SMP_SIPIS_AUTO, .lost_startups = {0, 1, 0, 1});
}

static void test_broadcast_retry(void **state)
{
    static const struct message messages[] = {
        {NEXT, 0x00000000000c4500, 0x00000000, 0x000c4500},
        {AFTER_INIT, 0x00000000000c469e, 0x00000000, 0x000c469e},
        {AFTER_SIPI, 0x00000000000c469e, 0x00000000, 0x000c469e},
        {AFTER_TIMEOUT, 0x0000000400004500, 0x04000000, 0x00004500},
        {AFTER_RETRY_INIT, 0x000000040000469e, 0x04000000, 0x0000469e},
        {AFTER_SIPI, 0x000000040000469e, 0x04000000, 0x0000469e},
    };

    (void)state;
    RUN_ALL(messages, .wake = SMP_BROADCAST, .sipis = 2, .retries = 1, .deaf_inits = {0, 0, 1, 0});
}

// ---- what is no strategy's own ----

static void test_all_the_manuals_waits(void **state)
{
    // A processor of no known family: auto is the manual's 10 ms, in the first sequence too.
    struct wake_result result;

    (void)state;
    fake_aps_open(&aps, 2);
    aps.machine.processor = (struct processor){.vendor = VENDOR_OTHER, .family = 6};
    aps.options.sipis = 2;
    fake_aps_prepare(&aps);
    wake_round(&aps.wake, &result);
    FAKE_EXPECT_LOG({FAKE_WRITE32, 0xfee00310, 0x01000000, 0, 0},
                    {FAKE_WRITE32, 0xfee00300, 0x00004500, 0, 0},
                    {FAKE_WRITE32, 0xfee00310, 0x01000000, 10000000, 10001000},
                    {FAKE_WRITE32, 0xfee00300, 0x0000469e, 0, 0},
                    {FAKE_WRITE32, 0xfee00310, 0x01000000, 200000, 201000},
                    {FAKE_WRITE32, 0xfee00300, 0x0000469e, 0, 0});
    assert_int_equal(result.up, 1);
}

static void test_ids_beyond_eight_bits(void **state)
{
    struct wake_result result;

    (void)state;
    fake_aps_open(&aps, 4);
    aps.aps[1].apic_id = 0x12b;
    aps.aps[2].apic_id = 0xff; // a broadcast in xAPIC mode, a processor like any other here
    aps.aps[3].apic_id = 0xfffffffe;
    fake_aps_prepare(&aps);
    wake_round(&aps.wake, &result);
    FAKE_EXPECT_LOG({FAKE_FENCE, 0, 0, 0, 0}, {FAKE_WRMSR, 0x830, 0x0000012b00004500, 0, 0},
                    {FAKE_FENCE, 0, 0, 0, 0}, {FAKE_WRMSR, 0x830, 0x000000ff00004500, 0, 0},
                    {FAKE_FENCE, 0, 0, 0, 0}, {FAKE_WRMSR, 0x830, 0xfffffffe00004500, 0, 0},
                    {FAKE_FENCE, 0, 0, 10000, 11000}, {FAKE_WRMSR, 0x830, 0x0000012b0000469e, 0, 0},
                    {FAKE_FENCE, 0, 0, 0, 0}, {FAKE_WRMSR, 0x830, 0x000000ff0000469e, 0, 0},
                    {FAKE_FENCE, 0, 0, 0, 0}, {FAKE_WRMSR, 0x830, 0xfffffffe0000469e, 0, 0});
    assert_int_equal(result.up, 3);
}

static void test_nobody_to_wake(void **state)
{
    struct wake_result result;

    (void)state;
    for (enum smp_strategy wake = SMP_PARALLEL; wake <= SMP_BROADCAST; wake++) {
        fake_aps_open(&aps, 1);
        aps.options.wake = wake;
        fake_aps_prepare(&aps);
        result.up = 7;
        wake_round(&aps.wake, &result);
        fake_expect_log(__FILE__, __LINE__, NULL, 0);
        assert_int_equal(result.up, 0);
        assert_int_equal(result.icr_writes, 0);
        assert_int_equal(result.last_us, 0);
        assert_int_equal(aps.wake.missing_count, 0);
        assert_int_equal(wake_greet(&aps.wake, 1000), 0);
        fake_aps_close(&aps);
    }
}

// Only those whom cpus= names are sent anything.
static void test_a_selection(void **state)
{
    struct wake_result result;

    (void)state;
    fake_aps_open(&aps, 6);
    aps.options.wake = SMP_ONE_BY_ONE;
    aps.options.cpus[0] = (struct cpu_range){2, 2};
    aps.options.cpus[1] = (struct cpu_range){5, 5};
    aps.options.cpus_count = 2;
    fake_aps_prepare(&aps);
    wake_round(&aps.wake, &result);
    FAKE_EXPECT_LOG({FAKE_FENCE, 0, 0, 0, 0}, {FAKE_WRMSR, 0x830, 0x0000000200004500, 0, 0},
                    {FAKE_FENCE, 0, 0, 0, 0}, {FAKE_WRMSR, 0x830, 0x000000020000469e, 0, 0},
                    {FAKE_FENCE, 0, 0, 0, 0}, {FAKE_WRMSR, 0x830, 0x0000000500004500, 0, 0},
                    {FAKE_FENCE, 0, 0, 0, 0}, {FAKE_WRMSR, 0x830, 0x000000050000469e, 0, 0});
    assert_int_equal(result.up, 2);
    assert_int_equal(arena_account(&aps.arena, 1)->cpu, 2);
    assert_int_equal(arena_account(&aps.arena, 2)->cpu, 5);
}

// ---- large machines ----

static uint64_t broadcast_to(size_t ap_count, enum apic_choice apic)
{
    struct wake_result result;

    fake_aps_open(&aps, ap_count + 1);
    aps.options.wake = SMP_BROADCAST;
    aps.options.apic = apic;
    fake_aps_prepare(&aps);
    wake_round(&aps.wake, &result);
    assert_int_equal(result.up, ap_count);
    assert_int_equal(aps.wake.missing_count, 0);
    assert_int_equal(aps.messages, result.icr_writes);
    fake_aps_close(&aps);
    return result.icr_writes;
}

// Everybody at once: two messages in all, whatever the machine's size.
static void test_broadcast_is_two_messages(void **state)
{
    static const size_t counts[] = {1, 3, 63, 254, 4095};

    (void)state;
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        assert_int_equal(broadcast_to(counts[i], APIC_X2APIC), 2);
        if (counts[i] <= 254)
            assert_int_equal(broadcast_to(counts[i], APIC_XAPIC), 2);
    }
}

// 63 APs, each 90 us behind the one before it: the last comes long after sipi_us, and nobody needs
// a second STARTUP but one on whom the first was lost.
static uint64_t broadcast_to_a_queue(uint32_t lost_on, uint32_t *startups)
{
    struct wake_result result;

    fake_aps_open(&aps, 64);
    aps.options.wake = SMP_BROADCAST;
    aps.options.timeout_us = 100000;
    for (uint32_t cpu = 1; cpu < 64; cpu++)
        aps.aps[cpu].to_c_ticks = cpu * 90ull * FAKE_TICKS_PER_US;
    aps.aps[lost_on].lost_startups = lost_on > 0;
    fake_aps_prepare(&aps);
    wake_round(&aps.wake, &result);
    assert_int_equal(result.up, 63);
    assert_int_equal(result.retried, 0);
    *startups = aps.aps[lost_on].startups;
    fake_aps_close(&aps);
    return result.icr_writes;
}

static void test_who_is_behind_the_others_gets_no_second_startup(void **state)
{
    uint32_t startups;

    (void)state;
    assert_int_equal(broadcast_to_a_queue(0, &startups), 2);
    assert_int_equal(broadcast_to_a_queue(20, &startups), 3);
    assert_int_equal(startups, 2);
}

// Somebody else has the processors for a millisecond, as a hypervisor does, soon after the STARTUP.
static void steal(struct fake_aps *machine, uint64_t now)
{
    if (machine->messages != 2 || now < machine->aps[1].last_message + 20 * FAKE_TICKS_PER_US)
        return;
    machine->watch = NULL;
    for (size_t cpu = 1; cpu < machine->count; cpu++)
        machine->aps[cpu].due += 1050 * FAKE_TICKS_PER_US;
    fake_advance(1000 * FAKE_TICKS_PER_US);
}

static void test_stolen_time_is_no_time_of_watching(void **state)
{
    struct wake_result result;

    (void)state;
    fake_aps_open(&aps, 4);
    aps.options.wake = SMP_BROADCAST;
    for (uint32_t cpu = 1; cpu < 4; cpu++)
        aps.aps[cpu].to_protected_ticks = 100 * FAKE_TICKS_PER_US;
    fake_aps_prepare(&aps);
    aps.watch = steal;
    wake_round(&aps.wake, &result);
    assert_null(aps.watch);
    assert_int_equal(result.up, 3);
    assert_int_equal(result.icr_writes, 2);
    assert_true(result.first_us > 1000);
}

// Between the last STARTUP of a round and the first INIT of the next one lies sipi_us: a STARTUP on
// its way would start whom the INIT has just reset, long before its wait is over.
static void test_rounds_keep_their_distance(void **state)
{
    struct wake_result result;

    (void)state;
    fake_aps_open(&aps, 2);
    aps.options.sipis = 2;
    aps.options.sipi_us = SIPI_US;
    aps.options.init_us = 10;
    fake_aps_prepare(&aps);
    wake_round(&aps.wake, &result);
    const uint64_t first = aps.aps[1].last_message;
    wake_round(&aps.wake, &result);
    assert_true(aps.aps[1].last_message - first >= (SIPI_US + 10 + SIPI_US) * FAKE_TICKS_PER_US);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parallel),
        cmocka_unit_test(test_parallel_auto),
        cmocka_unit_test(test_parallel_retry),
        cmocka_unit_test(test_one_by_one),
        cmocka_unit_test(test_one_by_one_auto),
        cmocka_unit_test(test_one_by_one_retry),
        cmocka_unit_test(test_broadcast),
        cmocka_unit_test(test_broadcast_auto),
        cmocka_unit_test(test_broadcast_retry),
        cmocka_unit_test_setup_teardown(test_all_the_manuals_waits, NULL, tear_down),
        cmocka_unit_test_setup_teardown(test_ids_beyond_eight_bits, NULL, tear_down),
        cmocka_unit_test(test_nobody_to_wake),
        cmocka_unit_test_setup_teardown(test_a_selection, NULL, tear_down),
        cmocka_unit_test(test_broadcast_is_two_messages),
        cmocka_unit_test(test_who_is_behind_the_others_gets_no_second_startup),
        cmocka_unit_test_setup_teardown(test_rounds_keep_their_distance, NULL, tear_down),
        cmocka_unit_test_setup_teardown(test_stolen_time_is_no_time_of_watching, NULL, tear_down),
    };

    return cmocka_run_group_tests(tests, set_up, NULL);
}
