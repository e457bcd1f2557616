// `madt=none|short|cut|nobody|one-more|one-between`: the MADT has another name, is shorter than its
// header, has an entry that reaches beyond its end, lists nobody as enabled, or lists one processor
// that is not there, as the last one or as the second. `mp-services=none|absurd|deaf`: it is not
// found, counts more processors than there can be, or tells nothing of any.

#include "preload.h"

#include "mem.h"
#include "mp_services.h"

#define MADT_ENTRIES 44u

static EFI_LOCATE_PROTOCOL g_locate;

static uint32_t load32(const uint8_t *bytes)
{
    uint32_t value;

    memcpy(&value, bytes, sizeof value);
    return value;
}

// A local APIC as the MADT lists it: type 0, length, UID, APIC ID, Enabled (ACPI 6.5, "Processor
// Local APIC Structure").
#define LOCAL_APIC_BYTES 8u

static void store32(uint8_t *bytes, uint32_t value)
{
    memcpy(bytes, &value, sizeof value);
}

// In memory of ACPI's own, since the old one may have no room: one more local APIC, whose ID and
// UID nobody has, as the entry at this offset.
static EFI_STATUS list_one_more(const struct preload *preload, uint8_t *madt, uint32_t offset)
{
    const uint32_t length = load32(madt + 4);
    uint8_t *longer, *entry, highest = 0;

    for (uint32_t at = MADT_ENTRIES; at + LOCAL_APIC_BYTES <= length && madt[at + 1] > 0;
         at += madt[at + 1]) {
        if (madt[at] == 0 && madt[at + 3] > highest)
            highest = madt[at + 3];
    }
    const EFI_STATUS status = preload->boot->AllocatePool(
        EfiACPIReclaimMemory, length + LOCAL_APIC_BYTES, (void **)&longer);
    if (EFI_ERROR(status))
        return status;
    memcpy(longer, madt, offset);
    memcpy(longer + offset + LOCAL_APIC_BYTES, madt + offset, length - offset);
    entry = longer + offset;
    memset(entry, 0, LOCAL_APIC_BYTES);
    entry[1] = LOCAL_APIC_BYTES;
    entry[2] = entry[3] = (uint8_t)(highest + 1);
    entry[4] = 1;
    store32(longer + 4, length + LOCAL_APIC_BYTES);
    preload_mend_table(longer);
    return preload_replace_table(preload, madt, longer);
}

static EFI_STATUS start_madt(const struct preload *preload, const char *value)
{
    uint8_t *madt = preload_table(preload, "APIC");

    if (!madt)
        return EFI_NOT_FOUND;
    if (preload_is(value, "none"))
        memcpy(madt, "NONE", 4);
    else if (preload_is(value, "short"))
        madt[4] = MADT_ENTRIES - 4, madt[5] = madt[6] = madt[7] = 0;
    else if (preload_is(value, "cut"))
        madt[MADT_ENTRIES + 1] = 0xff;
    else if (preload_is(value, "nobody"))
        for (uint32_t at = MADT_ENTRIES; at + 8 <= load32(madt + 4) && madt[at + 1] > 0;
             at += madt[at + 1]) {
            if (madt[at] == 0) // a local APIC
                madt[at + 4] = 0;
        }
    else if (preload_is(value, "one-more"))
        return list_one_more(preload, madt, load32(madt + 4));
    else if (preload_is(value, "one-between"))
        return list_one_more(preload, madt, MADT_ENTRIES + madt[MADT_ENTRIES + 1]);
    else
        return EFI_INVALID_PARAMETER;
    return EFI_SUCCESS;
}

static bool is_mp_services(const EFI_GUID *guid)
{
    static const EFI_GUID wanted = MP_SERVICES_GUID;

    return memcmp(guid, &wanted, sizeof wanted) == 0;
}

static EFI_STATUS EFIAPI locate_none(EFI_GUID *guid, VOID *registration, VOID **interface)
{
    return is_mp_services(guid) ? EFI_NOT_FOUND : g_locate(guid, registration, interface);
}

static EFI_STATUS EFIAPI count_too_many(struct mp_services *self, UINTN *count, UINTN *enabled)
{
    (void)self;
    *count = *enabled = (1ull << 32) + 4;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI tell_nothing(struct mp_services *self, UINTN number,
                                      struct mp_information *information)
{
    (void)self, (void)number, (void)information;
    return EFI_DEVICE_ERROR;
}

static EFI_STATUS start_mp_services(const struct preload *preload, const char *value)
{
    struct mp_services *services = mp_services_find(preload->boot);

    if (!services)
        return EFI_NOT_FOUND;
    if (preload_is(value, "none"))
        g_locate = (EFI_LOCATE_PROTOCOL)(uintptr_t)preload_hook(
            preload, &preload->boot->LocateProtocol, (void *)(uintptr_t)locate_none);
    else if (preload_is(value, "absurd"))
        services->get_number_of_processors = count_too_many;
    else if (preload_is(value, "deaf"))
        services->get_processor_info = tell_nothing;
    else
        return EFI_INVALID_PARAMETER;
    return EFI_SUCCESS;
}

const struct behaviour behaviour_madt = {"madt", start_madt};
const struct behaviour behaviour_mp_services = {"mp-services", start_mp_services};
