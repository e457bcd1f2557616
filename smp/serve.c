// An AP between its calls: it waits for one in the way that it is told, runs it, and waits again.
// Surprise: it touches nothing but its own record, the rally, and what the call names, so that one
// that everybody gave up on may go on whenever it likes.

#include "engine.h"

#define CPUID_FEATURES 1u
#define CPUID_MONITOR  (1u << 3) // ECX

// What an AP finds out about itself once it is to stay, and not before: a hypervisor makes CPUID
// and WRMSR long, and most wakes end in the page's loop.
struct manner {
    bool asked, monitor, has_pat;
};

static bool has_monitor(struct manner *manner)
{
    if (!manner->asked)
        manner->monitor = hw_cpuid(CPUID_FEATURES, 0).ecx & CPUID_MONITOR;
    manner->asked = true;
    return manner->monitor;
}

// One without a turn has not seen it yet.
static void write_pat(const struct rally *rally, struct manner *manner)
{
    if (rally->pat != 0 && !manner->has_pat)
        hw_wrmsr(MSR_IA32_PAT, rally->pat);
    manner->has_pat = true;
}

static void choose_parking(struct lcpu *self, struct manner *manner)
{
    uint32_t parking = atomic_load_explicit(&self->rally->parking, memory_order_relaxed);

    if (parking == SMP_PARK_MWAIT && !has_monitor(manner))
        parking = SMP_PARK_NMI;
    atomic_store_explicit(&self->way.parking, parking, memory_order_relaxed);
}

static void wait_for_ticket(const struct lcpu *self, uint32_t parking, uint32_t seen)
{
    if (parking == SMP_PARK_MWAIT)
        hw_await_store(&self->call.ticket, seen);
    else if (parking == SMP_PARK_NMI)
        hw_await_nmi(&self->call.ticket, seen);
    else
        hw_pause();
}

// By the loop's number: who comes back from a chunk when another loop is under way takes none of
// its items.
bool run_chunk(const struct call *call, struct call_way *way, _Atomic uint64_t *cursor,
               const struct smp_self *self)
{
    const uint64_t number = (uint64_t)call->loop << CURSOR_ITEM_BITS;
    uint64_t at = atomic_load_explicit(cursor, memory_order_acquire);
    uint64_t from, to;

    do {
        if (at >> CURSOR_ITEM_BITS != call->loop || at - number >= call->loop_of.count)
            return false;
        from = at - number;
        const uint64_t rest = call->loop_of.count - from;
        to = from + (rest < call->loop_of.grain ? rest : call->loop_of.grain);
    } while (!atomic_compare_exchange_weak_explicit(cursor, &at, number + to, memory_order_acq_rel,
                                                    memory_order_acquire));
    atomic_store_explicit(&way->from, from, memory_order_relaxed);
    atomic_store_explicit(&way->to, to, memory_order_relaxed);
    call->loop_of.body(call->loop_of.context, from, to, self);
    const uint64_t done = atomic_load_explicit(&way->done, memory_order_relaxed) + (to - from);
    atomic_store_explicit(&way->done, done, memory_order_relaxed);
    return true;
}

// Until the caller knows that it has begun, and that no NMI is on its way to tables that are not
// the engine's.
static void await_leave(const struct call *call, uint32_t ticket)
{
    while (atomic_load_explicit(&call->leave, memory_order_acquire) != ticket)
        hw_pause();
}

static void run(struct lcpu *self, uint32_t ticket)
{
    const struct smp_self who = {self->slot, self->cpu, self->apic_id};
    const struct call *call = &self->call;

    if (call->kind == CALL_WORK) {
        call->work.run(call->work.context, &who);
    } else if (call->kind == CALL_LOOP) {
        while (run_chunk(call, &self->way, &self->rally->cursor, &who))
            ;
    } else if (call->kind == CALL_HAND_OVER) {
        await_leave(call, ticket);
        hw_hand_over(call->handover.entry, call->handover.stack,
                     call->handover.cr3 ? call->handover.cr3 : hw_read_cr3(),
                     call->handover.argument);
    }
}

static void take_call(struct lcpu *self, uint32_t ticket, struct manner *manner)
{
    struct call_way *way = &self->way;

    write_pat(self->rally, manner);
    atomic_store_explicit(&way->done, 0, memory_order_relaxed);
    way->tsc_begun = hw_tsc();
    atomic_store_explicit(&way->begun, ticket, memory_order_release);
    run(self, ticket);
    way->tsc_ended = hw_tsc();
    choose_parking(self, manner);
    atomic_store_explicit(&way->ended, ticket, memory_order_release);
}

void serve(struct lcpu *self, uint32_t round)
{
    struct call_way *way = &self->way;
    struct manner manner = {0};
    uint32_t seen = atomic_load_explicit(&self->call.first, memory_order_relaxed);
    // Before it says that it waits: from then on a call to one parked by INIT comes with an INIT.
    uint32_t ticket = atomic_load_explicit(&self->call.ticket, memory_order_acquire);

    choose_parking(self, &manner);
    atomic_store_explicit(&way->begun, seen, memory_order_relaxed);
    atomic_store_explicit(&way->ended, seen, memory_order_relaxed);
    atomic_store_explicit(&way->serving, round, memory_order_release);
    for (;;) {
        if (ticket != seen)
            take_call(self, seen = ticket, &manner);
        const uint32_t parking = atomic_load_explicit(&way->parking, memory_order_relaxed);
        if (parking == SMP_PARK_INIT)
            return;
        write_pat(self->rally, &manner);
        wait_for_ticket(self, parking, seen);
        ticket = atomic_load_explicit(&self->call.ticket, memory_order_acquire);
    }
}
