// memcpy, memmove, memset and memcmp for the image, which has no C library.
// Surprise: no loop here may look like what it implements: GCC would make it a call to itself.
// String instructions, and barriers in the loops that remain, rule that out under every compiler.
#include "mem.h"

#include <stdint.h>

// On entry to any function the direction flag is clear (System V ABI, "Registers").
static void copy_upwards(void *to, const void *from, size_t bytes)
{
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
}

void *memcpy(void *restrict to, const void *restrict from, size_t bytes)
{
    copy_upwards(to, from, bytes);
    return to;
}

void *memmove(void *to, const void *from, size_t bytes)
{
    uint8_t *target = to;
    const uint8_t *source = from;

    // Unsigned: true as well when the target lies below the source.
    if ((uintptr_t)to - (uintptr_t)from >= bytes) {
        copy_upwards(to, from, bytes);
        return to;
    }
    // Not STD with REP MOVSB: an NMI in between would enter C with the direction flag set.
    while (bytes > 0) {
        bytes--;
        target[bytes] = source[bytes];
        __asm__ volatile("" : : : "memory");
    }
    return to;
}

void *memset(void *to, int value, size_t bytes)
{
    void *target = to;

    __asm__ volatile("rep stosb" : "+D"(target), "+c"(bytes) : "a"(value) : "memory");
    return to;
}

int memcmp(const void *left, const void *right, size_t bytes)
{
    const uint8_t *a = left;
    const uint8_t *b = right;

    for (size_t i = 0; i < bytes; i++) {
        if (a[i] != b[i]) {
            return a[i] < b[i] ? -1 : 1;
        }
        __asm__ volatile("");
    }
    return 0;
}
