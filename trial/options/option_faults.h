// Lists of faults to inject: the value of `inject=`.
#pragma once

#include "injection.h"
#include "option_word.h"
#include "options.h"

// The word for a fault ("hang-real").
const char *fault_word(enum fault_kind kind);

// Reads a list such as "late,hang-real:2" into options->inject. Every bad item is told as an error;
// then `options` stays as it was.
void option_read_faults(struct text value, struct option_report *report, struct options *options);
