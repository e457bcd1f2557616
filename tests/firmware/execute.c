// `execute=TYPE`: calls code in a page of this memory type (UEFI 2.10, "Memory Type Usage before
// ExitBootServices()"), and says so if it came back: the proof that firmware forbids it, which has
// no other sign than the page fault. Surprise: it is freed again, so that nothing is left of it.

#include "preload.h"

#define RETURN 0xc3u // RET

static EFI_STATUS start(const struct preload *preload, const char *value)
{
    EFI_PHYSICAL_ADDRESS page;

    const EFI_STATUS status = preload->boot->AllocatePages(
        AllocateAnyPages, (EFI_MEMORY_TYPE)preload_number(value), 1, &page);
    if (EFI_ERROR(status))
        return status;
    *(volatile uint8_t *)(uintptr_t)page = RETURN;
    ((void (*)(void))(uintptr_t)page)();
    preload_say(preload, L"preload: that memory can be executed\r\n");
    return preload->boot->FreePages(page, 1);
}

const struct behaviour behaviour_execute = {"execute", start};
