// memtest86+ 7.20 with this engine: takes the place of four functions of its system/smp.c, and adds
// what the engine has to say to its screen. None of its lines stands here; tools/memtest.py fetches
// it, renames what is replaced (smp_init becomes memtest_smp_init) and links all this with it.
// Surprise: the engine is at work inside smp_start only. Afterwards every processor runs
// memtest86+'s own code on its own stack and tables, and moves about in memory with it.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "reveille.h"

// memtest86+'s own.
#include "acpi.h"
#include "barrier.h"
#include "boot.h"
#include "config.h"
#include "cpuinfo.h"
#include "display.h"
#include "heap.h"
#include "hwquirks.h"
#include "memsize.h"
#include "msr.h"
#include "serial.h"
#include "smp.h"
#include "test.h"
#include "unistd.h"
#include "vmem.h"

// What the link has renamed, and what it has made reachable.
void memtest_smp_init(bool enable);
void memtest_display_start_run(void);
extern barrier_t *start_barrier;
extern uint8_t cpu_num_to_apic_id[MAX_CPUS];
extern int num_enabled_cpus;

// The local APIC (SDM vol. 3A, "Local APIC Register Address Map", "x2APIC Register Address Space").
#define APIC_BYTES         0x1000u
#define APIC_ID            0x020u
#define APIC_ICR_LOW       0x300u
#define APIC_ICR_HIGH      0x310u
#define APIC_ICR_BUSY      (1u << 12)
#define MSR_X2APIC_ID      0x802u
#define MSR_X2APIC_ICR     0x830u
#define ICR_NMI            0x4400u // edge, asserted
#define XAPIC_ID_SHIFT     24
#define ACPI_LENGTH_OFFSET 4u
#define ACPI_HEADER_BYTES  36u

// As long as memtest86+ waits itself. Behind the hand-over a processor waits for the mutex of its
// start-up code, which each holds for a few hundred instructions.
#define RUNNING_MS 10000

// A processor needs microseconds; it is a machine that emulates 256 of them that needs this. Who is
// missing has it twice.
#define ARRIVAL_US 500000u

// On the screen: notes above the row of the machine's name, four with two rows each and two more;
// and a mark on the frame, to the right of its joint.
#define NOTE_ROW_LAST (ROW_MESSAGE_B - 1)
#define NOTE_ROWS     10
#define NOTES         4
#define MARK_ROW      9
#define MARK_COLUMN   44

// By memtest86+'s number of a processor; 0 is the one that runs this.
static struct rv_cpu processors[MAX_CPUS];
static struct rv_processor own;
static enum rv_apic_mode apic_mode;
static uintptr_t apic_view, low_page;

// What is shown.
static char notes[NOTES][RV_SENTENCE_BYTES];
static uint32_t note_count, wanted_count, started_count;
static uint32_t first_missing;
static uint64_t last_us;

// ---- what the engine says ----

static void tell(void *context, enum rv_severity severity, const char *what, const char *detail)
{
    size_t i = 0;

    (void)context, (void)severity, (void)what;
    if (note_count < NOTES) {
        for (; detail[i] != '\0' && i < RV_SENTENCE_BYTES - 1; i++)
            notes[note_count][i] = detail[i];
        notes[note_count][i] = '\0';
    }
    note_count++;
}

// As much of a text as a row holds, broken at a blank where there is one.
static size_t row_length(const char *text)
{
    const size_t length = strlen(text);
    size_t at = SCREEN_WIDTH;

    if (length <= SCREEN_WIDTH)
        return length;
    while (at > 0 && text[at] != ' ')
        at--;
    return at > 0 ? at : SCREEN_WIDTH;
}

// Writes a text into rows from `row` on, as far as they are a note's; returns how many it takes.
static int write_rows(int row, const char *text)
{
    int rows = 0;

    while (*text != '\0') {
        const size_t length = row_length(text);
        for (size_t i = 0; i < length && row + rows <= NOTE_ROW_LAST; i++)
            printc(row + rows, (int)i, text[i]);
        rows++;
        text += length;
        text += *text == ' ';
    }
    return rows;
}

static void show_notes(void)
{
    const uint32_t shown = note_count < NOTES ? note_count : NOTES;
    int rows = (wanted_count > 1) + (note_count > NOTES), row;

    for (uint32_t i = 0; i < shown; i++)
        rows += write_rows(NOTE_ROW_LAST + 1, notes[i]);
    row = NOTE_ROW_LAST + 1 - (rows < NOTE_ROWS ? rows : NOTE_ROWS);
    clear_screen_region(row, 0, NOTE_ROW_LAST, SCREEN_WIDTH - 1);
    if (wanted_count > 1)
        printf(row++, 0, "Reveille: %u of %u processors started (%s), the last after %u us",
               (uintptr_t)started_count, (uintptr_t)wanted_count, rv_apic_word(apic_mode), last_us);
    set_foreground_colour(BOLD + YELLOW);
    for (uint32_t i = 0; i < shown && row <= NOTE_ROW_LAST; i++)
        row += write_rows(row, notes[i]);
    if (note_count > NOTES && row <= NOTE_ROW_LAST)
        printf(row, 0, "and %u more", (uintptr_t)(note_count - NOTES));
    if (first_missing != 0)
        printf(MARK_ROW, MARK_COLUMN, " CPU %u failed to start%s ", (uintptr_t)first_missing,
               started_count + 1 < wanted_count ? ", and more" : "");
    else if (started_count < wanted_count)
        prints(MARK_ROW, MARK_COLUMN, " no other CPU was started ");
    set_foreground_colour(WHITE);
}

// memtest86+ clears its screen's lower half here, and again for the first memory error, whose place
// that is; the mark above it stays.
void display_start_run(void)
{
    memtest_display_start_run();
    if (wanted_count < 2 && note_count == 0)
        return;
    show_notes();
    if (enable_tty)
        tty_full_redraw();
}

// ---- which processors there are ----

static void add_note(const char *text)
{
    tell(NULL, RV_SEVERITY_ERROR, "", text);
}

// Reads the MADT into `room`, which lies in low memory: memtest86+'s other heap grows over the ACPI
// tables.
static struct rv_list read_madt(const uint8_t *table, size_t bytes, uintptr_t *mark)
{
    struct rv_madt madt = {
        .table = table,
        .bytes = bytes,
        .own_apic_id = rv_own_apic_id(apic_view),
        .apic_mode = own.has_x2apic ? RV_X2APIC : own.apic_mode,
        .problems = {tell, NULL},
    };
    struct rv_list list = {0};

    *mark = heap_mark(HEAP_TYPE_LM_1);
    madt.room_bytes = rv_room_bytes(&madt);
    madt.room = (void *)heap_alloc(HEAP_TYPE_LM_1, madt.room_bytes, PAGE_SIZE);
    if (madt.room == NULL)
        add_note("no low memory for the list of processors");
    else
        (void)rv_read_madt(&madt, &list);
    return list;
}

// The mode that firmware left stays, unless somebody cannot be named in it.
static enum rv_apic_mode choose_mode(void)
{
    for (int cpu = 0; cpu < num_available_cpus; cpu++) {
        if (!rv_can_address(RV_XAPIC, processors[cpu].apic_id))
            return RV_X2APIC;
    }
    return own.apic_mode;
}

static void list_processors(void)
{
    const uint8_t *table = (uint8_t *)map_region(acpi_config.madt_addr, ACPI_HEADER_BYTES, true);
    uintptr_t mark;
    uint32_t bytes;

    num_available_cpus = 1;
    if (table == NULL)
        return;
    memcpy(&bytes, table + ACPI_LENGTH_OFFSET, sizeof bytes);
    table = (uint8_t *)map_region(acpi_config.madt_addr, bytes, true);
    if (table == NULL)
        return;
    const struct rv_list list = read_madt(table, bytes, &mark);
    for (size_t cpu = 0; cpu < list.count && cpu < MAX_CPUS; cpu++)
        processors[cpu] = list.cpus[cpu];
    if (list.count > 1)
        num_available_cpus = list.count < MAX_CPUS ? (int)list.count : MAX_CPUS;
    heap_rewind(HEAP_TYPE_LM_1, mark);
    apic_mode = choose_mode();
    if (list.count > MAX_CPUS)
        add_note("memtest86+ has room for 256 processors: the others are not used");
}

// Without a MADT its own list stands, which is the MP configuration table's.
static void take_list(void)
{
    for (int cpu = 0; cpu < num_available_cpus; cpu++)
        processors[cpu] = (struct rv_cpu){(uint32_t)cpu, cpu_num_to_apic_id[cpu]};
    apic_mode = own.apic_mode;
}

// Its tables of NUMA domains go by its own 8-bit APIC IDs, in the MADT's order.
static bool knows_numbers(void)
{
    for (int cpu = 0; cpu < num_available_cpus; cpu++) {
        if (cpu_num_to_apic_id[cpu] != processors[cpu].apic_id)
            return false;
    }
    return true;
}

void smp_init(bool enable)
{
    const struct rv_problems problems = {tell, NULL};

    memtest_smp_init(enable); // for its low page, its barriers, and its NUMA domains
    if (!enable || (quirk.type & QUIRK_TYPE_SMP))
        return;
    // The page now, since memtest86+ goes on to choose where it loads itself in low memory.
    low_page = heap_alloc(HEAP_TYPE_LM_1, PAGE_SIZE, PAGE_SIZE);
    if (rv_describe_processor(&problems, &own) == RV_STATUS_OK)
        apic_view = map_region(own.apic_phys, APIC_BYTES, false);
    if (low_page == 0)
        add_note("no page below 1 MiB for the engine");
    if (low_page == 0 || apic_view == 0)
        num_available_cpus = 1;
    else if (acpi_config.madt_addr == 0)
        take_list();
    else
        list_processors();
    if (!knows_numbers())
        num_proximity_domains = 0;
}

// ---- the start ----

// The enabled processors, in the order of their numbers.
static size_t choose_processors(struct rv_cpu *chosen)
{
    size_t count = 0;

    for (int cpu = 0; cpu < num_available_cpus; cpu++) {
        if (cpu_state[cpu] != CPU_STATE_DISABLED)
            chosen[count++] = processors[cpu];
    }
    return count;
}

// STATUS_OK: every processor that can come is awake and waits.
static enum rv_status wake(const struct rv_setup *setup, struct rv **engine)
{
    struct rv_plan plan = rv_plan_by_the_manual(RV_PARALLEL);
    struct rv_round round;
    enum rv_status status;

    plan.init_us = own.init_us;
    plan.timeout_us = ARRIVAL_US;
    plan.retries = 1;
    plan.turn_us = 0;             // nobody has one
    plan.parking = RV_PARK_PAUSE; // for so short a time, and no NMI can be late
    status = rv_open(setup, engine);
    if (status == RV_STATUS_OK)
        status = rv_map_page(*engine, (uint32_t)low_page);
    if (status == RV_STATUS_OK)
        status = rv_fill_page(*engine, (uint8_t *)low_page);
    if (status == RV_STATUS_OK)
        status = rv_start(*engine, &plan);
    if (status != RV_STATUS_OK)
        return status;
    rv_wake(*engine, &round);
    last_us = round.last_us;
    return RV_STATUS_OK;
}

// Where startup, which finds its processor's number and its stack again, would put it.
static uint64_t stack_of(uint32_t cpu)
{
    return (uintptr_t)_stacks + BSP_STACK_SIZE - LOCALS_SIZE + cpu * AP_STACK_SIZE;
}

// Says of a processor why it is not used.
static void leave_out(const struct rv_account *account)
{
    char sentence[RV_SENTENCE_BYTES];

    (void)rv_sentence(account, sentence, sizeof sentence);
    add_note(sentence);
    cpu_state[account->cpu] = CPU_STATE_DISABLED;
    first_missing = first_missing != 0 ? first_missing : account->cpu;
}

// Gives each processor that waits to memtest86+. Returns the first whose way from one to the other
// failed, or 0.
static uint32_t hand_over(struct rv *engine)
{
    for (uint32_t slot = 1; slot < rv_count(engine); slot++) {
        const struct rv_account account = rv_examine(engine, slot);
        const struct rv_handover to = {
            .entry = (uintptr_t)startup,
            .stack = stack_of(account.cpu),
            .cr3 = (uintptr_t)pml4,
        };
        switch (rv_hand_over(engine, slot, &to, ARRIVAL_US)) {
        case RV_STATUS_OK:
            started_count++;
            break;
        case RV_STATUS_BUSY: // it did not come as far as to wait
            leave_out(&account);
            break;
        default:
            return account.cpu;
        }
    }
    return 0;
}

// Returns the first that memtest86+'s own start has lost, or 0.
static int await_running(void)
{
    int cpu = 0;

    for (int ms = 0; ms < RUNNING_MS && cpu < num_available_cpus; ms++) {
        for (cpu = 1; cpu < num_available_cpus; cpu++) {
            if (*(volatile const cpu_state_t *)&cpu_state[cpu] == CPU_STATE_ENABLED)
                break;
        }
        if (cpu < num_available_cpus)
            usleep(1000);
    }
    return cpu < num_available_cpus ? cpu : 0;
}

// Shares the memory out among those who are there. By domains no longer: nobody would test that of
// one which has lost its last processor.
static void count_again(void)
{
    num_enabled_cpus = 0;
    enable_numa = false;
    for (int cpu = 0; cpu < num_available_cpus; cpu++) {
        if (cpu_state[cpu] != CPU_STATE_DISABLED)
            chunk_index[cpu] = (uint8_t)num_enabled_cpus++;
    }
    barrier_reset(start_barrier, num_enabled_cpus);
    clear_screen_region(7, 31, 7, 41);
    display_cpu_topology();
}

static uint64_t interrupts_off(void)
{
    uint64_t flags;

    __asm__ volatile("pushfq\n\tpop %0\n\tcli" : "=r"(flags) : : "memory");
    return flags;
}

static void interrupts_as(uint64_t flags)
{
    __asm__ volatile("push %0\n\tpopfq" : : "r"(flags) : "memory", "cc");
}

// `state` is cpu_state, which is known here by its name.
int smp_start(cpu_state_t state[MAX_CPUS])
{
    const uintptr_t begin = (uintptr_t)_start & ~(uintptr_t)(PAGE_SIZE - 1);
    const uintptr_t end = ((uintptr_t)_end + PAGE_SIZE - 1) & ~(uintptr_t)(PAGE_SIZE - 1);
    const struct rv_region region = {"memtest86+", begin, begin, end - begin,
                                     RV_EXECUTE | RV_NEEDED};
    const uintptr_t mark = heap_mark(HEAP_TYPE_HM_1);
    struct rv_cpu chosen[MAX_CPUS];
    struct rv_setup setup = {
        .cpus = chosen,
        .count = choose_processors(chosen),
        .features = own.features,
        .apic_mode = apic_mode,
        .apic_phys = own.apic_phys,
        .apic_view = apic_view,
        .tsc_hz = (uint64_t)clks_per_msec * 1000,
        .regions = &region,
        .region_count = 1,
        .host = {.problems = {tell, NULL}},
    };
    struct rv *engine;
    uint32_t failed = 0;

    state[0] = CPU_STATE_RUNNING;
    wanted_count = (uint32_t)setup.count;
    started_count = 1;
    if (setup.count < 2)
        return 0;
    setup.memory.bytes = rv_memory_bytes(&setup);
    setup.memory.phys = heap_alloc(HEAP_TYPE_HM_1, setup.memory.bytes, PAGE_SIZE);
    setup.memory.view = (void *)map_region(setup.memory.phys, setup.memory.bytes, true);

    const uint64_t flags = interrupts_off();
    if (setup.memory.phys == 0)
        add_note("no memory below 4 GiB for the engine");
    if (setup.memory.phys != 0 && wake(&setup, &engine) == RV_STATUS_OK) {
        failed = hand_over(engine);
    } else {
        for (int cpu = 1; cpu < num_available_cpus; cpu++)
            cpu_state[cpu] = CPU_STATE_DISABLED;
    }
    interrupts_as(flags);
    if (failed == 0)
        failed = (uint32_t)await_running();
    // Whoever is missing may still come, on the engine's memory: then it stays, and is not tested.
    if (started_count == wanted_count)
        heap_rewind(HEAP_TYPE_HM_1, mark);
    else
        count_again();
    return (int)failed;
}

// ---- for as long as memtest86+ runs ----

static uint32_t read_apic(uint32_t offset)
{
    return *(volatile uint32_t *)(apic_view + offset);
}

static void write_apic(uint32_t offset, uint32_t value)
{
    *(volatile uint32_t *)(apic_view + offset) = value;
}

static uint32_t own_apic_id(void)
{
    uint32_t low, high;

    if (apic_mode == RV_XAPIC)
        return read_apic(APIC_ID) >> XAPIC_ID_SHIFT;
    rdmsr(MSR_X2APIC_ID, low, high);
    (void)high;
    return low;
}

// Called with 64 bytes of stack, and by the first processor before its variables are cleared.
int smp_my_cpu_num(void)
{
    int cpu = num_available_cpus - 1;

    if (cpu > 0) {
        const uint32_t apic_id = own_apic_id();
        while (cpu > 0 && processors[cpu].apic_id != apic_id)
            cpu--;
    }
    return cpu;
}

// Any processor ends another's HLT at a barrier.
void smp_send_nmi(int cpu)
{
    const uint32_t apic_id = processors[cpu].apic_id;

    if (apic_mode == RV_X2APIC) {
        // No store may be overtaken (SDM vol. 3A, "MSR Access in x2APIC Mode").
        __asm__ volatile("mfence\n\tlfence" : : : "memory");
        wrmsr(MSR_X2APIC_ICR, ICR_NMI, apic_id);
        return;
    }
    while (read_apic(APIC_ICR_LOW) & APIC_ICR_BUSY)
        __builtin_ia32_pause();
    write_apic(APIC_ICR_HIGH, apic_id << XAPIC_ID_SHIFT);
    write_apic(APIC_ICR_LOW, ICR_NMI);
}
