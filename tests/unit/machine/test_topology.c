// Where a processor sits, from CPUID as real machines tell it: hybrid parts, holes, the old leaves,
// and leaves that contradict themselves.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fake_hw.h"
#include "topology.h"

#define THREAD_LEVEL 1u
#define CORE_LEVEL   2u
#define DIE_LEVEL    5u

static void max_leaf(uint32_t leaf)
{
    fake_reset();
    fake_set_cpuid(0, 0, (struct cpuid){.eax = leaf});
}

static void level(uint32_t leaf, uint32_t index, uint32_t type, uint32_t shift)
{
    fake_set_cpuid(leaf, index,
                   (struct cpuid){.eax = shift, .ebx = type != 0, .ecx = type << 8 | index});
}

static void check(uint32_t apic_id, uint32_t package, uint32_t core, uint32_t thread)
{
    struct topology topology = {0};

    topology_read(apic_id, &topology);
    assert_int_equal(topology.known, 1);
    assert_int_equal(topology.package, package);
    assert_int_equal(topology.core, core);
    assert_int_equal(topology.thread, thread);
}

// Two threads, eight cores, two packages.
static void test_leaf_b(void **state)
{
    (void)state;
    max_leaf(0xd);
    level(0xb, 0, THREAD_LEVEL, 1);
    level(0xb, 1, CORE_LEVEL, 4);
    level(0xb, 2, 0, 0);
    check(0, 0, 0, 0);
    check(5, 0, 2, 1);
    check(0x1f, 1, 7, 1);
}

// Dies belong to the core's number: 1 bit of thread, 3 of core, 2 of die.
static void test_leaf_1f_wins(void **state)
{
    (void)state;
    max_leaf(0x1f);
    level(0x1f, 0, THREAD_LEVEL, 1);
    level(0x1f, 1, CORE_LEVEL, 4);
    level(0x1f, 2, DIE_LEVEL, 6);
    level(0x1f, 3, 0, 0);
    check(0x7b, 1, 0x1d, 1);
}

// A leaf 0x1F that exists and says nothing is no answer; 0xB is asked then.
static void test_leaf_1f_empty(void **state)
{
    (void)state;
    max_leaf(0x1f);
    level(0x1f, 0, 0, 0);
    level(0xb, 0, THREAD_LEVEL, 0);
    level(0xb, 1, CORE_LEVEL, 2);
    level(0xb, 2, 0, 0);
    check(7, 1, 3, 0);
}

static void test_legacy_leaf_4(void **state)
{
    (void)state;
    max_leaf(4);
    fake_set_cpuid(1, 0, (struct cpuid){.ebx = 8u << 16, .edx = 1u << 28});
    fake_set_cpuid(4, 0, (struct cpuid){.eax = 3u << 26 | 1});
    check(0xd, 1, 2, 1);
}

static void test_legacy_amd(void **state)
{
    (void)state;
    max_leaf(1);
    fake_set_cpuid(1, 0, (struct cpuid){.ebx = 16u << 16, .edx = 1u << 28});
    fake_set_cpuid(0x80000000u, 0, (struct cpuid){.eax = 0x80000008u});
    fake_set_cpuid(0x80000008u, 0, (struct cpuid){.ecx = 3u << 12 | 5});
    check(0x1b, 1, 5, 1);
}

static void test_single(void **state)
{
    (void)state;
    max_leaf(1);
    fake_set_cpuid(1, 0, (struct cpuid){.ebx = 0});
    fake_set_cpuid(0x80000000u, 0, (struct cpuid){.eax = 0x80000001u});
    check(6, 6, 0, 0);
}

// What is no maximum says nothing of leaves: an old processor answers with its last basic leaf's
// data. Reading leaf 0x80000008 would end the test.
static void test_no_extended_maximum(void **state)
{
    static const uint32_t answers[] = {0, 0x07280202, 0x7fffffff, 0x80010000, 0xffffffff};

    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        max_leaf(1);
        fake_set_cpuid(1, 0, (struct cpuid){.ebx = 16u << 16, .edx = 1u << 28});
        fake_set_cpuid(0x80000000u, 0, (struct cpuid){.eax = answers[i]});
        check(0x1b, 1, 0xb, 0);
    }
}

// A thread level wider than the package, and levels that never end.
static void test_nonsense(void **state)
{
    (void)state;
    max_leaf(0xb);
    level(0xb, 0, THREAD_LEVEL, 31);
    level(0xb, 1, CORE_LEVEL, 4);
    level(0xb, 2, 0, 0);
    check(0x13, 1, 0, 3);
    max_leaf(0xb);
    fake_set_cpuid(0xb, FAKE_ANY_SUBLEAF, (struct cpuid){.eax = 31, .ebx = 1, .ecx = 2 << 8});
    check(0x13, 0, 0x13, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_leaf_b),        cmocka_unit_test(test_leaf_1f_wins),
        cmocka_unit_test(test_leaf_1f_empty), cmocka_unit_test(test_legacy_leaf_4),
        cmocka_unit_test(test_legacy_amd),    cmocka_unit_test(test_single),
        cmocka_unit_test(test_nonsense),      cmocka_unit_test(test_no_extended_maximum),
    };
    return cmocka_run_group_tests_name("topology", tests, NULL, NULL);
}
