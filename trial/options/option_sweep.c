// Lists of values for another key. Surprise: what a value may be is asked of that key, so a sweep
// takes what the key takes, words included.
#include "option_sweep.h"

#include "mem.h"
#include "option_table.h"

#define SWEEP_KEYS 4u

static const char *const words[SWEEP_KEYS] = {
    [SWEEP_INIT_US] = "init_us",
    [SWEEP_SIPI_US] = "sipi_us",
    [SWEEP_SIPIS] = "sipis",
    [SWEEP_WAKE] = "wake",
};

const char *sweep_word(enum sweep_key key)
{
    return words[key];
}

static void tell_bad(struct text item, const char *wrong, struct option_report *report)
{
    struct finding finding;
    finding_start(&finding, report);
    line_add_text(&finding.line, "sweep=: \"");
    finding_add(&finding, item);
    line_add_format(&finding.line, "\" is %s", wrong);
    finding_tell(&finding, report, SEVERITY_ERROR, "bad-value");
}

// Adds one value. Returns NULL, or what is wrong with it.
static const char *add_value(struct text name, struct text item, struct sweep *sweep)
{
    uint32_t value;

    if (!option_read_scalar(name, item, &value))
        return "no value that this key takes: see help";
    if (sweep->key == SWEEP_WAKE && value == WAKE_FIRMWARE)
        return "no message of ours: use wake=firmware in a run of its own";
    for (size_t i = 0; i < sweep->count; i++) {
        if (sweep->values[i] == value)
            return "named twice";
    }
    if (sweep->count == SWEEP_MAX)
        return "one value too many: 32 can be named";
    sweep->values[sweep->count++] = value;
    return NULL;
}

void option_read_sweep(struct text value, struct option_report *report, struct sweep *sweep)
{
    const size_t colon = text_find(value, ':');
    const struct text name = text_slice(value, 0, colon);
    struct sweep list = {0};
    bool good = true;
    uint32_t key = 0;

    while (key < SWEEP_KEYS && !text_equals(name, words[key]))
        key++;
    if (key == SWEEP_KEYS || colon == value.units) {
        tell_bad(value, "no sweep: write KEY:VALUE,VALUE with init_us, sipi_us, sipis or wake",
                 report);
        return;
    }
    list.key = (enum sweep_key)key;
    for (size_t at = colon + 1, end; at <= value.units; at = end + 1) {
        const struct text rest = text_slice(value, at, value.units - at);
        const struct text item = text_slice(rest, 0, text_find(rest, ','));
        end = at + item.units;
        const char *wrong = add_value(name, item, &list);
        if (wrong != NULL) {
            tell_bad(item, wrong, report);
            good = false;
        }
    }
    if (good)
        *sweep = list;
}
_Static_assert(SWEEP_MAX == 32, "a sentence above names it");

void sweep_options(const struct options *options, size_t setting, struct options *one)
{
    const uint32_t value = options->sweep.values[setting];

    memcpy(one, options, sizeof *one);
    switch (options->sweep.key) {
    case SWEEP_INIT_US:
        one->init_us = value;
        break;
    case SWEEP_SIPI_US:
        one->sipi_us = value;
        break;
    case SWEEP_SIPIS:
        one->sipis = value;
        break;
    case SWEEP_WAKE:
        one->wake = (enum wake_strategy)value;
        break;
    }
}
