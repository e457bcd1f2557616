// The table of options, seen from those who cut texts into words.
#pragma once

#include <stdbool.h>

#include "option_word.h"
#include "options.h"

// Does the word ask for help: `help`, `-h`, `-?` or `--help`?
bool option_word_is_help(struct text word);

// Is the word exactly the name of a key?
bool option_word_is_key(struct text word);

// The number that the key `name`, which must be one of a number or of words, would take from
// `value`. False: it would refuse.
bool option_read_scalar(struct text name, struct text value, uint32_t *number);

// Gives one word its meaning: sets an option, or tells what is wrong and leaves `options` as it
// was.
void option_read_word(struct text word, struct option_report *report, struct options *options);
