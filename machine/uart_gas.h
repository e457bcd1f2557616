// How SPCR and DBG2 name a 16550: a kind of port, which both number alike, and an address.
#pragma once

#include <stdbool.h>

#include "acpi.h"
#include "uart_place.h"

#define UART_NOT_A_16550 "its port is not a 16550"

// Is a port of this kind programmed as a 16550 is?
bool uart_gas_is_16550(uint32_t kind);

// NULL if a 16550 can be reached there, which is then in *place, its rate unknown; else why not.
const char *uart_gas_read(const struct gas *gas, struct uart_place *place);
