// Writing a MADT: a new one, or a copy of firmware's with processors added and removed. Pure: the
// memory is the caller's. Surprise: what is written between the start and madt_finish is no table
// yet; its length and checksum come last.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "acpi.h"
#include "inventory.h"
#include "madt.h"

// A table that is being written.
struct madt_draft {
    uint8_t *bytes; // room for all that is going to be added
    size_t length;  // so far
};

// A MADT without entries. Takes MADT_HEADER_BYTES.
struct madt_draft madt_start(uint8_t *bytes);

// A copy of one that can be walked, up to its claimed length, or as far as it could be read. Takes
// madt->length bytes at most.
struct madt_draft madt_copy(const struct acpi_table *madt, uint8_t *bytes);

// Adds a processor behind all others, enabled unless it is CPU_DISABLED. Takes MADT_X2APIC_BYTES.
void madt_add(struct madt_draft *draft, const struct cpu *cpu);

// Removes every enabled entry with this APIC ID.
void madt_remove(struct madt_draft *draft, uint32_t apic_id);

// Sets length and checksum: a sound table.
struct acpi_table madt_finish(const struct madt_draft *draft);

// A sound MADT in `bytes`, of madt_bytes_for(count) bytes, that lists these processors in this
// order.
size_t madt_bytes_for(size_t count);
struct acpi_table madt_make(const struct cpu *cpus, size_t count, uint8_t *bytes);
