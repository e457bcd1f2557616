// An AP between its calls: it waits for one in the way that it is told, runs it, and waits again.
// Surprise: it touches nothing but its own record, the rally, and what the call names, so that one
// that everybody gave up on may go on whenever it likes.

#include "engine.h"

#define CPUID_FEATURES 1u
#define CPUID_MONITOR  (1u << 3) // ECX

static bool has_monitor(void)
{
    return hw_cpuid(CPUID_FEATURES, 0).ecx & CPUID_MONITOR;
}

static uint32_t choose_parking(const struct rally *rally, bool monitor)
{
    const uint32_t parking = atomic_load_explicit(&rally->parking, memory_order_relaxed);
    return parking == SMP_PARK_MWAIT && !monitor ? SMP_PARK_NMI : parking;
}

static void wait_for_ticket(const struct lcpu *self, uint32_t seen)
{
    if (self->way.parking == SMP_PARK_MWAIT)
        hw_await_store(&self->call.ticket, seen);
    else if (self->way.parking == SMP_PARK_NMI)
        hw_await_nmi(&self->call.ticket, seen);
    else
        hw_pause();
}

// By the loop's number: who comes back from a chunk when another loop is under way takes none of
// its items.
void run_chunks(const struct call *call, struct call_way *way, _Atomic uint64_t *cursor,
                const struct smp_self *self)
{
    const uint64_t number = (uint64_t)call->loop << CURSOR_ITEM_BITS;
    uint64_t at = atomic_load_explicit(cursor, memory_order_acquire);
    uint64_t done = 0;

    while (at >> CURSOR_ITEM_BITS == call->loop && at - number < call->loop_of.count) {
        const uint64_t from = at - number, rest = call->loop_of.count - from;
        const uint64_t to = from + (rest < call->loop_of.grain ? rest : call->loop_of.grain);
        if (!atomic_compare_exchange_weak_explicit(cursor, &at, number + to, memory_order_acq_rel,
                                                   memory_order_acquire))
            continue;
        atomic_store_explicit(&way->from, from, memory_order_relaxed);
        atomic_store_explicit(&way->to, to, memory_order_relaxed);
        call->loop_of.body(call->loop_of.context, from, to, self);
        done += to - from;
        atomic_store_explicit(&way->done, done, memory_order_relaxed);
        at = atomic_load_explicit(cursor, memory_order_acquire);
    }
}

static void run(struct lcpu *self)
{
    const struct smp_self who = {self->slot, self->cpu, self->apic_id};
    const struct call *call = &self->call;

    if (call->kind == CALL_WORK)
        call->work.run(call->work.context, &who);
    else if (call->kind == CALL_LOOP)
        run_chunks(call, &self->way, &self->rally->cursor, &who);
    else if (call->kind == CALL_HAND_OVER)
        hw_hand_over(call->handover.entry, call->handover.stack,
                     call->handover.cr3 ? call->handover.cr3 : hw_read_cr3(),
                     call->handover.argument);
}

static void take_call(struct lcpu *self, uint32_t ticket, bool monitor)
{
    struct call_way *way = &self->way;

    atomic_store_explicit(&way->done, 0, memory_order_relaxed);
    way->tsc_begun = hw_tsc();
    atomic_store_explicit(&way->begun, ticket, memory_order_release);
    run(self);
    way->tsc_ended = hw_tsc();
    way->parking = choose_parking(self->rally, monitor);
    atomic_store_explicit(&way->ended, ticket, memory_order_release);
}

void serve(struct lcpu *self, uint32_t round)
{
    const struct rally *rally = self->rally;
    struct call_way *way = &self->way;
    const bool stays = atomic_load_explicit(&rally->parking, memory_order_relaxed) != SMP_PARK_INIT;
    const bool monitor = stays && has_monitor(); // a hypervisor makes CPUID long
    uint32_t seen = atomic_load_explicit(&self->call.first, memory_order_relaxed);

    if (stays && rally->pat != 0) // one without a turn has not seen it yet
        hw_wrmsr(MSR_IA32_PAT, rally->pat);
    way->parking = choose_parking(rally, monitor);
    atomic_store_explicit(&way->begun, seen, memory_order_relaxed);
    atomic_store_explicit(&way->ended, seen, memory_order_relaxed);
    atomic_store_explicit(&way->serving, round, memory_order_release);
    for (;;) {
        const uint32_t ticket = atomic_load_explicit(&self->call.ticket, memory_order_acquire);
        if (ticket != seen)
            take_call(self, seen = ticket, monitor);
        else if (way->parking == SMP_PARK_INIT)
            return;
        else
            wait_for_ticket(self, seen);
    }
}
