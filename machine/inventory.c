// The one list of processors made of the MADT. Surprise: the BSP is in it even where no entry lists
// it, since it is there and runs this; it is the only processor that the table need not name.
#include "inventory.h"

#include "madt.h"
#include "mem.h"
#include "sort.h"
#include "tell.h"

const char *inventory_source_name(enum inventory_source source)
{
    return source == INVENTORY_MADT ? "the MADT" : "MP Services";
}

// Tells a sentence with up to three numbers; an unused one is 0.
static void tell(const struct problems *problems, enum severity severity, const char *what,
                 const char *format, uint64_t first, uint64_t second, uint64_t third)
{
    problem_tell(problems, severity, what, format, first, second, third);
}

// Tells a sentence of a list, the MADT's or another: a number, its name, and one more number.
static void tell_of_list(const struct problems *problems, const struct inventory *inventory,
                         const char *what, const char *format, uint64_t first, uint64_t second)
{
    problem_tell(problems, SEVERITY_WARNING, what, format, first,
                 inventory_source_name(inventory->source), second);
}

static struct cpu cpu_of(const struct madt_entry *entry)
{
    return (struct cpu){.apic_id = entry->apic_id,
                        .uid = entry->uid,
                        .listing = entry->kind == MADT_DISABLED ? CPU_DISABLED : CPU_LISTED};
}

static void tell_broken(const struct madt_walk *walk, const struct problems *problems)
{
    const uint8_t *bytes = walk->bytes + walk->next;
    size_t left = walk->end - walk->next;
    if (left < MADT_ENTRY_HEADER_BYTES)
        tell(problems, SEVERITY_ERROR, "madt-entry",
             "the MADT ends at byte %u, inside the entry at byte %u", walk->end, walk->next, 0);
    else if (bytes[MADT_LENGTH] > left)
        tell(problems, SEVERITY_ERROR, "madt-entry",
             "the MADT's entry at byte %u has %u bytes, but only %u are left", walk->next,
             bytes[MADT_LENGTH], left);
    else
        tell(
            problems, SEVERITY_ERROR, "madt-entry",
            "the MADT's entry at byte %u, of type %u, has an impossible length of %u; what follows "
            "is lost",
            walk->next, bytes[MADT_TYPE], bytes[MADT_LENGTH]);
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
             "the MADT's %u bytes sum to %x, not to 0x0", claimed, sum, 0);
}

// Collects all enabled entries in MADT order, repeats included.
static void collect_enabled(const struct acpi_table *madt, const struct problems *problems,
                            struct inventory *inventory)
{
    struct madt_walk walk = madt_walk_start(madt);
    struct madt_entry entry;
    size_t first_impossible = 0;
    while (madt_walk_next(&walk, &entry)) {
        switch (entry.kind) {
        case MADT_ENABLED:
            inventory->cpus[inventory->enabled++] = cpu_of(&entry);
            break;
        case MADT_IMPOSSIBLE:
            if (inventory->impossible++ == 0)
                first_impossible = entry.offset;
            break;
        case MADT_MAILBOX:
            inventory->wakeup_mailbox = true;
            break;
        case MADT_DISABLED:
        case MADT_OTHER:
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
                ? "%u enabled entries of %s have the broadcast APIC ID, the first at byte %u; "
                  "skipped"
                : "%u enabled processors of %s have an APIC ID that cannot be addressed; "
                  "skipped",
            inventory->impossible, first_impossible);
}

// An APIC ID above a place in the list: sorted by it, equal IDs stay in the list's order.
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
        "%u enabled entries of %s repeat another's APIC ID, the lowest of which is %x; each "
        "ID counts once",
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
        tell_of_list(problems, inventory, "bsp-not-listed",
                     "the BSP's APIC ID, %x, is in no enabled entry of %s; the BSP is CPU 0 anyway",
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
    struct madt_walk walk = madt_walk_start(madt);
    struct madt_entry entry;
    inventory->count = inventory->enabled;
    while (madt_walk_next(&walk, &entry)) {
        if (entry.kind == MADT_DISABLED)
            inventory->cpus[inventory->count++] = cpu_of(&entry);
    }
    inventory->disabled = (uint32_t)(inventory->count - inventory->enabled);
    sort_by_apic_id(cpus, inventory->count, keys);
    for (size_t i = 1; i < inventory->count; i++)
        cpus[place_of(keys[i])].repeated = same_id(keys[i], keys[i - 1]);
}

size_t inventory_capacity(const struct acpi_table *madt)
{
    size_t capacity = 1; // the BSP, listed or not
    if (!madt_can_be_walked(madt))
        return capacity;
    struct madt_walk walk = madt_walk_start(madt);
    struct madt_entry entry;
    while (madt_walk_next(&walk, &entry)) {
        if (entry.kind == MADT_ENABLED || entry.kind == MADT_DISABLED)
            capacity++;
    }
    return capacity;
}

enum status inventory_read(const struct acpi_table *madt, uint32_t bsp_apic_id, uint64_t *keys,
                           const struct problems *problems, struct inventory *inventory)
{
    *inventory = (struct inventory){
        .cpus = inventory->cpus, .capacity = inventory->capacity, .source = inventory->source};
    if (!madt_has_header(madt)) {
        tell(problems, SEVERITY_ERROR, "no-madt",
             "not a MADT: a MADT begins with 'APIC' and has at least %u bytes; this has %u",
             MADT_HEADER_BYTES, madt->length, 0);
        return STATUS_INVALID;
    }
    if (!madt_can_be_walked(madt)) {
        tell(problems, SEVERITY_ERROR, "no-madt",
             "not a MADT: it claims %u bytes, but its header alone takes %u",
             acpi_load32(madt->bytes + ACPI_HEADER_LENGTH), MADT_HEADER_BYTES, 0);
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
