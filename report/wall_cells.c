// From records and accounts to tiles. Times are by the APs' own stamps, since the round's first
// message.

#include "wall_cells.h"

#include "examine.h"
#include "topology.h"

static enum wall_state state_of_stage(uint32_t stage)
{
    switch (stage) {
    case STAGE_REAL:
        return WALL_REAL;
    case STAGE_PROTECTED:
        return WALL_PROTECTED;
    case STAGE_LONG:
        return WALL_LONG;
    case STAGE_C:
    case STAGE_READY:
        return WALL_UP;
    case STAGE_GREETED:
        return WALL_GREETED;
    default:
        return WALL_ASLEEP;
    }
}

static void add_times(const struct wake *wake, uint32_t slot, struct wall_cpu *cell)
{
    const struct lcpu *lcpu = &arena_lcpu(wake->arena, slot)->lcpu;
    const uint32_t stage = wake_stage(lcpu, wake->generation);
    const uint64_t stamps[WALL_STAGES] = {lcpu->tsc_real, lcpu->tsc_protected, lcpu->tsc_long,
                                          lcpu->tsc_c};
    static const uint32_t stages[WALL_STAGES] = {STAGE_PROTECTED, STAGE_PROTECTED, STAGE_LONG,
                                                 STAGE_C}; // whose coming makes the stamp valid

    for (size_t i = 0; i < WALL_STAGES && stage >= stages[i]; i++) {
        const uint64_t us =
            stamps[i] > wake->started ? clock_us(&wake->clock, stamps[i] - wake->started) : 0;
        cell->us[i] = us == 0 ? 1 : us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
    }
}

static void add_place(uint32_t apic_id, struct wall_cpu *cell)
{
    struct topology topology;

    topology_read(apic_id, &topology);
    cell->package = topology.package;
    cell->core = topology.core;
    cell->thread = topology.thread;
}

// A wanted AP: what the examination says of it, and what it told of itself.
static void add_wanted(const struct wake *wake, uint32_t slot, struct wall_cpu *cell)
{
    const struct evidence evidence = examine(wake, slot);
    const struct lcpu *lcpu = &arena_lcpu(wake->arena, slot)->lcpu;

    cell->reached = state_of_stage(evidence_stage(&evidence));
    cell->state = verdict(&evidence) != CAUSE_NONE ? WALL_FAILED : cell->reached;
    if (lcpu->location_known) {
        cell->package = lcpu->package;
        cell->core = lcpu->core;
        cell->thread = lcpu->thread;
    }
    add_times(wake, slot, cell);
}

static struct wall_cpu unlisted_cell(uint32_t apic_id)
{
    struct wall_cpu cell = {.index = apic_id, .state = WALL_UNLISTED};

    add_place(apic_id, &cell);
    return cell;
}

// As in the records: each once, and none that has a tile already.
static bool is_new(const struct inventory *inventory, const struct rally *rally, uint32_t at)
{
    const uint32_t apic_id = rally_unlisted_id(rally, at);

    if (apic_id == RALLY_NO_ID)
        return false;
    for (uint32_t before = 0; before < at; before++) {
        if (rally_unlisted_id(rally, before) == apic_id)
            return false;
    }
    for (size_t cpu = 0; cpu < inventory->count; cpu++) {
        if (inventory->cpus[cpu].apic_id == apic_id)
            return false;
    }
    return true;
}

size_t wall_cells(const struct machine *machine, const struct wake *wake, struct wall_cpu *cells,
                  size_t room)
{
    const struct inventory *inventory = &machine->inventory;
    size_t count = 0;
    uint32_t slot = 1;

    for (uint32_t index = 0; index < inventory->count && count < room; index++) {
        const struct cpu *cpu = &inventory->cpus[index];
        if (cpu->repeated)
            continue;
        struct wall_cpu *cell = &cells[count++];
        *cell = (struct wall_cpu){.index = index, .state = index == 0 ? WALL_BSP : WALL_ASLEEP};
        add_place(cpu->apic_id, cell); // by the BSP's leaves, for who never told
        if (wake && slot <= wake->plan->want && wake->plan->lcpus[slot].cpu == index)
            add_wanted(wake, slot++, cell);
        else if (wake && cpu->listing == CPU_DISABLED && examine_came_unasked(wake, cpu->apic_id))
            *cell = unlisted_cell(cpu->apic_id);
    }
    if (!wake)
        return count;
    const struct rally *rally = arena_rally(wake->arena);
    const uint32_t unlisted = atomic_load_explicit(&rally->unlisted_count, memory_order_acquire);
    for (uint32_t i = 0; i < unlisted && i < RALLY_UNLISTED_MAX && count < room; i++) {
        if (!is_new(inventory, rally, i))
            continue;
        cells[count++] = unlisted_cell(rally_unlisted_id(rally, i));
    }
    return count;
}
