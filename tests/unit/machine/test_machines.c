// Where the processors of real machines sit and what kind of core each is, from what their CPUID
// was recorded to answer: the leaves that are asked, and every APIC ID there was. Data sheets say
// how many of everything has to come out. (The numbers are those that the tests of libcpuid and
// hwloc have recorded.)
#include "topology.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "failing.h"
#include "fake_hw.h"

#define LEAVES   10u
#define RUNS     3u
#define IDS_MAX  512u
#define INTEL_AT 0x80000008u // highest extended leaves
#define AMD_AT   0x80000028u

// IDs that stand at one distance.
struct run {
    uint32_t first, count, step;
};

// Processors that answer alike but for their ID.
struct alike {
    const char *machine;
    uint32_t max, extended_max;
    struct {
        uint32_t leaf, subleaf;
        struct cpuid value;
    } leaves[LEAVES];
    struct run runs[RUNS];
    const char *kind;
};

static const struct alike recorded[] = {
    // clang-format off
    {"Core Ultra 7 155H", 0x23, INTEL_AT,
     {{0x7, 0, {.edx = 0xfc18c410}},
      {0x1a, 0, {.eax = 0x40000002}},
      {0x1f, 0, {.eax = 0x1, .ebx = 0x2, .ecx = 0x100}},
      {0x1f, 1, {.eax = 0x3, .ebx = 0x2, .ecx = 0x201}},
      {0x1f, 2, {.eax = 0x7, .ebx = 0x16, .ecx = 0x302}},
      {0x1f, 3, {.ecx = 0x3}}},
     {{0x10, 6, 8}, {0x11, 6, 8}},
     "p"},
    {"Core Ultra 7 155H", 0x23, INTEL_AT,
     {{0x4, 0, {.eax = 0xfc000121}},
      {0x4, 1, {.eax = 0xfc000122}},
      {0x4, 2, {.eax = 0xfc01c143}},
      {0x4, 3, {.eax = 0xfc0fc163}},
      {0x7, 0, {.edx = 0xfc18c410}},
      {0x1a, 0, {.eax = 0x20000002}},
      {0x1f, 0, {.eax = 0x1, .ebx = 0x1, .ecx = 0x100}},
      {0x1f, 1, {.eax = 0x3, .ebx = 0x4, .ecx = 0x201}},
      {0x1f, 2, {.eax = 0x7, .ebx = 0x16, .ecx = 0x302}},
      {0x1f, 3, {.ecx = 0x3}}},
     {{0x0, 8, 2}},
     "e"},
    {"Core Ultra 7 155H", 0x23, INTEL_AT,
     {{0x4, 0, {.eax = 0xfc000121}},
      {0x4, 1, {.eax = 0xfc000122}},
      {0x4, 2, {.eax = 0xfc01c143}},
      {0x4, 3, {.eax = 0x0}},
      {0x7, 0, {.edx = 0xfc18c410}},
      {0x1a, 0, {.eax = 0x20000002}},
      {0x1f, 0, {.eax = 0x1, .ebx = 0x1, .ecx = 0x100}},
      {0x1f, 1, {.eax = 0x3, .ebx = 0x2, .ecx = 0x201}},
      {0x1f, 2, {.eax = 0x7, .ebx = 0x16, .ecx = 0x302}},
      {0x1f, 3, {.ecx = 0x3}}},
     {{0x40, 2, 2}},
     "lp"},
    {"Core i9-12900K", 0x20, INTEL_AT,
     {{0x7, 0, {.edx = 0xfc1cc410}},
      {0x1a, 0, {.eax = 0x40000001}},
      {0x1f, 0, {.eax = 0x1, .ebx = 0x2, .ecx = 0x100}},
      {0x1f, 1, {.eax = 0x7, .ebx = 0x18, .ecx = 0x201}},
      {0x1f, 2, {.ecx = 0x2}}},
     {{0x0, 8, 8}, {0x1, 8, 8}},
     "p"},
    {"Core i9-12900K", 0x20, INTEL_AT,
     {{0x4, 0, {.eax = 0xfc004121}},
      {0x4, 1, {.eax = 0xfc004122}},
      {0x4, 2, {.eax = 0xfc01c143}},
      {0x4, 3, {.eax = 0xfc1fc163}},
      {0x7, 0, {.edx = 0xfc1cc410}},
      {0x1a, 0, {.eax = 0x20000001}},
      {0x1f, 0, {.eax = 0x1, .ebx = 0x1, .ecx = 0x100}},
      {0x1f, 1, {.eax = 0x7, .ebx = 0x18, .ecx = 0x201}},
      {0x1f, 2, {.ecx = 0x2}}},
     {{0x40, 8, 2}},
     "e"},
    {"Core Ultra 9 288V", 0x23, INTEL_AT,
     {{0x7, 0, {.edx = 0xfc1cc430}},
      {0x1a, 0, {.eax = 0x40000003}},
      {0x1f, 0, {.eax = 0x1, .ebx = 0x1, .ecx = 0x100}},
      {0x1f, 1, {.eax = 0x3, .ebx = 0x1, .ecx = 0x201}},
      {0x1f, 2, {.eax = 0x7, .ebx = 0x8, .ecx = 0x302}},
      {0x1f, 3, {.ecx = 0x3}}},
     {{0x0, 4, 8}},
     "p"},
    {"Core Ultra 9 288V", 0x23, INTEL_AT,
     {{0x4, 0, {.eax = 0xfc000121}},
      {0x4, 1, {.eax = 0xfc000122}},
      {0x4, 2, {.eax = 0xfc01c143}},
      {0x4, 3, {.eax = 0x0}},
      {0x7, 0, {.edx = 0xfc1cc430}},
      {0x1a, 0, {.eax = 0x20000003}},
      {0x1f, 0, {.eax = 0x1, .ebx = 0x1, .ecx = 0x100}},
      {0x1f, 1, {.eax = 0x3, .ebx = 0x4, .ecx = 0x201}},
      {0x1f, 2, {.eax = 0x7, .ebx = 0x8, .ecx = 0x302}},
      {0x1f, 3, {.ecx = 0x3}}},
     {{0x40, 4, 2}},
     "lp"},
    {"Core Ultra 9 275HX", 0x23, INTEL_AT,
     {{0x7, 0, {.edx = 0xfc18c430}},
      {0x1a, 0, {.eax = 0x40000003}},
      {0x1f, 0, {.eax = 0x1, .ebx = 0x1, .ecx = 0x100}},
      {0x1f, 1, {.eax = 0x3, .ebx = 0x1, .ecx = 0x201}},
      {0x1f, 2, {.eax = 0x7, .ebx = 0x18, .ecx = 0x302}},
      {0x1f, 3, {.ecx = 0x3}}},
     {{0x0, 2, 8}, {0x20, 4, 8}, {0x50, 2, 8}},
     "p"},
    {"Core Ultra 9 275HX", 0x23, INTEL_AT,
     {{0x4, 0, {.eax = 0xfc000121}},
      {0x4, 1, {.eax = 0xfc000122}},
      {0x4, 2, {.eax = 0xfc01c143}},
      {0x4, 3, {.eax = 0xfc1fc163}},
      {0x7, 0, {.edx = 0xfc18c430}},
      {0x1a, 0, {.eax = 0x20000003}},
      {0x1f, 0, {.eax = 0x1, .ebx = 0x1, .ecx = 0x100}},
      {0x1f, 1, {.eax = 0x3, .ebx = 0x4, .ecx = 0x201}},
      {0x1f, 2, {.eax = 0x7, .ebx = 0x18, .ecx = 0x302}},
      {0x1f, 3, {.ecx = 0x3}}},
     {{0x10, 8, 2}, {0x40, 8, 2}},
     "e"},
    {"Core i5-L16G7", 0x1b, INTEL_AT,
     {{0x7, 0, {.edx = 0xbc008400}},
      {0x1a, 0, {.eax = 0x40000000}},
      {0xb, 0, {.eax = 0x1, .ebx = 0x1, .ecx = 0x100}},
      {0xb, 1, {.eax = 0x4, .ebx = 0x5, .ecx = 0x201}},
      {0xb, 2, {.ecx = 0x2}}},
     {{0x8, 1, 1}},
     "p"},
    {"Core i5-L16G7", 0x1b, INTEL_AT,
     {{0x4, 0, {.eax = 0x1c000121}},
      {0x4, 1, {.eax = 0x1c000122}},
      {0x4, 2, {.eax = 0x1c01c143}},
      {0x4, 3, {.eax = 0x1c03c163}},
      {0x7, 0, {.edx = 0xbc008400}},
      {0x1a, 0, {.eax = 0x20000000}},
      {0xb, 0, {.eax = 0x1, .ebx = 0x1, .ecx = 0x100}},
      {0xb, 1, {.eax = 0x4, .ebx = 0x5, .ecx = 0x201}},
      {0xb, 2, {.ecx = 0x2}}},
     {{0x0, 4, 2}},
     "e"},
    {"Core i3-N305", 0x20, INTEL_AT,
     {{0x7, 0, {.edx = 0xfc184410}},
      {0x1f, 0, {.eax = 0x1, .ebx = 0x1, .ecx = 0x100}},
      {0x1f, 1, {.eax = 0x3, .ebx = 0x4, .ecx = 0x201}},
      {0x1f, 2, {.eax = 0x7, .ebx = 0x8, .ecx = 0x302}},
      {0x1f, 3, {.ecx = 0x3}}},
     {{0x0, 8, 2}},
     "unknown"},
    {"Ryzen AI 9 HX 370", 0x10, AMD_AT,
     {{0x80000026, 0, {.eax = 0x60000001, .ebx = 0x2, .ecx = 0x100}},
      {0x80000026, 1, {.eax = 0xc0000004, .ebx = 0x8, .ecx = 0x201}},
      {0x80000026, 2, {.eax = 0x40000005, .ebx = 0x18, .ecx = 0x302}},
      {0x80000026, 3, {.eax = 0x5, .ebx = 0x18, .ecx = 0x403}},
      {0x80000026, 4, {.ecx = 0x4}}},
     {{0x0, 8, 1}},
     "p"},
    {"Ryzen AI 9 HX 370", 0x10, AMD_AT,
     {{0x80000026, 0, {.eax = 0x60000001, .ebx = 0x10000002, .ecx = 0x100}},
      {0x80000026, 1, {.eax = 0xc0000004, .ebx = 0x10, .ecx = 0x201}},
      {0x80000026, 2, {.eax = 0x40000005, .ebx = 0x18, .ecx = 0x302}},
      {0x80000026, 3, {.eax = 0x5, .ebx = 0x18, .ecx = 0x403}},
      {0x80000026, 4, {.ecx = 0x4}}},
     {{0x10, 16, 1}},
     "e"},
    {"Ryzen AI 7 PRO 350", 0x10, AMD_AT,
     {{0x80000026, 0, {.eax = 0x60000001, .ebx = 0x2, .ecx = 0x100}},
      {0x80000026, 1, {.eax = 0x40000004, .ebx = 0x10, .ecx = 0x201}},
      {0x80000026, 2, {.eax = 0x40000004, .ebx = 0x10, .ecx = 0x302}},
      {0x80000026, 3, {.eax = 0x4, .ebx = 0x10, .ecx = 0x403}},
      {0x80000026, 4, {.ecx = 0x4}}},
     {{0x0, 4, 4}, {0x1, 4, 4}},
     "p"},
    {"Ryzen AI 7 PRO 350", 0x10, AMD_AT,
     {{0x80000026, 0, {.eax = 0x60000001, .ebx = 0x10000002, .ecx = 0x100}},
      {0x80000026, 1, {.eax = 0x40000004, .ebx = 0x10, .ecx = 0x201}},
      {0x80000026, 2, {.eax = 0x40000004, .ebx = 0x10, .ecx = 0x302}},
      {0x80000026, 3, {.eax = 0x4, .ebx = 0x10, .ecx = 0x403}},
      {0x80000026, 4, {.ecx = 0x4}}},
     {{0x2, 4, 4}, {0x3, 4, 4}},
     "e"},
    {"Ryzen 9 7900X", 0x10, AMD_AT,
     {{0x80000026, 0, {.eax = 0x1, .ebx = 0x2, .ecx = 0x100}},
      {0x80000026, 1, {.eax = 0x4, .ebx = 0xc, .ecx = 0x201}},
      {0x80000026, 2, {.eax = 0x4, .ebx = 0xc, .ecx = 0x302}},
      {0x80000026, 3, {.eax = 0x5, .ebx = 0x18, .ecx = 0x403}},
      {0x80000026, 4, {.ecx = 0x4}}},
     {{0x0, 12, 1}, {0x10, 12, 1}},
     "unknown"},
    {"2 EPYC 9654", 0x10, AMD_AT,
     {{0x80000026, 0, {.eax = 0x1, .ebx = 0x2, .ecx = 0x100}},
      {0x80000026, 1, {.eax = 0x4, .ebx = 0x10, .ecx = 0x201}},
      {0x80000026, 2, {.eax = 0x4, .ebx = 0x10, .ecx = 0x302}},
      {0x80000026, 3, {.eax = 0x8, .ebx = 0xc0, .ecx = 0x403}},
      {0x80000026, 4, {.ecx = 0x4}}},
     {{0x0, 192, 1}, {0x100, 192, 1}},
     "unknown"},
    {"2 KaiSheng KH-40000", 0x1f, INTEL_AT,
     {{0x7, 0, {.edx = 0x24000000}},
      {0x1f, 0, {.eax = 0x0, .ebx = 0x1, .ecx = 0x100}},
      {0x1f, 1, {.eax = 0x4, .ebx = 0x10, .ecx = 0x201}},
      {0x1f, 2, {.eax = 0x6, .ebx = 0x20, .ecx = 0x502}},
      {0x1f, 3, {.ecx = 0x3}}},
     {{0x0, 32, 1}, {0x40, 32, 1}},
     "unknown"},
    // clang-format on
};

static int set_up(void **state)
{
    (void)state;
    failures_fail_the_test();
    return 0;
}

// To read any other leaf ends the test.
static void become(const struct alike *alike)
{
    fake_reset();
    fake_set_cpuid(0, 0, (struct cpuid){.eax = alike->max});
    fake_set_cpuid(0x80000000, 0, (struct cpuid){.eax = alike->extended_max});
    for (size_t i = 0; i < LEAVES && alike->leaves[i].leaf != 0; i++)
        fake_set_cpuid(alike->leaves[i].leaf, alike->leaves[i].subleaf, alike->leaves[i].value);
}

struct found {
    size_t count;
    uint32_t ids[IDS_MAX];
    struct topology places[IDS_MAX];
};

// All processors of a machine.
static void read_machine(const char *machine, struct found *found)
{
    found->count = 0;
    for (size_t i = 0; i < sizeof recorded / sizeof recorded[0]; i++) {
        const struct alike *alike = &recorded[i];
        if (strcmp(alike->machine, machine) != 0)
            continue;
        become(alike);
        for (size_t run = 0; run < RUNS; run++) {
            for (uint32_t at = 0; at < alike->runs[run].count; at++) {
                assert_true(found->count < IDS_MAX);
                found->ids[found->count] = alike->runs[run].first + at * alike->runs[run].step;
                topology_read(found->ids[found->count], &found->places[found->count]);
                assert_string_equal(core_kind_word(found->places[found->count].kind), alike->kind);
                found->count++;
            }
        }
    }
    assert_true(found->count > 0);
}

// ---- how many there are of everything ----

typedef uint64_t (*name_fn)(const struct topology *place);

static uint64_t package_of(const struct topology *place)
{
    return place->package;
}

static uint64_t core_of(const struct topology *place)
{
    return (uint64_t)place->package << 32 | place->core;
}

static uint64_t thread_of(const struct topology *place)
{
    return core_of(place) << 8 | place->thread;
}

static size_t count_names(const struct found *found, name_fn name)
{
    size_t names = 0;

    for (size_t i = 0; i < found->count; i++) {
        size_t before = 0;
        while (name(&found->places[before]) != name(&found->places[i]))
            before++;
        names += before == i;
    }
    return names;
}

// 0: it has none.
static size_t count_domains(const struct found *found, enum domain domain)
{
    size_t names = 0;

    for (size_t i = 0; i < found->count; i++) {
        const struct topology *place = &found->places[i], *first = found->places;
        if (!place->domains[domain].named)
            continue;
        while (!first->domains[domain].named || first->package != place->package ||
               first->domains[domain].number != place->domains[domain].number)
            first++;
        names += first == place;
    }
    return names;
}

static size_t count_kind(const struct found *found, enum core_kind kind)
{
    size_t count = 0;

    for (size_t i = 0; i < found->count; i++)
        count += found->places[i].kind == kind;
    return count;
}

static void test_counts(void **state)
{
    static const struct {
        const char *machine;
        size_t packages, cores, threads, p, e, lp, modules, complexes, dies;
    } sheets[] = {
        {"Core Ultra 7 155H", 1, 16, 22, 12, 8, 2, 9, 0, 0}, // a module: a P-core, or 4 or 2 others
        {"Core i9-12900K", 1, 16, 24, 16, 8, 0, 0, 0, 0},
        {"Core Ultra 9 288V", 1, 8, 8, 4, 0, 4, 5, 0, 0},
        {"Core Ultra 9 275HX", 1, 24, 24, 8, 16, 0, 12, 0, 0},
        {"Core i5-L16G7", 1, 5, 5, 1, 4, 0, 0, 0, 0},
        {"Core i3-N305", 1, 8, 8, 0, 0, 0, 2, 0, 0}, // E-cores alone are of one kind
        {"Ryzen AI 9 HX 370", 1, 12, 24, 8, 16, 0, 0, 2, 0},
        {"Ryzen AI 7 PRO 350", 1, 8, 16, 8, 8, 0, 0, 0, 0},
        {"Ryzen 9 7900X", 1, 12, 24, 0, 0, 0, 0, 2, 2},
        {"2 EPYC 9654", 2, 192, 384, 0, 0, 0, 0, 24, 24},
        {"2 KaiSheng KH-40000", 2, 64, 64, 0, 0, 0, 0, 0, 4},
    };
    static struct found found;

    (void)state;
    for (size_t i = 0; i < sizeof sheets / sizeof sheets[0]; i++) {
        read_machine(sheets[i].machine, &found);
        assert_int_equal(found.count, sheets[i].threads);
        assert_int_equal(count_names(&found, package_of), sheets[i].packages);
        assert_int_equal(count_names(&found, core_of), sheets[i].cores);
        assert_int_equal(count_names(&found, thread_of), sheets[i].threads);
        assert_int_equal(count_kind(&found, CORE_PERFORMANCE), sheets[i].p);
        assert_int_equal(count_kind(&found, CORE_EFFICIENCY), sheets[i].e);
        assert_int_equal(count_kind(&found, CORE_LOW_POWER), sheets[i].lp);
        assert_int_equal(count_domains(&found, DOMAIN_MODULE), sheets[i].modules);
        assert_int_equal(count_domains(&found, DOMAIN_COMPLEX), sheets[i].complexes);
        assert_int_equal(count_domains(&found, DOMAIN_DIE), sheets[i].dies);
        assert_int_equal(count_domains(&found, DOMAIN_TILE), 0);
        assert_int_equal(count_domains(&found, DOMAIN_DIE_GROUP), 0);
    }
}

// ---- and a few of them by name ----

#define NONE UINT32_MAX

static void test_places(void **state)
{
    static const struct {
        const char *machine;
        uint32_t apic_id, package, core, thread, module, complex, die;
    } places[] = {
        {"Core Ultra 7 155H", 0x39, 0, 0x1c, 1, 7, NONE, NONE},
        {"Core Ultra 7 155H", 0x0e, 0, 7, 0, 1, NONE, NONE},
        {"Core Ultra 7 155H", 0x42, 0, 0x21, 0, 8, NONE, NONE},
        {"Core Ultra 9 275HX", 0x58, 0, 0x2c, 0, 11, NONE, NONE},
        {"Core i5-L16G7", 8, 0, 4, 0, NONE, NONE, NONE},
        {"Ryzen AI 9 HX 370", 0x1f, 0, 15, 1, NONE, 1, NONE},
        {"Ryzen 9 7900X", 0x1b, 0, 13, 1, NONE, 1, 1},
        {"2 EPYC 9654", 0x1bf, 1, 0x5f, 1, NONE, 11, 11},
        {"2 KaiSheng KH-40000", 0x1f, 0, 0x1f, 0, NONE, NONE, 1},
        {"2 KaiSheng KH-40000", 0x40, 1, 0, 0, NONE, NONE, 0},
    };
    static struct found found;

    (void)state;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        size_t at = 0;
        read_machine(places[i].machine, &found);
        while (at < found.count && found.ids[at] != places[i].apic_id)
            at++;
        assert_true(at < found.count);
        const struct topology *place = &found.places[at];
        assert_int_equal(place->package, places[i].package);
        assert_int_equal(place->core, places[i].core);
        assert_int_equal(place->thread, places[i].thread);
        const uint32_t wanted[DOMAINS] = {places[i].module, places[i].complex, NONE, places[i].die,
                                          NONE};
        for (size_t domain = 0; domain < DOMAINS; domain++) {
            assert_int_equal(place->domains[domain].named, wanted[domain] != NONE);
            if (wanted[domain] != NONE)
                assert_int_equal(place->domains[domain].number, wanted[domain]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_counts, set_up),
        cmocka_unit_test_setup(test_places, set_up),
    };
    return cmocka_run_group_tests_name("machines", tests, NULL, NULL);
}
