// The fake machine behind hw.h: one processor, owned by a test. Nothing exists until the test sets
// it up, and touching what does not exist ends the program with a message. Time is a number that
// moves only when the code under test reads or pauses, so every run of a test is the same run.
// Surprise: reads and pauses are not logged unless asked for, else every poll would stand in the
// log.
#pragma once

#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>

#include "fake_log.h"
#include "hw.h"

// Back to a machine with nothing in it, an empty log, and FAKE_LOG_DEFAULT. Keeps fake_on_failure.
void fake_reset(void);

// ---- processor ----

#define FAKE_ANY_SUBLEAF UINT32_MAX

void fake_set_cpuid(uint32_t leaf, uint32_t subleaf, struct cpuid value);

enum fake_control_register { FAKE_CR0, FAKE_CR2, FAKE_CR3, FAKE_CR4 };

void fake_set_cr(enum fake_control_register cr, uint64_t value);

// What hw_read_tables() gives until hw_write_tables() replaces it; both fail before this.
void fake_set_tables(const struct hw_tables *tables);

// RFLAGS.IF, as hw_interrupts_are_on() tells it; nobody may ask or set it before this. Not logged.
void fake_set_interrupts(bool on);

// Runs `statement`, which must end in hw_halt() or hw_jump(): the fake jumps back here. Not
// reaching it is a failure, as are they anywhere else. Locals of the caller that `statement`
// changes must be volatile.
#define FAKE_UNTIL_HALT(statement)                                               \
    do {                                                                         \
        if (setjmp(*fake_arm_halt()) == 0) {                                     \
            statement;                                                           \
            fake_fail("%s:%d: came back without hw_halt()", __FILE__, __LINE__); \
        }                                                                        \
    } while (0)

jmp_buf *fake_arm_halt(void);

// ---- MSRs, ports, device memory: five address spaces ----

enum fake_space { FAKE_MSR, FAKE_PORT8, FAKE_PORT16, FAKE_PORT32, FAKE_MMIO };

// A cell holds a value: reads give it, writes change it. Setting one that exists changes it. Not
// logged.
void fake_set_cell(enum fake_space space, uint64_t address, uint64_t value);

// This MSR does not exist: an access is #GP, which only hw_read_msr_safely and hw_write_msr_safely
// survive. Without this, and without a cell or hook, they fail as every access does.
void fake_remove_msr(uint32_t msr);

// Called by each hw_flush(): memory that is none forgets there what its cache held.
void fake_on_flush(void (*hook)(const void *memory, uint64_t bytes));
uint64_t fake_cell(enum fake_space space, uint64_t address);

typedef uint64_t (*fake_read_fn)(void *context, uint64_t address);
typedef void (*fake_write_fn)(void *context, uint64_t address, uint64_t value);

// Answers for the addresses first..last; the newest hook for an address wins. Without `read`, reads
// go to the cell. A write goes to the cell, if there is one, and then to `write`, if there is one.
void fake_hook(enum fake_space space, uint64_t first, uint64_t last, fake_read_fn read,
               fake_write_fn write, void *context);

// ---- time ----

// The counter stands at `now`; each hw_tsc() and hw_pause() moves it by `step` ticks, and hw_tsc()
// gives the value after the move. Until this is called, both fail. May be called again at any time.
void fake_start_clock(uint64_t now, uint64_t step);

// Looks without moving.
uint64_t fake_now(void);

// One move of `ticks`: what a model's own work costs.
void fake_advance(uint64_t ticks);

// Called after each move. It may change anything that the code under test polls: an AP "arrives" in
// here.
void fake_on_time(void (*hook)(void *context, uint64_t now), void *context);
