// Load options: the bytes that firmware hands to an image as its options, and the text in them. To
// UEFI they are bytes and no more (UEFI 2.10, "Load Options"), so they come in whatever form the
// boot entry's maker or the starting program thought of.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "option_word.h"

// No command line or boot entry is longer (a boot entry is a firmware variable, in practice at most
// 32 KiB). A larger size is a lie that would make us read what is not ours.
#define LOAD_OPTIONS_MAX_BYTES 65536u

enum load_options_kind {
    LOAD_OPTIONS_NONE, // nothing that anybody wrote: empty, NULs, or a mark of firmware's own
    LOAD_OPTIONS_TEXT,
    LOAD_OPTIONS_TOO_LONG, // above LOAD_OPTIONS_MAX_BYTES; nothing was read
    LOAD_OPTIONS_SWAPPED,  // UTF-16 big-endian, by its byte-order mark
    LOAD_OPTIONS_WINDOWS,  // those of Windows' boot manager
    LOAD_OPTIONS_RUBBISH,  // no text
};

struct load_options {
    enum load_options_kind kind;
    size_t bytes;     // of the options proper
    bool whole_entry; // they stood in a whole boot entry (EFI_LOAD_OPTION)
    // LOAD_OPTIONS_TEXT. The text is where the bytes are. NULs may stand anywhere in it.
    struct text text;
    bool stray_first, stray_last; // a byte before or behind UTF-16 that is no part of it
};

// Tells what `bytes` bytes at `data` are. Any bytes are survived, at any alignment. Text is 8-bit,
// ASCII or nearly, or UTF-16LE, with or without a byte-order mark and a terminator. What looks
// damaged is only taken for text where a known key with a '=' stands in it: bytes that mean
// something else never have that.
void load_options_find_text(const void *data, size_t bytes, struct load_options *found);

// The next piece of the text from *at on, between NULs; false: nothing but NULs is left. *at is
// moved behind it.
bool load_options_next_piece(struct text text, size_t *at, struct text *piece);

// Is the piece text with a known key and a '=' in it?
bool load_options_has_option(struct text piece);
