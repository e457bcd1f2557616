// A heap sort: firmware orders its tables as it likes, and no order of theirs may make a run slow.
// Surprise: it is not stable, so who cares for the order of equals puts their places into the key.

#include "sort.h"

// What is sorted, as the steps below see it.
struct heap {
    uint8_t *elements;
    size_t element_bytes;
    bool (*before)(const void *left, const void *right);
};

static bool comes_before(const struct heap *heap, size_t left, size_t right)
{
    return heap->before(heap->elements + left * heap->element_bytes,
                        heap->elements + right * heap->element_bytes);
}

static void swap(const struct heap *heap, size_t left, size_t right)
{
    uint8_t *a = heap->elements + left * heap->element_bytes;
    uint8_t *b = heap->elements + right * heap->element_bytes;

    for (size_t i = 0; i < heap->element_bytes; i++) {
        const uint8_t moved = a[i];
        a[i] = b[i];
        b[i] = moved;
    }
}

static void sift_down(const struct heap *heap, size_t root, size_t count)
{
    for (size_t child; (child = 2 * root + 1) < count; root = child) {
        if (child + 1 < count && comes_before(heap, child, child + 1))
            child++;
        if (!comes_before(heap, root, child))
            return;
        swap(heap, root, child);
    }
}

void sort(void *elements, size_t count, size_t element_bytes,
          bool (*before)(const void *left, const void *right))
{
    const struct heap heap = {elements, element_bytes, before};

    for (size_t root = count / 2; root-- > 0;)
        sift_down(&heap, root, count);
    for (size_t last = count; last-- > 1;) {
        swap(&heap, 0, last);
        sift_down(&heap, 0, last);
    }
}

static bool value_before(const void *left, const void *right)
{
    return *(const uint32_t *)left < *(const uint32_t *)right;
}

struct spread spread_of(uint32_t *values, size_t count)
{
    if (count == 0)
        return (struct spread){0, 0, 0};
    sort(values, count, sizeof values[0], value_before);
    return (struct spread){values[0], values[(count - 1) / 2], values[count - 1]};
}
