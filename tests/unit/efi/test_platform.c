// What firmware has locked: the x2APIC, by two registers that exist only where CPUID and the first
// of them say so. (SDM vol. 4, IA32_ARCH_CAPABILITIES, IA32_XAPIC_DISABLE_STATUS.)
#include "fake_firmware.h"

#include "platform_read.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "failing.h"
#include "fake_hw.h"
#include "msr.h"

#define HAS_CAPABILITIES (1u << 29) // CPUID 7, EDX
#define HAS_STATUS       (1u << 21) // IA32_ARCH_CAPABILITIES
#define LOCKED           (1u << 0)  // IA32_XAPIC_DISABLE_STATUS

static EFI_RUNTIME_SERVICES runtime;

static EFI_STATUS EFIAPI no_variable(CHAR16 *name, EFI_GUID *vendor, UINT32 *attributes,
                                     UINTN *bytes, VOID *value)
{
    (void)name;
    (void)vendor;
    (void)attributes;
    (void)bytes;
    (void)value;
    return EFI_NOT_FOUND;
}

static bool is_locked(enum vendor vendor)
{
    struct firmware firmware = fake_firmware_start(sizeof(EFI_MEMORY_DESCRIPTOR));
    struct machine machine = {.processor.vendor = vendor};

    runtime.GetVariable = no_variable;
    fake_firmware.system.RuntimeServices = &runtime;
    platform_gather(&firmware, &machine);
    return machine.platform.apic_locked;
}

static int set_up(void **state)
{
    (void)state;
    fake_reset();
    failures_fail_the_test();
    fake_set_cpuid(0, 0, (struct cpuid){.eax = 7}); // of no vendor that has microcode
    fake_set_cpuid(7, 0, (struct cpuid){.edx = HAS_CAPABILITIES});
    fake_set_cell(FAKE_MSR, MSR_IA32_ARCH_CAPABILITIES, HAS_STATUS);
    fake_set_cell(FAKE_MSR, MSR_IA32_XAPIC_DISABLE, LOCKED);
    return 0;
}

static void test_locked(void **state)
{
    (void)state;
    assert_true(is_locked(VENDOR_INTEL));
    fake_set_cell(FAKE_MSR, MSR_IA32_XAPIC_DISABLE, ~(uint64_t)LOCKED);
    assert_false(is_locked(VENDOR_INTEL));
}

// A register that is not there is not read: that would end the test.
static void test_registers_that_are_not_there(void **state)
{
    (void)state;
    fake_remove_msr(MSR_IA32_XAPIC_DISABLE);
    fake_set_cell(FAKE_MSR, MSR_IA32_ARCH_CAPABILITIES, ~(uint64_t)HAS_STATUS);
    assert_false(is_locked(VENDOR_INTEL));
    fake_remove_msr(MSR_IA32_ARCH_CAPABILITIES);
    fake_set_cpuid(7, 0, (struct cpuid){.edx = ~HAS_CAPABILITIES});
    assert_false(is_locked(VENDOR_INTEL));
    fake_set_cpuid(7, 0, (struct cpuid){.edx = HAS_CAPABILITIES});
    assert_false(is_locked(VENDOR_AMD));
    fake_set_cpuid(0, 0, (struct cpuid){.eax = 6});
    assert_false(is_locked(VENDOR_INTEL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_locked, set_up),
        cmocka_unit_test_setup(test_registers_that_are_not_there, set_up),
    };
    return cmocka_run_group_tests_name("platform", tests, NULL, NULL);
}
