// `take-places=N`: a page every N KiB is somebody else's, reserved, as where a driver or a boot
// loader came before.

#include "preload.h"

#define KIB   (1ull << 10)
#define MIB   (1ull << 20)
#define FROM  (32 * MIB)
#define TO    (1024 * MIB)
#define PAGES 1u

static EFI_STATUS start(const struct preload *preload, const char *value)
{
    const uint64_t step = preload_number(value) * KIB;
    size_t taken = 0;

    if (step == 0)
        return EFI_INVALID_PARAMETER;
    for (EFI_PHYSICAL_ADDRESS at = FROM; at < TO; at += step) {
        EFI_PHYSICAL_ADDRESS place = at;
        taken += !EFI_ERROR(
            preload->boot->AllocatePages(AllocateAddress, EfiReservedMemoryType, PAGES, &place));
    }
    if (taken == 0)
        return EFI_NOT_FOUND;
    preload_say(preload, L"preload: places are taken\r\n");
    return EFI_SUCCESS;
}

const struct behaviour behaviour_take_places = {"take-places", start};
