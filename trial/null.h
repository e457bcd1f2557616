// The limit that a wake can be measured against: trampolines that do nothing but count, in real
// mode or in long mode, on the same page, by the same messages, on the same machine. Surprise: they
// take the trampoline's page while they run. Whoever measures fills it anew afterwards
// (smp_fill_page).
#pragma once

// Where the code ends and what C and the APs share begins, in the page.
#define NULL_PARAMETERS 0x80
#define NULL_COUNT      (NULL_PARAMETERS + 0)
#define NULL_STAMP      (NULL_PARAMETERS + 8)
#define NULL_CR3        (NULL_PARAMETERS + 16)
#define NULL_CR4        (NULL_PARAMETERS + 20)
#define NULL_EFER       (NULL_PARAMETERS + 24)
#define NULL_WINDOW     (NULL_PARAMETERS + 28)
#define NULL_TARGET     (NULL_PARAMETERS + 32) // far pointer: offset, selector
#define NULL_GDTR       (NULL_PARAMETERS + 38)

#ifndef __ASSEMBLER__

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "clock.h"
#include "smp.h"
#include "sort.h"

struct null_parameters {
    _Atomic uint32_t count; // APs add 1 each as their last act; the BSP sets it to 0
    uint32_t pad;
    uint64_t stamp; // the TSC of an AP just before it counted; the last writer stands
    uint32_t cr3, cr4, efer;
    uint32_t window; // where the page can be written under paging
    uint32_t target; // of the jump to long mode
    uint16_t selector;
    uint16_t gdt_limit;
    uint32_t gdt;
};

enum null_mode { NULL_REAL, NULL_LONG };

#define NULL_WARM_ROUNDS 5u

struct null_times {
    uint32_t counted; // themselves, in the worst round
    uint32_t cold_us;
    struct spread warm_us; // all 0 if not all did
};

// One cold and NULL_WARM_ROUNDS warm wakes of all but self, after smp_start and before the first
// round. The plan gives the wait after INIT, and the time-out. Overwrites the page.
void null_measure(struct smp *smp, const struct smp_plan *plan, const struct clock *clock,
                  enum null_mode mode, struct null_times *times);

#endif
