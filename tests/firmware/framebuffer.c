// `framebuffer=ADDRESS`: every graphics output says that its frame buffer lies there. Firmware goes
// on drawing where it drew before.

#include "preload.h"

static EFI_STATUS start(const struct preload *preload, const char *value)
{
    EFI_GUID guid = EFI_GRAPHICS_OUTPUT_PROTOCOL_GUID;
    EFI_HANDLE *handles;
    UINTN count;

    EFI_STATUS status =
        preload->boot->LocateHandleBuffer(ByProtocol, &guid, NULL, &count, &handles);
    for (UINTN i = 0; !EFI_ERROR(status) && i < count; i++) {
        EFI_GRAPHICS_OUTPUT_PROTOCOL *output;
        status = preload->boot->HandleProtocol(handles[i], &guid, (void **)&output);
        if (!EFI_ERROR(status))
            output->Mode->FrameBufferBase = preload_number(value);
    }
    if (EFI_ERROR(status))
        return status;
    preload_say(preload, L"preload: the frame buffers are said to lie elsewhere\r\n");
    return preload->boot->FreePool(handles);
}

const struct behaviour behaviour_framebuffer = {"framebuffer", start};
