// A MADT that a kernel hands over, as the engine's list of processors. inventory.c reads it; here
// its answer is only written down in another form. Surprise: whoever cannot be named in the mode
// that is asked for is left out and told, since smp_open would refuse the whole list for one.

#include "survey.h"
#include "inventory.h"
#include "tell.h"

// For each entry that counts: in the inventory's own list, in its working memory, in ours. That
// order keeps each aligned to 8 bytes.
#define ENTRY_BYTES (sizeof(struct cpu) + sizeof(uint64_t) + sizeof(struct smp_cpu))

_Static_assert(sizeof(struct cpu) % 8 == 0, "what stands behind the inventory's list is aligned");

static struct acpi_table table_of(const struct engine_madt *madt)
{
    return (struct acpi_table){.bytes = madt->table, .length = madt->bytes};
}

size_t engine_room_bytes(const struct engine_madt *madt)
{
    const struct acpi_table table = table_of(madt);
    return inventory_capacity(&table) * ENTRY_BYTES;
}

// Writes down who can be woken, the caller first, wherever its ID stands.
static void take_processors(const struct inventory *inventory, enum smp_apic_mode mode,
                            struct engine_list *list, uint32_t *first_unreachable)
{
    for (uint32_t i = 0; i < inventory->enabled; i++) {
        const uint32_t apic_id = inventory->cpus[i].apic_id;
        if (i > 0 && !smp_can_address(mode, apic_id)) {
            if (list->unreachable++ == 0)
                *first_unreachable = apic_id;
            continue;
        }
        list->cpus[list->count] = (struct smp_cpu){(uint32_t)list->count, apic_id};
        list->count++;
    }
}

enum status engine_read_madt(const struct engine_madt *madt, struct engine_list *list)
{
    const struct problems *problems = &madt->problems;
    const struct acpi_table table = table_of(madt);
    const size_t capacity = inventory_capacity(&table), bytes = engine_room_bytes(madt);
    uint32_t first_unreachable = 0;

    *list = (struct engine_list){0};
    if (!madt->room || madt->room_bytes < bytes || (uintptr_t)madt->room % sizeof(uint64_t) != 0) {
        problem_tell(problems, SEVERITY_ERROR, "no-memory",
                     "the list of processors takes %u bytes, aligned to 8; there are %u at %x",
                     (uint64_t)bytes, (uint64_t)madt->room_bytes, (uint64_t)(uintptr_t)madt->room);
        return STATUS_NO_SPACE;
    }
    struct inventory inventory = {.cpus = madt->room, .capacity = capacity};
    uint64_t *keys = (uint64_t *)(void *)(inventory.cpus + capacity);
    const enum status status =
        inventory_read(&table, madt->own_apic_id, keys, problems, &inventory);
    if (status != STATUS_OK && status != STATUS_TRUNCATED)
        return status;

    *list = (struct engine_list){
        .cpus = (struct smp_cpu *)(void *)(keys + capacity),
        .disabled = inventory.disabled,
        .duplicate = inventory.duplicate,
        .impossible = inventory.impossible,
        .own_listed = inventory.bsp_listed,
        .wakeup_mailbox = inventory.wakeup_mailbox,
    };
    take_processors(&inventory, madt->apic_mode, list, &first_unreachable);
    if (list->unreachable != 0)
        problem_tell(problems, SEVERITY_WARNING, "unreachable-id",
                     "%u processors cannot be addressed in %s mode and are left out, the first of "
                     "them with APIC ID %x",
                     (uint64_t)list->unreachable, smp_apic_word(madt->apic_mode),
                     (uint64_t)first_unreachable);
    if (list->wakeup_mailbox)
        problem_tell(problems, SEVERITY_WARNING, "wakeup-mailbox",
                     "the MADT has a wake-up mailbox (type 0x10): firmware parks processors there "
                     "and may not expect an INIT");
    return status;
}
