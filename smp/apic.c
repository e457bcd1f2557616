// Two local APICs, one interface. Register numbers live here and nowhere else.
// Surprise: a WRMSR to the x2APIC is not serialising, so stores that an AP must see first could
// still be under way: the fence stands inside the one function that writes its ICR.

#include "apic.h"

#include "hw.h"
#include "watch.h"

#define XAPIC_ID       0x020u
#define XAPIC_VERSION  0x030u
#define XAPIC_TPR      0x080u
#define XAPIC_SVR      0x0f0u
#define XAPIC_ICR_LOW  0x300u
#define XAPIC_ICR_HIGH 0x310u

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
    struct watch watch = watch_start(hw_tsc(), apic->idle_ticks);

    for (;;) {
        const bool late = watch_is_over(&watch, hw_tsc());
        if (!(hw_mmio_read32(apic->mmio_phys + XAPIC_ICR_LOW) & ICR_STATUS_PENDING))
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
    return (uint32_t)hw_rdmsr(MSR_X2APIC(XAPIC_ID));
}

static enum status x2apic_send(struct apic *apic, uint32_t destination, uint32_t command)
{
    hw_fence_before_x2apic();
    hw_wrmsr(MSR_X2APIC(XAPIC_ICR_LOW), (uint64_t)destination << 32 | command);
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

struct apic apic_of(uint64_t base)
{
    return (struct apic){
        .operations = base & APIC_BASE_EXTD ? &apic_x2apic : &apic_xapic,
        .mmio_phys = APIC_MMIO_PHYS(base),
    };
}

static uint32_t read_register(uint64_t base, uint32_t at)
{
    return base & APIC_BASE_EXTD ? (uint32_t)hw_rdmsr(MSR_X2APIC(at))
                                 : hw_mmio_read32(APIC_MMIO_PHYS(base) + at);
}

void apic_read_settings(uint64_t base, struct apic_settings *settings)
{
    // In the order in which processors got them: timer, LINT0, LINT1, error, performance counter,
    // thermal. The version says how many there are; a later one stands elsewhere with each vendor,
    // and reading what is not there is #GP in x2APIC mode.
    static const uint16_t registers[APIC_VECTORS] = {0x320, 0x350, 0x360, 0x370, 0x340, 0x330};
    const uint32_t moving = 1u << 12 | 1u << 14; // delivery status, remote IRR

    *settings = (struct apic_settings){0};
    if (!(base & APIC_BASE_EN))
        return;
    settings->task_priority = read_register(base, XAPIC_TPR);
    settings->spurious = read_register(base, XAPIC_SVR);
    const uint32_t last = read_register(base, XAPIC_VERSION) >> 16 & 0xff;
    for (uint32_t i = 0; i < APIC_VECTORS && i <= last; i++)
        settings->vectors[i] = read_register(base, registers[i]) & ~moving;
}
