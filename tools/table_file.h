// What the host programs that read a raw ACPI table share: the file, and how problems are told.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "problem.h"

// Exit statuses: the table was read; it is damaged, and what could be read was told; there is none.
enum { EXIT_READ = 0, EXIT_DAMAGED = 1, EXIT_NO_TABLE = 2 };

// Problems as records on stdout, as they are on a serial line.
extern const struct problems table_problems;
void table_tell(enum severity severity, const char *what, const char *detail);

// Tells an error. Returns EXIT_NO_TABLE.
int table_fail(const char *what, const char *detail);

// Reads a whole file. NULL, with errno, where it cannot be read or is longer than any table; the
// caller frees.
uint8_t *table_read_file(const char *path, size_t *bytes);

// The program's exit status: `code`, or EXIT_NO_TABLE where standard output could not be written.
int table_finish(const char *program, int code);
