// Device paths: what firmware says of where a device is, or which kind it is.
#pragma once

#include "firmware.h"

// The first node that is wanted, by its type, subtype and content; NULL: none.
const uint8_t *device_path_find(const EFI_DEVICE_PATH_PROTOCOL *path,
                                bool (*wanted)(const uint8_t *node, size_t bytes));
