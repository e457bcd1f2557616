// The real engine with threads of the host as its processors (threads.h), under ThreadSanitizer:
// run after run, each by a script that a seed makes. Processors are dead, lose STARTUPs, are slow
// or too slow, hang, meet faults and NMIs, keep silent, get stuck in their turn, or stand in no
// table; after each round every account has to say what was made to happen, and nobody may be
// missing. A race that threads.supp gives no reason for is a failure, too.
//
// Usage: test_threads [ROUNDS [SEED]]. A failure names the seed of its run, which may be run alone.
// Surprise: a script is the same each time, but how its threads meet is not.
#define _GNU_SOURCE // MAP_32BIT

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "engine.h"
#include "hello.h"
#include "journal.h"
#include "threads.h"

#define ROUNDS_DEFAULT 2000u
#define ROUNDS_MOST    4u // of a run

#define TIMEOUT_US 1000u
#define TURN_US    1000u

// SMP_UD_WHEN_DONE: 12 ms after the turn, by watches that may be stopped.
#define IDLE_FAULT_US 15000u

#define MEMORY_BYTES  (4u << 20)
#define JOURNAL_BYTES 65536u

// What a processor does in a run.
enum part {
    PART_PROMPT,
    PART_SHAKY, // something else in each round: enum mishap
    PART_BROKEN,
    PART_GHOST,
    PART_WITHOUT_NX,
    PART_MUTE,
    PART_STUCK,    // never comes back from its turn
    PART_OVERRUNS, // comes back, after its turn is over
    PART_NMI,      // takes one, in C, at any time
    PARTS,
};

enum mishap {
    MISHAP_NONE,
    MISHAP_LOST,     // the first STARTUPs
    MISHAP_NO_INIT,  // its first INIT is withheld
    MISHAP_STUMBLES, // meets an exception the first time
    MISHAP_SLOW,     // and in time all the same
    MISHAP_TOO_SLOW, // comes in the time for those who are late
    MISHAP_ANY,      // whenever it likes
    MISHAPS,
};

struct actor {
    enum part part;
    enum smp_defect defect; // PART_BROKEN
    // In this round.
    enum mishap mishap;
    uint32_t lost_startups;
    bool is_awake, is_held; // as it begins
    uint32_t inits;         // that it had taken before
    // What the accounts have to say by now.
    uint32_t lost, ran;
    bool arrived;
};

struct script {
    uint64_t seed, random;
    size_t count, hidden; // processors that are given, and in no table
    uint32_t rounds;
    enum smp_apic_mode mode;
    struct smp_plan plan;
    bool nobody_overlaps; // in their turns
    bool has_nmi;         // which tears lines
    bool has_idle_fault;  // SMP_UD_WHEN_DONE
    bool shares_cells;    // of the page, where a trap in real mode would be
    uint32_t runs;        // so far
    struct actor actors[CORES_MAX];
};

static struct script script;
static struct smp *smp;
static struct smp_setup setup;
static char journal_memory[JOURNAL_BYTES];
static struct journal journal;
static struct console console;
static struct hello of_slot[CORES_MAX];
static const struct injector injects_nothing;
static struct hellos hellos = {
    .console = &console, .of_slot = of_slot, .injector = &injects_nothing};
static size_t journal_at;

// Written by whoever has the turn, and by nobody else at the time.
static struct {
    uint32_t count;
    uint32_t slots[CORES_MAX];
} ledger;

#define CHECK(condition, slot, ...)                                               \
    do {                                                                          \
        if (!(condition)) {                                                       \
            fprintf(stderr, __VA_ARGS__);                                         \
            fail_msg(" (slot %u; alone: test_threads 1 %#llx)", (unsigned)(slot), \
                     (unsigned long long)script.seed);                            \
        }                                                                         \
    } while (0)

static uint32_t below(uint32_t limit)
{
    return (uint32_t)(threads_random(&script.random) >> 33) % limit;
}

static bool one_in(uint32_t odds)
{
    return below(odds) == 0;
}

static void set(_Atomic uint32_t *field, uint32_t value)
{
    atomic_store_explicit(field, value, memory_order_relaxed);
}

static uint32_t get(const _Atomic uint32_t *field)
{
    return atomic_load_explicit(field, memory_order_relaxed);
}

// ---- what the engine calls ----

static bool run(void *context, const struct smp_self *who)
{
    const struct actor *actor = &script.actors[who->slot];

    (void)context;
    if (actor->part == PART_MUTE)
        return false;
    while (actor->part == PART_STUCK)
        hw_pause();
    if (actor->part == PART_OVERRUNS)
        threads_dally(3 * TURN_US / 2);
    if (script.nobody_overlaps)
        ledger.slots[ledger.count++] = who->slot;
    const bool said = hello_say(&hellos, who);
    atomic_fetch_add_explicit(&self->diary.runs, 1, memory_order_relaxed);
    return said;
}

static void on_fault(void *context, const struct smp_fault_report *report)
{
    (void)context;
    if (report->before == 0)
        console_record_text(&console, report->self.cpu, report->text, report->length);
    else
        console_let_go(&console, report->self.cpu);
}

// The first INIT of a round is withheld from some.
static bool filter(void *context, struct smp_message *message)
{
    const struct actor *actor = &script.actors[message->slot];

    (void)context;
    return message->slot == 0 || actor->part != PART_SHAKY || actor->mishap != MISHAP_NO_INIT ||
           message->attempt > 1 || (message->command & ICR_DELIVERY_MASK) != ICR_DELIVERY_INIT;
}

// In the midst of whatever this processor waits for: it gives an account of somebody, as a fault of
// its own would ask for it; reads the journal that others write; says a line; and a watchdog sends
// somebody an NMI.
static void on_wait(void)
{
    static bool speaking;
    const uint32_t slot = 1 + below((uint32_t)script.count - 1);

    if (one_in(16)) {
        const struct smp_account account = smp_examine(smp, slot);
        CHECK(smp_verdict(&account) < SMP_CAUSES && (!account.fault.valid || account.fault.vector),
              slot, "no such cause, or no such fault");
    }
    while (one_in(4) && journal_next(&journal, &journal_at) != NULL)
        ;
    if (!speaking && one_in(64)) {
        speaking = true;
        console_tell(&console, "CPU 0 waits");
        speaking = false;
    }
    if (script.actors[slot].part == PART_NMI && get(&cores[slot].diary.stage) == STAGE_C &&
        one_in(16))
        threads_send_nmi(&cores[slot]);
}

static void on_problem(void *context, enum severity severity, const char *what, const char *detail)
{
    (void)context, (void)severity;
    fail_msg("seed %#llx: the engine objects: %s: %s", (unsigned long long)script.seed, what,
             detail);
}

// ---- the script ----

static const enum smp_defect defects[] = {
    SMP_HANG_IN_REAL,    SMP_HANG_IN_PROTECTED, SMP_HANG_IN_LONG, SMP_HANG_IN_C,    SMP_UD_IN_REAL,
    SMP_UD_IN_PROTECTED, SMP_UD_IN_LONG,        SMP_UD_IN_C,      SMP_UD_WHEN_DONE, SMP_LATE,
    SMP_BAD_STACK,       SMP_BAD_ENTRY,         SMP_WRONG_ID,
};

static bool is_broken(const struct actor *actor, enum smp_defect defect)
{
    return actor->part == PART_BROKEN && actor->defect == defect;
}

static bool is_late(const struct actor *actor)
{
    return actor->part == PART_SHAKY && actor->mishap == MISHAP_TOO_SLOW;
}

static struct actor choose_actor(void)
{
    struct actor actor = {.part = PART_PROMPT};

    if (one_in(3))
        actor.part = PART_SHAKY;
    else if (one_in(2))
        actor.part = below(PARTS);
    if (actor.part == PART_BROKEN)
        actor.defect = defects[below(sizeof defects / sizeof defects[0])];
    return actor;
}

static struct smp_plan choose_plan(enum smp_strategy strategy)
{
    static const uint32_t waits[] = {25, 100, 400};

    return (struct smp_plan){
        .strategy = strategy,
        .init_us = waits[below(3)],
        .init_retry_us = waits[below(3)],
        .sipi_us = 25 + below(4) * 25,
        .sipis = below(4),
        .timeout_us = TIMEOUT_US,
        .retries = below(3),
        .turn_us = TURN_US,
    };
}

static void write_script(uint64_t seed)
{
    script = (struct script){.seed = seed, .random = seed * 0x9e3779b97f4a7c15ull + 1};
    script.count = 2 + below(one_in(8) ? CORES_MAX - 3 : 6);
    script.hidden = one_in(3) ? 1 + below(2) : 0;
    script.hidden = script.count + script.hidden > CORES_MAX ? 0 : script.hidden;
    script.rounds = 1 + below(ROUNDS_MOST);
    script.mode = below(2) ? SMP_X2APIC : SMP_XAPIC;
    script.plan = choose_plan(below(SMP_FIRMWARE));
    script.nobody_overlaps = true;
    script.shares_cells = script.count + script.hidden < 16;
    for (size_t slot = 1; slot < script.count; slot++) {
        struct actor *actor = &script.actors[slot];
        *actor = choose_actor();
        if (actor->part == PART_STUCK || actor->part == PART_OVERRUNS || actor->part == PART_NMI)
            script.nobody_overlaps = false;
        script.has_nmi |= actor->part == PART_NMI;
        script.has_idle_fault |= is_broken(actor, SMP_UD_WHEN_DONE);
        script.shares_cells &= actor->part != PART_SHAKY && !is_broken(actor, SMP_UD_IN_REAL);
    }
}

// No two of them share a mark of the page; a trap cell, where nobody traps in real mode.
static void choose_ids(uint32_t *ids)
{
    const bool wide = script.mode == SMP_X2APIC;
    const uint32_t turn = below(16);

    for (uint32_t i = 0; i < CORES_MAX; i++) {
        if (script.shares_cells)
            ids[i] = (wide ? below(1 << 20) << 10 : 0) | i << 4 | turn;
        else
            ids[i] = below(wide ? 1 << 28 : 15) << 4 | ((i + turn) & 15);
    }
}

static void open_engine(const uint32_t *ids)
{
    static struct smp_cpu cpus[CORES_MAX];
    static struct smp_region code;
    const uint64_t entry = (uintptr_t)ap_main / PAGE_BYTES * PAGE_BYTES;

    for (uint32_t slot = 0; slot < script.count; slot++)
        cpus[slot] = (struct smp_cpu){slot, ids[slot]};
    code = (struct smp_region){"code", entry, entry, 2 * PAGE_BYTES, SMP_EXECUTE | SMP_NEEDED};
    setup.cpus = cpus;
    setup.count = script.count;
    setup.features = (struct smp_features){
        .phys_bits = 46, .id_leaf = 0xb, .gib_pages = true, .no_execute = true};
    setup.apic_mode = script.mode;
    setup.apic_phys = setup.apic_view = APIC_VIEW;
    setup.tsc_hz = TSC_HZ;
    setup.pat = one_in(2) ? SMP_PAT_WITH_COMBINING : 0;
    setup.regions = &code;
    setup.region_count = 1;
    setup.host = (struct smp_host){
        .run = run, .filter = filter, .fault = on_fault, .problems = {on_problem, NULL}};
    memset(setup.memory.view, 0xa5, setup.memory.bytes);
    if (smp_open(&setup, &smp) != STATUS_OK || smp_map_page(smp, PAGE_PHYS) != STATUS_OK ||
        smp_fill_page(smp, page) != STATUS_OK)
        fail_msg("the engine was not opened");
}

static void open_console(void)
{
    journal_open(&journal, journal_memory, sizeof journal_memory);
    journal_at = 0;
    console_start(&console, LOG_NORMAL, TICKS_PER_US);
    (void)uart_open(&console.uart, UART_COM1, TICKS_PER_US);
    console.sinks[SINK_JOURNAL] =
        (struct console_sink){.write_line = journal_write_line, .context = &journal};
    memset(of_slot, 0, sizeof of_slot);
    ledger.count = 0;
    wire_length = 0;
}

static void set_stage(void)
{
    uint32_t ids[CORES_MAX];

    choose_ids(ids);
    threads_power_on(ids, script.count + script.hidden, script.seed, script.mode);
    open_console();
    open_engine(ids);
    for (uint32_t slot = 1; slot < script.count; slot++) {
        const struct actor *actor = &script.actors[slot];
        if (actor->part == PART_BROKEN)
            smp_break(smp, slot, actor->defect);
        cores[slot].fate.no_nx = actor->part == PART_WITHOUT_NX;
        set(&cores[slot].fate.lost_startups, actor->part == PART_GHOST ? UINT32_MAX : 0);
    }
    assert_int_equal(smp_start(smp, &script.plan), STATUS_OK);
    threads_on_wait = on_wait;
}

static int strike(void **state)
{
    (void)state;
    threads_on_wait = NULL;
    threads_power_off();
    return 0;
}

// ---- a round ----

static uint32_t startups_of_a_try(void)
{
    return script.plan.sipis == SMP_SIPIS_AUTO ? 2 : script.plan.sipis;
}

static void choose_mishap(uint32_t slot)
{
    struct actor *actor = &script.actors[slot];
    struct fate *fate = &cores[slot].fate;
    const uint32_t stage = below(STAGE_C);
    uint32_t dally_us = 0, stumbles_in = STAGE_NONE;

    actor->mishap = below(MISHAPS);
    actor->lost_startups = 0;
    switch (actor->mishap) {
    case MISHAP_LOST:
        actor->lost_startups = 1 + below(startups_of_a_try() * (script.plan.retries + 1));
        break;
    case MISHAP_STUMBLES:
        stumbles_in = stage != STAGE_NONE ? stage : STAGE_REAL;
        break;
    case MISHAP_SLOW:
        dally_us = TIMEOUT_US / 4;
        break;
    case MISHAP_TOO_SLOW:
        dally_us = 18 * TIMEOUT_US / 10;
        break;
    case MISHAP_ANY:
        dally_us = below(4 * TIMEOUT_US);
        break;
    default:
        break;
    }
    set(&fate->lost_startups, actor->lost_startups);
    set(&fate->stumbles_in, stumbles_in);
    for (uint32_t i = 0; i < STAGE_C; i++)
        set(&fate->dally_us[i], i == stage ? dally_us : 0);
}

enum expected { NO, YES, EITHER };

// Who is late in its first try may be there before its last one.
static bool comes_while_others_are_tried(void)
{
    return script.plan.strategy == SMP_ONE_BY_ONE && script.plan.retries > 0;
}

// An INIT to all cannot be withheld from one.
static bool lacks_init(const struct actor *actor)
{
    return actor->part == PART_SHAKY && actor->mishap == MISHAP_NO_INIT &&
           script.plan.strategy != SMP_BROADCAST;
}

// Does this processor arrive in time?
static enum expected arrives(uint32_t slot)
{
    const struct actor *actor = &script.actors[slot];

    if (script.plan.strategy == SMP_FIRMWARE)
        return actor->part == PART_GHOST || actor->is_awake || is_late(actor) ? NO : YES;
    switch (actor->part) {
    case PART_GHOST:
    case PART_WITHOUT_NX:
        return NO;
    case PART_BROKEN:
        if (actor->defect == SMP_LATE)
            return comes_while_others_are_tried() ? EITHER : NO;
        return actor->defect == SMP_HANG_IN_C || actor->defect == SMP_UD_IN_C ||
                       actor->defect == SMP_UD_WHEN_DONE
                   ? YES
                   : NO;
    case PART_NMI: // perhaps before it was there
        return EITHER;
    case PART_SHAKY:
        break;
    default:
        return YES;
    }
    switch (actor->mishap) {
    case MISHAP_NO_INIT: // one that is late for the round before may be on its way to this one
        if (lacks_init(actor) && actor->is_awake)
            return EITHER;
        return !lacks_init(actor) || actor->is_held || script.plan.retries > 0 ? YES : NO;
    case MISHAP_LOST:
        return actor->lost_startups < startups_of_a_try() * (script.plan.retries + 1) ? YES : NO;
    case MISHAP_STUMBLES:
        return script.plan.retries > 0 ? YES : NO;
    case MISHAP_TOO_SLOW:
        return comes_while_others_are_tried() ? EITHER : NO;
    case MISHAP_ANY:
        return EITHER;
    default:
        return YES;
    }
}

static void check_arrival(uint32_t slot, const struct smp_account *account)
{
    struct actor *actor = &script.actors[slot];
    const struct diary *diary = &cores[slot].diary;
    const enum expected wanted = arrives(slot);

    CHECK(wanted == EITHER || account->arrived == (wanted == YES), slot,
          "arrived=%d, part %d, mishap %d", account->arrived, actor->part, actor->mishap);
    CHECK(!account->arrived || get(&diary->stage) == STAGE_C, slot,
          "counts as arrived, and is not: it is in stage %u", get(&diary->stage));
    CHECK(!account->arrived || lacks_init(actor) || script.plan.strategy == SMP_FIRMWARE ||
              get(&diary->inits) != actor->inits,
          slot, "counts as arrived, and was not put back in this round");
    actor->arrived = account->arrived;
    actor->lost += !account->arrived;
    CHECK(account->lost == actor->lost, slot, "lost %u rounds by its account, %u by the script",
          account->lost, actor->lost);
    CHECK(!account->arrived || actor->mishap != MISHAP_STUMBLES || account->tries == 2, slot,
          "%u tries, and the first met an exception", account->tries);
    if (!account->arrived || actor->mishap != MISHAP_LOST)
        return;
    const uint32_t in_vain = actor->lost_startups;
    CHECK(account->tries == in_vain / startups_of_a_try() + 1, slot,
          "%u tries, and %u STARTUPs were lost", account->tries, in_vain);
    CHECK(script.plan.sipis != SMP_SIPIS_AUTO || account->startup_helped == in_vain % 2, slot,
          "helped=%d by the second STARTUP, and %u were lost", account->startup_helped, in_vain);
}

static void check_round(const struct smp_round *round, uint32_t number)
{
    uint32_t arrived = 0;

    threads_settle();
    for (uint32_t slot = 1; slot < script.count; slot++) {
        const struct smp_account account = smp_examine(smp, slot);
        check_arrival(slot, &account);
        arrived += account.arrived;
    }
    CHECK(round->arrived == arrived && round->round == number, 0,
          "round %u of %u: %u arrived, %u by their accounts", round->round, number, round->arrived,
          arrived);
    CHECK(round->unsent == 0, 0, "%u messages were not sent", round->unsent);
}

// What it has noted of itself in its turn.
static void check_place(uint32_t slot)
{
    const struct hello *hello = &of_slot[slot];
    const uint32_t apic_id = cores[slot].apic_id;

    CHECK(atomic_load_explicit(&hello->known, memory_order_acquire), slot, "knows not where it is");
    CHECK(hello->place.package == apic_id >> 3 && hello->place.core == (apic_id >> 1 & 3) &&
              hello->place.thread == (apic_id & 1),
          slot, "is at another place");
}

// Who arrived and has not run the function yet runs it, once.
static void check_turns(uint32_t told)
{
    uint32_t ran = 0;

    if (!script.nobody_overlaps)
        threads_let_pass(4 * TURN_US);
    threads_settle();
    for (uint32_t slot = 1; slot < script.count; slot++) {
        struct actor *actor = &script.actors[slot];
        const uint32_t runs = get(&cores[slot].diary.runs);
        const bool able = actor->part != PART_MUTE && actor->part != PART_STUCK &&
                          (actor->part != PART_BROKEN || is_broken(actor, SMP_UD_WHEN_DONE) ||
                           is_broken(actor, SMP_LATE));
        script.runs += runs - actor->ran;
        if (actor->part == PART_NMI) { // it may have run, and been struck before it said so
            CHECK(runs <= SMP_TURNS, slot, "ran %u times", runs);
            actor->ran = runs;
            continue;
        }
        const uint32_t wanted = actor->ran != 0 || (able && actor->arrived);
        CHECK(runs == wanted, slot, "ran %u times, and not %u", runs, wanted);
        ran += runs - actor->ran;
        actor->ran = runs;
        if (runs != 0)
            check_place(slot);
    }
    CHECK(!script.nobody_overlaps || (told == ran && ledger.count == script.runs), 0,
          "%u turns, %u ran, %u in the ledger", told, ran, ledger.count);
}

static void play_round(uint32_t number)
{
    struct smp_round round;

    if (number > 1 && one_in(4)) { // another setting of a sweep
        script.plan = choose_plan(below(SMP_FIRMWARE));
        assert_int_equal(smp_start(smp, &script.plan), STATUS_OK);
    }
    for (uint32_t slot = 1; slot < script.count; slot++) {
        struct actor *actor = &script.actors[slot];
        actor->inits = get(&cores[slot].diary.inits);
        actor->is_awake = !threads_is_asleep(&cores[slot]);
        actor->is_held = threads_is_held(&cores[slot]);
        if (actor->part == PART_SHAKY)
            choose_mishap(slot);
    }
    smp_wake(smp, &round);
    check_round(&round, number);
    check_turns(smp_take_turns(smp));
    console_tell(&console, "round %u", (uint64_t)number);
}

// ---- the end of a run ----

static enum smp_cause wanted_cause(uint32_t slot)
{
    const struct actor *actor = &script.actors[slot];
    const struct diary *diary = &cores[slot].diary;

    const bool is_left_alone =
        lacks_init(actor) && !actor->is_held && get(&diary->inits) == actor->inits;

    if (diary->faulted && !is_left_alone)
        return SMP_CAUSE_FAULT;
    if (actor->ran != 0)
        return actor->lost == 0 ? SMP_CAUSE_NONE : SMP_CAUSE_INTERMITTENT;
    if (is_left_alone)
        return SMP_CAUSE_NEVER_FETCHED;
    if (get(&diary->strays) != 0)
        return SMP_CAUSE_WRONG_ID;
    switch (get(&diary->stage)) {
    case STAGE_NONE:
        return script.plan.strategy == SMP_FIRMWARE ? SMP_CAUSE_NOT_RUN_BY_FIRMWARE
                                                    : SMP_CAUSE_NEVER_FETCHED;
    case STAGE_REAL:
        return SMP_CAUSE_STOPPED_IN_REAL;
    case STAGE_PROTECTED:
        return diary->without_nx ? SMP_CAUSE_NO_NX : SMP_CAUSE_STOPPED_IN_PROTECTED;
    case STAGE_LONG:
        return SMP_CAUSE_STOPPED_IN_LONG;
    default:
        if (is_broken(actor, SMP_HANG_IN_C))
            return SMP_CAUSE_STOPPED_IN_C;
        return actor->arrived ? SMP_CAUSE_SILENT : SMP_CAUSE_LATE;
    }
}

static void check_accounts(void)
{
    threads_settle();
    for (uint32_t slot = 1; slot < script.count; slot++) {
        const struct smp_account account = smp_examine(smp, slot);
        const enum smp_cause cause = smp_verdict(&account), wanted = wanted_cause(slot);
        CHECK(cause == wanted || (lacks_init(&script.actors[slot]) && script.actors[slot].is_awake),
              slot, "its cause is %s, and not %s (part %d, defect %d, mishap %d)",
              smp_cause_word(cause), smp_cause_word(wanted), script.actors[slot].part,
              script.actors[slot].defect, script.actors[slot].mishap);
        CHECK(account.apic_id == cores[slot].apic_id && account.cpu == slot, slot,
              "another's account");
    }
}

// Who came and was in no table, or under another's ID.
static void check_strays(void)
{
    uint32_t strays = 0;

    for (size_t i = 1; i < script.count + script.hidden; i++) {
        const uint32_t own = get(&cores[i].diary.strays);
        strays += own;
        CHECK(smp_came_unlisted(smp, cores[i].apic_id) == (own != 0), i, "came %u times as a stray",
              own);
    }
    CHECK(smp_unlisted_count(smp) == strays, 0, "%u strays, and %u came", smp_unlisted_count(smp),
          strays);
}

// Lines are whole, one behind another, the same on every way; and each has said hello as often as
// it ran.
static void check_lines(void)
{
    uint32_t hellos_of[CORES_MAX] = {0};
    const char *line;
    size_t at = 0, wired = 0;

    while ((line = journal_next(&journal, &at)) != NULL) {
        uint32_t cpu, apic_id;
        const size_t length = strlen(line);
        if (sscanf(line, "Hello from CPU %u! APIC ID: %u", &cpu, &apic_id) == 2) {
            CHECK(cpu < script.count && apic_id == cores[cpu].apic_id, cpu, "%s", line);
            hellos_of[cpu]++;
        }
        CHECK(wired + length + 2 <= wire_length && memcmp(wire + wired, line, length) == 0 &&
                  memcmp(wire + wired + length, "\r\n", 2) == 0,
              0, "another line came out of the serial port than %s", line);
        wired += length + 2;
    }
    CHECK(wired == wire_length, 0, "%zu bytes came out that nobody kept", wire_length - wired);
    for (uint32_t slot = 1; slot < script.count; slot++)
        CHECK(hellos_of[slot] == script.actors[slot].ran, slot, "said hello %u times",
              hellos_of[slot]);
}

// Everybody is held who was given or may have been woken, and nobody who is started all the same
// comes further than the page.
static void check_the_end(void)
{
    CHECK(smp_hold(smp) == STATUS_OK, 0, "nobody is held");
    threads_settle();
    for (uint32_t i = 1; i < script.count + (smp->broadcast ? script.hidden : 0); i++)
        CHECK(threads_is_held(&cores[i]), i, "is not held");
    smp_seal(smp);
    for (uint32_t slot = 1; slot < script.count; slot++) {
        memset(&cores[slot].fate, 0, sizeof cores[slot].fate);
        threads_send_startup(&cores[slot]);
    }
    threads_settle();
    for (uint32_t slot = 1; slot < script.count; slot++)
        CHECK(threads_is_asleep(&cores[slot]) && get(&cores[slot].diary.stage) == STAGE_NONE, slot,
              "came behind the seal");
}

// ---- a run ----

static uint32_t play(uint64_t seed)
{
    write_script(seed);
    set_stage();
    for (uint32_t round = 1; round <= script.rounds; round++)
        play_round(round);
    smp_await_late(smp);
    smp_close_turns(smp);
    if (script.has_idle_fault)
        threads_let_pass(IDLE_FAULT_US);
    check_accounts();
    check_strays();
    if (!script.has_nmi)
        check_lines();
    check_the_end();
    (void)strike(NULL);
    return script.rounds;
}

// ---- a run in which firmware wakes them ----

// Only C is ours there.
static void write_firmwares_script(uint64_t seed)
{
    write_script(seed);
    script.plan.strategy = SMP_FIRMWARE;
    for (size_t slot = 1; slot < script.count; slot++) {
        struct actor *actor = &script.actors[slot];
        if (actor->part == PART_BROKEN)
            actor->defect = SMP_HANG_IN_C;
        else if (actor->part == PART_NMI || actor->part == PART_WITHOUT_NX)
            actor->part = PART_PROMPT;
    }
}

static void visit(const struct smp *engine)
{
    set(&self->diary.stage, STAGE_C);
    smp_visit(engine);
}

// Firmware runs a procedure on all that it has, and waits for them.
static void run_everywhere(void (*procedure)(const struct smp *smp), bool the_late)
{
    for (uint32_t i = 1; i < script.count + script.hidden; i++) {
        const struct actor *actor = &script.actors[i];
        if (actor->part != PART_GHOST && is_late(actor) == the_late && threads_is_asleep(&cores[i]))
            threads_call(&cores[i], procedure, smp);
    }
    threads_settle();
}

static void play_firmwares_round(uint32_t number)
{
    struct smp_round round = {0};

    for (uint32_t slot = 1; slot < script.count; slot++) {
        struct actor *actor = &script.actors[slot];
        actor->mishap = one_in(2) ? MISHAP_TOO_SLOW : MISHAP_NONE;
        actor->is_awake = !threads_is_asleep(&cores[slot]);
        set(&cores[slot].diary.stage, STAGE_NONE);
    }
    smp_begin_round(smp);
    const uint64_t start = hw_tsc();
    run_everywhere(visit, false);
    smp_end_round(smp, start, &round);
    run_everywhere(visit, true);
    check_round(&round, number);
    const uint32_t first = smp_open_turns(smp);
    if (first != 0)
        run_everywhere(smp_visit_turn, false);
    check_turns(smp_follow_turns(smp, first));
}

static uint32_t play_firmwares(uint64_t seed)
{
    write_firmwares_script(seed);
    set_stage();
    for (uint32_t round = 1; round <= script.rounds; round++)
        play_firmwares_round(round);
    smp_close_turns(smp);
    check_accounts();
    CHECK(smp_unlisted_count(smp) == 0, 0, "%u strays among firmware's", smp_unlisted_count(smp));
    check_lines();
    (void)strike(NULL);
    return script.rounds;
}

// ---- all of them ----

static uint32_t rounds_wanted = ROUNDS_DEFAULT;
static uint64_t first_seed = 1;

static void play_all(uint32_t (*play_one)(uint64_t seed), uint32_t wanted)
{
    uint32_t rounds = 0;

    for (uint64_t seed = first_seed; rounds < wanted; seed++)
        rounds += play_one(seed);
    print_message("%u rounds\n", rounds);
}

static void test_woken_by_messages(void **state)
{
    (void)state;
    play_all(play, rounds_wanted);
}

static void test_woken_by_firmware(void **state)
{
    (void)state;
    play_all(play_firmwares, (rounds_wanted + 3) / 4);
}

int main(int count, char **words)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(test_woken_by_messages, strike),
                                       cmocka_unit_test_teardown(test_woken_by_firmware, strike)};

    if (count > 1)
        rounds_wanted = (uint32_t)strtoul(words[1], NULL, 0);
    if (count > 2)
        first_seed = strtoull(words[2], NULL, 0);
    // One address for everybody, or ThreadSanitizer would not know that the bytes are the same.
    void *memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    if (memory == MAP_FAILED)
        return 1;
    setup.memory = (struct smp_memory){(uintptr_t)memory, memory, MEMORY_BYTES};
    threads_start();
    return cmocka_run_group_tests_name("threads", tests, NULL, NULL);
}
