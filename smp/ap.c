// The life of an AP in C: stamp, check in, run the caller's function when its turn comes, and back
// to the page, to halt. Surprise: an AP may find itself here long after everybody gave up on it.
// All it touches is its own record, its own stack, and the rally, which are never given away.

#include "engine.h"
#include "watch.h"

static void move_to(struct lcpu *self, uint32_t round, uint32_t stage)
{
    atomic_store_explicit(&self->state, round << STATE_STAGE_BITS | stage, memory_order_release);
}

static bool wait_for_turn(const struct rally *rally, const struct lcpu *self)
{
    struct watch watch = watch_start(hw_tsc(), rally->turn_wait_ticks);

    for (;;) {
        const bool late = watch_is_over(&watch, hw_tsc());
        const uint32_t turn = atomic_load_explicit(&rally->turn, memory_order_acquire);
        if (turn == self->slot)
            return true;
        if (turn == TURN_CLOSED || late)
            return false;
        hw_pause();
    }
}

static void sleep_us(const struct rally *rally, uint64_t us)
{
    struct watch watch = watch_start(hw_tsc(), us * rally->ticks_per_us);

    while (!watch_is_over(&watch, hw_tsc()))
        hw_pause();
}

// SMP_UD_WHEN_DONE: long enough after its turn that the round is over for everybody.
#define IDLE_FAULT_US 12000u

// SMP_LATE: sleeps as long as it is waited for at most: half a time-out while others arrive, then
// the time-out itself; and an eighth more. Each by the same measure as there, so that it is too
// late also where both are stopped at every look; and well before smp_await_late gives up, a
// time-out later.
static void oversleep(const struct rally *rally)
{
    sleep_us(rally, rally->late_us / 2);
    sleep_us(rally, rally->late_us);
    sleep_us(rally, rally->late_us / 8);
}

static void check_in(struct rally *rally, struct lcpu *self, uint32_t round)
{
    move_to(self, round, STAGE_C);
    while (self->defect == DEFECT_HANG_C)
        hw_pause();
    if (self->defect == DEFECT_UD_C)
        hw_undefined();
    move_to(self, round, STAGE_READY);
    if (atomic_load_explicit(&rally->generation, memory_order_acquire) == round)
        atomic_fetch_add_explicit(&rally->arrived, 1, memory_order_release);
}

// What takes an AP time and is nobody's measure comes in its turn, and not directly behind its
// check-in: there it would cost those who are still on their way.
static void take_turn(struct rally *rally, struct lcpu *self, uint32_t round)
{
    const struct smp_self who = {self->slot, self->cpu, self->apic_id};
    const struct smp_host *host = &rally->host;
    uint32_t turn = self->slot;

    if (!self->has_turn)
        return; // it has been asked in a round before, and an INIT leaves the PAT as it is
    const bool mine = wait_for_turn(rally, self);
    if (rally->pat != 0) // on every processor the same, also on who runs nothing
        hw_wrmsr(MSR_IA32_PAT, rally->pat);
    if (!mine || (host->run && !host->run(host->context, &who)))
        return;
    move_to(self, round, STAGE_DONE);
    atomic_compare_exchange_strong(&rally->turn, &turn, self->next_turn);
}

void ap_main(struct lcpu *self)
{
    struct rally *rally = self->rally;

    if (self->defect == DEFECT_LATE)
        oversleep(rally);
    self->tsc_c = hw_tsc();
    const uint32_t round =
        atomic_load_explicit(&self->state, memory_order_relaxed) >> STATE_STAGE_BITS;

    check_in(rally, self, round);
    take_turn(rally, self, round);
    if (self->defect == DEFECT_UD_WHEN_DONE) {
        sleep_us(rally, IDLE_FAULT_US);
        hw_undefined();
    }
    serve(self, round);
}

// ---- an AP that somebody else has started, and wants back ----

bool smp_find_self(const struct smp *smp, struct smp_self *self)
{
    const uint64_t base = hw_rdmsr(MSR_IA32_APIC_BASE);
    const struct apic_operations *apic =
        apic_operations_of(base & APIC_BASE_EXTD ? SMP_X2APIC : SMP_XAPIC);

    // An AP on the engine's tables has it where it is; the caller may have it elsewhere.
    const bool on_own_tables = hw_read_cr3() == smp->tables.pool_phys;
    *self = (struct smp_self){.apic_id =
                                  apic->read_id(on_own_tables ? smp->apic_phys : smp->apic.view)};
    self->slot = arena_find(&smp->arena, self->apic_id);
    if (self->slot == UINT32_MAX)
        return false;
    self->cpu = arena_lcpu(&smp->arena, self->slot)->cpu;
    return true;
}

bool is_slot_0(const struct smp *smp)
{
    struct smp_self self;
    return smp_find_self(smp, &self) && self.slot == 0;
}

static struct lcpu *visitor(const struct smp *smp)
{
    struct smp_self self;
    return smp_find_self(smp, &self) ? arena_lcpu(&smp->arena, self.slot) : NULL;
}

void smp_visit(const struct smp *smp)
{
    struct rally *rally = arena_rally(&smp->arena);
    struct lcpu *self = visitor(smp);

    if (!self)
        return;
    self->tsc_c = hw_tsc();
    self->tsc_real = self->tsc_protected = self->tsc_long = 0;
    self->cr0 = (uint32_t)hw_read_cr0();
    self->cr4 = (uint32_t)hw_read_cr4();
    self->efer = hw_rdmsr(MSR_EFER);
    self->apic_base = hw_rdmsr(MSR_IA32_APIC_BASE);
    check_in(rally, self, atomic_load_explicit(&rally->generation, memory_order_acquire));
}

void smp_visit_turn(const struct smp *smp)
{
    struct rally *rally = arena_rally(&smp->arena);
    struct lcpu *self = visitor(smp);

    if (self)
        take_turn(rally, self, atomic_load_explicit(&rally->generation, memory_order_acquire));
}
