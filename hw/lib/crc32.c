// Bit by bit: a few kilobytes in all, outside of what is timed, need no table.

#include "crc32.h"

#define POLYNOMIAL 0xedb88320u // reflected

uint32_t crc32_add(uint32_t crc, const void *bytes, size_t count)
{
    const uint8_t *byte = bytes;

    crc = ~crc;
    for (size_t i = 0; i < count; i++) {
        crc ^= byte[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? POLYNOMIAL : 0);
    }
    return ~crc;
}
