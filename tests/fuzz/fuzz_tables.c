// Fuzzer: FADT, SPCR, DBG2, DMAR and SMBIOS. The first byte chooses; the rest is the table, or for
// SMBIOS all memory, the entry point first; SPCR and DBG2 are read of the same bytes. Every table
// lies in memory of exactly its size.
#include "fuzz.h"

#include "dbg2.h"
#include "dmar.h"
#include "fadt.h"
#include "smbios.h"
#include "spcr.h"
#include "uart.h"

#define MEMORY_BASE 0x10000u

struct memory {
    uint8_t *bytes;
    size_t size;
};

static const void *view(const void *context, uint64_t address, uint64_t bytes)
{
    const struct memory *memory = context;
    if (address < MEMORY_BASE || address - MEMORY_BASE > memory->size ||
        bytes > memory->size - (address - MEMORY_BASE))
        return NULL;
    return memory->bytes + (address - MEMORY_BASE);
}

static void must_be_text(const char text[PLATFORM_TEXT])
{
    const size_t length = strnlen(text, PLATFORM_TEXT);
    MUST(length < PLATFORM_TEXT);
    for (size_t i = 0; i < length; i++)
        MUST(text[i] >= 0x20 && text[i] < 0x7f);
}

// Checksums are mended, since no fuzzer would guess them.
static void read_names(struct memory *memory)
{
    const struct phys phys = {view, memory};
    struct platform platform;

    if (memory->size >= 31) {
        const bool newer = memory->bytes[0] & 1;
        memcpy(memory->bytes, newer ? "_SM3_" : "_SM_", newer ? 5 : 4);
        uint8_t *checksum = memory->bytes + (newer ? 5 : 4);
        *checksum = 0;
        *checksum = (uint8_t)-acpi_sum(memory->bytes, newer ? 24 : 31);
    }
    memset(&platform, 0, sizeof platform);
    (void)smbios_read(&phys, MEMORY_BASE, &platform);
    must_be_text(platform.maker);
    must_be_text(platform.product);
    must_be_text(platform.board_maker);
    must_be_text(platform.board);
    must_be_text(platform.bios_maker);
    must_be_text(platform.bios);
    must_be_text(platform.bios_date);
}

static void read_fadt(const struct acpi_table *table)
{
    struct fadt fadt;

    fadt_read(table, &fadt);
    MUST((fadt.power_status == 0) == (fadt.power_enable == 0));
    MUST(fadt.power_enable >= fadt.power_status);
    MUST(fadt.power_status == 0 || fadt.power_status == fadt.pm1a_event);
    MUST(fadt.pm_timer <= 0xffff - 3);
    MUST(!fadt.can_reset || (fadt.reset_address != 0 && fadt.reset_space <= GAS_IO));
    MUST(!fadt.can_reset || fadt.reset_space == GAS_MEMORY || fadt.reset_address <= 0xffff);
}

static void must_be_a_place(const char *wrong, const struct uart_place *place)
{
    if (wrong) {
        MUST(wrong[0] != '\0');
        return;
    }
    MUST(place->base != 0 && (place->stride != 0 || place->base <= 0xffff - 7));
    MUST(place->stride == 0 || place->access == 1 || place->access == 4);
    MUST(place->stride == 0 || place->base % place->access == 0);
    MUST(place->baud <= UART_BAUD_MAX);
}

static void read_ports(const struct acpi_table *table)
{
    struct uart_place place;

    must_be_a_place(spcr_read(table, &place), &place);
    const uint32_t count = dbg2_count(table);
    MUST(count <= DBG2_PORTS_MOST);
    for (uint32_t i = 0; i < count; i++)
        must_be_a_place(dbg2_read(table, i, &place), &place);
    MUST(dbg2_read(table, count, &place) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 + ACPI_HEADER_BYTES)
        return 0;
    struct memory memory = {malloc(size - 1), size - 1};
    MUST(memory.bytes != NULL);
    memcpy(memory.bytes, data + 1, size - 1);
    const struct acpi_table table = {memory.bytes, memory.size};
    switch (data[0] % 4) {
    case 0:
        read_fadt(&table);
        break;
    case 1:
        read_ports(&table);
        break;
    case 2:
        (void)dmar_opts_out_of_x2apic(&table);
        break;
    default:
        read_names(&memory);
        break;
    }
    free(memory.bytes);
    return 0;
}
