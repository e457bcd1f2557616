// One line of the report, with its memory. Two kinds: a record for programs (docs/contract.md), and
// a sentence for people. Both are printed by CPU 0.
#pragma once

#include "console.h"
#include "line.h"

struct report_line {
    struct line line;
    char buffer[LINE_BYTES];
};

struct line *report_start_record(struct report_line *out, const char *event);
struct line *report_start_sentence(struct report_line *out);
