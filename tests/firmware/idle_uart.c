// `idle-uart=ADDRESS,STRIDE`: device memory at this address, a frame buffer that nobody shows, has
// an idle UART's line status from now on. Its other registers hold what is written to them, so that
// all but the FIFOs answers as a UART's would.

#include "preload.h"

#define LINE_STATUS 5u
#define IDLE        0x60u

static EFI_STATUS start(const struct preload *preload, const char *value)
{
    const uint64_t base = preload_number(value);

    while (*value && *value != ',')
        value++;
    if (base == 0 || *value == '\0')
        return EFI_INVALID_PARAMETER;
    const uint64_t stride = preload_number(value + 1);
    for (uint64_t i = 0; i < 8 * stride; i++)
        ((volatile uint8_t *)(uintptr_t)base)[i] = i == LINE_STATUS * stride ? IDLE : 0;
    preload_say(preload, L"preload: a UART is idle\r\n");
    return EFI_SUCCESS;
}

const struct behaviour behaviour_idle_uart = {"idle-uart", start};
