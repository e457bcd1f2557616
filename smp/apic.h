// The local APIC of the processor that runs: xAPIC by memory and x2APIC by MSR behind the same
// three operations. (SDM vol. 3A, "Advanced Programmable Interrupt Controller".)
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lapic.h"
#include "smp.h"
#include "status.h"

struct apic;

struct apic_operations {
    // Turns the local APIC on in this mode. EXTD is never cleared.
    void (*enable)(void);
    uint32_t (*read_id)(uint64_t view);
    // Writes the ICR. `command` without destination; `destination` an APIC ID, ignored with a
    // shorthand. STATUS_TIMEOUT: the message before was still pending after idle_ticks; this one
    // was not sent.
    enum status (*send)(struct apic *apic, uint32_t destination, uint32_t command);
};

extern const struct apic_operations apic_xapic, apic_x2apic;

static inline const struct apic_operations *apic_operations_of(enum smp_apic_mode mode)
{
    return mode == SMP_X2APIC ? &apic_x2apic : &apic_xapic;
}

struct apic {
    const struct apic_operations *operations;
    uint64_t view;       // xAPIC registers, as this processor sees them
    uint64_t idle_ticks; // longest wait for an xAPIC message to leave
    uint64_t icr_writes; // messages sent so far
};
