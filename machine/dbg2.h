// The Debug Port Table 2 (Microsoft, "Debug Port Table 2 (DBG2)"): ports that firmware sets aside
// for a debugger, serial ones among them.
#pragma once

#include "acpi.h"
#include "uart_place.h"

// How many ports of a table are looked at: more than those of real machines name.
#define DBG2_PORTS_MOST 16u

// How many ports it names, at most DBG2_PORTS_MOST; each may still be none that can be reached.
uint32_t dbg2_count(const struct acpi_table *table);

// NULL if this one, from 0, is 16550-compatible and can be reached, which is then in *place; else
// why not.
const char *dbg2_read(const struct acpi_table *table, uint32_t number, struct uart_place *place);
