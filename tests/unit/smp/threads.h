// A machine whose processors are threads of the host, behind the engine's own seam hw.h: what one
// of them does, it does at the same time as the others. This thread is the processor of slot 0; the
// others wait for its messages, walk through the trampoline's page as the assembler does
// (threads_walk.c), and run the engine's C.
//
// Surprises: time stands still while a processor that is awake has something to do, so nobody is
// late because the host is busy, and a script decides what happens. And no two processors are
// synchronised by anything here, but by what the hardware promises: a message that was sent behind
// a fence carries what was written before it; a processor that INIT has stopped writes no more.
#pragma once

#include <setjmp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fault.h"
#include "image_layout.h"
#include "records.h"
#include "smp.h"

#define CORES_MAX            16u // with slot 0; a thread for each of the others
#define PAGE_PHYS            0x9e000u
#define CORE_WITHOUT_MONITOR 3u
#define APIC_VIEW            0xfee00000u
#define TICKS_PER_US         10000u
#define TSC_HZ               (TICKS_PER_US * 1000000ull)

// How far time moves once nobody has anything to do. A sixteenth of the waits, see watch.h.
#define STEP_US 25u

// What a processor is told of the script, for its next start; all 0: nothing happens.
struct fate {
    _Atomic uint32_t lost_startups;     // so many more are lost on it
    _Atomic uint32_t dally_us[STAGE_C]; // before it comes to the stage behind this one
    _Atomic uint32_t
        stumbles_in; // an undefined opcode in this stage, of one start; STAGE_NONE: none
    _Atomic bool no_nx;
    _Atomic bool lingers;       // gives its core away all the time
    _Atomic bool misses_stores; // in MWAIT, until an NMI
};

// What a processor has done, by its own book: since INIT last stopped it, or (behind the line)
// since the machine was switched on.
struct diary {
    _Atomic uint32_t stage;
    _Atomic bool faulted, without_nx;
    // ----
    _Atomic uint32_t inits, starts, strays, runs;
};

struct core {
    uint32_t apic_id;
    struct fate fate;
    struct diary diary;
    // Its own.
    uint64_t apic_base, pat, cr2, random;
    struct lcpu *lcpu;                       // its record, from long mode on
    bool in_handler;                         // of a fault: no NMI interrupts it
    uint32_t nudges;                         // NMIs that were no fault
    uint32_t dally_us[STAGE_C], stumbles_in; // its fate, as it was at its start
    // Private.
    jmp_buf reset;
    void (*_Atomic call)(const struct smp *smp);
    const struct smp *_Atomic argument;
    _Atomic uint32_t word; // messages that wait, and whether it sleeps
    _Atomic uint32_t held; // how often INIT has stopped it
    _Atomic uint32_t seen; // the step of time in which it had nothing to do
};

extern struct core cores[CORES_MAX]; // [0] is the caller's own
extern _Thread_local struct core *self;
extern _Alignas(4096) uint8_t page[4096]; // where STARTUP begins, as everybody sees it

// What has come out of the serial port.
#define WIRE_BYTES 65536u
extern char wire[WIRE_BYTES];
extern size_t wire_length;

// Called whenever the caller's processor waits, if it is set.
extern void (*threads_on_wait)(void);

uint64_t threads_random(uint64_t *state);

// Starts the threads, once.
void threads_start(void);

// Switches the machine on: processors with these IDs, halted by their firmware, with nothing in
// their fates and diaries. `seed` rules when threads give way to one another; with SMP_X2APIC the
// firmware has switched their x2APICs on.
void threads_power_on(const uint32_t *apic_ids, size_t count, uint64_t seed,
                      enum smp_apic_mode mode);

// Stops whatever the processors do; what they wrote is there when it returns.
void threads_power_off(void);

// Until nobody has anything to do; and the same after so much time.
void threads_settle(void);
void threads_let_pass(uint64_t us);

// Without a message of the engine's: firmware has the processor call this; a STARTUP comes, or an
// NMI.
void threads_call(struct core *core, void (*call)(const struct smp *smp), const struct smp *smp);
void threads_send_startup(struct core *core);
void threads_send_nmi(struct core *core);

// Has INIT stopped it, so that it waits for STARTUP? Does it execute nothing?
bool threads_is_held(const struct core *core);
bool threads_is_asleep(const struct core *core);

// ---- on a processor's own thread ----

// The way from STARTUP on; whoever returns from it is parked.
void threads_walk(void);

// Takes an exception in long mode, on the engine's tables.
_Noreturn void threads_fault(uint32_t vector, uint64_t ip, uint64_t cr2);

// Spends time of the script's.
void threads_dally(uint32_t us);

_Noreturn void threads_park(void);
