// `refuse-writes=STATUS`: the volume that the image is on takes no write any more. STATUS is what
// its Block I/O answers: `device`, `no-media` or `changed`. Each call that is refused is a line.

#include "preload.h"

static EFI_STATUS answer;

static struct {
    const char *word;
    EFI_STATUS status;
} const answers[] = {
    {"device", EFI_DEVICE_ERROR},
    {"no-media", EFI_NO_MEDIA},
    {"changed", EFI_MEDIA_CHANGED},
};

static const struct preload *said_by;

static EFI_STATUS EFIAPI refuse_write(EFI_BLOCK_IO *disk, UINT32 media, EFI_LBA block, UINTN bytes,
                                      void *memory)
{
    (void)disk, (void)media, (void)block, (void)bytes, (void)memory;
    preload_say(said_by, L"preload: a write is refused\r\n");
    return answer;
}

static EFI_STATUS start(const struct preload *preload, const char *value)
{
    EFI_GUID guid = BLOCK_IO_PROTOCOL;
    EFI_BLOCK_IO *disk;

    const EFI_STATUS status =
        preload->boot->HandleProtocol(preload->loaded->DeviceHandle, &guid, (void **)&disk);
    if (EFI_ERROR(status))
        return status;
    said_by = preload;
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        if (preload_is(value, answers[i].word))
            answer = answers[i].status;
    }
    if (!EFI_ERROR(answer))
        return EFI_INVALID_PARAMETER;
    disk->WriteBlocks = refuse_write;
    preload_say(preload, L"preload: the volume refuses writes\r\n");
    return EFI_SUCCESS;
}

const struct behaviour behaviour_refuse_writes = {"refuse-writes", start};
