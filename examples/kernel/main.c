// main.c: every processor wakes, says hello, meets the others, and takes its share of a sum.
//
// `hang=2` on the command line lets CPU 2 hang in its greeting, `hang-call=2` on its way to the
// others. Surprise: the kernel goes on without it, and the last line is not the first to say so.
#include "machine.h"
#include "reveille.h"

#define WAIT_US 2000000u // all take some milliseconds; an emulator takes its time
#define ITEMS   1000000u
#define GIB_4   0x100000000ull

enum { OK = 33, NOT_ALL = 35, REFUSED = 37 }; // exit status of QEMU

static uint32_t hang, hang_call, met;
static struct rv_barrier barrier;
static uint64_t sum;

static void say_problem(void *context, enum rv_severity severity, const char *what,
                        const char *detail)
{
    (void)context;
    print("%s: %s: %s\n", severity == RV_SEVERITY_ERROR ? "error" : "warning", what, detail);
}

static void say_fault(void *context, const struct rv_fault_report *report)
{
    (void)context;
    print("%s\n", report->text);
}

static bool hello(void *context, const struct rv_self *self)
{
    (void)context;
    while (self->cpu == hang)
        __asm__ volatile("pause");
    print("Hello from CPU %u! APIC ID: %u\n", self->cpu, self->apic_id);
    return true;
}

static void meet(void *context, const struct rv_self *self)
{
    (void)context;
    while (self->cpu == hang_call)
        __asm__ volatile("pause");
    if (rv_barrier_wait(&barrier, WAIT_US) == RV_STATUS_OK)
        __atomic_fetch_add(&met, 1, __ATOMIC_RELAXED);
}

static void add(void *context, uint64_t first, uint64_t end, const struct rv_self *self)
{
    uint64_t part = 0;
    (void)context, (void)self;
    for (uint64_t item = first; item < end; item++)
        part += item;
    __atomic_fetch_add(&sum, part, __ATOMIC_RELAXED);
}

// Everything that the engine has to know, and nothing is sent yet.
static struct rv *open_engine(size_t *count)
{
    static const struct rv_problems problems = {say_problem, NULL};
    struct rv_processor processor;
    struct rv_list list;
    uint64_t tsc_hz;
    size_t madt_bytes = 0;
    const void *table = machine_table("APIC", &madt_bytes);
    if (rv_describe_processor(&problems, &processor) != RV_STATUS_OK ||
        rv_measure_tsc(&problems, &tsc_hz) != RV_STATUS_OK)
        return NULL;
    uint64_t apic_view = (uint64_t)machine_view(processor.apic_phys);
    struct rv_madt madt = {.table = table,
                           .bytes = madt_bytes,
                           .own_apic_id = rv_own_apic_id(apic_view),
                           .apic_mode = processor.has_x2apic ? RV_X2APIC : RV_XAPIC,
                           .problems = problems};
    madt.room_bytes = rv_room_bytes(&madt);
    madt.room = machine_view(machine_take(madt.room_bytes, GIB_4));
    rv_read_madt(&madt, &list);
    const struct rv_region regions[] = {
        {"code", (uint64_t)kernel_begin, (uint64_t)kernel_begin - KERNEL,
         (uint64_t)(text_end - kernel_begin), RV_EXECUTE | RV_NEEDED},
        {"constants", (uint64_t)text_end, (uint64_t)text_end - KERNEL,
         (uint64_t)(rodata_end - text_end), RV_READ | RV_NEEDED},
        {"data", (uint64_t)rodata_end, (uint64_t)rodata_end - KERNEL,
         (uint64_t)(kernel_end - rodata_end), RV_WRITE | RV_NEEDED},
    };
    struct rv_setup setup = {.cpus = list.cpus,
                             .count = list.count,
                             .features = processor.features,
                             .apic_mode = madt.apic_mode,
                             .apic_phys = processor.apic_phys,
                             .apic_view = apic_view,
                             .tsc_hz = tsc_hz,
                             .regions = regions,
                             .region_count = 3,
                             .host = {.run = hello, .fault = say_fault, .problems = problems}};
    setup.memory.bytes = rv_memory_bytes(&setup);
    setup.memory.phys = machine_take(setup.memory.bytes, GIB_4);
    setup.memory.view = machine_view(setup.memory.phys);
    uint64_t low_page = machine_take(4096, 0x100000);
    print("%lu processors, %s, TSC %lu kHz, %lu KiB at 0x%lx, page 0x%lx\n", list.count,
          rv_apic_word(madt.apic_mode), tsc_hz / 1000, setup.memory.bytes / 1024, setup.memory.phys,
          low_page);
    struct rv *rv;
    *count = list.count;
    return setup.memory.phys && low_page && rv_open(&setup, &rv) == RV_STATUS_OK &&
                   rv_map_page(rv, (uint32_t)low_page) == RV_STATUS_OK &&
                   rv_fill_page(rv, machine_view(low_page)) == RV_STATUS_OK
               ? rv
               : NULL;
}

static uint32_t count_waiting(const struct rv *rv)
{
    uint32_t waiting = 0;
    for (uint32_t slot = 1; slot < rv_count(rv); slot++)
        waiting += rv_call_of(rv, slot).state == RV_CALL_WAITS;
    return waiting;
}

_Noreturn void main(uint32_t multiboot_phys);

void main(uint32_t multiboot_phys)
{
    size_t count = 0;
    struct rv *rv = machine_begin(multiboot_phys) ? open_engine(&count) : NULL;
    if (!rv)
        machine_end(REFUSED);
    hang = machine_option("hang");
    hang_call = machine_option("hang-call");

    struct rv_plan plan = rv_plan_by_the_manual(RV_PARALLEL);
    struct rv_round round;
    plan.parking = RV_PARK_MWAIT;
    rv_start(rv, &plan);
    rv_wake(rv, &round);
    rv_take_turns(rv);
    rv_close_turns(rv);
    print("Woken: %u of %u in %lu us\n", round.arrived, (uint32_t)count - 1, round.last_us);

    struct rv_calls calls;
    do { // whoever hangs breaks the barrier for all, and is not called again
        met = 0;
        rv_barrier_open(rv, count_waiting(rv), &barrier);
        rv_call(rv, 0, meet, NULL);
        rv_wait(rv, 2 * WAIT_US, &calls);
        print("Barrier: passed by %u of %u\n", met, calls.called);
    } while (calls.missing > 0);

    struct rv_loop_result result;
    rv_for(rv, &(struct rv_loop){.count = ITEMS, .body = add}, WAIT_US, &result);
    bool right = result.done == ITEMS && sum == ITEMS * (ITEMS - 1ull) / 2;
    print("Sum of %lu items by %u processors: %s\n", result.done, result.calls.returned + 1,
          right ? "right" : "wrong");

    uint32_t lost = 0;
    for (uint32_t slot = 1; slot < count; slot++) {
        char sentence[RV_SENTENCE_BYTES];
        struct rv_account account = rv_examine(rv, slot);
        rv_sentence(&account, sentence, sizeof(sentence));
        if (rv_verdict(&account) != RV_CAUSE_NONE) {
            print("%s\n", sentence);
            lost++;
        }
    }
    print("The end: %u of %u processors work\n", (uint32_t)count - lost, (uint32_t)count);
    machine_end(lost == 0 && right ? OK : NOT_ALL);
}
