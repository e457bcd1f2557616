// Between our own address space and firmware's, after the exit: runtime services run in the latter,
// on firmware's own descriptor tables, since ours map no runtime code executable.

#include "firmware.h"

#include "hw.h"
#include "page_table.h"

void leave_own_tables(const struct firmware *firmware, struct own_tables *own)
{
    struct hw_tables tables = firmware->tables;

    *own = (struct own_tables){
        .cr3 = hw_read_cr3(),
        .cr4 = hw_read_cr4(),
        .pat = firmware->pat != 0 ? hw_rdmsr(MSR_IA32_PAT) : 0,
        .tables = hw_read_tables(),
    };
    tables.task = 0; // its TSS, if there is one, is busy still, and LTR would fault
    if (firmware->pat != 0)
        hw_wrmsr(MSR_IA32_PAT, firmware->pat);
    hw_write_cr3(firmware->cr3);
    hw_write_cr4(firmware->cr4);
    hw_write_tables(&tables);
}

void return_to_own_tables(const struct own_tables *own)
{
    struct hw_tables tables = own->tables;

    tables.task = 0; // loaded still, and busy
    if (own->pat != 0)
        hw_wrmsr(MSR_IA32_PAT, own->pat);
    hw_write_cr4(own->cr4);
    hw_write_cr3(own->cr3);
    hw_write_tables(&tables);
}
