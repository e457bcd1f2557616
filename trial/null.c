// Measuring the null trampolines. The times are by the APs' own stamps, as a wake's are, so that
// the two can be compared.

#include "null.h"

#include "hw.h"
#include "lapic.h"
#include "mem.h"
#include "page.h"
#include "watch.h"

#define POISON 0xcc // INT3: whoever jumps beside the code is not lost in it

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

static struct null_parameters *parameters_in(uint8_t *page)
{
    return (struct null_parameters *)(void *)(page + NULL_PARAMETERS);
}

static void fill_page(const struct smp *smp, enum null_mode mode)
{
    const struct smp_layout layout = smp_layout(smp);
    const struct smp_tables tables = smp_tables(smp);
    const uint8_t *code = mode == NULL_REAL ? null_real : null_long;
    const uint8_t *end = mode == NULL_REAL ? null_real_end : null_long_end;

    memset(layout.page_view, POISON, PAGE_BYTES);
    memcpy(layout.page_view, code, (size_t)(end - code));
    *parameters_in(layout.page_view) = (struct null_parameters){
        .cr3 = (uint32_t)layout.cr3,
        .cr4 = layout.cr4,
        .efer = layout.efer,
        .window = (uint32_t)layout.page_window,
        .target = layout.page_phys + (uint32_t)(null_long_target - null_long),
        .selector = tables.code,
        .gdt_limit = tables.gdt_limit,
        .gdt = (uint32_t)tables.gdt,
    };
}

// Returns how many counted themselves, and by the last one's stamp when.
static uint32_t run_round(struct smp *smp, const struct smp_plan *plan, const struct clock *clock,
                          uint32_t *us)
{
    const struct smp_layout layout = smp_layout(smp);
    const uint32_t want = (uint32_t)smp_count(smp) - 1;
    struct null_parameters *shared = parameters_in(layout.page_view);

    atomic_store_explicit(&shared->count, 0, memory_order_release);
    const uint64_t start = hw_tsc();
    (void)smp_send(smp, 0, ICR_INIT);
    smp_wait_us(smp, plan->init_us);
    (void)smp_send(smp, 0, ICR_STARTUP(layout.page_phys / PAGE_BYTES));
    struct watch watch = watch_start(hw_tsc(), clock_ticks(clock, plan->timeout_us));
    while (atomic_load_explicit(&shared->count, memory_order_acquire) < want &&
           !watch_is_over(&watch, hw_tsc()))
        hw_pause();
    const uint64_t stamp = shared->stamp;
    *us = stamp > start ? (uint32_t)clock_us(clock, stamp - start) : 0;
    return atomic_load_explicit(&shared->count, memory_order_acquire);
}

void null_measure(struct smp *smp, const struct smp_plan *plan, const struct clock *clock,
                  enum null_mode mode, struct null_times *times)
{
    const uint32_t want = (uint32_t)smp_count(smp) - 1;
    uint32_t warm[NULL_WARM_ROUNDS];

    *times = (struct null_times){0};
    fill_page(smp, mode);
    times->counted = run_round(smp, plan, clock, &times->cold_us);
    for (uint32_t round = 0; round < NULL_WARM_ROUNDS && times->counted >= want; round++) {
        const uint32_t counted = run_round(smp, plan, clock, &warm[round]);
        times->counted = counted < times->counted ? counted : times->counted;
    }
    if (times->counted >= want)
        times->warm_us = spread_of(warm, NULL_WARM_ROUNDS);
}
