// From accounts to tiles. Times are by the APs' own stamps, since the round's first message.

#include "wall_cells.h"

#include "topology.h"

static enum wall_state state_of_stage(enum smp_stage stage)
{
    static const enum wall_state states[] = {
        [SMP_STAGE_NONE] = WALL_ASLEEP,
        [SMP_STAGE_REAL] = WALL_REAL,
        [SMP_STAGE_PROTECTED] = WALL_PROTECTED,
        [SMP_STAGE_LONG] = WALL_LONG,
        [SMP_STAGE_C] = WALL_UP,
        [SMP_STAGE_READY] = WALL_UP,
        [SMP_STAGE_DONE] = WALL_GREETED,
    };
    return states[stage];
}

static void add_times(const struct smp_account *account, const struct clock *clock,
                      struct wall_cpu *cell)
{
    const uint64_t stamps[WALL_STAGES] = {account->tsc_real, account->tsc_protected,
                                          account->tsc_long, account->tsc_c};
    static const enum smp_stage stages[WALL_STAGES] = {
        SMP_STAGE_PROTECTED, SMP_STAGE_PROTECTED, SMP_STAGE_LONG,
        SMP_STAGE_C}; // whose coming makes the stamp valid

    for (size_t i = 0; i < WALL_STAGES && account->stage >= stages[i]; i++) {
        const uint64_t us =
            stamps[i] > account->started ? clock_us(clock, stamps[i] - account->started) : 0;
        cell->us[i] = us == 0 ? 1 : us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
    }
}

static void put_place(const struct topology *place, struct wall_cpu *cell)
{
    cell->package = place->package;
    cell->core = place->core;
    cell->thread = place->thread;
}

// By this processor's own leaves, for those that never said. They know nothing of another's kind.
static void add_place(uint32_t apic_id, struct wall_cpu *cell)
{
    struct topology topology;

    topology_read(apic_id, &topology);
    put_place(&topology, cell);
}

// What it has said of itself.
static void add_told(const struct hello *hello, struct wall_cpu *cell)
{
    static const enum wall_kind kinds[] = {
        [CORE_UNKNOWN] = WALL_ANY_CORE,
        [CORE_PERFORMANCE] = WALL_P_CORE,
        [CORE_EFFICIENCY] = WALL_E_CORE,
        [CORE_LOW_POWER] = WALL_LP_CORE,
    };

    if (!atomic_load_explicit(&hello->known, memory_order_acquire))
        return;
    put_place(&hello->place, cell);
    cell->kind = kinds[hello->place.kind];
}

// An AP that was to be woken: what is known of it, and what it told of itself.
static void add_wanted(const struct smp_account *account, const struct hello *hello,
                       const struct clock *clock, struct wall_cpu *cell)
{
    cell->reached = state_of_stage(smp_account_stage(account));
    cell->state = smp_verdict(account) != SMP_CAUSE_NONE ? WALL_FAILED : cell->reached;
    add_told(hello, cell);
    add_times(account, clock, cell);
}

static struct wall_cpu unlisted_cell(uint32_t apic_id)
{
    struct wall_cpu cell = {.index = apic_id, .state = WALL_UNLISTED};

    add_place(apic_id, &cell);
    return cell;
}

static bool came_unasked(const struct evidence *evidence, const struct cpu *cpu)
{
    return evidence && cpu->listing == CPU_DISABLED &&
           evidence_came_unlisted(evidence, cpu->apic_id);
}

size_t wall_cells(const struct inventory *inventory, const struct evidence *evidence,
                  const struct clock *clock, struct wall_cpu *cells, size_t room)
{
    uint32_t strangers[SMP_UNLISTED_MAX];
    size_t count = 0;
    uint32_t slot = 1;

    for (uint32_t index = 0; index < inventory->count && count < room; index++) {
        const struct cpu *cpu = &inventory->cpus[index];
        if (cpu->repeated)
            continue;
        struct wall_cpu *cell = &cells[count++];
        *cell = (struct wall_cpu){.index = index, .state = index == 0 ? WALL_BSP : WALL_ASLEEP};
        add_place(cpu->apic_id, cell);
        if (evidence && index == 0)
            add_told(&evidence->hellos[0], cell);
        if (evidence && slot < evidence->count && evidence->accounts[slot].cpu == index) {
            add_wanted(&evidence->accounts[slot], &evidence->hellos[slot], clock, cell);
            slot++;
        } else if (came_unasked(evidence, cpu)) {
            *cell = unlisted_cell(cpu->apic_id);
        }
    }
    const size_t found = evidence ? evidence_strangers(evidence, inventory, strangers) : 0;
    for (size_t i = 0; i < found && count < room; i++)
        cells[count++] = unlisted_cell(strangers[i]);
    return count;
}
