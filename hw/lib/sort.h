// Sorting in place, O(n log n) on any input, without recursion or memory of its own.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Sorts `count` elements of `element_bytes` each, so that none stands behind one that it comes
// before. before(left, right): must *left stand in front of *right? False where they are equal,
// which end up in any order.
void sort(void *elements, size_t count, size_t element_bytes,
          bool (*before)(const void *left, const void *right));

// The smallest, middle (the lower of two) and largest of some values; all 0 if there are none.
struct spread {
    uint32_t min, median, max;
};

// Sorts the values in place.
struct spread spread_of(uint32_t *values, size_t count);
