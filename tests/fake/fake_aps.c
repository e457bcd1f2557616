// The life of an AP as the BSP can see it, message by message: parked, INIT, STARTUP, protected
// mode, C, its turn, halt. The ICR is decoded by the manual's numbers and not by smp/apic.h's
// names, so that a name that is wrong cannot agree with itself. (SDM vol. 3A, "Interrupt Command
// Register (ICR)".)
#define _GNU_SOURCE // fake_memory.h

#include "fake_aps.h"

#include <inttypes.h>
#include <string.h>

#include "fake_memory.h"
#include "options.h"

#define APIC_BASE_MSR 0x1bu
#define APIC_ID_MSR   0x802u
#define ICR_MSR       0x830u
#define ICR_LOW       (FAKE_MMIO_APIC + 0x300u)
#define ICR_HIGH      (FAKE_MMIO_APIC + 0x310u)

#define ICR_BUSY           0x00001000u
#define ICR_SHORTHAND      0x000c0000u
#define ICR_ALL_BUT_SELF   0x000c0000u
#define MESSAGE_INIT       0x00004500u // assert, edge, physical, vector 0
#define MESSAGE_STARTUP    0x00004600u
#define ICR_STARTUP_VECTOR 0x000000ffu

#define CLOCK_START 123456789u

static void set_due(struct fake_aps *aps, struct fake_ap *ap, uint64_t ticks)
{
    ap->due = ticks == FAKE_NEVER ? FAKE_NEVER : fake_now() + ticks;
    if (ap->due < aps->next_due)
        aps->next_due = ap->due;
}

// The trampoline's search, line by line: the table is sorted and padded to a power of two.
static struct lcpu *find_record(const struct fake_aps *aps, uint32_t apic_id)
{
    const struct lcpu_id *entry = arena_table(&aps->smp->arena);

    for (size_t half = aps->smp->arena.table_entries / 2; half >= 1; half /= 2) {
        if (entry[half].apic_id <= apic_id)
            entry += half;
    }
    return entry->apic_id == apic_id ? (struct lcpu *)(uintptr_t)entry->lcpu : NULL;
}

// ---- the AP's walk ----

static void enter_protected(struct fake_aps *aps, struct fake_ap *ap)
{
    struct rally *rally = arena_rally(&aps->smp->arena);

    aps->page[0x800 + (ap->apic_id & 1023)] = STAGE_PROTECTED;
    ap->lcpu = find_record(aps, ap->apic_id);
    if (ap->lcpu == NULL) {
        const uint32_t index = atomic_fetch_add(&rally->unlisted_count, 1);
        if (index < SMP_UNLISTED_MAX)
            rally->unlisted_ids[index] = ap->apic_id;
        ap->state = FAKE_AP_HALTED;
        set_due(aps, ap, FAKE_NEVER);
        return;
    }
    ap->generation = atomic_load(&rally->generation);
    ap->lcpu->tsc_real = ap->started + (uint64_t)ap->tsc_skew;
    atomic_store(&ap->lcpu->state, ap->generation << 8 | STAGE_PROTECTED);
    ap->state = FAKE_AP_PROTECTED;
    set_due(aps, ap,
            ap->to_c_ticks == FAKE_NEVER ? FAKE_NEVER : ap->to_c_ticks + ap->first_extra_ticks);
    ap->first_extra_ticks = 0;
}

static void enter_c(struct fake_aps *aps, struct fake_ap *ap)
{
    struct rally *rally = arena_rally(&aps->smp->arena);

    ap->arrivals++;
    ap->lcpu->tsc_c = fake_now() + (uint64_t)ap->tsc_skew;
    atomic_store(&ap->lcpu->state, ap->generation << 8 | STAGE_C);
    if (ap->hangs_in_c) {
        ap->state = FAKE_AP_HALTED;
        set_due(aps, ap, FAKE_NEVER);
        return;
    }
    atomic_store(&ap->lcpu->state, ap->generation << 8 | FAKE_STAGE_UP);
    if (atomic_load(&rally->generation) == ap->generation)
        atomic_fetch_add(&rally->arrived, 1);
    ap->state = ap->lcpu->has_turn ? FAKE_AP_IN_C : FAKE_AP_HALTED;
    set_due(aps, ap, ap->lcpu->has_turn ? rally->turn_wait_ticks : FAKE_NEVER);
    aps->turn_seen = 0; // its turn may be open already
}

static void take_turn(struct fake_aps *aps, struct fake_ap *ap)
{
    ap->state = FAKE_AP_GREETS;
    set_due(aps, ap, ap->to_greeting_ticks);
}

static void greet(struct fake_aps *aps, struct fake_ap *ap)
{
    uint32_t turn = ap->lcpu->slot;

    if (aps->run_ap_main) {
        ap_main(ap->lcpu);
    } else {
        atomic_store(&ap->lcpu->state, ap->generation << 8 | STAGE_DONE);
        ap->passed_on = atomic_compare_exchange_strong(&arena_rally(&aps->smp->arena)->turn, &turn,
                                                       ap->lcpu->next_turn);
    }
    ap->greetings++;
    aps->greeted[aps->greeted_count++] = ap->lcpu->cpu;
    ap->state = FAKE_AP_HALTED;
    set_due(aps, ap, FAKE_NEVER);
}

static void move_on(struct fake_aps *aps, struct fake_ap *ap)
{
    switch (ap->state) {
    case FAKE_AP_STARTED:
        enter_protected(aps, ap);
        break;
    case FAKE_AP_PROTECTED:
        enter_c(aps, ap);
        break;
    case FAKE_AP_GREETS:
        greet(aps, ap);
        break;
    case FAKE_AP_IN_C: // nobody gave it the turn
        ap->state = FAKE_AP_HALTED;
        set_due(aps, ap, FAKE_NEVER);
        break;
    case FAKE_AP_PARKED:
    case FAKE_AP_WAITS:
    case FAKE_AP_HALTED:
        fake_fail("fake: AP %#x was to move on from state %d", ap->apic_id, (int)ap->state);
    }
}

static void halt_all(struct fake_aps *aps)
{
    for (size_t cpu = 1; cpu < aps->count; cpu++) {
        if (aps->aps[cpu].state == FAKE_AP_IN_C) {
            aps->aps[cpu].state = FAKE_AP_HALTED;
            set_due(aps, &aps->aps[cpu], FAKE_NEVER);
        }
    }
}

static void look_at_turn(struct fake_aps *aps)
{
    const uint32_t turn = atomic_load(&arena_rally(&aps->smp->arena)->turn);

    if (turn == aps->turn_seen)
        return;
    aps->turn_seen = turn;
    if (turn == TURN_CLOSED) {
        halt_all(aps);
        return;
    }
    if (turn == 0)
        return;
    if (turn > aps->plan.want)
        fake_fail("fake: it is the turn of slot %u, and there are %zu", turn, aps->plan.want);
    struct fake_ap *ap = &aps->aps[aps->plan.cpus[turn].cpu];
    if (ap->state == FAKE_AP_IN_C)
        take_turn(aps, ap);
}

void fake_aps_move(struct fake_aps *aps, uint64_t now)
{
    if (aps->inside) // smp/ap.c, called from here, looks at the clock too
        return;
    aps->inside = true;
    look_at_turn(aps);
    if (now >= aps->next_due) {
        const size_t all = aps->count + aps->hidden;
        aps->next_due = FAKE_NEVER;
        for (size_t i = 1; i < all; i++) {
            struct fake_ap *ap = &aps->aps[i];
            while (ap->due <= fake_now())
                move_on(aps, ap);
            if (ap->due < aps->next_due)
                aps->next_due = ap->due;
        }
    }
    look_at_turn(aps);
    if (aps->watch != NULL)
        aps->watch(aps, now);
    aps->inside = false;
}

static void on_time(void *context, uint64_t now)
{
    fake_aps_move(context, now);
}

// ---- messages ----

static void hear_init(struct fake_aps *aps, struct fake_ap *ap)
{
    ap->inits++;
    if (ap->inits <= ap->deaf_inits ||
        (ap->heard_inits != 0 && ap->inits > ap->deaf_inits + ap->heard_inits))
        return;
    ap->state = FAKE_AP_WAITS;
    ap->startups_since_init = 0;
    ap->last_message = fake_now();
    set_due(aps, ap, FAKE_NEVER);
}

static void hear_startup(struct fake_aps *aps, struct fake_ap *ap, uint32_t vector)
{
    const uint64_t since = fake_now() - ap->last_message;

    ap->startups++;
    if (vector != FAKE_PAGE >> 12)
        fake_fail("fake: STARTUP of %#x to page %#x", ap->apic_id, vector << 12);
    if (ap->inits == 0)
        fake_fail("fake: STARTUP of %#x without INIT", ap->apic_id);
    uint64_t *least =
        ap->startups_since_init == 0 ? &aps->least_init_ticks : &aps->least_sipi_ticks;
    if (since < *least)
        *least = since;
    ap->last_message = fake_now();
    ap->startups_since_init++;
    if (ap->state == FAKE_AP_WAITS && ap->startups_since_init > ap->lost_startups) {
        ap->state = FAKE_AP_STARTED;
        ap->started = fake_now();
        set_due(aps, ap, ap->to_protected_ticks);
    }
}

static void hear(struct fake_aps *aps, struct fake_ap *ap, uint32_t message)
{
    if (message == MESSAGE_INIT)
        hear_init(aps, ap);
    else if ((message & ~ICR_STARTUP_VECTOR) == MESSAGE_STARTUP)
        hear_startup(aps, ap, message & ICR_STARTUP_VECTOR);
    else
        fake_fail("fake: no such message in the manual's sequence: %#x", message);
}

static struct fake_ap *find_ap(struct fake_aps *aps, uint32_t apic_id)
{
    const size_t all = aps->count + aps->hidden;

    for (size_t tried = 0; tried < all; tried++) {
        const size_t i = (aps->last_found + tried) % all;
        if (aps->aps[i].apic_id == apic_id) {
            aps->last_found = i;
            return &aps->aps[i];
        }
    }
    return NULL;
}

static void deliver(struct fake_aps *aps, uint32_t destination, uint32_t command)
{
    const size_t all = aps->count + aps->hidden;

    aps->messages++;
    if ((command & ICR_SHORTHAND) == ICR_ALL_BUT_SELF) {
        for (size_t i = 1; i < all; i++)
            hear(aps, &aps->aps[i], command & ~ICR_SHORTHAND);
    } else {
        struct fake_ap *ap = find_ap(aps, destination);
        if (ap == NULL || ap == &aps->aps[0])
            fake_fail("fake: message %#x to APIC ID %#x, which is no AP's", command, destination);
        hear(aps, ap, command); // any other shorthand is unknown there
    }
    if (aps->busy_from != 0 && aps->messages >= aps->busy_from)
        aps->busy_until = aps->busy_ticks == FAKE_NEVER ? FAKE_NEVER : fake_now() + aps->busy_ticks;
    for (uint64_t passed = 0; passed < aps->send_ticks; passed += FAKE_STEP_TICKS)
        fake_advance(FAKE_STEP_TICKS);
}

static void write_x2apic_icr(void *context, uint64_t address, uint64_t value)
{
    (void)address;
    deliver(context, (uint32_t)(value >> 32), (uint32_t)value);
}

static uint64_t read_xapic_icr(void *context, uint64_t address)
{
    const struct fake_aps *aps = context;

    if (address != ICR_LOW)
        fake_fail("fake: unexpected read of %#" PRIx64, address);
    return aps->icr_low | (fake_now() < aps->busy_until ? ICR_BUSY : 0);
}

static void write_xapic_icr(void *context, uint64_t address, uint64_t value)
{
    struct fake_aps *aps = context;

    if (address == ICR_HIGH) {
        if (value & 0x00ffffff)
            fake_fail("fake: reserved bits of the ICR's high half: %#" PRIx64, value);
        aps->icr_high = (uint32_t)value;
        return;
    }
    if (value & ICR_BUSY)
        fake_fail("fake: the delivery status is read-only: %#" PRIx64, value);
    if (fake_now() < aps->busy_until)
        fake_fail("fake: a message was overwritten before it had left");
    aps->icr_low = (uint32_t)value;
    deliver(aps, aps->icr_high >> 24, aps->icr_low);
}

// ---- the bench ----

static void tell(void *context, enum severity severity, const char *what, const char *detail)
{
    (void)context;
    fake_fail("fake: the plan was refused: %d %s: %s", (int)severity, what, detail);
}

void fake_aps_open(struct fake_aps *aps, size_t count)
{
    memset(aps, 0, sizeof *aps);
    if (count == 0 || count > FAKE_APS_MAX)
        fake_fail("fake: %zu processors", count);
    fake_reset();
    aps->count = count;
    for (uint32_t cpu = 0; cpu < FAKE_APS_MAX; cpu++)
        aps->aps[cpu].apic_id = cpu;
    aps->machine = (struct machine){
        .processor = {.vendor = VENDOR_INTEL,
                      .family = 6,
                      .x2apic = true,
                      .no_execute = true,
                      .gib_pages = true,
                      .phys_bits = 46,
                      .id_leaf = 0xb},
        .apic_base = FAKE_MMIO_APIC | 0x900,
        .clock = {.tsc_hz = 1000000ull * FAKE_TICKS_PER_US},
    };
    aps->host.problems.tell = tell;
    options_set_defaults(&aps->options);
}

static void open_inventory(struct fake_aps *aps)
{
    for (uint32_t cpu = 0; cpu < aps->count; cpu++)
        aps->cpus[cpu] =
            (struct cpu){aps->aps[cpu].apic_id, 100 + cpu, cpu == 0 ? CPU_BSP : CPU_LISTED, false};
    aps->machine.bsp_apic_id = aps->aps[0].apic_id;
    aps->machine.inventory = (struct inventory){
        .cpus = aps->cpus,
        .capacity = FAKE_APS_MAX,
        .count = aps->count,
        .enabled = (uint32_t)aps->count,
    };
}

// What the APs run: the page of their entry, where this program has it.
static void open_regions(struct fake_aps *aps)
{
    const uint64_t entry = (uintptr_t)ap_main / PAGE_BYTES * PAGE_BYTES;

    aps->all_regions[0] =
        (struct smp_region){"code", entry, entry, 2 * PAGE_BYTES, SMP_EXECUTE | SMP_NEEDED};
    for (size_t i = 0; i < aps->region_count; i++)
        aps->all_regions[1 + i] = aps->regions[i];
}

static void open_engine(struct fake_aps *aps)
{
    open_regions(aps);
    aps->setup = (struct smp_setup){
        .cpus = aps->plan.cpus,
        .count = aps->plan.want + 1,
        .features = plan_features(&aps->machine),
        .apic_mode = aps->plan.apic_mode,
        .apic_phys = FAKE_MMIO_APIC,
        .apic_view = FAKE_MMIO_APIC,
        .tsc_hz = aps->machine.clock.tsc_hz,
        .regions = aps->all_regions,
        .region_count = 1 + aps->region_count,
        .host = aps->host,
    };
    aps->setup.memory = fake_map_memory(smp_memory_bytes(&aps->setup), 0, 16 * PAGE_BYTES);
    if (smp_open(&aps->setup, &aps->smp) != STATUS_OK ||
        smp_map_page(aps->smp, FAKE_PAGE) != STATUS_OK ||
        smp_fill_page(aps->smp, aps->page) != STATUS_OK)
        fake_fail("fake: the engine was not opened");
}

static void open_local_apic(struct fake_aps *aps)
{
    fake_set_cell(FAKE_MSR, APIC_BASE_MSR, aps->machine.apic_base);
    fake_set_cr(FAKE_CR3, PAGE_BYTES); // not the engine's tables
    fake_set_cell(FAKE_MSR, APIC_ID_MSR, aps->aps[0].apic_id);
    fake_set_cell(FAKE_MMIO, FAKE_MMIO_APIC + 0x20, aps->aps[0].apic_id << 24);
    if (aps->plan.apic_mode == SMP_X2APIC)
        fake_hook(FAKE_MSR, ICR_MSR, ICR_MSR, NULL, write_x2apic_icr, aps);
    else
        fake_hook(FAKE_MMIO, ICR_LOW, ICR_HIGH, read_xapic_icr, write_xapic_icr, aps);
}

void fake_aps_prepare(struct fake_aps *aps)
{
    const struct problems problems = {tell, NULL};

    if (aps->count + aps->hidden > FAKE_APS_MAX)
        fake_fail("fake: %zu and %zu hidden processors", aps->count, aps->hidden);
    open_inventory(aps);
    if (plan_make(&aps->machine, &aps->options, &problems, aps->plan_cpus, &aps->plan) != STATUS_OK)
        fake_fail("fake: the plan was refused");
    open_engine(aps);
    for (size_t i = 0; i < FAKE_APS_MAX; i++)
        aps->aps[i].due = FAKE_NEVER;
    aps->next_due = aps->least_init_ticks = aps->least_sipi_ticks = FAKE_NEVER;
    open_local_apic(aps);
    fake_start_clock(CLOCK_START, FAKE_STEP_TICKS);
    if (smp_start(aps->smp, &aps->plan.messages) != STATUS_OK)
        fake_fail("fake: the engine was not started");
    arena_rally(&aps->smp->arena)->turn_wait_ticks = FAKE_NEVER;
    fake_on_time(on_time, aps);
    fake_log_clear();
}

struct lcpu *fake_lcpu(const struct fake_aps *aps, uint32_t slot)
{
    return arena_lcpu(&aps->smp->arena, slot);
}

struct book *fake_book(const struct fake_aps *aps, uint32_t slot)
{
    return arena_book(&aps->smp->arena, slot);
}

struct rally *fake_rally(const struct fake_aps *aps)
{
    return arena_rally(&aps->smp->arena);
}

void fake_aps_close(struct fake_aps *aps)
{
    fake_unmap_memory(&aps->setup.memory);
    aps->smp = NULL;
    fake_reset();
}

void fake_aps_let_pass(struct fake_aps *aps, uint64_t us)
{
    (void)aps;
    for (uint64_t passed = 0; passed < us; passed++)
        fake_advance(FAKE_TICKS_PER_US);
}
