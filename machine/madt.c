// The walk through the MADT. An entry is believed if its length has room for what its type says and
// does not reach beyond the table; an unknown type is passed over by its length.
#include "madt.h"

#include "mem.h"

bool madt_has_header(const struct acpi_table *madt)
{
    return madt->length >= MADT_HEADER_BYTES && memcmp(madt->bytes, "APIC", 4) == 0;
}

bool madt_can_be_walked(const struct acpi_table *madt)
{
    return madt_has_header(madt) &&
           acpi_load32(madt->bytes + ACPI_HEADER_LENGTH) >= MADT_HEADER_BYTES;
}

struct madt_walk madt_walk_start(const struct acpi_table *madt)
{
    const uint32_t claimed = acpi_load32(madt->bytes + ACPI_HEADER_LENGTH);
    const size_t end = claimed < madt->length ? claimed : madt->length;
    return (struct madt_walk){.bytes = madt->bytes, .end = end, .next = MADT_HEADER_BYTES};
}

static size_t least_bytes(uint8_t type)
{
    switch (type) {
    case MADT_LOCAL_APIC:
        return MADT_LOCAL_APIC_BYTES;
    case MADT_X2APIC:
        return MADT_X2APIC_BYTES;
    default:
        return MADT_ENTRY_HEADER_BYTES;
    }
}

static enum madt_kind processor_kind(uint32_t flags, uint32_t apic_id, uint32_t broadcast)
{
    if ((flags & MADT_FLAG_ENABLED) == 0)
        return MADT_DISABLED;
    return apic_id == broadcast ? MADT_IMPOSSIBLE : MADT_ENABLED;
}

// Reads an entry that is as long as its type needs.
static struct madt_entry read_entry(const uint8_t *bytes, size_t offset)
{
    struct madt_entry entry = {.offset = offset, .kind = MADT_OTHER};

    switch (bytes[MADT_TYPE]) {
    case MADT_LOCAL_APIC:
        entry.uid = bytes[MADT_LOCAL_APIC_UID];
        entry.apic_id = bytes[MADT_LOCAL_APIC_ID];
        entry.kind = processor_kind(acpi_load32(bytes + MADT_LOCAL_APIC_FLAGS), entry.apic_id,
                                    MADT_LOCAL_APIC_BROADCAST);
        break;
    case MADT_X2APIC:
        entry.uid = acpi_load32(bytes + MADT_X2APIC_UID);
        entry.apic_id = acpi_load32(bytes + MADT_X2APIC_ID);
        entry.kind = processor_kind(acpi_load32(bytes + MADT_X2APIC_FLAGS), entry.apic_id,
                                    MADT_X2APIC_BROADCAST);
        break;
    case MADT_WAKEUP_MAILBOX:
        entry.kind = MADT_MAILBOX;
        break;
    default:
        break;
    }
    return entry;
}

bool madt_walk_next(struct madt_walk *walk, struct madt_entry *entry)
{
    const size_t left = walk->end - walk->next;
    const uint8_t *bytes = walk->bytes + walk->next;

    if (left == 0 || walk->broken)
        return false;
    if (left < MADT_ENTRY_HEADER_BYTES || bytes[MADT_LENGTH] > left ||
        bytes[MADT_LENGTH] < least_bytes(bytes[MADT_TYPE])) {
        walk->broken = true;
        return false;
    }
    *entry = read_entry(bytes, walk->next);
    walk->next += bytes[MADT_LENGTH];
    return true;
}
