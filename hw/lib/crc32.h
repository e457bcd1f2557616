// CRC-32 as ISO-HDLC has it: polynomial 0x04C11DB7 reflected.
#pragma once

#include <stddef.h>
#include <stdint.h>

// Goes on from the CRC of what stood before these bytes; 0 for the beginning.
uint32_t crc32_add(uint32_t crc, const void *bytes, size_t count);
