// The BSP's own state: taken from firmware before the wake, and given back to the bit where
// firmware lives on. Surprise: the task register. Firmware may run without one, and no instruction
// takes it away again once it is loaded. So while firmware lives, faults are handled on the current
// stack, which needs none.

#include "run.h"

#include "control.h"
#include "hw.h"
#include "mem.h"

#define CR0_WP  (1u << 16)
#define CR4_PGE (1u << 7)

void bsp_read(struct bsp_state *state)
{
    *state = (struct bsp_state){
        .interrupts = hw_interrupts_are_on(),
        .cr0 = hw_read_cr0(),
        .cr3 = hw_read_cr3(),
        .cr4 = hw_read_cr4(),
        .efer = hw_rdmsr(MSR_EFER),
        .apic_base = hw_rdmsr(MSR_IA32_APIC_BASE),
        .tables = hw_read_tables(),
    };
}

void bsp_take_over(struct reveille *run)
{
    const struct lcpu *self = &arena_lcpu(&run->arena, 0)->lcpu;
    const bool inside = run->options.exit == ANSWER_NO;
    const struct hw_tables tables = {
        .gdt = self->gdtr,
        .idt = inside ? self->early_idtr : self->idtr,
        .code = SELECTOR_CODE64,
        .data = SELECTOR_DATA,
        .task = inside ? 0 : SELECTOR_TSS,
    };

    hw_disable_interrupts();
    hw_write_cr0(hw_read_cr0() | CR0_WP);
    if (run->machine.processor.no_execute)
        hw_wrmsr(MSR_EFER, hw_rdmsr(MSR_EFER) | EFER_NXE);
    hw_write_cr4(run->firmware.cr4 & ~(uint64_t)CR4_PGE); // no global entry of firmware's survives
    if (arena_rally(&run->arena)->pat != 0)
        hw_wrmsr(MSR_IA32_PAT, arena_rally(&run->arena)->pat);
    hw_write_cr3(run->tables.pool_phys);
    hw_write_tables(&tables);
}

void bsp_hand_back(const struct bsp_state *state)
{
    struct hw_tables tables = state->tables;

    tables.task = 0; // never changed
    hw_write_cr3(state->cr3);
    hw_write_cr4(state->cr4);
    hw_write_cr0(state->cr0);
    hw_wrmsr(MSR_EFER, state->efer);
    hw_write_tables(&tables);
    if (state->interrupts)
        hw_enable_interrupts();
}

const char *bsp_difference(const struct bsp_state *before, const struct bsp_state *now)
{
    const struct hw_tables *left = &before->tables, *right = &now->tables;

    return before->interrupts != now->interrupts                    ? "RFLAGS.IF"
           : before->cr0 != now->cr0                                ? "CR0"
           : before->cr3 != now->cr3                                ? "CR3"
           : before->cr4 != now->cr4                                ? "CR4"
           : before->efer != now->efer                              ? "EFER"
           : before->apic_base != now->apic_base                    ? "IA32_APIC_BASE"
           : memcmp(&left->gdt, &right->gdt, sizeof left->gdt) != 0 ? "GDTR"
           : memcmp(&left->idt, &right->idt, sizeof left->idt) != 0 ? "IDTR"
           : left->code != right->code || left->data != right->data ? "a segment"
           : left->task != right->task                              ? "TR"
                                                                    : NULL;
}
