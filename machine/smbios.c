// Surprise: a structure's length is that of its fields only; its texts follow, each ended by 0, and
// another 0 ends them all.

#include "smbios.h"

#include <stddef.h>

#include "acpi.h"
#include "mem.h"

// DSP0134, "SMBIOS 2.1 (32-bit) Entry Point" and "SMBIOS 3.0 (64-bit) Entry Point".
#define ENTRY3_BYTES   24u
#define ENTRY3_LENGTH  12u
#define ENTRY3_ADDRESS 16u
#define ENTRY2_BYTES   31u
#define ENTRY2_LENGTH  22u
#define ENTRY2_ADDRESS 24u

#define TABLE_MOST   0x100000u // bytes; the largest seen has a tenth
#define HEADER_BYTES 4u
#define TYPE_BIOS    0u
#define TYPE_SYSTEM  1u
#define TYPE_BOARD   2u
#define TYPE_END     127u

struct smbios {
    const uint8_t *bytes;
    size_t length;
};

struct structure {
    uint8_t type;
    size_t fields; // bytes, with the header
    const uint8_t *bytes, *texts, *end;
};

static bool find_table(const struct phys *phys, uint64_t entry, struct smbios *table)
{
    uint64_t address;
    size_t length;

    const uint8_t *bytes = phys->view(phys->context, entry, ENTRY3_BYTES);
    if (!bytes)
        return false;
    if (memcmp(bytes, "_SM3_", 5) == 0) {
        if (acpi_sum(bytes, ENTRY3_BYTES) != 0)
            return false;
        length = acpi_load32(bytes + ENTRY3_LENGTH);
        address = acpi_load64(bytes + ENTRY3_ADDRESS);
    } else {
        bytes = phys->view(phys->context, entry, ENTRY2_BYTES);
        if (!bytes || memcmp(bytes, "_SM_", 4) != 0 || acpi_sum(bytes, ENTRY2_BYTES) != 0)
            return false;
        length = bytes[ENTRY2_LENGTH] | (size_t)bytes[ENTRY2_LENGTH + 1] << 8;
        address = acpi_load32(bytes + ENTRY2_ADDRESS);
    }
    if (length < HEADER_BYTES || length > TABLE_MOST)
        return false;
    table->bytes = phys->view(phys->context, address, length);
    table->length = length;
    return table->bytes != NULL;
}

// The structure at *at, which moves behind it. False: there is none, or it is not whole.
static bool next_structure(const struct smbios *table, size_t *at, struct structure *found)
{
    if (table->length - *at < HEADER_BYTES)
        return false;
    found->bytes = table->bytes + *at;
    found->type = found->bytes[0];
    found->fields = found->bytes[1];
    if (found->fields < HEADER_BYTES || found->fields > table->length - *at)
        return false;
    found->texts = found->bytes + found->fields;
    for (size_t end = *at + found->fields; end + 1 < table->length; end++) {
        if (table->bytes[end] == 0 && table->bytes[end + 1] == 0) {
            found->end = table->bytes + end + 1; // with the last text's 0
            *at = end + 2;
            return true;
        }
    }
    return false;
}

// The text whose number stands in a field; printable characters only, without blanks at its end.
static void copy_text(const struct structure *from, size_t field, char to[PLATFORM_TEXT])
{
    const uint8_t *text = from->texts;
    size_t used = 0;

    if (field >= from->fields || from->bytes[field] == 0)
        return;
    for (uint32_t number = from->bytes[field]; number > 1; number--) {
        while (text < from->end && *text != 0)
            text++;
        if (text >= from->end)
            return;
        text++;
    }
    for (; text < from->end && *text != 0 && used + 1 < PLATFORM_TEXT; text++)
        to[used++] = *text >= 0x20 && *text < 0x7f ? (char)*text : '?';
    while (used > 0 && to[used - 1] == ' ')
        used--;
    to[used] = '\0';
}

bool smbios_read(const struct phys *phys, uint64_t entry_point, struct platform *platform)
{
    struct structure found;
    struct smbios table;
    size_t at = 0;

    if (!find_table(phys, entry_point, &table))
        return false;
    while (next_structure(&table, &at, &found) && found.type != TYPE_END) {
        if (found.type == TYPE_BIOS) {
            copy_text(&found, 4, platform->bios_maker);
            copy_text(&found, 5, platform->bios);
            copy_text(&found, 8, platform->bios_date);
        } else if (found.type == TYPE_SYSTEM) {
            copy_text(&found, 4, platform->maker);
            copy_text(&found, 5, platform->product);
        } else if (found.type == TYPE_BOARD && platform->board[0] == '\0') {
            copy_text(&found, 4, platform->board_maker);
            copy_text(&found, 5, platform->board);
        }
    }
    return true;
}
