// Sorting in place, O(n log n) on any input, without recursion or memory of its own.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Something that can be sorted: elements 0..count-1, known by index only.
struct sortable {
    void *elements;
    const void *context;
    bool (*before)(const struct sortable *sortable, size_t left, size_t right);
    void (*swap)(const struct sortable *sortable, size_t left, size_t right);
};

void sort(const struct sortable *sortable, size_t count);

// The smallest, middle (the lower of two) and largest of some values; all 0 if there are none.
struct spread {
    uint32_t min, median, max;
};

// Sorts the values in place.
struct spread spread_of(uint32_t *values, size_t count);
