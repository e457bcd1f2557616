// The Fixed ACPI Description Table, as far as we ask it (ACPI 6.5, "Fixed ACPI Description Table"):
// the PM timer, how a machine is reset, and what a person can touch.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "acpi.h"

// The FADT of ACPI 1.0. A shorter one is damaged, and nothing is read of it.
#define FADT_BYTES_LEAST 116u

struct fadt {
    uint16_t pm_timer;     // I/O port, 0: none
    uint16_t pm1a_event;   // the same of PM1a's block of events
    bool has_8042;         // a keyboard controller at ports 0x60 and 0x64; a PC has one that is
                           // older than the flag which tells
    uint16_t power_status; // ports of PM1's status and enable words, with the power button's bit;
    uint16_t power_enable; // 0: no such button
    bool can_reset;        // by writing reset_value there
    uint8_t reset_space;   // GAS_MEMORY or GAS_IO
    uint64_t reset_address;
    uint8_t reset_value;
};

// What is not within the table's length, or contradicts itself, is taken for absent.
void fadt_read(const struct acpi_table *table, struct fadt *fadt);
