// The local APIC: xAPIC by memory and x2APIC by MSR behind the same four operations.
// (SDM vol. 3A, "Advanced Programmable Interrupt Controller".)
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "status.h"

#define APIC_BASE_BSP  (1u << 8)
#define APIC_BASE_EXTD (1u << 10)
#define APIC_BASE_EN   (1u << 11)

#define APIC_MMIO_PHYS(apic_base) ((apic_base)&0x000ffffffffff000u)

// The low half of the interrupt command register, composed as the manual's table reads.
#define ICR_VECTOR(vector)   ((uint32_t)(vector)&0xffu)
#define ICR_DELIVERY_NMI     (4u << 8)
#define ICR_DELIVERY_INIT    (5u << 8)
#define ICR_DELIVERY_STARTUP (6u << 8)
#define ICR_DELIVERY_MASK    (7u << 8)
#define ICR_PHYSICAL         (0u << 11)
#define ICR_STATUS_PENDING   (1u << 12) // xAPIC only
#define ICR_ASSERT           (1u << 14)
#define ICR_EDGE             (0u << 15)
#define ICR_TO_DESTINATION   (0u << 18)
#define ICR_TO_ALL_BUT_SELF  (3u << 18)

// The two messages of a wake; `vector` is the number of the page where a processor starts.
#define ICR_INIT (ICR_VECTOR(0) | ICR_DELIVERY_INIT | ICR_PHYSICAL | ICR_ASSERT | ICR_EDGE)
#define ICR_STARTUP(vector) \
    (ICR_VECTOR(vector) | ICR_DELIVERY_STARTUP | ICR_PHYSICAL | ICR_ASSERT | ICR_EDGE)

struct apic;

struct apic_operations {
    const char *name; // "xapic" or "x2apic"
    // Turns the local APIC on in this mode. EXTD is never cleared.
    void (*enable)(const struct apic *apic);
    uint32_t (*read_id)(const struct apic *apic);
    // Writes the ICR. `command` without destination; `destination` an APIC ID, ignored with a
    // shorthand. STATUS_TIMEOUT: the message before was still pending after idle_ticks; this one
    // was not sent.
    enum status (*send)(struct apic *apic, uint32_t destination, uint32_t command);
    // Can this ID be named as a destination? A broadcast ID cannot: it would hit the sender too.
    bool (*can_address)(uint32_t apic_id);
};

// An xAPIC message leaves within a bus transaction or two, unless its target's APIC keeps asking
// for a retry; 100 ms is a thousand times the longest ever reported.
#define APIC_IDLE_US 100000u

extern const struct apic_operations apic_xapic, apic_x2apic;

struct apic {
    const struct apic_operations *operations;
    uint64_t mmio_phys;  // xAPIC registers, from IA32_APIC_BASE
    uint64_t idle_ticks; // longest wait for an xAPIC message to leave
    uint64_t icr_writes; // messages sent so far
};

// The local APIC of the processor that calls, in the mode that this IA32_APIC_BASE says.
struct apic apic_of(uint64_t base);

// What firmware has set up in its local APIC, and a wake leaves alone: the task priority, the
// spurious vector, and the local vectors without the bits that hardware moves. 0 where there is
// none.
#define APIC_VECTORS 6u
struct apic_settings {
    uint32_t task_priority, spurious, vectors[APIC_VECTORS];
};
void apic_read_settings(uint64_t base, struct apic_settings *settings);
