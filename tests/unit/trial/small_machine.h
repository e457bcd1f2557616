// A machine to plan for: four enabled processors with the APIC IDs 0, 2, 4, 6, and two disabled; a
// modern Intel with an x2APIC that is off. With the options' defaults, and what was told.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "options.h"
#include "plan.h"
#include "told.h"

#define CPUS_MAX 512u

struct small_machine {
    struct machine machine;
    struct options options;
    struct cpu listed[CPUS_MAX];
    struct smp_cpu chosen[CPUS_MAX];
    struct plan plan;
    struct told told;
};

// So many processors that are there and enabled; each APIC ID is `step` above the one before.
static inline void small_list(struct small_machine *small, uint32_t count, uint32_t step)
{
    for (uint32_t cpu = 0; cpu < count; cpu++)
        small->listed[cpu] =
            (struct cpu){step * cpu, 50 + cpu, cpu == 0 ? CPU_BSP : CPU_LISTED, false};
    small->machine.inventory.count = small->machine.inventory.enabled = count;
}

static inline void small_start(struct small_machine *small)
{
    memset(small, 0, sizeof *small);
    memset(small->chosen, 0xa5, sizeof small->chosen);
    small->machine = (struct machine){
        .processor = {.vendor = VENDOR_INTEL, .family = 6, .x2apic = true},
        .apic_base = 0xfee00900,
        .clock = {1000000000},
        .inventory = {.cpus = small->listed, .capacity = CPUS_MAX},
    };
    small_list(small, 6, 2);
    small->machine.inventory.enabled = 4;
    small->machine.inventory.disabled = 2;
    small->listed[4].listing = small->listed[5].listing = CPU_DISABLED;
    options_set_defaults(&small->options);
}

static inline enum status small_plan(struct small_machine *small)
{
    const struct problems problems = told_listen(&small->told);
    memset(&small->plan, 0xa5, sizeof small->plan);
    return plan_make(&small->machine, &small->options, &problems, small->chosen, &small->plan);
}

static inline enum status small_ask(struct small_machine *small, const char *text)
{
    const struct problems problems = told_listen(&small->told);
    return options_parse(text, strlen(text), "test", &problems, &small->options);
}

static inline void small_name_cpus(struct small_machine *small, uint32_t first, uint32_t last)
{
    small->options.cpus[small->options.cpus_count++] = (struct cpu_range){first, last};
}

// The plan is refused for this one reason, in these words.
static inline void small_assert_refused(struct small_machine *small, enum status status,
                                        const char *what, const char *detail)
{
    assert_int_equal(small_plan(small), status);
    assert_int_equal(small->told.count, 1);
    assert_int_equal(small->told.lines[0].severity, SEVERITY_ERROR);
    assert_string_equal(small->told.lines[0].what, what);
    assert_string_equal(small->told.lines[0].detail, detail);
}

// Nothing was wrong with it.
static inline void small_assert_planned(struct small_machine *small)
{
    assert_int_equal(small_plan(small), STATUS_OK);
    assert_int_equal(small->told.count, 0);
}
