// Firmware, as it is when it starts us.

#include "firmware.h"

#include "msr.h"

EFI_STATUS firmware_open(EFI_HANDLE handle, EFI_SYSTEM_TABLE *system, struct firmware *firmware)
{
    EFI_GUID loaded_image = LOADED_IMAGE_PROTOCOL;

    *firmware = (struct firmware){
        .handle = handle,
        .system = system,
        .boot = system->BootServices,
        .cr0 = hw_read_cr0(),
        .cr3 = hw_read_cr3(),
        .cr4 = hw_read_cr4(),
        .efer = hw_rdmsr(MSR_EFER),
        .tables = hw_read_tables(),
        .stack_top = (uintptr_t)__builtin_frame_address(0),
    };
    return firmware->boot->HandleProtocol(handle, &loaded_image, (void **)&firmware->loaded);
}

void *firmware_protocol(const struct firmware *firmware, EFI_HANDLE handle, const EFI_GUID *name)
{
    EFI_GUID guid = *name;
    void *interface = NULL;

    return EFI_ERROR(firmware->boot->HandleProtocol(handle, &guid, &interface)) ? NULL : interface;
}

EFI_HANDLE *firmware_handles(const struct firmware *firmware, const EFI_GUID *name, UINTN *count)
{
    EFI_GUID guid = *name;
    EFI_HANDLE *handles = NULL;

    *count = 0;
    if (!EFI_ERROR(firmware->boot->LocateHandleBuffer(ByProtocol, &guid, NULL, count, &handles)))
        return handles;
    *count = 0;
    return NULL;
}

void firmware_stop_watchdog(const struct firmware *firmware)
{
    firmware->boot->SetWatchdogTimer(0, 0, 0, NULL);
}
