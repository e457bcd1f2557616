// `take-places`: every second place at a multiple of 1 MiB is somebody else's, reserved, as it is
// where a driver or a boot loader came before.

#include "preload.h"

#define MIB   (1ull << 20)
#define FROM  (32 * MIB)
#define TO    (1024 * MIB)
#define PAGES 1u

static EFI_STATUS start(const struct preload *preload, const char *value)
{
    (void)value;
    for (EFI_PHYSICAL_ADDRESS at = FROM; at < TO; at += 2 * MIB) {
        EFI_PHYSICAL_ADDRESS place = at;
        (void)preload->boot->AllocatePages(AllocateAddress, EfiReservedMemoryType, PAGES, &place);
    }
    preload_say(preload, L"preload: every second place is taken\r\n");
    return EFI_SUCCESS;
}

const struct behaviour behaviour_take_places = {"take-places", start};
