// The machine: messages, time, and hw.h for whichever processor asks. Surprise: where a
// compiler counts basic blocks (-fsanitize-coverage=trace-pc) stands a call of ours, at which a
// processor may lose its core or be stopped by INIT, in the midst of the engine's C.
#define _GNU_SOURCE // syscall

#include "threads.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "hw.h"
#include "lapic.h"

// struct core.word
#define ASLEEP  0x01u // it executes nothing
#define WAITS   0x02u // for STARTUP, stopped by INIT
#define INIT    0x04u // messages that have not been taken
#define STARTUP 0x08u
#define NMI     0x10u
#define CALL    0x20u // firmware's own
#define OFF     0x40u // the machine is switched off

#define NEVER UINT32_MAX // no step of time

// Looks of the caller's processor at others that are busy before it leaves them its core, and for
// how long.
#define LOOKS_AWAKE 200u
#define NAP_US      50u

// One in so many basic blocks gives its core away.
#define YIELD_ONE_IN 32u

#define BOOT_CR0 0x60000010u // as INIT leaves it

#define COM1             0x3f8u
#define SERIAL_REGISTERS 8u
#define LCR              3u
#define LCR_DLAB         0x80u
#define LSR              5u
#define LSR_IDLE         0x60u

struct core cores[CORES_MAX];
_Thread_local struct core *self;
_Alignas(4096) uint8_t page[4096];
char wire[WIRE_BYTES];
size_t wire_length;
void (*threads_on_wait)(void);

static size_t count = 1; // of this machine
static _Atomic uint64_t now = 1;
static _Atomic uint32_t step; // of time; never NEVER
static _Atomic uint32_t bell; // rung at each step, and at each message to who is awake
static uint32_t icr_high;
static uint8_t serial[SERIAL_REGISTERS];
static bool fenced; // a fence, and no message since

static _Noreturn void die(const char *what, uint64_t number)
{
    fprintf(stderr, "threads: %s %#llx\n", what, (unsigned long long)number);
    abort();
}

// xorshift64*
uint64_t threads_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1dull;
}

// By system call, of which ThreadSanitizer knows nothing: sleeping synchronises nobody.
static void sleep_while(_Atomic uint32_t *word, uint32_t value)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void rouse(_Atomic uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

static void ring(void)
{
    atomic_fetch_add_explicit(&bell, 1, memory_order_relaxed);
    rouse(&bell);
}

static uint32_t word_of(const struct core *core)
{
    return atomic_load_explicit(&core->word, memory_order_relaxed);
}

// ---- time ----

static bool has_nothing_to_do(const struct core *core)
{
    const uint32_t word = word_of(core);

    if (word & (INIT | STARTUP | NMI | CALL | OFF))
        return false;
    return word & ASLEEP || atomic_load_explicit(&core->seen, memory_order_relaxed) ==
                                atomic_load_explicit(&step, memory_order_relaxed);
}

static bool all_have_nothing_to_do(void)
{
    for (size_t i = 1; i < count; i++) {
        if (!has_nothing_to_do(&cores[i]))
            return false;
    }
    return true;
}

// Time passes: by now whoever was sent an INIT is stopped, and what it wrote is there.
static void pass(void)
{
    bool awake = false;

    for (size_t i = 1; i < count; i++) {
        (void)atomic_load_explicit(&cores[i].held, memory_order_acquire);
        awake = awake || !(word_of(&cores[i]) & ASLEEP);
    }
    atomic_fetch_add_explicit(&now, STEP_US * TICKS_PER_US, memory_order_relaxed);
    atomic_fetch_add_explicit(&step, 1, memory_order_relaxed);
    if (awake)
        ring();
}

static void wait_on_slot_0(void)
{
    static uint32_t looks;

    if (threads_on_wait)
        threads_on_wait();
    if (all_have_nothing_to_do()) {
        looks = 0;
        pass();
    } else if (++looks < LOOKS_AWAKE) {
        sched_yield();
    } else {
        usleep(NAP_US);
    }
}

void threads_settle(void)
{
    for (uint32_t looks = 0; !all_have_nothing_to_do(); looks++)
        looks < LOOKS_AWAKE ? sched_yield() : usleep(NAP_US);
    for (size_t i = 1; i < count; i++)
        (void)atomic_load_explicit(&cores[i].held, memory_order_acquire);
}

void threads_let_pass(uint64_t us)
{
    for (uint64_t passed = 0; passed < us; passed += STEP_US) {
        threads_settle();
        pass();
    }
    threads_settle();
}

// ---- a processor's life ----

enum why { INTERRUPTED = 1, PARKED };

// The stub of the NMI.
static bool is_nudge(void)
{
    struct fault_frame frame = {.vector = 2};
    const bool yes = fault_is_nudge(&frame);

    self->nudges += yes;
    return yes;
}

static void stop_point(void)
{
    const uint32_t word = word_of(self);

    if (word & (INIT | OFF))
        longjmp(self->reset, INTERRUPTED);
    if (!(word & NMI))
        return;
    atomic_fetch_and_explicit(&self->word, ~NMI, memory_order_relaxed);
    if (self->lcpu && !self->in_handler && !is_nudge())
        threads_fault(2, (uintptr_t)stop_point, 0);
}

void __sanitizer_cov_trace_pc(void);
void __sanitizer_cov_trace_pc(void)
{
    if (!self || word_of(self) & ASLEEP)
        return;
    const bool lingers = atomic_load_explicit(&self->fate.lingers, memory_order_relaxed);
    if (lingers || threads_random(&self->random) % YIELD_ONE_IN == 0)
        sched_yield();
    if (self != cores)
        stop_point();
}

static void forget(struct diary *diary)
{
    atomic_store_explicit(&diary->stage, STAGE_NONE, memory_order_relaxed);
    atomic_store_explicit(&diary->faulted, false, memory_order_relaxed);
    atomic_store_explicit(&diary->without_nx, false, memory_order_relaxed);
}

// From now on time waits for this processor, unless it sleeps.
static void be_busy(void)
{
    atomic_store_explicit(&self->seen, NEVER, memory_order_relaxed);
}

// Takes what is in `word`; false if something else came in between.
static bool take(uint32_t word, uint32_t next)
{
    return atomic_compare_exchange_strong_explicit(&self->word, &word, next, memory_order_acquire,
                                                   memory_order_relaxed);
}

static void start(void)
{
    self->lcpu = NULL;
    self->in_handler = false;
    for (uint32_t stage = 0; stage < STAGE_C; stage++)
        self->dally_us[stage] =
            atomic_load_explicit(&self->fate.dally_us[stage], memory_order_relaxed);
    self->stumbles_in =
        atomic_exchange_explicit(&self->fate.stumbles_in, STAGE_NONE, memory_order_relaxed);
    atomic_fetch_add_explicit(&self->diary.starts, 1, memory_order_relaxed);
    threads_walk();
}

static void serve(uint32_t word)
{
    if (word & OFF) {
        atomic_store_explicit(&self->word, ASLEEP, memory_order_release);
    } else if (word & INIT) {
        forget(&self->diary);
        atomic_fetch_add_explicit(&self->held, 1, memory_order_release);
        if (take(word, (word & ~(INIT | NMI)) | WAITS)) // else it comes back here
            atomic_fetch_add_explicit(&self->diary.inits, 1, memory_order_relaxed);
    } else if (word & STARTUP) {
        if (take(word, word & ~(STARTUP | WAITS | ASLEEP)))
            start();
    } else if (word & CALL) {
        if (take(word, word & ~(CALL | ASLEEP)))
            atomic_load_explicit(&self->call, memory_order_relaxed)(
                atomic_load_explicit(&self->argument, memory_order_relaxed));
    } else if (word & NMI) {
        if (take(word, word & ~(NMI | ASLEEP)) && self->lcpu && !self->in_handler && !is_nudge())
            threads_fault(2, PAGE_PHYS + PAGE_PARK, 0);
    } else {
        sleep_while(&self->word, word);
    }
}

static void *live(void *core)
{
    self = core;
    (void)setjmp(self->reset);
    for (;;) {
        be_busy();
        const uint32_t word =
            atomic_fetch_or_explicit(&self->word, ASLEEP, memory_order_acquire) | ASLEEP;
        serve(word);
    }
    return NULL;
}

void threads_park(void)
{
    longjmp(self->reset, PARKED);
}

void threads_dally(uint32_t us)
{
    const uint64_t until =
        atomic_load_explicit(&now, memory_order_relaxed) + us * (uint64_t)TICKS_PER_US;

    while (us != 0 && atomic_load_explicit(&now, memory_order_relaxed) < until)
        hw_pause();
}

// ---- switching it on and off ----

void threads_start(void)
{
    self = cores;
    for (size_t i = 1; i < CORES_MAX; i++) {
        pthread_t thread;
        atomic_store(&cores[i].word, ASLEEP);
        if (pthread_create(&thread, NULL, live, &cores[i]) != 0)
            die("no thread for processor", i);
        pthread_detach(thread);
    }
}

void threads_power_on(const uint32_t *apic_ids, size_t wanted, uint64_t seed,
                      enum smp_apic_mode mode)
{
    count = wanted;
    wire_length = 0;
    fenced = false;
    for (size_t i = 0; i < count; i++) {
        struct core *core = &cores[i];
        memset(&core->fate, 0, sizeof core->fate);
        memset(&core->diary, 0, sizeof core->diary);
        core->apic_id = apic_ids[i];
        core->apic_base = APIC_VIEW | APIC_BASE_EN | (i == 0 ? APIC_BASE_BSP : 0) |
                          (mode == SMP_X2APIC ? APIC_BASE_EXTD : 0);
        core->pat = 0;
        core->lcpu = NULL;
        core->in_handler = false;
        core->random = seed * CORES_MAX + i + 1;
    }
}

void threads_power_off(void)
{
    for (size_t i = 1; i < count; i++) {
        atomic_fetch_or_explicit(&cores[i].word, OFF, memory_order_relaxed);
        rouse(&cores[i].word);
    }
    ring();
    for (size_t i = 1; i < count; i++) {
        while (atomic_load_explicit(&cores[i].word, memory_order_acquire) != ASLEEP)
            sched_yield();
    }
}

// ---- messages ----

// A message that no fence stands before carries nothing but itself.
static void put(struct core *core, uint32_t keep, uint32_t add, bool carries)
{
    uint32_t word = word_of(core);

    if (carries) {
        while (!atomic_compare_exchange_weak_explicit(&core->word, &word, (word & keep) | add,
                                                      memory_order_release, memory_order_relaxed))
            ;
    } else {
        while (!atomic_compare_exchange_weak_explicit(&core->word, &word, (word & keep) | add,
                                                      memory_order_relaxed, memory_order_relaxed))
            ;
    }
    if (word & ASLEEP)
        rouse(&core->word);
    else
        ring();
}

static bool is_lost(struct fate *fate)
{
    const uint32_t lost = atomic_load_explicit(&fate->lost_startups, memory_order_relaxed);

    if (lost != 0 && lost != UINT32_MAX)
        atomic_store_explicit(&fate->lost_startups, lost - 1, memory_order_relaxed);
    return lost != 0;
}

// SDM vol. 3A, "Interrupt Command Register (ICR)".
static void deliver(struct core *core, uint32_t command, bool carries)
{
    const uint32_t word = word_of(core);

    switch (command & ICR_DELIVERY_MASK) {
    case ICR_DELIVERY_INIT: // a STARTUP before it is forgotten
        put(core, ASLEEP | NMI | OFF, INIT, carries);
        break;
    case ICR_DELIVERY_STARTUP:
        if (word & (WAITS | INIT) && !(word & STARTUP) && !is_lost(&core->fate))
            put(core, UINT32_MAX, STARTUP | (command & 0xff) << 8, carries);
        break;
    case ICR_DELIVERY_NMI:
        if (!(word & (WAITS | INIT)))
            put(core, UINT32_MAX, NMI, carries);
        break;
    default:
        die("no such message:", command);
    }
}

static void send(uint32_t destination, uint32_t command, bool carries)
{
    const bool to_all = (command & ICR_TO_ALL_BUT_SELF) == ICR_TO_ALL_BUT_SELF;
    size_t found = 0;

    for (size_t i = 1; i < count; i++) {
        if (to_all || cores[i].apic_id == destination) {
            deliver(&cores[i], command, carries);
            found++;
        }
    }
    if (found == 0 && !to_all)
        die("a message for nobody:", destination);
}

void threads_call(struct core *core, void (*call)(const struct smp *smp), const struct smp *smp)
{
    atomic_store_explicit(&core->call, call, memory_order_relaxed);
    atomic_store_explicit(&core->argument, smp, memory_order_relaxed);
    put(core, UINT32_MAX, CALL, true);
}

void threads_send_startup(struct core *core)
{
    put(core, UINT32_MAX, STARTUP | PAGE_PHYS >> 12 << 8, true);
}

void threads_send_nmi(struct core *core)
{
    deliver(core, ICR_NMI, false);
}

bool threads_is_held(const struct core *core)
{
    return (word_of(core) & ~0xff00u) == (ASLEEP | WAITS);
}

bool threads_is_asleep(const struct core *core)
{
    return word_of(core) & ASLEEP;
}

// ---- exceptions ----

void threads_fault(uint32_t vector, uint64_t ip, uint64_t cr2)
{
    const struct fault_frame frame = {.vector = vector, .rip = ip, .rsp = self->lcpu->stack};

    self->in_handler = true;
    self->cr2 = cr2;
    atomic_store_explicit(&self->diary.faulted, true, memory_order_relaxed);
    fault_report(&frame);
}

// ---- hw.h ----

uint64_t hw_tsc(void)
{
    return atomic_fetch_add_explicit(&now, 1, memory_order_relaxed) + 1;
}

static void sleep_until_nmi(uint32_t nudges)
{
    while (self->nudges == nudges)
        hw_pause();
}

// An NMI that came after the look counts.
void hw_await_nmi(const _Atomic uint32_t *word, uint32_t value)
{
    const uint32_t before = self->nudges;

    while (atomic_load_explicit(word, memory_order_relaxed) == value && self->nudges == before)
        sleep_until_nmi(before);
}

void hw_await_store(const _Atomic uint32_t *word, uint32_t value)
{
    const uint32_t before = self->nudges;

    (void)word, (void)value;
    do
        hw_pause();
    while (self->nudges == before &&
           atomic_load_explicit(&self->fate.misses_stores, memory_order_relaxed));
}

uint64_t hw_after_nmi(uint64_t ip)
{
    return ip;
}

// Its own thread goes on there: neither stack nor page tables are the host's.
_Noreturn void hw_hand_over(uint64_t entry, uint64_t stack, uint64_t cr3, uint64_t argument)
{
    (void)stack, (void)cr3;
    ((void (*)(uint64_t))(uintptr_t)entry)(argument);
    die("came back from where it was handed over to:", entry);
}

void hw_pause(void)
{
    if (self == cores) {
        wait_on_slot_0();
        return;
    }
    const uint32_t seen = atomic_load_explicit(&step, memory_order_relaxed);
    stop_point();
    atomic_store_explicit(&self->seen, seen, memory_order_relaxed);
    for (;;) {
        const uint32_t rung = atomic_load_explicit(&bell, memory_order_relaxed);
        if (atomic_load_explicit(&step, memory_order_relaxed) != seen ||
            word_of(self) & (INIT | NMI | OFF))
            break;
        sleep_while(&bell, rung);
    }
    be_busy();
    stop_point();
}

void hw_halt(void)
{
    threads_park();
}

void hw_jump(uint64_t address)
{
    if (address != PAGE_PHYS + PAGE_PARK)
        die("jumps to", address);
    threads_park();
}

void hw_undefined(void)
{
    threads_fault(6, (uintptr_t)hw_undefined, 0);
}

uint64_t hw_rdmsr(uint32_t msr)
{
    switch (msr) {
    case MSR_IA32_APIC_BASE:
        return self->apic_base;
    case MSR_X2APIC(XAPIC_ID):
        return self->apic_id;
    case MSR_EFER:
        return 0;
    default:
        die("reads MSR", msr);
    }
}

void hw_wrmsr(uint32_t msr, uint64_t value)
{
    switch (msr) {
    case MSR_IA32_APIC_BASE:
        self->apic_base = value;
        break;
    case MSR_X2APIC(XAPIC_ICR_LOW):
        send((uint32_t)(value >> 32), (uint32_t)value, fenced);
        fenced = false;
        break;
    case MSR_IA32_PAT:
        self->pat = value;
        break;
    default:
        die("writes MSR", msr);
    }
}

void hw_fence_before_x2apic(void)
{
    fenced = true;
}

uint32_t hw_mmio_read32(uint64_t address)
{
    switch (address - APIC_VIEW) {
    case XAPIC_ID:
        return self->apic_id << 24;
    case XAPIC_ICR_LOW: // at times the message before has not left yet
        return threads_random(&self->random) % 64 == 0 ? ICR_STATUS_PENDING : 0;
    default:
        die("reads device memory at", address);
    }
}

// Uncached: what was written before is there before it. (SDM vol. 3A, "Strengthening or Weakening
// the Memory-Ordering Model".)
void hw_mmio_write32(uint64_t address, uint32_t value)
{
    switch (address - APIC_VIEW) {
    case XAPIC_ICR_HIGH:
        icr_high = value;
        break;
    case XAPIC_ICR_LOW:
        send(icr_high >> 24, value, true);
        break;
    default:
        die("writes device memory at", address);
    }
}

// Nobody asks for these: no register is in doubt, and no serial port lies in memory.
bool hw_read_msr_safely(uint32_t msr, uint64_t *value)
{
    *value = 0;
    die("reads MSR", msr);
}

bool hw_write_msr_safely(uint32_t msr, uint64_t value)
{
    (void)value;
    die("writes MSR", msr);
}

uint8_t hw_mmio_read8(uint64_t address)
{
    die("reads device memory at", address);
}

void hw_mmio_write8(uint64_t address, uint8_t value)
{
    (void)value;
    die("writes device memory at", address);
}

// Of an Intel processor: two threads, four cores, by leaf 0xb; MONITOR but on one.
struct cpuid hw_cpuid(uint32_t leaf, uint32_t subleaf)
{
    static const struct cpuid levels[] = {{1, 2, 0x100, 0}, {3, 8, 0x201, 0}, {0, 0, 2, 0}};

    if (leaf == 0)
        return (struct cpuid){.eax = 0xb};
    if (leaf == 1)
        return (struct cpuid){.ecx = self == &cores[CORE_WITHOUT_MONITOR] ? 0 : 1u << 3};
    if (leaf == 0xb)
        return levels[subleaf < 2 ? subleaf : 2];
    return (struct cpuid){0};
}

uint64_t hw_read_cr0(void)
{
    return BOOT_CR0;
}

uint64_t hw_read_cr2(void)
{
    return self->cr2;
}

uint64_t hw_read_cr3(void)
{
    return PAGE_PHYS;
}

uint64_t hw_read_cr4(void)
{
    return 0;
}

struct hw_tables hw_read_tables(void)
{
    return (struct hw_tables){.gdt = self->lcpu->gdtr};
}

void hw_flush(const void *memory, uint64_t bytes)
{
    (void)memory, (void)bytes;
}

void hw_drain_writes(void)
{
}

// A serial port that is never busy. What is written to it is kept as plain memory, so that two who
// write at once are a race.
uint8_t hw_in8(uint16_t port)
{
    return port == COM1 + LSR ? LSR_IDLE : serial[port % SERIAL_REGISTERS];
}

void hw_out8(uint16_t port, uint8_t value)
{
    if (port != COM1 || serial[LCR] & LCR_DLAB)
        serial[port % SERIAL_REGISTERS] = value;
    else if (wire_length < WIRE_BYTES)
        wire[wire_length++] = (char)value;
    else
        die("too much is written to port", port);
}

// ---- ThreadSanitizer's options ----

// The races that are left alone on purpose, each with its reason.
extern const char races_left_alone[];
__asm__(".pushsection .rodata\n"
        "races_left_alone: .incbin \"tests/unit/smp/threads.supp\"\n"
        ".byte 0\n"
        ".popsection");

const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return races_left_alone;
}

// A report names both who race as long as both are remembered, and a suppression may be for either.
// The longest memory that there is: with an eighth of it, one run in three had forgotten the other.
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "history_size=7";
}
