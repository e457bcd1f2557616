// Offsets and bits of ACPI 6.5, table 5.9 "FADT Format". Surprise: a block of registers stands in
// two places, a 32-bit field since ACPI 1.0 and a Generic Address Structure (X_) since 2.0, and new
// machines leave the older field 0.

#include "fadt.h"

#define PM1A_EVENT   56u
#define PM_TIMER     76u
#define EVENT_LENGTH 88u
#define TIMER_LENGTH 91u
#define BOOT_ARCH    109u
#define FLAGS        112u
#define RESET_REG    116u // struct gas
#define RESET_VALUE  128u
#define X_PM1A_EVENT 148u // and these
#define X_PM_TIMER   208u

#define BOOT_ARCH_8042 (1u << 1)

#define FLAG_NO_FIXED_POWER_BUTTON (1u << 4)
#define FLAG_RESET                 (1u << 10)
#define FLAG_HARDWARE_REDUCED      (1u << 20) // there are neither PM1 registers nor a PM timer

// The first revision with a reset register and the flags of boot architecture: ACPI 2.0.
#define REVISION_2 3u

#define PORT_MAX    0xffffu
#define TIMER_BYTES 4u // of a PM timer, where there is one
#define EVENT_BYTES 4u // of PM1's events at least: a status word and an enable word

// The I/O port of a block of registers, 0: there is none. Of the two addresses the X_ one goes
// first, as the specification has it, where it is a port at all. Its width is not asked, since the
// block has a length field of its own.
static uint16_t block_at(const struct acpi_table *table, uint32_t offset, uint32_t extended)
{
    if (table->length >= extended + GAS_BYTES) {
        const struct gas gas = acpi_load_gas(table->bytes + extended);
        if (gas.space == GAS_IO && gas.offset == 0 && gas.address != 0 && gas.address <= PORT_MAX)
            return (uint16_t)gas.address;
    }
    const uint32_t port = acpi_load32(table->bytes + offset);
    return port <= PORT_MAX ? (uint16_t)port : 0;
}

// The registers of ACPI hardware, which a machine without it may still name.
static void read_blocks(const struct acpi_table *table, uint32_t flags, struct fadt *fadt)
{
    const uint16_t timer = block_at(table, PM_TIMER, X_PM_TIMER);
    const uint16_t event = block_at(table, PM1A_EVENT, X_PM1A_EVENT);
    const uint8_t length = table->bytes[EVENT_LENGTH]; // status words, then as many enable words

    if (table->bytes[TIMER_LENGTH] == TIMER_BYTES && timer <= PORT_MAX - (TIMER_BYTES - 1))
        fadt->pm_timer = timer;
    fadt->pm1a_event = event;
    if (event == 0 || length < EVENT_BYTES || length % 2 != 0 || event > PORT_MAX - length ||
        (flags & FLAG_NO_FIXED_POWER_BUTTON) != 0)
        return;
    fadt->power_status = event;
    fadt->power_enable = (uint16_t)(event + length / 2);
}

static void read_reset(const struct acpi_table *table, struct fadt *fadt)
{
    const struct gas gas = acpi_load_gas(table->bytes + RESET_REG);

    fadt->can_reset = gas.bits == 8 && gas.offset == 0 && gas.address != 0 &&
                      (gas.space == GAS_MEMORY || (gas.space == GAS_IO && gas.address <= PORT_MAX));
    fadt->reset_space = gas.space;
    fadt->reset_address = gas.address;
    fadt->reset_value = table->bytes[RESET_VALUE];
}

void fadt_read(const struct acpi_table *table, struct fadt *fadt)
{
    *fadt = (struct fadt){.pm_timer = 0};
    if (table->length < FADT_BYTES_LEAST)
        return;
    const uint32_t flags = acpi_load32(table->bytes + FLAGS);
    const bool old = table->bytes[ACPI_HEADER_REVISION] < REVISION_2;
    if ((flags & FLAG_HARDWARE_REDUCED) == 0)
        read_blocks(table, flags, fadt);
    fadt->has_8042 = old || (table->bytes[BOOT_ARCH] & BOOT_ARCH_8042) != 0;
    if (!old && table->length > RESET_VALUE && (flags & FLAG_RESET) != 0)
        read_reset(table, fadt);
}
