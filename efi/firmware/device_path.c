// Device paths are firmware's: no node's length is believed, nor that there is an end.

#include "device_path.h"

#define NODES_MOST 32u // the longest have a dozen
#define NODE_BYTES 4u  // type, subtype, length; UEFI 2.10, section 10.3.1

const uint8_t *device_path_find(const EFI_DEVICE_PATH_PROTOCOL *path,
                                bool (*wanted)(const uint8_t *node, size_t bytes))
{
    for (size_t nodes = 0; nodes < NODES_MOST && !IsDevicePathEndType(path); nodes++) {
        const uint8_t *node = (const uint8_t *)path;
        const size_t bytes = node[2] | (size_t)node[3] << 8;
        if (bytes < NODE_BYTES)
            break;
        if (wanted(node, bytes))
            return node;
        path = (const EFI_DEVICE_PATH_PROTOCOL *)(const void *)(node + bytes);
    }
    return NULL;
}
