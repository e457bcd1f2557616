// Problem: one finding about the world that a person should read, and where findings go.
// Pure code tells problems as it meets them and goes on, so that one run lists everything wrong.
#pragma once

enum severity {
    SEVERITY_WARNING, // told, and the run goes on
    SEVERITY_ERROR,   // told; before the exit nothing is woken
};

// A listener for problems. `what` is a short word with hyphens (no-low-page), `detail` a sentence
// with the numbers and, where there is one, what to do. Both are valid during the call only.
struct problems {
    void (*tell)(void *context, enum severity severity, const char *what, const char *detail);
    void *context;
};

// A listener that drops everything: for a table that may well be missing.
static inline void problems_ignore(void *context, enum severity severity, const char *what,
                                   const char *detail)
{
    (void)context, (void)severity, (void)what, (void)detail;
}
