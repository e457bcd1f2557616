// A QR code (ISO/IEC 18004): bytes, error correction level L, the smallest of versions 1 to 9.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QR_TEXT_MOST 230u // bytes that version 9 holds
#define QR_SIDE_MOST 53u  // modules

struct qr {
    uint32_t side;                               // modules
    uint8_t modules[QR_SIDE_MOST][QR_SIDE_MOST]; // [y][x]; bit 0: dark; bit 1: of a pattern
};

// Makes the code of `length` bytes. False: too long.
bool qr_make(struct qr *qr, const char *text, size_t length);

bool qr_is_dark(const struct qr *qr, uint32_t x, uint32_t y);
