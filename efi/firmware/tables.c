// Firmware's configuration tables, by GUID.

#include "tables.h"

#include "mem.h"

uint64_t table_find(const struct firmware *firmware, const EFI_GUID *guid)
{
    const EFI_SYSTEM_TABLE *system = firmware->system;

    for (UINTN i = 0; i < system->NumberOfTableEntries; i++) {
        const EFI_CONFIGURATION_TABLE *entry = &system->ConfigurationTable[i];
        if (memcmp(&entry->VendorGuid, guid, sizeof *guid) == 0)
            return (uintptr_t)entry->VendorTable;
    }
    return 0;
}

uint64_t table_rsdp(const struct firmware *firmware)
{
    static const EFI_GUID newer = ACPI_20_TABLE_GUID, older = ACPI_TABLE_GUID;
    const uint64_t found = table_find(firmware, &newer);
    return found != 0 ? found : table_find(firmware, &older);
}
