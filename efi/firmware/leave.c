// Leaving firmware, in one function.
// Surprise: one attempt is not always enough. Handlers that run inside ExitBootServices may
// allocate, and then the map's key is stale, and the map may be longer than its buffer; but after
// the first attempt timers and consoles may be gone already. Before UEFI 2.9 only GetMemoryMap and
// ExitBootServices may be called then, since 2.9 all memory allocation services (UEFI 2.8 and 2.10,
// "EFI_BOOT_SERVICES.ExitBootServices()").

#include "leave.h"

#include "memory.h"

// Each attempt may run one more layer of handlers; none has been seen to need a third.
#define ATTEMPTS_MAX 8u

#define REVISION_2_9 (2u << 16 | 90u) // of the system table

// Into the buffer that there is.
static EFI_STATUS read_map(struct firmware *firmware)
{
    UINT32 version;

    firmware->map_bytes = firmware->map_capacity;
    return firmware->boot->GetMemoryMap(&firmware->map_bytes,
                                        (EFI_MEMORY_DESCRIPTOR *)(void *)firmware->map,
                                        &firmware->map_key, &firmware->descriptor_bytes, &version);
}

enum status leave_firmware(struct firmware *firmware)
{
    bool may_allocate = true;

    for (uint32_t attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
        EFI_STATUS status = read_map(firmware);
        if (status == EFI_BUFFER_TOO_SMALL && may_allocate &&
            memory_read_map(firmware) == STATUS_OK)
            status = EFI_SUCCESS;
        if (!EFI_ERROR(status)) {
            may_allocate = firmware->system->Hdr.Revision >= REVISION_2_9;
            status = firmware->boot->ExitBootServices(firmware->handle, firmware->map_key);
        }
        if (!EFI_ERROR(status))
            return STATUS_OK;
    }
    return STATUS_INVALID;
}
