// The messages of a wake, one by one, as the manual's table reads, for every strategy, in both
// modes of the local APIC, with the time between them. (SDM vol. 3A, "MP Initialization Protocol
// Algorithm for MP Systems": INIT, 10 ms, STARTUP, 200 us, STARTUP; "Interrupt Command Register
// (ICR)": 000C4500H and 000C46XXH are its own examples for all but self.) Surprise: the values are
// written out. A test that composed them as the code does would be wrong with it.
#include "aps_fixture.h"
#include "told.h"

// Three APs; their IDs are neither 1, 2, 3 nor in a row.
static const uint32_t ids[] = {0x00, 0x01, 0x04, 0xfe};

// Every message that a plan for them may send: INIT and STARTUP, to page 0x9e000. By MSR 0x830, and
// by the two registers at 0x310 and 0x300.
static const struct message {
    const char *name;
    uint64_t x2apic;
    uint32_t icr_high, icr_low;
} messages[] = {
    {"I1", 0x0000000100004500, 0x01000000, 0x00004500},
    {"I4", 0x0000000400004500, 0x04000000, 0x00004500},
    {"Ife", 0x000000fe00004500, 0xfe000000, 0x00004500},
    {"Iall", 0x00000000000c4500, 0x00000000, 0x000c4500},
    {"S1", 0x000000010000469e, 0x01000000, 0x0000469e},
    {"S4", 0x000000040000469e, 0x04000000, 0x0000469e},
    {"Sfe", 0x000000fe0000469e, 0xfe000000, 0x0000469e},
    {"Sall", 0x00000000000c469e, 0x00000000, 0x000c469e},
};

// A run: what is asked for, what the APs do (by CPU), and what is then to be sent, in the names
// above. Between two of them stands the wait, if there is one: `init`, `retry` (the INIT of a
// further sequence), `sipi`, `timeout`.
struct run {
    enum smp_strategy wake;
    uint32_t sipis, retries;
    uint32_t lost_startups[4], deaf_inits[4];
    const char *sent;
};

// clang-format off
static const struct run runs[] = {
    // Parallel: each message to all, the waits shared. A number of STARTUPs is a number: whoever has
    // answered gets the rest all the same, and who answers late is no matter.
    {SMP_PARALLEL, 1, 0, {0}, {0}, "I1 I4 Ife init S1 S4 Sfe"},
    {SMP_PARALLEL, 2, 0, {0}, {0}, "I1 I4 Ife init S1 S4 Sfe sipi S1 S4 Sfe"},
    {SMP_PARALLEL, 4, 0, {0}, {0},
     "I1 I4 Ife init S1 S4 Sfe sipi S1 S4 Sfe sipi S1 S4 Sfe sipi S1 S4 Sfe"},
    {SMP_PARALLEL, 4, 0, {0, 3, 0, 1}, {0},
     "I1 I4 Ife init S1 S4 Sfe sipi S1 S4 Sfe sipi S1 S4 Sfe sipi S1 S4 Sfe"},
    {SMP_PARALLEL, SMP_SIPIS_AUTO, 0, {0}, {0}, "I1 I4 Ife init S1 S4 Sfe"},
    {SMP_PARALLEL, SMP_SIPIS_AUTO, 0, {0, 1, 1, 1}, {0}, "I1 I4 Ife init S1 S4 Sfe sipi S1 S4 Sfe"},
    {SMP_PARALLEL, SMP_SIPIS_AUTO, 0, {0, 0, 1, 0}, {0}, "I1 I4 Ife init S1 S4 Sfe sipi S4"},
    {SMP_PARALLEL, SMP_SIPIS_AUTO, 2, {0}, {0, 1, 0, 2},
     "I1 I4 Ife init S1 S4 Sfe sipi S1 Sfe timeout "
     "I1 Ife retry S1 Sfe sipi Sfe timeout Ife retry Sfe"},
    {SMP_PARALLEL, 2, 1, {0}, {0, 0, 1, 0},
     "I1 I4 Ife init S1 S4 Sfe sipi S1 S4 Sfe timeout I4 retry S4 sipi S4"},

    // One by one: the manual's loop.
    {SMP_ONE_BY_ONE, 1, 0, {0}, {0}, "I1 init S1 I4 init S4 Ife init Sfe"},
    {SMP_ONE_BY_ONE, 2, 0, {0}, {0},
     "I1 init S1 sipi S1 I4 init S4 sipi S4 Ife init Sfe sipi Sfe"},
    {SMP_ONE_BY_ONE, 4, 0, {0}, {0},
     "I1 init S1 sipi S1 sipi S1 sipi S1 I4 init S4 sipi S4 sipi S4 sipi S4 "
     "Ife init Sfe sipi Sfe sipi Sfe sipi Sfe"},
    {SMP_ONE_BY_ONE, 4, 0, {0, 3, 0, 1}, {0},
     "I1 init S1 sipi S1 sipi S1 sipi S1 I4 init S4 sipi S4 sipi S4 sipi S4 "
     "Ife init Sfe sipi Sfe sipi Sfe sipi Sfe"},
    {SMP_ONE_BY_ONE, SMP_SIPIS_AUTO, 0, {0}, {0}, "I1 init S1 I4 init S4 Ife init Sfe"},
    {SMP_ONE_BY_ONE, SMP_SIPIS_AUTO, 0, {0, 1, 1, 1}, {0},
     "I1 init S1 sipi S1 I4 init S4 sipi S4 Ife init Sfe sipi Sfe"},
    {SMP_ONE_BY_ONE, SMP_SIPIS_AUTO, 0, {0, 0, 1, 0}, {0},
     "I1 init S1 I4 init S4 sipi S4 Ife init Sfe"},
    {SMP_ONE_BY_ONE, SMP_SIPIS_AUTO, 1, {0}, {0, 1, 0, 1},
     "I1 init S1 sipi S1 timeout I4 init S4 Ife init Sfe sipi Sfe timeout "
     "I1 retry S1 Ife retry Sfe"},

    // Broadcast: all but self; a retry names the missing. With auto the second STARTUP is for
    // stragglers, by name: the others may be in C by now.
    {SMP_BROADCAST, 1, 0, {0}, {0}, "Iall init Sall"},
    {SMP_BROADCAST, 2, 0, {0}, {0}, "Iall init Sall sipi Sall"},
    {SMP_BROADCAST, 4, 0, {0}, {0}, "Iall init Sall sipi Sall sipi Sall sipi Sall"},
    {SMP_BROADCAST, 4, 0, {0, 3, 0, 1}, {0}, "Iall init Sall sipi Sall sipi Sall sipi Sall"},
    {SMP_BROADCAST, SMP_SIPIS_AUTO, 0, {0}, {0}, "Iall init Sall"},
    {SMP_BROADCAST, SMP_SIPIS_AUTO, 0, {0, 1, 0, 1}, {0}, "Iall init Sall sipi S1 Sfe"},
    {SMP_BROADCAST, 2, 1, {0}, {0, 0, 1, 0},
     "Iall init Sall sipi Sall timeout I4 retry S4 sipi S4"},
};
// clang-format on

#define EVENTS_MAX 256u
#define SIPI_US    200u
#define TIMEOUT_US 3000u

// No wait may be a microsecond longer than asked.
#define SLACK_TICKS 1000u

static struct smp_round result;

struct waits {
    uint32_t init_us, retry_us;
};

#define NO_WAIT UINT32_MAX // the word is a message

static uint32_t wait_of(const char *word, const struct waits *waits)
{
    return strcmp(word, "init") == 0      ? waits->init_us
           : strcmp(word, "retry") == 0   ? waits->retry_us
           : strcmp(word, "sipi") == 0    ? SIPI_US
           : strcmp(word, "timeout") == 0 ? TIMEOUT_US
                                          : NO_WAIT;
}

static const struct message *message_of(const char *word)
{
    for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
        if (strcmp(messages[i].name, word) == 0)
            return &messages[i];
    }
    fail_msg("no such message: %s", word);
    return NULL;
}

struct events {
    struct fake_expected list[EVENTS_MAX];
    size_t count, messages;
};

static void expect(struct events *events, enum fake_kind kind, uint64_t address, uint64_t value,
                   uint64_t wait_ticks)
{
    assert_true(events->count < EVENTS_MAX);
    events->list[events->count++] =
        (struct fake_expected){kind, address, value, wait_ticks, wait_ticks + SLACK_TICKS};
}

// The events that a run's messages are made of, in one mode.
static void as_events(const char *sent, const struct waits *waits, enum apic_choice apic,
                      struct events *events)
{
    uint32_t last_low = 0;
    uint64_t ticks = 0;
    char words[512], *rest = words;

    *events = (struct events){.count = 0};
    assert_true(strlen(sent) < sizeof words);
    strcpy(words, sent);
    for (const char *word; (word = strtok_r(rest, " ", &rest)) != NULL;) {
        if (wait_of(word, waits) != NO_WAIT) {
            ticks = TICKS(wait_of(word, waits));
            continue;
        }
        const struct message *m = message_of(word);
        if (apic == APIC_X2APIC) {
            expect(events, FAKE_FENCE, 0, 0, ticks);
            expect(events, FAKE_WRMSR, 0x830, m->x2apic, 0);
        } else {
            expect(events, FAKE_READ32, 0xfee00300, last_low, ticks);
            expect(events, FAKE_WRITE32, 0xfee00310, m->icr_high, 0);
            expect(events, FAKE_WRITE32, 0xfee00300, m->icr_low, 0);
            last_low = m->icr_low;
        }
        events->messages++;
        ticks = 0;
    }
}

static void run_once(const struct run *run, uint32_t init_us, const struct waits *waits,
                     enum apic_choice apic)
{
    struct events events;

    fake_aps_open(&aps, 4);
    for (uint32_t cpu = 0; cpu < 4; cpu++) {
        aps.aps[cpu].apic_id = ids[cpu];
        aps.aps[cpu].lost_startups = run->lost_startups[cpu];
        aps.aps[cpu].deaf_inits = run->deaf_inits[cpu];
    }
    aps.options.wake = run->wake;
    aps.options.sipis = run->sipis;
    aps.options.sipi_us = SIPI_US;
    aps.options.init_us = init_us;
    aps.options.timeout_us = TIMEOUT_US;
    aps.options.retries = run->retries;
    aps.options.apic = apic;
    fake_aps_prepare(&aps);
    fake_log_kinds(FAKE_LOG_DEFAULT | FAKE_READ32 | FAKE_RDMSR);

    smp_wake(aps.smp, &result);

    as_events(run->sent, waits, apic, &events);
    fake_expect_log(__FILE__, __LINE__, events.list, events.count);
    assert_int_equal(result.icr_writes, events.messages);
    assert_int_equal(aps.messages, events.messages);
    assert_int_equal(result.unsent, 0);
    // No AP ever saw less than the manual's time: INIT to STARTUP, STARTUP to STARTUP.
    assert_true(aps.least_init_ticks >= TICKS(waits->init_us));
    assert_true(aps.least_sipi_ticks >= TICKS(SIPI_US));
    fake_aps_close(&aps);
}

// Every run, in both modes, with every wait after INIT.
static void test_runs(void **state)
{
    static const struct {
        uint32_t option_us;
        struct waits waits;
    } inits[] = {
        {INIT_US_AUTO, {10, 10000}},
        {0, {0, 10000}},
        {10000, {10000, 10000}},
        {12345, {12345, 12345}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++) {
        for (size_t init = 0; init < sizeof inits / sizeof inits[0]; init++) {
            run_once(&runs[i], inits[init].option_us, &inits[init].waits, APIC_X2APIC);
            run_once(&runs[i], inits[init].option_us, &inits[init].waits, APIC_XAPIC);
        }
    }
}

// ---- what is no strategy's own ----

static void test_all_the_manuals_waits(void **state)
{
    // A processor of no known family: auto is the manual's 10 ms, in the first sequence too.
    (void)state;
    fake_aps_open(&aps, 2);
    aps.machine.processor =
        (struct processor){.vendor = VENDOR_OTHER, .family = 6, .phys_bits = 36, .id_leaf = 1};
    aps.options.sipis = 2;
    fake_aps_prepare(&aps);
    smp_wake(aps.smp, &result);
    FAKE_EXPECT_LOG({FAKE_WRITE32, 0xfee00310, 0x01000000, 0, 0},
                    {FAKE_WRITE32, 0xfee00300, 0x00004500, 0, 0},
                    {FAKE_WRITE32, 0xfee00310, 0x01000000, 10000000, 10001000},
                    {FAKE_WRITE32, 0xfee00300, 0x0000469e, 0, 0},
                    {FAKE_WRITE32, 0xfee00310, 0x01000000, 200000, 201000},
                    {FAKE_WRITE32, 0xfee00300, 0x0000469e, 0, 0});
    assert_int_equal(result.arrived, 1);
}

static void test_ids_beyond_eight_bits(void **state)
{
    (void)state;
    fake_aps_open(&aps, 4);
    aps.aps[1].apic_id = 0x12b;
    aps.aps[2].apic_id = 0xff; // a broadcast in xAPIC mode, a processor like any other here
    aps.aps[3].apic_id = 0xfffffffe;
    fake_aps_prepare(&aps);
    smp_wake(aps.smp, &result);
    FAKE_EXPECT_LOG({FAKE_FENCE, 0, 0, 0, 0}, {FAKE_WRMSR, 0x830, 0x0000012b00004500, 0, 0},
                    {FAKE_FENCE, 0, 0, 0, 0}, {FAKE_WRMSR, 0x830, 0x000000ff00004500, 0, 0},
                    {FAKE_FENCE, 0, 0, 0, 0}, {FAKE_WRMSR, 0x830, 0xfffffffe00004500, 0, 0},
                    {FAKE_FENCE, 0, 0, 10000, 11000}, {FAKE_WRMSR, 0x830, 0x0000012b0000469e, 0, 0},
                    {FAKE_FENCE, 0, 0, 0, 0}, {FAKE_WRMSR, 0x830, 0x000000ff0000469e, 0, 0},
                    {FAKE_FENCE, 0, 0, 0, 0}, {FAKE_WRMSR, 0x830, 0xfffffffe0000469e, 0, 0});
    assert_int_equal(result.arrived, 3);
}

static void test_nobody_to_wake(void **state)
{
    (void)state;
    for (enum smp_strategy wake = SMP_PARALLEL; wake <= SMP_BROADCAST; wake++) {
        fake_aps_open(&aps, 1);
        aps.options.wake = wake;
        fake_aps_prepare(&aps);
        result.arrived = 7;
        smp_wake(aps.smp, &result);
        fake_expect_log(__FILE__, __LINE__, NULL, 0);
        assert_int_equal(result.arrived, 0);
        assert_int_equal(result.icr_writes, 0);
        assert_int_equal(result.last_us, 0);
        assert_int_equal(aps.smp->missing_count, 0);
        assert_int_equal(smp_take_turns(aps.smp), 0);
        fake_aps_close(&aps);
    }
}

// Only those whom cpus= names are sent anything.
static void test_a_selection(void **state)
{
    (void)state;
    fake_aps_open(&aps, 6);
    aps.options.wake = SMP_ONE_BY_ONE;
    aps.options.cpus[0] = (struct cpu_range){2, 2};
    aps.options.cpus[1] = (struct cpu_range){5, 5};
    aps.options.cpus_count = 2;
    fake_aps_prepare(&aps);
    smp_wake(aps.smp, &result);
    FAKE_EXPECT_LOG({FAKE_FENCE, 0, 0, 0, 0}, {FAKE_WRMSR, 0x830, 0x0000000200004500, 0, 0},
                    {FAKE_FENCE, 0, 0, 0, 0}, {FAKE_WRMSR, 0x830, 0x000000020000469e, 0, 0},
                    {FAKE_FENCE, 0, 0, 0, 0}, {FAKE_WRMSR, 0x830, 0x0000000500004500, 0, 0},
                    {FAKE_FENCE, 0, 0, 0, 0}, {FAKE_WRMSR, 0x830, 0x000000050000469e, 0, 0});
    assert_int_equal(result.arrived, 2);
    assert_int_equal(smp_examine(aps.smp, 1).cpu, 2);
    assert_int_equal(smp_examine(aps.smp, 2).cpu, 5);
}

// ---- large machines ----

static uint64_t broadcast_to(size_t ap_count, enum apic_choice apic)
{
    fake_aps_open(&aps, ap_count + 1);
    aps.options.wake = SMP_BROADCAST;
    aps.options.apic = apic;
    fake_aps_prepare(&aps);
    smp_wake(aps.smp, &result);
    assert_int_equal(result.arrived, ap_count);
    assert_int_equal(aps.smp->missing_count, 0);
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
    fake_aps_open(&aps, 64);
    aps.options.wake = SMP_BROADCAST;
    aps.options.timeout_us = 100000;
    for (uint32_t cpu = 1; cpu < 64; cpu++)
        aps.aps[cpu].to_c_ticks = cpu * 90ull * FAKE_TICKS_PER_US;
    aps.aps[lost_on].lost_startups = lost_on > 0;
    fake_aps_prepare(&aps);
    smp_wake(aps.smp, &result);
    assert_int_equal(result.arrived, 63);
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
    (void)state;
    fake_aps_open(&aps, 4);
    aps.options.wake = SMP_BROADCAST;
    for (uint32_t cpu = 1; cpu < 4; cpu++)
        aps.aps[cpu].to_protected_ticks = 100 * FAKE_TICKS_PER_US;
    fake_aps_prepare(&aps);
    aps.watch = steal;
    smp_wake(aps.smp, &result);
    assert_null(aps.watch);
    assert_int_equal(result.arrived, 3);
    assert_int_equal(result.icr_writes, 2);
    assert_true(result.first_us > 1000);
}

// Somebody else has this processor at every look, as on a busy host: nobody is given up by the
// quiet of looks that were not made.
static void test_a_busy_host_makes_nobody_a_straggler(void **state)
{
    (void)state;
    fake_aps_open(&aps, 3);
    aps.options.wake = SMP_BROADCAST;
    for (uint32_t cpu = 1; cpu < 3; cpu++)
        aps.aps[cpu].to_c_ticks = TICKS(450);
    fake_aps_prepare(&aps);
    fake_start_clock(fake_now(), TICKS(20));
    smp_wake(aps.smp, &result);
    assert_int_equal(result.arrived, 2);
    assert_int_equal(result.icr_writes, 2);
}

// With auto the second STARTUP comes after half the time-out at the latest, however long sipi_us
// is: the bound of a round knows no more.
static void test_the_second_startup_is_not_put_off(void **state)
{
    (void)state;
    fake_aps_open(&aps, 2);
    aps.options.sipi_us = 60000;
    aps.options.timeout_us = TIMEOUT_US;
    aps.options.retries = 0;
    aps.aps[1].to_protected_ticks = FAKE_NEVER;
    fake_aps_prepare(&aps);
    const uint64_t start = fake_now();
    smp_wake(aps.smp, &result);
    FAKE_EXPECT_LOG({FAKE_FENCE, 0, 0, 0, 0}, {FAKE_WRMSR, 0x830, 0x0000000100004500, 0, 0},
                    {FAKE_FENCE, 0, 0, 10000, 11000}, {FAKE_WRMSR, 0x830, 0x000000010000469e, 0, 0},
                    {FAKE_FENCE, 0, 0, 1500000, 1501000},
                    {FAKE_WRMSR, 0x830, 0x000000010000469e, 0, 0});
    assert_in_range(fake_now() - start, TICKS(4510), TICKS(4515));
}

// Between the last STARTUP of a round and the first INIT of the next one lies sipi_us: a STARTUP on
// its way would start whom the INIT has just reset, long before its wait is over.
static void test_rounds_keep_their_distance(void **state)
{
    (void)state;
    fake_aps_open(&aps, 2);
    aps.options.sipis = 2;
    aps.options.sipi_us = SIPI_US;
    aps.options.init_us = 10;
    fake_aps_prepare(&aps);
    smp_wake(aps.smp, &result);
    const uint64_t first = aps.aps[1].last_message;
    smp_wake(aps.smp, &result);
    assert_true(aps.aps[1].last_message - first >= (SIPI_US + 10 + SIPI_US) * FAKE_TICKS_PER_US);
}

// ---- the filter over each message ----

static struct smp_message seen[16];
static size_t seen_count;

// Slot 2 loses its INITs, and slot 1's STARTUPs become INITs.
static bool filter(void *context, struct smp_message *message)
{
    assert_ptr_equal(context, &seen);
    assert_true(seen_count < 16);
    seen[seen_count++] = *message;
    if (message->slot == 2 && message->command == 0x00004500)
        return false;
    if (message->slot == 1 && message->command == 0x0000469e)
        message->command = 0x00004500;
    return true;
}

static void test_a_filter(void **state)
{
    static const struct smp_message expected[] = {
        {1, 2, 1, 0x4500}, {2, 2, 1, 0x4500}, {1, 2, 1, 0x469e},
        {2, 2, 1, 0x469e}, {1, 2, 2, 0x4500}, {1, 2, 2, 0x469e},
    };

    (void)state;
    fake_aps_open(&aps, 3);
    aps.options.sipis = 1;
    aps.options.retries = 1;
    aps.options.timeout_us = TIMEOUT_US;
    fake_aps_prepare(&aps);
    smp_wake(aps.smp, &result);
    assert_int_equal(result.arrived, 2);
    // Slot 2 is not reset, and so gets a STARTUP that it does not hear; slot 1 is reset twice.
    aps.smp->host.context = &seen;
    aps.smp->host.filter = filter;
    seen_count = 0;
    const uint64_t before = aps.messages;
    const uint32_t inits[] = {aps.aps[1].inits, aps.aps[2].inits};
    smp_wake(aps.smp, &result);
    assert_int_equal(result.arrived, 0);
    assert_int_equal(aps.aps[1].inits - inits[0], 4);
    assert_int_equal(aps.aps[2].inits - inits[1], 0);
    assert_int_equal(aps.messages - before, result.icr_writes);
    assert_int_equal(result.unsent, 0); // what is withheld is nobody's failure
    for (size_t i = 0; i < 4; i++)
        assert_memory_equal(&seen[i], &expected[i], sizeof seen[i]);
    assert_int_equal(seen[4].attempt, 2);
    assert_int_equal(seen[4].slot, 1);
}

// One message to all but self has no slot; and what a caller sends by itself is not filtered.
static void test_a_filter_of_a_broadcast(void **state)
{
    (void)state;
    fake_aps_open(&aps, 3);
    aps.options.wake = SMP_BROADCAST;
    aps.host = (struct smp_host){.context = &seen, .filter = filter};
    fake_aps_prepare(&aps);
    seen_count = 0;
    smp_wake(aps.smp, &result);
    assert_int_equal(seen_count, 2);
    assert_int_equal(seen[0].slot, 0);
    assert_int_equal(seen[0].command, 0x4500);
    assert_int_equal(seen[1].command, 0x469e);
    assert_int_equal(smp_send(aps.smp, 2, 0x4500), STATUS_OK);
    assert_int_equal(seen_count, 2);
    assert_int_equal(aps.aps[2].state, FAKE_AP_WAITS);
}

// ---- plans ----

// SDM vol. 3A, "MP Initialization Protocol Algorithm for MP Systems".
static void test_the_plan_by_the_manual(void **state)
{
    (void)state;
    for (uint32_t strategy = 0; strategy < smp_strategy_count(); strategy++) {
        const struct smp_plan plan = smp_plan_by_the_manual((enum smp_strategy)strategy);
        assert_int_equal(plan.strategy, strategy);
        assert_int_equal(plan.init_us, 10000);
        assert_int_equal(plan.init_retry_us, 10000);
        assert_int_equal(plan.sipi_us, 200);
        assert_int_equal(plan.sipis, 2);
        assert_int_equal(plan.timeout_us, 100000);
        assert_int_equal(plan.retries, 0);
        assert_int_equal(plan.turn_us, 100000);
    }
}

static void test_strategies(void **state)
{
    static const char *const words[] = {"parallel", "one-by-one", "broadcast", "firmware"};

    (void)state;
    assert_int_equal(smp_strategy_count(), 4);
    for (uint32_t strategy = 0; strategy < 4; strategy++) {
        assert_string_equal(smp_strategy_word(strategy), words[strategy]);
        assert_int_equal(smp_strategy_reaches_all(strategy), strategy == SMP_BROADCAST);
    }
}

// Worked out by hand: INIT, the STARTUPs, the time-out; as often as there are tries; for each AP by
// itself where they are woken one by one; and, by an xAPIC, each message stuck.
static void test_the_bound_of_a_round(void **state)
{
    static const struct {
        enum smp_strategy strategy;
        uint32_t sipis, retries;
        enum smp_apic_mode mode;
        uint64_t us;
    } cases[] = {
        {SMP_PARALLEL, 2, 0, SMP_X2APIC, 20000 + 2 * 200 + 3000},
        {SMP_PARALLEL, SMP_SIPIS_AUTO, 0, SMP_X2APIC, 20000 + 1500 + 3000},
        {SMP_PARALLEL, 2, 4, SMP_X2APIC, 5 * (20000 + 2 * 200 + 3000)},
        {SMP_ONE_BY_ONE, 1, 0, SMP_X2APIC, 7 * (20000 + 200 + 3000)},
        {SMP_BROADCAST, 4, 0, SMP_X2APIC, 20000 + 4 * 200 + 3000},
        {SMP_PARALLEL, 2, 0, SMP_XAPIC, 20000 + 2 * 200 + 3000 + 3 * 7 * 100000},
        {SMP_ONE_BY_ONE, 1, 1, SMP_XAPIC, 2 * (7 * (20000 + 200 + 3000) + 2 * 7 * 100000)},
    };

    (void)state;
    for (size_t i = 0; i < 2 * sizeof cases / sizeof cases[0]; i++) {
        struct smp_plan plan = smp_plan_by_the_manual(cases[i / 2].strategy);
        plan.init_us = i % 2 ? 20000 : 10; // the longer one counts
        plan.init_retry_us = i % 2 ? 10 : 20000;
        plan.sipis = cases[i / 2].sipis;
        plan.retries = cases[i / 2].retries;
        plan.timeout_us = 3000;
        assert_int_equal(smp_round_bound_us(&plan, cases[i / 2].mode, 8), cases[i / 2].us);
    }
}

// An AP waits for its turn as long as a round and everybody's turn can take.
static void test_an_ap_is_patient(void **state)
{
    (void)state;
    fake_aps_open(&aps, 5);
    fake_aps_prepare(&aps);
    struct smp_plan plan = smp_plan_by_the_manual(SMP_PARALLEL);
    plan.turn_us = 4000;
    assert_int_equal(smp_start(aps.smp, &plan), STATUS_OK);
    assert_int_equal(fake_rally(&aps)->turn_wait_ticks, TICKS(10000 + 2 * 200 + 100000 + 5 * 4000));
    assert_int_equal(fake_rally(&aps)->ticks_per_us, FAKE_TICKS_PER_US);
    assert_int_equal(fake_rally(&aps)->late_us, 100000);
}

// ---- what is refused before a message ----

static struct told told;

static void open_and_listen(void)
{
    fake_aps_open(&aps, 3);
    fake_aps_prepare(&aps);
    aps.smp->host.problems = told_listen(&told);
}

static void assert_refused(const struct smp_plan *plan, enum status status, const char *what)
{
    memset(&told, 0, sizeof told);
    assert_int_equal(smp_start(aps.smp, plan), status);
    assert_int_equal(told.count, 1);
    assert_string_equal(told.lines[0].what, what);
}

static void test_a_plan_that_there_is_not(void **state)
{
    const struct smp_plan good = smp_plan_by_the_manual(SMP_PARALLEL);
    struct smp_plan plans[] = {good, good, good, good};

    (void)state;
    open_and_listen();
    plans[0].strategy = (enum smp_strategy)77;
    plans[1].sipis = 5;
    plans[2].timeout_us = 0;
    plans[3].parking = SMP_PARKINGS;
    for (size_t i = 0; i < sizeof plans / sizeof plans[0]; i++)
        assert_refused(&plans[i], STATUS_INVALID, "plan");
    assert_int_equal(smp_start(aps.smp, &good), STATUS_OK);
}

static void test_somebody_else_stands_first(void **state)
{
    const struct smp_plan plan = smp_plan_by_the_manual(SMP_PARALLEL);

    (void)state;
    open_and_listen();
    fake_set_cell(FAKE_MSR, 0x802, 1);
    fake_set_cell(FAKE_MMIO, FAKE_MMIO_APIC + 0x20, 1u << 24);
    assert_refused(&plan, STATUS_WRONG_CPU, "wrong-cpu");
}

// Neither a page that was not proved nor a start that was refused: nothing is sent.
static void test_the_order(void **state)
{
    const struct smp_plan plan = smp_plan_by_the_manual(SMP_PARALLEL);
    struct smp_round round;

    (void)state;
    open_and_listen();
    assert_int_equal(smp_open(&aps.setup, &aps.smp), STATUS_OK);
    aps.smp->host.problems = told_listen(&told);
    assert_refused(&plan, STATUS_INVALID, "order");
    smp_wake(aps.smp, &round);
    assert_int_equal(round.round, 0);
    assert_int_equal(aps.messages, 0);
    assert_int_equal(smp_map_page(aps.smp, FAKE_PAGE), STATUS_OK);
    assert_int_equal(smp_fill_page(aps.smp, aps.page), STATUS_OK);
    smp_wake(aps.smp, &round);
    assert_int_equal(aps.messages, 0);
    assert_int_equal(smp_start(aps.smp, &plan), STATUS_OK);
    smp_wake(aps.smp, &round);
    assert_int_equal(round.arrived, 2);
}

// APs that wait for an NMI, and happen to look without one.
static void look_by_chance(struct fake_aps *machine, uint64_t now)
{
    (void)now;
    for (uint32_t slot = 1; slot < machine->count; slot++) {
        struct lcpu *lcpu = fake_lcpu(machine, slot);
        const uint32_t ticket = atomic_load(&lcpu->call.ticket);
        atomic_store(&lcpu->way.serving, fake_book(machine, slot)->round);
        atomic_store(&lcpu->way.parking, SMP_PARK_NMI);
        atomic_store(&lcpu->way.begun, ticket);
        atomic_store(&lcpu->way.ended, ticket);
    }
}

// Where no message leaves, one who came all the same does not speak for those who were not called.
static void test_parking_by_messages_that_do_not_leave(void **state)
{
    struct smp_plan plan = smp_plan_by_the_manual(SMP_PARALLEL);
    struct smp_round round;
    struct smp_calls calls;

    (void)state;
    fake_aps_open(&aps, 3);
    aps.options.apic = APIC_XAPIC;
    aps.watch = look_by_chance;
    fake_aps_prepare(&aps);
    plan.parking = SMP_PARK_NMI;
    plan.turn_us = 0;
    assert_int_equal(smp_start(aps.smp, &plan), STATUS_OK);
    smp_wake(aps.smp, &round);
    assert_int_equal(round.arrived, 2);
    aps.busy_until = FAKE_NEVER;
    assert_int_equal(smp_park(aps.smp, SMP_PARK_PAUSE, 1000, &calls), STATUS_TIMEOUT);
    assert_int_equal(calls.called, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        APS_TEST(test_parking_by_messages_that_do_not_leave),
        APS_TEST(test_a_plan_that_there_is_not),
        APS_TEST(test_somebody_else_stands_first),
        APS_TEST(test_the_order),
        APS_TEST(test_runs),
        APS_TEST(test_all_the_manuals_waits),
        APS_TEST(test_ids_beyond_eight_bits),
        APS_TEST(test_nobody_to_wake),
        APS_TEST(test_a_selection),
        APS_TEST(test_broadcast_is_two_messages),
        APS_TEST(test_who_is_behind_the_others_gets_no_second_startup),
        APS_TEST(test_rounds_keep_their_distance),
        APS_TEST(test_stolen_time_is_no_time_of_watching),
        APS_TEST(test_a_busy_host_makes_nobody_a_straggler),
        APS_TEST(test_the_second_startup_is_not_put_off),
        APS_TEST(test_a_filter),
        APS_TEST(test_a_filter_of_a_broadcast),
        APS_TEST(test_the_plan_by_the_manual),
        APS_TEST(test_strategies),
        APS_TEST(test_the_bound_of_a_round),
        APS_TEST(test_an_ap_is_patient),
    };

    return cmocka_run_group_tests(tests, aps_set_up, NULL);
}
