// Every model-specific register that is read or written anywhere, once: its number, and behind it
// what proves that it exists. tools/check_msrs.py holds all code to this table: a register whose
// proof is "none" is touched by hw_read_msr_safely and hw_write_msr_safely alone. (SDM vol. 4; AMD
// APM vol. 2, "MSR Cross-Reference".) Read by the assembler too.
#pragma once

#define MSR_IA32_APIC_BASE         0x1b                // long mode: every processor that has it
#define MSR_IA32_BIOS_SIGN_ID      0x8b                // none
#define MSR_IA32_XAPIC_DISABLE     0xbd                // IA32_ARCH_CAPABILITIES bit 21
#define MSR_IA32_ARCH_CAPABILITIES 0x10a               // CPUID 7 EDX bit 29
#define MSR_IA32_MISC_ENABLE       0x1a0               // Intel, family 6 and later, long mode
#define MSR_IA32_PAT               0x277               // CPUID 1 EDX bit 16
#define MSR_IA32_MTRR_DEF_TYPE     0x2ff               // CPUID 1 EDX bit 12
#define MSR_IA32_S_CET             0x6a2               // CR4 bit 23 is set
#define MSR_X2APIC(at)             (0x800 + (at) / 16) // IA32_APIC_BASE bit 10; `at` as in xAPIC mode
#define MSR_RESERVED               0x8ff // none: of the x2APIC's range, and no processor has it
#define MSR_EFER                   0xc0000080 // long mode
#define MSR_SEV_STATUS             0xc0010131 // none: CPUID 0x8000001F EAX bit 1, but for old hosts
