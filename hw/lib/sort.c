// A heap sort. Tables that firmware orders as it likes are sorted before the wake, so that no order
// that it could choose makes a run slow.

#include "sort.h"

static void sift_down(const struct sortable *sortable, size_t root, size_t count)
{
    for (size_t child; (child = 2 * root + 1) < count; root = child) {
        if (child + 1 < count && sortable->before(sortable, child, child + 1))
            child++;
        if (!sortable->before(sortable, root, child))
            return;
        sortable->swap(sortable, root, child);
    }
}

void sort(const struct sortable *sortable, size_t count)
{
    for (size_t root = count / 2; root-- > 0;)
        sift_down(sortable, root, count);
    for (size_t last = count; last-- > 1;) {
        sortable->swap(sortable, 0, last);
        sift_down(sortable, 0, last);
    }
}

static bool value_before(const struct sortable *sortable, size_t left, size_t right)
{
    const uint32_t *values = sortable->elements;
    return values[left] < values[right];
}

static void value_swap(const struct sortable *sortable, size_t left, size_t right)
{
    uint32_t *values = sortable->elements;
    const uint32_t moved = values[left];
    values[left] = values[right];
    values[right] = moved;
}

struct spread spread_of(uint32_t *values, size_t count)
{
    const struct sortable sortable = {
        .elements = values, .before = value_before, .swap = value_swap};

    if (count == 0)
        return (struct spread){0, 0, 0};
    sort(&sortable, count);
    return (struct spread){values[0], values[(count - 1) / 2], values[count - 1]};
}
