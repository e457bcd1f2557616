// What the tests on the bench of fake_aps.h have in common: one bench, one failed test for whatever
// the fake machine does not allow, and the bench given back behind each test. Header only.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "failing.h"
#include "fake_aps.h"

#define MS        1000u // in microseconds
#define TICKS(us) ((uint64_t)(us)*FAKE_TICKS_PER_US)

static struct fake_aps aps;

// For the group.
static inline int aps_set_up(void **state)
{
    (void)state;
    failures_fail_the_test();
    return 0;
}

static inline int aps_tear_down(void **state)
{
    (void)state;
    fake_aps_close(&aps);
    return 0;
}

// smp_take_turns with turns of so many microseconds.
static inline uint32_t take_turns(uint32_t turn_us)
{
    aps.smp->plan.turn_us = turn_us;
    return smp_take_turns(aps.smp);
}

#define APS_TEST(function) cmocka_unit_test_teardown(function, aps_tear_down)
