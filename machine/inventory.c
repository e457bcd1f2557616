// Inventory: owns the walk through the MADT and the one list of processors made of it (ACPI
// specification, "Multiple APIC Description Table (MADT)"). Surprise: Online Capable is never
// looked at. It says that a processor could be plugged in one day; only Enabled says that one is
// there.
#include "inventory.h"

#include "line.h"
#include "mem.h"
#include "sort.h"

#define MADT_ENTRIES 44u // header, local APIC address, flags

#define TYPE_LOCAL_APIC        0x00
#define LOCAL_APIC_BYTES       8u
#define LOCAL_APIC_UID         2
#define LOCAL_APIC_ID          3
#define LOCAL_APIC_FLAGS       4
#define LOCAL_APIC_BROADCAST   0xffu
#define TYPE_LOCAL_X2APIC      0x09
#define LOCAL_X2APIC_BYTES     16u
#define LOCAL_X2APIC_ID        4
#define LOCAL_X2APIC_FLAGS     8
#define LOCAL_X2APIC_UID       12
#define LOCAL_X2APIC_BROADCAST UINT32_MAX
#define TYPE_WAKEUP            0x10
#define ENTRY_HEADER_BYTES     2u // type, length

#define FLAG_ENABLED 1u

enum entry_kind {
    ENTRY_OTHER,
    ENTRY_ENABLED,
    ENTRY_DISABLED,
    ENTRY_IMPOSSIBLE, // enabled, with the ID that addresses everyone
    ENTRY_WAKEUP,
};

struct entry {
    size_t offset;
    enum entry_kind kind;
    struct cpu cpu; // of ENABLED, DISABLED and IMPOSSIBLE
};

// A walk over the entries. It stops for good at an entry whose length cannot be true: behind it
// nobody knows where the next one begins.
struct walk {
    const uint8_t *bytes;
    size_t end; // as the table says, or as far as it could be read
    size_t next;
    bool broken; // `next` is the offset of the entry that broke it
};

const char *inventory_source_name(enum inventory_source source)
{
    return source == INVENTORY_MADT ? "the MADT" : "MP Services";
}

// Tells a sentence with up to three numbers; an unused one is 0.
static void tell(const struct problems *problems, enum severity severity, const char *what,
                 const char *format, uint64_t first, uint64_t second, uint64_t third)
{
    char text[LINE_BYTES];
    struct line line;
    line_start(&line, text, sizeof text);
    line_add_format(&line, format, first, second, third);
    problems->tell(problems->context, severity, what, text);
}

// Tells a sentence of a list, the MADT's or another: a number, its name, and one more number.
static void tell_of_list(const struct problems *problems, const struct inventory *inventory,
                         const char *what, const char *format, uint64_t first, uint64_t second)
{
    char text[LINE_BYTES];
    struct line line;
    line_start(&line, text, sizeof text);
    line_add_format(&line, format, first, inventory_source_name(inventory->source), second);
    problems->tell(problems->context, SEVERITY_WARNING, what, text);
}

static bool has_madt_header(const struct acpi_table *madt)
{
    return madt->length >= MADT_ENTRIES && memcmp(madt->bytes, "APIC", 4) == 0;
}

static bool is_madt(const struct acpi_table *madt)
{
    return has_madt_header(madt) && acpi_load32(madt->bytes + ACPI_HEADER_LENGTH) >= MADT_ENTRIES;
}

static struct walk walk_start(const struct acpi_table *madt)
{
    uint32_t claimed = acpi_load32(madt->bytes + ACPI_HEADER_LENGTH);
    size_t end = claimed < madt->length ? claimed : madt->length;
    return (struct walk){.bytes = madt->bytes, .end = end, .next = MADT_ENTRIES};
}

static size_t least_bytes(uint8_t type)
{
    switch (type) {
    case TYPE_LOCAL_APIC:
        return LOCAL_APIC_BYTES;
    case TYPE_LOCAL_X2APIC:
        return LOCAL_X2APIC_BYTES;
    default:
        return ENTRY_HEADER_BYTES;
    }
}

static enum entry_kind processor_kind(uint32_t flags, uint32_t apic_id, uint32_t broadcast)
{
    if ((flags & FLAG_ENABLED) == 0)
        return ENTRY_DISABLED;
    return apic_id == broadcast ? ENTRY_IMPOSSIBLE : ENTRY_ENABLED;
}

// Reads an entry that is as long as its type needs.
static struct entry read_entry(const uint8_t *bytes, size_t offset)
{
    struct entry entry = {.offset = offset, .kind = ENTRY_OTHER};
    switch (bytes[0]) {
    case TYPE_LOCAL_APIC:
        entry.cpu.uid = bytes[LOCAL_APIC_UID];
        entry.cpu.apic_id = bytes[LOCAL_APIC_ID];
        entry.kind = processor_kind(acpi_load32(bytes + LOCAL_APIC_FLAGS), entry.cpu.apic_id,
                                    LOCAL_APIC_BROADCAST);
        break;
    case TYPE_LOCAL_X2APIC:
        entry.cpu.uid = acpi_load32(bytes + LOCAL_X2APIC_UID);
        entry.cpu.apic_id = acpi_load32(bytes + LOCAL_X2APIC_ID);
        entry.kind = processor_kind(acpi_load32(bytes + LOCAL_X2APIC_FLAGS), entry.cpu.apic_id,
                                    LOCAL_X2APIC_BROADCAST);
        break;
    case TYPE_WAKEUP:
        entry.kind = ENTRY_WAKEUP;
        break;
    default:
        break;
    }
    entry.cpu.listing = entry.kind == ENTRY_DISABLED ? CPU_DISABLED : CPU_LISTED;
    return entry;
}

// Steps to the next entry. Returns false at the end, and where the walk is broken.
static bool walk_next(struct walk *walk, struct entry *entry)
{
    size_t left = walk->end - walk->next;
    if (left == 0 || walk->broken)
        return false;
    const uint8_t *bytes = walk->bytes + walk->next;
    if (left < ENTRY_HEADER_BYTES || bytes[1] > left || bytes[1] < least_bytes(bytes[0])) {
        walk->broken = true;
        return false;
    }
    *entry = read_entry(bytes, walk->next);
    walk->next += bytes[1];
    return true;
}

static void tell_broken(const struct walk *walk, const struct problems *problems)
{
    const uint8_t *bytes = walk->bytes + walk->next;
    size_t left = walk->end - walk->next;
    if (left < ENTRY_HEADER_BYTES)
        tell(problems, SEVERITY_ERROR, "madt-entry",
             "the MADT ends at byte %u, inside the entry at byte %u", walk->end, walk->next, 0);
    else if (bytes[1] > left)
        tell(problems, SEVERITY_ERROR, "madt-entry",
             "the MADT's entry at byte %u has %u bytes, but only %u are left", walk->next, bytes[1],
             left);
    else
        tell(
            problems, SEVERITY_ERROR, "madt-entry",
            "the MADT's entry at byte %u, of type %u, has an impossible length of %u; what follows "
            "is lost",
            walk->next, bytes[0], bytes[1]);
}

static void read_header(const struct acpi_table *madt, const struct problems *problems,
                        struct inventory *inventory)
{
    uint32_t claimed = acpi_load32(madt->bytes + ACPI_HEADER_LENGTH);
    inventory->revision = madt->bytes[ACPI_HEADER_REVISION];
    inventory->truncated = claimed > madt->length;
    if (inventory->truncated) {
        tell(problems, SEVERITY_ERROR, "madt-cut",
             "the MADT claims %u bytes, but only %u are there", claimed, madt->length, 0);
        return; // the checksum of what is not there cannot be right
    }
    uint8_t sum = acpi_sum(madt->bytes, claimed);
    inventory->checksum_ok = sum == 0;
    if (sum != 0)
        tell(problems, SEVERITY_WARNING, "madt-checksum",
             "the MADT's %u bytes sum up to %x instead of 0x0", claimed, sum, 0);
}

// Collects all enabled entries in MADT order, repeats included.
static void collect_enabled(const struct acpi_table *madt, const struct problems *problems,
                            struct inventory *inventory)
{
    struct walk walk = walk_start(madt);
    struct entry entry;
    size_t first_impossible = 0;
    while (walk_next(&walk, &entry)) {
        switch (entry.kind) {
        case ENTRY_ENABLED:
            inventory->cpus[inventory->enabled++] = entry.cpu;
            break;
        case ENTRY_IMPOSSIBLE:
            if (inventory->impossible++ == 0)
                first_impossible = entry.offset;
            break;
        case ENTRY_WAKEUP:
            inventory->wakeup_mailbox = true;
            break;
        case ENTRY_DISABLED:
        case ENTRY_OTHER:
            break;
        }
    }
    if (walk.broken) {
        inventory->truncated = true;
        tell_broken(&walk, problems);
    }
    if (inventory->impossible != 0)
        tell_of_list(
            problems, inventory, "impossible-id",
            inventory->source == INVENTORY_MADT
                ? "%u enabled entries of %s have an APIC ID that means everyone, the first "
                  "at byte %u; passed over"
                : "%u enabled processors of %s have an APIC ID that cannot be addressed; "
                  "passed over",
            inventory->impossible, first_impossible);
}

// An APIC ID above a place in the list: sorted, equal IDs stand as in the MADT.
static uint64_t key_of(uint32_t apic_id, size_t place)
{
    return (uint64_t)apic_id << 32 | (uint32_t)place;
}

static uint32_t place_of(uint64_t key)
{
    return (uint32_t)key;
}

static bool same_id(uint64_t left, uint64_t right)
{
    return left >> 32 == right >> 32;
}

static bool key_before(const void *left, const void *right)
{
    return *(const uint64_t *)left < *(const uint64_t *)right;
}

static void sort_by_apic_id(const struct cpu *cpus, size_t count, uint64_t *keys)
{
    for (size_t i = 0; i < count; i++)
        keys[i] = key_of(cpus[i].apic_id, i);
    sort(keys, count, sizeof keys[0], key_before);
}

// Keeps the first entry of each APIC ID, in MADT order.
static void drop_repeats(uint64_t *keys, const struct problems *problems,
                         struct inventory *inventory)
{
    struct cpu *cpus = inventory->cpus;
    uint32_t read = inventory->enabled;
    uint32_t first_repeated = 0;
    sort_by_apic_id(cpus, read, keys);
    for (size_t i = 1; i < read; i++) {
        if (!same_id(keys[i], keys[i - 1]))
            continue;
        struct cpu *repeat = &cpus[place_of(keys[i])];
        repeat->listing = CPU_DISABLED; // the mark of a repeat, until the loop below
        if (inventory->duplicate++ == 0)
            first_repeated = repeat->apic_id;
    }
    if (inventory->duplicate == 0)
        return;
    inventory->enabled = 0;
    for (size_t i = 0; i < read; i++)
        if (cpus[i].listing == CPU_LISTED)
            cpus[inventory->enabled++] = cpus[i];
    tell_of_list(
        problems, inventory, "duplicate-id",
        "%u enabled entries of %s repeat the APIC ID of another, the lowest is %x; each ID "
        "counts once",
        inventory->duplicate, first_repeated);
}

// Moves the BSP to the front, or adds it there.
static void place_bsp(uint32_t bsp_apic_id, const struct problems *problems,
                      struct inventory *inventory)
{
    struct cpu *cpus = inventory->cpus;
    size_t at = 0;
    if (bsp_apic_id == BSP_UNKNOWN) {
        inventory->bsp_listed = inventory->enabled != 0;
        if (!inventory->bsp_listed) {
            tell(problems, SEVERITY_WARNING, "no-processor",
                 "the MADT lists no enabled processor, and the BSP's APIC ID is not known", 0, 0,
                 0);
            return;
        }
    } else {
        while (at < inventory->enabled && cpus[at].apic_id != bsp_apic_id)
            at++;
        inventory->bsp_listed = at < inventory->enabled;
    }
    struct cpu bsp = {.apic_id = bsp_apic_id, .uid = CPU_UID_UNKNOWN};
    if (inventory->bsp_listed) {
        bsp = cpus[at];
    } else {
        inventory->enabled++;
        tell_of_list(
            problems, inventory, "bsp-not-listed",
            "the BSP's APIC ID %x stands in no enabled entry of %s; it is CPU 0 all the same",
            bsp_apic_id, 0);
    }
    memmove(&cpus[1], &cpus[0], at * sizeof cpus[0]);
    bsp.listing = CPU_BSP;
    cpus[0] = bsp;
}

static void append_disabled(const struct acpi_table *madt, uint64_t *keys,
                            struct inventory *inventory)
{
    struct cpu *cpus = inventory->cpus;
    struct walk walk = walk_start(madt);
    struct entry entry;
    inventory->count = inventory->enabled;
    while (walk_next(&walk, &entry)) {
        if (entry.kind == ENTRY_DISABLED)
            inventory->cpus[inventory->count++] = entry.cpu;
    }
    inventory->disabled = (uint32_t)(inventory->count - inventory->enabled);
    sort_by_apic_id(cpus, inventory->count, keys);
    for (size_t i = 1; i < inventory->count; i++)
        cpus[place_of(keys[i])].repeated = same_id(keys[i], keys[i - 1]);
}

size_t inventory_capacity(const struct acpi_table *madt)
{
    size_t capacity = 1; // the BSP, listed or not
    if (!is_madt(madt))
        return capacity;
    struct walk walk = walk_start(madt);
    struct entry entry;
    while (walk_next(&walk, &entry)) {
        if (entry.kind == ENTRY_ENABLED || entry.kind == ENTRY_DISABLED)
            capacity++;
    }
    return capacity;
}

enum status inventory_read(const struct acpi_table *madt, uint32_t bsp_apic_id, uint64_t *keys,
                           const struct problems *problems, struct inventory *inventory)
{
    *inventory = (struct inventory){
        .cpus = inventory->cpus, .capacity = inventory->capacity, .source = inventory->source};
    if (!has_madt_header(madt)) {
        tell(problems, SEVERITY_ERROR, "no-madt",
             "this is no MADT: one begins with 'APIC' and has %u bytes or more; here are %u",
             MADT_ENTRIES, madt->length, 0);
        return STATUS_INVALID;
    }
    if (!is_madt(madt)) {
        tell(problems, SEVERITY_ERROR, "no-madt",
             "this is no MADT: it claims %u bytes, but its header alone takes %u",
             acpi_load32(madt->bytes + ACPI_HEADER_LENGTH), MADT_ENTRIES, 0);
        return STATUS_INVALID;
    }
    // The bound holds for every write below: an entry is written once, the BSP at most once more.
    if (inventory->capacity < inventory_capacity(madt))
        return STATUS_NO_SPACE;

    read_header(madt, problems, inventory);
    collect_enabled(madt, problems, inventory);
    drop_repeats(keys, problems, inventory);
    place_bsp(bsp_apic_id, problems, inventory);
    append_disabled(madt, keys, inventory);
    return inventory->truncated ? STATUS_TRUNCATED : STATUS_OK;
}

static void store32(uint8_t *bytes, uint32_t value)
{
    for (size_t i = 0; i < sizeof value; i++)
        bytes[i] = (uint8_t)(value >> 8 * i);
}

size_t inventory_madt_bytes(size_t count)
{
    return MADT_ENTRIES + count * LOCAL_X2APIC_BYTES;
}

struct acpi_table inventory_make_madt(const struct cpu *cpus, size_t count, uint8_t *bytes)
{
    const size_t length = inventory_madt_bytes(count);
    uint8_t *entry = bytes + MADT_ENTRIES;

    memset(bytes, 0, length);
    memcpy(bytes, "APIC", 4);
    store32(bytes + ACPI_HEADER_LENGTH, (uint32_t)length);
    for (size_t i = 0; i < count; i++, entry += LOCAL_X2APIC_BYTES) {
        entry[0] = TYPE_LOCAL_X2APIC;
        entry[1] = LOCAL_X2APIC_BYTES;
        store32(entry + LOCAL_X2APIC_ID, cpus[i].apic_id);
        store32(entry + LOCAL_X2APIC_FLAGS, cpus[i].listing == CPU_DISABLED ? 0 : FLAG_ENABLED);
        store32(entry + LOCAL_X2APIC_UID, cpus[i].uid);
    }
    bytes[ACPI_HEADER_CHECKSUM] = (uint8_t)-acpi_sum(bytes, length);
    return (struct acpi_table){bytes, length};
}
