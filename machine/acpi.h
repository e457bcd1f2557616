// From the RSDP to one ACPI table. Every address and every length is taken for a lie until checked.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "phys.h"
#include "problem.h"
#include "status.h"

// The header that every table but the RSDP and the FACS begins with (ACPI specification, "System
// Description Table Header"): signature, length, revision, checksum, and names.
#define ACPI_HEADER_BYTES    36u
#define ACPI_HEADER_LENGTH   4
#define ACPI_HEADER_REVISION 8
#define ACPI_HEADER_CHECKSUM 9
#define ACPI_HEADER_VENDOR   10

struct acpi_table {
    const uint8_t *bytes;
    size_t length; // as far as it could be read
};

// Fields stand at any address, so they are put together from bytes.
static inline uint32_t acpi_load32(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
           (uint32_t)bytes[3] << 24;
}

static inline uint64_t acpi_load64(const uint8_t *bytes)
{
    return acpi_load32(bytes) | (uint64_t)acpi_load32(bytes + 4) << 32;
}

// Where a register is (ACPI 6.5, "Generic Address Structure"); these two spaces are all that we
// can reach.
#define GAS_MEMORY 0u
#define GAS_IO     1u
#define GAS_BYTES  12u

struct gas {
    uint8_t space, bits, offset, access;
    uint64_t address;
};

static inline struct gas acpi_load_gas(const uint8_t *bytes)
{
    return (struct gas){bytes[0], bytes[1], bytes[2], bytes[3], acpi_load64(bytes + 4)};
}

// The checksum of a table: the sum of all its bytes, 0 when it is right.
static inline uint8_t acpi_sum(const uint8_t *bytes, size_t length)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < length; i++)
        sum += bytes[i];
    return (uint8_t)(sum & 0xff);
}

// Finds table number `instance` (from 0) with this 4-character signature, through the XSDT where
// the RSDP has revision 2 and a good one, else through the RSDT. A wrong checksum is a warning, a
// length that reaches too far is cut and told; entries that point nowhere are told and passed over.
// Returns STATUS_OK; STATUS_INVALID (no RSDP there, or no root table behind it: told as an error);
// STATUS_NOT_FOUND (tables read, none has that name: not told).
enum status acpi_find_table(const struct phys *phys, uint64_t rsdp, const char signature[4],
                            uint32_t instance, const struct problems *problems,
                            struct acpi_table *table);
