// The serial port: the one that the options name, or the first that answers, those that firmware
// itself names before those that are only guessed. Surprise: a port of a PCI device may be switched
// off until somebody asks for it; its decoding of I/O is switched on only for a device that says it
// is a serial port, before it is looked at, and off again unless the port is the one.

#include "serial.h"

#include "acpi.h"
#include "device_path.h"
#include "memory.h"
#include "page.h"
#include "phys.h"
#include "platform_read.h"
#include "spcr.h"
#include "tables.h"

#define PCI_COMMAND     0x04u
#define PCI_COMMAND_IO  0x0001u
#define PCI_CLASS       0x08u
#define PCI_CLASS_SHIFT 16
#define PCI_CLASS_UART  0x0700u // a serial controller; Intel's AMT shows one, too
#define PCI_BAR0        0x10u
#define PCI_BAR_IO      0x1u
#define PCI_BAR_IO_MASK 0xfffcu
#define PORT_LEAST      0x100u

// A device path (UEFI 2.10, "Device Path Protocol"): a node for PNP0501 has the number of the port
// among the legacy ones.
#define PATH_ACPI_BYTES 12u
#define PATH_ACPI_HID   1u
#define PNP_16550       0x050141d0u

#define REGISTERS 8u
#define FOUR_GIB  0x100000000ull // what firmware maps for certain

static const struct place {
    uint16_t port;
    const char *name;
} legacy[] = {{UART_COM1, "com1"}, {0x2f8, "com2"}, {0x3e8, "com3"}, {0x2e8, "com4"}};

static void write_command(EFI_PCI_IO_PROTOCOL *device, UINT16 command)
{
    (void)device->Pci.Write(device, EfiPciIoWidthUint16, PCI_COMMAND, 1, &command);
}

// The I/O port of a PCI serial controller, switched on or not; 0 if it is none.
static uint16_t pci_named_port(EFI_PCI_IO_PROTOCOL *device)
{
    UINT32 class_code = 0, bar = 0;

    if (EFI_ERROR(device->Pci.Read(device, EfiPciIoWidthUint32, PCI_CLASS, 1, &class_code)) ||
        class_code >> PCI_CLASS_SHIFT != PCI_CLASS_UART ||
        EFI_ERROR(device->Pci.Read(device, EfiPciIoWidthUint32, PCI_BAR0, 1, &bar)) ||
        (bar & PCI_BAR_IO) == 0 || (bar & PCI_BAR_IO_MASK) < PORT_LEAST)
        return 0;
    return (uint16_t)(bar & PCI_BAR_IO_MASK);
}

// The same, switched on, and what has to be switched off again.
static uint16_t pci_port(EFI_PCI_IO_PROTOCOL *device, struct serial_switch *on)
{
    const uint16_t port = pci_named_port(device);
    UINT16 command = 0;

    *on = (struct serial_switch){0};
    if (port == 0 ||
        EFI_ERROR(device->Pci.Read(device, EfiPciIoWidthUint16, PCI_COMMAND, 1, &command)))
        return 0;
    if ((command & PCI_COMMAND_IO) == 0) {
        *on = (struct serial_switch){device, command};
        write_command(device, command | PCI_COMMAND_IO);
    }
    return port;
}

static void switch_off(struct serial_switch *on)
{
    if (on->device)
        write_command(on->device, on->command);
    on->device = NULL;
}

static const EFI_GUID pci_io = EFI_PCI_IO_PROTOCOL_GUID;

static bool open_device(const struct firmware *firmware, EFI_HANDLE handle, uint64_t ticks_per_us,
                        struct serial_port *port)
{
    EFI_PCI_IO_PROTOCOL *device = firmware_protocol(firmware, handle, &pci_io);

    if (!device)
        return false;
    const uint16_t number = pci_port(device, &port->on);
    if (number != 0 && uart_open(port->uart, number, ticks_per_us) == STATUS_OK)
        return true;
    switch_off(&port->on);
    return false;
}

static bool open_pci(const struct firmware *firmware, uint64_t ticks_per_us,
                     struct serial_port *port)
{
    UINTN count;
    EFI_HANDLE *handles = firmware_handles(firmware, &pci_io, &count);

    if (!handles)
        return false;
    for (UINTN i = 0; i < count && !port->uart->present; i++)
        (void)open_device(firmware, handles[i], ticks_per_us, port);
    firmware->boot->FreePool(handles);
    return port->uart->present;
}

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
    return open_device(firmware, device, ticks_per_us, port) ? "pci" : NULL;
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

// NULL if the SPCR has a port, or, and then its base is 0, if there is no SPCR; else why not.
static const char *read_spcr(struct firmware *firmware, struct uart_place *place)
{
    const struct problems nobody = {problems_ignore, NULL};
    const struct phys phys = {memory_view, firmware};
    struct acpi_table table;

    *place = (struct uart_place){0};
    if (memory_read_map(firmware) != STATUS_OK ||
        acpi_find_table(&phys, table_rsdp(firmware), "SPCR", 0, &nobody, &table) != STATUS_OK)
        return NULL;
    const char *wrong = spcr_read(&table, place);
    if (wrong)
        return wrong;
    const uint64_t last = place->base + (uint64_t)REGISTERS * place->stride - 1;
    if (place->stride != 0 && (last >= FOUR_GIB || place->base / PAGE_BYTES != last / PAGE_BYTES ||
                               memory_is_ram(firmware, place->base)))
        return "its address is not a device's";
    return NULL;
}

// NULL if the SPCR's port is open, or if there is no SPCR; else why not.
static const char *open_spcr(struct firmware *firmware, uint64_t ticks_per_us, struct uart *uart)
{
    struct uart_place place;
    const char *wrong = read_spcr(firmware, &place);

    if (wrong || place.base == 0)
        return wrong;
    return uart_open_at(uart, &place, ticks_per_us) == STATUS_OK ? NULL
                                                                 : "its port does not answer";
}

static const char *name_of(const struct uart *uart)
{
    for (size_t i = 0; i < sizeof legacy / sizeof legacy[0]; i++) {
        if (uart->mmio == 0 && uart->port == legacy[i].port)
            return legacy[i].name;
    }
    return uart->mmio != 0 ? "mmio" : "port";
}

static struct serial_found open_any(struct firmware *firmware, bool under_qemu,
                                    uint64_t ticks_per_us, struct serial_port *port)
{
    struct serial_found serial = {.found = "none", .by = "spcr"};

    serial.spcr = open_spcr(firmware, ticks_per_us, port->uart);
    if (port->uart->present) {
        serial.found = name_of(port->uart);
        return serial;
    }
    serial.by = "firmware";
    if ((serial.found = open_driven(firmware, ticks_per_us, port)) != NULL)
        return serial;
    serial.by = "probe";
    for (size_t i = 0; i < sizeof legacy / sizeof legacy[0]; i++) {
        if (uart_open(port->uart, legacy[i].port, ticks_per_us) == STATUS_OK) {
            serial.found = legacy[i].name;
            return serial;
        }
    }
    serial.found = open_pci(firmware, ticks_per_us, port) ? "pci"
                   : under_qemu && uart_open_debug_console(port->uart) == STATUS_OK
                       ? "debug-console"
                       : "none";
    return serial;
}

static bool pci_names(const struct firmware *firmware, uint64_t port)
{
    UINTN count;
    EFI_HANDLE *handles = firmware_handles(firmware, &pci_io, &count);
    bool found = false;

    if (!handles)
        return false;
    for (UINTN i = 0; i < count && !found; i++) {
        EFI_PCI_IO_PROTOCOL *device = firmware_protocol(firmware, handles[i], &pci_io);
        found = device && pci_named_port(device) == port;
    }
    firmware->boot->FreePool(handles);
    return found;
}

// May the options ask for this port? With Secure Boot on nobody has signed them, and what they name
// is written to: only what firmware's tables or PCI name, and the places where every run looks.
static bool may_be_asked_for(struct firmware *firmware, const struct uart_place *asked)
{
    struct uart_place spcr;

    if (platform_secure_boot(firmware) != SECURE_BOOT_ON)
        return true;
    for (size_t i = 0; i < sizeof legacy / sizeof legacy[0]; i++) {
        if (asked->stride == 0 && asked->base == legacy[i].port)
            return true;
    }
    if (!read_spcr(firmware, &spcr) && asked->base == spcr.base && asked->stride == spcr.stride)
        return true;
    return asked->stride == 0 && pci_names(firmware, asked->base);
}

struct serial_found serial_open(struct firmware *firmware, const struct options *options,
                                bool under_qemu, uint64_t ticks_per_us, struct serial_port *port)
{
    const struct uart_place asked = {.base = options->serial_port};

    if (options->serial == SERIAL_OFF)
        return (struct serial_found){.found = "off", .by = "option"};
    if (options->serial == SERIAL_PORT && !may_be_asked_for(firmware, &asked)) {
        struct serial_found serial = open_any(firmware, under_qemu, ticks_per_us, port);
        serial.refused = true;
        return serial;
    }
    if (options->serial == SERIAL_PORT)
        return (struct serial_found){
            .found = uart_open(port->uart, options->serial_port, ticks_per_us) == STATUS_OK
                         ? name_of(port->uart)
                         : "no-answer",
            .by = "option"};
    return open_any(firmware, under_qemu, ticks_per_us, port);
}

void serial_close(struct serial_port *port)
{
    if (port->uart)
        uart_close(port->uart);
    switch_off(&port->on);
}
