// Firmware's configuration tables.
#pragma once

#include "firmware.h"

// The address of a configuration table, and of the RSDP; 0 if firmware has none.
uint64_t table_find(const struct firmware *firmware, const EFI_GUID *guid);
uint64_t table_rsdp(const struct firmware *firmware);
