// Descriptor tables as a processor reads them: where one is, and an entry of a 64-bit IDT, an
// interrupt gate. (SDM vol. 3A, "64-Bit Mode IDT".)
#pragma once

#include <stdint.h>

#define GATE_INTERRUPT     0x8e00u // present, DPL 0
#define GATE_CURRENT_STACK 0u      // no interrupt stack of the TSS

// As LGDT and LIDT read it.
struct __attribute__((packed)) pseudo_descriptor {
    uint16_t limit;
    uint64_t base;
};

struct gate {
    uint16_t offset_low, selector, flags, offset_middle;
    uint32_t offset_high, reserved;
};

// To this handler, in this code segment, on this interrupt stack (1 to 7) of the processor's TSS.
static inline struct gate gate_to(uint64_t handler, uint16_t selector, uint32_t stack)
{
    return (struct gate){
        .offset_low = (uint16_t)handler,
        .selector = selector,
        .flags = (uint16_t)(GATE_INTERRUPT | stack),
        .offset_middle = (uint16_t)(handler >> 16),
        .offset_high = (uint32_t)(handler >> 32),
    };
}
