// Laying out and filling the memory that processors own. No decision, no message, no instruction of
// the machine: the host's tests run the same lines.

#include "arena.h"

#include "gate.h"
#include "image_layout.h"
#include "mem.h"
#include "sort.h"

// Descriptors as the trampoline's (SDM vol. 3A, "Segment Descriptors"), and an available 64-bit
// TSS.
#define DESCRIPTOR_CODE64 0x00af9b000000ffffu
#define DESCRIPTOR_DATA   0x00cf93000000ffffu
#define DESCRIPTOR_CODE32 0x00cf9b000000ffffu
#define DESCRIPTOR_TSS    0x0000890000000000u

#define IST_FAULT            1u
#define IST_NMI              2u
#define IST_MACHINE_CHECK    3u
#define VECTOR_MACHINE_CHECK 18u

static size_t round_to_page(size_t bytes)
{
    return (bytes + PAGE_BYTES - 1) & ~(size_t)(PAGE_BYTES - 1);
}

void arena_plan(size_t engine_bytes, size_t count, size_t tables_pages, struct arena *arena)
{
    size_t entries = 1;
    while (entries < count)
        entries *= 2;

    *arena = (struct arena){.count = count, .table_entries = entries, .tables_pages = tables_pages};
    arena->rally_offset = round_to_page(engine_bytes);
    arena->table_offset = arena->rally_offset + PAGE_BYTES; // rally and IDTs share a page
    arena->pages_offset = arena->table_offset + round_to_page(entries * sizeof(struct lcpu_id));
    arena->stacks_offset = arena->pages_offset + count * sizeof(struct lcpu_page);
    arena->books_offset = arena->stacks_offset + count * (GUARD_BYTES + SMP_STACK_BYTES);
    arena->lists_offset = arena->books_offset + count * sizeof(struct book);
    arena->window_offset = round_to_page(arena->lists_offset + 2 * count * sizeof(uint32_t));
    arena->tables_offset = arena->window_offset + PAGE_BYTES;
    arena->bytes = arena->tables_offset + tables_pages * PAGE_BYTES;
}

// Two IDTs behind the rally: one with an interrupt stack for each vector, and one that stays on the
// current stack, for the few instructions before a processor's TSS is loaded.
static struct gate *idt_of(const struct arena *arena)
{
    _Static_assert(sizeof(struct rally) + 2 * VECTORS * sizeof(struct gate) <= PAGE_BYTES,
                   "rally and IDTs share a page");
    return (struct gate *)(arena_rally(arena) + 1);
}

static uint32_t interrupt_stack(uint32_t vector)
{
    return vector == VECTOR_NMI             ? IST_NMI
           : vector == VECTOR_MACHINE_CHECK ? IST_MACHINE_CHECK
                                            : IST_FAULT;
}

// Vector n to `stubs` + n * `bytes`.
static void fill_idts(struct gate *idt, uint64_t stubs, uint64_t bytes)
{
    for (uint32_t i = 0; i < 2 * VECTORS; i++) {
        const uint32_t vector = i % VECTORS;
        const uint32_t ist = i < VECTORS ? interrupt_stack(vector) : GATE_CURRENT_STACK;
        idt[i] = gate_to(stubs + vector * bytes, SELECTOR_CODE64, ist);
    }
}

// All addresses are the processor's own: physical.
static void fill_descriptors(const struct arena *arena, size_t slot)
{
    struct lcpu_page *page = arena_page(arena, slot);
    const uint64_t phys = arena_page_phys(arena, slot);
    const uint64_t task = phys + offsetof(struct lcpu_page, task);
    const uint64_t limit = sizeof page->task - 1;
    const uint64_t idt = arena->phys + arena->rally_offset + sizeof(struct rally);
    const uint16_t idt_limit = VECTORS * sizeof(struct gate) - 1;

    page->gdt[SELECTOR_CODE32 / 8] = DESCRIPTOR_CODE32;
    page->gdt[SELECTOR_DATA / 8] = DESCRIPTOR_DATA;
    page->gdt[SELECTOR_CODE64 / 8] = DESCRIPTOR_CODE64;
    page->gdt[SELECTOR_TSS / 8] =
        DESCRIPTOR_TSS | limit | (task & 0xffffff) << 16 | (task >> 24 & 0xff) << 56;
    page->gdt[SELECTOR_TSS / 8 + 1] = task >> 32;
    page->task.io_map = sizeof page->task; // beyond the limit: no I/O map
    for (uint32_t i = 0; i < INTERRUPT_STACKS; i++)
        page->task.ist[i] =
            phys + offsetof(struct lcpu_page, interrupt_stacks[i]) + INTERRUPT_BYTES;
    page->lcpu.gdtr =
        (struct pseudo_descriptor){sizeof page->gdt - 1, phys + offsetof(struct lcpu_page, gdt)};
    page->lcpu.idtr = (struct pseudo_descriptor){idt_limit, idt};
    page->lcpu.early_idtr =
        (struct pseudo_descriptor){idt_limit, idt + VECTORS * sizeof(struct gate)};
}

// A caller that runs on slot 0's tables has a stack of its own: its handlers may report on
// everything, and get this one.
static void widen_interrupt_stacks(struct lcpu_page *page, uint64_t top)
{
    for (uint32_t i = 0; i < INTERRUPT_STACKS; i++)
        page->task.ist[i] = top - i * (SMP_STACK_BYTES / 4);
}

static bool id_before(const void *left, const void *right)
{
    return ((const struct lcpu_id *)left)->apic_id < ((const struct lcpu_id *)right)->apic_id;
}

static void sort_table(struct lcpu_id *table, size_t count)
{
    sort(table, count, sizeof table[0], id_before);
}

// Whose mark is no proof, since another's lands in the same byte of the page.
static void note_shared_marks(const struct arena *arena, const struct smp_cpu *cpus)
{
    bool seen[MARK_COUNT] = {false}, shared[MARK_COUNT] = {false};

    for (size_t slot = 1; slot < arena->count; slot++) { // slot 0 leaves none
        const uint32_t mark = cpus[slot].apic_id & (MARK_COUNT - 1);
        shared[mark] = seen[mark];
        seen[mark] = true;
    }
    for (size_t slot = 1; slot < arena->count; slot++)
        arena_book(arena, slot)->mark_shared = shared[cpus[slot].apic_id & (MARK_COUNT - 1)];
}

void arena_fill(const struct arena *arena, const struct smp_cpu *cpus, uint64_t entry,
                uint64_t fault_stubs, const struct smp_host *host)
{
    struct rally *rally = arena_rally(arena);
    struct lcpu_id *table = arena_table(arena);

    memset(rally, 0, arena->tables_offset - arena->rally_offset);
    rally->host = *host;
    for (uint32_t i = 0; i < SMP_UNLISTED_MAX; i++)
        atomic_init(&rally->unlisted_ids[i], SMP_NO_ID);
    fill_idts(idt_of(arena), fault_stubs, FAULT_STUB_BYTES);
    for (size_t slot = 0; slot < arena->count; slot++) {
        struct lcpu *lcpu = arena_lcpu(arena, slot);
        const uint64_t stack_top = arena_stack_phys(arena, slot) + SMP_STACK_BYTES;
        fill_descriptors(arena, slot);
        if (slot == 0)
            widen_interrupt_stacks(arena_page(arena, 0), stack_top);
        lcpu->slot = (uint32_t)slot;
        lcpu->cpu = cpus[slot].cpu;
        lcpu->apic_id = cpus[slot].apic_id;
        lcpu->entry = entry;
        lcpu->stack = stack_top;
        lcpu->rally = (struct rally *)(uintptr_t)(arena->phys + arena->rally_offset); // the AP's
        table[slot] = (struct lcpu_id){cpus[slot].apic_id, (uint32_t)arena_page_phys(arena, slot)};
    }
    // Padding bears the one ID that no processor can have, and no record.
    for (size_t i = arena->count; i < arena->table_entries; i++)
        table[i] = (struct lcpu_id){.apic_id = SMP_NO_ID, .lcpu = 0};
    sort_table(table, arena->count);
    note_shared_marks(arena, cpus);
}

uint32_t arena_find(const struct arena *arena, uint32_t apic_id)
{
    const struct lcpu_id *table = arena_table(arena);
    size_t first = 0, end = arena->count;

    while (first < end) {
        const size_t middle = first + (end - first) / 2;
        if (table[middle].apic_id == apic_id)
            return (uint32_t)((table[middle].lcpu - arena_page_phys(arena, 0)) /
                              sizeof(struct lcpu_page));
        if (table[middle].apic_id < apic_id)
            first = middle + 1;
        else
            end = middle;
    }
    return UINT32_MAX;
}

void arena_seal(const struct arena *arena, uint64_t park)
{
    fill_idts(idt_of(arena), park, 0);
    for (size_t slot = 0; slot < arena->count; slot++)
        arena_lcpu(arena, slot)->entry = park;
}

void arena_falsify_id(const struct arena *arena, uint32_t apic_id)
{
    struct lcpu_id *table = arena_table(arena);
    for (size_t i = 0; i < arena->count; i++) {
        if (table[i].apic_id == apic_id)
            table[i].apic_id ^= 1u << 30;
    }
    sort_table(table, arena->count);
}
