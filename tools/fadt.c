// fadt: the host program that says what Reveille reads of a FADT dump, with Reveille's own parser.
//     fadt FILE
// Exit 0: read; 1: damaged, with what could be read; 2: no FADT, or nothing to read.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fadt.h"
#include "line.h"
#include "table_file.h"

static const char *reset_name(const struct fadt *fadt)
{
    if (!fadt->can_reset)
        return "none";
    return fadt->reset_space == GAS_IO ? "io" : "memory";
}

static void print_fadt(const struct acpi_table *table)
{
    char text[LINE_BYTES];
    struct line line;
    struct fadt fadt;
    fadt_read(table, &fadt);
    record_start(&line, text, sizeof text, "fadt");
    record_add_decimal(&line, "revision", table->bytes[ACPI_HEADER_REVISION]);
    record_add_hex(&line, "pm1a_event", fadt.pm1a_event);
    record_add_hex(&line, "pm_timer", fadt.pm_timer);
    record_add_text(&line, "power_button", fadt.power_status != 0 ? "fixed" : "none");
    record_add_text(&line, "i8042", fadt.has_8042 ? "yes" : "no");
    record_add_text(&line, "reset", reset_name(&fadt));
    puts(text);
}

// The file is the table, up to the length that the table claims.
static int examine(struct acpi_table *table)
{
    if (table->length < ACPI_HEADER_BYTES || memcmp(table->bytes, "FACP", 4) != 0)
        return table_fail("no-fadt", "the file does not begin with a table of signature FACP");
    const uint32_t claimed = acpi_load32(table->bytes + ACPI_HEADER_LENGTH);
    if (claimed < ACPI_HEADER_BYTES)
        return table_fail("no-fadt", "the table says that it is shorter than its own header");
    const bool cut = claimed > table->length;
    if (cut)
        table_tell(SEVERITY_WARNING, "fadt-cut", "the file ends before the FADT does");
    if (claimed < table->length) {
        table_tell(SEVERITY_WARNING, "trailing-bytes",
                   "the file goes on behind the FADT's end; what stands there is not read");
        table->length = claimed;
    }
    const bool is_short = table->length < FADT_BYTES_LEAST;
    if (is_short)
        table_tell(SEVERITY_WARNING, "fadt-short",
                   "the FADT has less than the 116 bytes of ACPI 1.0; nothing is read of it");
    const bool wrong_sum = !cut && acpi_sum(table->bytes, table->length) != 0;
    if (wrong_sum)
        table_tell(SEVERITY_WARNING, "fadt-checksum", "the FADT's bytes do not sum up to 0");
    print_fadt(table);
    return cut || is_short || wrong_sum ? EXIT_DAMAGED : EXIT_READ;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fputs("usage: fadt FILE\n", stderr);
        return EXIT_NO_TABLE;
    }
    struct acpi_table table;
    uint8_t *content = table_read_file(argv[1], &table.length);
    if (content == NULL)
        return table_fail("no-file", strerror(errno));
    table.bytes = content;
    int code = examine(&table);
    free(content);
    return table_finish("fadt", code);
}
