// The four functions that GCC expects of any environment, freestanding or not (GCC manual,
// "Standards"). The image brings its own (mem.c); on the host they are the C library's.
#pragma once

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *to, int value, size_t bytes);
int memcmp(const void *left, const void *right, size_t bytes);
