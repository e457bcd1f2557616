// Options from text: `key=value` words, blanks or line ends between them, `#` to the end of the
// line a comment. One table in option_table.c names every key, its values, its default and its
// meaning.
#pragma once

#include <stddef.h>

#include "options.h"
#include "problem.h"
#include "status.h"

// Sets every option to its default.
void options_set_defaults(struct options *options);

// Reads `bytes` bytes of text over what `options` holds already; the last word for a key wins.
// ASCII or UTF-8, with or without a byte-order mark, or UTF-16LE as Notepad writes it; no
// terminator needed, any rubbish survived. `source` names the text in problems, for example
// "reveille.cfg".
//
// An unknown key or word is a warning with the nearest known key. A bad value, and a known key
// without a value, is an error, and the option keeps what it had. Everything wrong is told before
// this returns: the first 100 findings one by one, then their number. Returns STATUS_OK, or
// STATUS_INVALID if there was an error.
enum status options_parse(const char *text, size_t bytes, const char *source,
                          const struct problems *problems, struct options *options);

// Reads load options as firmware hands them over, in every form that load_options.h knows. A first
// word that cannot be an option (no '=', not `help`) is the image's own name, as the Shell passes
// it, quoted or not, and is skipped. Words go on behind a NUL if an option is among them. What is
// no text is told as a warning that says what to do, and ignored whole, and so is what is no option
// behind a NUL: some firmware passes binary rubbish there. `data` may be NULL. Findings and the
// answer are as above.
enum status options_parse_load_options(const void *data, size_t bytes,
                                       const struct problems *problems, struct options *options);

// One line of `help` for each key, in the order of the contract, and a last one on how numbers are
// written: calls `tell` with finished lines, without line end, at most 100 characters wide.
void options_help(void (*tell)(void *context, const char *line), void *context);
