// smp.h: wakes the processors of an x86-64 machine by INIT and STARTUP, runs a function on each,
// and knows what became of every one: how far it came, when, and why it did not.
//
// All of the engine is behind this header. There is no global state, no allocation, no firmware and
// no console in it; what it needs it is given. It is compiled with -mno-red-zone
// -mgeneral-regs-only -fno-stack-protector; so must be what it calls back on an AP. It is not a
// scheduler: a processor runs what it is called for, and is parked between calls, or for good in a
// loop of CLI and HLT, in memory that stays its own.
//
//     static bool hello(void *context, const struct smp_self *self)
//     {
//         kernel_log("CPU %u is up", self->cpu);          // on that CPU, in its turn
//         return true;
//     }
//
//     struct smp_region regions[] = {                     // what APs execute, read and write
//         {"code", KERNEL_TEXT, text_phys, text_bytes, SMP_EXECUTE | SMP_NEEDED},
//         {"constants", KERNEL_RODATA, rodata_phys, rodata_bytes, SMP_READ | SMP_NEEDED},
//         {"data", KERNEL_DATA, data_phys, data_bytes, SMP_WRITE | SMP_NEEDED},
//     };
//     struct smp_setup setup = {
//         .cpus = cpus, .count = n,                       // [0] is the one that runs this
//         .features = features, .apic_mode = SMP_X2APIC, .tsc_hz = tsc_hz,
//         .apic_phys = 0xfee00000, .apic_view = apic_mapping,
//         .regions = regions, .region_count = 3,
//         .host = {.run = hello, .fault = log_fault, .problems = {log_problem, NULL}},
//     };
//     setup.memory = kernel_pages_below_4_gib(smp_memory_bytes(&setup));
//
//     struct smp_plan plan = smp_plan_by_the_manual(SMP_PARALLEL);
//     struct smp_round round;
//     struct smp *smp;
//     if (smp_open(&setup, &smp) != STATUS_OK ||          // nothing is sent until all is proved
//         smp_map_page(smp, low_page_phys) != STATUS_OK ||
//         smp_fill_page(smp, low_page_view) != STATUS_OK)
//         return;                                         // problems has said why
//     interrupts_off();
//     if (smp_start(smp, &plan) != STATUS_OK)
//         return;
//     smp_wake(smp, &round);                              // as many rounds as you like
//     smp_take_turns(smp);                                // now each runs hello()
//     smp_close_turns(smp);                               // once, after the last round
//     smp_call(smp, 0, clear_its_memory, &nodes);         // with plan.parking, any time later
//     smp_wait(smp, 1000000, &calls);
//     interrupts_on();
//     for (uint32_t slot = 1; slot < n; slot++) {
//         struct smp_account account = smp_examine(smp, slot);
//         char text[SMP_SENTENCE_BYTES];
//         smp_sentence(&account, text, sizeof text);
//         kernel_log("%s", text);                         // why it failed, if it did
//     }
//
// Who may call: one processor, that of slot 0, with interrupts off from smp_start to
// smp_close_turns and in whatever sends, since an xAPIC message takes two writes; but for what says
// that it is for APs. After smp_start in x2APIC mode the caller's own APIC code must use the MSRs.
// Order: smp_open, smp_map_page, smp_fill_page, smp_start, then rounds. Every wait is bounded. It
// is measured in time in which this processor was seen to run, and forgives four stops by an SMI or
// a hypervisor (hw/lib/watch.h). Nothing is printed inside smp_wake, unless a processor meets a
// fault and the host's `fault` prints it.
//
// Addresses: `phys` is physical, `view` is where the engine's caller sees the same bytes; the two
// may differ. APs run on page tables of the engine: they hold the engine's memory and the page
// below 1 MiB at their physical addresses, and the caller's regions at the addresses that it names.
// A struct smp is reached by the caller's view: an AP may use it only where a region maps that
// view.
//
// Slots count the given processors: 0 is this one, 1 to count-1 the APs. Three other numbers are
// not the same: an APIC ID, the caller's own number of a CPU (smp_cpu.cpu), and ACPI's processor
// UID.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "problem.h"
#include "status.h"

struct smp; // one engine; lies in the memory that it was given

// ---- what the engine is given ----

// Memory in one piece, page-aligned, below 4 GiB at both its ends, since an AP reaches it before it
// has paging. It belongs to the engine until smp_hold has returned STATUS_OK and nobody unlisted
// may still come: an AP that is late, whenever it comes, finds its record and its stack there.
struct smp_memory {
    uint64_t phys;
    void *view; // readable and writable by the caller
    uint64_t bytes;
};

// A processor. Each APIC ID may occur only once, and smp_can_address must be true of an AP's. (SDM
// vol. 3A, "Local APIC ID".)
struct smp_cpu {
    uint32_t cpu; // the caller's number for it; 0 is slot 0's alone
    uint32_t apic_id;
};

// What the processors can do: facts of the caller's own processor, which the page tables and the
// trampoline rely on in each.
struct smp_features {
    uint32_t phys_bits; // MAXPHYADDR, 32..52 (CPUID 0x80000008 EAX[7:0])
    uint32_t id_leaf;   // CPUID leaf of the initial APIC ID: 0xb where EBX is not 0 there, else 1
    bool five_levels;   // CR4.LA57 is on here
    bool gib_pages;     // CPUID 0x80000001 EDX[26]
    bool no_execute;    // CPUID 0x80000001 EDX[20]
    bool machine_check; // CPUID 1 EDX[7]: CR4.MCE is set early; without it a broadcast machine
                        // check shuts the machine down
    bool misc_enable;   // IA32_MISC_ENABLE exists: NX may be switched off in it, on an AP alone
};

// The local APIC's mode in the wake. SMP_X2APIC (CPUID 1 ECX[21]) switches it on, here and in each
// AP; it is never switched off, so a caller that runs in it already must not ask for SMP_XAPIC. An
// AP whose firmware left it on keeps it. (SDM vol. 3A, "x2APIC State Transitions".)
enum smp_apic_mode { SMP_XAPIC, SMP_X2APIC };

// What a region of the APs' address space may be used for, and how it is mapped. No page is both
// written and executed.
enum smp_rights {
    SMP_READ = 0,
    SMP_WRITE = 1 << 0,
    SMP_EXECUTE = 1 << 1,
    SMP_UNCACHED = 1 << 2,  // device memory
    SMP_COMBINING = 1 << 3, // write-combining, by entry 1 of the PAT: setup.pat must say so
    SMP_FILL = 1 << 4,      // maps only pages that are not so already: large pages stay large
    SMP_NEEDED = 1 << 5,    // smp_fill_page proves that it is there, as asked, in the end
};

// `bytes` at `phys`, to be seen at `virt`; all three page-aligned; 0 bytes are no region. Regions
// are mapped in their order, and a later one overrides; the engine's memory, its guard pages, the
// null page and the page below 1 MiB come last.
struct smp_region {
    const char *name; // for messages: "code"
    uint64_t virt, phys, bytes;
    uint32_t rights; // enum smp_rights
};

// The processor that calls back.
struct smp_self {
    uint32_t slot, cpu, apic_id;
};

// A message that is about to be sent.
struct smp_message {
    uint32_t slot;    // 0: to all but self
    uint32_t round;   // from 1
    uint32_t attempt; // the sequence of that round, from 1
    uint32_t command; // ICR bits 0..31, destination left out
};

// An exception or NMI that a processor took in long mode, on the engine's tables. Earlier ones are
// told by smp_examine alone.
struct smp_fault_report {
    struct smp_self self;
    uint32_t
        before; // on slot 0: faults that it took before; on an AP: 1 if it took one in this try
    const char *text; // one line that says who, what and where; valid during the call
    size_t length;    // of it
};

// What the engine calls. Each may be NULL but problems.tell. The context is passed as it is: it
// and the functions must be valid at one address here and on the APs, so let regions cover them.
struct smp_host {
    void *context;
    // On each AP, in its turn: the caller's function. Interrupts are off; the stack has
    // SMP_STACK_BYTES; CR4 has PAE, MCE and LA57 only, so no FPU or SSE; FS and GS are 0; MTRRs are
    // as INIT leaves them. It is to return within the plan's turn_us: then the next AP begins, and
    // an AP that overruns is still in here beside it. False, or no return: the caller waits
    // for the whole of its turn, and its verdict is SMP_CAUSE_SILENT.
    bool (*run)(void *context, const struct smp_self *self);
    // On the caller's processor, inside smp_wake: false withholds the message; `command` may be
    // changed.
    bool (*filter)(void *context, struct smp_message *message);
    // On the processor that took it, from a handler with a stack of 1 KiB on an AP; at any time, on
    // several at once. When it returns, that processor parks until the next round's INIT. On slot 0
    // only where it runs on the engine's tables (smp_tables); there it need not return.
    void (*fault)(void *context, const struct smp_fault_report *report);
    // Where whatever is wrong is told; always on the caller's processor.
    struct problems problems;
};

#define SMP_STACK_BYTES 16384u // of each AP, with an unmapped page below

struct smp_setup {
    struct smp_memory memory;   // at least smp_memory_bytes of this very setup
    const struct smp_cpu *cpus; // copied
    size_t count;               // 1 or more
    struct smp_features features;
    enum smp_apic_mode apic_mode;
    uint64_t apic_phys; // xAPIC registers (IA32_APIC_BASE bits 12 and up); mapped in either mode
    uint64_t apic_view; // where the caller sees them, uncached; not used in x2APIC mode
    uint64_t tsc_hz;    // the TSC's rate, not 0; all TSCs are taken to run alike
    uint64_t pat;       // IA32_PAT for every AP; 0: left alone
    const struct smp_region *regions; // borrowed until the last smp_fill_page
    size_t region_count;
    struct smp_host host; // copied
};

// IA32_PAT as after reset, but for entry 1, which is write-combining instead of write-through.
// (SDM vol. 3A, "Page Attribute Table".)
#define SMP_PAT_WITH_COMBINING 0x0007040600070106ull

// ---- memory, page tables, the page below 1 MiB ----

// How much memory this setup needs; `memory` in it is not looked at. A multiple of the page size.
uint64_t smp_memory_bytes(const struct smp_setup *setup);

// Clears the memory and fills it: records, stacks, descriptors, page tables. Nothing is sent and no
// register is written. STATUS_INVALID (memory that is misaligned, above 4 GiB, or does not keep
// what is written; no processor or an ID twice; a region that cannot be mapped), STATUS_NO_SPACE
// (too little memory); told.
enum status smp_open(const struct smp_setup *setup, struct smp **smp);

// Maps the page in which APs start: page-aligned, below 1 MiB, the engine's as long as its memory
// is. STATUS_NO_SPACE or STATUS_INVALID as smp_open. Once; again for another page.
enum status smp_map_page(struct smp *smp, uint32_t page_phys);

// Fills that page through `view`, compares it byte by byte, and walks the page tables for what an
// AP touches: the engine's memory, the page of its entry in C, and each region that is SMP_NEEDED.
// STATUS_INVALID: something is not as it must be; told by name, and no processor may be woken.
// Called again by whoever has put another trampoline there.
enum status smp_fill_page(struct smp *smp, uint8_t *view);

// From now on the caller sees the page there: for one that changes its address space in between.
void smp_set_page_view(struct smp *smp, uint8_t *view);

// What was built, for whoever reports it, or brings a trampoline of its own for the same page.
struct smp_layout {
    uint64_t memory_bytes, cpu_bytes; // all, and for each processor: record, stack, guard page
    uint64_t cr3;                     // root of the APs' page tables
    uint32_t cr4;                     // as APs have it
    uint32_t efer;
    uint32_t page_phys; // 0: no page is mapped
    uint8_t *page_view;
    uint64_t page_window; // where APs see that page writable; at its own address it is executable
    size_t image_bytes;   // of the trampoline
    size_t relocations;   // applied to it
};
struct smp_layout smp_layout(const struct smp *smp);

// The engine's descriptor tables and page tables, for a caller who runs on them itself (slot 0's).
struct smp_tables {
    uint64_t cr3;
    uint64_t gdt, idt;  // linear addresses in that address space
    uint64_t early_idt; // the same handlers on the current stack: before TR is loaded
    uint16_t gdt_limit, idt_limit;
    uint16_t code, data, task; // selectors
};
struct smp_tables smp_tables(const struct smp *smp);

// Takes [virt, virt + bytes), page-aligned, out of the APs' address space. Returns as smp_map_page
// does. A caller that runs on these tables forgets the old translations itself (CR3).
enum status smp_unmap(struct smp *smp, uint64_t virt, uint64_t bytes);

// ---- the plan of messages ----

// How those who are missing are woken. In this order; words as smp_strategy_word has them.
enum smp_strategy {
    SMP_PARALLEL,   // a sequence to each, all at once
    SMP_ONE_BY_ONE, // each waits for the one before
    SMP_BROADCAST,  // the first sequence to all but self; who is missing then, as in parallel
    SMP_FIRMWARE,   // nothing is sent: somebody else starts them and has each call smp_visit,
                    // between smp_begin_round and smp_end_round; smp_wake would count all as lost
};
uint32_t smp_strategy_count(void);
const char *smp_strategy_word(uint32_t strategy);
// Does its first sequence also reach processors that were not given?
bool smp_strategy_reaches_all(uint32_t strategy);

// How an AP waits once its turn is over, and between calls. All but SMP_PARK_INIT leave it in C, on
// the engine's page tables: the caller's regions must stay, until smp_park or an INIT has taken it
// back. (SDM vol. 2, "MONITOR", "MWAIT"; vol. 3A, "Nonmaskable Interrupt".)
enum smp_parking {
    SMP_PARK_INIT,  // CLI and HLT in the page's loop: only an INIT reaches it
    SMP_PARK_NMI,   // HLT: an NMI wakes it
    SMP_PARK_MWAIT, // MWAIT on its own cache line: a store wakes it. Without MONITOR, as by NMI
    SMP_PARK_PAUSE, // it spins, with PAUSE: the shortest way, at full power
    SMP_PARKINGS,
};
const char *smp_parking_word(enum smp_parking parking); // "init", "nmi", "mwait", "pause"

#define SMP_SIPIS_AUTO 0u // a second STARTUP, only for those who have not answered the first

struct smp_plan {
    enum smp_strategy strategy;
    uint32_t init_us;         // INIT to STARTUP, in the first sequence of a round
    uint32_t init_retry_us;   // in every further one
    uint32_t sipi_us;         // between STARTUPs
    uint32_t sipis;           // STARTUPs of a sequence: SMP_SIPIS_AUTO or 1..4
    uint32_t timeout_us;      // after the last STARTUP; not 0
    uint32_t retries;         // further sequences for those who are missing
    uint32_t turn_us;         // for the caller's function on one AP; 0: there are no turns
    enum smp_parking parking; // how an AP waits once it has nothing to do
};

// SDM vol. 3A, "Typical BSP Initialization Sequence": 10 ms between INIT and STARTUP, 200 us
// between STARTUPs.
#define SMP_INIT_MANUAL_US 10000u

// 10 ms, STARTUP, 200 us, STARTUP, 100 ms; no retry; 100 ms for a turn; parked by INIT.
struct smp_plan smp_plan_by_the_manual(enum smp_strategy strategy);

// The longest that smp_wake can take, in microseconds, for `count` processors, if no AP ever
// answers, each message is stuck, and this processor is not stopped.
uint64_t smp_round_bound_us(const struct smp_plan *plan, enum smp_apic_mode mode, size_t count);

// Can a processor with this APIC ID be named as a destination? A broadcast ID cannot.
bool smp_can_address(enum smp_apic_mode mode, uint32_t apic_id);
const char *smp_apic_word(enum smp_apic_mode mode); // "xapic", "x2apic"

// The longest wait for an xAPIC message to leave. One takes a bus transaction or two, unless its
// target's APIC keeps asking for a retry; 100 ms is a thousand times the longest ever reported.
#define SMP_APIC_IDLE_US 100000u

// ---- the wake ----

// Switches the local APIC on in the mode of the setup, and copies the plan. Called again between
// rounds, it changes the plan. Nothing is sent, and smp_wake does nothing, before it has returned
// STATUS_OK. STATUS_INVALID: smp_fill_page has not, or the plan has a strategy, sipis, timeout_us
// or parking that there is not; STATUS_WRONG_CPU: slot 0 is not the processor that runs this; told.
enum status smp_start(struct smp *smp, const struct smp_plan *plan);

struct smp_round {
    uint32_t round;                        // 1 and up
    uint32_t arrived;                      // APs that were in C before their time-out
    uint64_t icr_writes;                   // messages sent
    uint64_t first_us, median_us, last_us; // arrivals since the first message, by the APs' stamps
    uint64_t send_us;                      // from the first message to the last
    uint32_t retried;                      // arrived only with a further sequence
    uint32_t helped;                       // of the others, only with the second STARTUP of
                                           // SMP_SIPIS_AUTO
    uint32_t unsent;                       // messages that the xAPIC did not take in time
};

// One round, of 2^24-1 at most: every AP is put back by INIT and woken by the plan. When it
// returns, whatever the APs did:
//   * each account says whether its AP reached C in this round;
//   * all waits have taken at most smp_round_bound_us, the plan's sipi_us before each round but the
//     first, and the stops of this processor;
//   * an AP that is late finds its record, its stack and the page as they were.
// There is no order among the APs.
void smp_wake(struct smp *smp, struct smp_round *round);

// A round for these slots alone: they are put back by INIT, whatever they do, and woken; the others
// go on. So comes back who hangs in a call, or was handed over. Each AP once; a call that one was
// in is over, and has not returned. SMP_BROADCAST, which would reach the others, is SMP_PARALLEL
// here, unless all are named. It is one of the rounds that there can be, and so is a call to APs
// that are parked by INIT. STATUS_INVALID: no such slot, or twice; STATUS_WRONG_CPU;
// STATUS_BUSY: not started, or in a loop. Then nothing has been sent.
enum status smp_wake_slots(struct smp *smp, const uint32_t *slots, size_t count,
                           struct smp_round *round);

// How many rounds may give an AP a turn. One that has lost two would lose the next as well, and
// delay all others each time.
#define SMP_TURNS 2u

// Lets every AP that has arrived and has not run the caller's function yet run it, one after
// another in the order of slots. Who takes longer than the plan's turn_us loses its turn. Returns
// how many ran it. To be called right behind smp_wake: an AP waits for its turn as long as a round
// and all turns can take, and then parks until the next round.
uint32_t smp_take_turns(struct smp *smp);

// Every AP that still waits for its turn halts, until the next round.
void smp_close_turns(struct smp *smp);

// After the last round: waits, at most the plan's time-out, for those who are missing. Who comes
// now is late, and keeps its record.
void smp_await_late(struct smp *smp);

// Puts every AP back to where INIT leaves it, waiting for a STARTUP, with nothing of the engine's
// in use: all given ones, and after a message to all but self everybody. STATUS_TIMEOUT: a message
// did not go out, and an AP may not be held.
enum status smp_hold(struct smp *smp);

// For a caller whose code goes away while the engine's memory stays: every entry, every vector and
// the page's start lead to the loop in the page, so that a processor that still comes ends there.
// Nothing can be woken afterwards.
void smp_seal(struct smp *smp);

// ---- work for those who are awake ----
//
// Behind a wake, and behind the turns if there are any; APs that somebody else has woken
// (SMP_FIRMWARE) take no calls. Of the caller's processor alone, with interrupts off, since each
// may send a message; STATUS_WRONG_CPU from another. Each is bounded by what it says and, on an
// xAPIC that takes no more messages, one SMP_APIC_IDLE_US for each of its waits.
//
// What an AP is called for has the stack, the state and the rules of smp_host.run: it leaves CR3,
// GDT, IDT and TR alone, keeps interrupts off, calls nothing of the engine's but smp_find_self and
// smp_barrier_wait, and should return. Whoever does not is left alone, and named.

// An AP as calls see it.
enum smp_call_state {
    SMP_CALL_ABSENT,  // it did not come to where it takes calls, or has its turn before it
    SMP_CALL_WAITS,   // parked: it can be called
    SMP_CALL_SENT,    // called, and has not begun
    SMP_CALL_RUNS,    // has begun, and not returned
    SMP_CALL_FAULTED, // took an exception or an NMI, and halted
    SMP_CALL_GONE,    // handed over
};

struct smp_call_account {
    enum smp_call_state state;
    enum smp_parking parking; // how it does wait, which may be less than was asked for
    uint64_t wake_ticks;      // of its last call, if it began it: from the store to its first act,
                              // by TSCs that are taken to be equal; 0 if they are not
    uint64_t work_ticks;      // of the last that returned: on the AP, by its own TSC
    uint64_t first, end;      // of a loop that it began: the items that it has, or had last
};
// A slot that is none is absent.
struct smp_call_account smp_call_of(const struct smp *smp, uint32_t slot);

// What became of the calls that were under way.
struct smp_calls {
    uint32_t called;        // APs
    uint32_t returned;      // of them
    uint32_t missing;       // of them: did not return in time, or took a fault
    uint32_t first_missing; // the lowest slot of these; 0: none
    uint64_t ticks;         // from the first call to the last return, by the caller's TSC
};

// Has the AP in this slot run `work`, or (slot 0) each that waits. Does not wait, but for who has
// only just arrived, at most the plan's time-out; and those who are parked by INIT it wakes, in a
// round as that of smp_wake_slots. STATUS_BUSY: the AP is in a call, or cannot be called; to all,
// nobody waits. STATUS_INVALID: no such slot, no work. STATUS_TIMEOUT: an NMI did not leave, and
// nobody behind it was called; smp_wait tells who has come back.
enum status smp_call(struct smp *smp, uint32_t slot,
                     void (*work)(void *context, const struct smp_self *self), void *context);

// Waits until all who were called since the last smp_wait have returned, at most `timeout_us`.
// STATUS_TIMEOUT: some did not; smp_call_of tells for each, and if it comes back later, it waits
// again. A store that an AP in MWAIT did not see is followed by an NMI after SMP_NUDGE_US (Intel's
// erratum APL30, and others); from here and from smp_for, so a caller who meets the APs by other
// means before, as at a barrier, has them wait by another parking.
enum status smp_wait(struct smp *smp, uint64_t timeout_us, struct smp_calls *calls);
#define SMP_NUDGE_US 1000u

// From now on all who wait do so in this way; from SMP_PARK_INIT they are woken for it. With
// SMP_PARK_INIT they leave C: they are on their last instructions there, and smp_hold is for a
// caller whose code goes away. STATUS_TIMEOUT as smp_wait, or an NMI did not leave, and some
// do not know of it; STATUS_BUSY: a call is under way, wait first; STATUS_INVALID: no such parking.
enum status smp_park(struct smp *smp, enum smp_parking parking, uint64_t timeout_us,
                     struct smp_calls *calls);

// A loop over items 0 to count-1, in chunks, by all who wait and the caller, each taking the next
// chunk when it is done with one. Afterwards each item was done once, but for those of the
// processors that did not come back, which are told (smp_call_of) and not done again.
struct smp_loop {
    uint64_t count; // below 2^40
    uint32_t grain; // items of a chunk; 0: an eighth of each processor's equal share
    void (*body)(void *context, uint64_t first, uint64_t end, const struct smp_self *self);
    void *context;
};

struct smp_loop_result {
    struct smp_calls calls; // the caller itself is not counted
    uint64_t done;          // items; the rest are in the hands of who is missing
};

// STATUS_TIMEOUT as smp_wait, with the time counted from when the caller finds no more items.
// STATUS_BUSY: a call is under way; wait first. STATUS_INVALID: too many items.
enum status smp_for(struct smp *smp, const struct smp_loop *loop, uint64_t timeout_us,
                    struct smp_loop_result *result);

// A barrier for `count` processors, in memory that each of them can write at the same address. Who
// waits longer than its time breaks it, for everybody and for good, so that nobody waits for a dead
// one twice. Its fields are its own.
struct smp_barrier {
    uint64_t state, ticks_per_us;
    uint32_t count;
};
void smp_barrier_open(const struct smp *smp, uint32_t count, struct smp_barrier *barrier);
// On any processor. STATUS_TIMEOUT: it is broken.
enum status smp_barrier_wait(struct smp_barrier *barrier, uint64_t timeout_us);

// Where a processor goes on, for good, as if called: entry(argument) on this stack, with this root
// of page tables (0: the engine's), CR4 and all else as in smp_host.run. Those tables hold the
// engine's code at its address; and its memory at its physical address until the entry has loaded a
// GDT, an IDT and a TSS of its own, the IDT no later than the GDT, or the first exception shuts the
// machine down. No NMI of the engine's comes behind.
struct smp_handover {
    uint64_t entry, stack, cr3, argument; // `stack`: its top, 16-byte aligned
};

// Gives the AP in this slot, which waits, to the caller; smp_wake_slots takes it back. Returns when
// it is on its way. STATUS_BUSY as smp_call; STATUS_TIMEOUT: it did not answer in `timeout_us`, and
// will not go there any more; STATUS_INVALID: no such slot, no entry, a stack or a CR3 that is not
// aligned.
enum status smp_hand_over(struct smp *smp, uint32_t slot, const struct smp_handover *to,
                          uint64_t timeout_us);

// ---- the parts of a round ----

// For SMP_FIRMWARE and for trampolines of others. smp_begin_round clears what the last round left.
// smp_end_round counts who has come, with times since `start`, a TSC value, into a round that the
// caller has set to 0. smp_open_turns and smp_follow_turns are smp_take_turns in two steps; the
// first returns 0 where nobody is to have a turn.
void smp_begin_round(struct smp *smp);
void smp_end_round(struct smp *smp, uint64_t start, struct smp_round *round);
uint32_t smp_open_turns(struct smp *smp);
uint32_t smp_follow_turns(struct smp *smp, uint32_t first);

// On an AP that somebody else has started and wants back, on whatever stack and tables: checks in,
// and runs the caller's function in its turn. They return; an AP with no slot does nothing.
void smp_visit(const struct smp *smp);
void smp_visit_turn(const struct smp *smp);

// On any processor that reaches smp by this view: its APIC ID by its own APIC, and its slot; false
// where it has none.
bool smp_find_self(const struct smp *smp, struct smp_self *self);

// Messages of the caller's own. To an AP, or (slot 0) to all but self; past the filter.
// STATUS_TIMEOUT: the message before did not leave.
enum status smp_send(struct smp *smp, uint32_t slot, uint32_t command);

// Spins. Rounded up, so that no wait is shorter than asked.
void smp_wait_us(const struct smp *smp, uint64_t us);

// Waits for a fault of this AP's in long mode, at most `us`. False: there is none.
bool smp_await_fault(const struct smp *smp, uint32_t slot, uint64_t us);

// ---- what became of them ----

// How far an AP came. Its record moves from each to the next:
//
//     none -> real -> protected -> long -> c -> ready -> done
//
// c is its first act in C; ready, it has checked in; done, it has run the caller's function. In
// real mode it has not found its record yet, and leaves a mark in the page instead.
enum smp_stage {
    SMP_STAGE_NONE,
    SMP_STAGE_REAL,
    SMP_STAGE_PROTECTED,
    SMP_STAGE_LONG,
    SMP_STAGE_C,
    SMP_STAGE_READY,
    SMP_STAGE_DONE,
};

// A fault that a processor met, in whatever mode.
struct smp_fault {
    bool valid;
    enum smp_stage mode; // real, protected, long; c and later mean C
    uint32_t vector, error;
    uint64_t ip, cr2; // ip is physical before long mode
};

// Everything that is known of one AP. TSC stamps are by its own counter.
struct smp_account {
    uint32_t slot, cpu, apic_id;
    uint64_t entry, stack; // where it goes on in C, and the top of its stack

    // The evidence for a verdict. mark_shared, page_damaged and stray are looked at only where
    // nothing else says what became of the AP.
    enum smp_stage stage; // by its own record, in the last round
    enum smp_stage mark;  // by the mark that it leaves in the page, NONE..PROTECTED
    bool mark_shared;     // another AP leaves its mark in the same place
    bool arrived;         // in the last round, before its time-out
    bool done;            // has run the caller's function, in whatever round
    uint32_t lost;        // rounds in which it did not arrive in time
    bool page_damaged;    // the page is not what it was when it was proved
    bool by_firmware;     // somebody else was to start it (SMP_FIRMWARE)
    bool stray;           // a processor with its APIC ID came and found no record
    bool no_nx;           // it stopped by itself: it has no NX, and the page tables use it
    bool in_call;         // smp_wait gave it up, and it has not returned since
    struct smp_fault fault;

    // Its way.
    uint32_t tries;      // sequences sent to it in the last round that it needed
    bool startup_helped; // not the first STARTUP of its last sequence, but a further one, woke it
    uint64_t us;         // first message to its first act in C, in the last round it arrived
    uint64_t started;    // TSC of the caller just before the last round's first message
    uint64_t tsc_real, tsc_protected, tsc_long, tsc_c; // 0: not there; valid as far as `stage`

    // As INIT left it; valid from SMP_STAGE_PROTECTED on.
    uint32_t bist, signature; // EAX and EDX: self-test, CPUID signature
    uint32_t cr0, cr4;
    uint64_t efer, apic_base;
};

// `slot` 1..count-1, or 0 for what is known of this one, of which there is no verdict. A fault is
// the first of the last round's last try: with several rounds, examine after each.
struct smp_account smp_examine(const struct smp *smp, uint32_t slot);

// The furthest stage that it shows, by its record or by a mark that is its own alone.
enum smp_stage smp_account_stage(const struct smp_account *account);

size_t smp_count(const struct smp *smp);                       // processors, slot 0 included
uint32_t smp_rounds(const struct smp *smp);                    // begun so far
uint32_t smp_slot_of(const struct smp *smp, uint32_t apic_id); // UINT32_MAX: it has none

// Processors that came and found no record of theirs. They are counted, named as far as there is
// room, and parked. An ID is SMP_NO_ID where its processor has not written it yet.
#define SMP_UNLISTED_MAX 63u
#define SMP_NO_ID        UINT32_MAX // of no processor: every APIC's ID for "all"
uint32_t smp_unlisted_count(const struct smp *smp);
uint32_t smp_unlisted_id(const struct smp *smp, uint32_t place);
bool smp_came_unlisted(const struct smp *smp, uint32_t apic_id);

// Why it failed. Pure; says "unknown" rather than something false.
enum smp_cause {
    SMP_CAUSE_NONE, // it arrived in every round, ran the caller's function, and took no fault since
    SMP_CAUSE_NEVER_FETCHED,
    SMP_CAUSE_DAMAGED_PAGE,
    SMP_CAUSE_STOPPED_IN_REAL,
    SMP_CAUSE_STOPPED_IN_PROTECTED,
    SMP_CAUSE_STOPPED_IN_LONG,
    SMP_CAUSE_STOPPED_IN_C,
    SMP_CAUSE_FAULT,
    SMP_CAUSE_WRONG_ID,
    SMP_CAUSE_LATE,
    SMP_CAUSE_SILENT,
    SMP_CAUSE_INTERMITTENT,
    SMP_CAUSE_NOT_RUN_BY_FIRMWARE,
    SMP_CAUSE_NO_NX,
    SMP_CAUSE_NO_RETURN,
    SMP_CAUSE_UNKNOWN,
    SMP_CAUSES,
};
enum smp_cause smp_verdict(const struct smp_account *account);

// A word ("never-fetched"), and a clause whose subject is the processor ("it never fetched ...").
const char *smp_cause_word(enum smp_cause cause);
const char *smp_cause_story(enum smp_cause cause);
const char *smp_stage_word(enum smp_stage stage); // "protected"; c and ready are both "c"
const char *smp_fault_word(uint32_t vector);      // "page fault"
const char *smp_status_story(enum status status); // a sentence for each

// All of an account in a line for a log: "CPU 2 (APIC ID 5) failed to start: it never ...". Cut
// where `bytes`, which is not 0, are too few; returns its length.
#define SMP_SENTENCE_BYTES 256u // enough
size_t smp_sentence(const struct smp_account *account, char *buffer, size_t bytes);

// ---- on purpose ----

// Makes an AP fail in a known way, after the proofs: for trials of whoever judges it, and for
// holding a processor at a stage while one looks at it. Between smp_fill_page and a round.
enum smp_defect {
    SMP_HANG_IN_REAL,
    SMP_HANG_IN_PROTECTED,
    SMP_HANG_IN_LONG,
    SMP_HANG_IN_C,  // before it checks in
    SMP_UD_IN_REAL, // an undefined opcode
    SMP_UD_IN_PROTECTED,
    SMP_UD_IN_LONG,
    SMP_UD_IN_C,
    SMP_UD_WHEN_DONE, // after its turn, when the round is over for everybody
    SMP_LATE,         // sleeps past its time-out before it reaches C
    SMP_BAD_STACK,    // in its guard page
    SMP_BAD_ENTRY,    // the null page
    SMP_BAD_CR3,      // an empty page
    SMP_WRONG_ID,     // its record bears an ID that it has not
    SMP_BAD_PAGE,     // the page's first bytes are a loop; whatever the slot
};
void smp_break(struct smp *smp, uint32_t slot, enum smp_defect defect);

// ---- after a reset ----

// Where the records of the processors lie, for whoever keeps that in memory that a reset leaves
// alone; SMP_RECORD_BYTES each, in the order of slots.
#define SMP_RECORD_BYTES 4096u
uint64_t smp_records_phys(const struct smp *smp);

// A processor that was on its way when the machine went down.
struct smp_under_way {
    uint32_t cpu, apic_id;
    enum smp_stage stage;
};

// Looks through the surviving records of an engine that is gone for processors that had reached
// protected mode in this round and not checked in. Whatever is not what an engine would leave is
// passed over. Returns how many there are; the first `capacity` are written.
size_t smp_read_remains(const void *records, size_t count, uint32_t round, size_t capacity,
                        struct smp_under_way *found);
