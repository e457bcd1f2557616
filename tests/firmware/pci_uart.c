// `pci-uart=ADDRESS`: the machine's first display adapter says that it is a serial card with its
// registers in memory there, programmed as a 16550 is. QEMU's own serial cards have theirs behind
// I/O ports. Surprise: its frame buffer goes on, since firmware's driver has already read where.

#include "preload.h"

#include "mem.h"

#include <efipciio.h>

#define CLASS         0x08u
#define CLASS_DISPLAY 0x03u
#define BAR0          0x10u
#define SERIAL_16550  0x07000200u

static EFI_PCI_IO_PROTOCOL_CONFIG read;
static const EFI_PCI_IO_PROTOCOL *adapter;
static UINT32 base;

static EFI_STATUS EFIAPI read_another(EFI_PCI_IO_PROTOCOL *self, EFI_PCI_IO_PROTOCOL_WIDTH width,
                                      UINT32 offset, UINTN count, VOID *buffer)
{
    const UINT32 value = offset == CLASS ? SERIAL_16550 : base;

    if (self != adapter || width != EfiPciIoWidthUint32 || count != 1 ||
        (offset != CLASS && offset != BAR0))
        return read(self, width, offset, count, buffer);
    memcpy(buffer, &value, sizeof value);
    return EFI_SUCCESS;
}

static EFI_STATUS start(const struct preload *preload, const char *value)
{
    EFI_GUID guid = EFI_PCI_IO_PROTOCOL_GUID;
    EFI_HANDLE *handles;
    UINTN count;

    base = (UINT32)preload_number(value);
    EFI_STATUS status =
        preload->boot->LocateHandleBuffer(ByProtocol, &guid, NULL, &count, &handles);
    for (UINTN i = 0; !EFI_ERROR(status) && i < count && !adapter; i++) {
        EFI_PCI_IO_PROTOCOL *device;
        UINT32 class_code = 0;
        status = preload->boot->HandleProtocol(handles[i], &guid, (void **)&device);
        if (EFI_ERROR(status) ||
            EFI_ERROR(device->Pci.Read(device, EfiPciIoWidthUint32, CLASS, 1, &class_code)) ||
            class_code >> 24 != CLASS_DISPLAY)
            continue;
        adapter = device;
        read = device->Pci.Read;
        device->Pci.Read = read_another;
    }
    if (!adapter)
        return EFI_NOT_FOUND;
    preload_say(preload, L"preload: the display adapter is a serial card\r\n");
    return EFI_SUCCESS;
}

const struct behaviour behaviour_pci_uart = {"pci-uart", start};
