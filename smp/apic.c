// Two local APICs, one interface. Register numbers live here and nowhere else.
// Surprise: a WRMSR to the x2APIC is not serialising, so stores that an AP must see first could
// still be under way: the fence stands inside the one function that writes its ICR.

#include "apic.h"

#include "hw.h"

#define XAPIC_ID       0x020u
#define XAPIC_ICR_LOW  0x300u
#define XAPIC_ICR_HIGH 0x310u
#define X2APIC_ID_MSR  0x802u
#define X2APIC_ICR_MSR 0x830u

static void xapic_enable(const struct apic *apic)
{
    (void)apic;
    const uint64_t base = hw_rdmsr(MSR_IA32_APIC_BASE);
    if (!(base & APIC_BASE_EN))
        hw_wrmsr(MSR_IA32_APIC_BASE, base | APIC_BASE_EN);
}

static uint32_t xapic_read_id(const struct apic *apic)
{
    return hw_mmio_read32(apic->mmio_phys + XAPIC_ID) >> 24;
}

static enum status xapic_wait_idle(const struct apic *apic)
{
    const uint64_t start = hw_tsc();
    while (hw_mmio_read32(apic->mmio_phys + XAPIC_ICR_LOW) & ICR_STATUS_PENDING) {
        if (hw_tsc() - start > apic->idle_ticks)
            return STATUS_TIMEOUT;
        hw_pause();
    }
    return STATUS_OK;
}

static enum status xapic_send(struct apic *apic, uint32_t destination, uint32_t command)
{
    if (xapic_wait_idle(apic) != STATUS_OK)
        return STATUS_TIMEOUT;
    hw_mmio_write32(apic->mmio_phys + XAPIC_ICR_HIGH, destination << 24);
    hw_mmio_write32(apic->mmio_phys + XAPIC_ICR_LOW, command); // this write sends
    apic->icr_writes++;
    return STATUS_OK;
}

static bool xapic_can_address(uint32_t apic_id)
{
    return apic_id < 0xff;
}

// EN first: the two bits in one write are #GP (SDM vol. 3A, "x2APIC State Transitions").
static void x2apic_enable(const struct apic *apic)
{
    xapic_enable(apic);
    const uint64_t base = hw_rdmsr(MSR_IA32_APIC_BASE);
    if (!(base & APIC_BASE_EXTD))
        hw_wrmsr(MSR_IA32_APIC_BASE, base | APIC_BASE_EN | APIC_BASE_EXTD);
}

static uint32_t x2apic_read_id(const struct apic *apic)
{
    (void)apic;
    return (uint32_t)hw_rdmsr(X2APIC_ID_MSR);
}

static enum status x2apic_send(struct apic *apic, uint32_t destination, uint32_t command)
{
    hw_fence_before_x2apic();
    hw_wrmsr(X2APIC_ICR_MSR, (uint64_t)destination << 32 | command);
    apic->icr_writes++;
    return STATUS_OK; // there is no delivery status to wait for
}

static bool x2apic_can_address(uint32_t apic_id)
{
    return apic_id != UINT32_MAX;
}

const struct apic_operations apic_xapic = {
    .name = "xapic",
    .enable = xapic_enable,
    .read_id = xapic_read_id,
    .send = xapic_send,
    .can_address = xapic_can_address,
};

const struct apic_operations apic_x2apic = {
    .name = "x2apic",
    .enable = x2apic_enable,
    .read_id = x2apic_read_id,
    .send = x2apic_send,
    .can_address = x2apic_can_address,
};
