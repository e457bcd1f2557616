// Offsets and bits of ACPI 6.5, table 5.9 "FADT Format".

#include "fadt.h"

#define PM1A_EVENT   56u
#define PM_TIMER     76u
#define EVENT_LENGTH 88u
#define BOOT_ARCH    109u
#define FLAGS        112u
#define RESET_REG    116u // a Generic Address Structure
#define RESET_VALUE  128u

#define BOOT_ARCH_8042 (1u << 1)

#define FLAG_NO_FIXED_POWER_BUTTON (1u << 4)
#define FLAG_RESET                 (1u << 10)
#define FLAG_HARDWARE_REDUCED      (1u << 20) // there are no PM1 registers

// Of a Generic Address Structure.
#define GAS_SPACE   0u
#define GAS_BITS    1u
#define GAS_OFFSET  2u
#define GAS_ADDRESS 4u

// The first revision with a reset register and the flags of boot architecture: ACPI 2.0.
#define REVISION_2 3u

#define PORT_MAX 0xffffu

static uint16_t port_at(const struct acpi_table *table, uint32_t offset)
{
    if (table->length < offset + 4)
        return 0;
    const uint32_t port = acpi_load32(table->bytes + offset);
    return port <= PORT_MAX ? (uint16_t)port : 0;
}

static void read_power_button(const struct acpi_table *table, uint32_t flags, struct fadt *fadt)
{
    const uint16_t status = port_at(table, PM1A_EVENT);
    const uint8_t length = table->bytes[EVENT_LENGTH]; // status words, then as many enable words

    if (status == 0 || length < 4 || length % 2 != 0 || status > PORT_MAX - length ||
        (flags & (FLAG_NO_FIXED_POWER_BUTTON | FLAG_HARDWARE_REDUCED)) != 0)
        return;
    fadt->power_status = status;
    fadt->power_enable = (uint16_t)(status + length / 2);
}

static void read_reset(const struct acpi_table *table, struct fadt *fadt)
{
    const uint8_t *gas = table->bytes + RESET_REG;
    const uint64_t address =
        acpi_load32(gas + GAS_ADDRESS) | (uint64_t)acpi_load32(gas + GAS_ADDRESS + 4) << 32;
    const uint8_t space = gas[GAS_SPACE];

    fadt->can_reset = gas[GAS_BITS] == 8 && gas[GAS_OFFSET] == 0 && address != 0 &&
                      (space == GAS_MEMORY || (space == GAS_IO && address <= PORT_MAX));
    fadt->reset_space = space;
    fadt->reset_address = address;
    fadt->reset_value = table->bytes[RESET_VALUE];
}

void fadt_read(const struct acpi_table *table, struct fadt *fadt)
{
    *fadt = (struct fadt){.pm_timer = port_at(table, PM_TIMER)};
    if (table->length < FLAGS + 4)
        return;
    const uint32_t flags = acpi_load32(table->bytes + FLAGS);
    read_power_button(table, flags, fadt);
    if (table->bytes[ACPI_HEADER_REVISION] < REVISION_2)
        return;
    fadt->has_8042 = (table->bytes[BOOT_ARCH] & BOOT_ARCH_8042) != 0;
    if (table->length > RESET_VALUE && (flags & FLAG_RESET) != 0)
        read_reset(table, fadt);
}
