// Application processors for the fake machine: they listen behind its local APIC, and walk through
// the records of a real engine as the trampoline and smp/ap.c do. Here too: the bench that an
// engine stands on, from a machine and options through the real plan to a `struct smp` that is
// ready for its first round. Surprises: an AP moves only when the fake's clock does, or a message
// reaches it; a message that no manual allows, or that is for nobody, ends the test. And the
// engine's memory is mapped twice: the APs have it at its "physical" address below 4 GiB, this side
// has another view.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fake_hw.h"
#include "machine.h"
#include "options.h"
#include "engine.h"
#include "plan.h"
#include "smp.h"

#define FAKE_APS_MAX   4096u
#define FAKE_NEVER     UINT64_MAX
#define FAKE_PAGE      0x9e000u
#define FAKE_MMIO_APIC 0xfee00000u

// The fake's TSC runs at 1 GHz and moves by a tenth of a microsecond.
#define FAKE_TICKS_PER_US 1000u
#define FAKE_STEP_TICKS   100u

// What an AP's record says once it has checked in, as smp/ap.c leaves it.
#define FAKE_STAGE_UP STAGE_READY

enum fake_ap_state {
    FAKE_AP_PARKED, // as firmware left it
    FAKE_AP_WAITS,  // for STARTUP, after an INIT
    FAKE_AP_STARTED,
    FAKE_AP_PROTECTED,
    FAKE_AP_IN_C, // waits for its turn to greet
    FAKE_AP_GREETS,
    FAKE_AP_HALTED,
};

struct fake_ap {
    uint32_t apic_id;

    // How it behaves. All zero: it hears every message, takes the first STARTUP, and is in C and
    // greets at once.
    uint32_t deaf_inits;    // sleeps through so many INITs before it hears one
    uint32_t heard_inits;   // then hears so many only; 0: all
    uint32_t lost_startups; // after each INIT, so many STARTUPs are lost on it
    uint64_t to_protected_ticks, to_c_ticks, to_greeting_ticks; // FAKE_NEVER: stops there
    uint64_t first_extra_ticks; // how much longer it takes to C the first time
    bool hangs_in_c;            // after its first act there, before it checks in
    int64_t tsc_skew;           // its TSC minus the BSP's

    // What became of it.
    enum fake_ap_state state;
    uint64_t due;             // when it moves on
    uint32_t inits, startups; // messages that were sent to it, heard or not
    uint32_t startups_since_init;
    uint64_t last_message;
    uint64_t started;    // when it took a STARTUP
    uint32_t generation; // as it found it in protected mode
    struct lcpu *lcpu;   // as it found it; NULL: it is in no table
    uint32_t arrivals, greetings;
    bool passed_on; // its last greeting came in time: the turn was still its own
};

struct fake_aps {
    // The facts and the wishes; a test changes them between open and prepare.
    struct machine machine;
    struct options options;
    size_t count;                     // processors that are listed, the BSP included
    size_t hidden;                    // and that are in no table, behind them in `aps`
    struct fake_ap aps[FAKE_APS_MAX]; // by CPU index; [0], the BSP, never moves

    // Whom the engine calls; a test sets what it wants to hear of before prepare. problems.tell
    // ends the test if it is left NULL.
    struct smp_host host;
    const struct smp_region *regions; // more than the code, before prepare
    size_t region_count;

    // What prepare makes of them.
    struct plan plan;
    struct smp_setup setup;
    struct smp *smp;

    // The local APIC.
    uint64_t send_ticks;       // what a message costs the sender
    uint64_t busy_from;        // xAPIC: from this message on, counted from 1 ...
    uint64_t busy_ticks;       // ... each stays pending so long
    uint64_t messages;         // received
    uint64_t least_init_ticks; // shortest time that an AP saw from INIT to its first STARTUP
    uint64_t least_sipi_ticks; // and from one STARTUP to the next

    // The greetings, as CPU indices, in order.
    void (*watch)(struct fake_aps *aps,
                  uint64_t now); // called last whenever time has moved; NULL: none
    bool run_ap_main;            // take the turn by smp/ap.c itself, not by the model
    uint32_t greeted[FAKE_APS_MAX];
    size_t greeted_count;

    // Private.
    struct cpu cpus[FAKE_APS_MAX];
    struct smp_cpu plan_cpus[FAKE_APS_MAX];
    struct smp_region all_regions[8];
    _Alignas(4096) uint8_t page[4096];
    uint32_t icr_high, icr_low;
    uint64_t busy_until, next_due;
    uint32_t turn_seen;
    size_t last_found;
    bool inside;
};

// An empty machine of `count` processors with the APIC IDs 0 to count-1, an Intel processor of
// family 6 with an x2APIC, and default options. Fails on `count` 0 or too many.
void fake_aps_open(struct fake_aps *aps, size_t count);

// Plans, opens an engine below 4 GiB, fills the page, starts the clock at an odd time, hands over
// the plan, and clears the log. Fails if anything is refused.
void fake_aps_prepare(struct fake_aps *aps);

// The record of an AP, and the BSP's book about it: for tests that alter what an AP left.
struct lcpu *fake_lcpu(const struct fake_aps *aps, uint32_t slot);
struct book *fake_book(const struct fake_aps *aps, uint32_t slot);
struct rally *fake_rally(const struct fake_aps *aps);

// Gives the memory back.
void fake_aps_close(struct fake_aps *aps);

// Lets the APs do what is due by now. The clock calls it for the bench that was prepared last; a
// test with two benches calls it for both (fake_on_time).
void fake_aps_move(struct fake_aps *aps, uint64_t now);

// Between rounds: lets time pass in which the BSP does nothing.
void fake_aps_let_pass(struct fake_aps *aps, uint64_t us);
