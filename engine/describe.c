// This processor, as the engine has to know it. Surprise: no register of the APIC's is read here,
// since a kernel maps them only once it has been told where they are.

#include "survey.h"
#include "cpu_features.h"
#include "hw.h"
#include "lapic.h"
#include "tell.h"

static enum status check_guest(enum guest guest, const struct problems *problems)
{
    if (guest == GUEST_NONE)
        return STATUS_OK;
    const struct guest_story story = guest_story(guest);
    problem_tell(problems, SEVERITY_ERROR, story.what, "this is %s guest: %s", story.name,
                 story.why);
    return STATUS_UNSUPPORTED;
}

static enum status check_bsp_flag(uint64_t apic_base, const struct problems *problems)
{
    if (apic_base & APIC_BASE_BSP)
        return STATUS_OK;
    problem_tell(problems, SEVERITY_ERROR, "bsp-flag",
                 "this processor is not flagged as the BSP (IA32_APIC_BASE %x), and an INIT to the "
                 "one that is restarts the machine: wake the others from there",
                 apic_base);
    return STATUS_UNSUPPORTED;
}

enum status engine_describe_processor(const struct problems *problems,
                                      struct engine_processor *processor)
{
    const uint64_t apic_base = hw_rdmsr(MSR_IA32_APIC_BASE);
    struct processor facts;

    processor_read(&facts);
    *processor = (struct engine_processor){
        .features = cpu_features_of(&facts, hw_read_cr4()),
        .apic_mode = apic_base & APIC_BASE_EXTD ? SMP_X2APIC : SMP_XAPIC,
        .has_x2apic = facts.x2apic,
        .apic_phys = APIC_MMIO_PHYS(apic_base),
        .init_us = cpu_features_init_us(&facts),
    };
    const enum status guest = check_guest(facts.guest, problems);
    const enum status flag = check_bsp_flag(apic_base, problems);
    return guest != STATUS_OK ? guest : flag;
}

uint32_t engine_own_apic_id(uint64_t apic_view)
{
    return hw_rdmsr(MSR_IA32_APIC_BASE) & APIC_BASE_EXTD
               ? (uint32_t)hw_rdmsr(MSR_X2APIC(XAPIC_ID))
               : hw_mmio_read32(apic_view + XAPIC_ID) >> 24;
}
