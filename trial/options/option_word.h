// A word of an option text as it stands in memory, and a finding about it on its way to a person.
// Surprise: words are never copied or cut, whatever their length; only messages show a bounded
// piece.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "line.h"
#include "problem.h"

// A piece of text where it stands: 8-bit units, or UTF-16LE ones at any alignment. Not terminated.
struct text {
    const uint8_t *bytes;
    size_t units;
    size_t unit_bytes; // 1 or 2
};

// A string of ours.
struct text text_of(const char *string);

uint16_t text_unit(struct text text, size_t index);

// The unit as ASCII, controls included; TEXT_FOREIGN for whatever is none: it stands in no key or
// value.
#define TEXT_FOREIGN '\x7f'
char text_char(struct text text, size_t index);

// The same, a capital letter as its small one.
char text_lower(struct text text, size_t index);

// Does the character stand between words: a blank, a tab, or a line's end?
bool text_is_blank(char c);

// `units` units from `first` on; all must lie inside.
struct text text_slice(struct text text, size_t first, size_t units);

// Index of the first `wanted`, or text.units.
size_t text_find(struct text text, char wanted);

bool text_equals(struct text text, const char *wanted);

// How many characters must be changed, added or removed to make the one of the other, blind to
// case. Of long ones only the beginnings count.
size_t text_distance(struct text text, const char *wanted);

// Do all units, and there is at least one, form a number in `base` (10 or 16; no sign, no prefix)?
// One that needs more than 64 bits is UINT64_MAX.
bool text_to_number(struct text text, uint32_t base, uint64_t *number);

// Where a word stands, and where findings about it go.
struct option_report {
    const char *source;
    size_t line; // 0: a source whose lines have no numbers
    const struct problems *problems;
    size_t findings; // told, and not told any more
    bool error;      // an error was among them
};

// How many findings about one text are told; the rest is counted. A file that is no text at all
// would keep a serial port busy for minutes.
#define OPTION_FINDINGS_MAX 100u

// A finding while its sentence is being written, through `line`.
struct finding {
    struct line line;
    char buffer[LINE_BYTES];
};

// Starts the sentence with the source and the line number.
void finding_start(struct finding *finding, const struct option_report *report);

// Adds the text as a person may see it: made printable, and cut with "..." after 48 characters.
void finding_add(struct finding *finding, struct text text);

// Tells it, or only counts it once OPTION_FINDINGS_MAX have been told.
void finding_tell(struct finding *finding, struct option_report *report, enum severity severity,
                  const char *what);
