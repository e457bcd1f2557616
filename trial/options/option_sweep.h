// A sweep: the value of `sweep=`, which is another key and a list of values for it.
#pragma once

#include "option_word.h"
#include "options.h"

// The word for a key that can be swept ("init_us").
const char *sweep_word(enum sweep_key key);

// Reads a list such as "init_us:0,10,100" into `sweep`. Each value is one that the key itself
// takes. Every bad item is told as an error; then `sweep` stays as it was.
void option_read_sweep(struct text value, struct option_report *report, struct sweep *sweep);

// The options of one setting, 0..sweep.count-1: the same but for the key that is swept.
void sweep_options(const struct options *options, size_t setting, struct options *one);
