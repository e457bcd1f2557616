// The BSP's own state: taken from firmware before the wake, and given back to the bit where
// firmware lives on. Surprise: the task register. Firmware may run without one, and no instruction
// takes it away again once it is loaded. So while firmware lives, faults are handled on the current
// stack, which needs none.

#include "bsp.h"

#include "control.h"
#include "hw.h"
#include "lapic.h"
#include "mem.h"

#define CR4_PGE (1u << 7)

static uint32_t read_register(uint64_t base, uint32_t at)
{
    return base & APIC_BASE_EXTD ? (uint32_t)hw_rdmsr(MSR_X2APIC(at))
                                 : hw_mmio_read32(APIC_MMIO_PHYS(base) + at);
}

void apic_read_settings(uint64_t base, struct apic_settings *settings)
{
    // In the order in which processors got them: timer, LINT0, LINT1, error, performance counter,
    // thermal. The version says how many there are; a later one stands elsewhere with each vendor,
    // and reading what is not there is #GP in x2APIC mode.
    static const uint16_t registers[APIC_VECTORS] = {0x320, 0x350, 0x360, 0x370, 0x340, 0x330};
    const uint32_t moving = 1u << 12 | 1u << 14; // delivery status, remote IRR

    *settings = (struct apic_settings){0};
    if (!(base & APIC_BASE_EN))
        return;
    settings->task_priority = read_register(base, XAPIC_TPR);
    settings->spurious = read_register(base, XAPIC_SVR);
    const uint32_t last = read_register(base, XAPIC_VERSION) >> 16 & 0xff;
    for (uint32_t i = 0; i < APIC_VECTORS && i <= last; i++)
        settings->vectors[i] = read_register(base, registers[i]) & ~moving;
}

// No service tells the TPL, but to raise it does.
static EFI_TPL read_tpl(const EFI_BOOT_SERVICES *boot)
{
    const EFI_TPL tpl = boot->RaiseTPL(TPL_HIGH_LEVEL);
    boot->RestoreTPL(tpl);
    return tpl;
}

// RestoreTPL may switch interrupts on, whatever they were.
static void restore_interrupts(bool on)
{
    if (on)
        hw_enable_interrupts();
    else
        hw_disable_interrupts();
}

void bsp_read(const struct firmware *firmware, const struct processor *processor,
              struct bsp_state *state)
{
    const bool interrupts = hw_interrupts_are_on();

    *state = (struct bsp_state){
        .interrupts = interrupts,
        .tpl = read_tpl(firmware->boot),
        .cr0 = hw_read_cr0(),
        .cr3 = hw_read_cr3(),
        .cr4 = hw_read_cr4(),
        .efer = hw_rdmsr(MSR_EFER),
        .apic_base = hw_rdmsr(MSR_IA32_APIC_BASE),
        .pat = processor->pat ? hw_rdmsr(MSR_IA32_PAT) : 0,
        .mtrr_default = processor->mtrr ? hw_rdmsr(MSR_IA32_MTRR_DEF_TYPE) : 0,
        .tables = hw_read_tables(),
    };
    restore_interrupts(interrupts);
    apic_read_settings(state->apic_base, &state->apic);
}

static void read_registers(bool has_pat, struct bsp_registers *registers)
{
    *registers = (struct bsp_registers){
        .cr0 = hw_read_cr0(),
        .cr3 = hw_read_cr3(),
        .cr4 = hw_read_cr4(),
        .efer = hw_rdmsr(MSR_EFER),
        .pat = has_pat ? hw_rdmsr(MSR_IA32_PAT) : 0,
        .tables = hw_read_tables(),
    };
    registers->tables.task = 0; // loaded still, and busy: LTR would fault
}

static void write_pat(const struct bsp_registers *registers)
{
    if (registers->pat != 0)
        hw_wrmsr(MSR_IA32_PAT, registers->pat);
}

// Our handlers run in both address spaces, firmware's in its own alone: so an NMI finds ours while
// CR3 changes. CR4 comes before the far return in hw_write_tables, which a shadow stack refuses.
static void enter_ours(const struct bsp_registers *ours)
{
    hw_write_cr4(ours->cr4 & ~(uint64_t)CR4_CET);
    hw_write_cr0(ours->cr0);
    hw_wrmsr(MSR_EFER, ours->efer);
    hw_write_tables(&ours->tables);
    write_pat(ours);
    hw_write_cr3(ours->cr3);
}

// NXE may go only when tables that use it are gone.
static void enter_firmwares(const struct bsp_registers *firmwares)
{
    write_pat(firmwares);
    hw_write_cr3(firmwares->cr3);
    hw_write_cr4(firmwares->cr4);
    hw_write_cr0(firmwares->cr0);
    hw_wrmsr(MSR_EFER, firmwares->efer);
    hw_write_tables(&firmwares->tables);
}

void bsp_visit_firmware(const struct firmware *firmware, struct bsp_registers *ours)
{
    struct bsp_registers firmwares = {
        .cr0 = firmware->cr0,
        .cr3 = firmware->cr3,
        .cr4 = firmware->cr4 & ~(uint64_t)CR4_CET, // its shadow stack has another chain of calls
        .efer = firmware->efer,
        .pat = firmware->pat,
        .tables = firmware->tables,
    };

    firmwares.tables.task = 0; // its TSS, if there is one, is busy still
    read_registers(firmware->pat != 0, ours);
    enter_firmwares(&firmwares);
}

void bsp_return(const struct bsp_registers *ours)
{
    hw_disable_interrupts();
    enter_ours(ours);
}

// `task`: the selector of a TSS to be loaded; 0: none.
static void move_in(const struct firmware *firmware, const struct bsp_home *home, uint16_t task,
                    struct bsp_registers *ours)
{
    hw_disable_interrupts();
    read_registers(false, ours);
    ours->cr0 |= CR0_WP;
    ours->cr3 = home->cr3;
    ours->cr4 = firmware->cr4 & // no global entry of firmware's survives
                ~(uint64_t)(CR4_PGE | CR4_CET);
    ours->efer |= home->no_execute ? EFER_NXE : 0;
    ours->pat = home->pat;
    ours->tables = (struct hw_tables){
        .gdt = home->gdt,
        .idt = home->early_idt,
        .segments = {home->segments[0], home->segments[1], home->segments[2], home->segments[3]},
        .task = task,
    };
    enter_ours(ours);
}

void bsp_take_over(const struct firmware *firmware, const struct bsp_home *home)
{
    struct bsp_registers ours;

    move_in(firmware, home, home->task, &ours);
    // Interrupt stacks of the TSS only once it is loaded: an NMI comes when it likes.
    ours.tables.idt = home->idt;
    ours.tables.task = 0;
    hw_write_tables(&ours.tables);
}

EFI_TPL bsp_borrow(const struct firmware *firmware, const struct bsp_home *home)
{
    const EFI_TPL tpl = firmware->boot->RaiseTPL(TPL_HIGH_LEVEL);
    struct bsp_registers ours;

    move_in(firmware, home, 0, &ours);
    return tpl;
}

// Interrupts last: UEFI forbids them at TPL_HIGH_LEVEL (UEFI 2.10, "EFI_BOOT_SERVICES.RaiseTPL()").
void bsp_hand_back(const struct firmware *firmware, const struct bsp_state *state, EFI_TPL tpl)
{
    struct bsp_registers firmwares = {
        .cr0 = state->cr0,
        .cr3 = state->cr3,
        .cr4 = state->cr4,
        .efer = state->efer,
        .pat = state->pat,
        .tables = state->tables,
    };

    firmwares.tables.task = 0; // never changed
    enter_firmwares(&firmwares);
    firmware->boot->RestoreTPL(tpl);
    restore_interrupts(state->interrupts);
}

#define FIELD(name, field)                                                                       \
    {                                                                                            \
        name, offsetof(struct bsp_state, field), sizeof(((const struct bsp_state *)NULL)->field) \
    }

const char *bsp_difference(const struct bsp_state *before, const struct bsp_state *now)
{
    static const struct {
        const char *name;
        uint16_t at, bytes;
    } fields[] = {
        FIELD("RFLAGS.IF", interrupts),
        FIELD("TPL", tpl),
        FIELD("CR0", cr0),
        FIELD("CR3", cr3),
        FIELD("CR4", cr4),
        FIELD("EFER", efer),
        FIELD("IA32_APIC_BASE", apic_base),
        FIELD("IA32_PAT", pat),
        FIELD("IA32_MTRR_DEF_TYPE", mtrr_default),
        FIELD("GDTR", tables.gdt),
        FIELD("IDTR", tables.idt),
        FIELD("a segment", tables.segments),
        FIELD("TR", tables.task),
        FIELD("APIC TPR", apic.task_priority),
        FIELD("APIC SVR", apic.spurious),
        FIELD("an APIC LVT", apic.vectors),
    };

    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if (memcmp((const uint8_t *)before + fields[i].at, (const uint8_t *)now + fields[i].at,
                   fields[i].bytes) != 0)
            return fields[i].name;
    }
    return NULL;
}
