// FADT, SPCR, DBG2, DMAR and SMBIOS: what is read of each, and what is not believed.
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dbg2.h"
#include "dmar.h"
#include "fadt.h"
#include "smbios.h"
#include "spcr.h"

static uint8_t bytes[512];
static struct acpi_table table;

static int set_up(void **state)
{
    (void)state;
    memset(bytes, 0, sizeof bytes);
    table = (struct acpi_table){bytes, sizeof bytes};
    return 0;
}

static void put(size_t offset, uint64_t value, size_t count)
{
    memcpy(bytes + offset, &value, count);
}

// ---- FADT ----

// As q35 has it: PM1 events at 0x600, the timer at 0x608, a reset register at 0xcf9.
static void fadt_of_q35(void)
{
    memset(bytes, 0, sizeof bytes);
    bytes[8] = 3;
    put(56, 0x600, 4);
    put(76, 0x608, 4);
    bytes[88] = 4;
    bytes[91] = 4;
    put(109, 2, 2);
    put(112, 1u << 10, 4);
    bytes[116] = GAS_IO;
    bytes[117] = 8;
    put(120, 0xcf9, 8);
    bytes[128] = 0x0f;
}

static void test_fadt(void **state)
{
    struct fadt fadt;

    (void)state;
    fadt_of_q35();
    fadt_read(&table, &fadt);
    assert_int_equal(fadt.pm_timer, 0x608);
    assert_true(fadt.has_8042);
    assert_int_equal(fadt.power_status, 0x600);
    assert_int_equal(fadt.power_enable, 0x602);
    assert_true(fadt.can_reset);
    assert_int_equal(fadt.reset_space, GAS_IO);
    assert_int_equal(fadt.reset_address, 0xcf9);
    assert_int_equal(fadt.reset_value, 0x0f);
}

static void test_fadt_that_is_short_or_old(void **state)
{
    struct fadt fadt;

    (void)state;
    for (size_t length = 0; length <= 140; length++) {
        fadt_of_q35();
        table.length = length;
        fadt_read(&table, &fadt);
        assert_int_equal(fadt.pm_timer, length >= 116 ? 0x608 : 0);
        assert_int_equal(fadt.power_status, length >= 116 ? 0x600 : 0);
        assert_int_equal(fadt.has_8042, length >= 116);
        assert_int_equal(fadt.can_reset, length >= 129);
    }
    table.length = sizeof bytes;
    put(109, 0, 2);
    fadt_read(&table, &fadt);
    assert_false(fadt.has_8042);
    for (uint8_t revision = 0; revision < 3; revision++) {
        bytes[8] = revision; // what was reserved then means nothing, and a PC had an 8042
        fadt_read(&table, &fadt);
        assert_true(fadt.has_8042);
        assert_false(fadt.can_reset);
        assert_int_equal(fadt.power_status, 0x600);
    }
}

// A Generic Address Structure: space, width, offset of the bit, size of an access, address.
static void put_gas(size_t offset, uint8_t space, uint8_t bits, uint8_t bit, uint64_t address)
{
    const uint8_t head[] = {space, bits, bit, 0};

    memcpy(bytes + offset, head, sizeof head);
    put(offset + sizeof head, address, 8);
}

// The events of PM1a and the timer each stand in two places. Which of the two is taken?
static void test_fadt_whose_blocks_have_two_addresses(void **state)
{
    static const struct {
        uint8_t space, bits, bit;
        uint64_t extended;
        uint32_t legacy;
        uint16_t port;
    } cases[] = {
        {GAS_IO, 32, 0, 0x1800, 0, 0x1800},         // as new machines have it
        {GAS_IO, 32, 0, 0x1800, 0x1800, 0x1800},    // as most have it
        {GAS_IO, 32, 0, 0x1800, 0x400, 0x1800},     // they contradict each other
        {GAS_IO, 32, 0, 0x1800, 0x10400, 0x1800},   // the older one is no port
        {GAS_IO, 0, 0, 0x1800, 0, 0x1800},          // widths that no register has
        {GAS_IO, 7, 0, 0x1800, 0, 0x1800},          // :
        {GAS_IO, 255, 0, 0x1800, 0, 0x1800},        // :
        {GAS_IO, 32, 0, 0, 0x400, 0x400},           // empty
        {0, 0, 0, 0, 0x400, 0x400},                 // :
        {GAS_MEMORY, 32, 0, 0x1800, 0x400, 0x400},  // in memory
        {2, 32, 0, 0x1800, 0x400, 0x400},           // in a PCI device
        {127, 32, 0, 0x1800, 0x400, 0x400},         // in nothing that a program could ask
        {GAS_IO, 32, 4, 0x1800, 0x400, 0x400},      // between two registers
        {GAS_IO, 32, 0, 0x10000, 0x400, 0x400},     // beyond the last port
        {GAS_IO, 32, 0, 0x100001800, 0x400, 0x400}, // :
        {GAS_IO, 32, 0, UINT64_MAX, 0, 0},          // :
        {GAS_MEMORY, 32, 0, 0xfed40000, 0, 0},
    };
    struct fadt fadt;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fadt_of_q35();
        put(56, cases[i].legacy, 4);
        put(76, cases[i].legacy, 4);
        put_gas(148, cases[i].space, cases[i].bits, cases[i].bit, cases[i].extended);
        put_gas(208, cases[i].space, cases[i].bits, cases[i].bit, cases[i].extended);
        fadt_read(&table, &fadt);
        assert_int_equal(fadt.pm1a_event, cases[i].port);
        assert_int_equal(fadt.pm_timer, cases[i].port);
        assert_int_equal(fadt.power_status, cases[i].port);
        assert_int_equal(fadt.power_enable, cases[i].port != 0 ? cases[i].port + 2 : 0);
    }
}

// An address that is only half within the table is not there.
static void test_fadt_that_ends_within_an_extended_block(void **state)
{
    struct fadt fadt;

    (void)state;
    for (size_t length = 116; length <= 244; length++) {
        fadt_of_q35();
        put_gas(148, GAS_IO, 32, 0, 0x1800);
        put_gas(208, GAS_IO, 32, 0, 0x1808);
        table.length = length;
        fadt_read(&table, &fadt);
        assert_int_equal(fadt.power_status, length >= 160 ? 0x1800 : 0x600);
        assert_int_equal(fadt.pm_timer, length >= 220 ? 0x1808 : 0x608);
    }
}

static void test_fadt_whose_timer_is_none(void **state)
{
    static const uint8_t lengths[] = {0, 1, 3, 5, 8, 255};
    struct fadt fadt;

    (void)state;
    for (size_t i = 0; i < sizeof lengths; i++) {
        fadt_of_q35();
        bytes[91] = lengths[i];
        put_gas(208, GAS_IO, 32, 0, 0x1808);
        fadt_read(&table, &fadt);
        assert_int_equal(fadt.pm_timer, 0);
    }
    fadt_of_q35();
    put(76, 0xfffd, 4); // its last byte is beyond the ports
    fadt_read(&table, &fadt);
    assert_int_equal(fadt.pm_timer, 0);
}

// Such a machine has neither block, whatever its table names.
static void test_fadt_of_reduced_hardware(void **state)
{
    struct fadt fadt;

    (void)state;
    fadt_of_q35();
    put_gas(148, GAS_IO, 32, 0, 0x1800);
    put_gas(208, GAS_IO, 32, 0, 0x1808);
    put(112, 1u << 20 | 1u << 10, 4);
    fadt_read(&table, &fadt);
    assert_int_equal(fadt.pm1a_event, 0);
    assert_int_equal(fadt.power_status, 0);
    assert_int_equal(fadt.pm_timer, 0);
    assert_true(fadt.can_reset);
    assert_true(fadt.has_8042);
}

static void test_fadt_without_a_button(void **state)
{
    static const struct {
        size_t offset;
        uint64_t value;
        size_t count;
    } changes[] = {
        {112, 1u << 4, 4},  // a button of another kind
        {112, 1u << 20, 4}, // hardware-reduced
        {56, 0, 4},         {56, 0x10600, 4}, {88, 0, 1},      {88, 2, 1},
        {88, 5, 1},         {88, 255, 1},     {56, 0xfffe, 4},
    };
    struct fadt fadt;

    (void)state;
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        fadt_of_q35();
        put(changes[i].offset, changes[i].value, changes[i].count);
        fadt_read(&table, &fadt);
        assert_int_equal(fadt.power_status, 0);
        assert_int_equal(fadt.power_enable, 0);
    }
}

static void test_fadt_without_a_reset(void **state)
{
    static const struct {
        size_t offset;
        uint64_t value;
        size_t count;
    } changes[] = {
        {112, 0, 4}, {116, 2, 1}, {117, 16, 1}, {118, 1, 1}, {120, 0, 8}, {120, 0x10000, 8},
    };
    struct fadt fadt;

    (void)state;
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        fadt_of_q35();
        put(changes[i].offset, changes[i].value, changes[i].count);
        fadt_read(&table, &fadt);
        assert_false(fadt.can_reset);
    }
    fadt_of_q35();
    bytes[116] = GAS_MEMORY;
    put(120, 0xfed40000, 8);
    fadt_read(&table, &fadt);
    assert_true(fadt.can_reset);
    assert_int_equal(fadt.reset_address, 0xfed40000);
}

// ---- SPCR ----

static void spcr_of(uint8_t kind, uint8_t space, uint8_t bits, uint8_t access, uint64_t address)
{
    memset(bytes, 0, sizeof bytes);
    table.length = 80;
    bytes[36] = kind;
    bytes[40] = space;
    bytes[41] = bits;
    bytes[43] = access;
    put(44, address, 8);
    bytes[58] = 7;
}

static void test_spcr(void **state)
{
    struct uart_place place;

    (void)state;
    spcr_of(0, 1, 8, 0, 0x2f8);
    assert_null(spcr_read(&table, &place));
    assert_int_equal(place.base, 0x2f8);
    assert_int_equal(place.stride, 0);
    assert_int_equal(place.baud, 115200);
    spcr_of(0x12, 0, 32, 3, 0xfe030000);
    assert_null(spcr_read(&table, &place));
    assert_int_equal(place.base, 0xfe030000);
    assert_int_equal(place.stride, 4);
    assert_int_equal(place.access, 4);
    spcr_of(1, 0, 32, 1, 0xfe030000); // a register every 4 bytes, read by the byte
    bytes[58] = 0;
    assert_null(spcr_read(&table, &place));
    assert_int_equal(place.stride, 4);
    assert_int_equal(place.access, 1);
    assert_int_equal(place.baud, 0);
    spcr_of(0, 0, 8, 0, 0xfe030001);
    assert_null(spcr_read(&table, &place));
    assert_int_equal(place.stride, 1);
    assert_int_equal(place.access, 1);
}

static void test_spcr_that_is_refused(void **state)
{
    struct uart_place place;

    (void)state;
    spcr_of(3, 0, 32, 3, 0xfe030000); // a PL011
    assert_string_equal(spcr_read(&table, &place), "its port is not a 16550");
    spcr_of(0, 0, 16, 2, 0xfe030000); // by words
    assert_string_equal(spcr_read(&table, &place), "its registers are neither 8 nor 32 bits wide");
    spcr_of(0, 1, 8, 0, 0);
    assert_string_equal(spcr_read(&table, &place), "redirection is switched off");
    static const struct {
        uint8_t space, bits, access;
        uint64_t address;
    } odd[] = {
        {1, 8, 0, 0x60},        {1, 8, 0, 0x103f8},     {1, 8, 0, 0xfffa},     {2, 8, 0, 0x1000},
        {0, 64, 0, 0xfe030000}, {0, 32, 3, 0xfe030002}, {0, 8, 3, 0xfe030000},
    };
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        spcr_of(0, odd[i].space, odd[i].bits, odd[i].access, odd[i].address);
        assert_string_equal(spcr_read(&table, &place), "its address makes no sense");
    }
    spcr_of(0, 1, 8, 0, 0x2f8);
    for (table.length = 0; table.length < 76; table.length++)
        assert_string_equal(spcr_read(&table, &place), "the table is too short");
}

// ---- DBG2 ----

#define DBG2_FIRST   44u
#define DBG2_ENTRY   0x30u
#define DBG2_ADDRESS 0x16u

// One more port behind those that are there, as a table of firmware's has it: entry, address, size,
// and a name.
static void add_port(uint16_t type, uint16_t kind, uint8_t space, uint8_t bits, uint8_t access,
                     uint64_t address)
{
    const uint32_t count = bytes[40]++;
    const size_t at = DBG2_FIRST + (size_t)count * DBG2_ENTRY;

    put(36, DBG2_FIRST, 4);
    put(at + 1, DBG2_ENTRY, 2);
    bytes[at + 3] = 1;
    put(at + 4, 10, 2);
    put(at + 6, 0x26, 2);
    put(at + 12, type, 2);
    put(at + 14, kind, 2);
    put(at + 18, DBG2_ADDRESS, 2);
    put(at + 20, 0x22, 2);
    bytes[at + DBG2_ADDRESS] = space;
    bytes[at + DBG2_ADDRESS + 1] = bits;
    bytes[at + DBG2_ADDRESS + 3] = access;
    put(at + DBG2_ADDRESS + 4, address, 8);
    memcpy(bytes + at + 0x26, "\\_SB.URT0", 10);
    table.length = at + DBG2_ENTRY;
}

// COM1 as most tables have it, the memory of an AMD chipset as a Surface's has, and of Intel's.
static void test_dbg2(void **state)
{
    struct uart_place place;

    (void)state;
    add_port(0x8000, 0, 1, 8, 0, 0x3f8);
    assert_int_equal(dbg2_count(&table), 1);
    assert_null(dbg2_read(&table, 0, &place));
    assert_int_equal(place.base, 0x3f8);
    assert_int_equal(place.stride, 0);
    assert_int_equal(place.baud, 115200);
    add_port(0x8002, 0, 0, 32, 3, 0xfe030000); // a debug port of USB
    add_port(0x8000, 0x12, 0, 32, 3, 0xfedca000);
    add_port(0x8000, 0x14, 0, 32, 0, 0xfe034000);
    assert_int_equal(dbg2_count(&table), 4);
    assert_string_equal(dbg2_read(&table, 1, &place), "its port is not a 16550");
    for (uint32_t i = 2; i < 4; i++) {
        assert_null(dbg2_read(&table, i, &place));
        assert_int_equal(place.base, i == 2 ? 0xfedca000 : 0xfe034000);
        assert_int_equal(place.stride, 4);
        assert_int_equal(place.access, 4);
    }
    assert_string_equal(dbg2_read(&table, 4, &place), "it names no such port");
}

static void test_dbg2_that_is_refused(void **state)
{
    static const struct {
        size_t at; // in the second entry
        uint16_t value;
        const char *wrong;
    } odd[] = {
        {14, 3, "its port is not a 16550"},
        {1, 21, "its entry does not lie in the table"},
        {1, DBG2_ENTRY + 1, "its entry does not lie in the table"},
        {1, 0xffff, "its entry does not lie in the table"},
        {18, 21, "its entry names no address"},
        {18, DBG2_ENTRY - 11, "its entry names no address"},
        {18, 0xffff, "its entry names no address"},
        {3, 0x0a00, "its entry names no address"}, // no addresses, and a name of 10 bytes
        {DBG2_ADDRESS, 0x0802, "its address makes no sense"},
        {DBG2_ADDRESS + 4, 0x0060, "its address makes no sense"},
    };
    struct uart_place place;

    (void)state;
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        (void)set_up(NULL);
        add_port(0x8000, 0, 1, 8, 0, 0x3f8);
        add_port(0x8000, 0, 1, 8, 0, 0x2f8);
        put(DBG2_FIRST + DBG2_ENTRY + odd[i].at, odd[i].value, 2);
        assert_null(dbg2_read(&table, 0, &place));
        assert_string_equal(dbg2_read(&table, 1, &place), odd[i].wrong);
    }
    bytes[DBG2_FIRST + 1] = 0; // the first has no length, so there is no way to the second
    assert_string_equal(dbg2_read(&table, 1, &place), "its entry does not lie in the table");
    (void)set_up(NULL);
    add_port(0x8000, 0, 0, 8, 0, 0);
    assert_string_equal(dbg2_read(&table, 0, &place), "its address makes no sense");
    static const uint32_t starts[] = {0, 43, 0xffffffff};
    put(1, DBG2_ENTRY, 2); // as if an entry were there, in front of all
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        put(36, starts[i], 4);
        assert_string_equal(dbg2_read(&table, 0, &place), "its entry does not lie in the table");
    }
    put(36, DBG2_FIRST, 4);
    put(40, 0xffffffff, 4);
    assert_int_equal(dbg2_count(&table), DBG2_PORTS_MOST);
    for (table.length = 0; table.length < 44; table.length++)
        assert_int_equal(dbg2_count(&table), 0);
}

// ---- DMAR ----

static void test_dmar(void **state)
{
    (void)state;
    for (uint32_t flags = 0; flags < 8; flags++) {
        bytes[37] = (uint8_t)flags;
        assert_int_equal(dmar_opts_out_of_x2apic(&table), (flags & 3) == 3);
    }
    bytes[37] = 3;
    table.length = 37;
    assert_false(dmar_opts_out_of_x2apic(&table));
}

// ---- SMBIOS ----

#define ENTRY  0x100u
#define TABLES 0x140u

static const void *view(const void *context, uint64_t address, uint64_t count)
{
    (void)context;
    return address < sizeof bytes && count <= sizeof bytes - address ? bytes + address : NULL;
}

static const struct phys phys = {view, NULL};

static size_t add(size_t at, uint8_t type, uint8_t fields, const char *texts, size_t text_bytes)
{
    bytes[at] = type;
    bytes[at + 1] = fields;
    memcpy(bytes + at + fields, texts, text_bytes);
    return at + fields + text_bytes;
}

// With the 0 that the compiler adds, which ends them all.
static const char bios_texts[] = "ACME\0"
                                 "1.2 \0"
                                 "11/24/2026\0";

static size_t put_structures(void)
{
    size_t at = add(TABLES, 0, 0x12, bios_texts, sizeof bios_texts);
    bytes[TABLES + 4] = 1;
    bytes[TABLES + 5] = 2;
    bytes[TABLES + 8] = 3;
    const size_t system = at;
    at = add(at, 1, 0x1b,
             "A\xff"
             "B\0"
             "Laptop 9\0",
             14);
    bytes[system + 4] = 1;
    bytes[system + 5] = 2;
    const size_t board = at;
    at = add(at, 2, 0x0f, "\0", 2);
    bytes[board + 4] = 1; // there is no such text
    return add(at, 127, 4, "\0", 2);
}

static void seal(size_t length, size_t checksum)
{
    bytes[ENTRY + checksum] = 0;
    bytes[ENTRY + checksum] = (uint8_t)-acpi_sum(bytes + ENTRY, length);
}

static void put_entry3(size_t end)
{
    memcpy(bytes + ENTRY, "_SM3_", 5);
    bytes[ENTRY + 6] = 24;
    put(ENTRY + 12, end - TABLES, 4);
    put(ENTRY + 16, TABLES, 8);
    seal(24, 5);
}

static void test_smbios(void **state)
{
    struct platform platform = {0};

    (void)state;
    put_entry3(put_structures());
    assert_true(smbios_read(&phys, ENTRY, &platform));
    assert_string_equal(platform.bios_maker, "ACME");
    assert_string_equal(platform.bios, "1.2");
    assert_string_equal(platform.bios_date, "11/24/2026");
    assert_string_equal(platform.maker, "A?B");
    assert_string_equal(platform.product, "Laptop 9");
    assert_string_equal(platform.board_maker, "");
}

static void test_smbios_of_the_old_kind(void **state)
{
    struct platform platform = {0};

    (void)state;
    const size_t end = put_structures();
    memcpy(bytes + ENTRY, "_SM_", 4);
    put(ENTRY + 22, end - TABLES, 2);
    put(ENTRY + 24, TABLES, 4);
    seal(31, 4);
    assert_true(smbios_read(&phys, ENTRY, &platform));
    assert_string_equal(platform.product, "Laptop 9");
    bytes[ENTRY + 4] ^= 1;
    assert_false(smbios_read(&phys, ENTRY, &platform));
}

static void test_smbios_that_lies(void **state)
{
    struct platform platform = {0};

    (void)state;
    const size_t end = put_structures();
    put_entry3(end);
    put(ENTRY + 16, sizeof bytes - 8, 8); // beyond what can be read
    seal(24, 5);
    assert_false(smbios_read(&phys, ENTRY, &platform));
    for (size_t length = 0; length < end - TABLES; length++) {
        put_entry3(TABLES + length);
        memset(&platform, 0, sizeof platform);
        (void)smbios_read(&phys, ENTRY, &platform); // what is whole is read, and no byte more
        assert_int_equal(platform.bios[0] != 0, length >= 0x12 + sizeof bios_texts);
    }
    put_entry3(end);
    bytes[TABLES + 1] = 0; // a structure without a length
    memset(&platform, 0, sizeof platform);
    assert_true(smbios_read(&phys, ENTRY, &platform));
    assert_string_equal(platform.product, "");
    assert_false(smbios_read(&phys, sizeof bytes, &platform));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_fadt, set_up),
        cmocka_unit_test_setup(test_fadt_that_is_short_or_old, set_up),
        cmocka_unit_test_setup(test_fadt_whose_blocks_have_two_addresses, set_up),
        cmocka_unit_test_setup(test_fadt_that_ends_within_an_extended_block, set_up),
        cmocka_unit_test_setup(test_fadt_whose_timer_is_none, set_up),
        cmocka_unit_test_setup(test_fadt_of_reduced_hardware, set_up),
        cmocka_unit_test_setup(test_fadt_without_a_button, set_up),
        cmocka_unit_test_setup(test_fadt_without_a_reset, set_up),
        cmocka_unit_test_setup(test_spcr, set_up),
        cmocka_unit_test_setup(test_spcr_that_is_refused, set_up),
        cmocka_unit_test_setup(test_dbg2, set_up),
        cmocka_unit_test_setup(test_dbg2_that_is_refused, set_up),
        cmocka_unit_test_setup(test_dmar, set_up),
        cmocka_unit_test_setup(test_smbios, set_up),
        cmocka_unit_test_setup(test_smbios_of_the_old_kind, set_up),
        cmocka_unit_test_setup(test_smbios_that_lies, set_up),
    };

    return cmocka_run_group_tests_name("tables", tests, NULL, NULL);
}
