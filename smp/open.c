// Opening an engine: its memory laid out and filled, the page below 1 MiB filled and proved. Every
// step is checked here, before the first message, since after it a mistake is a silent processor.

#include "address_space.h"
#include "control.h"
#include "engine.h"
#include "fault.h"
#include "mem.h"
#include "tell.h"

#define FOUR_GIB (1ull << 32)
#define ONE_MIB  (1u << 20)

// More than have room below 4 GiB.
#define COUNT_MOST (FOUR_GIB / (sizeof(struct lcpu_page) + GUARD_BYTES + SMP_STACK_BYTES))

static enum status fail(const struct smp_host *host, const char *what, const char *text,
                        uint64_t number)
{
    problem_tell(&host->problems, SEVERITY_ERROR, what, text, number);
    return STATUS_INVALID;
}

uint64_t smp_memory_bytes(const struct smp_setup *setup)
{
    struct arena arena;

    if (setup->count > COUNT_MOST)
        return UINT64_MAX;
    arena_plan(sizeof(struct smp), setup->count, address_space_bound(setup), &arena);
    return arena.bytes;
}

// Each page keeps a word of its own: a page of ROM or of nothing does not, nor do two addresses of
// one page. Returns the number of the first that does not, or `pages`.
static uint64_t find_bad_page(const struct smp_memory *memory, uint64_t pages)
{
    volatile uint64_t *const words = memory->view;
    const uint64_t step = PAGE_BYTES / sizeof words[0];

    for (uint64_t i = 0; i < pages; i++)
        words[i * step] = ~i;
    for (uint64_t i = 0; i < pages; i++) {
        if (words[i * step] != ~i)
            return i;
    }
    return pages;
}

static enum status check_memory(const struct smp_setup *setup, const struct arena *arena)
{
    const struct smp_memory *memory = &setup->memory;
    const struct smp_host *host = &setup->host;

    if (memory->phys == 0 || !memory->view)
        return fail(host, "memory", "no memory is given to the engine", 0);
    if (memory->phys % PAGE_BYTES != 0 || (uintptr_t)memory->view % PAGE_BYTES != 0)
        return fail(host, "memory", "the engine's memory at %x is not page-aligned", memory->phys);
    if (memory->phys >= FOUR_GIB || memory->bytes > FOUR_GIB - memory->phys)
        return fail(host, "memory",
                    "the engine's memory at %x is not wholly below 4 GiB, and an AP reaches it "
                    "before it has paging",
                    memory->phys);
    if (memory->bytes < arena->bytes) {
        (void)fail(host, "memory", "the engine's memory has %u bytes, and it needs more",
                   memory->bytes);
        return STATUS_NO_SPACE;
    }
    const uint64_t pages = arena->bytes / PAGE_BYTES, bad = find_bad_page(memory, pages);
    if (bad < pages)
        return fail(host, "memory", "the engine's memory at %x does not keep what is written to it",
                    memory->phys + bad * PAGE_BYTES);
    return STATUS_OK;
}

// What the APs are told.
static struct trampoline_parameters parameters_of(const struct smp *smp)
{
    const struct smp_features *features = &smp->features;
    const struct arena *arena = &smp->arena;

    return (struct trampoline_parameters){
        .x86_bpt_pml4_addr = (uint32_t)smp->tables.pool_phys,
        .lcpus = (uint32_t)(arena->phys + arena->table_offset),
        .lcpus_half = (uint32_t)(arena->table_entries * LCPU_ID_BYTES / 2),
        .rally = (uint32_t)(arena->phys + arena->rally_offset),
        .cr4 = CR4_PAE | (features->machine_check ? CR4_MCE : 0) |
               (features->five_levels ? CR4_LA57 : 0),
        .efer = EFER_LME | (features->no_execute ? EFER_NXE : 0),
        .x2apic = smp->apic_mode == SMP_X2APIC,
        .id_leaf = features->id_leaf,
        .misc_enable = features->misc_enable ? MSR_IA32_MISC_ENABLE : 0,
    };
}

// Two processors with one ID would find the same record and the same stack. And an xAPIC message to
// an ID that it cannot name goes to somebody else.
static enum status check_ids(const struct smp_setup *setup, const struct arena *arena)
{
    const struct lcpu_id *table = arena_table(arena);

    for (size_t i = 1; i < arena->count; i++) {
        if (table[i].apic_id == table[i - 1].apic_id)
            return fail(&setup->host, "repeated-id", "two processors are given with APIC ID %x",
                        table[i].apic_id);
        if (!smp_can_address(setup->apic_mode, setup->cpus[i].apic_id))
            return fail(&setup->host, "unreachable-id",
                        "APIC ID %x cannot be addressed in this mode", setup->cpus[i].apic_id);
    }
    return STATUS_OK;
}

enum status smp_open(const struct smp_setup *setup, struct smp **smp)
{
    struct arena arena;
    enum status status;

    if (setup->count > COUNT_MOST)
        return fail(&setup->host, "setup", "%u processors have no room below 4 GiB", setup->count);
    if (setup->count == 0 || setup->tsc_hz == 0)
        return fail(&setup->host, "setup", "no processor, or no rate of the TSC, is given", 0);
    arena_plan(sizeof(struct smp), setup->count, address_space_bound(setup), &arena);
    if ((status = check_memory(setup, &arena)) != STATUS_OK)
        return status;
    arena.phys = setup->memory.phys;
    arena.view = setup->memory.view;
    struct smp *const made = *smp = setup->memory.view;
    *made = (struct smp){
        .arena = arena,
        .features = setup->features,
        .apic_mode = setup->apic_mode,
        .apic_phys = setup->apic_phys,
        .regions = setup->regions,
        .region_count = setup->region_count,
        .host = setup->host,
        .clock = {.tsc_hz = setup->tsc_hz},
        .want = (uint32_t)setup->count - 1,
        .missing = arena_list(&arena, 0),
        .values = arena_list(&arena, 1),
    };
    made->apic = (struct apic){
        .operations = apic_operations_of(setup->apic_mode),
        .view = setup->apic_view,
        .idle_ticks = clock_ticks(&made->clock, SMP_APIC_IDLE_US),
    };
    arena_fill(&arena, setup->cpus, (uintptr_t)ap_main, (uintptr_t)fault_stubs, &setup->host);
    arena_rally(&arena)->pat = setup->pat;
    if ((status = trampoline_open_builtin(&made->trampoline)) != STATUS_OK)
        return fail(&setup->host, "bad-copy", "the trampoline's image is damaged", 0);
    if ((status = check_ids(setup, &arena)) != STATUS_OK ||
        (status = address_space_build(made)) != STATUS_OK)
        return status;
    made->parameters = parameters_of(made);
    return STATUS_OK;
}

enum status smp_map_page(struct smp *smp, uint32_t page_phys)
{
    if (page_phys == 0 || page_phys % PAGE_BYTES != 0 || page_phys >= ONE_MIB)
        return fail(&smp->host, "low-page",
                    "the page at %x cannot be named by a STARTUP: it must be page-aligned, below 1 "
                    "MiB, and not 0",
                    page_phys);
    if (page_phys >= smp->arena.phys && page_phys - smp->arena.phys < smp->arena.bytes)
        return fail(&smp->host, "low-page", "the page at %x lies in the engine's memory",
                    page_phys);
    smp->page_phys = page_phys;
    return address_space_place(smp, page_phys);
}

void smp_set_page_view(struct smp *smp, uint8_t *view)
{
    smp->page_view = view;
}

static enum status check_cr3(const struct smp *smp)
{
    const uint64_t cr3 = smp->tables.pool_phys;

    if (cr3 == 0 || cr3 % PAGE_BYTES != 0 || cr3 >= FOUR_GIB)
        return fail(
            &smp->host, "bad-cr3",
            "CR3 is %x: it must not be 0, must be page-aligned, and below 4 GiB, since an AP "
            "loads it with 32 bits",
            cr3);
    return STATUS_OK;
}

enum status smp_fill_page(struct smp *smp, uint8_t *view)
{
    const struct trampoline *trampoline = &smp->trampoline;
    enum status status;
    size_t offset;

    smp->page_view = view;
    smp->proved = false;
    if ((status = check_cr3(smp)) != STATUS_OK)
        return status;
    if (trampoline_copy(trampoline, view) != STATUS_OK)
        return fail(&smp->host, "bad-copy", "the trampoline at %x does not read back as written",
                    smp->page_phys);
    if (trampoline_patch(trampoline, view, smp->page_phys, &smp->relocations) != STATUS_OK)
        return fail(&smp->host, "bad-relocation", "relocation %u of the trampoline does not fit",
                    smp->relocations);
    trampoline_set_parameters(trampoline, view, &smp->parameters);
    if (trampoline_verify(trampoline, view, smp->page_phys, &smp->parameters, &offset) != STATUS_OK)
        return fail(&smp->host, "bad-copy", "the finished trampoline differs at offset %x", offset);
    smp->page_filled = true;
    status = address_space_prove(smp);
    smp->proved = status == STATUS_OK;
    return status;
}

struct smp_layout smp_layout(const struct smp *smp)
{
    const struct arena *arena = &smp->arena;

    return (struct smp_layout){
        .memory_bytes = arena->bytes,
        .cpu_bytes = sizeof(struct lcpu_page) + GUARD_BYTES + SMP_STACK_BYTES,
        .cr3 = smp->tables.pool_phys,
        .cr4 = smp->parameters.cr4,
        .efer = smp->parameters.efer,
        .page_phys = smp->page_phys,
        .page_view = smp->page_view,
        .page_window = arena->phys + arena->window_offset,
        .image_bytes = smp->trampoline.bytes,
        .relocations = smp->relocations,
    };
}

struct smp_tables smp_tables(const struct smp *smp)
{
    const struct lcpu *self = arena_lcpu(&smp->arena, 0);

    return (struct smp_tables){
        .cr3 = smp->tables.pool_phys,
        .gdt = self->gdtr.base,
        .idt = self->idtr.base,
        .early_idt = self->early_idtr.base,
        .gdt_limit = self->gdtr.limit,
        .idt_limit = self->idtr.limit,
        .code = SELECTOR_CODE64,
        .data = SELECTOR_DATA,
        .task = SELECTOR_TSS,
    };
}

// ---- on purpose ----

// What the processor itself has to know, by its record or, in real mode, by its mark.
static const uint8_t own_defects[] = {
    [SMP_HANG_IN_REAL] = DEFECT_HANG_REAL,    [SMP_HANG_IN_PROTECTED] = DEFECT_HANG_PROTECTED,
    [SMP_HANG_IN_LONG] = DEFECT_HANG_LONG,    [SMP_HANG_IN_C] = DEFECT_HANG_C,
    [SMP_UD_IN_REAL] = DEFECT_UD_REAL,        [SMP_UD_IN_PROTECTED] = DEFECT_UD_PROTECTED,
    [SMP_UD_IN_LONG] = DEFECT_UD_LONG,        [SMP_UD_IN_C] = DEFECT_UD_C,
    [SMP_UD_WHEN_DONE] = DEFECT_UD_WHEN_DONE, [SMP_LATE] = DEFECT_LATE,
};

void smp_break(struct smp *smp, uint32_t slot, enum smp_defect defect)
{
    const struct arena *arena = &smp->arena;
    struct lcpu *lcpu = arena_lcpu(arena, slot);

    switch (defect) {
    case SMP_HANG_IN_REAL:
    case SMP_UD_IN_REAL:
        arena_book(arena, slot)->real_defect = own_defects[defect];
        break;
    case SMP_BAD_STACK:
        lcpu->stack = arena_stack_phys(arena, slot) - GUARD_BYTES / 2;
        break;
    case SMP_BAD_ENTRY:
        lcpu->entry = 0;
        break;
    case SMP_BAD_CR3: // the page behind the window is empty: nothing is mapped
        lcpu->cr3_error =
            (uint32_t)(arena->phys + arena->window_offset) - smp->parameters.x86_bpt_pml4_addr;
        break;
    case SMP_WRONG_ID:
        arena_falsify_id(arena, lcpu->apic_id);
        break;
    case SMP_BAD_PAGE:
        trampoline_close(smp->page_view); // a loop: QEMU's STARTUP ends a HLT
        break;
    default:
        lcpu->defect = own_defects[defect];
    }
}
