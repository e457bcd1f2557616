// Surprise: the base address names no width of an access in old tables, so it is taken from the
// width of a register.
#include "uart_gas.h"

// The serial ports of Microsoft's "Debug Port Table 2", table 3. SPCR's revision 1 knows the first
// two; its later ones take all of them from there.
#define KIND_16550      0x00u
#define KIND_16450      0x01u
#define KIND_16550_GAS  0x12u
#define KIND_INTEL_LPSS 0x14u

// Of an address's access size.
#define ACCESS_ANY   0u
#define ACCESS_BYTE  1u
#define ACCESS_DWORD 3u

#define PORT_LEAST 0x100u
#define PORT_MOST  (0x10000u - UART_REGISTERS)

bool uart_gas_is_16550(uint32_t kind)
{
    return kind == KIND_16550 || kind == KIND_16450 || kind == KIND_16550_GAS ||
           kind == KIND_INTEL_LPSS;
}

const char *uart_gas_read(const struct gas *gas, struct uart_place *place)
{
    *place = (struct uart_place){.base = gas->address};
    if (gas->space == GAS_IO && gas->address >= PORT_LEAST && gas->address <= PORT_MOST)
        return NULL;
    if (gas->space != GAS_MEMORY || gas->address == 0 || gas->offset != 0 ||
        (gas->bits != 0 && gas->bits != 8 && gas->bits != 16 && gas->bits != 32))
        return "its address makes no sense";
    if (gas->access != ACCESS_ANY && gas->access != ACCESS_BYTE && gas->access != ACCESS_DWORD)
        return "its registers are neither 8 nor 32 bits wide";
    place->stride = gas->bits == 0 ? 1 : gas->bits / 8;
    place->access =
        gas->access == ACCESS_DWORD || (gas->access == ACCESS_ANY && gas->bits == 32) ? 4 : 1;
    if (place->access > place->stride || gas->address % place->access != 0)
        return "its address makes no sense";
    return NULL;
}
