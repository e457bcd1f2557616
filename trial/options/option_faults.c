// The words for faults, and lists of them.
// Surprise: one list replaces the one before it, as every option's last word does; within a list
// all count.
#include "option_faults.h"

#include "mem.h"

static const char *const words[FAULT_KINDS] = {
    [FAULT_NO_INIT] = "no-init",
    [FAULT_NO_SIPI] = "no-sipi",
    [FAULT_LOST_SIPI] = "lost-sipi",
    [FAULT_BAD_VECTOR] = "bad-vector",
    [FAULT_BAD_COPY] = "bad-copy",
    [FAULT_HANG_REAL] = "hang-real",
    [FAULT_HANG_PROTECTED] = "hang-protected",
    [FAULT_HANG_LONG] = "hang-long",
    [FAULT_HANG_C] = "hang-c",
    [FAULT_UD_REAL] = "ud-real",
    [FAULT_UD_PROTECTED] = "ud-protected",
    [FAULT_UD_LONG] = "ud-long",
    [FAULT_UD_C] = "ud-c",
    [FAULT_BAD_STACK] = "bad-stack",
    [FAULT_BAD_ENTRY] = "bad-entry",
    [FAULT_BAD_CR3] = "bad-cr3",
    [FAULT_WRONG_ID] = "wrong-id",
    [FAULT_LATE] = "late",
    [FAULT_MUTE] = "mute",
    [FAULT_GHOST] = "ghost",
    [FAULT_UNLISTED] = "unlisted",
    [FAULT_NMI] = "nmi",
    [FAULT_DUPLICATE] = "duplicate",
    [FAULT_NO_LOW_PAGE] = "no-low-page",
    [FAULT_UD_IDLE] = "ud-idle",
    [FAULT_BAD_JOURNAL] = "bad-journal",
};

const char *fault_word(enum fault_kind kind)
{
    return words[kind];
}

// One item: "late" or "late:3". Returns NULL, or what is wrong with it.
static const char *read_item(struct text item, struct injection *injection)
{
    const size_t colon = text_find(item, ':');
    const struct text word = text_slice(item, 0, colon);
    uint64_t cpu = FAULT_ANY_CPU;

    uint32_t kind = 0;
    while (kind < FAULT_KINDS && !text_equals(word, words[kind]))
        kind++;
    if (kind == FAULT_KINDS)
        return "no fault that can be injected: docs/faults.md lists them";
    if (colon < item.units &&
        (!text_to_number(text_slice(item, colon + 1, item.units - colon - 1), 10, &cpu) ||
         cpu == 0 || cpu >= FAULT_ANY_CPU))
        return "not a fault of an AP: behind the colon stands a CPU index from 1 on";
    *injection = (struct injection){(enum fault_kind)kind, (uint32_t)cpu};
    return NULL;
}

static void tell_bad_item(struct text item, const char *wrong, struct option_report *report)
{
    struct finding finding;
    finding_start(&finding, report);
    line_add_text(&finding.line, "inject=: \"");
    finding_add(&finding, item);
    line_add_format(&finding.line, "\" is %s", wrong);
    finding_tell(&finding, report, SEVERITY_ERROR, "bad-value");
}

void option_read_faults(struct text value, struct option_report *report, struct options *options)
{
    struct injection list[INJECTIONS_MAX];
    size_t count = 0;
    bool good = true;

    for (size_t at = 0, end; at <= value.units; at = end + 1) {
        const struct text rest = text_slice(value, at, value.units - at);
        const struct text item = text_slice(rest, 0, text_find(rest, ','));
        end = at + item.units;
        struct injection one;
        const char *wrong = read_item(item, &one);
        if (wrong == NULL && count == INJECTIONS_MAX)
            wrong = "one fault too many: 32 can be named";
        if (wrong != NULL) {
            tell_bad_item(item, wrong, report);
            good = false;
        } else {
            list[count++] = one;
        }
    }
    if (good) {
        memcpy(options->inject, list, count * sizeof list[0]);
        options->inject_count = count;
    }
}
_Static_assert(INJECTIONS_MAX == 32, "a sentence above names it");
