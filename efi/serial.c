// The serial port: the one that the options name, or the first that answers. Surprise: a port of a
// PCI device may be switched off until somebody asks for it; its decoding of I/O is switched on
// only for a device that says it is a serial port, before it is looked at.

#include "firmware.h"

#include <efipciio.h>

#define PCI_COMMAND     0x04u
#define PCI_COMMAND_IO  0x0001u
#define PCI_CLASS       0x08u
#define PCI_CLASS_SHIFT 16
#define PCI_CLASS_UART  0x0700u // a serial controller; Intel's AMT shows one, too
#define PCI_BAR0        0x10u
#define PCI_BAR_IO      0x1u
#define PCI_BAR_IO_MASK 0xfffcu
#define PORT_LEAST      0x100u

static const struct place {
    uint16_t port;
    const char *name;
} legacy[] = {{UART_COM1, "com1"}, {0x2f8, "com2"}, {0x3e8, "com3"}, {0x2e8, "com4"}};

// The I/O port of a PCI serial controller, switched on; 0 if it is none.
static uint16_t pci_port(EFI_PCI_IO_PROTOCOL *device)
{
    UINT32 class_code = 0, bar = 0;
    UINT16 command = 0;

    if (EFI_ERROR(device->Pci.Read(device, EfiPciIoWidthUint32, PCI_CLASS, 1, &class_code)) ||
        class_code >> PCI_CLASS_SHIFT != PCI_CLASS_UART ||
        EFI_ERROR(device->Pci.Read(device, EfiPciIoWidthUint32, PCI_BAR0, 1, &bar)) ||
        (bar & PCI_BAR_IO) == 0 || (bar & PCI_BAR_IO_MASK) < PORT_LEAST ||
        EFI_ERROR(device->Pci.Read(device, EfiPciIoWidthUint16, PCI_COMMAND, 1, &command)))
        return 0;
    if ((command & PCI_COMMAND_IO) == 0) {
        command |= PCI_COMMAND_IO;
        (void)device->Pci.Write(device, EfiPciIoWidthUint16, PCI_COMMAND, 1, &command);
    }
    return (uint16_t)(bar & PCI_BAR_IO_MASK);
}

static bool open_pci(const struct firmware *firmware, uint64_t ticks_per_us, struct uart *uart)
{
    EFI_GUID guid = EFI_PCI_IO_PROTOCOL_GUID;
    EFI_HANDLE *handles = NULL;
    UINTN count = 0;

    if (EFI_ERROR(firmware->boot->LocateHandleBuffer(ByProtocol, &guid, NULL, &count, &handles)))
        return false;
    for (UINTN i = 0; i < count && !uart->present; i++) {
        EFI_PCI_IO_PROTOCOL *device = NULL;
        if (EFI_ERROR(firmware->boot->HandleProtocol(handles[i], &guid, (void **)&device)))
            continue;
        const uint16_t port = pci_port(device);
        if (port != 0)
            (void)uart_open(uart, port, ticks_per_us);
    }
    firmware->boot->FreePool(handles);
    return uart->present;
}

const char *serial_open(const struct firmware *firmware, const struct options *options,
                        uint64_t ticks_per_us, struct uart *uart)
{
    if (options->serial == SERIAL_OFF)
        return "off";
    if (options->serial == SERIAL_PORT)
        return uart_open(uart, options->serial_port, ticks_per_us) == STATUS_OK ? "option"
                                                                                : "no-answer";
    for (size_t i = 0; i < sizeof legacy / sizeof legacy[0]; i++) {
        if (uart_open(uart, legacy[i].port, ticks_per_us) == STATUS_OK)
            return legacy[i].name;
    }
    return open_pci(firmware, ticks_per_us, uart) ? "pci" : "none";
}
