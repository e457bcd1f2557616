#include "spcr.h"

#define INTERFACE   36u
#define GAS_SPACE   40u
#define GAS_BITS    41u
#define GAS_OFFSET  42u
#define GAS_ACCESS  43u
#define GAS_ADDRESS 44u
#define BAUD        58u
#define LEAST_BYTES 76u

// Of INTERFACE: revision 1 knows the first two, later ones take them from the DBG2 table.
#define INTERFACE_16550     0x00u
#define INTERFACE_16450     0x01u
#define INTERFACE_16550_GAS 0x12u

#define SPACE_MEMORY 0u
#define SPACE_IO     1u
#define ACCESS_ANY   0u
#define ACCESS_BYTE  1u
#define ACCESS_DWORD 3u

#define PORT_LEAST 0x100u
#define PORT_MOST  (0xffffu - 7u)

// BAUD's values; 0 says "as it is".
static uint32_t baud_of(uint8_t code)
{
    return code == 3 ? 9600 : code == 4 ? 19200 : code == 6 ? 57600 : code == 7 ? 115200 : 0;
}

const char *spcr_read(const struct acpi_table *table, struct uart_place *place)
{
    if (table->length < LEAST_BYTES)
        return "the table is too short";
    const uint8_t *bytes = table->bytes;
    const uint8_t kind = bytes[INTERFACE], space = bytes[GAS_SPACE], bits = bytes[GAS_BITS];
    const uint64_t address =
        acpi_load32(bytes + GAS_ADDRESS) | (uint64_t)acpi_load32(bytes + GAS_ADDRESS + 4) << 32;

    if (kind != INTERFACE_16550 && kind != INTERFACE_16450 && kind != INTERFACE_16550_GAS)
        return "its port is no 16550";
    if (address == 0)
        return "redirection is switched off";
    *place = (struct uart_place){.base = address, .baud = baud_of(bytes[BAUD])};
    if (space == SPACE_IO && address >= PORT_LEAST && address <= PORT_MOST)
        return NULL;
    if (space != SPACE_MEMORY || bytes[GAS_OFFSET] != 0 ||
        (bits != 0 && bits != 8 && bits != 16 && bits != 32))
        return "its address makes no sense";
    if (bytes[GAS_ACCESS] != ACCESS_ANY && bytes[GAS_ACCESS] != ACCESS_BYTE &&
        bytes[GAS_ACCESS] != ACCESS_DWORD)
        return "its registers are neither bytes nor 32 bits wide";
    place->stride = bits == 0 ? 1 : bits / 8;
    place->access =
        bytes[GAS_ACCESS] == ACCESS_DWORD || (bytes[GAS_ACCESS] == ACCESS_ANY && bits == 32) ? 4
                                                                                             : 1;
    if (place->access > place->stride || address % place->access != 0)
        return "its address makes no sense";
    return NULL;
}
