// Writing a MADT. Every processor is added as type 9, which has room for any ID and UID.
#include "madt_edit.h"

#include "mem.h"

static void store32(uint8_t *bytes, uint32_t value)
{
    for (size_t i = 0; i < sizeof value; i++)
        bytes[i] = (uint8_t)(value >> 8 * i);
}

struct madt_draft madt_start(uint8_t *bytes)
{
    memset(bytes, 0, MADT_HEADER_BYTES);
    memcpy(bytes, "APIC", 4);
    return (struct madt_draft){bytes, MADT_HEADER_BYTES};
}

struct madt_draft madt_copy(const struct acpi_table *madt, uint8_t *bytes)
{
    const size_t length = madt_walk_start(madt).end;

    memcpy(bytes, madt->bytes, length);
    return (struct madt_draft){bytes, length};
}

void madt_add(struct madt_draft *draft, const struct cpu *cpu)
{
    uint8_t *entry = draft->bytes + draft->length;

    memset(entry, 0, MADT_X2APIC_BYTES);
    entry[MADT_TYPE] = MADT_X2APIC;
    entry[MADT_LENGTH] = MADT_X2APIC_BYTES;
    store32(entry + MADT_X2APIC_ID, cpu->apic_id);
    store32(entry + MADT_X2APIC_FLAGS, cpu->listing == CPU_DISABLED ? 0 : MADT_FLAG_ENABLED);
    store32(entry + MADT_X2APIC_UID, cpu->uid);
    draft->length += MADT_X2APIC_BYTES;
}

void madt_remove(struct madt_draft *draft, uint32_t apic_id)
{
    struct madt_walk walk = {draft->bytes, draft->length, MADT_HEADER_BYTES, false};
    struct madt_entry entry;

    while (madt_walk_next(&walk, &entry)) {
        if (entry.kind != MADT_ENABLED || entry.apic_id != apic_id)
            continue;
        memmove(draft->bytes + entry.offset, draft->bytes + walk.next, walk.end - walk.next);
        walk.end -= walk.next - entry.offset;
        walk.next = entry.offset;
    }
    draft->length = walk.end;
}

struct acpi_table madt_finish(const struct madt_draft *draft)
{
    store32(draft->bytes + ACPI_HEADER_LENGTH, (uint32_t)draft->length);
    draft->bytes[ACPI_HEADER_CHECKSUM] = 0;
    draft->bytes[ACPI_HEADER_CHECKSUM] = (uint8_t)-acpi_sum(draft->bytes, draft->length);
    return (struct acpi_table){draft->bytes, draft->length};
}

size_t madt_bytes_for(size_t count)
{
    return MADT_HEADER_BYTES + count * MADT_X2APIC_BYTES;
}

struct acpi_table madt_make(const struct cpu *cpus, size_t count, uint8_t *bytes)
{
    struct madt_draft draft = madt_start(bytes);

    for (size_t i = 0; i < count; i++)
        madt_add(&draft, &cpus[i]);
    return madt_finish(&draft);
}
