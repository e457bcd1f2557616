// Surprise: a base address of 0 is no mistake; it says that redirection is switched off.
#include "spcr.h"

#include "uart_gas.h"

#define INTERFACE   36u // a kind of port
#define BASE        40u // struct gas
#define BAUD        58u
#define LEAST_BYTES 76u

// BAUD's values; 0 says "as it is".
static uint32_t baud_of(uint8_t code)
{
    return code == 3 ? 9600 : code == 4 ? 19200 : code == 6 ? 57600 : code == 7 ? 115200 : 0;
}

const char *spcr_read(const struct acpi_table *table, struct uart_place *place)
{
    if (table->length < LEAST_BYTES)
        return "the table is too short";
    const struct gas gas = acpi_load_gas(table->bytes + BASE);

    if (!uart_gas_is_16550(table->bytes[INTERFACE]))
        return UART_NOT_A_16550;
    if (gas.address == 0)
        return "redirection is switched off";
    const char *wrong = uart_gas_read(&gas, place);
    place->baud = baud_of(table->bytes[BAUD]);
    return wrong;
}
