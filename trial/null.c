// Measuring the null trampolines. The times are by the APs' own stamps, as a wake's are, so that
// the two can be compared.

#include "null.h"

#include "hw.h"
#include "mem.h"
#include "watch.h"

extern const uint8_t null_real[], null_real_end[], null_long[], null_long_end[], null_long_target[];

#define ASSERT_AT(field, offset) \
    _Static_assert(NULL_PARAMETERS + offsetof(struct null_parameters, field) == (offset), #field)
ASSERT_AT(count, NULL_COUNT);
ASSERT_AT(stamp, NULL_STAMP);
ASSERT_AT(cr3, NULL_CR3);
ASSERT_AT(cr4, NULL_CR4);
ASSERT_AT(efer, NULL_EFER);
ASSERT_AT(window, NULL_WINDOW);
ASSERT_AT(target, NULL_TARGET);
ASSERT_AT(gdt_limit, NULL_GDTR);

static struct null_parameters *parameters_of(const struct wake *wake)
{
    return (struct null_parameters *)(void *)(wake->page_view + NULL_PARAMETERS);
}

static void fill_page(const struct wake *wake, enum null_mode mode)
{
    const struct lcpu *bsp = &arena_lcpu(wake->arena, 0)->lcpu;
    const uint8_t *code = mode == NULL_REAL ? null_real : null_long;
    const uint8_t *end = mode == NULL_REAL ? null_real_end : null_long_end;

    memset(wake->page_view, PAGE_POISON, PAGE_BYTES);
    memcpy(wake->page_view, code, (size_t)(end - code));
    *parameters_of(wake) = (struct null_parameters){
        .cr3 = wake->parameters->x86_bpt_pml4_addr,
        .cr4 = wake->parameters->cr4,
        .efer = wake->parameters->efer,
        .window = (uint32_t)(wake->arena->phys + wake->arena->window_offset),
        .target = wake->page_phys + (uint32_t)(null_long_target - null_long),
        .selector = SELECTOR_CODE64,
        .gdt_limit = bsp->gdtr.limit,
        .gdt = (uint32_t)bsp->gdtr.base,
    };
}

// Returns how many came, and by their stamp when.
static uint32_t run_round(struct wake *wake, uint32_t *us)
{
    const uint32_t startup = ICR_STARTUP(wake->page_phys / PAGE_BYTES);
    struct null_parameters *shared = parameters_of(wake);

    atomic_store_explicit(&shared->count, 0, memory_order_release);
    const uint64_t start = hw_tsc();
    wake->broadcast = true;
    (void)wake->apic.operations->send(&wake->apic, 0, ICR_INIT | ICR_TO_ALL_BUT_SELF);
    wake_wait_us(wake, wake->plan->init_us);
    (void)wake->apic.operations->send(&wake->apic, 0, startup | ICR_TO_ALL_BUT_SELF);
    struct watch watch = watch_start(hw_tsc(), clock_ticks(&wake->clock, wake->plan->timeout_us));
    while (atomic_load_explicit(&shared->count, memory_order_acquire) < wake->plan->want &&
           !watch_is_over(&watch, hw_tsc()))
        hw_pause();
    const uint64_t stamp = shared->stamp;
    *us = stamp > start ? (uint32_t)clock_us(&wake->clock, stamp - start) : 0;
    return atomic_load_explicit(&shared->count, memory_order_acquire);
}

void null_measure(struct wake *wake, enum null_mode mode, struct null_times *times)
{
    const uint32_t want = (uint32_t)wake->plan->want;
    uint32_t warm[NULL_WARM_ROUNDS];

    *times = (struct null_times){0};
    fill_page(wake, mode);
    times->up = run_round(wake, &times->cold_us);
    for (uint32_t round = 0; round < NULL_WARM_ROUNDS && times->up >= want; round++) {
        const uint32_t up = run_round(wake, &warm[round]);
        times->up = up < times->up ? up : times->up;
    }
    if (times->up >= want)
        times->warm_us = spread_of(warm, NULL_WARM_ROUNDS);
}
