// What the fuzzers share: a condition that must hold, the input as a stream, and a listener that
// looks at every sentence it is told. Surprise: an input that is over goes on as zeros for ever, so
// that a short one is a whole one, too, and cutting one at its end keeps its meaning.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "line.h"
#include "problem.h"

// abort() and not assert(): it must not vanish with NDEBUG.
#define MUST(condition)                                                     \
    do {                                                                    \
        if (!(condition)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                        \
        }                                                                   \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// ---- the input ----

struct input {
    const uint8_t *at;
    size_t left;
};

// Fills all of `to`, and returns how many bytes of it the input had.
static inline size_t input_take(struct input *input, void *to, size_t bytes)
{
    const size_t had = bytes < input->left ? bytes : input->left;

    memset(to, 0, bytes);
    if (had > 0)
        memcpy(to, input->at, had);
    input->at += had;
    input->left -= had;
    return had;
}

static inline uint8_t input_u8(struct input *input)
{
    uint8_t value;

    input_take(input, &value, sizeof value);
    return value;
}

static inline uint16_t input_u16(struct input *input)
{
    uint16_t value;

    input_take(input, &value, sizeof value);
    return value;
}

static inline uint32_t input_u32(struct input *input)
{
    uint32_t value;

    input_take(input, &value, sizeof value);
    return value;
}

static inline uint64_t input_u64(struct input *input)
{
    uint64_t value;

    input_take(input, &value, sizeof value);
    return value;
}

// 0..count-1.
static inline size_t input_choice(struct input *input, size_t count)
{
    return input_u8(input) % count;
}

// ---- what was told ----

struct told {
    size_t warnings, errors;
};

// A sentence or a record, as it may go to a serial port.
static inline void must_be_printable(const char *text)
{
    const size_t length = strlen(text);

    MUST(length > 0 && length < LINE_BYTES);
    for (size_t i = 0; i < length; i++)
        MUST(text[i] >= 0x20 && text[i] <= 0x7e);
}

// For struct problems, whose context is a struct told.
static inline void told_add(void *context, enum severity severity, const char *what,
                            const char *detail)
{
    struct told *told = context;

    MUST(what[0] != '\0' && what[strspn(what, "abcdefghijklmnopqrstuvwxyz0123456789-")] == '\0');
    must_be_printable(detail);
    if (severity == SEVERITY_ERROR)
        told->errors++;
    else
        told->warnings++;
}

// ---- what was said ----

// Lines of a console: for a sink whose context is a struct heard.
struct heard {
    size_t sentences, records;
};

static inline bool is_record(const char *line)
{
    return strncmp(line, "REVEILLE ", 9) == 0;
}

// docs/contract.md: blanks between `key=value`, a value in double quotes where it has to be. A line
// that was too long ends in dots, wherever that was.
static inline void must_be_record(const char *line)
{
    const char *at = line + 9;
    const size_t length = strlen(line);

    if (length == LINE_BYTES - 1 && strcmp(line + length - 3, "...") == 0)
        return;
    MUST(strncmp(at, "ev=", 3) == 0);
    for (bool more = true; more; at++) {
        const size_t key = strspn(at, "abcdefghijklmnopqrstuvwxyz0123456789_");
        MUST(key > 0 && at[key] == '=');
        at += key + 1;
        if (*at == '"') {
            for (at++; *at != '"'; at++) {
                at += *at == '\\';
                MUST(*at != '\0');
            }
            at++;
        } else {
            const size_t value = strcspn(at, " \"\\");
            MUST(value > 0);
            at += value;
        }
        more = *at == ' ';
        MUST(more || *at == '\0');
    }
}

static inline void heard_line(void *context, const char *line)
{
    struct heard *heard = context;

    must_be_printable(line);
    if (is_record(line)) {
        must_be_record(line);
        heard->records++;
    } else {
        heard->sentences++;
    }
}
