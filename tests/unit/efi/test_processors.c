// Who is there, by firmware that has a MADT, a damaged one, one that lists nobody, or none, and an
// MP Services that answers, refuses, or lies. The machine's memory is a buffer: the RSDP, the RSDT,
// the MADT.
#include "fake_firmware.h"
#include "failing.h"

#include "acpi.h"
#include "madt_edit.h"
#include "mp_services.h"
#include "processors.h"
#include "told.h"

#define RSDP      0x1000u
#define RSDT      0x2000u
#define MADT      0x3000u
#define MEMORY    0x4000u
#define XAPIC     0xfee00900u
#define X2APIC    0xfee00d00u
#define USABLE    (MP_IS_ENABLED | MP_IS_HEALTHY)
#define LISTS_MAX 8u

static uint8_t memory[MEMORY];
static struct told told;
static struct machine machine;
static struct options options;
static struct firmware firmware;

static struct {
    struct mp_services services;
    bool absent;
    EFI_STATUS numbers, information;
    UINTN count, enabled;
    UINTN handles; // that it knows
    struct mp_information list[LISTS_MAX];
    size_t asked;
} mp;

static EFI_STATUS EFIAPI locate(EFI_GUID *guid, VOID *registration, VOID **interface)
{
    (void)guid, (void)registration;
    *interface = &mp.services;
    return mp.absent ? EFI_NOT_FOUND : EFI_SUCCESS;
}

static EFI_STATUS EFIAPI numbers(struct mp_services *self, UINTN *count, UINTN *enabled)
{
    (void)self;
    *count = mp.count;
    *enabled = mp.enabled;
    return mp.numbers;
}

static EFI_STATUS EFIAPI information(struct mp_services *self, UINTN number,
                                     struct mp_information *answer)
{
    (void)self;
    mp.asked++;
    if (number >= mp.handles)
        return EFI_NOT_FOUND;
    *answer = mp.list[number];
    return mp.information;
}

static const void *view(const void *context, uint64_t address, uint64_t bytes)
{
    (void)context;
    return address < MEMORY && bytes <= MEMORY - address ? memory + address : NULL;
}

static void store32(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, sizeof value);
}

// One processor more, by MP Services.
static void add_mp(uint64_t apic_id, uint32_t status)
{
    mp.list[mp.handles++] = (struct mp_information){.apic_id = apic_id, .status = status};
    mp.count = mp.handles;
    mp.enabled += (status & MP_IS_ENABLED) != 0;
}

// A MADT with these enabled processors; the ID is the UID, too.
static void publish(const uint32_t *apic_ids, size_t count)
{
    struct cpu cpus[LISTS_MAX];

    memcpy(memory + RSDP, "RSD PTR ", 8);
    store32(memory + RSDP + 16, RSDT);
    memory[RSDP + 8] = (uint8_t)-acpi_sum(memory + RSDP, 20);
    memcpy(memory + RSDT, "RSDT", 4);
    store32(memory + RSDT + ACPI_HEADER_LENGTH, ACPI_HEADER_BYTES + 4);
    store32(memory + RSDT + ACPI_HEADER_BYTES, MADT);
    memory[RSDT + ACPI_HEADER_CHECKSUM] = (uint8_t)-acpi_sum(memory + RSDT, ACPI_HEADER_BYTES + 4);
    for (size_t i = 0; i < count; i++)
        cpus[i] = (struct cpu){.apic_id = apic_ids[i], .uid = apic_ids[i], .listing = CPU_LISTED};
    madt_make(cpus, count, memory + MADT);
}

// Firmware with a sound MADT of 0, 2 and an MP Services that lists 0, 2, 4.
static int set_up(void **state)
{
    static const uint32_t ids[] = {0, 2};

    (void)state;
    failures_fail_the_test();
    firmware = fake_firmware_start(48);
    fake_firmware.boot.LocateProtocol = locate;
    memset(memory, 0, sizeof memory);
    memset(&mp, 0, sizeof mp);
    memset(&options, 0, sizeof options);
    machine = (struct machine){.apic_base = X2APIC};
    mp.services.get_number_of_processors = numbers;
    mp.services.get_processor_info = information;
    publish(ids, 2);
    add_mp(0, USABLE | MP_IS_BSP);
    add_mp(2, USABLE);
    add_mp(4, USABLE);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_firmware_clear();
    return 0;
}

static void no_madt(void)
{
    memset(memory + RSDP, 0, 8);
}

static void gather_as(enum status status)
{
    const struct phys phys = {view, NULL};
    const struct problems problems = told_listen(&told);

    assert_int_equal(processors_gather(&firmware, &phys, RSDP, &options, &problems, &machine),
                     status);
    // Nothing is left over but the inventory's own memory.
    assert_int_equal(fake_firmware.owned_count, machine.inventory.cpus != NULL);
}

static size_t errors(void)
{
    size_t count = 0;
    for (size_t i = 0; i < told.count; i++)
        count += told.lines[i].severity == SEVERITY_ERROR;
    return count;
}

// The run goes on, with this list.
static void expect(enum inventory_source source, const uint32_t *apic_ids, size_t count)
{
    const struct inventory *inventory = &machine.inventory;

    gather_as(STATUS_OK);
    assert_int_equal(errors(), 0);
    assert_int_equal(inventory->source, source);
    assert_int_equal(inventory->enabled, count);
    for (size_t i = 0; i < count; i++) {
        const uint32_t uid = source == INVENTORY_MADT ? apic_ids[i] : CPU_UID_UNKNOWN;
        assert_int_equal(inventory->cpus[i].apic_id, apic_ids[i]);
        assert_int_equal(inventory->cpus[i].uid, uid);
        assert_int_equal(inventory->cpus[i].listing, i == 0 ? CPU_BSP : CPU_LISTED);
    }
    assert_int_equal(told_times(&told, "no-madt", "MP Services' list is used"),
                     source == INVENTORY_MP_SERVICES);
}

static void expect_mp(const uint32_t *apic_ids, size_t count)
{
    expect(INVENTORY_MP_SERVICES, apic_ids, count);
}

static const uint32_t by_mp[] = {0, 2, 4};

// ---- which list ----

static void test_the_madt_comes_first(void **state)
{
    (void)state;
    expect(INVENTORY_MADT, by_mp, 2);
    assert_int_equal(mp.asked, 0);
    assert_int_equal(told.count, 1);
    assert_int_equal(told_times(&told, "mp-services-disagree", "the MADT lists 2 enabled"), 1);
}

static void test_no_madt(void **state)
{
    (void)state;
    no_madt();
    expect_mp(by_mp, 3);
    assert_int_equal(machine.mp_services, 3);
    assert_int_equal(told_times(&told, "mp-services-disagree", ""), 0);
}

static void test_no_madt_behind_an_rsdp(void **state)
{
    (void)state;
    memcpy(memory + MADT, "XXXX", 4);
    expect_mp(by_mp, 3);
}

static void test_a_damaged_madt(void **state)
{
    (void)state;
    store32(memory + MADT + ACPI_HEADER_LENGTH, 40); // shorter than its own header
    expect_mp(by_mp, 3);
}

static void test_a_madt_that_is_cut_short(void **state)
{
    (void)state;
    memory[MADT + 44 + 1] = 200; // its first entry's length
    expect_mp(by_mp, 3);
}

static void test_a_madt_that_lists_nobody(void **state)
{
    (void)state;
    publish(NULL, 0);
    expect_mp(by_mp, 3);
    assert_int_equal(told_times(&told, "no-madt", "not even this one"), 1);
}

// It lists somebody, and so it is believed, although it does not know the BSP.
static void test_a_madt_without_the_bsp(void **state)
{
    static const uint32_t ids[] = {0, 6};

    (void)state;
    publish(ids + 1, 1);
    gather_as(STATUS_OK);
    assert_int_equal(machine.inventory.source, INVENTORY_MADT);
    assert_int_equal(machine.inventory.enabled, 2);
}

// ---- neither ----

static void test_neither(void **state)
{
    (void)state;
    no_madt();
    mp.absent = true;
    gather_as(STATUS_INVALID);
    assert_int_equal(told_times(&told, "no-madt", "MP Services lists no processor either"), 1);
    assert_true(errors() > 0);
}

static void test_mp_services_refuses(void **state)
{
    (void)state;
    no_madt();
    mp.information = EFI_DEVICE_ERROR;
    gather_as(STATUS_INVALID);
    assert_int_equal(errors(), 1);
    mp.information = EFI_SUCCESS;
    mp.numbers = EFI_DEVICE_ERROR;
    machine = (struct machine){.apic_base = X2APIC};
    gather_as(STATUS_INVALID);
}

// A MADT of the BSP alone, as good as it is.
static void test_nobody_knows_more(void **state)
{
    (void)state;
    publish(NULL, 0);
    mp.absent = true;
    gather_as(STATUS_OK);
    assert_int_equal(machine.inventory.enabled, 1);
    assert_int_equal(told_times(&told, "bsp-not-listed", ""), 1);
    assert_int_equal(told_times(&told, "mp-services-count", ""), 0); // it is not there to count
}

// Allocations fail from this one on: a refusal, and nothing is left over.
static void expect_refusal(size_t from)
{
    machine = (struct machine){.apic_base = X2APIC};
    fake_firmware.high_count = 0;
    fake_firmware.refuse_high_from = from;
    const struct phys phys = {view, NULL};
    const struct problems problems = told_listen(&told);
    assert_int_not_equal(processors_gather(&firmware, &phys, RSDP, &options, &problems, &machine),
                         STATUS_OK);
    assert_true(errors() > 0);
    assert_int_equal(fake_firmware.owned_count, 0);
}

static void test_no_memory(void **state)
{
    (void)state;
    expect_refusal(1); // the MADT's list is the first
    no_madt();
    for (size_t from = 1; from <= 3; from++)
        expect_refusal(from);
}

// ---- what MP Services says ----

// Counts that no machine has are not believed, neither for a list nor for anything else.
static void test_absurd_counts(void **state)
{
    static const UINTN lies[][2] = {
        {0, 0}, {65537, 1}, {1ull << 32, 4}, {(1ull << 32) + 3, 3}, {UINT64_MAX, 1}, {3, 4}};

    (void)state;
    no_madt();
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        machine = (struct machine){.apic_base = X2APIC};
        mp.count = lies[i][0];
        mp.enabled = lies[i][1];
        mp.asked = 0;
        gather_as(STATUS_INVALID);
        assert_int_equal(machine.mp_services, 0);
        assert_int_equal(mp.asked, 0);
        assert_int_equal(told_times(&told, "mp-services-count", "counts are ignored"), 1);
    }
}

// It counts more than it can name.
static void test_a_count_with_holes(void **state)
{
    (void)state;
    no_madt();
    mp.count = 65536;
    mp.enabled = 4;
    expect_mp(by_mp, 3);
    assert_int_equal(mp.asked, 65536);
    assert_int_equal(told_times(&told, "mp-services-disagree", "MP Services lists 3 enabled"), 1);
}

static void test_repeats(void **state)
{
    (void)state;
    no_madt();
    add_mp(2, USABLE);
    add_mp(0, USABLE);
    expect_mp(by_mp, 3);
    assert_int_equal(machine.inventory.duplicate, 2);
    assert_int_equal(told_times(&told, "duplicate-id", "of MP Services repeat"), 1);
}

static void test_ids_that_nobody_can_have(void **state)
{
    (void)state;
    no_madt();
    add_mp(UINT32_MAX, USABLE);
    expect_mp(by_mp, 3);
    assert_int_equal(machine.inventory.impossible, 1);
    assert_int_equal(told_times(&told, "impossible-id", "MP Services"), 1);
    // In xAPIC mode firmware can have met none above 0xfe.
    fake_firmware_clear();
    set_up(state);
    no_madt();
    machine.apic_base = XAPIC;
    add_mp(0xff, USABLE);
    add_mp(0x17161514, USABLE);
    expect_mp(by_mp, 3);
    assert_int_equal(machine.inventory.impossible, 2);
}

static void test_id_255_in_x2apic_mode(void **state)
{
    static const uint32_t ids[] = {0, 2, 4, 255};

    (void)state;
    no_madt();
    add_mp(255, USABLE);
    expect_mp(ids, 4);
}

// Our own APIC says who we are.
static void test_another_bsp(void **state)
{
    static const uint32_t ids[] = {2, 0, 4};

    (void)state;
    no_madt();
    machine.bsp_apic_id = 2;
    expect_mp(ids, 3);
}

static void test_no_bsp(void **state)
{
    static const uint32_t ids[] = {9, 0, 2, 4};

    (void)state;
    no_madt();
    machine.bsp_apic_id = 9;
    expect_mp(ids, 4);
    assert_int_equal(told_times(&told, "bsp-not-listed", "MP Services"), 1);
}

static void test_disabled_and_unhealthy(void **state)
{
    static const uint32_t ids[] = {0, 2, 4, 6};

    (void)state;
    no_madt();
    add_mp(5, MP_IS_HEALTHY);
    add_mp(6, MP_IS_ENABLED);
    add_mp(7, 0);
    expect_mp(ids, 4);
    assert_int_equal(machine.inventory.disabled, 2);
    assert_int_equal(machine.inventory.cpus[4].apic_id, 5);
    assert_int_equal(machine.inventory.cpus[4].listing, CPU_DISABLED);
    assert_int_equal(machine.inventory.cpus[5].apic_id, 7);
    assert_int_equal(told_times(&told, "unhealthy", "APIC ID 0x6"), 1);
}

// Nobody but us, by its own words.
static void test_all_are_disabled(void **state)
{
    (void)state;
    no_madt();
    for (size_t i = 0; i < mp.handles; i++)
        mp.list[i].status = MP_IS_HEALTHY;
    mp.enabled = 0;
    expect_mp(by_mp, 1);
    assert_int_equal(machine.inventory.disabled, 3);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_the_madt_comes_first),
        TEST(test_no_madt),
        TEST(test_no_madt_behind_an_rsdp),
        TEST(test_a_damaged_madt),
        TEST(test_a_madt_that_is_cut_short),
        TEST(test_a_madt_that_lists_nobody),
        TEST(test_a_madt_without_the_bsp),
        TEST(test_neither),
        TEST(test_mp_services_refuses),
        TEST(test_nobody_knows_more),
        TEST(test_no_memory),
        TEST(test_absurd_counts),
        TEST(test_a_count_with_holes),
        TEST(test_repeats),
        TEST(test_ids_that_nobody_can_have),
        TEST(test_id_255_in_x2apic_mode),
        TEST(test_another_bsp),
        TEST(test_no_bsp),
        TEST(test_disabled_and_unhealthy),
        TEST(test_all_are_disabled),
    };
    return cmocka_run_group_tests_name("processors", tests, NULL, NULL);
}
