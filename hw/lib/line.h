// Line: one event's text, put together in memory that the caller owns, and the records made of it.
// No allocation, no locale, and of formats only what line_add_format knows: the same code runs on
// the target, on an AP's small stack, and on the host. Text that does not fit is cut and the line
// ends in "...": never silently.
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

// Enough for every sentence and record of ours; a longer detail from outside is cut as said above.
#define LINE_BYTES 512u

struct line {
    char *text;      // NUL-terminated after every call
    size_t capacity; // bytes at text, the NUL included; at least 8
    size_t length;   // characters in text
};

// Starts an empty line in `buffer`. The buffer must outlive the line.
void line_start(struct line *line, char *buffer, size_t capacity);

void line_add_text(struct line *line, const char *text);

// Bytes that may be anything (firmware strings): characters outside 0x20..0x7E become '?'.
void line_add_foreign(struct line *line, const char *text, size_t bytes);

void line_add_decimal(struct line *line, uint64_t value);

// "0x" and lower-case digits, no leading zeros; 0 is "0x0".
void line_add_hex(struct line *line, uint64_t value);

// Formats a whole sentence: `%u` takes a uint64_t in decimal, `%x` a uint64_t as line_add_hex, `%s`
// a string, `%%` a percent sign; nothing else is known. Arguments must be cast to uint64_t. Checked
// by tests, since the compiler cannot; an unknown letter is written as it stands.
void line_add_format(struct line *line, const char *format, ...);
void line_add_arguments(struct line *line, const char *format, va_list arguments);

// Records (docs/contract.md): starts a line with "REVEILLE ev=<event>".
void record_start(struct line *line, char *buffer, size_t capacity, const char *event);

// Adds " key=value". A text value with a blank in it, an empty one, or one with a quote or
// backslash stands in double quotes, with \" and \\ inside; characters outside 0x20..0x7E become
// '?'.
void record_add_text(struct line *line, const char *key, const char *value);
void record_add_decimal(struct line *line, const char *key, uint64_t value);
void record_add_hex(struct line *line, const char *key, uint64_t value);
