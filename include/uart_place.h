// Where a serial port is: what a table says (machine/spcr.h) and what a driver needs
// (report/console/uart.h), which do not know each other.
#pragma once

#include <stdint.h>

struct uart_place {
    uint64_t base;  // I/O port, or physical address
    uint8_t stride; // bytes from one register to the next in device memory; 0: I/O ports
    uint8_t access; // bytes of an access in device memory: 1 or 4, and base is a multiple of it
    uint32_t baud;  // as firmware has set it; 0: unknown, so the divisor is left as it is
};
