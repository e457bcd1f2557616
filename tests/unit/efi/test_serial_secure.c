// serial= with Secure Boot on: what nobody has signed cannot make the image write where it says,
// since a port is taken only if firmware's tables or PCI name it, or if every run looks there.
// Surprise: what is judged is which ports and addresses were touched, not what was answered; the
// fake machine ends a program that touches device memory where nothing is.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "acpi.h"
#include "fake_hw.h"
#include "memory.h"
#include "page.h"
#include "serial.h"

#define COM1      0x3f8u
#define COM3      0x3e8u
#define SPCRS     0x2000u // a port in the SPCR
#define PCIS      0xc000u // and one of a PCI serial card
#define DBG2S     0xfe034000u
#define A_CHIPSET 0xcf8u // PCI's configuration, say

static const struct uart_place dbg2s = {DBG2S, 4, 4, 0};

// ---- the machine: registers that keep what they are given, at four places ----

static const uint16_t places[] = {COM1, COM3, SPCRS, PCIS};
static uint8_t registers[sizeof places / sizeof places[0]][8], memory_registers[8];
static bool touched[UINT16_MAX + 1];

static uint8_t *find_register(uint64_t port)
{
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        if (port >= places[i] && port < places[i] + 8u)
            return &registers[i][port - places[i]];
    }
    return NULL;
}

static uint64_t read_port(void *context, uint64_t port)
{
    const uint8_t *found = find_register(port);

    (void)context;
    touched[port] = true;
    return !found ? 0xff : port % 8 == 5 ? 0x60 : *found; // line status: empty
}

static void write_port(void *context, uint64_t port, uint64_t value)
{
    uint8_t *found = find_register(port);

    (void)context;
    touched[port] = true;
    if (found)
        *found = (uint8_t)value;
}

static uint64_t read_memory(void *context, uint64_t address)
{
    const uint64_t reg = (address - DBG2S) / 4;

    (void)context;
    return reg == 5 ? 0x60 : memory_registers[reg];
}

static void write_memory(void *context, uint64_t address, uint64_t value)
{
    (void)context;
    memory_registers[(address - DBG2S) / 4] = (uint8_t)value;
}

// ---- firmware ----

static uint8_t secure_boot;
static _Alignas(PAGE_BYTES) uint8_t tables[PAGE_BYTES];

static EFI_STATUS EFIAPI get_variable(CHAR16 *name, EFI_GUID *guid, UINT32 *attributes,
                                      UINTN *bytes, void *data)
{
    (void)guid, (void)attributes;
    *bytes = 1;
    *(uint8_t *)data = name[2] == L'c' ? secure_boot : 0; // and no SetupMode
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI read_config(EFI_PCI_IO_PROTOCOL *device, EFI_PCI_IO_PROTOCOL_WIDTH width,
                                     UINT32 offset, UINTN count, void *buffer)
{
    const uint32_t value = offset == 0x08 ? 0x07000200 : offset == 0x10 ? PCIS | 1 : 1;

    (void)device, (void)count;
    memcpy(buffer, &value, width == EfiPciIoWidthUint16 ? 2 : 4);
    return EFI_SUCCESS;
}

// Firmware reads within the card's BAR, which has eight ports.
static EFI_STATUS EFIAPI read_bar(EFI_PCI_IO_PROTOCOL *device, EFI_PCI_IO_PROTOCOL_WIDTH width,
                                  UINT8 bar, UINT64 offset, UINTN count, void *buffer)
{
    (void)device, (void)width, (void)count;
    memset(buffer, 0, 1);
    return bar == 0 && offset < 8 ? EFI_SUCCESS : EFI_INVALID_PARAMETER;
}

static EFI_STATUS EFIAPI write_config(EFI_PCI_IO_PROTOCOL *device, EFI_PCI_IO_PROTOCOL_WIDTH width,
                                      UINT32 offset, UINTN count, void *buffer)
{
    (void)device, (void)width, (void)offset, (void)count, (void)buffer;
    return EFI_SUCCESS;
}

static EFI_PCI_IO_PROTOCOL card = {.Io = {.Read = read_bar},
                                   .Mem = {.Read = read_bar},
                                   .Pci = {.Read = read_config, .Write = write_config}};

static EFI_STATUS EFIAPI locate(EFI_LOCATE_SEARCH_TYPE type, EFI_GUID *guid, void *key,
                                UINTN *count, EFI_HANDLE **handles)
{
    static const EFI_GUID pci = EFI_PCI_IO_PROTOCOL_GUID;

    (void)type, (void)key;
    *count = memcmp(guid, &pci, sizeof pci) == 0;
    if (*count == 0)
        return EFI_NOT_FOUND;
    *handles = malloc(sizeof **handles);
    assert_non_null(*handles);
    **handles = &card;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI handle(EFI_HANDLE found, EFI_GUID *guid, void **protocol)
{
    (void)guid;
    *protocol = found;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI free_pool(void *memory)
{
    free(memory);
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI get_map(UINTN *bytes, EFI_MEMORY_DESCRIPTOR *map, UINTN *key,
                                 UINTN *descriptor_bytes, UINT32 *version)
{
    const bool fits = *bytes >= sizeof *map;

    *bytes = *descriptor_bytes = sizeof *map;
    *key = *version = 1;
    if (!fits)
        return EFI_BUFFER_TOO_SMALL;
    *map = (EFI_MEMORY_DESCRIPTOR){
        .Type = EfiACPIReclaimMemory, .PhysicalStart = (uintptr_t)tables, .NumberOfPages = 1};
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI allocate(EFI_ALLOCATE_TYPE how, EFI_MEMORY_TYPE type, UINTN count,
                                  EFI_PHYSICAL_ADDRESS *address)
{
    (void)how, (void)type;
    void *memory = malloc(count * PAGE_BYTES);
    assert_non_null(memory);
    *address = (uintptr_t)memory;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI release(EFI_PHYSICAL_ADDRESS address, UINTN count)
{
    (void)count;
    free((void *)(uintptr_t)address);
    return EFI_SUCCESS;
}

static void store(size_t at, uint64_t value, size_t bytes)
{
    memcpy(tables + at, &value, bytes);
}

// RSDP, XSDT, an SPCR whose 16550 is at SPCRS in I/O space, and a DBG2 with one in device memory.
static void make_tables(void)
{
    const size_t xsdt = 64, spcr = 256, dbg2 = 512, entry = dbg2 + 44;

    memset(tables, 0, sizeof tables);
    memcpy(tables, "RSD PTR ", 8);
    tables[15] = 2;
    store(20, 36, 4);
    store(24, (uintptr_t)tables + xsdt, 8);
    tables[8] = (uint8_t)-acpi_sum(tables, 20);
    tables[32] = (uint8_t)-acpi_sum(tables, 36);
    memcpy(tables + xsdt, "XSDT", 4);
    store(xsdt + 4, 52, 4);
    store(xsdt + 36, (uintptr_t)tables + spcr, 8);
    store(xsdt + 44, (uintptr_t)tables + dbg2, 8);
    memcpy(tables + spcr, "SPCR", 4);
    store(spcr + 4, 80, 4);
    store(spcr + 40, 0x0801, 2); // I/O space, 8 bits
    store(spcr + 44, SPCRS, 8);
    memcpy(tables + dbg2, "DBG2", 4);
    store(dbg2 + 4, 44 + 48, 4);
    store(dbg2 + 36, 44, 4); // one entry, 44 bytes from the start
    store(dbg2 + 40, 1, 4);
    store(entry + 1, 48, 2);
    tables[entry + 3] = 1;
    store(entry + 12, 0x8000, 2); // serial, 16550
    store(entry + 18, 22, 2);     // where its address is
    store(entry + 22, 0x2000, 2); // device memory, 32 bits
    store(entry + 26, DBG2S, 8);
    tables[spcr + 9] = (uint8_t)-acpi_sum(tables + spcr, 80);
    tables[dbg2 + 9] = (uint8_t)-acpi_sum(tables + dbg2, 92);
    tables[xsdt + 9] = (uint8_t)-acpi_sum(tables + xsdt, 52);
}

static EFI_CONFIGURATION_TABLE configuration = {.VendorGuid = ACPI_20_TABLE_GUID,
                                                .VendorTable = tables};
static EFI_RUNTIME_SERVICES runtime = {.GetVariable = get_variable};
static EFI_BOOT_SERVICES boot = {.LocateHandleBuffer = locate,
                                 .HandleProtocol = handle,
                                 .FreePool = free_pool,
                                 .GetMemoryMap = get_map,
                                 .AllocatePages = allocate,
                                 .FreePages = release};
static EFI_SYSTEM_TABLE system_table = {.RuntimeServices = &runtime,
                                        .BootServices = &boot,
                                        .NumberOfTableEntries = 1,
                                        .ConfigurationTable = &configuration};

// What becomes of serial=PORT; `uart` says which port is open.
static struct serial_found ask_for(struct uart_place place, struct uart *uart)
{
    const struct options options = {.serial = SERIAL_PORT, .serial_place = place};
    struct firmware firmware = {.system = &system_table, .boot = &boot};
    struct serial_port opened = {.uart = uart};

    *uart = (struct uart){.present = false};
    memset(registers, 0, sizeof registers);
    memset(memory_registers, 0, sizeof memory_registers);
    memset(touched, 0, sizeof touched);
    make_tables();
    fake_reset();
    fake_hook(FAKE_PORT8, 0, UINT16_MAX, read_port, write_port, NULL);
    fake_hook(FAKE_MMIO, DBG2S, DBG2S + 31, read_memory, write_memory, NULL);
    fake_start_clock(1, 1000);
    const struct serial_found found = serial_open(&firmware, &options, false, 1, &opened);
    memory_free(&firmware, firmware.map, firmware.map_capacity / PAGE_BYTES);
    return found;
}

static void assert_taken(uint16_t port)
{
    struct uart uart;
    const struct serial_found found = ask_for((struct uart_place){.base = port}, &uart);

    assert_false(found.refused);
    assert_string_equal(found.by, "option");
    assert_true(uart.present);
    assert_int_equal(uart.port, port);
}

static void test_what_is_named_is_taken(void **state)
{
    (void)state;
    secure_boot = 1;
    assert_taken(COM1);
    assert_taken(COM3);
    assert_taken(SPCRS);
    assert_taken(PCIS);

    struct uart uart;
    const struct serial_found found = ask_for(dbg2s, &uart);
    assert_false(found.refused);
    assert_true(uart.present);
    assert_int_equal(uart.mmio, DBG2S);
}

// Not one register of it is read or written, and the run still speaks.
static void test_what_nobody_names_is_refused(void **state)
{
    static const uint16_t ports[] = {A_CHIPSET, PCIS + 8, SPCRS + 8, SPCRS - 8};
    struct uart uart;

    (void)state;
    secure_boot = 1;
    for (size_t i = 0; i < sizeof ports / sizeof ports[0]; i++) {
        const struct serial_found found = ask_for((struct uart_place){.base = ports[i]}, &uart);
        assert_true(found.refused);
        assert_string_equal(found.by, "spcr"); // as serial=auto finds it
        assert_int_equal(uart.port, SPCRS);
        for (size_t reg = 0; reg < 8; reg++)
            assert_false(touched[ports[i] + reg]);
    }
}

// Nor is an address that no table has, or one of a table by registers of another width.
static void test_no_other_address_is_written_to(void **state)
{
    static const struct uart_place others[] = {
        {0xfed40000, 4, 4, 0}, {DBG2S, 1, 1, 0}, {DBG2S, 4, 1, 0}, {DBG2S + 32, 4, 4, 0}};
    struct uart uart;

    (void)state;
    secure_boot = 1;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_true(ask_for(others[i], &uart).refused);
        assert_int_equal(uart.port, SPCRS);
        assert_int_equal(uart.mmio, 0);
        for (size_t reg = 0; reg < sizeof memory_registers; reg++)
            assert_int_equal(memory_registers[reg], 0);
    }
}

static void test_without_secure_boot_any_is_asked(void **state)
{
    struct uart uart;

    (void)state;
    secure_boot = 0;
    const struct serial_found found = ask_for((struct uart_place){.base = A_CHIPSET}, &uart);
    assert_false(found.refused);
    assert_string_equal(found.found, "no-answer");
    assert_true(touched[A_CHIPSET + 5]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_named_is_taken),
        cmocka_unit_test(test_what_nobody_names_is_refused),
        cmocka_unit_test(test_no_other_address_is_written_to),
        cmocka_unit_test(test_without_secure_boot_any_is_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
