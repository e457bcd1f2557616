// The texts that options come from, into options.
#pragma once

#include "firmware.h"
#include "options.h"
#include "problem.h"
#include "status.h"

// The option line as somebody left it who edited it before the exit.
struct typed {
    char text[OPTION_WORDS_BYTES];
    size_t length;
    bool given; // in place of the file and the load options
};

// What came of it.
struct configured {
    enum status status; // else STATUS_INVALID, after telling: nobody is to be woken
    bool unread;        // nobody knows what the file says: nothing may be written, either
};

// Problems go to `problems`. The options are filled in any case.
struct configured configure(const struct firmware *firmware, const struct typed *typed,
                            const struct problems *problems, struct options *options);
