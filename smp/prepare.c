// From a page that can be written to a page that processors can start in. Every step is checked
// here, before the first message, since after it a mistake is a silent processor.

#include "prepare.h"

#include "control.h"
#include "line.h"
#include "msr.h"

#define FOUR_GIB (1ull << 32)

static enum status fail(const struct problems *problems, const char *what, const char *text,
                        uint64_t number)
{
    char buffer[LINE_BYTES];
    struct line line;

    line_start(&line, buffer, sizeof buffer);
    line_add_format(&line, text, number);
    problems->tell(problems->context, SEVERITY_ERROR, what, line.text);
    return STATUS_INVALID;
}

struct trampoline_parameters prepare_parameters(const struct machine *machine,
                                                const struct plan *plan, const struct arena *arena,
                                                const struct page_tables *tables)
{
    const struct processor *processor = &machine->processor;
    return (struct trampoline_parameters){
        .x86_bpt_pml4_addr = (uint32_t)tables->pool_phys,
        .lcpus = (uint32_t)(uintptr_t)arena_table(arena),
        .lcpus_half = (uint32_t)(arena->table_entries * LCPU_ID_BYTES / 2),
        .rally = (uint32_t)(uintptr_t)arena_rally(arena),
        .cr4 = CR4_PAE | (processor->mce ? CR4_MCE : 0) | ((uint32_t)machine->cr4 & CR4_LA57),
        .efer = EFER_LME | (processor->no_execute ? EFER_NXE : 0),
        .x2apic = plan->apic == &apic_x2apic,
        .id_leaf = processor->id_leaf,
        .misc_enable =
            processor->vendor == VENDOR_INTEL && processor->family >= 6 ? MSR_IA32_MISC_ENABLE : 0,
    };
}

static enum status check_cr3(uint64_t cr3, const struct problems *problems)
{
    if (cr3 == 0 || cr3 % PAGE_BYTES != 0 || cr3 >= FOUR_GIB)
        return fail(
            problems, "bad-cr3",
            "CR3 is %x: it must not be 0, must be page-aligned, and below 4 GiB, since an AP "
            "loads it with 32 bits",
            cr3);
    return STATUS_OK;
}

enum status prepare_page(const struct machine *machine, const struct arena *arena,
                         const struct trampoline *trampoline,
                         const struct trampoline_parameters *parameters, uint64_t entry,
                         const struct problems *problems, const struct page_tables *tables,
                         uint8_t *view, size_t *relocations)
{
    enum status status;
    size_t offset;

    if ((status = check_cr3(tables->pool_phys, problems)) != STATUS_OK)
        return status;
    if (trampoline_copy(trampoline, view) != STATUS_OK)
        return fail(problems, "bad-copy", "the trampoline at %x does not read back as written",
                    machine->low_page);
    if (trampoline_patch(trampoline, view, machine->low_page, relocations) != STATUS_OK)
        return fail(problems, "bad-relocation", "relocation %u of the trampoline does not fit",
                    *relocations);
    trampoline_set_parameters(trampoline, view, parameters);
    if (trampoline_verify(trampoline, view, machine->low_page, parameters, &offset) != STATUS_OK)
        return fail(problems, "bad-copy", "the finished trampoline differs at offset %x", offset);
    return address_space_prove(machine, arena, entry, problems, tables);
}
