// A listener for problems that keeps what it is told, for tests that ask what a person would read.
// Header only.
#pragma once

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "problem.h"

#define TOLD_MAX 64u

struct told {
    size_t count; // may be more than are kept
    struct {
        enum severity severity;
        char what[32];
        char detail[512];
    } lines[TOLD_MAX];
};

static inline void told_keep(void *context, enum severity severity, const char *what,
                             const char *detail)
{
    struct told *told = context;
    if (told->count < TOLD_MAX) {
        told->lines[told->count].severity = severity;
        snprintf(told->lines[told->count].what, sizeof told->lines[0].what, "%s", what);
        snprintf(told->lines[told->count].detail, sizeof told->lines[0].detail, "%s", detail);
    }
    told->count++;
}

// Forgets what was told, and listens.
static inline struct problems told_listen(struct told *told)
{
    memset(told, 0, sizeof *told);
    return (struct problems){told_keep, told};
}

// How many of the kept problems carry this word, and have this text somewhere in their detail.
static inline size_t told_times(const struct told *told, const char *what, const char *text)
{
    size_t times = 0;
    for (size_t i = 0; i < told->count && i < TOLD_MAX; i++)
        times += strcmp(told->lines[i].what, what) == 0 && strstr(told->lines[i].detail, text);
    return times;
}
