// madt: the host program that says what Reveille makes of a MADT dump, with Reveille's own
// inventory code.
//     madt [--bsp APIC_ID] FILE
// Exit 0: read; 1: damaged, with what could be read; 2: no MADT, or nothing to read.
// Surprise: problems are records on stdout too, before the inventory, as they are on a serial line.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inventory.h"
#include "line.h"
#include "table_file.h"

// Reads an APIC ID, decimal or 0x hexadecimal. The x2APIC's broadcast ID is nobody's.
static bool parse_apic_id(const char *text, uint32_t *apic_id)
{
    char *end;
    int base = strncmp(text, "0x", 2) == 0 || strncmp(text, "0X", 2) == 0 ? 16 : 10;
    const char *digits = base == 16 ? text + 2 : text;
    if (strspn(digits, base == 16 ? "0123456789abcdefABCDEF" : "0123456789") != strlen(digits))
        return false;
    errno = 0;
    unsigned long long value = strtoull(digits, &end, base);
    if (end == digits || errno != 0 || value >= BSP_UNKNOWN)
        return false;
    *apic_id = (uint32_t)value;
    return true;
}

static const char *state_name(enum cpu_listing listing)
{
    switch (listing) {
    case CPU_BSP:
        return "bsp";
    case CPU_LISTED:
        return "listed";
    default:
        return "disabled";
    }
}

static void print_inventory(const struct inventory *inventory)
{
    char text[LINE_BYTES];
    struct line line;
    record_start(&line, text, sizeof text, "inventory");
    record_add_decimal(&line, "revision", inventory->revision);
    record_add_decimal(&line, "enabled", inventory->enabled);
    record_add_decimal(&line, "disabled", inventory->disabled);
    record_add_decimal(&line, "duplicate", inventory->duplicate);
    record_add_decimal(&line, "impossible", inventory->impossible);
    record_add_decimal(&line, "truncated", inventory->truncated);
    record_add_text(&line, "checksum", inventory->checksum_ok ? "ok" : "bad");
    puts(text);
    for (size_t i = 0; i < inventory->count; i++) {
        const struct cpu *cpu = &inventory->cpus[i];
        record_start(&line, text, sizeof text, "cpu");
        record_add_decimal(&line, "cpu", i);
        record_add_hex(&line, "apic", cpu->apic_id);
        if (cpu->listing != CPU_BSP || inventory->bsp_listed)
            record_add_decimal(&line, "uid", cpu->uid);
        record_add_text(&line, "state", state_name(cpu->listing));
        puts(text);
    }
}

static int examine(const struct acpi_table *madt, uint32_t bsp_apic_id)
{
    struct inventory inventory = {.capacity = inventory_capacity(madt)};
    uint64_t *keys = calloc(inventory.capacity, sizeof *keys);
    inventory.cpus = calloc(inventory.capacity, sizeof *inventory.cpus);
    int code = EXIT_NO_TABLE;
    if (keys == NULL || inventory.cpus == NULL) {
        table_fail("no-memory", strerror(errno));
    } else if (inventory_read(madt, bsp_apic_id, keys, &table_problems, &inventory) !=
               STATUS_INVALID) {
        if (acpi_load32(madt->bytes + ACPI_HEADER_LENGTH) < madt->length)
            table_tell(SEVERITY_WARNING, "trailing-bytes",
                       "the file goes on behind the MADT's end; what stands there is not read");
        if (inventory.wakeup_mailbox)
            table_tell(SEVERITY_WARNING, "wakeup-mailbox",
                       "the MADT has an entry of type 16: this machine's processors are woken "
                       "through a mailbox, not by INIT");
        print_inventory(&inventory);
        code = inventory.truncated || !inventory.checksum_ok ? EXIT_DAMAGED : EXIT_READ;
    }
    free(inventory.cpus);
    free(keys);
    return code;
}

int main(int argc, char **argv)
{
    uint32_t bsp_apic_id = BSP_UNKNOWN;
    bool told_bsp = argc == 4 && strcmp(argv[1], "--bsp") == 0;
    if (argc != 2 && !told_bsp) {
        fputs("usage: madt [--bsp APIC_ID] FILE\n", stderr);
        return EXIT_NO_TABLE;
    }
    if (told_bsp && !parse_apic_id(argv[2], &bsp_apic_id))
        return table_fail("bad-apic-id", "--bsp takes a number from 0 to 0xfffffffe");

    struct acpi_table madt;
    uint8_t *content = table_read_file(argv[argc - 1], &madt.length);
    if (content == NULL)
        return table_fail("no-file", strerror(errno));
    madt.bytes = content;
    int code = examine(&madt, bsp_apic_id);
    free(content);
    return table_finish("madt", code);
}
