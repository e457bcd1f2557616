// Fuzzer: what processors left, and what is made of it: trap stacks, accounts and verdicts, the
// outcome, the wall's tiles, the summary. Whatever lies there, what comes out is in range, says
// nothing that the bytes do not say, and adds up.
#include "fuzz.h"

#include "advice.h"
#include "fake_hw.h"
#include "outcome.h"
#include "qr.h"
#include "smp.h"
#include "summary.h"
#include "trampoline.h"
#include "wall_cells.h"

#define PAGE_PHYS 0x9f000u
#define APS_MAX   20u
#define TILES_MAX (APS_MAX + SMP_UNLISTED_MAX + 1u)
#define IDS       24u // few, so that lists meet

static struct smp_account take_account(struct input *input)
{
    const uint8_t flags = input_u8(input), more = input_u8(input);

    return (struct smp_account){
        .stage = (enum smp_stage)input_choice(input, SMP_STAGE_DONE + 1),
        .mark = (enum smp_stage)input_choice(input, SMP_STAGE_PROTECTED + 1),
        .mark_shared = flags & 1,
        .arrived = flags & 2,
        .done = flags & 4,
        .page_damaged = flags & 8,
        .stray = flags & 16,
        .fault.valid = flags & 32,
        .no_nx = flags & 64,
        .by_firmware = flags & 128,
        .lost = more % 4,
    };
}

static void judge(struct input *input)
{
    const struct smp_account account = take_account(input);

    const enum smp_cause cause = smp_verdict(&account);
    MUST(cause < SMP_CAUSES);
    MUST(account.fault.valid == (cause == SMP_CAUSE_FAULT));
    MUST(cause != SMP_CAUSE_NONE || account.done);
    MUST(cause != SMP_CAUSE_NEVER_FETCHED || (account.mark == 0 && account.stage == 0));
    MUST(smp_cause_word(cause)[0] && smp_cause_story(cause)[0] && cause_advice(cause)[0]);
    MUST(smp_stage_word(account.stage)[0] && smp_fault_word(input_u8(input))[0]);
}

// A trap is told only where the stack below it says so, with a vector and a mode that there are.
static void decode(struct input *input)
{
    static _Alignas(64) uint8_t page[4096];
    struct trampoline trampoline;
    struct trap trap;

    MUST(trampoline_open_builtin(&trampoline) == STATUS_OK);
    memset(page, 0, sizeof page);
    input_take(input, page + PAGE_CELLS, (size_t)CELL_BYTES * input_choice(input, CELL_COUNT + 1));
    for (uint32_t id = 0; id < 2 * CELL_COUNT; id++) {
        if (trampoline_trap_in_cell(&trampoline, page, PAGE_PHYS, id, &trap))
            MUST(trap.vector < TRAP_VECTORS && trap.mode >= SMP_STAGE_REAL &&
                 trap.mode <= SMP_STAGE_PROTECTED);
    }
    if (trampoline_trap_at(&trampoline, PAGE_PHYS, page + PAGE_CELLS + 64, &trap))
        MUST(trap.vector < TRAP_VECTORS && trap.mode == SMP_STAGE_PROTECTED);
}

// ---- a machine and its evidence ----

static struct cpu cpus[APS_MAX + 1];
static struct smp_account accounts[APS_MAX + 1];
static struct hello hellos[APS_MAX + 1];
static struct machine machine;
static struct evidence evidence;

// The BSP, then those that are enabled and then those that are not, as inventory.h has it.
static void take_inventory(struct input *input)
{
    const size_t count = 1 + input_choice(input, APS_MAX + 1);
    size_t enabled = 1 + input_choice(input, APS_MAX + 1);

    enabled = enabled < count ? enabled : count;
    for (size_t i = 0; i < count; i++)
        cpus[i] = (struct cpu){
            .apic_id = input_u8(input) % IDS,
            .listing = i == 0        ? CPU_BSP
                       : i < enabled ? CPU_LISTED
                                     : CPU_DISABLED,
            .repeated = i >= enabled && input_u8(input) % 4 == 1,
        };
    machine = (struct machine){.clock.tsc_hz = 1 + (uint64_t)input_u32(input) * 8,
                               .inventory = {.cpus = cpus,
                                             .count = count,
                                             .enabled = (uint32_t)enabled,
                                             .disabled = (uint32_t)(count - enabled)}};
    for (size_t i = 0, length = input_u8(input) % PLATFORM_TEXT; i < length; i++)
        machine.platform.product[i] = (char)(0x20 + input_u8(input) % 0x5f);
    for (size_t i = 0, length = input_u8(input) % 49; i < length; i++)
        machine.processor.brand[i] = (char)(0x20 + input_u8(input) % 0x5f);
}

static void take_evidence(struct input *input)
{
    evidence = (struct evidence){.accounts = accounts, .hellos = hellos, .count = 1, .rounds = 1};
    for (uint32_t cpu = 1; cpu < machine.inventory.enabled; cpu++) {
        if (input_u8(input) % 8 == 1)
            continue; // not to be woken
        const uint32_t slot = evidence.count++;
        accounts[slot] = take_account(input);
        accounts[slot].slot = slot;
        accounts[slot].cpu = cpu;
        accounts[slot].apic_id = cpus[cpu].apic_id;
        accounts[slot].started = input_u16(input);
        accounts[slot].tsc_real = input_u32(input);
        accounts[slot].tsc_c = input_u64(input);
        hellos[slot].known = input_u8(input) % 2;
        const uint8_t place = input_u8(input);
        hellos[slot].place.package = place;
        hellos[slot].place.kind = (enum core_kind)(place % CORE_KINDS);
    }
    evidence.unlisted = input_u8(input) % 80;
    for (uint32_t i = 0; i < evidence_named(&evidence); i++) {
        const uint8_t id = input_u8(input);
        evidence.unlisted_ids[i] = id == 255 ? SMP_NO_ID : id % 40;
    }
}

// ---- what is shown ----

static size_t count_tiles(const struct wall_cpu *tiles, size_t count, enum wall_state state)
{
    size_t found = 0;

    for (size_t i = 0; i < count; i++)
        found += tiles[i].state == state;
    return found;
}

// IDs that came and are in no table, each once.
static size_t count_strangers(void)
{
    const uint32_t *ids = evidence.unlisted_ids;
    size_t found = 0;

    for (uint32_t i = 0; i < evidence_named(&evidence); i++) {
        bool known = ids[i] == SMP_NO_ID;
        for (size_t cpu = 0; cpu < machine.inventory.count; cpu++)
            known |= cpus[cpu].apic_id == ids[i];
        for (uint32_t before = 0; before < i; before++)
            known |= ids[before] == ids[i];
        found += !known;
    }
    return found;
}

// One tile for each processor that is one, and for each stranger once; as many have failed as the
// outcome says.
static void show_wall(const struct outcome *outcome)
{
    struct wall_cpu tiles[TILES_MAX];
    size_t wanted = 0;

    for (size_t i = 0; i < machine.inventory.count; i++)
        wanted += !cpus[i].repeated;
    const size_t before = wall_cells(&machine.inventory, NULL, &machine.clock, tiles, TILES_MAX);
    MUST(before == wanted && count_tiles(tiles, before, WALL_ASLEEP) == wanted - 1);
    wanted += count_strangers();
    const size_t count =
        wall_cells(&machine.inventory, &evidence, &machine.clock, tiles, TILES_MAX);
    MUST(count == wanted && count_tiles(tiles, count, WALL_BSP) == 1);
    MUST(count_tiles(tiles, count, WALL_FAILED) == outcome->failed);
    for (size_t i = 0; i < count; i++) {
        MUST(tiles[i].state < WALL_STATES && tiles[i].reached < WALL_STATES);
        for (size_t stage = 1; stage < WALL_STAGES; stage++)
            MUST(tiles[i].us[stage] == 0 || tiles[i].us[stage - 1] != 0);
    }
    for (size_t room = 0; room < count; room += 7) {
        struct wall_cpu *few = calloc(room + 1, sizeof *few);
        MUST(few != NULL);
        MUST(wall_cells(&machine.inventory, &evidence, &machine.clock, few, room) == room);
        MUST(few[room].index == 0 && few[room].state == 0);
        free(few);
    }
}

static void show_summary(const struct outcome *outcome)
{
    char buffer[QR_TEXT_MOST + 1], wanted[80];
    struct line line;

    line_start(&line, buffer, sizeof buffer);
    summary_write(&machine, &evidence, outcome, "0.1.0", &line);
    must_be_printable(buffer);
    MUST(line.length == strlen(buffer));
    snprintf(wanted, sizeof wanted, " want=%u up=%u failed=%u", outcome->want, outcome->up,
             outcome->failed);
    MUST(strstr(buffer, wanted) != NULL);
    line_start(&line, buffer, sizeof buffer);
    summary_headline(outcome, &line);
    must_be_printable(buffer);
}

static void show(struct input *input)
{
    take_inventory(input);
    take_evidence(input);
    const struct outcome outcome = outcome_of(&evidence);
    MUST(outcome.want == evidence.count - 1 && outcome.up + outcome.failed == outcome.want);
    MUST(outcome.ok == (outcome.failed == 0));
    MUST(!outcome_cut_short(outcome).ok);
    for (uint32_t slot = 1; slot < evidence.count; slot++)
        MUST(evidence_find(&evidence, accounts[slot].apic_id) != NULL);
    show_wall(&outcome);
    show_summary(&outcome);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};

    fake_reset();
    fake_set_cpuid(0, 0, (struct cpuid){.eax = 1});
    fake_set_cpuid(1, 0, (struct cpuid){.ebx = 0x00100000, .edx = 1u << 28});
    fake_set_cpuid(0x80000000, 0, (struct cpuid){.eax = 0});
    judge(&input);
    if (input_u8(&input) % 2)
        decode(&input);
    else
        show(&input);
    return 0;
}
