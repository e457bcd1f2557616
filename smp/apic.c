// Two local APICs, one interface.
// Surprise: a WRMSR to the x2APIC is not serialising, so stores that an AP must see first could
// still be under way: the fence stands inside the one function that writes its ICR.

#include "apic.h"

#include "hw.h"
#include "watch.h"

static void xapic_enable(void)
{
    const uint64_t base = hw_rdmsr(MSR_IA32_APIC_BASE);
    if (!(base & APIC_BASE_EN))
        hw_wrmsr(MSR_IA32_APIC_BASE, base | APIC_BASE_EN);
}

static uint32_t xapic_read_id(uint64_t view)
{
    return hw_mmio_read32(view + XAPIC_ID) >> 24;
}

static enum status xapic_wait_idle(const struct apic *apic)
{
    struct watch watch = watch_start(hw_tsc(), apic->idle_ticks);

    for (;;) {
        const bool late = watch_is_over(&watch, hw_tsc());
        if (!(hw_mmio_read32(apic->view + XAPIC_ICR_LOW) & ICR_STATUS_PENDING))
            return STATUS_OK;
        if (late)
            return STATUS_TIMEOUT;
        hw_pause();
    }
}

static enum status xapic_send(struct apic *apic, uint32_t destination, uint32_t command)
{
    if (xapic_wait_idle(apic) != STATUS_OK)
        return STATUS_TIMEOUT;
    hw_mmio_write32(apic->view + XAPIC_ICR_HIGH, destination << 24);
    hw_mmio_write32(apic->view + XAPIC_ICR_LOW, command); // this write sends
    apic->icr_writes++;
    return STATUS_OK;
}

// EN first: the two bits in one write are #GP (SDM vol. 3A, "x2APIC State Transitions").
static void x2apic_enable(void)
{
    xapic_enable();
    const uint64_t base = hw_rdmsr(MSR_IA32_APIC_BASE);
    if (!(base & APIC_BASE_EXTD))
        hw_wrmsr(MSR_IA32_APIC_BASE, base | APIC_BASE_EN | APIC_BASE_EXTD);
}

static uint32_t x2apic_read_id(uint64_t view)
{
    (void)view;
    return (uint32_t)hw_rdmsr(MSR_X2APIC(XAPIC_ID));
}

static enum status x2apic_send(struct apic *apic, uint32_t destination, uint32_t command)
{
    hw_fence_before_x2apic();
    hw_wrmsr(MSR_X2APIC(XAPIC_ICR_LOW), (uint64_t)destination << 32 | command);
    apic->icr_writes++;
    return STATUS_OK; // there is no delivery status to wait for
}

const struct apic_operations apic_xapic = {
    .enable = xapic_enable,
    .read_id = xapic_read_id,
    .send = xapic_send,
};

const struct apic_operations apic_x2apic = {
    .enable = x2apic_enable,
    .read_id = x2apic_read_id,
    .send = x2apic_send,
};

bool smp_can_address(enum smp_apic_mode mode, uint32_t apic_id)
{
    // A broadcast ID would hit the sender too.
    return mode == SMP_X2APIC ? apic_id != UINT32_MAX : apic_id < 0xff;
}

const char *smp_apic_word(enum smp_apic_mode mode)
{
    return mode == SMP_X2APIC ? "x2apic" : "xapic";
}
