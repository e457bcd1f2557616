// CPUID decoded: processors as they are, leaf by leaf, on a fake that ends the test when a leaf is
// read that the processor does not name. Register values are those of the manuals' tables. (SDM
// vol. 2A, "CPUID"; AMD64 manual vol. 3, "Obtaining Processor Information Via the CPUID
// Instruction".)
#include "processor.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "failing.h"
#include "fake_hw.h"

static struct processor processor;

static void leaf(uint32_t number, uint32_t eax, uint32_t ebx, uint32_t ecx, uint32_t edx)
{
    fake_set_cpuid(number, 0, (struct cpuid){eax, ebx, ecx, edx});
}

// A name of twelve characters, in the order of registers that the leaf has it.
static uint32_t word(const char *name, size_t index)
{
    uint32_t value;
    memcpy(&value, name + 4 * index, sizeof value);
    return value;
}

// Leaf 0: the name stands in EBX, EDX, ECX.
static void base(uint32_t max_leaf, const char *name)
{
    leaf(0, max_leaf, word(name, 0), word(name, 2), word(name, 1));
}

// The smallest processor there is: leaves 0 and 1, and one of the extended ones.
static int set_up(void **state)
{
    (void)state;
    fake_reset();
    failures_fail_the_test();
    base(1, "GenuineIntel");
    leaf(1, 0x000006f1, 0, 0, 0);
    leaf(0x80000000, 0x80000000, 0, 0, 0);
    memset(&processor, 0xa5, sizeof processor);
    return 0;
}

static void test_the_smallest(void **state)
{
    (void)state;
    processor_read(&processor);
    assert_int_equal(processor.vendor, VENDOR_INTEL);
    assert_int_equal(processor.family, 6);
    assert_string_equal(processor.hypervisor, "");
    assert_string_equal(processor.brand, "");
    assert_false(processor.x2apic);
    assert_false(processor.no_execute);
    assert_false(processor.gib_pages);
    assert_false(processor.mce);
    assert_int_equal(processor.guest, GUEST_NONE);
    assert_false(processor.tsc_invariant);
    assert_int_equal(processor.phys_bits, 36);
    assert_int_equal(processor.id_leaf, 1);
    assert_int_equal(processor.tsc_hz, 0);
}

static void test_vendors(void **state)
{
    static const struct {
        const char *name;
        enum vendor vendor;
    } known[] = {
        {"GenuineIntel", VENDOR_INTEL}, {"AuthenticAMD", VENDOR_AMD},
        {"HygonGenuine", VENDOR_HYGON}, {"CentaurHauls", VENDOR_OTHER},
        {"  Shanghai  ", VENDOR_OTHER}, {"GenuineIntem", VENDOR_OTHER},
        {"genuineintel", VENDOR_OTHER}, {"\0\0\0\0\0\0\0\0\0\0\0\0", VENDOR_OTHER},
    };

    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        base(1, known[i].name);
        processor_read(&processor);
        assert_int_equal(processor.vendor, known[i].vendor);
    }
}

// The extended family counts where the family is 0xF, and only there.
static void test_family(void **state)
{
    static const uint32_t known[][2] = {
        {0x00000543, 5},     {0x000006f1, 6},    {0x000b06a2, 6},    {0x0ff006f1, 6},
        {0x00000f4a, 0xf},   {0x00800f12, 0x17}, {0x00a20f10, 0x19}, {0x00900f02, 0x18},
        {0x0ff00f00, 0x10e}, {0xf0000600, 6},
    };

    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        leaf(1, known[i][0], 0, 0, 0);
        processor_read(&processor);
        assert_int_equal(processor.family, known[i][1]);
    }
}

static void test_features(void **state)
{
    (void)state;
    leaf(1, 0x6f1, 0, 1u << 21, 0);
    processor_read(&processor);
    assert_true(processor.x2apic);
    assert_false(processor.mce);

    leaf(1, 0x6f1, 0, 0x7fffffff & ~(1u << 21), 1u << 7);
    processor_read(&processor);
    assert_false(processor.x2apic);
    assert_true(processor.mce);

    leaf(1, 0x6f1, 0, 0, ~(1u << 7));
    processor_read(&processor);
    assert_false(processor.mce);
}

static void put_brand(const char *text)
{
    for (uint32_t i = 0; i < 3; i++)
        leaf(0x80000002 + i, word(text, 4 * i), word(text, 4 * i + 1), word(text, 4 * i + 2),
             word(text, 4 * i + 3));
}

// Leaf 0x40000000 is a hypervisor's; without the bit in leaf 1 it may be anything, and is not read.
static void test_hypervisor(void **state)
{
    const char *name = "TCGTCGTCGTCG";

    (void)state;
    leaf(1, 0x6f1, 0, 1u << 31, 0);
    leaf(0x40000000, 0x40000001, word(name, 0), word(name, 1), word(name, 2));
    processor_read(&processor);
    assert_string_equal(processor.hypervisor, "TCGTCGTCGTCG");

    name = "KVMKVMKVM\0\0\0";
    leaf(0x40000000, 0, word(name, 0), word(name, 1), word(name, 2));
    processor_read(&processor);
    assert_string_equal(processor.hypervisor, "KVMKVMKVM");
}

// Names are shown on terminals and screens as they stand here.
static void test_names_that_are_no_text(void **state)
{
    static const char brand[48] = "A\x1b[2J processor\xff";
    const char *name = "\x1b]0;\x07\x80\xff\x7f\n ok";

    (void)state;
    leaf(1, 0x6f1, 0, 1u << 31, 0);
    leaf(0x40000000, 0, word(name, 0), word(name, 1), word(name, 2));
    leaf(0x80000000, 0x80000004, 0, 0, 0);
    leaf(0x80000001, 0, 0, 0, 0);
    put_brand(brand);
    processor_read(&processor);
    assert_string_equal(processor.hypervisor, "?]0;????? ok");
    assert_string_equal(processor.brand, "A?[2J processor?");
}

// ---- where the ID stands ----

static void test_id_leaf(void **state)
{
    (void)state;
    base(0xa, "GenuineIntel"); // leaf 0xB is beyond its maximum
    processor_read(&processor);
    assert_int_equal(processor.id_leaf, 1);

    base(0xb, "GenuineIntel");
    leaf(0xb, 1, 2, 0x100, 0x12b);
    processor_read(&processor);
    assert_int_equal(processor.id_leaf, 0xb);

    leaf(0xb, 0, 0, 0, 0); // below the maximum, and empty: not there
    processor_read(&processor);
    assert_int_equal(processor.id_leaf, 1);

    leaf(0xb, 0, 0x00010000, 0, 7); // the number of processors is the low half
    processor_read(&processor);
    assert_int_equal(processor.id_leaf, 1);
}

// ---- the clock ----

static void test_tsc_by_the_crystal(void **state)
{
    (void)state;
    base(0x16, "GenuineIntel");
    leaf(0xb, 1, 1, 0x100, 0);
    leaf(0x15, 2, 216, 24000000, 0); // 24 MHz * 216 / 2
    leaf(0x16, 2600, 3500, 100, 0);
    processor_read(&processor);
    assert_int_equal(processor.tsc_hz, 2592000000ull);

    base(0x15, "GenuineIntel"); // leaf 0x16 is not read
    leaf(0x15, 1, 0xffffffff, 0xffffffff, 0);
    processor_read(&processor);
    assert_int_equal(processor.tsc_hz, 0xffffffffull * 0xffffffffull);
}

// Any of the three may be 0: then the base frequency, in MHz.
static void test_tsc_by_the_base_frequency(void **state)
{
    static const uint32_t empty[][3] = {
        {2, 216, 0}, {2, 0, 24000000}, {0, 216, 24000000}, {0, 0, 0}};

    (void)state;
    base(0x16, "GenuineIntel");
    leaf(0xb, 1, 1, 0x100, 0);
    leaf(0x16, 0xabcd0000 | 2600, 3500, 100, 0); // the upper half is reserved
    for (size_t i = 0; i < sizeof empty / sizeof empty[0]; i++) {
        leaf(0x15, empty[i][0], empty[i][1], empty[i][2], 0);
        processor_read(&processor);
        assert_int_equal(processor.tsc_hz, 2600000000ull);
    }
    leaf(0x16, 0, 0, 0, 0);
    processor_read(&processor);
    assert_int_equal(processor.tsc_hz, 0);
    base(0x15, "GenuineIntel");
    processor_read(&processor);
    assert_int_equal(processor.tsc_hz, 0);
}

// ---- guests that INIT does not reach ----

static void test_tdx(void **state)
{
    (void)state;
    base(0x21, "GenuineIntel");
    leaf(0xb, 1, 1, 0x100, 0);
    leaf(0x15, 0, 0, 0, 0);
    leaf(0x16, 0, 0, 0, 0);
    leaf(0x21, 0, word("IntelTDX    ", 0), word("IntelTDX    ", 2), word("IntelTDX    ", 1));
    processor_read(&processor);
    assert_int_equal(processor.guest, GUEST_TDX);
    assert_int_equal(processor.vendor, VENDOR_INTEL);

    leaf(0x21, 0, 0, 0, 0);
    processor_read(&processor);
    assert_int_equal(processor.guest, GUEST_NONE);

    base(0x20, "GenuineIntel"); // beyond the maximum: not read, whatever it holds
    leaf(0x21, 0, word("IntelTDX    ", 0), word("IntelTDX    ", 2), word("IntelTDX    ", 1));
    processor_read(&processor);
    assert_int_equal(processor.guest, GUEST_NONE);
}

// ---- extended leaves ----

static void test_extended_features(void **state)
{
    (void)state;
    leaf(0x80000000, 0x80000001, 0, 0, 0);
    leaf(0x80000001, 0, 0, 0, 1u << 20);
    processor_read(&processor);
    assert_true(processor.no_execute);
    assert_false(processor.gib_pages);
    assert_int_equal(processor.phys_bits, 36);

    leaf(0x80000001, 0, 0, 0, 1u << 26);
    processor_read(&processor);
    assert_false(processor.no_execute);
    assert_true(processor.gib_pages);
}

// An old processor answers an unknown leaf with the data of its last basic one; that is no maximum.
static void test_no_extended_leaves(void **state)
{
    static const uint32_t answers[] = {0, 1, 0x07280202, 0x7fffffff, 0x80010000, 0xffffffff};

    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        leaf(0x80000000, answers[i], 0, 0, 0);
        processor_read(&processor); // reading any further leaf would end the test
        assert_false(processor.no_execute);
        assert_string_equal(processor.brand, "");
        assert_int_equal(processor.phys_bits, 36);
    }
}

static void test_brand(void **state)
{
    static const char short_one[48] = "Common KVM processor";
    static const char long_one[] = "012345678901234567890123456789012345678901234567";

    (void)state;
    leaf(0x80000000, 0x80000003, 0, 0, 0); // one short of the brand
    leaf(0x80000001, 0, 0, 0, 0);
    processor_read(&processor);
    assert_string_equal(processor.brand, "");

    leaf(0x80000000, 0x80000004, 0, 0, 0);
    put_brand(short_one);
    processor_read(&processor);
    assert_string_equal(processor.brand, "Common KVM processor");

    put_brand(long_one); // all 48 bytes, none of them a NUL
    processor_read(&processor);
    assert_string_equal(processor.brand, long_one);
}

// Page tables are made with this number: it is not believed beyond what paging can have.
static void test_physical_bits(void **state)
{
    static const uint32_t known[][2] = {
        {0x3027, 39}, {0x3030, 48}, {0x3934, 52}, {0x3935, 52},
        {0x30ff, 52}, {0x3000, 32}, {0x301f, 32}, {0x00003028, 40},
    };

    (void)state;
    leaf(0x80000000, 0x80000008, 0, 0, 0);
    leaf(0x80000001, 0, 0, 0, 0);
    leaf(0x80000007, 0, 0, 0, 0);
    put_brand("                                                ");
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        leaf(0x80000008, known[i][0], 0, 0, 0);
        processor_read(&processor);
        assert_int_equal(processor.phys_bits, known[i][1]);
    }
}

// SEV_STATUS tells which it is, where CPUID tells of SEV; its host may hide that it is one.
static void test_sev(void **state)
{
    static const struct {
        uint64_t status;
        enum guest guest;
    } known[] = {
        {0x0, GUEST_NONE},    {0x1, GUEST_SEV},     {0x2, GUEST_SEV_ES},   {0x3, GUEST_SEV_ES},
        {0x4, GUEST_SEV_SNP}, {0x7, GUEST_SEV_SNP}, {0x17, GUEST_SEV_SNP}, {~0x7ull, GUEST_NONE},
    };

    (void)state;
    base(1, "AuthenticAMD");
    leaf(1, 0x00a20f10, 0, 0, 0);
    leaf(0x80000000, 0x8000001f, 0, 0, 0);
    leaf(0x80000001, 0, 0, 0, 0);
    put_brand("                                                ");
    leaf(0x80000007, 0, 0, 0, 0);
    leaf(0x80000008, 0x3030, 0, 0, 0);
    leaf(0x8000001f, 0x1, 0, 0, 0); // SME alone: no such MSR
    processor_read(&processor);
    assert_int_equal(processor.guest, GUEST_NONE);

    leaf(0x8000001f, 0x1f, 0, 0, 0);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        fake_set_cell(FAKE_MSR, 0xc0010131, known[i].status);
        processor_read(&processor);
        assert_int_equal(processor.guest, known[i].guest);
    }

    leaf(0x80000000, 0x8000001e, 0, 0, 0); // the leaf is not there
    fake_set_cell(FAKE_MSR, 0xc0010131, 0x7);
    processor_read(&processor);
    assert_int_equal(processor.guest, GUEST_NONE);

    leaf(0x80000000, 0x8000001f, 0, 0, 0); // CPUID lies, the MSR is #GP
    fake_remove_msr(0xc0010131);
    processor_read(&processor);
    assert_int_equal(processor.guest, GUEST_NONE);
}

static void test_invariant_tsc(void **state)
{
    (void)state;
    leaf(0x80000000, 0x80000007, 0, 0, 0);
    leaf(0x80000001, 0, 0, 0, 0);
    put_brand("                                                ");
    leaf(0x80000007, 0, 0, 0, ~(1u << 8));
    processor_read(&processor);
    assert_false(processor.tsc_invariant);
    leaf(0x80000007, 0, 0, 0, 1u << 8);
    processor_read(&processor);
    assert_true(processor.tsc_invariant);
    leaf(0x80000000, 0x80000006, 0, 0, 0);
    processor_read(&processor);
    assert_false(processor.tsc_invariant);
}

// ---- registers that may not exist ----

static void load_microcode(void *context, uint64_t address, uint64_t value)
{
    (void)context;
    fake_set_cell(FAKE_MSR, address, value | 0xb400000000);
}

static void test_microcode(void **state)
{
    (void)state;
    fake_set_cell(FAKE_MSR, 0x8b, 0x0a201016);
    base(1, "AuthenticAMD");
    assert_int_equal(processor_read_microcode(), 0x0a201016);
    assert_int_equal(fake_log_count(), 0); // nothing is written
    base(1, "CentaurHauls");
    assert_int_equal(processor_read_microcode(), 0);

    // Intel: a 0, CPUID, and then it stands in the high half.
    base(1, "GenuineIntel");
    fake_log_kinds(FAKE_WRMSR | FAKE_RDMSR | FAKE_CPUID);
    fake_set_cell(FAKE_MSR, 0x8b, 0x12300000000);
    fake_hook(FAKE_MSR, 0x8b, 0x8b, NULL, load_microcode, NULL);
    assert_int_equal(processor_read_microcode(), 0xb4);
    FAKE_EXPECT_LOG({FAKE_CPUID, 0, 0, 0, 0}, {FAKE_WRMSR, 0x8b, 0, 0, 0}, {FAKE_CPUID, 1, 0, 0, 0},
                    {FAKE_RDMSR, 0x8b, 0xb400000000, 0, 0});
}

// By its vendor's name alone it would be read, and that is #GP: the fake ends the test on an access
// that is not the safe one.
static void test_no_microcode_register(void **state)
{
    static const char *const names[] = {"GenuineIntel", "AuthenticAMD", "HygonGenuine"};

    (void)state;
    fake_remove_msr(0x8b);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        base(1, names[i]);
        assert_int_equal(processor_read_microcode(), 0);
    }
}

static void test_a_missing_msr(void **state)
{
    (void)state;
    fake_set_cell(FAKE_MSR, 0x8ff, 0); // a hypervisor that answers
    assert_int_equal(processor_read_missing_msr(), MISSING_MSR_VALUE);
    fake_remove_msr(0x8ff);
    assert_int_equal(processor_read_missing_msr(), MISSING_MSR_FAULT);
    assert_string_equal(missing_msr_word(MISSING_MSR_FAULT), "fault");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_the_smallest, set_up),
        cmocka_unit_test_setup(test_vendors, set_up),
        cmocka_unit_test_setup(test_family, set_up),
        cmocka_unit_test_setup(test_features, set_up),
        cmocka_unit_test_setup(test_hypervisor, set_up),
        cmocka_unit_test_setup(test_names_that_are_no_text, set_up),
        cmocka_unit_test_setup(test_id_leaf, set_up),
        cmocka_unit_test_setup(test_tsc_by_the_crystal, set_up),
        cmocka_unit_test_setup(test_tsc_by_the_base_frequency, set_up),
        cmocka_unit_test_setup(test_tdx, set_up),
        cmocka_unit_test_setup(test_no_extended_leaves, set_up),
        cmocka_unit_test_setup(test_extended_features, set_up),
        cmocka_unit_test_setup(test_brand, set_up),
        cmocka_unit_test_setup(test_physical_bits, set_up),
        cmocka_unit_test_setup(test_sev, set_up),
        cmocka_unit_test_setup(test_invariant_tsc, set_up),
        cmocka_unit_test_setup(test_microcode, set_up),
        cmocka_unit_test_setup(test_no_microcode_register, set_up),
        cmocka_unit_test_setup(test_a_missing_msr, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
