// The life of an AP in C: stamp, check in, greet when its turn comes, and back to the page, to
// halt. Surprise: an AP may find itself here long after the BSP gave up on it. All it touches is
// its own record, its own stack, and the rally, which are never given away.

#include "apic.h"
#include "console.h"
#include "control.h"
#include "hw.h"
#include "processor.h"
#include "topology.h"
#include "wake.h"
#include "watch.h"

static void move_to(struct lcpu *self, uint32_t generation, uint32_t stage)
{
    atomic_store_explicit(&self->state, generation << STATE_STAGE_BITS | stage,
                          memory_order_release);
}

static int wait_for_turn(const struct lcpu *self)
{
    const struct rally *rally = self->rally;
    struct watch watch = watch_start(hw_tsc(), rally->turn_wait_ticks);
    for (;;) {
        const bool late = watch_is_over(&watch, hw_tsc());
        const uint32_t turn = atomic_load_explicit(&rally->turn, memory_order_acquire);
        if (turn == self->index)
            return 1;
        if (turn == TURN_CLOSED || late)
            return 0;
        hw_pause();
    }
}

static void greet(const struct lcpu *self)
{
    char buffer[LINE_BYTES];
    struct line line;

    line_start(&line, buffer, sizeof buffer);
    line_add_format(&line, "Hello from CPU %u! APIC ID: %u", (uint64_t)self->index,
                    (uint64_t)self->apic_id);
    console_say(self->rally->console, self->index, &line);
}

void ap_locate(struct lcpu *self)
{
    struct topology topology;

    topology_read(self->apic_id, &topology);
    self->package = topology.package;
    self->core = topology.core;
    self->thread = topology.thread;
    self->location_known = topology.known;
}

static void sleep_us(const struct lcpu *self, uint64_t us)
{
    struct watch watch = watch_start(hw_tsc(), us * self->rally->ticks_per_us);
    while (!watch_is_over(&watch, hw_tsc()))
        hw_pause();
}

// inject=ud-idle: long enough after its greeting that the round is over for everybody.
#define IDLE_FAULT_US 12000u

// Sleeps as long as the BSP waits at most: half a time-out while others come, then the time-out
// itself; and an eighth more. Each by the same measure as there, so that it is too late also where
// both are stopped at every look; and well before wake_await_late gives up, a time-out later.
static void oversleep(const struct lcpu *self)
{
    const uint64_t timeout_us = self->rally->late_us;

    sleep_us(self, timeout_us / 2);
    sleep_us(self, timeout_us);
    sleep_us(self, timeout_us / 8);
}

// Faults of C, on purpose.
static void misbehave(const struct lcpu *self)
{
    while (self->inject == INJECT_HANG_C)
        hw_pause();
    if (self->inject == INJECT_UD_C)
        hw_undefined();
}

static void check_in(struct lcpu *self, uint32_t generation)
{
    struct rally *rally = self->rally;

    move_to(self, generation, STAGE_C);
    misbehave(self);
    move_to(self, generation, STAGE_READY);
    if (atomic_load_explicit(&rally->generation, memory_order_acquire) == generation)
        atomic_fetch_add_explicit(&rally->arrived, 1, memory_order_release);
}

// What takes an AP time and is nobody's measure comes in its turn, and not directly behind its
// check-in: there it would cost those who are still on their way.
static void greet_in_turn(struct lcpu *self, uint32_t generation)
{
    uint32_t turn = self->index;

    if (!self->greet)
        return; // it has been asked in a round before, and an INIT leaves the PAT as it is
    const int mine = wait_for_turn(self);
    if (self->rally->pat != 0) // on every processor the same, also on who says nothing
        hw_wrmsr(MSR_IA32_PAT, self->rally->pat);
    if (!mine || self->inject == INJECT_MUTE)
        return;
    ap_locate(self);
    if (self->rally->console->log == LOG_DEBUG) {
        self->microcode = processor_read_microcode();
        self->missing_msr = processor_read_missing_msr();
    }
    greet(self);
    move_to(self, generation, STAGE_GREETED);
    atomic_compare_exchange_strong(&self->rally->turn, &turn, self->greet_next);
}

void ap_main(struct lcpu *self)
{
    if (self->inject == INJECT_LATE)
        oversleep(self);
    self->tsc_c = hw_tsc();
    const uint32_t generation =
        atomic_load_explicit(&self->state, memory_order_relaxed) >> STATE_STAGE_BITS;

    check_in(self, generation);
    greet_in_turn(self, generation);
    if (self->inject == INJECT_UD_IDLE) {
        sleep_us(self, IDLE_FAULT_US);
        hw_undefined();
    }
}

void ap_visit(struct lcpu *self)
{
    self->tsc_c = hw_tsc();
    const uint32_t generation =
        atomic_load_explicit(&self->rally->generation, memory_order_acquire);

    self->tsc_real = self->tsc_protected = self->tsc_long = 0;
    self->cr0 = (uint32_t)hw_read_cr0();
    self->cr4 = (uint32_t)hw_read_cr4();
    self->efer = hw_rdmsr(MSR_EFER);
    self->apic_base = hw_rdmsr(MSR_IA32_APIC_BASE);
    check_in(self, generation);
}

void ap_visit_again(struct lcpu *self)
{
    greet_in_turn(self, atomic_load_explicit(&self->rally->generation, memory_order_acquire));
}
