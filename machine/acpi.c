// ACPI: owns the way from the RSDP through a root table to one table, and what is believed on it.
// Surprise: nothing is refused for a wrong checksum alone. Machines run with such tables; so a root
// table that is right throughout goes before a damaged one, and a damaged one before none at all.
#include "acpi.h"

#include <stdbool.h>

#include "line.h"
#include "mem.h"
#include "tell.h"

// ACPI specification, "Root System Description Pointer (RSDP) Structure".
#define RSDP_REVISION       15
#define RSDP_RSDT           16
#define RSDP_REVISION0_SIZE 20u
#define RSDP_LENGTH         20
#define RSDP_XSDT           24
#define RSDP_REVISION2_SIZE 36u

// Longest RSDP that is summed: the specification's has 36 bytes, and one page leaves room for any
// later.
#define RSDP_MAX_BYTES 4096u

// Longest root table that is walked: 8187 entries of 8 bytes. Machines have some tens, and each
// entry costs a look-up in the memory map.
#define ROOT_MAX_BYTES 0x10000u

// Longest table that is handed out. A MADT of 70,000 type 9 entries takes 1.1 MB.
#define TABLE_MAX_BYTES 0x1000000u

// How far a root table can be trusted.
enum trust { TRUST_NONE, TRUST_DAMAGED, TRUST_GOOD };

struct root {
    struct acpi_table table;
    const char *name;
    size_t entry_bytes; // 4 (RSDT) or 8 (XSDT)
    enum trust trust;
};

// Tells "<name> at <address>: <sentence>"; `format` takes the two numbers, or fewer of them.
static void tell(const struct problems *problems, enum severity severity, const char *what,
                 const char *name, uint64_t address, const char *format, uint64_t first,
                 uint64_t second)
{
    char text[LINE_BYTES];
    struct line line;
    line_start(&line, text, sizeof text);
    line_add_foreign(&line, name, 4);
    line_add_format(&line, " at %x: ", address);
    line_add_format(&line, format, first, second);
    problem_tell(problems, severity, what, "%s", text);
}

// A table's header, or NULL where none can stand: no memory, or a length that has no room for the
// header itself. Address 0 means "none" wherever ACPI has a pointer.
static const uint8_t *view_header(const struct phys *phys, uint64_t address)
{
    const uint8_t *header =
        address == 0 ? NULL : phys->view(phys->context, address, ACPI_HEADER_BYTES);
    if (header == NULL || acpi_load32(header + ACPI_HEADER_LENGTH) < ACPI_HEADER_BYTES)
        return NULL;
    return header;
}

// How much of `claimed` bytes can be read, given that `proved` can and `claimed` cannot. What is
// readable to some length is readable to any shorter one, so halving finds it in at most 32 steps.
static uint32_t readable_bytes(const struct phys *phys, uint64_t address, uint32_t proved,
                               uint32_t claimed)
{
    while (claimed - proved > 1) {
        uint32_t middle = proved + (claimed - proved) / 2;
        if (phys->view(phys->context, address, middle) != NULL)
            proved = middle;
        else
            claimed = middle;
    }
    return proved;
}

// Opens the table at `address`, where view_header has found its header: length, then checksum.
static enum trust open_table(const struct phys *phys, uint64_t address, uint32_t max_bytes,
                             const struct problems *problems, struct acpi_table *table)
{
    const uint8_t *header = phys->view(phys->context, address, ACPI_HEADER_BYTES);
    const char *name = (const char *)header;
    uint32_t claimed = acpi_load32(header + ACPI_HEADER_LENGTH);
    uint32_t length = claimed < max_bytes ? claimed : max_bytes;
    if (phys->view(phys->context, address, length) == NULL)
        length = readable_bytes(phys, address, ACPI_HEADER_BYTES, length);
    table->bytes = phys->view(phys->context, address, length);
    table->length = length;
    if (length < claimed) {
        tell(problems, SEVERITY_WARNING, "table-cut", name, address,
             "claims %u bytes, of which %u can be read", claimed, length);
        return TRUST_DAMAGED;
    }
    uint8_t sum = acpi_sum(table->bytes, length);
    if (sum != 0) {
        tell(problems, SEVERITY_WARNING, "table-checksum", name, address,
             "its %u bytes sum to %x, not to 0x0", length, sum);
        return TRUST_DAMAGED;
    }
    return TRUST_GOOD;
}

static struct root open_root(const struct phys *phys, uint64_t address, const char *name,
                             size_t entry_bytes, const struct problems *problems)
{
    struct root root = {.name = name, .entry_bytes = entry_bytes, .trust = TRUST_NONE};
    const uint8_t *header = view_header(phys, address);
    if (header == NULL || memcmp(header, name, 4) != 0) {
        tell(problems, SEVERITY_WARNING, "no-root-table", name, address,
             "there is none here, or it is shorter than %u bytes", ACPI_HEADER_BYTES, 0);
        return root;
    }
    root.trust = open_table(phys, address, ROOT_MAX_BYTES, problems, &root.table);
    return root;
}

// The XSDT as the RSDP names it, or a root with TRUST_NONE where the RSDP has none.
static struct root open_xsdt(const struct phys *phys, uint64_t rsdp,
                             const struct problems *problems)
{
    struct root none = {.trust = TRUST_NONE};
    const uint8_t *bytes = phys->view(phys->context, rsdp, RSDP_REVISION2_SIZE);
    uint32_t length = bytes == NULL ? 0 : acpi_load32(bytes + RSDP_LENGTH);
    if (length >= RSDP_REVISION2_SIZE && length <= RSDP_MAX_BYTES)
        bytes = phys->view(phys->context, rsdp, length);
    else
        bytes = NULL;
    if (bytes == NULL) {
        tell(problems, SEVERITY_WARNING, "rsdp-length", "RSDP", rsdp,
             "its length, %u, is less than %u or more than can be read; its XSDT is not used",
             length, RSDP_REVISION2_SIZE);
        return none;
    }
    uint8_t sum = acpi_sum(bytes, length);
    if (sum != 0)
        tell(problems, SEVERITY_WARNING, "rsdp-checksum", "RSDP", rsdp,
             "its %u bytes sum to %x, not to 0x0", length, sum);
    struct root root = open_root(phys, acpi_load64(bytes + RSDP_XSDT), "XSDT", 8, problems);
    if (sum != 0 && root.trust == TRUST_GOOD)
        root.trust = TRUST_DAMAGED;
    return root;
}

// Picks the root table: the better one of XSDT and RSDT, the XSDT where both are as good.
static enum status find_root(const struct phys *phys, uint64_t rsdp,
                             const struct problems *problems, struct root *root)
{
    const uint8_t *bytes = phys->view(phys->context, rsdp, RSDP_REVISION0_SIZE);
    if (rsdp == 0 || bytes == NULL || memcmp(bytes, "RSD PTR ", 8) != 0) {
        tell(problems, SEVERITY_ERROR, "no-rsdp", "RSDP", rsdp, "there is none here", 0, 0);
        return STATUS_INVALID;
    }
    uint8_t sum = acpi_sum(bytes, RSDP_REVISION0_SIZE);
    if (sum != 0)
        tell(problems, SEVERITY_WARNING, "rsdp-checksum", "RSDP", rsdp,
             "its first %u bytes sum to %x, not to 0x0", RSDP_REVISION0_SIZE, sum);
    root->trust = TRUST_NONE;
    if (bytes[RSDP_REVISION] >= 2)
        *root = open_xsdt(phys, rsdp, problems);
    if (root->trust == TRUST_GOOD)
        return STATUS_OK;
    struct root rsdt = open_root(phys, acpi_load32(bytes + RSDP_RSDT), "RSDT", 4, problems);
    if (rsdt.trust > root->trust)
        *root = rsdt;
    if (root->trust != TRUST_NONE)
        return STATUS_OK;
    tell(problems, SEVERITY_ERROR, "no-root-table", "RSDP", rsdp,
         "it leads to no XSDT or RSDT that can be read", 0, 0);
    return STATUS_INVALID;
}

enum status acpi_find_table(const struct phys *phys, uint64_t rsdp, const char signature[4],
                            uint32_t instance, const struct problems *problems,
                            struct acpi_table *table)
{
    struct root root;
    enum status status = find_root(phys, rsdp, problems, &root);
    if (status != STATUS_OK)
        return status;

    const uint8_t *entry = root.table.bytes + ACPI_HEADER_BYTES;
    size_t count = (root.table.length - ACPI_HEADER_BYTES) / root.entry_bytes;
    uint64_t nowhere = 0;
    uint64_t first_nowhere = 0;
    status = STATUS_NOT_FOUND;
    for (size_t i = 0; i < count && status != STATUS_OK; i++, entry += root.entry_bytes) {
        uint64_t address = root.entry_bytes == 8 ? acpi_load64(entry) : acpi_load32(entry);
        const uint8_t *header = view_header(phys, address);
        if (header == NULL) {
            if (nowhere++ == 0)
                first_nowhere = address;
            continue;
        }
        if (memcmp(header, signature, 4) != 0 || instance-- != 0)
            continue;
        open_table(phys, address, TABLE_MAX_BYTES, problems, table);
        status = STATUS_OK;
    }
    if (nowhere != 0)
        tell(problems, SEVERITY_WARNING, "table-nowhere", root.name, first_nowhere,
             "an entry points here, where no table can be read (%u such entries); skipped", nowhere,
             0);
    return status;
}
