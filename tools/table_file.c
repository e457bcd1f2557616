#include "table_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "line.h"

// Longest file that is read; as the longest table that acpi.c hands out.
#define FILE_MAX_BYTES 0x1000000u

static void tell_problem(void *context, enum severity severity, const char *what,
                         const char *detail)
{
    (void)context;
    char text[LINE_BYTES];
    struct line line;
    record_start(&line, text, sizeof text, severity == SEVERITY_ERROR ? "error" : "warning");
    record_add_text(&line, "what", what);
    record_add_text(&line, "detail", detail);
    puts(text);
}

const struct problems table_problems = {.tell = tell_problem};

void table_tell(enum severity severity, const char *what, const char *detail)
{
    tell_problem(NULL, severity, what, detail);
}

int table_fail(const char *what, const char *detail)
{
    table_tell(SEVERITY_ERROR, what, detail);
    return EXIT_NO_TABLE;
}

uint8_t *table_read_file(const char *path, size_t *bytes)
{
    FILE *file = fopen(path, "rb");
    uint8_t *content = file == NULL ? NULL : malloc(FILE_MAX_BYTES + 1);
    if (content != NULL) {
        *bytes = fread(content, 1, FILE_MAX_BYTES + 1, file);
        if (ferror(file) || *bytes > FILE_MAX_BYTES) {
            errno = ferror(file) ? errno : EFBIG;
            free(content);
            content = NULL;
        }
    }
    if (file != NULL) {
        int reason = errno;
        fclose(file);
        errno = reason;
    }
    return content;
}

int table_finish(const char *program, int code)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    fprintf(stderr, "%s: standard output cannot be written\n", program);
    return EXIT_NO_TABLE;
}
