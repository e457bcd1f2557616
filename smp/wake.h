// The wake: messages out, processors in. One round is a list of passes; a pass sends a sequence to
// those who are missing, by the plan's strategy. Nothing here prints, allocates, or asks firmware.
//
// What holds after wake_round, whatever the APs did:
//   1. each AP's account says whether it reached C in this round, by its own record and generation;
//   2. every wait has ended within plan_round_bound_us, and the stops of this processor (watch.h);
//   3. an AP that is late finds its record, its stack and the page as they were.
// What does not hold: any order among the APs.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "apic.h"
#include "clock.h"
#include "lcpu.h"
#include "plan.h"
#include "trampoline.h"

struct wake {
    const struct plan *plan;
    const struct arena *arena;
    const struct trampoline *trampoline;
    const struct trampoline_parameters *parameters;
    struct apic apic;
    struct clock clock;
    uint8_t *page_view;   // the trampoline's page, where it can be written
    uint32_t page_phys;   // and where the APs start
    uint32_t decoy_page;  // a page of HLT instructions, for inject=bad-vector; else 0
    uint32_t generation;  // of the current round; counts up from 1
    uint64_t started;     // TSC just before that round's first message
    uint32_t *missing;    // the caller's memory for plan->want slots
    uint32_t *values;     // and for as many numbers, to find their median
    size_t missing_count; // after a round: who did not come
    uint32_t unsent;      // messages of this round that the xAPIC did not take
    bool broadcast;       // one was for all but self, in whatever round
};

struct wake_result {
    uint32_t up;
    uint64_t icr_writes;
    uint64_t first_us, median_us,
        last_us;      // arrivals since the first message, by the APs' own stamps
    uint64_t send_us; // from the first message to the last
    uint32_t retried; // APs that came only with a further sequence
    uint32_t helped;  // and those that came only with the second STARTUP of sipis=auto
    uint32_t unsent;  // messages that the xAPIC did not take in time
};

// Did it start by a further STARTUP of the same sequence, and not by the first?
bool wake_helped_by_startup(const struct account *account, const struct lcpu *lcpu);

// One round: clears the marks and the states, then wakes. Outputs last.
void wake_round(struct wake *wake, struct wake_result *result);

// After the last round: waits, at most the plan's time-out, for those who are missing. Whoever
// comes now is late: it keeps its record and is told as such, but does not count as up.
void wake_await_late(struct wake *wake);

// Puts everybody who was sent anything back to where INIT leaves a processor: waiting for a
// STARTUP, with nothing of ours in use. Waits as long as the manual wants after an INIT.
// STATUS_TIMEOUT: a message did not go out, and somebody may not be held.
enum status wake_hold(struct wake *wake);

// Before this image's memory goes while a processor may still wake up in what is kept: entries,
// vectors and the page's start all lead to the loop in the page. There is no wake after it.
void wake_seal(const struct wake *wake);

// Spins. Rounded up, so that no wait is shorter than asked.
void wake_wait_us(const struct wake *wake, uint64_t us);

// The parts of a round, for whoever wakes by other messages than ours: clears what the last round
// left; then counts who has come, with times since `start`, a TSC value. `result` is added to.
void wake_begin_round(struct wake *wake);
void wake_end_round(struct wake *wake, uint64_t start, struct wake_result *result);

// How often an AP is asked to greet, a round apart. Who keeps silent twice will again, and each
// time all others wait for it.
#define GREETING_TURNS 2u

// The parts of the greetings: chains those who may greet and opens the first turn; then follows the
// turns, at most `line_us` each. Returns how many greeted.
uint32_t wake_open_turns(struct wake *wake);
uint32_t wake_follow_turns(struct wake *wake, uint32_t first, uint64_t line_us);

// Tells every AP that still waits for its turn to halt.
void wake_close(struct wake *wake);

// Lets everyone who has come and has not greeted yet greet, one after another, in CPU order.
// Returns how many greeted now. Who does not within `line_us` loses the turn.
uint32_t wake_greet(struct wake *wake, uint64_t line_us);

// inject=ud-idle: waits for the faults of those who have come, at most `us` for each.
void wake_await_idle_faults(const struct wake *wake, uint64_t us);

// The life of an AP from its first act in C. Its record is its argument; it returns to the loop in
// the page, so that whoever is done is in no code of this image's.
void ap_main(struct lcpu *self);

// Notes where the processor that calls sits, by its own CPUID, in its record.
void ap_locate(struct lcpu *self);

// The same life in two visits, for an AP that firmware lends and wants back: to check in, with what
// it finds itself in; and to greet, if it is to, waiting for its turn. They return.
void ap_visit(struct lcpu *self);
void ap_visit_again(struct lcpu *self);

// Reads an AP's state: the STAGE_ it reached in this generation, STAGE_NONE if it was not seen.
uint32_t wake_stage(const struct lcpu *lcpu, uint32_t generation);
