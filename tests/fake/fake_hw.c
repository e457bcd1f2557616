// The fake machine: hw.h's functions over tables that a test fills. Fixed tables, no allocation,
// one machine for the program: hw.h's functions take no context, so the state can only be here.
// Surprise: a clock that has moved CLOCK_MOVES_MAX times fails, so that an unbounded wait in the
// code under test is a message and not a test that never ends.
#include "fake_hw.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define CPUIDS_MAX      64u
#define CELLS_MAX       512u
#define HOOKS_MAX       64u
#define CLOCK_MOVES_MAX 100000000ull
#define CR_COUNT        4u
#define MISSING_MAX     8u

struct cpuid_entry {
    uint32_t leaf, subleaf;
    struct cpuid value;
};

struct cell {
    enum fake_space space;
    uint64_t address;
    uint64_t value;
};

struct hook {
    enum fake_space space;
    uint64_t first, last;
    fake_read_fn read;
    fake_write_fn write;
    void *context;
};

static struct {
    struct cpuid_entry cpuids[CPUIDS_MAX];
    size_t cpuid_count;
    struct cell cells[CELLS_MAX];
    size_t cell_count;
    struct hook hooks[HOOKS_MAX];
    size_t hook_count;
    uint64_t cr[CR_COUNT];
    bool cr_exists[CR_COUNT];
    struct hw_tables tables;
    bool tables_exist;
    bool interrupts_exist, interrupts;
    bool clock_runs;
    uint64_t now, step, moves;
    void (*on_time)(void *context, uint64_t now);
    void *on_time_context;
    bool halt_armed;
    uint32_t missing[MISSING_MAX];
    size_t missing_count;
    void (*on_flush)(const void *memory, uint64_t bytes);
} machine;

static jmp_buf halt_target;

void fake_reset(void)
{
    memset(&machine, 0, sizeof machine);
    fake_log_reset();
}

// ---- processor ----

void fake_set_cpuid(uint32_t leaf, uint32_t subleaf, struct cpuid value)
{
    size_t i = 0;

    while (i < machine.cpuid_count &&
           (machine.cpuids[i].leaf != leaf || machine.cpuids[i].subleaf != subleaf)) {
        i++;
    }
    if (i == CPUIDS_MAX) {
        fake_fail("fake: more than %u CPUID leaves", CPUIDS_MAX);
    }
    machine.cpuids[i] = (struct cpuid_entry){leaf, subleaf, value};
    if (i == machine.cpuid_count) {
        machine.cpuid_count++;
    }
}

struct cpuid hw_cpuid(uint32_t leaf, uint32_t subleaf)
{
    const struct cpuid_entry *any = NULL;

    fake_log_event(FAKE_CPUID, leaf, subleaf);
    for (size_t i = 0; i < machine.cpuid_count; i++) {
        const struct cpuid_entry *entry = &machine.cpuids[i];

        if (entry->leaf == leaf && entry->subleaf == subleaf) {
            return entry->value;
        }
        if (entry->leaf == leaf && entry->subleaf == FAKE_ANY_SUBLEAF) {
            any = entry;
        }
    }
    if (any == NULL) {
        fake_fail("fake: unexpected CPUID leaf %#x subleaf %#x", leaf, subleaf);
    }
    return any->value;
}

void fake_set_cr(enum fake_control_register cr, uint64_t value)
{
    machine.cr[cr] = value;
    machine.cr_exists[cr] = true;
}

static uint64_t read_cr(enum fake_control_register cr, unsigned number)
{
    if (!machine.cr_exists[cr]) {
        fake_fail("fake: unexpected access to CR%u", number);
    }
    return machine.cr[cr];
}

uint64_t hw_read_cr0(void)
{
    return read_cr(FAKE_CR0, 0);
}

uint64_t hw_read_cr2(void)
{
    return read_cr(FAKE_CR2, 2);
}

uint64_t hw_read_cr3(void)
{
    return read_cr(FAKE_CR3, 3);
}

uint64_t hw_read_cr4(void)
{
    return read_cr(FAKE_CR4, 4);
}

void hw_write_cr0(uint64_t value)
{
    read_cr(FAKE_CR0, 0);
    fake_log_event(FAKE_WRITE_CR0, 0, value);
    machine.cr[FAKE_CR0] = value;
}

void hw_write_cr3(uint64_t value)
{
    read_cr(FAKE_CR3, 3);
    fake_log_event(FAKE_WRITE_CR3, 3, value);
    machine.cr[FAKE_CR3] = value;
}

void hw_write_cr4(uint64_t value)
{
    read_cr(FAKE_CR4, 4);
    fake_log_event(FAKE_WRITE_CR4, 4, value);
    machine.cr[FAKE_CR4] = value;
}

bool hw_interrupts_are_on(void)
{
    if (!machine.interrupts_exist) {
        fake_fail("fake: unexpected hw_interrupts_are_on()");
    }
    return machine.interrupts;
}

void hw_enable_interrupts(void)
{
    if (!machine.interrupts_exist) {
        fake_fail("fake: unexpected hw_enable_interrupts()");
    }
    fake_log_event(FAKE_ENABLE_INTERRUPTS, 0, 0);
    machine.interrupts = true;
}

void fake_set_interrupts(bool on)
{
    machine.interrupts_exist = true;
    machine.interrupts = on;
}

void hw_write_cr2(uint64_t value)
{
    read_cr(FAKE_CR2, 2);
    machine.cr[FAKE_CR2] = value;
}

void hw_disable_interrupts(void)
{
    fake_log_event(FAKE_DISABLE_INTERRUPTS, 0, 0);
    machine.interrupts = false;
}

void fake_set_tables(const struct hw_tables *tables)
{
    machine.tables = *tables;
    machine.tables_exist = true;
}

static void need_tables(const char *who)
{
    if (!machine.tables_exist) {
        fake_fail("fake: unexpected %s", who);
    }
}

struct hw_tables hw_read_tables(void)
{
    need_tables("hw_read_tables()");
    return machine.tables;
}

void hw_write_tables(const struct hw_tables *tables)
{
    need_tables("hw_write_tables()");
    fake_log_event(FAKE_WRITE_TABLES, tables->gdt.base, tables->idt.base);
    const uint16_t task = tables->task != 0 ? tables->task : machine.tables.task;
    machine.tables = *tables;
    machine.tables.task = task;
}

jmp_buf *fake_arm_halt(void)
{
    machine.halt_armed = true;
    return &halt_target;
}

void hw_halt(void)
{
    if (!machine.halt_armed) {
        fake_fail("fake: unexpected hw_halt()");
    }
    machine.halt_armed = false;
    fake_log_event(FAKE_HALT, 0, 0);
    longjmp(halt_target, 1);
}

// To a loop that halts: for a test the same end, with the address.
void hw_jump(uint64_t address)
{
    if (!machine.halt_armed) {
        fake_fail("fake: unexpected hw_jump()");
    }
    machine.halt_armed = false;
    fake_log_event(FAKE_JUMP, address, 0);
    longjmp(halt_target, 1);
}

// Its fault stops the processor: for a test the same end, by another name.
void hw_undefined(void)
{
    if (!machine.halt_armed) {
        fake_fail("fake: unexpected hw_undefined()");
    }
    machine.halt_armed = false;
    fake_log_event(FAKE_UNDEFINED, 0, 0);
    longjmp(halt_target, 1);
}

// ---- MSRs, ports, device memory ----

static struct cell *find_cell(enum fake_space space, uint64_t address)
{
    for (size_t i = 0; i < machine.cell_count; i++) {
        if (machine.cells[i].space == space && machine.cells[i].address == address) {
            return &machine.cells[i];
        }
    }
    return NULL;
}

static const struct hook *find_hook(enum fake_space space, uint64_t address)
{
    for (size_t i = machine.hook_count; i > 0; i--) {
        const struct hook *hook = &machine.hooks[i - 1];

        if (hook->space == space && hook->first <= address && address <= hook->last) {
            return hook;
        }
    }
    return NULL;
}

static uint64_t read_space(enum fake_space space, enum fake_kind kind, uint64_t address)
{
    const struct hook *hook = find_hook(space, address);
    const struct cell *cell = find_cell(space, address);
    uint64_t value = 0;

    if (hook != NULL && hook->read != NULL) {
        value = hook->read(hook->context, address);
    } else if (cell != NULL) {
        value = cell->value;
    } else {
        fake_fail("fake: unexpected %s %#" PRIx64, fake_kind_name(kind), address);
    }
    fake_log_event(kind, address, value);
    return value;
}

static void write_space(enum fake_space space, enum fake_kind kind, uint64_t address,
                        uint64_t value)
{
    const struct hook *hook = find_hook(space, address);
    struct cell *cell = find_cell(space, address);
    const bool hooked = hook != NULL && hook->write != NULL;

    if (!hooked && cell == NULL) {
        fake_fail("fake: unexpected %s %#" PRIx64 " = %#" PRIx64, fake_kind_name(kind), address,
                  value);
    }
    fake_log_event(kind, address, value);
    if (cell != NULL) {
        cell->value = value;
    }
    if (hooked) {
        hook->write(hook->context, address, value);
    }
}

void fake_set_cell(enum fake_space space, uint64_t address, uint64_t value)
{
    struct cell *cell = find_cell(space, address);

    if (cell == NULL) {
        if (machine.cell_count == CELLS_MAX) {
            fake_fail("fake: more than %u cells", CELLS_MAX);
        }
        cell = &machine.cells[machine.cell_count++];
    }
    *cell = (struct cell){space, address, value};
}

uint64_t fake_cell(enum fake_space space, uint64_t address)
{
    const struct cell *cell = find_cell(space, address);

    if (cell == NULL) {
        fake_fail("fake: no cell at %#" PRIx64, address);
    }
    return cell->value;
}

void fake_hook(enum fake_space space, uint64_t first, uint64_t last, fake_read_fn read,
               fake_write_fn write, void *context)
{
    if (machine.hook_count == HOOKS_MAX) {
        fake_fail("fake: more than %u hooks", HOOKS_MAX);
    }
    machine.hooks[machine.hook_count++] = (struct hook){space, first, last, read, write, context};
}

uint64_t hw_rdmsr(uint32_t msr)
{
    return read_space(FAKE_MSR, FAKE_RDMSR, msr);
}

void hw_wrmsr(uint32_t msr, uint64_t value)
{
    write_space(FAKE_MSR, FAKE_WRMSR, msr, value);
}

void hw_fence_before_x2apic(void)
{
    fake_log_event(FAKE_FENCE, 0, 0);
}

void fake_remove_msr(uint32_t msr)
{
    if (machine.missing_count == MISSING_MAX) {
        fake_fail("fake: more than %u MSRs that do not exist", MISSING_MAX);
    }
    machine.missing[machine.missing_count++] = msr;
}

static bool is_missing(uint32_t msr)
{
    for (size_t i = 0; i < machine.missing_count; i++) {
        if (machine.missing[i] == msr) {
            return true;
        }
    }
    return false;
}

bool hw_read_msr_safely(uint32_t msr, uint64_t *value)
{
    *value = is_missing(msr) ? 0 : hw_rdmsr(msr);
    return !is_missing(msr);
}

bool hw_write_msr_safely(uint32_t msr, uint64_t value)
{
    if (is_missing(msr)) {
        return false;
    }
    hw_wrmsr(msr, value);
    return true;
}

void fake_on_flush(void (*hook)(const void *memory, uint64_t bytes))
{
    machine.on_flush = hook;
}

// Memory is always up to date here, unless a test says otherwise.
void hw_flush(const void *memory, uint64_t bytes)
{
    fake_log_event(FAKE_FLUSH, (uintptr_t)memory, bytes);
    if (machine.on_flush != NULL) {
        machine.on_flush(memory, bytes);
    }
}

void hw_drain_writes(void)
{
    fake_log_event(FAKE_DRAIN, 0, 0);
}

uint8_t hw_in8(uint16_t port)
{
    return (uint8_t)read_space(FAKE_PORT8, FAKE_IN8, port);
}

void hw_out8(uint16_t port, uint8_t value)
{
    write_space(FAKE_PORT8, FAKE_OUT8, port, value);
}

uint16_t hw_in16(uint16_t port)
{
    return (uint16_t)read_space(FAKE_PORT16, FAKE_IN16, port);
}

void hw_out16(uint16_t port, uint16_t value)
{
    write_space(FAKE_PORT16, FAKE_OUT16, port, value);
}

uint32_t hw_in32(uint16_t port)
{
    return (uint32_t)read_space(FAKE_PORT32, FAKE_IN32, port);
}

void hw_out32(uint16_t port, uint32_t value)
{
    write_space(FAKE_PORT32, FAKE_OUT32, port, value);
}

static void need_aligned(uint64_t phys)
{
    if (phys % sizeof(uint32_t) != 0) {
        fake_fail("fake: unaligned access to device memory %#" PRIx64, phys);
    }
}

uint8_t hw_mmio_read8(uint64_t phys)
{
    return (uint8_t)read_space(FAKE_MMIO, FAKE_READ8, phys);
}

void hw_mmio_write8(uint64_t phys, uint8_t value)
{
    write_space(FAKE_MMIO, FAKE_WRITE8, phys, value);
}

uint32_t hw_mmio_read32(uint64_t phys)
{
    need_aligned(phys);
    return (uint32_t)read_space(FAKE_MMIO, FAKE_READ32, phys);
}

void hw_mmio_write32(uint64_t phys, uint32_t value)
{
    need_aligned(phys);
    write_space(FAKE_MMIO, FAKE_WRITE32, phys, value);
}

// ---- time ----

static void need_clock(const char *who)
{
    if (!machine.clock_runs) {
        fake_fail("fake: unexpected %s: fake_start_clock() was not called", who);
    }
}

void fake_start_clock(uint64_t now, uint64_t step)
{
    machine.clock_runs = true;
    machine.now = now;
    machine.step = step;
}

uint64_t fake_now(void)
{
    return machine.now;
}

void fake_advance(uint64_t ticks)
{
    need_clock("fake_advance()");
    if (++machine.moves > CLOCK_MOVES_MAX) {
        fake_fail("fake: the clock moved %llu times: an unbounded wait?", CLOCK_MOVES_MAX);
    }
    machine.now += ticks;
    if (machine.on_time != NULL) {
        machine.on_time(machine.on_time_context, machine.now);
    }
}

void fake_on_time(void (*hook)(void *context, uint64_t now), void *context)
{
    machine.on_time = hook;
    machine.on_time_context = context;
}

uint64_t hw_tsc(void)
{
    need_clock("hw_tsc()");
    fake_advance(machine.step);
    fake_log_event(FAKE_TSC, 0, machine.now);
    return machine.now;
}

// Whoever waits looks again.
void hw_await_store(const _Atomic uint32_t *word, uint32_t value)
{
    (void)word, (void)value;
    hw_pause();
}

void hw_await_nmi(const _Atomic uint32_t *word, uint32_t value)
{
    hw_await_store(word, value);
}

uint64_t hw_after_nmi(uint64_t ip)
{
    return ip;
}

_Noreturn void hw_hand_over(uint64_t entry, uint64_t stack, uint64_t cr3, uint64_t argument)
{
    (void)stack, (void)cr3, (void)argument;
    fake_fail("fake: a processor was handed over to %#" PRIx64, entry);
    abort();
}

void hw_pause(void)
{
    need_clock("hw_pause()");
    fake_advance(machine.step);
    fake_log_event(FAKE_PAUSE, 0, 0);
}
