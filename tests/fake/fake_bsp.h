// The BSP as firmware runs it: its registers, its tables, its local APIC in x2APIC mode, and its
// TPL. Surprise: RestoreTPL switches interrupts on, as EDK II's does, and the log shows where both
// stood among the instructions. Header only, since only the tests are compiled with UEFI's headers.
#pragma once

#include <efi.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fake_hw.h"

#define FAKE_RAISED   1u // notes in the log, with the TPL
#define FAKE_RESTORED 2u

#define FAKE_BSP_CR0  0x80000033u
#define FAKE_BSP_CR3  0x4000u
#define FAKE_BSP_CR4  0x6a8u
#define FAKE_BSP_EFER 0x500u
#define FAKE_BSP_PAT  0x0007040600070406u

static const struct hw_tables fake_bsp_tables = {
    .gdt = {0x47, 0x1000},
    .idt = {0xfff, 0x2000},
    .segments = {.cs = 0x38, .ss = 0x30, .ds = 0x20, .es = 0x28},
    .task = 0x60,
};

static EFI_TPL fake_tpl;

static inline EFI_TPL EFIAPI fake_raise_tpl(EFI_TPL wanted)
{
    const EFI_TPL before = fake_tpl;

    assert_true(wanted >= fake_tpl);
    fake_tpl = wanted;
    hw_disable_interrupts();
    fake_note(FAKE_RAISED, wanted);
    return before;
}

static inline void EFIAPI fake_restore_tpl(EFI_TPL wanted)
{
    assert_true(wanted <= fake_tpl);
    fake_tpl = wanted;
    fake_note(FAKE_RESTORED, wanted);
    hw_enable_interrupts();
}

// Behind fake_reset; IA32_APIC_BASE is the test's to set.
static inline void fake_bsp_start(EFI_BOOT_SERVICES *boot)
{
    boot->RaiseTPL = fake_raise_tpl;
    boot->RestoreTPL = fake_restore_tpl;
    fake_tpl = TPL_APPLICATION;
    fake_set_interrupts(true);
    fake_set_cr(FAKE_CR0, FAKE_BSP_CR0);
    fake_set_cr(FAKE_CR2, 0);
    fake_set_cr(FAKE_CR3, FAKE_BSP_CR3);
    fake_set_cr(FAKE_CR4, FAKE_BSP_CR4);
    fake_set_cell(FAKE_MSR, 0xc0000080, FAKE_BSP_EFER);
    fake_set_cell(FAKE_MSR, 0x277, FAKE_BSP_PAT);
    fake_set_cell(FAKE_MSR, 0x2ff, 0xc06);
    fake_set_cell(FAKE_MSR, 0x802, 0);
    fake_set_cell(FAKE_MSR, 0x803, 0x50014); // version: six local vectors
    fake_set_cell(FAKE_MSR, 0x808, 0x808);
    fake_set_cell(FAKE_MSR, 0x80f, 0x80f);
    for (uint32_t msr = 0x832; msr <= 0x837; msr++)
        fake_set_cell(FAKE_MSR, msr, msr);
    fake_set_tables(&fake_bsp_tables);
}
