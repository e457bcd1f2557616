// Exceptions and NMIs in long mode on the engine's tables: the evidence in the processor's own
// record, one clear line, and that processor stops. The others run on. Private to smp/.
#pragma once

#include <stdbool.h>
#include <stdint.h>

// What the entry stubs leave on the interrupt stack (fault_entry.S), lowest address first.
struct fault_frame {
    uint64_t vector, error;
    uint64_t rip, cs, rflags, rsp, ss; // pushed by the processor
};

// The entry stubs of vectors 0 to 31, FAULT_STUB_BYTES each.
extern const uint8_t fault_stubs[];

// Called by the stub of the NMI: was it sent to end a wait? Then the processor goes on at
// frame->rip.
bool fault_is_nudge(struct fault_frame *frame);

// Called by the stubs with interrupts off, on an interrupt stack. Keeps the evidence of the first
// fault, tells the host, and ends in the page's loop, which outlives the caller's code.
_Noreturn void fault_report(const struct fault_frame *frame);
