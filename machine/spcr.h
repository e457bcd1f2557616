// The Serial Port Console Redirection table (Microsoft, revisions 1 to 4): where firmware has its
// serial console.
#pragma once

#include "acpi.h"
#include "uart_place.h"

// NULL if the port is 16550-compatible and can be reached, which is then in *place; else why not.
const char *spcr_read(const struct acpi_table *table, struct uart_place *place);
