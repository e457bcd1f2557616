// A run: everything it knows, and its steps in the order in which efi_main takes them.
#pragma once

#include "bsp.h"
#include "configure.h"
#include "end.h"
#include "firmware.h"
#include "harvest.h"
#include "voice.h"

#include "address_space.h"
#include "census.h"
#include "plan.h"
#include "report.h"
#include "trampoline.h"
#include "wake.h"

// How firmware's idle APs wait, which says how it means to wake them.
enum parking {
    PARKING_UNKNOWN, // MP Services is absent, or does not run a procedure
    PARKING_NOBODY,  // there is no AP
    PARKING_INIT,    // it wakes them by INIT: they may be taken, and it gets them back
    PARKING_OTHER, // a loop or MWAIT that waits for a word in memory: who is taken does not see it
};

// What firmware's APs, run by firmware itself, count and note.
struct firmware_aps {
    _Atomic uint32_t ran;          // procedures that were run
    _Atomic uint32_t unforgetting; // processors that kept a mark which INIT takes away
    _Atomic uint32_t strays;       // processors that came back and have no record
    _Atomic uint32_t stray_ids[RALLY_UNLISTED_MAX]; // RALLY_NO_ID until it is written
};

// Everything a run knows, from its first line to its last.
struct reveille {
    struct firmware firmware;
    struct typed typed;
    struct options asked;   // as they were written
    struct options options; // what is done of them
    struct voice voice;
    struct stick stick;
    struct past past;
    struct machine machine;
    struct plan plan;
    size_t plan_pages;    // of its list, and of the next
    uint32_t *rounds_us;  // each round's last arrival
    uint32_t *medians_us; // and each round's median
    struct sweep_result sweep_results[SWEEP_MAX];
    struct run_times times;
    struct arena arena;
    struct page_tables tables;
    struct trampoline trampoline;
    struct trampoline_parameters parameters;
    struct wake wake;
    struct firmware_times firmware_times;
    struct outcome outcome;
    struct note *note; // in memory that outlives a warm reset
    uint32_t low_page_after_exit;
    enum next_start next;
    bool end_told;
    uint32_t accounts; // begun: one more after a fault in the first
    size_t ending;     // steps of the end that were begun

    // With exit=no.
    struct bsp_state firmware_bsp; // as firmware had it
    struct firmware_aps firmware_aps;
    struct census census;
    EFI_TPL tpl; // to go back to
    bool window_is_open;
    bool stopped;    // by a key
    bool start_over; // with what was typed
    enum parking parking;
};

// before_exit.c: while an error can still be returned.

// Gives everything back, to start once more with what was typed.
EFI_STATUS run_start_over(struct reveille *run);

// Finds firmware's protocols, reads the options silently, and opens the console that they name.
EFI_STATUS run_open(struct reveille *run, EFI_HANDLE handle, EFI_SYSTEM_TABLE *system);

// Reads them once more, into what is asked, and tells what is wrong with them.
enum status run_configure(struct reveille *run);

// Gathers, plans, allocates and proves: everything that can be known beforehand.
enum status run_prepare(struct reveille *run);

// The end while firmware lives: the last record, and the files on the volume with it in them,
// unless save=none. What cannot be saved is told before the last record.
void run_tell_end(struct reveille *run);

// Gives back what was taken and writes the last record. Returns what to return to firmware.
EFI_STATUS run_refuse(struct reveille *run, enum status status);

// The same after check=yes: nobody was to be woken, and nobody was.
EFI_STATUS run_checked(struct reveille *run);

// The end of a start that was for the previous run's result only.
EFI_STATUS run_fetched(struct reveille *run);

// Writes every key with its default, and the last record.
EFI_STATUS run_help(struct reveille *run);

// Gives back all memory; what an AP may still touch only with `processors_too`.
enum keep { KEEP_NOTHING, KEEP_WHAT_APS_TOUCH };
void run_free(struct reveille *run, enum keep keep);

// Fills the trampoline's page through `view`, proves it, and says so. Before the exit, or after it.
enum status run_fill_page(struct reveille *run, uint8_t *view);

// rounds.c: the wake itself, whether firmware is left or not.

// All rounds, with their greetings and records.
void run_wake(struct reveille *run);

// The BSP moves to the address space, the descriptors and the handlers that the APs will have, and
// back if firmware lives. After the exit the window stays open once it is: a page of boot services
// is taken for the trampoline the first time, if there was no other.
void run_open_window(struct reveille *run);
void run_close_window(struct reveille *run);

// firmware_aps.c: one round by MP Services' StartupAllAPs instead of our messages.
void firmware_wake_round(struct reveille *run, uint64_t line_us, struct wake_result *result);

// after_exit.c: no firmware any more, but for what both ways share.

// Leaves boot services; ends the run if that is refused.
void run_leave(struct reveille *run);

void run_keep_note(struct reveille *run, enum note_step step, uint32_t round);

// From now on a fault of the BSP's own leads to the account of what is known, and the end.
void run_expect_faults(struct reveille *run);

// The account of every processor.
void run_report(struct reveille *run);

// The last record, and the end that the options name. Called again after a fault on its way, it
// goes on behind the step that the fault broke into.
_Noreturn void run_end(struct reveille *run);

// Can the processors be given back with exit=no? Tells why not; force=yes makes it a warning.
enum status run_check_return(struct reveille *run);

// inside.c: the run with exit=no, after run_prepare: wake, report, and give all back.
EFI_STATUS run_inside(struct reveille *run);
