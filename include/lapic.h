// The local APIC's numbers: bits of IA32_APIC_BASE, registers, and the fields of the interrupt
// command register. (SDM vol. 3A, "Advanced Programmable Interrupt Controller (APIC)".)
#pragma once

#define APIC_BASE_BSP  (1u << 8)
#define APIC_BASE_EXTD (1u << 10)
#define APIC_BASE_EN   (1u << 11)

#define APIC_MMIO_PHYS(apic_base) ((apic_base)&0x000ffffffffff000u)

// Registers, as offsets in xAPIC mode; MSR_X2APIC() makes the MSR of them.
#define XAPIC_ID       0x020u
#define XAPIC_VERSION  0x030u
#define XAPIC_TPR      0x080u
#define XAPIC_SVR      0x0f0u
#define XAPIC_ICR_LOW  0x300u
#define XAPIC_ICR_HIGH 0x310u

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

// The messages of a wake, without their destination; `vector` is the number of the page where a
// processor starts.
#define ICR_INIT (ICR_VECTOR(0) | ICR_DELIVERY_INIT | ICR_PHYSICAL | ICR_ASSERT | ICR_EDGE)
#define ICR_STARTUP(vector) \
    (ICR_VECTOR(vector) | ICR_DELIVERY_STARTUP | ICR_PHYSICAL | ICR_ASSERT | ICR_EDGE)
#define ICR_NMI (ICR_VECTOR(0) | ICR_DELIVERY_NMI | ICR_PHYSICAL | ICR_ASSERT | ICR_EDGE)
