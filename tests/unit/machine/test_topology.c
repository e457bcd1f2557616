// Where a processor sits, rule by rule: levels, the old leaves, and leaves that contradict
// themselves. What real machines answer is in test_machines.c.

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fake_hw.h"
#include "topology.h"

#define THREAD_LEVEL 1u
#define CORE_LEVEL   2u
#define MODULE_LEVEL 3u
#define TILE_LEVEL   4u
#define DIE_LEVEL    5u
#define GROUP_LEVEL  6u

static void max_leaf(uint32_t leaf)
{
    fake_reset();
    fake_set_cpuid(0, 0, (struct cpuid){.eax = leaf});
    fake_set_cpuid(7, 0, (struct cpuid){.edx = 0});
    fake_set_cpuid(0x80000000u, 0, (struct cpuid){.eax = 0x80000000u});
}

static void level(uint32_t leaf, uint32_t index, uint32_t type, uint32_t shift)
{
    fake_set_cpuid(leaf, index,
                   (struct cpuid){.eax = shift, .ebx = type != 0, .ecx = type << 8 | index});
}

static void check(uint32_t apic_id, uint32_t package, uint32_t core, uint32_t thread)
{
    struct topology topology;

    topology_read(apic_id, &topology);
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

static void check_domain(uint32_t apic_id, enum domain domain, uint32_t number)
{
    struct topology topology;

    topology_read(apic_id, &topology);
    assert_true(topology.domains[domain].named);
    assert_int_equal(topology.domains[domain].number, number);
}

static size_t count_named(uint32_t apic_id)
{
    struct topology topology;
    size_t named = 0;

    topology_read(apic_id, &topology);
    for (size_t domain = 0; domain < DOMAINS; domain++)
        named += topology.domains[domain].named;
    return named;
}

// Each domain's number begins where the level below it ends, and is the package's.
static void test_every_domain(void **state)
{
    const uint32_t apic_id = 5u << 11 | 1u << 10 | 3u << 8 | 2u << 6 | 1u << 5 | 9u << 1 | 1;

    (void)state;
    max_leaf(0x1f);
    level(0x1f, 0, THREAD_LEVEL, 1);
    level(0x1f, 1, CORE_LEVEL, 5);
    level(0x1f, 2, MODULE_LEVEL, 6);
    level(0x1f, 3, TILE_LEVEL, 8);
    level(0x1f, 4, DIE_LEVEL, 10);
    level(0x1f, 5, GROUP_LEVEL, 11);
    level(0x1f, 6, 0, 0);
    check(apic_id, 5, (apic_id & 0x7ff) >> 1, 1);
    check_domain(apic_id, DOMAIN_MODULE, (1u << 10 | 3u << 8 | 2u << 6 | 1u << 5) >> 5);
    check_domain(apic_id, DOMAIN_TILE, (1u << 10 | 3u << 8 | 2u << 6) >> 6);
    check_domain(apic_id, DOMAIN_DIE, (1u << 10 | 3u << 8) >> 8);
    check_domain(apic_id, DOMAIN_DIE_GROUP, 1);
    assert_int_equal(count_named(apic_id), 4);
    assert_string_equal(domain_word(DOMAIN_DIE_GROUP), "die_group");
}

// A type that no manual has counts as bits and has no name; a domain as wide as the package is not
// told, since the package has one.
static void test_domains_that_tell_nothing(void **state)
{
    (void)state;
    max_leaf(0x1f);
    level(0x1f, 0, THREAD_LEVEL, 1);
    level(0x1f, 1, CORE_LEVEL, 4);
    level(0x1f, 2, DIE_LEVEL, 4);
    level(0x1f, 3, 7, 6);
    level(0x1f, 4, 0, 0);
    assert_int_equal(count_named(0x3f), 1);
    level(0x1f, 3, 0, 0);
    assert_int_equal(count_named(0x3f), 0);
    level(0x1f, 3, 0xff, 6);
    check(0x7f, 1, 0x1f, 1);
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
    assert_int_equal(count_named(6), 0);
}

// ---- kinds ----

static enum core_kind kind(uint32_t leaf_1a)
{
    struct topology topology;

    fake_set_cpuid(0x1a, 0, (struct cpuid){.eax = leaf_1a});
    topology_read(0, &topology);
    return topology.kind;
}

static void test_kinds(void **state)
{
    (void)state;
    max_leaf(0x1a);
    level(0xb, 0, 0, 0);
    fake_set_cpuid(1, 0, (struct cpuid){.ebx = 0});
    fake_set_cpuid(4, FAKE_ANY_SUBLEAF, (struct cpuid){.eax = 0x163});
    assert_int_equal(kind(0x40000001), CORE_UNKNOWN); // not of several kinds
    fake_set_cpuid(7, 0, (struct cpuid){.edx = 1u << 15});
    assert_int_equal(kind(0x40000001), CORE_PERFORMANCE);
    assert_int_equal(kind(0x20000001), CORE_EFFICIENCY);
    assert_int_equal(kind(0x30000001), CORE_UNKNOWN);
    assert_int_equal(kind(0), CORE_UNKNOWN);
    fake_set_cpuid(4, FAKE_ANY_SUBLEAF, (struct cpuid){.eax = 0x143}); // without end, and no L3
    assert_int_equal(kind(0x20000001), CORE_LOW_POWER);
    max_leaf(0x19); // its leaf 0x1A is beyond
    level(0xb, 0, 0, 0);
    fake_set_cpuid(1, 0, (struct cpuid){.ebx = 0});
    fake_set_cpuid(4, 0, (struct cpuid){.eax = 0});
    fake_set_cpuid(7, 0, (struct cpuid){.edx = 1u << 15});
    assert_int_equal(kind(0x40000001), CORE_UNKNOWN);
}

static enum core_kind amd_kind(uint32_t eax, uint32_t ebx)
{
    struct topology topology;

    fake_set_cpuid(0x80000026u, 0,
                   (struct cpuid){.eax = eax, .ebx = ebx, .ecx = THREAD_LEVEL << 8});
    topology_read(0, &topology);
    return topology.kind;
}

static void test_amd_kinds(void **state)
{
    (void)state;
    max_leaf(0x10);
    fake_set_cpuid(0x80000000u, 0, (struct cpuid){.eax = 0x80000026u});
    level(0x80000026u, 1, 0, 0);
    assert_int_equal(amd_kind(0x40000001, 0x00000002), CORE_PERFORMANCE);
    assert_int_equal(amd_kind(0x40000001, 0x10000002), CORE_EFFICIENCY);
    assert_int_equal(amd_kind(0x40000001, 0x20000002), CORE_UNKNOWN);
    assert_int_equal(amd_kind(0x20000001, 0x10000002), CORE_UNKNOWN);
    assert_string_equal(core_kind_word(CORE_UNKNOWN), "unknown");
}

// Where it is empty, leaf 0xB is asked.
static void test_amd_levels_empty(void **state)
{
    (void)state;
    max_leaf(0x10);
    fake_set_cpuid(0x80000000u, 0, (struct cpuid){.eax = 0x80000026u});
    level(0x80000026u, 0, 0, 0);
    level(0xb, 0, THREAD_LEVEL, 1);
    level(0xb, 1, CORE_LEVEL, 3);
    level(0xb, 2, 0, 0);
    check(0xf, 1, 3, 1);
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
        cmocka_unit_test(test_leaf_b),
        cmocka_unit_test(test_leaf_1f_wins),
        cmocka_unit_test(test_leaf_1f_empty),
        cmocka_unit_test(test_legacy_leaf_4),
        cmocka_unit_test(test_legacy_amd),
        cmocka_unit_test(test_single),
        cmocka_unit_test(test_nonsense),
        cmocka_unit_test(test_no_extended_maximum),
        cmocka_unit_test(test_every_domain),
        cmocka_unit_test(test_domains_that_tell_nothing),
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_amd_kinds),
        cmocka_unit_test(test_amd_levels_empty),
    };
    return cmocka_run_group_tests_name("topology", tests, NULL, NULL);
}
