// The end of a processor that met an exception: whose it is by its GDT alone, what stands in its
// record, what its host is told, and where it parks.
#include "aps_fixture.h"

#include "fault.h"
#include "image_layout.h"

static struct {
    size_t calls;
    struct smp_fault_report report;
    char text[512];
    uint32_t valid; // of its record's fault, during the call
} told;

static void on_fault(void *context, const struct smp_fault_report *report)
{
    assert_ptr_equal(context, &told);
    told.calls++;
    told.report = *report;
    told.valid = atomic_load(&fake_lcpu(&aps, report->self.slot)->fault.valid);
    strcpy(told.text, report->text);
}

static void open_engine(void)
{
    memset(&told, 0, sizeof told);
    fake_aps_open(&aps, 3);
    aps.aps[2].apic_id = 299;
    aps.host.context = &told;
    aps.host.fault = on_fault;
    fake_aps_prepare(&aps);
    fake_set_cr(FAKE_CR2, 0xdead0000);
}

// As this processor: by the physical address of its GDT.
static void stand_as(uint32_t slot)
{
    const struct lcpu *lcpu = fake_lcpu(&aps, slot);
    fake_set_tables(&(struct hw_tables){.gdt = lcpu->gdtr, .idt = lcpu->idtr});
}

static const struct fault_frame frame = {
    .vector = 14, .error = 0xfeedf00d00000002, .rip = 0x1234567890, .rsp = 0x7000};

// An NMI that was sent to end a wait, and each other one.
static void test_a_nudge_is_no_fault(void **state)
{
    struct fault_frame nmi = {.vector = 2, .rip = 0x1234};
    _Atomic uint32_t *nudged;

    (void)state;
    open_engine();
    stand_as(2);
    nudged = &fake_lcpu(&aps, 2)->way.nudged;
    assert_false(fault_is_nudge(&nmi));
    atomic_store(&fake_lcpu(&aps, 1)->way.nudged, 1);
    assert_false(fault_is_nudge(&nmi));
    atomic_store(nudged, 1);
    assert_true(fault_is_nudge(&nmi));
    assert_int_equal(nmi.rip, 0x1234); // nowhere in the wait
    assert_int_equal(atomic_load(nudged), 0);
    assert_false(fault_is_nudge(&nmi));
    assert_int_equal(told.calls, 0);
}

static void test_the_evidence(void **state)
{
    (void)state;
    open_engine();
    stand_as(2);
    atomic_store(&fake_lcpu(&aps, 2)->state, 5 << STATE_STAGE_BITS | STAGE_LONG);
    FAKE_UNTIL_HALT(fault_report(&frame));
    const struct lcpu_fault *fault = &fake_lcpu(&aps, 2)->fault;
    assert_int_equal(atomic_load(&fault->valid), 1);
    assert_int_equal(fault->mode, STAGE_LONG);
    assert_int_equal(fault->vector, 14);
    assert_int_equal(fault->error, 2);
    assert_int_equal(fault->ip, 0x1234567890);
    assert_int_equal(fault->cr2, 0xdead0000);
    assert_int_equal(fault->sp, 0x7000);
    assert_int_equal(told.calls, 1);
    assert_int_equal(told.valid, 1); // kept before anything can go wrong in telling it
    assert_int_equal(told.report.self.slot, 2);
    assert_int_equal(told.report.self.cpu, 2);
    assert_int_equal(told.report.self.apic_id, 299);
    assert_int_equal(told.report.before, 0);
    assert_string_equal(told.text,
                        "CPU 2 (APIC ID 299) stopped: vector 14 (page fault), error code 0x2, RIP "
                        "0x1234567890, CR2 0xdead0000, RSP 0x7000");
    assert_int_equal(atomic_load(&fake_lcpu(&aps, 1)->fault.valid), 0);
}

// The first is the account's: what follows from it says nothing about the processor.
static void test_the_first_fault_stays(void **state)
{
    static const struct fault_frame second = {.vector = 8, .rip = 7};

    (void)state;
    open_engine();
    stand_as(1);
    FAKE_UNTIL_HALT(fault_report(&frame));
    FAKE_UNTIL_HALT(fault_report(&second));
    assert_int_equal(fake_lcpu(&aps, 1)->fault.vector, 14);
    assert_int_equal(told.calls, 2);
    assert_int_equal(told.report.before, 1);
    assert_non_null(strstr(told.text, "vector 8 (double fault)"));
}

// Slot 0's are counted, so that its host can do less each time.
static void test_the_callers_own(void **state)
{
    (void)state;
    open_engine();
    stand_as(0);
    for (uint32_t before = 0; before < 4; before++) {
        FAKE_UNTIL_HALT(fault_report(&frame));
        assert_int_equal(told.report.self.slot, 0);
        assert_int_equal(told.report.before, before);
    }
}

static void assert_ends_in(enum fake_kind kind, uint64_t address)
{
    const struct fake_event *last = fake_log_at(fake_log_count() - 1);
    assert_int_equal(last->kind, kind);
    assert_int_equal(last->address, address);
}

// In the page's loop, once there is one: it outlives the caller's code.
static void test_where_it_parks(void **state)
{
    struct smp_round result;

    (void)state;
    open_engine();
    stand_as(1);
    FAKE_UNTIL_HALT(fault_report(&frame));
    assert_ends_in(FAKE_HALT, 0);
    smp_wake(aps.smp, &result);
    FAKE_UNTIL_HALT(fault_report(&frame));
    assert_ends_in(FAKE_JUMP, FAKE_PAGE + PAGE_PARK);
}

// The stub of each vector pushes its number, and 0 before it where the processor pushes no error
// code. (SDM vol. 3A, "Exception and Interrupt Reference".)
static void test_stubs(void **state)
{
    (void)state;
    for (uint32_t vector = 0; vector < 32; vector++) {
        const uint8_t *stub = fault_stubs + vector * FAULT_STUB_BYTES;
        const bool has_code = vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 ||
                              vector == 21 || vector == 29 || vector == 30;
        const uint8_t push[] = {0x6a, 0, 0x6a, (uint8_t)vector};
        assert_memory_equal(stub, has_code ? push + 2 : push, has_code ? 2 : 4);
    }
}

static void test_nobody_listens(void **state)
{
    (void)state;
    open_engine();
    fake_rally(&aps)->host.fault = NULL;
    stand_as(1);
    FAKE_UNTIL_HALT(fault_report(&frame));
    assert_int_equal(atomic_load(&fake_lcpu(&aps, 1)->fault.valid), 1);
    assert_int_equal(told.calls, 0);
}

// No line is longer than its room.
static void test_the_longest_line(void **state)
{
    static const struct fault_frame longest = {UINT64_MAX, UINT64_MAX, UINT64_MAX, 0,
                                               UINT64_MAX, UINT64_MAX, 0};

    (void)state;
    open_engine();
    stand_as(2);
    fake_lcpu(&aps, 2)->cpu = fake_lcpu(&aps, 2)->apic_id = UINT32_MAX;
    fake_set_cr(FAKE_CR2, UINT64_MAX);
    FAKE_UNTIL_HALT(fault_report(&longest));
    assert_true(strlen(told.text) < 200);
    assert_non_null(strstr(told.text, "RSP 0xffffffffffffffff"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        APS_TEST(test_a_nudge_is_no_fault),   APS_TEST(test_the_evidence),
        APS_TEST(test_the_first_fault_stays), APS_TEST(test_stubs),
        APS_TEST(test_the_callers_own),       APS_TEST(test_where_it_parks),
        APS_TEST(test_nobody_listens),        APS_TEST(test_the_longest_line),
    };

    return cmocka_run_group_tests(tests, aps_set_up, NULL);
}
