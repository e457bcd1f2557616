// The BSP's own state, between firmware and us.
#pragma once

#include "firmware.h"
#include "hw.h"
#include "machine.h"

// What firmware has set up in its local APIC, and a wake leaves alone: the task priority, the
// spurious vector, and the local vectors without the bits that hardware moves. 0 where there is
// none.
#define APIC_VECTORS 6u
struct apic_settings {
    uint32_t task_priority, spurious, vectors[APIC_VECTORS];
};
void apic_read_settings(uint64_t apic_base, struct apic_settings *settings);

// As far as a wake changes it.
struct bsp_state {
    bool interrupts; // RFLAGS.IF
    EFI_TPL tpl;
    uint64_t cr0, cr3, cr4, efer, apic_base;
    uint64_t pat, mtrr_default; // 0 where the processor has none
    struct hw_tables tables;
    struct apic_settings apic;
};
void bsp_read(const struct firmware *firmware, const struct processor *processor,
              struct bsp_state *state);

// The name of the first thing that differs, NULL if nothing does.
const char *bsp_difference(const struct bsp_state *before, const struct bsp_state *now);

// What the BSP moves to: the address space, the descriptors and the handlers that the APs will
// have.
struct bsp_home {
    uint64_t cr3;
    uint64_t pat;                            // 0: left alone
    bool no_execute;                         // its page tables have NX bits
    struct pseudo_descriptor gdt, early_idt; // handlers that stay on the stack they find
    struct pseudo_descriptor idt;            // the same with stacks of the TSS
    uint16_t segments[4];                    // for CS, SS, DS, ES
    uint16_t task;                           // of that TSS
};

// After the exit, for good.
void bsp_take_over(const struct firmware *firmware, const struct bsp_home *home);

// While firmware lives: at TPL_HIGH_LEVEL, and without a TSS. Returns the TPL to go back to.
EFI_TPL bsp_borrow(const struct firmware *firmware, const struct bsp_home *home);

// Back to `state`, which was read before, and to that TPL.
void bsp_hand_back(const struct firmware *firmware, const struct bsp_state *state, EFI_TPL tpl);

// What the two address spaces differ in.
struct bsp_registers {
    uint64_t cr0, cr3, cr4, efer;
    uint64_t pat; // 0: is left alone
    struct hw_tables tables;
};

// After the exit, around a call of a runtime service: to firmware's address space, as it was when
// it started us, with its shadow stack off; and back to ours, with interrupts off, whatever
// firmware did.
void bsp_visit_firmware(const struct firmware *firmware, struct bsp_registers *ours);
void bsp_return(const struct bsp_registers *ours);
