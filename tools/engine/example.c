// example.c: everything between a kernel that runs on one processor and one that runs on all.
// wake_every_processor() wakes them, lets each run hello() in its turn, and says of each what
// became of it; run_on_all() then has all of them work on one loop. What a kernel has to bring
// stands first: six functions and a table, which every kernel has in some form. Take the rest as it
// is, and change what you like. Surprise: kernel_log is called on the other processors, too.

#include "reveille.h"

// ---- what your kernel has ----

// One line, without a line feed.
void kernel_log(const char *text);

// Whole pages below 4 GiB, in one piece, cleared or not, that stay the engine's: where they are,
// and where you see them. NULL: there are none.
void *kernel_pages(uint64_t bytes, uint64_t *phys);

// One page between 4 KiB and 640 KiB that nobody else uses: where it is, and where you see it. At
// 0: there is none.
void *kernel_low_page(uint32_t *phys);

// A page of device memory, mapped uncached: where you see it.
uint64_t kernel_device(uint64_t phys);

// ACPI's MADT, all of it, and its length.
const void *kernel_madt(size_t *bytes);

void kernel_interrupts(int on);

// What the others may execute, read and write: your code, your constants, your data. At least
// kernel_log and what it needs.
extern struct rv_region kernel_regions[];
extern const size_t kernel_region_count;

// ---- what the engine calls ----

static void problem(void *context, enum rv_severity severity, const char *what, const char *detail)
{
    (void)context, (void)severity, (void)what;
    kernel_log(detail);
}

static bool hello(void *context, const struct rv_self *self)
{
    static char text[] = "Hello from a processor: CPU ??";

    (void)context;
    text[sizeof text - 3] = (char)('0' + self->cpu / 10 % 10);
    text[sizeof text - 2] = (char)('0' + self->cpu % 10);
    kernel_log(text); // they come one after another: no lock is needed
    return true;
}

static void fault(void *context, const struct rv_fault_report *report)
{
    (void)context;
    kernel_log(report->text);
}

// ---- from one processor to all ----

// What this machine is: all of the setup but the memory. False: none of its processors can be
// woken, and the log says why.
static bool describe_machine(struct rv_setup *setup, uint32_t *init_us)
{
    struct rv_madt madt = {.problems = setup->host.problems};
    struct rv_processor processor;
    struct rv_list list;
    uint64_t room_phys;

    if (rv_describe_processor(&madt.problems, &processor) != RV_STATUS_OK ||
        rv_measure_tsc(&madt.problems, &setup->tsc_hz) != RV_STATUS_OK)
        return false;
    *init_us = processor.init_us;
    setup->features = processor.features;
    setup->apic_mode = processor.has_x2apic ? RV_X2APIC : processor.apic_mode;
    setup->apic_phys = processor.apic_phys;
    setup->apic_view = kernel_device(processor.apic_phys);

    madt.table = kernel_madt(&madt.bytes);
    madt.own_apic_id = rv_own_apic_id(setup->apic_view);
    madt.apic_mode = setup->apic_mode;
    madt.room_bytes = rv_room_bytes(&madt);
    madt.room = kernel_pages(madt.room_bytes, &room_phys);
    rv_read_madt(&madt, &list); // of a damaged one what could be read
    setup->cpus = list.cpus;
    setup->count = list.count;
    return true;
}

// The engine, with every processor awake that can be, and waiting for calls; NULL: nothing was
// sent, and the log says why. `awake` counts them, this one included.
struct rv *wake_every_processor(uint32_t *awake)
{
    struct rv_setup setup = {
        .regions = kernel_regions,
        .region_count = kernel_region_count,
        .host = {.run = hello, .fault = fault, .problems = {problem, NULL}},
    };
    struct rv_plan plan = rv_plan_by_the_manual(RV_PARALLEL);
    struct rv_round round;
    struct rv *rv;
    uint32_t page_phys;
    char text[RV_SENTENCE_BYTES];

    if (!describe_machine(&setup, &plan.init_us))
        return NULL;
    setup.memory.bytes = rv_memory_bytes(&setup);
    setup.memory.view = kernel_pages(setup.memory.bytes, &setup.memory.phys);
    void *page = kernel_low_page(&page_phys);
    if (rv_open(&setup, &rv) != RV_STATUS_OK || rv_map_page(rv, page_phys) != RV_STATUS_OK ||
        rv_fill_page(rv, page) != RV_STATUS_OK)
        return NULL;

    plan.retries = 1;
    plan.parking = RV_PARK_MWAIT;
    kernel_interrupts(0);
    const bool started = rv_start(rv, &plan) == RV_STATUS_OK; // else nothing is sent below
    rv_wake(rv, &round);
    rv_take_turns(rv); // each runs hello()
    rv_close_turns(rv);
    kernel_interrupts(1);
    if (!started)
        return NULL;

    *awake = 1;
    for (uint32_t slot = 1; slot < setup.count; slot++) {
        const struct rv_account account = rv_examine(rv, slot);
        *awake += rv_verdict(&account) == RV_CAUSE_NONE;
        rv_sentence(&account, text, sizeof text);
        kernel_log(text);
    }
    return rv;
}

// ---- and then ----

// The items 0 to count-1 in chunks, by whoever is free. False: somebody did not come back within a
// second, and the log names him; his items are not done.
bool run_on_all(struct rv *rv, uint64_t count, void *context,
                void (*body)(void *context, uint64_t first, uint64_t end,
                             const struct rv_self *self))
{
    const struct rv_loop loop = {.count = count, .body = body, .context = context};
    struct rv_loop_result result;
    char text[RV_SENTENCE_BYTES];

    kernel_interrupts(0);
    const enum rv_status status = rv_for(rv, &loop, 1000000, &result);
    kernel_interrupts(1);
    if (status == RV_STATUS_OK)
        return true;
    if (result.calls.missing == 0) {
        kernel_log(rv_status_story(status));
        return false;
    }
    const struct rv_account account = rv_examine(rv, result.calls.first_missing);
    rv_sentence(&account, text, sizeof text);
    kernel_log(text);
    return false;
}
