// Comparing three accounts of one machine. Surprise: none of them is the truth. Firmware may have
// disabled a processor that the MADT lists, and the MADT may be older than both.

#include "census.h"

#include "report_line.h"
#include "sort.h"
#include "tell.h"

static void tell(const struct problems *problems, const char *text,
                 const struct census_entry *entry, uint32_t cpu)
{
    problem_tell(problems, SEVERITY_WARNING, "mp-disagrees", "CPU %u, APIC ID %u: %s",
                 (uint64_t)cpu, (uint64_t)entry->apic_id, text);
}

// Of handles with one ID the first stands first.
static bool entry_before(const void *left, const void *right)
{
    const struct census_entry *a = left, *b = right;
    return a->apic_id < b->apic_id || (a->apic_id == b->apic_id && a->handle < b->handle);
}

static void sort_entries(struct census_entry *entries, size_t count)
{
    sort(entries, count, sizeof entries[0], entry_before);
}

// The first with this ID; NULL: there is none.
static struct census_entry *find(struct census_entry *entries, size_t count, uint32_t apic_id)
{
    size_t first = 0, end = count;

    while (first < end) {
        const size_t middle = first + (end - first) / 2;
        if (entries[middle].apic_id < apic_id)
            first = middle + 1;
        else
            end = middle;
    }
    return first < count && entries[first].apic_id == apic_id ? &entries[first] : NULL;
}

static void compare_listing(const struct problems *problems, const struct cpu *cpu, uint32_t index,
                            const struct machine *machine, struct census_entry *entry)
{
    const uint32_t bsp_apic_id = machine->bsp_apic_id;
    const bool has_madt = machine->inventory.source == INVENTORY_MADT;
    const bool enabled = cpu->listing != CPU_DISABLED;

    entry->listed = true;
    if (has_madt && enabled && !entry->enabled)
        tell(problems, "enabled in the MADT, disabled by MP Services", entry, index);
    if (has_madt && !enabled && entry->enabled)
        tell(problems, "disabled in the MADT, enabled by MP Services", entry, index);
    if (entry->bsp != (entry->apic_id == bsp_apic_id))
        tell(problems,
             entry->bsp ? "MP Services calls it the BSP, but we run on another"
                        : "we run on it, but MP Services does not call it the BSP",
             entry, index);
    if (!entry->healthy)
        tell(problems, "MP Services says that it failed its self-test", entry, index);
}

// The account of the processor with this APIC ID, if it has said where it sits; else NULL.
static const struct smp_account *find_speaker(const struct evidence *evidence, uint32_t apic_id)
{
    const struct smp_account *account = evidence ? evidence_find(evidence, apic_id) : NULL;

    return account && evidence->hellos[account->slot].known ? account : NULL;
}

static void compare_location(const struct problems *problems, const struct evidence *evidence,
                             const struct census_entry *entry)
{
    const struct smp_account *account = find_speaker(evidence, entry->apic_id);

    if (!account)
        return;
    const struct hello *own = &evidence->hellos[account->slot];
    if (own->place.package != entry->package || own->place.core != entry->core ||
        own->place.thread != entry->thread)
        tell(problems, "its own CPUID gives another package, core or thread than MP Services",
             entry, account->cpu);
}

void census_compare(struct census_entry *entries, size_t count, const struct machine *machine,
                    const struct evidence *evidence, const struct problems *problems)
{
    const struct inventory *inventory = &machine->inventory;
    const bool has_madt = inventory->source == INVENTORY_MADT; // else there is nothing beside

    sort_entries(entries, count);
    for (uint32_t index = 0; index < inventory->count; index++) {
        const struct cpu *cpu = &inventory->cpus[index];
        if (cpu->repeated)
            continue; // no processor of its own
        struct census_entry *entry = find(entries, count, cpu->apic_id);
        if (entry)
            compare_listing(problems, cpu, index, machine, entry);
        else if (has_madt && cpu->listing != CPU_DISABLED)
            tell(problems, "enabled in the MADT, unknown to MP Services",
                 &(struct census_entry){.apic_id = cpu->apic_id}, index);
    }
    for (size_t i = 0; i < count; i++) {
        const bool repeats = i > 0 && entries[i].apic_id == entries[i - 1].apic_id;
        if (repeats)
            entries[i].listed = entries[i - 1].listed;
        if (has_madt && !entries[i].listed)
            tell(problems, "known to MP Services by that number, but not in the MADT", &entries[i],
                 entries[i].handle);
        compare_location(problems, evidence, &entries[i]);
        if (repeats)
            tell(problems, "two handles of MP Services have it", &entries[i], entries[i].handle);
    }
}

void census_report(struct console *console, const struct census_entry *entries, size_t count,
                   const struct evidence *evidence)
{
    struct report_line out;

    for (size_t i = 0; i < count; i++) {
        const struct census_entry *entry = &entries[i];
        const struct smp_account *account = find_speaker(evidence, entry->apic_id);
        struct line *line = report_start_record(&out, "mp");
        record_add_decimal(line, "handle", entry->handle);
        record_add_hex(line, "apic", entry->apic_id);
        record_add_decimal(line, "bsp", entry->bsp);
        record_add_decimal(line, "enabled", entry->enabled);
        record_add_decimal(line, "healthy", entry->healthy);
        record_add_decimal(line, "package", entry->package);
        record_add_decimal(line, "core", entry->core);
        record_add_decimal(line, "thread", entry->thread);
        if (account) {
            const struct hello *own = &evidence->hellos[account->slot];
            record_add_hex(line, "own_apic", account->apic_id);
            record_add_decimal(line, "own_package", own->place.package);
            record_add_decimal(line, "own_core", own->place.core);
            record_add_decimal(line, "own_thread", own->place.thread);
        }
        console_record(console, 0, line);
    }
}

static bool has_answered(const struct smp_account *account, uint32_t rounds)
{
    return account->arrived || account->done || account->lost < rounds ||
           account->stage != SMP_STAGE_NONE || account->fault.valid || account->stray ||
           (account->mark != SMP_STAGE_NONE && !account->mark_shared);
}

// Has firmware a handle with this ID that is enabled?
static bool is_awaited(struct census_entry *entries, size_t count, uint32_t apic_id)
{
    const struct census_entry *entry = find(entries, count, apic_id);

    while (entry && entry < entries + count && entry->apic_id == apic_id) {
        if (entry->enabled)
            return true;
        entry++;
    }
    return false;
}

bool census_allows_asking(struct census_entry *entries, size_t count,
                          const struct evidence *evidence, const struct injector *injector)
{
    sort_entries(entries, count);
    for (uint32_t slot = 1; slot < evidence->count; slot++) {
        const struct smp_account *account = &evidence->accounts[slot];
        if (is_awaited(entries, count, account->apic_id) &&
            !has_answered(account, evidence->rounds) && !inject_silences(injector, slot))
            return false;
    }
    return true;
}
