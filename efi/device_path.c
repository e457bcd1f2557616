// Device paths are firmware's: no node's length is believed, nor that there is an end.

#include "firmware.h"

#define NODES_MOST 32u // the longest have a dozen
#define NODE_BYTES 4u  // type, subtype, length; UEFI 2.10, section 10.3.1

const uint8_t *device_path_find(const EFI_DEVICE_PATH_PROTOCOL *path, uint8_t type, uint8_t subtype,
                                uint32_t least)
{
    for (size_t nodes = 0; nodes < NODES_MOST && !IsDevicePathEndType(path); nodes++) {
        const uint8_t *bytes = (const uint8_t *)path;
        const uint32_t length = bytes[2] | (uint32_t)bytes[3] << 8;
        if (length < NODE_BYTES)
            break;
        if (DevicePathType(path) == type && path->SubType == subtype && length >= least)
            return bytes;
        path = (const EFI_DEVICE_PATH_PROTOCOL *)(const void *)(bytes + length);
    }
    return NULL;
}
