// The end of a processor that met an exception. Knows who it is by its GDT, which lies in its own
// page, so that neither its stack nor its GS base has to be believed. Surprise: it works on a 1 KiB
// stack, so the line's memory is in the processor's page.

#include "fault.h"

#include "arena.h"
#include "line.h"

static const char *const names[VECTORS] = {
    [0] = "divide error",
    [1] = "debug",
    [2] = "NMI",
    [3] = "breakpoint",
    [4] = "overflow",
    [5] = "bound range",
    [6] = "invalid opcode",
    [7] = "no FPU",
    [8] = "double fault",
    [10] = "invalid TSS",
    [11] = "segment not present",
    [12] = "stack fault",
    [13] = "general protection",
    [14] = "page fault",
    [16] = "FPU error",
    [17] = "alignment check",
    [18] = "machine check",
    [19] = "SIMD error",
    [20] = "virtualisation",
    [21] = "control protection",
};

const char *smp_fault_word(uint32_t vector)
{
    return vector < VECTORS && names[vector] ? names[vector] : "reserved";
}

static struct lcpu_page *own_page(void)
{
    const struct hw_tables tables = hw_read_tables();
    return (struct lcpu_page *)(uintptr_t)(tables.gdt.base & ~(uint64_t)(PAGE_BYTES - 1));
}

// The first fault is the account's: what follows from it says nothing about the processor.
static void keep_evidence(struct lcpu *lcpu, const struct fault_frame *frame)
{
    const uint32_t state = atomic_load_explicit(&lcpu->state, memory_order_relaxed);

    if (atomic_load_explicit(&lcpu->fault.valid, memory_order_relaxed))
        return;
    lcpu->fault.mode = state & ((1u << STATE_STAGE_BITS) - 1);
    lcpu->fault.vector = (uint32_t)frame->vector;
    lcpu->fault.error = (uint32_t)frame->error;
    lcpu->fault.ip = frame->rip;
    lcpu->fault.cr2 = hw_read_cr2();
    lcpu->fault.sp = frame->rsp;
    atomic_store_explicit(&lcpu->fault.valid, 1, memory_order_release);
}

static struct line describe(struct lcpu_page *page, const struct fault_frame *frame)
{
    struct line line;

    line_start(&line, page->line, sizeof page->line);
    line_add_format(
        &line, "CPU %u (APIC ID %u) stopped: vector %u (%s), error code %x, RIP %x, CR2 %x, RSP %x",
        (uint64_t)page->lcpu.cpu, (uint64_t)page->lcpu.apic_id, frame->vector,
        smp_fault_word((uint32_t)frame->vector), (uint64_t)(uint32_t)frame->error, frame->rip,
        hw_read_cr2(), frame->rsp);
    return line;
}

bool fault_is_nudge(struct fault_frame *frame)
{
    struct lcpu *lcpu = &own_page()->lcpu;

    if (atomic_exchange_explicit(&lcpu->way.nudged, 0, memory_order_acquire) == 0)
        return false;
    frame->rip = hw_after_nmi(frame->rip);
    return true;
}

// What it does may fault, too: how often it has, the host is told, so that it can do less each
// time.
_Noreturn void fault_report(const struct fault_frame *frame)
{
    struct lcpu_page *page = own_page();
    struct rally *rally = page->lcpu.rally;
    const uint32_t before =
        page->lcpu.slot == 0 ? rally->faults_of_bsp++
                             : atomic_load_explicit(&page->lcpu.fault.valid, memory_order_relaxed);
    struct smp_fault_report report = {.self = {page->lcpu.slot, page->lcpu.cpu, page->lcpu.apic_id},
                                      .before = before};

    keep_evidence(&page->lcpu, frame);
    const struct line line = describe(page, frame);
    report.text = line.text;
    report.length = line.length;
    if (rally->host.fault)
        rally->host.fault(rally->host.context, &report);
    if (rally->park != 0)
        hw_jump(rally->park);
    hw_halt();
}
