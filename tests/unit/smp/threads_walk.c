// The trampoline's assembler (trampoline/ap_start.S) as a thread walks it: the same reads and
// writes of the page and of the records, of the same widths and in the same order. What it only
// stores for somebody who waits for it (marks, state, the list of strays) is atomic here, and a
// store of x86 is a release; all else is plain memory, so that ThreadSanitizer holds it to what
// orders it. Surprise: it goes on in C by the address that its record names, as the assembler does.

#include <string.h>

#include "engine.h"
#include "threads.h"
#include "trampoline.h"

#define INDEX_BYTES 2u // of the mark, the first word on a cell's stack

// A stub's return address stands behind it, and its vector is 6.
#define BEHIND_STUB(stubs, bytes) ((stubs) + (6 + 1) * (bytes))

static uint32_t number16(const uint8_t *at)
{
    return at[0] | (uint32_t)at[1] << 8;
}

static void push(uint8_t **top, uint32_t value, size_t width)
{
    *top -= width;
    memcpy(*top, &value, width);
}

static void come_to(uint32_t stage)
{
    atomic_store_explicit(&self->diary.stage, stage, memory_order_relaxed);
    threads_dally(self->dally_us[stage]);
}

static void mark(uint32_t index, uint8_t stage)
{
    atomic_store_explicit((_Atomic uint8_t *)&page[PAGE_MARKS + index], stage,
                          memory_order_relaxed);
}

static _Noreturn void trap(void)
{
    atomic_store_explicit(&self->diary.faulted, true, memory_order_relaxed);
    threads_park();
}

// UD2 before long mode: what the processor pushes, the stub's return address, the magic.
static _Noreturn void trap_in_real(uint8_t *top)
{
    push(&top, 0x0002, 2);
    push(&top, PAGE_PHYS >> 4, 2);
    push(&top, IMAGE_HEADER_END, 2);
    push(&top, BEHIND_STUB(number16(page + IMAGE_TRAPS_REAL), TRAP_REAL_BYTES), 2);
    push(&top, TRAP_MAGIC_REAL, 2);
    trap();
}

static _Noreturn void trap_in_protected(uint8_t *top)
{
    push(&top, 0x00000002, 4);
    push(&top, SELECTOR_CODE32, 4);
    push(&top, PAGE_PHYS + IMAGE_HEADER_END, 4);
    push(&top,
         PAGE_PHYS + BEHIND_STUB(number16(page + IMAGE_TRAPS_PROTECTED), TRAP_PROTECTED_BYTES), 4);
    push(&top, TRAP_MAGIC_PROTECTED, 4);
    trap();
}

// By halving steps, as there.
static struct lcpu *find_record(const struct trampoline_parameters *told)
{
    const uint8_t *entry = (const uint8_t *)(uintptr_t)told->lcpus;

    for (uint32_t half = told->lcpus_half; half >= LCPU_ID_BYTES; half /= 2) {
        if (((const struct lcpu_id *)(const void *)(entry + half))->apic_id <= self->apic_id)
            entry += half;
    }
    const struct lcpu_id *found = (const struct lcpu_id *)(const void *)entry;
    return found->apic_id == self->apic_id ? (struct lcpu *)(uintptr_t)found->lcpu : NULL;
}

static _Noreturn void be_unlisted(struct rally *rally)
{
    const uint32_t place =
        atomic_fetch_add_explicit(&rally->unlisted_count, 1, memory_order_seq_cst);

    if (place < RALLY_UNLISTED_MAX)
        atomic_store_explicit(&rally->unlisted_ids[place], self->apic_id, memory_order_release);
    atomic_fetch_add_explicit(&self->diary.strays, 1, memory_order_relaxed);
    threads_park();
}

static void walk_real(uint32_t index)
{
    uint8_t *top = page + PAGE_CELLS + ((index & (CELL_COUNT - 1)) + 1) * CELL_BYTES - INDEX_BYTES;

    const uint8_t was =
        atomic_load_explicit((_Atomic uint8_t *)&page[PAGE_MARKS + index], memory_order_relaxed);
    mark(index, STAGE_REAL);
    atomic_store_explicit((_Atomic uint16_t *)(void *)top, (uint16_t)index, memory_order_relaxed);
    come_to(STAGE_REAL);
    if (was == DEFECT_HANG_REAL)
        threads_park();
    if (was > DEFECT_HANG_REAL || self->stumbles_in == STAGE_REAL)
        trap_in_real(top);
}

static void walk_protected(struct lcpu *lcpu, const struct rally *rally, uint64_t real)
{
    (void)rally;
    const uint32_t generation = lcpu->round;

    lcpu->apic_base = self->apic_base;
    atomic_store_explicit(&lcpu->state, generation << STATE_STAGE_BITS | STAGE_PROTECTED,
                          memory_order_release);
    lcpu->tsc_protected = hw_tsc();
    lcpu->tsc_real = real;
    lcpu->bist = 0;
    lcpu->signature = 0x000906ea;
    lcpu->cr0 = (uint32_t)hw_read_cr0();
    lcpu->cr4 = (uint32_t)hw_read_cr4();
    lcpu->efer = hw_rdmsr(MSR_EFER);
    come_to(STAGE_PROTECTED);
    if (lcpu->defect == DEFECT_HANG_PROTECTED)
        threads_park();
    if (lcpu->defect == DEFECT_UD_PROTECTED || self->stumbles_in == STAGE_PROTECTED)
        trap_in_protected((uint8_t *)lcpu + LCPU_TRAP_TOP);
    if (atomic_load_explicit(&self->fate.no_nx, memory_order_relaxed)) {
        lcpu->no_nx = 1;
        atomic_store_explicit(&self->diary.without_nx, true, memory_order_relaxed);
        threads_park();
    }
}

static void walk_long(struct lcpu *lcpu)
{
    atomic_store_explicit((_Atomic uint8_t *)&lcpu->state, STAGE_LONG, memory_order_release);
    self->lcpu = lcpu;
    *((uint8_t *)lcpu + LCPU_TSS_TYPE) &= (uint8_t)~2u;
    *((uint8_t *)lcpu + LCPU_TSS_TYPE) |= 2; // LTR
    lcpu->tsc_long = hw_tsc();
    come_to(STAGE_LONG);
    if (lcpu->defect == DEFECT_HANG_LONG)
        threads_park();
    if (lcpu->defect == DEFECT_UD_LONG || self->stumbles_in == STAGE_LONG)
        threads_fault(6, PAGE_PHYS, 0);
    if (lcpu->stack % PAGE_BYTES != 0) // in the guard page
        threads_fault(14, PAGE_PHYS, lcpu->stack - 8);
    if (lcpu->entry == 0)
        threads_fault(14, 0, 0);
}

void threads_walk(void)
{
    const uint32_t index = self->apic_id & (MARK_COUNT - 1);
    struct trampoline_parameters told;

    threads_dally(self->dally_us[STAGE_NONE]);
    if (page[0] == 0xfa) // CLI; HLT: it is closed
        return;
    const uint64_t real = hw_tsc();
    walk_real(index);
    mark(index, STAGE_PROTECTED);
    memcpy(&told, page + number16(page + IMAGE_PARAMETERS_OFFSET), sizeof told);
    if (told.x2apic)
        hw_wrmsr(MSR_IA32_APIC_BASE, self->apic_base | APIC_BASE_EXTD);
    struct rally *rally = (struct rally *)(uintptr_t)told.rally;
    struct lcpu *lcpu = find_record(&told);
    if (!lcpu)
        be_unlisted(rally);
    walk_protected(lcpu, rally, real);
    walk_long(lcpu);
    if (lcpu->entry == PAGE_PHYS + PAGE_PARK) // it is sealed
        return;
    void (*entry)(struct lcpu *) = (void (*)(struct lcpu *))lcpu->entry;
    atomic_store_explicit(&self->diary.stage, STAGE_C, memory_order_relaxed);
    entry(lcpu);
}
