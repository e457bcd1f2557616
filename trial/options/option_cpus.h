// Lists of CPU indices: the value of `cpus=`.
#pragma once

#include "option_word.h"
#include "options.h"

// The highest index that can be named. One more must still fit its type: merging ranges relies on
// it.
#define CPU_INDEX_MAX 4294967294u

// Reads a list such as "1,3,5-8" into options->cpus. Every bad item is told as an error; then
// `options` stays as it was.
void option_read_cpus(struct text value, struct option_report *report, struct options *options);
