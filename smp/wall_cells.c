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

size_t wall_cells(const struct machine *machine, const struct wake *wake, struct wall_cpu *cells,
                  size_t room)
{
    size_t count = 0;

    if (room == 0)
        return 0;
    cells[count] = (struct wall_cpu){.state = WALL_BSP};
    add_place(machine->bsp_apic_id, &cells[count++]);
    for (uint32_t slot = 1; wake && slot <= wake->plan->want && count < room; slot++) {
        const struct evidence evidence = examine(wake, slot);
        const enum cause cause = verdict(&evidence);
        const uint32_t stage = evidence_stage(&evidence);
        const struct lcpu *lcpu = &arena_lcpu(wake->arena, slot)->lcpu;
        struct wall_cpu *cell = &cells[count++];
        *cell = (struct wall_cpu){
            .index = arena_account(wake->arena, slot)->cpu,
            .state = cause != CAUSE_NONE ? WALL_FAILED : state_of_stage(stage),
            .reached = state_of_stage(stage),
        };
        add_place(lcpu->apic_id, cell); // by the BSP's leaves, for who never told
        if (lcpu->location_known) {
            cell->package = lcpu->package;
            cell->core = lcpu->core;
            cell->thread = lcpu->thread;
        }
        add_times(wake, slot, cell);
    }
    const uint32_t unlisted =
        wake ? atomic_load_explicit(&arena_rally(wake->arena)->unlisted_count, memory_order_acquire)
             : 0;
    for (uint32_t i = 0; i < unlisted && i < RALLY_UNLISTED_MAX && count < room; i++) {
        cells[count] = (struct wall_cpu){.index = arena_rally(wake->arena)->unlisted_ids[i],
                                         .state = WALL_UNLISTED};
        add_place(cells[count].index, &cells[count]);
        count++;
    }
    return count;
}
