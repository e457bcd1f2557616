// The MADT: its layout (ACPI 6.5, "Multiple APIC Description Table (MADT)"), and the walk through
// its entries, which read the same whoever asks. What is made of them stands in inventory.h, and
// how a table is written in madt_edit.h. Surprise: Online Capable is never looked at. It says that
// a processor could be plugged in one day; only Enabled says that one is there.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "acpi.h"

#define MADT_HEADER_BYTES 44u // header, local APIC address, flags; then the entries

// Every entry begins with its type and its length.
#define MADT_TYPE               0
#define MADT_LENGTH             1
#define MADT_ENTRY_HEADER_BYTES 2u

#define MADT_LOCAL_APIC           0x00
#define MADT_LOCAL_APIC_BYTES     8u
#define MADT_LOCAL_APIC_UID       2
#define MADT_LOCAL_APIC_ID        3
#define MADT_LOCAL_APIC_FLAGS     4
#define MADT_LOCAL_APIC_BROADCAST 0xffu

#define MADT_X2APIC           0x09
#define MADT_X2APIC_BYTES     16u
#define MADT_X2APIC_ID        4
#define MADT_X2APIC_FLAGS     8
#define MADT_X2APIC_UID       12
#define MADT_X2APIC_BROADCAST UINT32_MAX

#define MADT_WAKEUP_MAILBOX 0x10

#define MADT_FLAG_ENABLED 1u // of both kinds of processor

enum madt_kind {
    MADT_OTHER,
    MADT_ENABLED,
    MADT_DISABLED,
    MADT_IMPOSSIBLE, // enabled, with the ID that addresses everyone
    MADT_MAILBOX,
};

struct madt_entry {
    size_t offset; // in the table
    enum madt_kind kind;
    uint32_t apic_id, uid; // of ENABLED, DISABLED and IMPOSSIBLE
};

// A walk over the entries. It stops for good at an entry whose length cannot be true: behind it
// nobody knows where the next one begins.
struct madt_walk {
    const uint8_t *bytes;
    size_t end; // as the table says, or as far as it could be read
    size_t next;
    bool broken; // `next` is the offset of the entry that broke it
};

// Is this a MADT, with all of its header? What it claims of its length is not looked at.
bool madt_has_header(const struct acpi_table *madt);

// And does it claim a length that has room for the header? Only then may it be walked.
bool madt_can_be_walked(const struct acpi_table *madt);

struct madt_walk madt_walk_start(const struct acpi_table *madt);

// Steps to the next entry, types in any order and mixed. False at the end, and where the walk is
// broken.
bool madt_walk_next(struct madt_walk *walk, struct madt_entry *entry);
