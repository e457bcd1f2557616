// Values by their kinds, and what others may ask of them. A kind is one line of the table `kinds`.
// Surprise: the words of an option are no kind's business. They are tried first, for all of them.
#include "option_value.h"

#include "mem.h"

// The highest index that can be named. One more must still fit its type: merging ranges relies on
// it.
#define CPU_INDEX_MAX 4294967294u

struct kind {
    // Reads a value that is none of the option's words; as option_read_value.
    void (*read)(const struct assignment *typed, struct option_report *report,
                 struct options *options);
    // What can be typed besides the words, or NULL: a format for the option's range.
    const char *describe;
};

static void store(const struct option *option, uint64_t value, struct options *options)
{
    // The low bytes come first, so this is right for a field of any width.
    memcpy((uint8_t *)options + option->field.offset, &value, option->field.bytes);
}

// ---- what is wrong ----

static void start_finding(const struct assignment *typed, const struct option_report *report,
                          struct finding *finding)
{
    finding_start(finding, report);
    finding_add(finding, typed->name);
    line_add_text(&finding->line, "=");
    finding_add(finding, typed->value);
}

static void tell_bad_value(const struct assignment *typed, const char *remark,
                           struct option_report *report)
{
    struct finding finding;
    start_finding(typed, report, &finding);
    line_add_text(&finding.line, " is not valid: write ");
    option_add_values(typed->option, &finding.line);
    line_add_text(&finding.line, remark);
    finding_tell(&finding, report, SEVERITY_ERROR, "bad-value");
}

static void tell_bad_item(const struct assignment *typed, struct text item, const char *wrong,
                          struct option_report *report)
{
    struct finding finding;
    start_finding(typed, report, &finding);
    line_add_text(&finding.line, ": \"");
    finding_add(&finding, item);
    line_add_format(&finding.line, "\" is %s", wrong);
    finding_tell(&finding, report, SEVERITY_ERROR, "bad-value");
}

// ---- words ----

// The choice at `index`; its word is NULL behind the last one.
static struct choice choice_at(const struct option *option, uint32_t index)
{
    const struct word_list *words = &option->words;
    if (option->choices)
        return option->choices[index];
    if (words->word && index < words->count())
        return (struct choice){words->word(index), index};
    return (struct choice){NULL, 0};
}

static bool read_choice(const struct option *option, struct text value, uint32_t *number)
{
    for (uint32_t i = 0; choice_at(option, i).word; i++) {
        if (text_equals(value, choice_at(option, i).word)) {
            *number = choice_at(option, i).value;
            return true;
        }
    }
    return false;
}

// The word whose value this is, or NULL.
static const char *word_of(const struct option *option, uint32_t value)
{
    uint32_t i = 0;
    while (choice_at(option, i).word && choice_at(option, i).value != value)
        i++;
    return choice_at(option, i).word;
}

static void refuse_word(const struct assignment *typed, struct option_report *report,
                        struct options *options)
{
    (void)options;
    tell_bad_value(typed, "", report);
}

// ---- numbers ----

static bool in_range(const struct option *option, struct text digits, uint32_t base,
                     uint32_t *number)
{
    uint64_t wide;
    if (!text_to_number(digits, base, &wide) || wide < option->range.least ||
        wide > option->range.most)
        return false;
    *number = (uint32_t)wide;
    return true;
}

static void read_number(const struct assignment *typed, struct option_report *report,
                        struct options *options)
{
    uint32_t number;
    if (in_range(typed->option, typed->value, 10, &number))
        store(typed->option, number, options);
    else
        tell_bad_value(typed, ", in decimal", report);
}

// ---- serial ports: "0x2f8", "mmio32:0xfe034000" ----

// The rate of a port that firmware has not set to another one.
#define PORT_BAUD 115200u

static const struct {
    const char *word; // in front of a colon
    uint8_t stride, access;
} port_memories[] = {{"mmio", 1, 1}, {"mmio32", 4, 4}};

// The form in device memory whose word this is, or a stride of 0 if it is none.
static struct uart_place place_of(struct text word)
{
    for (size_t i = 0; i < sizeof port_memories / sizeof port_memories[0]; i++) {
        if (text_equals(word, port_memories[i].word))
            return (struct uart_place){.stride = port_memories[i].stride,
                                       .access = port_memories[i].access};
    }
    return (struct uart_place){0};
}

static bool read_address(struct text value, uint64_t *address)
{
    return value.units > 2 && text_equals(text_slice(value, 0, 2), "0x") &&
           text_to_number(text_slice(value, 2, value.units - 2), 16, address);
}

static bool read_place(const struct option *option, struct text value, struct uart_place *place)
{
    const size_t colon = text_find(value, ':');
    if (colon == value.units) {
        *place = (struct uart_place){.baud = PORT_BAUD};
        return read_address(value, &place->base) && place->base >= option->range.least &&
               place->base <= option->range.most;
    }
    *place = place_of(text_slice(value, 0, colon));
    return place->stride != 0 &&
           read_address(text_slice(value, colon + 1, value.units - colon - 1), &place->base) &&
           uart_place_is_sane(place);
}

static void read_port(const struct assignment *typed, struct option_report *report,
                      struct options *options)
{
    struct uart_place place;
    if (read_place(typed->option, typed->value, &place)) {
        options->serial = SERIAL_PORT;
        options->serial_place = place;
    } else {
        tell_bad_value(typed, "", report);
    }
}

// ---- sizes: "1280x800" ----

static bool read_pixels(struct text digits, uint16_t *pixels)
{
    uint64_t wide;
    if (!text_to_number(digits, 10, &wide) || wide == 0 || wide > UINT16_MAX)
        return false;
    *pixels = (uint16_t)wide;
    return true;
}

static void read_size(const struct assignment *typed, struct option_report *report,
                      struct options *options)
{
    const struct text value = typed->value;
    const size_t cross = text_find(value, 'x');
    uint16_t width, height;
    if (cross < value.units && read_pixels(text_slice(value, 0, cross), &width) &&
        read_pixels(text_slice(value, cross + 1, value.units - cross - 1), &height)) {
        options->screen = SCREEN_MODE;
        options->screen_width = width;
        options->screen_height = height;
    } else {
        tell_bad_value(typed, "", report);
    }
}

// ---- lists ----

// Gives each item between commas to `take`, which returns NULL or what is wrong with it, and tells
// that. Returns true if nothing was wrong.
static bool read_list(const struct assignment *typed, struct text list,
                      const char *(*take)(struct text item, void *context), void *context,
                      struct option_report *report)
{
    bool good = true;
    for (size_t at = 0, end; at <= list.units; at = end + 1) {
        const struct text rest = text_slice(list, at, list.units - at);
        const struct text item = text_slice(rest, 0, text_find(rest, ','));
        end = at + item.units;
        const char *wrong = take(item, context);
        if (wrong) {
            tell_bad_item(typed, item, wrong, report);
            good = false;
        }
    }
    return good;
}

// ---- lists of CPUs: "1,3,5-8" ----

// Ranges that only touch (1-3,4) are merged as well, so that CPU_RANGES_MAX counts gaps.
struct cpu_list {
    struct cpu_range ranges[CPU_RANGES_MAX];
    size_t count;
    bool full; // one did not fit, and that was told
};

// False: the list is full.
static bool add_range(struct cpu_range range, struct cpu_list *list)
{
    struct cpu_range *ranges = list->ranges;
    size_t from = 0;
    while (from < list->count && ranges[from].last + 1 < range.first)
        from++;
    size_t to = from;
    for (; to < list->count && ranges[to].first <= range.last + 1; to++) {
        range.first = ranges[to].first < range.first ? ranges[to].first : range.first;
        range.last = ranges[to].last > range.last ? ranges[to].last : range.last;
    }
    if (from == to && list->count == CPU_RANGES_MAX)
        return false;
    memmove(&ranges[from + 1], &ranges[to], (list->count - to) * sizeof ranges[0]);
    ranges[from] = range;
    list->count = list->count + 1 - (to - from);
    return true;
}

// "5" or "5-8".
static const char *take_range(struct text item, void *context)
{
    struct cpu_list *list = context;
    const size_t dash = text_find(item, '-');
    const struct text last =
        dash < item.units ? text_slice(item, dash + 1, item.units - dash - 1) : item;
    uint64_t first_cpu, last_cpu;
    if (item.units == 0)
        return "empty: write a CPU index or a range between two commas";
    if (!text_to_number(text_slice(item, 0, dash), 10, &first_cpu) ||
        !text_to_number(last, 10, &last_cpu))
        return "neither a decimal number nor a range such as 5-8";
    if (first_cpu > CPU_INDEX_MAX || last_cpu > CPU_INDEX_MAX)
        return "above 4294967294, the highest possible index";
    if (first_cpu > last_cpu)
        return "a range that runs backwards";
    if (first_cpu == 0)
        return "out of range: CPU 0 is the BSP, which is awake already; APs count from 1";
    if (list->full || add_range((struct cpu_range){(uint32_t)first_cpu, (uint32_t)last_cpu}, list))
        return NULL;
    list->full = true;
    return "one separate range too many: the limit is 64";
}
_Static_assert(CPU_RANGES_MAX == 64 && CPU_INDEX_MAX == 4294967294u, "sentences above name these");

static void read_cpus(const struct assignment *typed, struct option_report *report,
                      struct options *options)
{
    struct cpu_list list;
    list.count = 0;
    list.full = false;
    if (read_list(typed, typed->value, take_range, &list, report)) {
        memcpy(options->cpus, list.ranges, list.count * sizeof list.ranges[0]);
        options->cpus_count = list.count;
    }
}

// ---- lists of faults: "late,hang-real:2" ----

struct fault_list {
    struct injection faults[INJECTIONS_MAX];
    size_t count;
};

static const char *take_fault(struct text item, void *context)
{
    struct fault_list *list = context;
    const size_t colon = text_find(item, ':');
    const struct text word = text_slice(item, 0, colon);
    uint64_t cpu = FAULT_ANY_CPU;
    uint32_t kind = 0;
    while (kind < FAULT_KINDS && !text_equals(word, fault_word((enum fault_kind)kind)))
        kind++;
    if (kind == FAULT_KINDS)
        return "not a fault that can be injected: docs/faults.md lists them";
    if (colon < item.units &&
        (!text_to_number(text_slice(item, colon + 1, item.units - colon - 1), 10, &cpu) ||
         cpu == 0 || cpu >= FAULT_ANY_CPU))
        return "not a fault of an AP: write FAULT:CPU, where CPU is an index from 1 on";
    if (list->count == INJECTIONS_MAX)
        return "one fault too many: the limit is 32";
    list->faults[list->count++] = (struct injection){(enum fault_kind)kind, (uint32_t)cpu};
    return NULL;
}
_Static_assert(INJECTIONS_MAX == 32, "a sentence above names it");

static void read_faults(const struct assignment *typed, struct option_report *report,
                        struct options *options)
{
    struct fault_list list;
    list.count = 0;
    if (read_list(typed, typed->value, take_fault, &list, report)) {
        memcpy(options->inject, list.faults, list.count * sizeof list.faults[0]);
        options->inject_count = list.count;
    }
}

// ---- sweeps: "init_us:0,10,100", values that the option itself takes ----

static const char *take_value(struct text item, void *context)
{
    struct sweep *sweep = context;
    const struct option *option = option_of_sweep(sweep->key);
    uint32_t value;
    if (!read_choice(option, item, &value) &&
        (option->kind != KIND_NUMBER || !in_range(option, item, 10, &value)))
        return "not a value of this option: see help";
    if (sweep->key == SWEEP_WAKE && value == SMP_FIRMWARE)
        return "not a wake by Reveille itself: use wake=firmware in a run of its own";
    for (size_t i = 0; i < sweep->count; i++) {
        if (sweep->values[i] == value)
            return "listed twice";
    }
    if (sweep->count == SWEEP_MAX)
        return "one value too many: the limit is 32";
    sweep->values[sweep->count++] = value;
    return NULL;
}
_Static_assert(SWEEP_MAX == 32, "a sentence above names it");

static void tell_no_sweep(const struct assignment *typed, struct option_report *report)
{
    struct finding finding;
    start_finding(typed, report, &finding);
    line_add_text(&finding.line, " is not a sweep: write KEY:VALUE,VALUE with one of the keys");
    for (size_t i = 0; i < option_count; i++) {
        if (option_table[i].sweep != SWEEP_NONE)
            line_add_format(&finding.line, " %s", option_table[i].name);
    }
    finding_tell(&finding, report, SEVERITY_ERROR, "bad-value");
}

static void read_sweep(const struct assignment *typed, struct option_report *report,
                       struct options *options)
{
    const struct text value = typed->value;
    const size_t colon = text_find(value, ':');
    const struct option *swept = option_find(text_slice(value, 0, colon));
    if (!swept || swept->sweep == SWEEP_NONE || colon == value.units) {
        tell_no_sweep(typed, report);
        return;
    }
    struct sweep sweep = {.key = swept->sweep};
    if (read_list(typed, text_slice(value, colon + 1, value.units - colon - 1), take_value, &sweep,
                  report))
        options->sweep = sweep;
}

// ---- kinds ----

static const struct kind kinds[OPTION_KINDS] = {
    [KIND_WORD] = {refuse_word, NULL},
    [KIND_NUMBER] = {read_number, "%u..%u"},
    [KIND_PORT] = {read_port, "%x..%x|mmio[32]:ADDR"},
    [KIND_SIZE] = {read_size, "1280x800"},
    [KIND_CPUS] = {read_cpus, "1,3,5-8"},
    [KIND_FAULTS] = {read_faults, "FAULT[:CPU][,...]"},
    [KIND_SWEEP] = {read_sweep, "init_us:0,10,100"},
};

void option_read_value(const struct assignment *typed, struct option_report *report,
                       struct options *options)
{
    uint32_t number;
    if (read_choice(typed->option, typed->value, &number))
        store(typed->option, number, options);
    else
        kinds[typed->option->kind].read(typed, report, options);
}

void option_add_values(const struct option *option, struct line *line)
{
    const char *others = kinds[option->kind].describe;
    uint32_t i = 0;
    for (; choice_at(option, i).word; i++)
        line_add_format(line, i > 0 ? "|%s" : "%s", choice_at(option, i).word);
    if (others) {
        line_add_text(line, i > 0 ? "|" : "");
        line_add_format(line, others, (uint64_t)option->range.least, (uint64_t)option->range.most);
    }
}

// ---- what others may ask; see options.h ----

bool options_cpu_wanted(const struct options *options, uint32_t cpu)
{
    for (size_t i = 0; i < options->cpus_count; i++) {
        if (cpu >= options->cpus[i].first && cpu <= options->cpus[i].last)
            return true;
    }
    return options->cpus_count == 0;
}

const char *sweep_word(enum sweep_key key)
{
    return option_of_sweep(key)->name;
}

const char *sweep_value(const struct sweep *sweep, size_t setting, char digits[SWEEP_DIGITS])
{
    const char *word = word_of(option_of_sweep(sweep->key), sweep->values[setting]);
    struct line line;
    line_start(&line, digits, SWEEP_DIGITS);
    line_add_decimal(&line, sweep->values[setting]);
    return word ? word : digits;
}

bool sweep_is_number(const struct sweep *sweep, size_t setting)
{
    return !word_of(option_of_sweep(sweep->key), sweep->values[setting]);
}

void sweep_options(const struct options *options, size_t setting, struct options *one)
{
    memcpy(one, options, sizeof *one);
    store(option_of_sweep(options->sweep.key), options->sweep.values[setting], one);
}
