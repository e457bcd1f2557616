// Sending and waiting for one sequence. Surprise: the shared counter of arrivals is only a hint. An
// AP that a retry reset on its way counts twice, so the records have the last word.

#include "sequence.h"

#include "mem.h"
#include "watch.h"

static bool group_has_arrived(const struct smp *smp, const struct group *group)
{
    for (size_t i = 0; i < group->count; i++) {
        if (!has_arrived(smp, group->slots[i]))
            return false;
    }
    return true;
}

// Polls until the whole group has arrived, or nobody has for `quiet_us`; at most `us`. Who is
// missing while others arrive may only be behind them, so each arrival lets the quiet begin anew.
// The group itself is looked at only once the counter says that it may be complete.
static bool poll_us(const struct smp *smp, const struct group *group, uint32_t expected,
                    uint64_t quiet_us, uint64_t us)
{
    const struct rally *rally = arena_rally(&smp->arena);
    const uint64_t start = hw_tsc();
    struct watch quiet = watch_start(start, clock_ticks(&smp->clock, quiet_us));
    struct watch whole = watch_start(start, clock_ticks(&smp->clock, us));
    uint32_t seen = atomic_load_explicit(&rally->arrived, memory_order_acquire);

    // On a busy host a look is longer than the share of this short wait; `whole` ends it.
    quiet.stops = UINT32_MAX;
    for (;;) {
        const uint64_t now = hw_tsc();
        const uint32_t arrived = atomic_load_explicit(&rally->arrived, memory_order_acquire);
        if (arrived >= expected && group_has_arrived(smp, group))
            return true;
        const bool is_quiet = watch_is_over(&quiet, now) && arrived == seen;
        if (watch_is_over(&whole, now) || is_quiet)
            return false;
        if (arrived != seen)
            quiet.watched = 0;
        seen = arrived;
        hw_pause();
    }
}

// The watch for who is slow: until nobody has arrived for `sipi_us`, half the time-out at most, so
// that the whole sequence stays below what smp_round_bound_us says.
static bool poll_while_they_arrive(const struct smp *smp, const struct group *group,
                                   uint32_t expected)
{
    return poll_us(smp, group, expected, smp->plan.sipi_us, smp->plan.timeout_us / 2);
}

// Sends one message to the AP in this slot, or (0) to all but self. Returns whether it was sent.
static bool send(struct smp *smp, uint32_t slot, uint32_t try, uint32_t command)
{
    struct smp_message message = {slot, smp->round, try, command};

    if (smp->host.filter && !smp->host.filter(smp->host.context, &message))
        return false;
    return smp_send(smp, slot, message.command) == STATUS_OK;
}

// Sends STARTUP to the group: by shorthand, or to each. With SMP_SIPIS_AUTO nobody who has arrived
// is sent more.
static void send_startup(struct smp *smp, const struct group *group, uint32_t try)
{
    const uint32_t startup = ICR_STARTUP(smp->page_phys / PAGE_BYTES);

    if (group->address == SEQUENCE_ALL) {
        (void)send(smp, 0, try, startup);
        return;
    }
    for (size_t i = 0; i < group->count; i++) {
        if (smp->plan.sipis != SMP_SIPIS_AUTO || !has_arrived(smp, group->slots[i]))
            (void)send(smp, group->slots[i], try, startup);
    }
}

void sequence_open_book(const struct smp *smp, uint32_t slot, uint32_t try)
{
    struct book *book = arena_book(&smp->arena, slot);

    book->tries = try;
    book->startups = 1;
    book->held = 0;
    book->given_up = 0;
    if (try == 1)
        book->mark_before = STAGE_NONE;
}

void sequence_forget(const struct smp *smp, uint32_t slot)
{
    struct lcpu *lcpu = arena_lcpu(&smp->arena, slot);

    atomic_store_explicit(&lcpu->state, STAGE_NONE, memory_order_relaxed);
    atomic_store_explicit(&lcpu->fault.valid, 0, memory_order_relaxed);
    memset(lcpu->trap, 0, sizeof lcpu->trap);
    lcpu->no_nx = 0;
    atomic_store_explicit(&lcpu->way.serving, 0, memory_order_relaxed);
    atomic_store_explicit(&lcpu->way.nudged, 0, memory_order_relaxed);
}

// Begins a sequence: INIT to everyone in the group who is missing. In a retry an AP that has
// arrived needs none, and would only be put to sleep again. In a round's first try everyone gets
// one: who is already here is late for the round before.
static void send_init(struct smp *smp, const struct group *group, uint32_t try)
{
    const bool all = group->address == SEQUENCE_ALL; // a first try
    const bool sent_to_all = all && send(smp, 0, try, ICR_INIT);

    for (size_t i = 0; i < group->count; i++) {
        const uint32_t slot = group->slots[i];
        struct book *book = arena_book(&smp->arena, slot);
        book->held = 0;
        if (try > 1 && has_arrived(smp, slot))
            continue;
        if (try > 1)
            sequence_open_book(smp, slot, try);
        book->held = all ? sent_to_all : send(smp, slot, try, ICR_INIT);
    }
}

// How far an AP came in a try is evidence also where the next one finds it dead to every message.
static void keep_mark(struct book *book, uint8_t mark)
{
    if (mark <= STAGE_PROTECTED && mark > book->mark_before) // beyond: a defect that nobody met
        book->mark_before = mark;
}

// Until its INIT reached it, an AP may have gone on: it arrived after it was looked at, or met a
// fault, or it is from the round before, and took this one for its own. By now it is held, and
// writes nothing, and what it has left says nothing of what is to come. For use after the wait that
// follows INIT. Here too: the defects of real mode, where no record is in reach.
static void forget_the_held(const struct smp *smp, const struct group *group)
{
    for (size_t i = 0; i < group->count; i++) {
        const uint32_t slot = group->slots[i];
        struct book *book = arena_book(&smp->arena, slot);
        const uint32_t apic_id = arena_lcpu(&smp->arena, slot)->apic_id;
        if (!book->held)
            continue;
        sequence_forget(smp, slot);
        if (!book->mark_shared) { // else it may be another's, who is not held
            if (book->tries > 1)
                keep_mark(book, trampoline_mark(smp->page_view, apic_id));
            trampoline_forget(smp->page_view, apic_id);
        }
        if (book->real_defect != DEFECT_NONE)
            trampoline_set_mark(smp->page_view, apic_id, (uint8_t)book->real_defect);
    }
}

// Notes, before a further STARTUP goes out, for whom it is.
static void note_startup(const struct smp *smp, const struct group *group, uint32_t count)
{
    const uint64_t now = hw_tsc();

    for (size_t i = 0; i < group->count; i++) {
        struct book *book = arena_book(&smp->arena, group->slots[i]);
        if (smp->plan.sipis == SMP_SIPIS_AUTO && has_arrived(smp, group->slots[i]))
            continue;
        book->startups = count;
        book->startup_tsc = now;
    }
}

// The last time-out of this round is over: who arrives from now on is late, even if others are
// still waited for.
static void give_up(const struct smp *smp, const struct group *group)
{
    for (size_t i = 0; i < group->count; i++)
        arena_book(&smp->arena, group->slots[i])->given_up = !has_arrived(smp, group->slots[i]);
}

void sequence_run(struct smp *smp, struct group group, uint32_t expected, uint32_t try,
                  uint64_t *last_sent)
{
    const struct smp_plan *plan = &smp->plan;
    const uint32_t sipis = plan->sipis == SMP_SIPIS_AUTO ? 2 : plan->sipis;

    // Before the first message nobody can have arrived, and a look at them would only delay it.
    if (try > 1 && group_has_arrived(smp, &group))
        return;
    send_init(smp, &group, try);
    smp_wait_us(smp, try == 1 ? plan->init_us : plan->init_retry_us);
    forget_the_held(smp, &group);
    for (uint32_t sent = 1; sent <= sipis; sent++) {
        if (sent > 1)
            note_startup(smp, &group, sent);
        send_startup(smp, &group, try);
        *last_sent = hw_tsc();
        if (sent == sipis)
            break;
        if (plan->sipis != SMP_SIPIS_AUTO)
            smp_wait_us(smp, plan->sipi_us);
        else if (poll_while_they_arrive(smp, &group, expected))
            return;
        else
            group.address = SEQUENCE_EACH; // the second STARTUP is for stragglers
    }
    if (!poll_us(smp, &group, expected, plan->timeout_us, plan->timeout_us) &&
        try == plan->retries + 1)
        give_up(smp, &group);
}
