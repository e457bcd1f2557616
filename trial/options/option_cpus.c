// Reads and asks lists of CPU indices. The list is kept sorted and merged while it is read.
// Surprise: ranges that only touch (1-3,4) are merged as well, so that CPU_RANGES_MAX counts gaps.
#include "option_cpus.h"

#include "mem.h"

// Merges a range into a sorted list, whose ranges neither overlap nor touch. False: the list is
// full.
static bool ranges_add(struct cpu_range ranges[CPU_RANGES_MAX], size_t *count,
                       struct cpu_range range)
{
    size_t from = 0;
    while (from < *count && ranges[from].last + 1 < range.first) {
        from++;
    }
    size_t to = from;
    for (; to < *count && ranges[to].first <= range.last + 1; to++) {
        range.first = ranges[to].first < range.first ? ranges[to].first : range.first;
        range.last = ranges[to].last > range.last ? ranges[to].last : range.last;
    }
    if (from == to && *count == CPU_RANGES_MAX) {
        return false;
    }
    memmove(&ranges[from + 1], &ranges[to], (*count - to) * sizeof(ranges[0]));
    ranges[from] = range;
    *count = *count + 1 - (to - from);
    return true;
}

// One item of a list: "5" or "5-8". Returns NULL, or what is wrong with it.
static const char *read_range(struct text item, struct cpu_range *range)
{
    size_t dash = text_find(item, '-');
    struct text last = dash < item.units ? text_slice(item, dash + 1, item.units - dash - 1) : item;
    uint64_t first_cpu, last_cpu;
    if (item.units == 0) {
        return "no index: an item is empty";
    }
    if (!text_to_number(text_slice(item, 0, dash), 10, &first_cpu) ||
        !text_to_number(last, 10, &last_cpu)) {
        return "neither a decimal number nor a range such as 5-8";
    }
    if (first_cpu > CPU_INDEX_MAX || last_cpu > CPU_INDEX_MAX) {
        return "beyond 4294967294, the highest index there can be";
    }
    if (first_cpu > last_cpu) {
        return "a range that runs backwards";
    }
    if (first_cpu == 0) {
        return "no AP: CPU 0 is the BSP, awake already; the others count from 1";
    }
    *range = (struct cpu_range){(uint32_t)first_cpu, (uint32_t)last_cpu};
    return NULL;
}

static void tell_bad_item(struct text value, struct text item, const char *wrong,
                          struct option_report *report)
{
    struct finding finding;
    finding_start(&finding, report);
    line_add_text(&finding.line, "cpus=");
    finding_add(&finding, value);
    line_add_text(&finding.line, ": \"");
    finding_add(&finding, item);
    line_add_format(&finding.line, "\" is %s", wrong);
    finding_tell(&finding, report, SEVERITY_ERROR, "bad-value");
}

void option_read_cpus(struct text value, struct option_report *report, struct options *options)
{
    struct cpu_range ranges[CPU_RANGES_MAX];
    size_t count = 0;
    bool good = true;
    bool full = false;
    for (size_t at = 0, end; at <= value.units; at = end + 1) {
        struct text rest = text_slice(value, at, value.units - at);
        struct text item = text_slice(rest, 0, text_find(rest, ','));
        end = at + item.units;
        struct cpu_range range = {0, 0};
        const char *wrong = read_range(item, &range);
        if (wrong == NULL && !full && !ranges_add(ranges, &count, range)) {
            full = true;
            wrong = "one separate range too many: 64 can be named";
        }
        if (wrong != NULL) {
            tell_bad_item(value, item, wrong, report);
            good = false;
        }
    }
    if (good) {
        memcpy(options->cpus, ranges, count * sizeof(ranges[0]));
        options->cpus_count = count;
    }
}
_Static_assert(CPU_RANGES_MAX == 64 && CPU_INDEX_MAX == 4294967294u, "sentences above name these");

bool options_cpu_wanted(const struct options *options, uint32_t cpu)
{
    for (size_t i = 0; i < options->cpus_count; i++) {
        if (cpu >= options->cpus[i].first && cpu <= options->cpus[i].last) {
            return true;
        }
    }
    return options->cpus_count == 0;
}
