// The table of options: one entry says everything about an option, and whoever reads, prints or
// looks up options does it from there. It is data, and knows nobody who reads it.
#pragma once

#include "option_word.h"
#include "options.h"

// How the text behind the '=' is read; option_value.c has a reader for each.
enum option_kind {
    KIND_WORD,   // nothing but the words
    KIND_NUMBER, // or a decimal number
    KIND_PORT,   // or a number in hexadecimal, with 0x, or mmio: or mmio32: and an address
    KIND_SIZE,   // or pixels across and down
    KIND_CPUS,   // or a list of CPU indices and ranges of them
    KIND_FAULTS, // or a list of faults to inject
    KIND_SWEEP,  // or another option and a list of values for it
    OPTION_KINDS,
};

struct choice {
    const char *word;
    uint32_t value;
};

// Words that are kept elsewhere; the value of each is its index.
struct word_list {
    uint32_t (*count)(void);
    const char *(*word)(uint32_t index);
};

// Where in struct options the number goes, or the value of the word.
struct field {
    uint16_t offset;
    uint16_t bytes; // at most 8
};

struct option {
    const char *name;
    const char *alias;   // a second spelling of the name, or NULL
    const char *initial; // the default, as a user would type it
    enum option_kind kind;
    struct field field;
    const struct choice *choices; // up to one whose word is NULL; or NULL: none here,
    struct word_list words;       // but here, if there is a function
    struct {
        uint32_t least, most;
    } range;              // of a number
    enum sweep_key sweep; // SWEEP_NONE: `sweep=` cannot vary it
    const char *help;     // at most 42 characters, with the alias
};

extern const struct option option_table[];
extern const size_t option_count;

// The option with exactly this name or alias, or NULL.
const struct option *option_find(struct text name);

// The option that `key` stands for; `key` is not SWEEP_NONE.
const struct option *option_of_sweep(enum sweep_key key);
