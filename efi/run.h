// A run: everything it knows, and its steps in the order in which efi_main takes them.
#pragma once

#include "firmware.h"

#include "address_space.h"
#include "plan.h"
#include "report.h"
#include "trampoline.h"
#include "wake.h"

// Everything a run knows, from its first line to its last.
struct reveille {
    struct firmware firmware;
    struct options options;
    struct console console;
    struct text_screens screens;
    struct problem_log log;
    struct problems problems;
    struct machine machine;
    struct plan plan;
    size_t plan_pages;   // of its list, and of the next
    uint32_t *rounds_us; // each round's last arrival
    struct arena arena;
    struct page_tables tables;
    struct trampoline trampoline;
    struct trampoline_parameters parameters;
    struct wake wake;
    struct firmware_times firmware_times;
    struct outcome outcome;
    struct note *note; // in memory that outlives a warm reset
    uint32_t resets;   // runs in a row, before this one, that ended in one
    size_t relocations;
    uint32_t low_page_after_exit;
};

// before_exit.c: while an error can still be returned.

// Finds firmware's protocols, reads the options silently, and opens the console that they name.
EFI_STATUS run_open(struct reveille *run, EFI_HANDLE handle, EFI_SYSTEM_TABLE *system);

// Gathers, plans, allocates and proves: everything that can be known beforehand.
enum status run_prepare(struct reveille *run);

// Gives back what was taken and writes the last record. Returns what to return to firmware.
EFI_STATUS run_refuse(struct reveille *run, enum status status);

// Writes every key with its default, and the last record.
EFI_STATUS run_help(struct reveille *run);

// Fills the trampoline's page through `view`, proves it, and says so. Before the exit, or after it.
enum status run_fill_page(struct reveille *run, uint8_t *view);

// after_exit.c: no firmware any more.

// Leaves boot services; ends the run if that is refused.
void run_leave(struct reveille *run);

// The BSP moves to the address space, the descriptors and the handlers that the APs will have. A
// page of boot services is taken for the trampoline now, if there was no other.
void run_take_over(struct reveille *run);

// All rounds, with their greetings and records.
void run_wake(struct reveille *run);

// The account of every processor, the last record, and the end that the options name.
_Noreturn void run_finish(struct reveille *run);
