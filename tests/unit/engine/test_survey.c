// What a kernel asks before it opens the engine: this processor, the MADT that it hands over, and
// the clock; on machines and tables that do not forgive. Surprise: every table is read from an
// allocation of exactly its size, and every room has exactly the bytes that were asked for.
#include "survey.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "failing.h"
#include "fake_hw.h"
#include "lapic.h"
#include "told.h"

#define APIC_VIEW 0x7000ull
#define ENABLED   1u
#define HEADER    44u

static struct told told;
static struct problems problems;

static void leaf(uint32_t number, uint32_t eax, uint32_t ebx, uint32_t ecx, uint32_t edx)
{
    fake_set_cpuid(number, 0, (struct cpuid){eax, ebx, ecx, edx});
}

static void be_intel(uint32_t max_leaf)
{
    leaf(0, max_leaf, 0x756e6547, 0x6c65746e, 0x49656e69);
    leaf(1, 0x000906ea, 0, 1u << 21, 1u << 7);
    leaf(0xb, 1, 2, 0x100, 0);
    leaf(0x80000000, 0x80000001, 0, 0, 0);
    leaf(0x80000001, 0, 0, 0, 1u << 20 | 1u << 26);
}

static int set_up(void **state)
{
    (void)state;
    fake_reset();
    failures_fail_the_test();
    problems = told_listen(&told);
    be_intel(0xb);
    fake_set_cr(FAKE_CR4, 1u << 5);
    fake_set_cell(FAKE_MSR, MSR_IA32_APIC_BASE, 0xfee00000 | APIC_BASE_BSP | APIC_BASE_EN);
    return 0;
}

// ---- this processor ----

static void test_a_processor(void **state)
{
    struct engine_processor processor;

    (void)state;
    assert_int_equal(engine_describe_processor(&problems, &processor), STATUS_OK);
    assert_int_equal(told.count, 0);
    assert_int_equal(processor.features.phys_bits, 36);
    assert_int_equal(processor.features.id_leaf, 0xb);
    assert_true(processor.features.no_execute && processor.features.gib_pages);
    assert_true(processor.features.machine_check && processor.features.misc_enable);
    assert_false(processor.features.five_levels);
    assert_int_equal(processor.apic_mode, SMP_XAPIC);
    assert_true(processor.has_x2apic);
    assert_int_equal(processor.apic_phys, 0xfee00000);
    assert_int_equal(processor.init_us, 10);
}

static void test_its_apic_id(void **state)
{
    struct engine_processor processor;

    (void)state;
    fake_set_cell(FAKE_MMIO, APIC_VIEW + XAPIC_ID, 0x05000000);
    assert_int_equal(engine_own_apic_id(APIC_VIEW), 5);

    fake_set_cell(FAKE_MSR, MSR_IA32_APIC_BASE,
                  0xfee00000 | APIC_BASE_BSP | APIC_BASE_EN | APIC_BASE_EXTD);
    fake_set_cell(FAKE_MSR, MSR_X2APIC(XAPIC_ID), 0x12345);
    assert_int_equal(engine_own_apic_id(0), 0x12345);
    assert_int_equal(engine_describe_processor(&problems, &processor), STATUS_OK);
    assert_int_equal(processor.apic_mode, SMP_X2APIC);
}

static void test_not_the_bsp(void **state)
{
    struct engine_processor processor;

    (void)state;
    fake_set_cell(FAKE_MSR, MSR_IA32_APIC_BASE, 0xfee00000 | APIC_BASE_EN);
    assert_int_equal(engine_describe_processor(&problems, &processor), STATUS_UNSUPPORTED);
    assert_int_equal(told.count, 1);
    assert_int_equal(told_times(&told, "bsp-flag", "(IA32_APIC_BASE 0xfee00800)"), 1);
}

static void test_a_guest_that_init_does_not_reach(void **state)
{
    struct engine_processor processor;

    (void)state;
    be_intel(0x21);
    leaf(0x15, 0, 0, 0, 0);
    leaf(0x16, 0, 0, 0, 0);
    leaf(0x21, 0, 0x65746e49, 0x20202020, 0x5844546c); // "IntelTDX    " in EBX, EDX, ECX
    assert_int_equal(engine_describe_processor(&problems, &processor), STATUS_UNSUPPORTED);
    assert_int_equal(told_times(&told, "tdx-guest", "this is a TDX guest: INIT and STARTUP do not"),
                     1);
}

// ---- the MADT ----

struct table {
    uint8_t *bytes;
    size_t length;
};

static void add(struct table *table, const void *bytes, size_t count)
{
    table->bytes = realloc(table->bytes, table->length + count);
    assert_non_null(table->bytes);
    memcpy(table->bytes + table->length, bytes, count);
    table->length += count;
}

static struct table begin(void)
{
    static const uint8_t header[HEADER] = {'A', 'P', 'I', 'C', [8] = 5};
    struct table table = {NULL, 0};

    add(&table, header, sizeof header);
    return table;
}

static void add_xapic(struct table *table, uint8_t apic_id, uint8_t flags)
{
    const uint8_t entry[] = {0, 8, 0, apic_id, flags, 0, 0, 0};
    add(table, entry, sizeof entry);
}

static void add_x2apic(struct table *table, uint32_t apic_id, uint8_t flags)
{
    uint8_t entry[16] = {9, 16, [8] = flags};
    memcpy(entry + 4, &apic_id, sizeof apic_id);
    add(table, entry, sizeof entry);
}

// Writes length and checksum, which are right wherever a test does not want them wrong.
static void finish(struct table *table)
{
    uint8_t sum = 0;

    table->bytes[4] = (uint8_t)table->length;
    table->bytes[5] = (uint8_t)(table->length >> 8);
    table->bytes[9] = 0;
    for (size_t i = 0; i < table->length; i++)
        sum = (uint8_t)(sum + table->bytes[i]);
    table->bytes[9] = (uint8_t)-sum;
}

struct reading {
    struct engine_madt madt;
    struct engine_list list;
    enum status status;
};

static struct reading read_bytes(const void *bytes, size_t length, uint32_t own_apic_id,
                                 enum smp_apic_mode mode)
{
    struct reading reading = {
        .madt = {.table = bytes,
                 .bytes = length,
                 .own_apic_id = own_apic_id,
                 .apic_mode = mode,
                 .problems = problems},
    };
    reading.madt.room_bytes = engine_room_bytes(&reading.madt);
    reading.madt.room = malloc(reading.madt.room_bytes);
    assert_non_null(reading.madt.room);
    reading.status = engine_read_madt(&reading.madt, &reading.list);
    return reading;
}

static struct reading read_table(struct table *table, uint32_t own_apic_id, enum smp_apic_mode mode)
{
    return read_bytes(table->bytes, table->length, own_apic_id, mode);
}

static void end(struct reading *reading, struct table *table)
{
    free(reading->madt.room);
    free(table->bytes);
}

static void assert_ids(const struct engine_list *list, size_t count, const uint32_t *ids)
{
    assert_int_equal(list->count, count);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(list->cpus[i].cpu, i);
        assert_int_equal(list->cpus[i].apic_id, ids[i]);
    }
}
#define ASSERT_IDS(list, ...)                                                      \
    assert_ids((list), sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t), \
               (const uint32_t[]){__VA_ARGS__})

static void test_both_types(void **state)
{
    struct table table = begin();

    (void)state;
    add_xapic(&table, 0, ENABLED);
    add_xapic(&table, 2, ENABLED);
    add_xapic(&table, 4, 0);
    add_x2apic(&table, 2, ENABLED); // once more
    add_x2apic(&table, 300, ENABLED);
    finish(&table);
    struct reading reading = read_table(&table, 2, SMP_X2APIC);
    assert_int_equal(reading.status, STATUS_OK);
    ASSERT_IDS(&reading.list, 2, 0, 300);
    assert_int_equal(reading.list.disabled, 1);
    assert_int_equal(reading.list.duplicate, 1);
    assert_true(reading.list.own_listed);
    assert_int_equal(told.count, 1);
    assert_int_equal(told_times(&told, "duplicate-id", "0x2"), 1);
    end(&reading, &table);
}

static void test_only_type_9(void **state)
{
    struct table table = begin();

    (void)state;
    for (uint32_t id = 0; id < 4; id++)
        add_x2apic(&table, id, ENABLED);
    finish(&table);
    struct reading reading = read_table(&table, 0, SMP_XAPIC);
    assert_int_equal(reading.status, STATUS_OK);
    ASSERT_IDS(&reading.list, 0, 1, 2, 3);
    assert_int_equal(told.count, 0);
    end(&reading, &table);
}

// smp_open would refuse the whole list for one of them.
static void test_who_cannot_be_named_is_left_out(void **state)
{
    struct table table = begin();

    (void)state;
    for (uint32_t id = 254; id < 258; id++)
        add_x2apic(&table, id, ENABLED);
    add_x2apic(&table, UINT32_MAX, ENABLED);
    finish(&table);
    struct reading reading = read_table(&table, 254, SMP_XAPIC);
    assert_int_equal(reading.status, STATUS_OK);
    ASSERT_IDS(&reading.list, 254);
    assert_int_equal(reading.list.unreachable, 3);
    assert_int_equal(reading.list.impossible, 1);
    assert_int_equal(
        told_times(&told, "unreachable-id", "3 processors cannot be addressed in xapic "), 1);
    assert_int_equal(told_times(&told, "unreachable-id", "APIC ID 0xff"), 1);
    free(reading.madt.room);

    reading = read_table(&table, 254, SMP_X2APIC);
    ASSERT_IDS(&reading.list, 254, 255, 256, 257);
    assert_int_equal(reading.list.unreachable, 0);
    end(&reading, &table);
}

static void test_a_caller_that_is_not_listed(void **state)
{
    struct table table = begin();

    (void)state;
    add_xapic(&table, 1, ENABLED);
    add_xapic(&table, 0, 0);
    finish(&table);
    struct reading reading = read_table(&table, 7, SMP_XAPIC);
    assert_int_equal(reading.status, STATUS_OK);
    ASSERT_IDS(&reading.list, 7, 1);
    assert_false(reading.list.own_listed);
    assert_int_equal(told_times(&told, "bsp-not-listed", "0x7"), 1);
    end(&reading, &table);
}

static void test_no_entries(void **state)
{
    struct table table = begin();

    (void)state;
    finish(&table);
    struct reading reading = read_table(&table, 3, SMP_XAPIC);
    assert_int_equal(reading.status, STATUS_OK);
    ASSERT_IDS(&reading.list, 3);
    end(&reading, &table);
}

static void test_an_entry_of_length_0(void **state)
{
    struct table table = begin();

    (void)state;
    add_xapic(&table, 0, ENABLED);
    add_xapic(&table, 1, ENABLED);
    add(&table, (const uint8_t[]){0, 0}, 2);
    add_xapic(&table, 2, ENABLED);
    finish(&table);
    struct reading reading = read_table(&table, 0, SMP_XAPIC);
    assert_int_equal(reading.status, STATUS_TRUNCATED);
    ASSERT_IDS(&reading.list, 0, 1);
    assert_int_equal(told_times(&told, "madt-entry", "impossible length of 0"), 1);
    end(&reading, &table);
}

// What is cut off anywhere is read as far as it goes; of less than a header nothing is.
static void test_cut_anywhere(void **state)
{
    struct table table = begin();

    (void)state;
    for (uint8_t id = 0; id < 4; id++)
        add_xapic(&table, id, ENABLED);
    finish(&table);
    for (size_t length = 0; length < table.length; length++) {
        uint8_t *cut = malloc(length != 0 ? length : 1);
        memcpy(cut, table.bytes, length);
        problems = told_listen(&told);
        struct reading reading = read_bytes(cut, length, 0, SMP_XAPIC);
        const size_t whole = length < HEADER ? 0 : (length - HEADER) / 8;
        assert_int_equal(reading.status, length < HEADER ? STATUS_INVALID : STATUS_TRUNCATED);
        assert_int_equal(reading.list.count, length < HEADER ? 0 : whole == 0 ? 1 : whole);
        assert_true(told.count > 0);
        free(reading.madt.room);
        free(cut);
    }
    free(table.bytes);
}

static void test_no_table(void **state)
{
    (void)state;
    struct reading reading = read_bytes(NULL, 0, 0, SMP_XAPIC);
    assert_int_equal(reading.status, STATUS_INVALID);
    assert_int_equal(reading.list.count, 0);
    assert_int_equal(told_times(&told, "no-madt", "not a MADT"), 1);
    free(reading.madt.room);
}

static void test_too_little_room(void **state)
{
    struct table table = begin();

    (void)state;
    add_xapic(&table, 0, ENABLED);
    add_xapic(&table, 1, ENABLED);
    finish(&table);
    struct reading reading = read_table(&table, 0, SMP_XAPIC);
    assert_int_equal(reading.status, STATUS_OK);

    reading.madt.room_bytes--;
    assert_int_equal(engine_read_madt(&reading.madt, &reading.list), STATUS_NO_SPACE);
    assert_int_equal(reading.list.count, 0);
    assert_int_equal(told_times(&told, "no-memory", "the list of processors takes 96 bytes"), 1);

    struct engine_madt askew = reading.madt;
    askew.room = (uint8_t *)askew.room + 4;
    askew.room_bytes = 1000;
    assert_int_equal(engine_read_madt(&askew, &reading.list), STATUS_NO_SPACE);
    askew = (struct engine_madt){.table = table.bytes, .bytes = table.length, .problems = problems};
    assert_int_equal(engine_read_madt(&askew, &reading.list), STATUS_NO_SPACE); // no room at all
    askew.room_bytes = 1000; // and a host that says there is
    assert_int_equal(engine_read_madt(&askew, &reading.list), STATUS_NO_SPACE);
    end(&reading, &table);
}

static void test_a_mailbox(void **state)
{
    struct table table = begin();
    const uint8_t mailbox[16] = {0x10, 16};

    (void)state;
    add(&table, mailbox, sizeof mailbox);
    add_xapic(&table, 0, ENABLED);
    finish(&table);
    struct reading reading = read_table(&table, 0, SMP_XAPIC);
    assert_true(reading.list.wakeup_mailbox);
    assert_int_equal(told_times(&told, "wakeup-mailbox", "(type 0x10)"), 1);
    end(&reading, &table);
}

// The fixtures that the whole inventory is held against, once more through this door.
static void test_the_fixtures(void **state)
{
    static const struct {
        const char *name;
        enum status status;
        size_t count;
    } fixtures[] = {
        {"qemu-4cpu", STATUS_OK, 4},
        {"qemu-6cpu-sparse", STATUS_OK, 6},
        {"qemu-2of6cpu", STATUS_OK, 2},
        {"qemu-300-sparse", STATUS_OK, 2},
        {"broken-bad-checksum", STATUS_OK, 4},
        {"broken-both-forms", STATUS_OK, 3},
        {"broken-impossible-ids", STATUS_OK, 2},
        {"broken-claims-4-gib", STATUS_TRUNCATED, 2},
        {"broken-cut-file", STATUS_TRUNCATED, 3},
        {"broken-length-zero", STATUS_TRUNCATED, 2},
        {"broken-claims-too-little", STATUS_INVALID, 0},
        {"broken-other-signature", STATUS_INVALID, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof fixtures / sizeof fixtures[0]; i++) {
        char path[128];
        uint8_t bytes[8192];
        snprintf(path, sizeof path, "tests/data/madt/%s.aml", fixtures[i].name);
        FILE *file = fopen(path, "rb");
        assert_non_null(file);
        const size_t length = fread(bytes, 1, sizeof bytes, file);
        fclose(file);
        assert_true(length < sizeof bytes);
        struct reading reading = read_bytes(bytes, length, 0, SMP_X2APIC);
        assert_int_equal(reading.status, fixtures[i].status);
        assert_int_equal(reading.list.count, fixtures[i].count);
        free(reading.madt.room);
    }
}

// ---- the clock ----

// A PIT's channel 2 and its gate, beside a TSC of this rate. An access to a port takes `access`
// ticks. Broken ones stand still from the start, or after some time. One stops the processor for 2
// ms behind each look at the end of the first measurement.
static struct pit {
    uint64_t hz, access, loaded_at, stops_at;
    uint32_t latched, bytes_read, writes, loads;
    bool stops_processor;
    uint8_t gate;
} pit;

static uint64_t read_port(void *context, uint64_t port)
{
    struct pit *one = context;

    fake_advance(one->access);
    if (port == 0x61)
        return one->gate;
    return one->bytes_read++ % 2 == 0 ? one->latched & 0xff : one->latched >> 8;
}

static void write_port(void *context, uint64_t port, uint64_t value)
{
    struct pit *one = context;

    fake_advance(one->access);
    if (port == 0x61) {
        one->gate = (uint8_t)value;
    } else if (port == 0x42) {
        one->loaded_at = fake_now();
        one->loads = ++one->writes / 2;
    } else if (value == 0x80) {
        const uint64_t now = fake_now() < one->stops_at ? fake_now() : one->stops_at;
        const uint64_t steps =
            now > one->loaded_at ? (now - one->loaded_at) * 1193182 / one->hz : 0;
        assert_int_equal(one->gate & 3, 1); // counts, and is not heard
        one->latched = (0xffff - (uint32_t)steps) & 0xffff;
        one->bytes_read = 0;
        if (one->stops_processor && one->loads == 1 && steps > 11900)
            fake_advance(one->hz / 500);
    } else {
        assert_int_equal(value, 0xb0);
    }
}

static void put_pit(uint64_t hz, uint64_t access)
{
    pit = (struct pit){.hz = hz, .access = access, .stops_at = UINT64_MAX, .gate = 0x32};
    fake_start_clock(0, 1);
    fake_hook(FAKE_PORT8, 0x42, 0x43, read_port, write_port, &pit);
    fake_hook(FAKE_PORT8, 0x61, 0x61, read_port, write_port, &pit);
}

static void assert_about(uint64_t value, uint64_t expected)
{
    assert_true(value > expected - expected / 200 && value < expected + expected / 200);
}

static void test_told_whole(void **state)
{
    uint64_t hz;

    (void)state;
    be_intel(0x15);
    leaf(0x15, 2, 216, 24000000, 0); // no PIT is asked: none is there
    assert_int_equal(engine_measure_tsc(&problems, &hz), STATUS_OK);
    assert_int_equal(hz, 2592000000);
}

static void test_measured(void **state)
{
    static const uint64_t rates[] = {50000000, 2600000000, 9000000000};
    uint64_t hz;

    (void)state;
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        put_pit(rates[i], rates[i] / 1000000); // 1 us
        assert_int_equal(engine_measure_tsc(&problems, &hz), STATUS_OK);
        assert_about(hz, rates[i]);
        assert_int_equal(pit.gate, 0x32); // as it was
    }
}

// The base clock of leaf 0x16 is made up by some emulators: a PIT that counts has the last word.
static void test_measured_against_what_is_told(void **state)
{
    uint64_t hz;

    (void)state;
    be_intel(0x16);
    leaf(0x15, 2, 216, 0, 0);
    leaf(0x16, 4000, 4200, 100, 0);
    put_pit(1000000000, 1000);
    assert_int_equal(engine_measure_tsc(&problems, &hz), STATUS_OK);
    assert_about(hz, 1000000000);

    pit.stops_at = 0; // gated off, as on many newer machines
    assert_int_equal(engine_measure_tsc(&problems, &hz), STATUS_OK);
    assert_int_equal(hz, 4000000000);
    assert_int_equal(told.count, 0);
}

// A stop behind the last look at the PIT makes a measurement longer, and another one is the better.
static void test_a_stop_in_between(void **state)
{
    uint64_t hz;

    (void)state;
    put_pit(1000000000, 1000);
    pit.stops_processor = true;
    assert_int_equal(engine_measure_tsc(&problems, &hz), STATUS_OK);
    assert_int_equal(pit.loads, 3);
    assert_about(hz, 1000000000);
}

static void test_no_clock_moves(void **state)
{
    uint64_t hz = 1;

    (void)state;
    put_pit(1000000000, 1000);
    pit.stops_at = 0; // the PIT stands still
    assert_int_equal(engine_measure_tsc(&problems, &hz), STATUS_UNSUPPORTED);
    assert_int_equal(hz, 0);
    assert_int_equal(told_times(&told, "no-clock", "no clock to time a wait by"), 1);

    put_pit(1000000000, 1000);
    pit.stops_at = 5000000; // in the midst of a measurement
    assert_int_equal(engine_measure_tsc(&problems, &hz), STATUS_UNSUPPORTED);

    fake_hook(FAKE_PORT8, 0x42, 0x43, NULL, write_port, &pit); // there is none: the bus reads ones
    fake_set_cell(FAKE_PORT8, 0x42, 0xff);
    fake_set_cell(FAKE_PORT8, 0x43, 0xff);
    assert_int_equal(engine_measure_tsc(&problems, &hz), STATUS_UNSUPPORTED);
    assert_int_equal(told.count, 3);
}

// The PIT counts, by reads of it, and the TSC does not.
static uint64_t count_by_reads(void *context, uint64_t port)
{
    uint32_t *reads = context;
    const uint32_t now = 0xffff - *reads / 2;

    if (port == 0x61)
        return 0;
    return ((*reads)++ % 2 == 0 ? now : now >> 8) & 0xff;
}

static void swallow(void *context, uint64_t port, uint64_t value)
{
    (void)context, (void)port, (void)value;
}

static void test_a_tsc_that_stands_still(void **state)
{
    uint32_t reads = 0;
    uint64_t hz;

    (void)state;
    fake_start_clock(1000, 0);
    fake_hook(FAKE_PORT8, 0x42, 0x61, count_by_reads, swallow, &reads);
    assert_int_equal(engine_measure_tsc(&problems, &hz), STATUS_UNSUPPORTED);
    assert_int_equal(told_times(&told, "no-clock", "the TSC made 0 Hz"), 1);
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_processor),
        TEST(test_its_apic_id),
        TEST(test_not_the_bsp),
        TEST(test_a_guest_that_init_does_not_reach),
        TEST(test_both_types),
        TEST(test_only_type_9),
        TEST(test_who_cannot_be_named_is_left_out),
        TEST(test_a_caller_that_is_not_listed),
        TEST(test_no_entries),
        TEST(test_an_entry_of_length_0),
        TEST(test_cut_anywhere),
        TEST(test_no_table),
        TEST(test_too_little_room),
        TEST(test_a_mailbox),
        TEST(test_the_fixtures),
        TEST(test_told_whole),
        TEST(test_measured),
        TEST(test_measured_against_what_is_told),
        TEST(test_a_stop_in_between),
        TEST(test_no_clock_moves),
        TEST(test_a_tsc_that_stands_still),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
