// Single messages and waits: what sequences are made of, and what a caller may send of its own.

#include "engine.h"
#include "watch.h"

void smp_wait_us(const struct smp *smp, uint64_t us)
{
    struct watch watch = watch_delay(hw_tsc(), clock_ticks(&smp->clock, us));

    while (!watch_is_over(&watch, hw_tsc()))
        hw_pause();
}

enum status smp_send(struct smp *smp, uint32_t slot, uint32_t command)
{
    const uint32_t apic_id = slot == 0 ? 0 : arena_lcpu(&smp->arena, slot)->apic_id;
    const uint32_t whole = command | (slot == 0 ? ICR_TO_ALL_BUT_SELF : ICR_TO_DESTINATION);

    smp->broadcast = smp->broadcast || slot == 0;
    const enum status status = smp->apic.operations->send(&smp->apic, apic_id, whole);
    if (status != STATUS_OK)
        smp->unsent++;
    return status;
}

bool smp_await_fault(const struct smp *smp, uint32_t slot, uint64_t us)
{
    const struct lcpu *lcpu = arena_lcpu(&smp->arena, slot);
    struct watch watch = watch_start(hw_tsc(), clock_ticks(&smp->clock, us));

    for (;;) {
        const bool late = watch_is_over(&watch, hw_tsc());
        if (atomic_load_explicit(&lcpu->fault.valid, memory_order_acquire))
            return true;
        if (late)
            return false;
        hw_pause();
    }
}
