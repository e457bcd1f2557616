// Which port is taken where several answer, and what is left of those that are not. Surprise: a
// port of a card answers only while its card's decoding is on, as on a machine that nobody has set
// up.
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake_hw.h"
#include "page.h"
#include "serial.h"

#define IO     1u
#define MEMORY 2u
#define CARDS  3u

#define SPCR_PORT 0x2f8u
#define DBG2_PORT 0xfe034000u // 32-bit registers
#define CARD_PORT 0xc000u     // two ports, eight registers each
#define CARD_MMIO 0xfe050000u
#define AMT_PORT  0xd000u

// ---- ports ----

static struct port {
    uint64_t base;
    uint8_t stride; // 0: I/O
    const uint16_t *command;
    bool there;
    uint8_t registers[8];
} ports[8];

static size_t port_count;

static void plug_in(uint64_t base, uint8_t stride, const uint16_t *command)
{
    ports[port_count++] = (struct port){base, stride, command, true, {[5] = 0x60}};
}

static uint8_t *find_register(uint64_t address, bool io)
{
    for (size_t i = 0; i < port_count; i++) {
        struct port *port = &ports[i];
        const uint64_t step = port->stride == 0 ? 1 : port->stride;
        const bool on = !port->command || (*port->command & (port->stride == 0 ? IO : MEMORY)) != 0;
        if (on && port->there && (port->stride == 0) == io && address >= port->base &&
            address < port->base + 8 * step && (address - port->base) % step == 0)
            return &port->registers[(address - port->base) / step];
    }
    return NULL;
}

static uint64_t read_port(void *context, uint64_t address)
{
    const uint8_t *at = find_register(address, true);

    (void)context;
    return at ? *at : 0xff;
}

static void write_port(void *context, uint64_t address, uint64_t value)
{
    uint8_t *at = find_register(address, true);

    (void)context;
    assert_non_null(at);
    *at = address % 8 == 5 ? 0x60 : (uint8_t)value;
}

static uint64_t read_memory(void *context, uint64_t address)
{
    const uint8_t *at = find_register(address, false);

    (void)context;
    return at ? *at : 0xff;
}

static void write_memory(void *context, uint64_t address, uint64_t value)
{
    uint8_t *at = find_register(address, false);

    (void)context;
    assert_non_null(at);
    *at = (uint8_t)value;
}

// ---- cards ----

static struct card {
    EFI_PCI_IO_PROTOCOL protocol; // first: a handle leads to it
    uint32_t registers[16];       // of configuration space
    uint16_t command;
    size_t bar_bytes;
} cards[CARDS];

static size_t card_count;

static EFI_STATUS EFIAPI read_config(EFI_PCI_IO_PROTOCOL *self, EFI_PCI_IO_PROTOCOL_WIDTH width,
                                     UINT32 offset, UINTN count, VOID *buffer)
{
    struct card *card = (struct card *)(void *)self;

    assert_int_equal(count, 1);
    if (offset == 4)
        memcpy(buffer, &card->command, width == EfiPciIoWidthUint16 ? 2 : 4);
    else
        memcpy(buffer, &card->registers[offset / 4], 4);
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI write_config(EFI_PCI_IO_PROTOCOL *self, EFI_PCI_IO_PROTOCOL_WIDTH width,
                                      UINT32 offset, UINTN count, VOID *buffer)
{
    assert_true(width == EfiPciIoWidthUint16 && offset == 4 && count == 1);
    memcpy(&((struct card *)(void *)self)->command, buffer, 2);
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI read_bar(EFI_PCI_IO_PROTOCOL *self, EFI_PCI_IO_PROTOCOL_WIDTH width,
                                  UINT8 which, UINT64 offset, UINTN count, VOID *buffer)
{
    const struct card *card = (struct card *)(void *)self;
    const size_t bytes = width == EfiPciIoWidthUint32 ? 4 : 1;

    (void)count, (void)buffer;
    return which == 0 && offset + bytes <= card->bar_bytes ? EFI_SUCCESS : EFI_INVALID_PARAMETER;
}

static EFI_STATUS EFIAPI get_location(EFI_PCI_IO_PROTOCOL *self, UINTN *segment, UINTN *bus,
                                      UINTN *number, UINTN *function)
{
    *segment = *bus = *function = 0;
    *number = self == &cards[0].protocol ? 22 : 3;
    return EFI_SUCCESS;
}

static struct card *add_card(uint32_t vendor, uint32_t bar, size_t bar_bytes)
{
    struct card *card = &cards[card_count++];

    *card = (struct card){.protocol = {.Pci = {.Read = read_config, .Write = write_config},
                                       .Io.Read = read_bar,
                                       .Mem.Read = read_bar,
                                       .GetLocation = get_location},
                          .bar_bytes = bar_bytes};
    card->registers[0] = vendor;
    card->registers[2] = 0x07000200;
    card->registers[4] = bar;
    return card;
}

// ---- firmware ----

static _Alignas(PAGE_BYTES) uint8_t tables[PAGE_BYTES];

static void store(size_t at, uint64_t value, size_t bytes)
{
    memcpy(tables + at, &value, bytes);
}

static void make_tables(void)
{
    memset(tables, 0, sizeof tables);
    memcpy(tables, "RSD PTR ", 8);
    tables[15] = 2;
    store(20, 36, 4);
    store(24, (uintptr_t)tables + 64, 8);
    tables[8] = (uint8_t)-acpi_sum(tables, 20);
    tables[32] = (uint8_t)-acpi_sum(tables, 36);
    memcpy(tables + 64, "XSDT", 4);
    store(68, 52, 4);
    store(100, (uintptr_t)tables + 256, 8);
    store(108, (uintptr_t)tables + 512, 8);
    memcpy(tables + 256, "SPCR", 4);
    store(260, 80, 4);
    tables[256 + 40] = 1;
    store(256 + 44, SPCR_PORT, 8);
    memcpy(tables + 512, "DBG2", 4);
    store(516, 44 + 2 * 48, 4);
    store(512 + 36, 44, 4);
    store(512 + 40, 2, 4);
    for (size_t entry = 556; entry < 556 + 2 * 48; entry += 48) {
        store(entry + 1, 48, 2);
        tables[entry + 3] = 1;
        store(entry + 12, 0x8000, 2);
        store(entry + 18, 22, 2);
        tables[entry + 23] = 32;
        store(entry + 26, entry == 556 ? DBG2_PORT + PAGE_BYTES : DBG2_PORT, 8);
    }
}

static EFI_STATUS EFIAPI get_map(UINTN *bytes, EFI_MEMORY_DESCRIPTOR *map, UINTN *key,
                                 UINTN *descriptor_bytes, UINT32 *version)
{
    const UINTN room = *bytes;

    *bytes = 2 * sizeof *map;
    *descriptor_bytes = sizeof *map;
    if (room < *bytes)
        return EFI_BUFFER_TOO_SMALL;
    *key = *version = 1;
    map[0] = (EFI_MEMORY_DESCRIPTOR){
        .Type = EfiACPIReclaimMemory, .PhysicalStart = (uintptr_t)tables, .NumberOfPages = 1};
    map[1] = (EFI_MEMORY_DESCRIPTOR){
        .Type = EfiConventionalMemory, .PhysicalStart = 0x7fff0000, .NumberOfPages = 16};
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI allocate(EFI_ALLOCATE_TYPE how, EFI_MEMORY_TYPE type, UINTN count,
                                  EFI_PHYSICAL_ADDRESS *address)
{
    (void)how, (void)type;
    *address = (uintptr_t)calloc(count, PAGE_BYTES);
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI release(EFI_PHYSICAL_ADDRESS address, UINTN count)
{
    (void)count;
    free((void *)(uintptr_t)address);
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI locate_handles(EFI_LOCATE_SEARCH_TYPE type, EFI_GUID *guid, VOID *key,
                                        UINTN *count, EFI_HANDLE **handles)
{
    static const EFI_GUID pci = EFI_PCI_IO_PROTOCOL_GUID;

    (void)type, (void)key;
    *count = memcmp(guid, &pci, sizeof pci) == 0 ? card_count : 0;
    if (*count == 0)
        return EFI_NOT_FOUND;
    *handles = calloc(*count, sizeof **handles);
    for (UINTN i = 0; i < *count; i++)
        (*handles)[i] = &cards[i];
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI handle_protocol(EFI_HANDLE handle, EFI_GUID *guid, VOID **found)
{
    (void)guid;
    *found = handle;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI free_pool(VOID *memory)
{
    free(memory);
    return EFI_SUCCESS;
}

static EFI_CONFIGURATION_TABLE configuration = {.VendorGuid = ACPI_20_TABLE_GUID,
                                                .VendorTable = tables};
static EFI_BOOT_SERVICES boot = {.LocateHandleBuffer = locate_handles,
                                 .HandleProtocol = handle_protocol,
                                 .FreePool = free_pool,
                                 .GetMemoryMap = get_map,
                                 .AllocatePages = allocate,
                                 .FreePages = release};
// There is no Secure Boot here; test_serial_secure.c has it.
static EFI_STATUS EFIAPI get_variable(CHAR16 *name, EFI_GUID *guid, UINT32 *attributes,
                                      UINTN *bytes, void *data)
{
    (void)name, (void)guid, (void)attributes, (void)bytes, (void)data;
    return EFI_NOT_FOUND;
}

static EFI_RUNTIME_SERVICES runtime = {.GetVariable = get_variable};
static EFI_SYSTEM_TABLE system_table = {
    .RuntimeServices = &runtime, .NumberOfTableEntries = 1, .ConfigurationTable = &configuration};

// ---- the tests ----

static struct uart uart;
static struct serial_port port;

static int set_up(void **state)
{
    (void)state;
    fake_reset();
    fake_log_kinds(0);
    fake_start_clock(0, 4000);
    fake_hook(FAKE_PORT8, 0, UINT16_MAX, read_port, write_port, NULL);
    fake_hook(FAKE_MMIO, 0, UINT64_MAX, read_memory, write_memory, NULL);
    make_tables();
    port_count = card_count = 0;
    return 0;
}

static struct serial_found find(enum serial_choice choice, struct uart_place place)
{
    const struct options options = {.serial = choice, .serial_place = place};
    struct firmware firmware = {.boot = &boot, .system = &system_table};

    uart = (struct uart){.present = false};
    port = (struct serial_port){.uart = &uart};
    const struct serial_found found = serial_open(&firmware, &options, false, 1, &port);
    if (firmware.map)
        release((uintptr_t)firmware.map, 0);
    return found;
}

static void assert_auto(const char *name, const char *by, uint64_t at)
{
    const struct serial_found found = find(SERIAL_AUTO, (struct uart_place){0});

    assert_string_equal(found.found, name);
    assert_string_equal(found.by, by);
    assert_true(uart.present == (at != 0));
    assert_int_equal(uart.present ? uart.mmio + uart.port : 0, at);
    serial_close(&port);
    for (size_t i = 0; i < card_count; i++)
        assert_int_equal(cards[i].command, 0);
}

// All of them answer; then the first falls silent, and the next, down to none.
static void test_the_order(void **state)
{
    (void)state;
    const struct card *amt = add_card(0x1c3d8086, AMT_PORT | 1, 8);
    const struct card *memory = add_card(0x00021b36, CARD_MMIO, PAGE_BYTES);
    const struct card *card = add_card(0x00021b36, CARD_PORT | 1, 16);
    plug_in(SPCR_PORT, 0, NULL);
    plug_in(DBG2_PORT, 4, NULL);
    plug_in(CARD_MMIO, 4, &memory->command);
    plug_in(CARD_PORT, 0, &card->command);
    plug_in(0x3e8, 0, NULL);
    plug_in(AMT_PORT, 0, &amt->command);
    static const struct {
        const char *name, *by;
        uint64_t at;
    } expected[] = {{"com2", "spcr", SPCR_PORT}, {"mmio", "dbg2", DBG2_PORT},
                    {"pci", "probe", CARD_MMIO}, {"pci", "probe", CARD_PORT},
                    {"com3", "probe", 0x3e8},    {"pci", "probe", AMT_PORT},
                    {"none", "probe", 0}};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        assert_auto(expected[i].name, expected[i].by, expected[i].at);
        ports[i].there = false;
    }
}

static void test_why_no_table_is_believed(void **state)
{
    (void)state;
    struct serial_found found = find(SERIAL_AUTO, (struct uart_place){0});
    assert_string_equal(found.spcr, "its port does not answer");
    assert_string_equal(found.dbg2, "its port does not answer");
    store(256 + 44, 0, 8);
    store(556 + 48 + 26, 0x7fff0000, 8);
    found = find(SERIAL_AUTO, (struct uart_place){0});
    assert_string_equal(found.spcr, "redirection is switched off");
    assert_string_equal(found.dbg2, "its address is not a device's");
    store(512 + 40, 0, 4);
    found = find(SERIAL_AUTO, (struct uart_place){0});
    assert_string_equal(found.dbg2, "it names no port");
    memcpy(tables + 512, "NONE", 4);
    memcpy(tables + 256, "NONE", 4);
    found = find(SERIAL_AUTO, (struct uart_place){0});
    assert_null(found.spcr);
    assert_null(found.dbg2);
}

static void test_a_card_in_memory(void **state)
{
    (void)state;
    struct card *card = add_card(0x00021b36, CARD_MMIO, 8);
    plug_in(CARD_MMIO, 1, &card->command);
    assert_auto("pci", "probe", CARD_MMIO);
    card->registers[2] = 0x07000000; // programmed in some other way
    assert_auto("none", "probe", 0);
    card->registers[2] = 0x07000200;
    ports[0].stride = 4; // what the BAR has no room for
    assert_auto("none", "probe", 0);
    card->bar_bytes = 32;
    assert_auto("pci", "probe", CARD_MMIO);
    card->registers[4] = CARD_MMIO | 4; // 64 bits
    assert_auto("pci", "probe", CARD_MMIO);
    card->registers[5] = 1; // above 4 GiB
    assert_auto("none", "probe", 0);
}

static void test_a_port_by_its_name(void **state)
{
    const struct uart_place memory = {.base = DBG2_PORT, .stride = 4, .access = 4},
                            second = {.base = CARD_PORT + 8, .baud = 115200},
                            ram = {.base = 0x7fff0000, .stride = 4, .access = 4};

    (void)state;
    const struct card *card = add_card(0x00021b36, CARD_PORT | 1, 16);
    plug_in(SPCR_PORT, 0, NULL);
    plug_in(DBG2_PORT, 4, NULL);
    plug_in(CARD_PORT, 0, &card->command);
    plug_in(CARD_PORT + 8, 0, &card->command);
    assert_string_equal(find(SERIAL_PORT, memory).found, "mmio");
    assert_int_equal(uart.mmio, DBG2_PORT);
    serial_close(&port);
    assert_string_equal(find(SERIAL_PORT, second).found, "port");
    assert_int_equal(uart.port, CARD_PORT + 8);
    assert_int_equal(card->command, IO);
    serial_close(&port);
    assert_int_equal(card->command, 0);
    ports[3].there = false;
    assert_string_equal(find(SERIAL_PORT, second).found, "no-answer");
    assert_int_equal(card->command, 0);
    plug_in(0x7fff0000, 4, NULL);
    assert_string_equal(find(SERIAL_PORT, ram).found, "no-answer");
    assert_false(uart.present);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_the_order, set_up),
        cmocka_unit_test_setup(test_why_no_table_is_believed, set_up),
        cmocka_unit_test_setup(test_a_card_in_memory, set_up),
        cmocka_unit_test_setup(test_a_port_by_its_name, set_up),
    };

    return cmocka_run_group_tests_name("serial", tests, NULL, NULL);
}
