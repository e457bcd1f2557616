// Exceptions and NMIs in long mode: one clear line, the evidence in the processor's own record, and
// that processor stops. The others go on.
#pragma once

#include <stdint.h>

#include "handoff.h"

// What the entry stubs leave on the interrupt stack (fault_entry.S), lowest address first.
struct fault_frame {
    uint64_t vector, error;
    uint64_t rip, cs, rflags, rsp, ss; // pushed by the processor
};

// The name of an exception ("page fault").
const char *fault_name(uint32_t vector);

// The address of the entry stub for this vector, 0..31.
uint64_t fault_stub(uint32_t vector);

// Called by the stubs with interrupts off, on an interrupt stack. Keeps the evidence of the first
// fault, writes the line, and ends in the page's loop, which outlives this image. An AP's further
// fault writes nothing. On the BSP each calls rally.bsp_stopped, where one is set, with fewer
// sinks.
_Noreturn void fault_report(const struct fault_frame *frame);
