// The serial port: the one that the options name, or the first that answers, those that firmware
// itself names before those that are only guessed. Surprise: a port of a PCI device may be switched
// off until somebody asks for it; its decoding of I/O or memory is switched on only for a device
// that says it is a serial port, before it is looked at, and off again unless the port is the one.

#include "serial.h"

#include "acpi.h"
#include "dbg2.h"
#include "device_path.h"
#include "memory.h"
#include "phys.h"
#include "platform_read.h"
#include "spcr.h"
#include "tables.h"

// Configuration space (PCI Local Bus Specification 3.0, chapter 6 and appendix D).
#define PCI_VENDOR          0x00u
#define PCI_COMMAND         0x04u
#define PCI_COMMAND_IO      0x0001u
#define PCI_COMMAND_MEMORY  0x0002u
#define PCI_CLASS           0x08u
#define PCI_CLASS_SHIFT     16
#define PCI_CLASS_UART      0x0700u // a serial controller
#define PCI_INTERFACE       0xff00u
#define PCI_INTERFACE_16550 0x0200u
#define PCI_BAR0            0x10u
#define PCI_BARS            6u
#define PCI_BAR_IO          0x1u
#define PCI_BAR_IO_MASK     0xfffcu
#define PCI_BAR_64          0x4u
#define PCI_BAR_MASK        0xfffffff0u
#define PORT_LEAST          0x100u

// Intel's AMT shows a serial controller that leads into the network; who has a real port besides
// listens at that one (data sheets of Intel's chipsets: KT, device 22 on bus 0).
#define VENDOR_MASK  0xffffu
#define VENDOR_INTEL 0x8086u
#define AMT_DEVICE   22u

// A device path (UEFI 2.10, "Device Path Protocol"): a node for PNP0501 has the number of the port
// among the legacy ones.
#define PATH_ACPI_BYTES 12u
#define PATH_ACPI_HID   1u
#define PNP_16550       0x050141d0u

#define CARD_PLACES 2u // that are tried in one card

static const struct legacy {
    uint16_t port;
    const char *name;
} legacy[] = {{UART_COM1, "com1"}, {0x2f8, "com2"}, {0x3e8, "com3"}, {0x2e8, "com4"}};

// NULL if the port at this place is open; else why not.
static const char *open_at(const struct firmware *firmware, const struct uart_place *place,
                           uint64_t ticks_per_us, struct uart *uart)
{
    if (!uart_place_is_sane(place) || (place->stride != 0 && memory_is_ram(firmware, place->base)))
        return "its address is not a device's";
    return uart_open_at(uart, place, ticks_per_us) == STATUS_OK ? NULL : "its port does not answer";
}

// ---- PCI ----

static const EFI_GUID pci_io = EFI_PCI_IO_PROTOCOL_GUID;

static UINT32 read_config(EFI_PCI_IO_PROTOCOL *device, UINT32 at)
{
    UINT32 value = 0;

    return EFI_ERROR(device->Pci.Read(device, EfiPciIoWidthUint32, at, 1, &value)) ? 0 : value;
}

// This handle's device if it is a serial controller; else NULL.
static EFI_PCI_IO_PROTOCOL *card_of(const struct firmware *firmware, EFI_HANDLE handle)
{
    EFI_PCI_IO_PROTOCOL *device = firmware_protocol(firmware, handle, &pci_io);

    return device && read_config(device, PCI_CLASS) >> PCI_CLASS_SHIFT == PCI_CLASS_UART ? device
                                                                                         : NULL;
}

static bool is_amt(EFI_PCI_IO_PROTOCOL *card)
{
    UINTN segment, bus, number, function;

    return (read_config(card, PCI_VENDOR) & VENDOR_MASK) == VENDOR_INTEL &&
           !EFI_ERROR(card->GetLocation(card, &segment, &bus, &number, &function)) && bus == 0 &&
           number == AMT_DEVICE;
}

// Where a BAR begins, as a place of 8-bit registers.
static struct uart_place read_bar(EFI_PCI_IO_PROTOCOL *card, UINT8 which)
{
    const UINT32 low = read_config(card, PCI_BAR0 + 4u * which);

    if (low & PCI_BAR_IO)
        return (struct uart_place){.base = low & PCI_BAR_IO_MASK, .baud = UART_BAUD_MAX};
    const uint64_t high = (low & PCI_BAR_64) && which + 1u < PCI_BARS
                              ? read_config(card, PCI_BAR0 + 4u * which + 4u)
                              : 0;
    return (struct uart_place){.base = high << 32 | (low & PCI_BAR_MASK), .stride = 1, .access = 1};
}

// Does a BAR that begins at `bar` reach as far as this place's scratch register, its last one?
// Firmware checks what is read through it (UEFI 2.10, "EFI_PCI_IO_PROTOCOL.Mem.Read()").
static bool reaches(EFI_PCI_IO_PROTOCOL *card, UINT8 which, uint64_t bar,
                    const struct uart_place *place)
{
    const bool ports = place->stride == 0;
    const EFI_PCI_IO_PROTOCOL_IO_MEM read = ports ? card->Io.Read : card->Mem.Read;
    const uint64_t last = (UART_REGISTERS - 1) * (ports ? 1ull : place->stride);
    UINT32 value;

    return place->base >= bar &&
           !EFI_ERROR(read(card, place->access == 4 ? EfiPciIoWidthUint32 : EfiPciIoWidthUint8,
                           which, place->base - bar + last, 1, &value));
}

static void write_command(EFI_PCI_IO_PROTOCOL *card, UINT16 command)
{
    (void)card->Pci.Write(card, EfiPciIoWidthUint16, PCI_COMMAND, 1, &command);
}

// Has the card answer where this place is, I/O or memory, and notes what to switch off again.
static bool switch_on(EFI_PCI_IO_PROTOCOL *card, const struct uart_place *place,
                      struct serial_switch *on)
{
    const UINT16 wanted = place->stride == 0 ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
    UINT16 command = 0;

    *on = (struct serial_switch){0};
    if (EFI_ERROR(card->Pci.Read(card, EfiPciIoWidthUint16, PCI_COMMAND, 1, &command)))
        return false;
    if ((command & wanted) == 0) {
        *on = (struct serial_switch){card, command};
        write_command(card, command | wanted);
    }
    return true;
}

static void switch_off(struct serial_switch *on)
{
    if (on->device)
        write_command(on->device, on->command);
    on->device = NULL;
}

// Where the first port of a card may be: in memory, only where the card says that it is programmed
// as a 16550 is. Bytes are tried before 32-bit registers, since a byte that was written to the
// wrong kind is put back without touching its neighbours.
static size_t card_places(EFI_PCI_IO_PROTOCOL *card, struct uart_place places[CARD_PLACES])
{
    const struct uart_place bar = read_bar(card, 0);

    places[0] = bar;
    places[1] = (struct uart_place){.base = bar.base, .stride = 4, .access = 4};
    if (bar.stride == 0)
        return bar.base >= PORT_LEAST ? 1 : 0;
    return (read_config(card, PCI_CLASS) & PCI_INTERFACE) == PCI_INTERFACE_16550 ? CARD_PLACES : 0;
}

static bool open_card(const struct firmware *firmware, EFI_PCI_IO_PROTOCOL *card,
                      uint64_t ticks_per_us, struct serial_port *port)
{
    struct uart_place places[CARD_PLACES];
    const size_t count = card_places(card, places);

    if (count == 0 || !switch_on(card, &places[0], &port->on))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (places[i].stride != 0 && !reaches(card, 0, places[i].base, &places[i]))
            continue;
        if (!open_at(firmware, &places[i], ticks_per_us, port->uart))
            return true;
    }
    switch_off(&port->on);
    return false;
}

enum card_kind { REAL_CARD, AMT_CARD };

static bool open_pci(const struct firmware *firmware, enum card_kind kind, uint64_t ticks_per_us,
                     struct serial_port *port)
{
    UINTN count;
    EFI_HANDLE *handles = firmware_handles(firmware, &pci_io, &count);

    if (!handles)
        return false;
    for (UINTN i = 0; i < count && !port->uart->present; i++) {
        EFI_PCI_IO_PROTOCOL *card = card_of(firmware, handles[i]);
        if (card && is_amt(card) == (kind == AMT_CARD))
            (void)open_card(firmware, card, ticks_per_us, port);
    }
    firmware->boot->FreePool(handles);
    return port->uart->present;
}

static bool owns(EFI_PCI_IO_PROTOCOL *card, const struct uart_place *place)
{
    for (UINT8 which = 0; which < PCI_BARS; which++) {
        const struct uart_place bar = read_bar(card, which);
        if (bar.base != 0 && (bar.stride == 0) == (place->stride == 0) &&
            reaches(card, which, bar.base, place))
            return true;
    }
    return false;
}

// The serial card in one of whose BARs this place is, any port of it; NULL: none.
static EFI_PCI_IO_PROTOCOL *find_owner(const struct firmware *firmware,
                                       const struct uart_place *place)
{
    EFI_PCI_IO_PROTOCOL *owner = NULL;
    UINTN count;
    EFI_HANDLE *handles = firmware_handles(firmware, &pci_io, &count);

    if (!handles)
        return NULL;
    for (UINTN i = 0; i < count && !owner; i++) {
        EFI_PCI_IO_PROTOCOL *card = card_of(firmware, handles[i]);
        if (card && owns(card, place))
            owner = card;
    }
    firmware->boot->FreePool(handles);
    return owner;
}

// ---- firmware's drivers ----

static bool is_16550(const uint8_t *node, size_t bytes)
{
    return node[0] == ACPI_DEVICE_PATH && node[1] == PATH_ACPI_HID && bytes >= PATH_ACPI_BYTES &&
           acpi_load32(node + 4) == PNP_16550;
}

// The number that this path has among the legacy ports; their count if it is none of them.
static size_t legacy_number(const EFI_DEVICE_PATH_PROTOCOL *path)
{
    const size_t none = sizeof legacy / sizeof legacy[0];
    const uint8_t *node = device_path_find(path, is_16550);
    const uint32_t number = node ? acpi_load32(node + 8) : UINT32_MAX;

    return number < none ? number : none;
}

// The device behind one of firmware's serial drivers. Returns its name, NULL if it does not answer.
static const char *open_path(const struct firmware *firmware, EFI_DEVICE_PATH_PROTOCOL *path,
                             uint64_t ticks_per_us, struct serial_port *port)
{
    EFI_GUID guid = pci_io;
    EFI_DEVICE_PATH_PROTOCOL *rest = path;
    EFI_HANDLE device = NULL;
    const size_t number = legacy_number(path);

    if (number < sizeof legacy / sizeof legacy[0])
        return uart_open(port->uart, legacy[number].port, ticks_per_us) == STATUS_OK
                   ? legacy[number].name
                   : NULL;
    if (EFI_ERROR(firmware->boot->LocateDevicePath(&guid, &rest, &device)))
        return NULL;
    EFI_PCI_IO_PROTOCOL *card = card_of(firmware, device);
    return card && open_card(firmware, card, ticks_per_us, port) ? "pci" : NULL;
}

static const char *open_driven(const struct firmware *firmware, uint64_t ticks_per_us,
                               struct serial_port *port)
{
    static const EFI_GUID serial = EFI_SERIAL_IO_PROTOCOL_GUID, paths = DEVICE_PATH_PROTOCOL;
    const char *found = NULL;
    UINTN count;
    EFI_HANDLE *handles = firmware_handles(firmware, &serial, &count);

    if (!handles)
        return NULL;
    for (UINTN i = 0; i < count && !found; i++) {
        EFI_DEVICE_PATH_PROTOCOL *path = firmware_protocol(firmware, handles[i], &paths);
        if (path)
            found = open_path(firmware, path, ticks_per_us, port);
    }
    firmware->boot->FreePool(handles);
    return found;
}

// ---- firmware's tables ----

static bool find_table(const struct firmware *firmware, const char signature[4],
                       struct acpi_table *table)
{
    const struct problems nobody = {problems_ignore, NULL};
    const struct phys phys = {memory_view, firmware};

    return acpi_find_table(&phys, table_rsdp(firmware), signature, 0, &nobody, table) == STATUS_OK;
}

// NULL if the SPCR's port is open, or if there is no SPCR; else why not.
static const char *open_spcr(const struct firmware *firmware, uint64_t ticks_per_us,
                             struct uart *uart)
{
    struct acpi_table table;
    struct uart_place place;

    if (!find_table(firmware, "SPCR", &table))
        return NULL;
    const char *wrong = spcr_read(&table, &place);
    return wrong ? wrong : open_at(firmware, &place, ticks_per_us, uart);
}

// NULL if a port of the DBG2 is open, the first that answers, or if there is no DBG2; else why the
// last one is not.
static const char *open_dbg2(const struct firmware *firmware, uint64_t ticks_per_us,
                             struct uart *uart)
{
    struct acpi_table table;
    struct uart_place place;

    if (!find_table(firmware, "DBG2", &table))
        return NULL;
    const char *wrong = "it names no port";
    for (uint32_t i = 0; i < dbg2_count(&table) && wrong; i++) {
        wrong = dbg2_read(&table, i, &place);
        if (!wrong)
            wrong = open_at(firmware, &place, ticks_per_us, uart);
    }
    return wrong;
}

// ---- all of them ----

static const char *name_of(const struct uart *uart)
{
    for (size_t i = 0; i < sizeof legacy / sizeof legacy[0]; i++) {
        if (uart->mmio == 0 && uart->port == legacy[i].port)
            return legacy[i].name;
    }
    return uart->mmio != 0 ? "mmio" : "port";
}

// Of the tables; false if none of them has a port that answers.
static bool open_listed(struct firmware *firmware, uint64_t ticks_per_us, struct uart *uart,
                        struct serial_found *serial)
{
    if (memory_read_map(firmware) != STATUS_OK)
        return false;
    serial->by = "spcr";
    serial->spcr = open_spcr(firmware, ticks_per_us, uart);
    if (uart->present)
        return true;
    serial->by = "dbg2";
    serial->dbg2 = open_dbg2(firmware, ticks_per_us, uart);
    return uart->present;
}

static const char *open_legacy(uint64_t ticks_per_us, struct uart *uart)
{
    for (size_t i = 0; i < sizeof legacy / sizeof legacy[0]; i++) {
        if (uart_open(uart, legacy[i].port, ticks_per_us) == STATUS_OK)
            return legacy[i].name;
    }
    return NULL;
}

static struct serial_found open_any(struct firmware *firmware, bool under_qemu,
                                    uint64_t ticks_per_us, struct serial_port *port)
{
    struct serial_found serial = {.found = "none"};

    if (open_listed(firmware, ticks_per_us, port->uart, &serial)) {
        serial.found = name_of(port->uart);
        return serial;
    }
    serial.by = "firmware";
    if ((serial.found = open_driven(firmware, ticks_per_us, port)) != NULL)
        return serial;
    serial.by = "probe";
    if (open_pci(firmware, REAL_CARD, ticks_per_us, port))
        serial.found = "pci";
    else if ((serial.found = open_legacy(ticks_per_us, port->uart)) == NULL)
        serial.found = open_pci(firmware, AMT_CARD, ticks_per_us, port) ? "pci"
                       : under_qemu && uart_open_debug_console(port->uart) == STATUS_OK
                           ? "debug-console"
                           : "none";
    return serial;
}

static struct serial_found open_named(struct firmware *firmware, const struct uart_place *place,
                                      uint64_t ticks_per_us, struct serial_port *port)
{
    struct serial_found serial = {.found = "no-answer", .by = "option"};

    if (place->stride != 0 && memory_read_map(firmware) != STATUS_OK)
        return serial;
    EFI_PCI_IO_PROTOCOL *owner = find_owner(firmware, place);
    if (owner)
        (void)switch_on(owner, place, &port->on);
    if (!open_at(firmware, place, ticks_per_us, port->uart))
        serial.found = name_of(port->uart);
    else
        switch_off(&port->on);
    return serial;
}

static bool is_same(const struct uart_place *one, const struct uart_place *other)
{
    return one->base == other->base && one->stride == other->stride && one->access == other->access;
}

static bool is_listed(const struct firmware *firmware, const struct uart_place *asked)
{
    struct acpi_table table;
    struct uart_place place;

    if (find_table(firmware, "SPCR", &table) && !spcr_read(&table, &place) &&
        is_same(asked, &place))
        return true;
    if (!find_table(firmware, "DBG2", &table))
        return false;
    for (uint32_t i = 0; i < dbg2_count(&table); i++) {
        if (!dbg2_read(&table, i, &place) && is_same(asked, &place))
            return true;
    }
    return false;
}

// May the options ask for this port? With Secure Boot on nobody has signed them, and what they name
// is written to: only what firmware's tables or PCI name, and the places where every run looks.
static bool may_be_asked_for(struct firmware *firmware, const struct uart_place *asked)
{
    if (platform_secure_boot(firmware) != SECURE_BOOT_ON)
        return true;
    for (size_t i = 0; i < sizeof legacy / sizeof legacy[0]; i++) {
        if (asked->stride == 0 && asked->base == legacy[i].port)
            return true;
    }
    return (memory_read_map(firmware) == STATUS_OK && is_listed(firmware, asked)) ||
           find_owner(firmware, asked) != NULL;
}

struct serial_found serial_open(struct firmware *firmware, const struct options *options,
                                bool under_qemu, uint64_t ticks_per_us, struct serial_port *port)
{
    if (options->serial == SERIAL_OFF)
        return (struct serial_found){.found = "off", .by = "option"};
    if (options->serial == SERIAL_PORT && !may_be_asked_for(firmware, &options->serial_place)) {
        struct serial_found serial = open_any(firmware, under_qemu, ticks_per_us, port);
        serial.refused = true;
        return serial;
    }
    if (options->serial == SERIAL_PORT)
        return open_named(firmware, &options->serial_place, ticks_per_us, port);
    return open_any(firmware, under_qemu, ticks_per_us, port);
}

void serial_close(struct serial_port *port)
{
    if (port->uart)
        uart_close(port->uart);
    switch_off(&port->on);
}
