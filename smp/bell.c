// The message is an interrupt of vector 31, whose gate leads to an IRET (fault_entry.S): all it
// does is to end a HLT. No exception has that number, and an APIC takes what is above 15 (SDM vol.
// 3A, "Valid Interrupt Vectors"). An NMI would need no local APIC that is switched on; but its
// handler could not tell a call from the NMI of a dying machine.

#include "bell.h"

#include "address_space.h"
#include "hw.h"

#define APIC_EOI       0x0b0u
#define APIC_SPURIOUS  0x0f0u
#define APIC_ENABLE    (1u << 8)
#define X2APIC_MSR(at) (0x800u + (at) / 16)

#define ICR_DELIVERY_FIXED (0u << 8)
#define VECTOR_BELL        31u // as fault_entry.S has it; its low four bits are set, as a P6's SVR wants

static void write_register(uint32_t at, uint32_t value)
{
    const uint64_t base = hw_rdmsr(MSR_IA32_APIC_BASE);
    if (base & APIC_BASE_EXTD)
        hw_wrmsr(X2APIC_MSR(at), value);
    else
        hw_mmio_write32(APIC_MMIO_PHYS(base) + at, value);
}

// INIT left the local APIC off but for INIT, STARTUP and NMI, and every local vector masked.
void bell_listen(void)
{
    write_register(APIC_SPURIOUS, APIC_ENABLE | VECTOR_BELL);
    // A call before this is lost. Who makes it has opened the turn first, and the AP looks at the
    // turn once more after this: not before the APIC is on.
    hw_fence_before_x2apic();
}

void bell_sleep(void)
{
    hw_sleep();
    write_register(APIC_EOI, 0);
}

enum status bell_ring(struct apic *apic, uint32_t apic_id)
{
    return apic->operations->send(apic, apic_id,
                                  ICR_VECTOR(VECTOR_BELL) | ICR_DELIVERY_FIXED | ICR_PHYSICAL |
                                      ICR_ASSERT | ICR_EDGE | ICR_TO_DESTINATION);
}
