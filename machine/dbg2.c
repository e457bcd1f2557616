// Surprise: where a port's parts lie is told by offsets into its entry, each two bytes, in a table
// whose entries tell their own lengths: all of them are checked against what is really there. The
// size that stands beside an address is not read: firmware writes anything there, and the port has
// to prove itself by its registers anyway.
#include "dbg2.h"

#include "uart_gas.h"

#define ENTRIES     36u // where the first one is
#define COUNT       40u
#define LEAST_BYTES 44u

// In an entry.
#define ENTRY_LENGTH      1u
#define ENTRY_ADDRESSES   3u // how many
#define ENTRY_TYPE        12u
#define ENTRY_KIND        14u
#define ENTRY_ADDRESS     18u // where the first one is, a struct gas
#define ENTRY_LEAST_BYTES 22u

#define TYPE_SERIAL 0x8000u

// The table does not tell the rate; that of a debugger's port on a PC.
#define BAUD 115200u

static uint32_t load16(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8;
}

uint32_t dbg2_count(const struct acpi_table *table)
{
    const uint32_t count = table->length < LEAST_BYTES ? 0 : acpi_load32(table->bytes + COUNT);

    return count < DBG2_PORTS_MOST ? count : DBG2_PORTS_MOST;
}

// The entry of this number and its length; NULL if it, or one before it, does not lie in the table.
static const uint8_t *find_entry(const struct acpi_table *table, uint32_t number, size_t *length)
{
    for (size_t at = acpi_load32(table->bytes + ENTRIES);; at += *length, number--) {
        if (at < LEAST_BYTES || at > table->length || table->length - at < ENTRY_LEAST_BYTES)
            return NULL;
        *length = load16(table->bytes + at + ENTRY_LENGTH);
        if (*length < ENTRY_LEAST_BYTES || *length > table->length - at)
            return NULL;
        if (number == 0)
            return table->bytes + at;
    }
}

const char *dbg2_read(const struct acpi_table *table, uint32_t number, struct uart_place *place)
{
    if (number >= dbg2_count(table))
        return "it names no such port";
    size_t length = 0;
    const uint8_t *entry = find_entry(table, number, &length);

    if (!entry)
        return "its entry does not lie in the table";
    if (load16(entry + ENTRY_TYPE) != TYPE_SERIAL || !uart_gas_is_16550(load16(entry + ENTRY_KIND)))
        return UART_NOT_A_16550;
    const size_t address = load16(entry + ENTRY_ADDRESS);
    if (entry[ENTRY_ADDRESSES] == 0 || address < ENTRY_LEAST_BYTES || address + GAS_BYTES > length)
        return "its entry names no address";
    const struct gas gas = acpi_load_gas(entry + address);
    const char *wrong = uart_gas_read(&gas, place);
    place->baud = BAUD;
    return wrong;
}
