// Surprise: the base address names no width of an access in old tables, so it is taken from the
// width of a register.
#include "spcr.h"

#define INTERFACE   36u
#define BASE        40u // struct gas
#define BAUD        58u
#define LEAST_BYTES 76u

// Of INTERFACE: revision 1 knows the first two, later ones take them from the DBG2 table.
#define INTERFACE_16550     0x00u
#define INTERFACE_16450     0x01u
#define INTERFACE_16550_GAS 0x12u

// Of BASE's access size.
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
    const uint8_t kind = bytes[INTERFACE];
    const struct gas gas = acpi_load_gas(bytes + BASE);

    if (kind != INTERFACE_16550 && kind != INTERFACE_16450 && kind != INTERFACE_16550_GAS)
        return "its port is not a 16550";
    if (gas.address == 0)
        return "redirection is switched off";
    *place = (struct uart_place){.base = gas.address, .baud = baud_of(bytes[BAUD])};
    if (gas.space == GAS_IO && gas.address >= PORT_LEAST && gas.address <= PORT_MOST)
        return NULL;
    if (gas.space != GAS_MEMORY || gas.offset != 0 ||
        (gas.bits != 0 && gas.bits != 8 && gas.bits != 16 && gas.bits != 32))
        return "its address makes no sense";
    if (gas.access != ACCESS_ANY && gas.access != ACCESS_BYTE && gas.access != ACCESS_DWORD)
        return "its registers are neither 8 nor 32 bits wide";
    place->stride = gas.bits == 0 ? 1 : gas.bits / 8;
    place->access =
        gas.access == ACCESS_DWORD || (gas.access == ACCESS_ANY && gas.bits == 32) ? 4 : 1;
    if (place->access > place->stride || gas.address % place->access != 0)
        return "its address makes no sense";
    return NULL;
}
