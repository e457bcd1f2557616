// main.c: every processor wakes, says hello, meets the others, and takes its share of a sum.
//
// `hang=2` on the command line lets CPU 2 hang in its greeting, `hang-call=2` in a call. Surprise:
// the kernel goes on without it, and says in the end what became of it.
#include "machine.h"
#include "reveille.h"

#define WAIT_US 2000000u // each wait is for milliseconds of work; an emulator may be slow
#define ITEMS   1000000u

enum { ALL_CAME = 33, NOT_ALL = 35, REFUSED = 37 }; // exit status of QEMU

static uint32_t hang, hang_call;
static _Atomic uint64_t met, sum;
static struct rv_barrier barrier;

static void tell(void *context, enum rv_severity severity, const char *what, const char *detail)
{
    print("%s: %s: %s\n", severity == RV_SEVERITY_ERROR ? "error" : "warning", what, detail);
}

static bool hello(void *context, const struct rv_self *self)
{
    while (self->cpu == hang)
        __asm__ volatile("pause");
    print("Hello from CPU %u! APIC ID: %u\n", self->cpu, self->apic_id);
    return true;
}

static void meet(void *context, const struct rv_self *self)
{
    while (self->cpu == hang_call)
        __asm__ volatile("pause");
    if (rv_barrier_wait(&barrier, WAIT_US) == RV_STATUS_OK)
        met++;
}

static void add(void *context, uint64_t first, uint64_t end, const struct rv_self *self)
{
    uint64_t part = 0;
    for (uint64_t item = first; item < end; item++)
        part += item;
    sum += part;
}

// The engine with all processors of the MADT; NULL: told why. Nothing has been sent then.
static struct rv *open_engine(void)
{
    const struct rv_problems problems = {tell, NULL};
    struct rv_madt madt = {.problems = problems};
    struct rv_processor processor;
    struct rv_list list;
    struct rv *rv;
    uint64_t tsc_hz, phys;
    if (rv_describe_processor(&problems, &processor) != RV_STATUS_OK ||
        rv_measure_tsc(&problems, &tsc_hz) != RV_STATUS_OK)
        return NULL;
    const uint64_t apic_view = (uint64_t)machine_view(processor.apic_phys);
    madt.table = machine_table("APIC", &madt.bytes);
    madt.own_apic_id = rv_own_apic_id(apic_view);
    madt.apic_mode = processor.has_x2apic ? RV_X2APIC : processor.apic_mode;
    madt.room = machine_take(rv_room_bytes(&madt), 1ull << 32, &phys);
    madt.room_bytes = madt.room ? rv_room_bytes(&madt) : 0;
    rv_read_madt(&madt, &list);

    const uint64_t code = (uint64_t)kernel_begin, text = (uint64_t)text_end,
                   data = (uint64_t)rodata_end, end = (uint64_t)kernel_end;
    const struct rv_region regions[] = {
        {"code", code, code - KERNEL, text - code, RV_EXECUTE | RV_NEEDED},
        {"constants", text, text - KERNEL, data - text, RV_READ | RV_NEEDED},
        {"data", data, data - KERNEL, end - data, RV_WRITE | RV_NEEDED},
    };
    struct rv_setup setup = {
        .cpus = list.cpus,
        .count = list.count,
        .features = processor.features,
        .apic_mode = madt.apic_mode,
        .apic_phys = processor.apic_phys,
        .apic_view = apic_view,
        .tsc_hz = tsc_hz,
        .regions = regions,
        .region_count = 3,
        .host = {.run = hello, .problems = problems},
    };
    setup.memory.bytes = rv_memory_bytes(&setup);
    setup.memory.view = machine_take(setup.memory.bytes, 1ull << 32, &setup.memory.phys);
    uint8_t *page = machine_take(4096, 0x100000, &phys);
    print("%u processors, %s, TSC %u kHz\n", (uint32_t)list.count, rv_apic_word(madt.apic_mode),
          (uint32_t)(tsc_hz / 1000));
    if (!setup.memory.view || !page || rv_open(&setup, &rv) != RV_STATUS_OK ||
        rv_map_page(rv, (uint32_t)phys) != RV_STATUS_OK)
        return NULL;
    return rv_fill_page(rv, page) == RV_STATUS_OK ? rv : NULL;
}

_Noreturn void main(uint32_t multiboot_phys)
{
    const struct rv_loop loop = {.count = ITEMS, .body = add};
    struct rv_plan plan = rv_plan_by_the_manual(RV_PARALLEL);
    struct rv_loop_result result;
    struct rv_round round;
    struct rv *rv = machine_begin(multiboot_phys) ? open_engine() : NULL;
    plan.parking = RV_PARK_MWAIT;
    if (!rv || rv_start(rv, &plan) != RV_STATUS_OK) {
        print("The end: nobody was woken\n");
        machine_end(REFUSED);
    }
    hang = machine_option("hang");
    hang_call = machine_option("hang-call");
    rv_wake(rv, &round);
    const uint32_t greeted = rv_take_turns(rv);
    struct rv_calls calls = {.returned = greeted, .missing = greeted};
    rv_close_turns(rv);
    while (calls.missing > 0) { // who hangs breaks the barrier for all, and is not called again
        met = 0;
        rv_barrier_open(rv, calls.returned, &barrier);
        rv_call(rv, 0, meet, NULL);
        rv_wait(rv, 2 * WAIT_US, &calls);
        print("Barrier: passed by %u of %u\n", (uint32_t)met, calls.called);
    }
    rv_for(rv, &loop, WAIT_US, &result);
    const bool right = result.done == ITEMS && sum == ITEMS * (ITEMS - 1ull) / 2;
    print("Sum: %s, by %u processors\n", right ? "right" : "wrong", result.calls.returned + 1);
    uint32_t count = (uint32_t)rv_count(rv), work = count;
    for (uint32_t slot = 1; slot < count; slot++) {
        struct rv_account account = rv_examine(rv, slot);
        char sentence[RV_SENTENCE_BYTES];
        rv_sentence(&account, sentence, sizeof(sentence));
        if (rv_verdict(&account) != RV_CAUSE_NONE)
            print("%s\n", sentence), work--;
    }
    print("The end: %u of %u processors work\n", work, count);
    machine_end(right && work == count ? ALL_CAME : NOT_ALL);
}
