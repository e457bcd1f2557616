// A console whose lines a test can read, each ended by '\n'. No port, no firmware, no clock: it
// needs nothing of the fake machine. Header only; include cmocka.h before.
#pragma once

#include <string.h>

#include "console.h"

struct heard {
    struct console console;
    char text[32768];
};

static inline void heard_line(void *context, const char *line)
{
    struct heard *heard = context;

    assert_true(strlen(heard->text) + strlen(line) + 2 < sizeof heard->text);
    strcat(strcat(heard->text, line), "\n");
}

// Listens from the start, with nothing heard yet.
static inline struct console *heard_start(struct heard *heard, enum log_level log)
{
    heard->text[0] = '\0';
    console_start(&heard->console, log, 1);
    heard->console.sinks[SINK_JOURNAL] =
        (struct console_sink){.write_line = heard_line, .context = heard};
    return &heard->console;
}
