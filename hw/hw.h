// The seam: every privileged, port and timing instruction that C asks for stands behind these
// functions; the trampoline and the assembler entries have their own. hw.c is the machine's side,
// tests/fake/ a machine that a test owns and that aborts on what it did not expect. Nothing here
// decides anything.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "gate.h"
#include "msr.h"

struct cpuid {
    uint32_t eax, ebx, ecx, edx;
};

// CPUID with leaf in EAX and subleaf in ECX. Serialises.
struct cpuid hw_cpuid(uint32_t leaf, uint32_t subleaf);

// Model-specific registers (msr.h). #GP where the register, or a bit, does not exist.
uint64_t hw_rdmsr(uint32_t msr);
void hw_wrmsr(uint32_t msr, uint64_t value);

// The same for one that may not exist. False: it was #GP, which was survived, and *value is 0. On
// any processor, on its own or on firmware's IDT, in whatever state the interrupts are. Not for a
// guest whose hypervisor answers with #VE or #VC.
bool hw_read_msr_safely(uint32_t msr, uint64_t *value);
bool hw_write_msr_safely(uint32_t msr, uint64_t value);

// MFENCE; LFENCE: all earlier stores are visible before a following WRMSR to the x2APIC, which is
// not serialising (SDM vol. 3A, "Extended XAPIC (x2APIC)": "MSR Access in x2APIC Mode").
void hw_fence_before_x2apic(void);

// CLFLUSH of every cache line of these bytes: what they say is in memory when it returns.
void hw_flush(const void *memory, uint64_t bytes);

// SFENCE: what this processor has drawn into write-combining memory is on its way to the device.
void hw_drain_writes(void);

// Ports.
uint8_t hw_in8(uint16_t port);
void hw_out8(uint16_t port, uint8_t value);
uint16_t hw_in16(uint16_t port);
void hw_out16(uint16_t port, uint16_t value);
uint32_t hw_in32(uint16_t port);
void hw_out32(uint16_t port, uint32_t value);

// Device memory: one aligned access each, never merged or repeated.
uint8_t hw_mmio_read8(uint64_t phys);
void hw_mmio_write8(uint64_t phys, uint8_t value);
uint32_t hw_mmio_read32(uint64_t phys);
void hw_mmio_write32(uint64_t phys, uint32_t value);

// The time-stamp counter, in ticks. Not ordered against other instructions.
uint64_t hw_tsc(void);

// PAUSE: belongs into every loop that waits for another processor or a device.
void hw_pause(void);

// Waits until *word is another than `value`, with interrupts off; may return earlier. By MONITOR
// and MWAIT, where CPUID has them (leaf 1, ECX bit 3): a store to its cache line ends it, or an
// NMI. By HLT: an NMI alone, whose handler has hw_after_nmi say where it returns to, since one that
// came between the look and the HLT would otherwise be lost.
void hw_await_store(const _Atomic uint32_t *word, uint32_t value);
void hw_await_nmi(const _Atomic uint32_t *word, uint32_t value);
uint64_t hw_after_nmi(uint64_t ip);

// Goes on at `entry`, as if called with `argument`, on this stack (its top, 16-byte aligned) and
// with this root of page tables.
_Noreturn void hw_hand_over(uint64_t entry, uint64_t stack, uint64_t cr3, uint64_t argument);

// CLI; HLT for ever. An NMI's handler may run in between; does not return.
_Noreturn void hw_halt(void);

// Goes on at this address, which leads to a loop of CLI and HLT.
_Noreturn void hw_jump(uint64_t address);

// UD2: an undefined opcode, on purpose.
_Noreturn void hw_undefined(void);

// Control registers.
uint64_t hw_read_cr0(void);
uint64_t hw_read_cr2(void);
uint64_t hw_read_cr3(void);
uint64_t hw_read_cr4(void);
void hw_write_cr0(uint64_t value);
void hw_write_cr2(uint64_t value);
void hw_write_cr3(uint64_t value);
void hw_write_cr4(uint64_t value);

// RFLAGS.IF.
bool hw_interrupts_are_on(void);
void hw_disable_interrupts(void);
void hw_enable_interrupts(void);

// The descriptor tables and selectors a processor runs on.
struct hw_tables {
    struct pseudo_descriptor gdt, idt;
    struct {
        uint16_t cs, ss, ds, es;
    } segments;
    uint16_t task; // 0: the task register is left alone
};

struct hw_tables hw_read_tables(void);

// Loads the tables, then CS, DS, ES, SS and the task register from them. FS and GS stay as they
// are.
void hw_write_tables(const struct hw_tables *tables);
