// Leaving firmware, in one function.
// Surprise: one attempt is not always enough. Handlers that run inside ExitBootServices may
// allocate, and then the map's key is stale; but after the first attempt timers and consoles may be
// gone already, so nothing is called any more except GetMemoryMap and ExitBootServices (UEFI 2.10,
// "EFI_BOOT_SERVICES.ExitBootServices()").

#include "firmware.h"

// Each attempt may run one more layer of handlers; none has been seen to need a third.
#define ATTEMPTS_MAX 8u

enum status leave_firmware(struct firmware *firmware, uint32_t *attempts)
{
    UINT32 version;

    for (uint32_t attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
        *attempts = attempt;
        firmware->map_bytes = firmware->map_capacity;
        EFI_STATUS status = firmware->boot->GetMemoryMap(
            &firmware->map_bytes, (EFI_MEMORY_DESCRIPTOR *)(void *)firmware->map,
            &firmware->map_key, &firmware->descriptor_bytes, &version);
        if (!EFI_ERROR(status))
            status = firmware->boot->ExitBootServices(firmware->handle, firmware->map_key);
        if (!EFI_ERROR(status)) {
            firmware->left = true;
            return STATUS_OK;
        }
    }
    return STATUS_INVALID;
}
