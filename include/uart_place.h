// Where a 16550-compatible UART is, as firmware's tables or the options tell and its driver takes
// it.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "page.h"

#define UART_REGISTERS 8u

struct uart_place {
    uint64_t base;  // I/O port, or physical address
    uint8_t stride; // bytes from one register to the next in device memory; 0: I/O ports
    uint8_t access; // bytes of an access in device memory: 1 or 4, and base is a multiple of it
    uint32_t baud;  // as firmware has set it; 0: unknown, so the divisor is left as it is
};

// What firmware maps for certain ends at 4 GiB; the first 1 MiB is memory, screens and ROMs. Where
// processors look for interrupt messages, a byte that is written may be one (SDM vol. 3A, "Message
// Address Register Format").
#define UART_MEMORY_FROM 0x100000u
#define UART_MEMORY_TO   0x100000000ull
#define UART_NEVER_FROM  0xfee00000u
#define UART_NEVER_TO    0xfef00000u

// Can a UART's registers be there? In device memory they lie in one page, since one is mapped.
static inline bool uart_place_is_sane(const struct uart_place *place)
{
    if (place->stride == 0)
        return place->base <= UINT16_MAX - (UART_REGISTERS - 1);
    return place->base >= UART_MEMORY_FROM && place->base < UART_MEMORY_TO &&
           place->base % place->access == 0 &&
           place->base % PAGE_BYTES <= PAGE_BYTES - (uint64_t)UART_REGISTERS * place->stride &&
           (place->base < UART_NEVER_FROM || place->base >= UART_NEVER_TO);
}
