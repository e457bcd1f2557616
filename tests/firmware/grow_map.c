// `grow-map=N`: the memory map has N descriptors more behind the first ExitBootServices, which
// refuses, as it is where a handler of the exit's events allocates piece by piece. `uefi-2.9`: the
// system table says that it is of that version, which allows allocations between the attempts.

#include "preload.h"

#define PAGE_BYTES   4096u
#define REVISION_2_9 (2u << 16 | 90u)

static EFI_BOOT_SERVICES *g_boot;
static EFI_EXIT_BOOT_SERVICES g_exit;
static UINTN g_descriptors;

// One piece, of which every second page is given back: a descriptor for each page. Not a type of the
// runtime services': firmware makes their table of attributes anew at each change, for half a minute.
static void grow(UINTN descriptors)
{
    EFI_PHYSICAL_ADDRESS piece;

    if (EFI_ERROR(g_boot->AllocatePages(AllocateAnyPages, EfiACPIMemoryNVS, descriptors + 1,
                                        &piece)))
        return;
    for (UINTN page = 1; page < descriptors; page += 2)
        (void)g_boot->FreePages(piece + page * PAGE_BYTES, 1);
}

static EFI_STATUS EFIAPI exit_boot_services(EFI_HANDLE handle, UINTN key)
{
    const UINTN descriptors = g_descriptors;

    g_descriptors = 0;
    if (descriptors == 0)
        return g_exit(handle, key);
    grow(descriptors);
    return EFI_INVALID_PARAMETER;
}

static EFI_STATUS start(const struct preload *preload, const char *value)
{
    g_boot = preload->boot;
    g_descriptors = preload_number(value);
    g_exit = (EFI_EXIT_BOOT_SERVICES)(uintptr_t)preload_hook(
        preload, &preload->boot->ExitBootServices, (void *)(uintptr_t)exit_boot_services);
    preload_say(preload, L"preload: the memory map grows at the exit\r\n");
    return g_descriptors > 0 ? EFI_SUCCESS : EFI_INVALID_PARAMETER;
}

static EFI_STATUS start_2_9(const struct preload *preload, const char *value)
{
    EFI_TABLE_HEADER *header = &preload->system->Hdr;
    UINT32 crc = 0;

    (void)value;
    header->Revision = REVISION_2_9;
    header->CRC32 = 0;
    const EFI_STATUS status = preload->boot->CalculateCrc32(header, header->HeaderSize, &crc);
    header->CRC32 = crc;
    return status;
}

const struct behaviour behaviour_grow_map = {"grow-map", start};
const struct behaviour behaviour_uefi_2_9 = {"uefi-2.9", start_2_9};
