// The serial port that is ours, among those that firmware knows.
#pragma once

#include <efi.h>
#include <efipciio.h>

#include "firmware.h"
#include "options.h"
#include "report.h"
#include "uart.h"

// The port, and what has to be given back of the way to it.
struct serial_port {
    struct uart *uart; // the console's
    struct serial_switch {
        EFI_PCI_IO_PROTOCOL *device; // NULL: nothing was switched on
        UINT16 command;              // its command register before
    } on;
};

// Opens the port that the options name, or else the first that answers: the SPCR's, the DBG2's,
// those of firmware's own serial drivers, PCI serial cards, COM1 to COM4, Intel AMT's, and under
// QEMU its debug console. port->uart says where. Reads the memory map. A port that is not taken is
// left as it was. With Secure Boot on the options may name only a port that firmware's tables or
// PCI name, or one of COM1 to COM4; another is refused, and the first that answers opened.
struct serial_found serial_open(struct firmware *firmware, const struct options *options,
                                bool under_qemu, uint64_t ticks_per_us, struct serial_port *port);

// While firmware lives: gives the port back, as it was in every register. What is said after that
// is not heard there. Nothing where none was opened, or twice.
void serial_close(struct serial_port *port);
