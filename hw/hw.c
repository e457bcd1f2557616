// The machine's side of the seam: a function for each instruction or fixed group of them. Surprise:
// an access to a register that may not exist takes the #GP itself, on whosever IDT it runs.

#include "hw.h"

#include <stdatomic.h>

#include "control.h"
#include "gate.h"
#include "mem.h"

struct cpuid hw_cpuid(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid out;
    __asm__ volatile("cpuid"
                     : "=a"(out.eax), "=b"(out.ebx), "=c"(out.ecx), "=d"(out.edx)
                     : "a"(leaf), "c"(subleaf));
    return out;
}

uint64_t hw_rdmsr(uint32_t msr)
{
    uint32_t low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
    return (uint64_t)high << 32 | low;
}

void hw_wrmsr(uint32_t msr, uint64_t value)
{
    __asm__ volatile("wrmsr"
                     :
                     : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
                     : "memory");
}

// Vectors that can come while interrupts are off: exceptions, NMI, machine check.
#define EXCEPTIONS         32u
#define GENERAL_PROTECTION 13u

// safe_msr.S: the access on this IDT, with interrupts off. 0 after a #GP, whose gate leads to
// hw_msr_faulted.
uint32_t hw_msr_read_on(const struct pseudo_descriptor *idt, uint32_t msr, uint64_t *value);
uint32_t hw_msr_write_on(const struct pseudo_descriptor *idt, uint32_t msr, uint64_t *value);
void hw_msr_faulted(void);

// Inline, whatever the compiler thinks: with CET switched off in a function of its own, the return
// from it would be one that the shadow stack has not seen.
static inline __attribute__((always_inline)) void write_cr4(uint64_t value)
{
    __asm__ volatile("mov %0, %%cr4" : : "r"(value) : "memory");
}

// Whoever owns the IDT, this processor runs on a copy of it for a moment, with a #GP of ours in it;
// an NMI goes where it would have gone. With shadow stacks on, a handler cannot resume elsewhere,
// so they are off as well.
static bool access_safely(uint32_t (*access)(const struct pseudo_descriptor *, uint32_t,
                                             uint64_t *),
                          uint32_t msr, uint64_t *value)
{
    const struct hw_tables tables = hw_read_tables();
    const uint64_t bytes = tables.idt.limit + 1u, cr4 = hw_read_cr4();
    struct gate gates[EXCEPTIONS] = {0};
    const struct pseudo_descriptor idt = {sizeof gates - 1, (uintptr_t)gates};
    const bool interrupts = hw_interrupts_are_on();

    memcpy(gates, (const void *)(uintptr_t)tables.idt.base,
           bytes < sizeof gates ? bytes : sizeof gates);
    gates[GENERAL_PROTECTION] =
        gate_to((uintptr_t)hw_msr_faulted, tables.segments.cs, GATE_CURRENT_STACK);
    hw_disable_interrupts();
    if (cr4 & CR4_CET)
        write_cr4(cr4 & ~(uint64_t)CR4_CET);
    const bool survived = access(&idt, msr, value) != 0;
    if (cr4 & CR4_CET)
        write_cr4(cr4);
    if (interrupts)
        hw_enable_interrupts();
    return survived;
}

bool hw_read_msr_safely(uint32_t msr, uint64_t *value)
{
    *value = 0;
    return access_safely(hw_msr_read_on, msr, value);
}

bool hw_write_msr_safely(uint32_t msr, uint64_t value)
{
    return access_safely(hw_msr_write_on, msr, &value);
}

void hw_fence_before_x2apic(void)
{
    __asm__ volatile("mfence; lfence" ::: "memory");
}

void hw_flush(const void *memory, uint64_t bytes)
{
    const uint64_t line = 64; // flushing one twice does no harm where lines are longer
    const uint64_t start = (uintptr_t)memory & ~(line - 1);
    for (uint64_t at = start; at < (uintptr_t)memory + bytes; at += line)
        __asm__ volatile("clflush (%0)" : : "r"(at) : "memory");
    __asm__ volatile("mfence" ::: "memory");
}

void hw_drain_writes(void)
{
    __asm__ volatile("sfence" ::: "memory");
}

uint8_t hw_in8(uint16_t port)
{
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

void hw_out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

uint16_t hw_in16(uint16_t port)
{
    uint16_t value;
    __asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

void hw_out16(uint16_t port, uint16_t value)
{
    __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}

uint32_t hw_in32(uint16_t port)
{
    uint32_t value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

void hw_out32(uint16_t port, uint32_t value)
{
    __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}

uint8_t hw_mmio_read8(uint64_t phys)
{
    return *(const volatile uint8_t *)(uintptr_t)phys;
}

void hw_mmio_write8(uint64_t phys, uint8_t value)
{
    *(volatile uint8_t *)(uintptr_t)phys = value;
}

uint32_t hw_mmio_read32(uint64_t phys)
{
    return *(const volatile uint32_t *)(uintptr_t)phys;
}

void hw_mmio_write32(uint64_t phys, uint32_t value)
{
    *(volatile uint32_t *)(uintptr_t)phys = value;
}

uint64_t hw_tsc(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

void hw_pause(void)
{
    __asm__ volatile("pause" ::: "memory");
}

void hw_await_store(const _Atomic uint32_t *word, uint32_t value)
{
    __asm__ volatile("monitor" : : "a"(word), "c"(0), "d"(0) : "memory");
    if (atomic_load_explicit(word, memory_order_relaxed) == value) // after MONITOR: none is missed
        __asm__ volatile("mwait" : : "a"(0), "c"(0) : "memory");
}

extern const uint8_t hw_await_nmi_end[]; // await_nmi.S

uint64_t hw_after_nmi(uint64_t ip)
{
    const uint64_t start = (uintptr_t)hw_await_nmi, end = (uintptr_t)hw_await_nmi_end;
    return ip >= start && ip < end ? start : ip;
}

_Noreturn void hw_hand_over(uint64_t entry, uint64_t stack, uint64_t cr3, uint64_t argument)
{
    __asm__ volatile("mov %0, %%cr3\n\t"
                     "mov %1, %%rsp\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "push $0\n\t" // where a call would leave its return address
                     "jmp *%2"
                     :
                     : "r"(cr3), "r"(stack), "r"(entry), "D"(argument)
                     : "memory");
    __builtin_unreachable();
}

_Noreturn void hw_halt(void)
{
    for (;;)
        __asm__ volatile("cli; hlt" ::: "memory");
}

_Noreturn void hw_jump(uint64_t address)
{
    __asm__ volatile("jmp *%0" : : "r"(address) : "memory");
    __builtin_unreachable();
}

_Noreturn void hw_undefined(void)
{
    __asm__ volatile("ud2");
    __builtin_unreachable();
}

uint64_t hw_read_cr0(void)
{
    uint64_t value;
    __asm__ volatile("mov %%cr0, %0" : "=r"(value));
    return value;
}

uint64_t hw_read_cr2(void)
{
    uint64_t value;
    __asm__ volatile("mov %%cr2, %0" : "=r"(value));
    return value;
}

uint64_t hw_read_cr3(void)
{
    uint64_t value;
    __asm__ volatile("mov %%cr3, %0" : "=r"(value));
    return value;
}

uint64_t hw_read_cr4(void)
{
    uint64_t value;
    __asm__ volatile("mov %%cr4, %0" : "=r"(value));
    return value;
}

void hw_write_cr0(uint64_t value)
{
    __asm__ volatile("mov %0, %%cr0" : : "r"(value) : "memory");
}

void hw_write_cr2(uint64_t value)
{
    __asm__ volatile("mov %0, %%cr2" : : "r"(value) : "memory");
}

void hw_write_cr3(uint64_t value)
{
    __asm__ volatile("mov %0, %%cr3" : : "r"(value) : "memory");
}

void hw_write_cr4(uint64_t value)
{
    write_cr4(value);
}

bool hw_interrupts_are_on(void)
{
    uint64_t flags;
    __asm__ volatile("pushfq; pop %0" : "=r"(flags));
    return flags & 1u << 9;
}

void hw_enable_interrupts(void)
{
    __asm__ volatile("sti" ::: "memory");
}

void hw_disable_interrupts(void)
{
    __asm__ volatile("cli" ::: "memory");
}

struct hw_tables hw_read_tables(void)
{
    struct hw_tables tables;
    __asm__ volatile(
        "sgdt %0; sidt %1; mov %%cs, %2; mov %%ss, %3; mov %%ds, %4; mov %%es, %5; str %6"
        : "=m"(tables.gdt), "=m"(tables.idt), "=r"(tables.segments.cs), "=r"(tables.segments.ss),
          "=r"(tables.segments.ds), "=r"(tables.segments.es), "=r"(tables.task));
    return tables;
}

void hw_write_tables(const struct hw_tables *tables)
{
    // The far return loads CS: a far jump cannot take its selector from a register in 64-bit mode.
    __asm__ volatile("lgdt %0\n\t"
                     "lidt %1\n\t"
                     "mov %4, %%ds\n\t"
                     "mov %5, %%es\n\t"
                     "mov %3, %%ss\n\t"
                     "movzwl %w2, %%eax\n\t"
                     "push %%rax\n\t"
                     "lea 1f(%%rip), %%rax\n\t"
                     "push %%rax\n\t"
                     "lretq\n\t"
                     "1:"
                     :
                     : "m"(tables->gdt), "m"(tables->idt), "r"((uint32_t)tables->segments.cs),
                       "r"((uint32_t)tables->segments.ss), "r"((uint32_t)tables->segments.ds),
                       "r"((uint32_t)tables->segments.es)
                     : "rax", "memory");
    if (tables->task != 0)
        __asm__ volatile("ltr %w0" : : "r"((uint32_t)tables->task) : "memory");
}
