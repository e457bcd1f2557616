// A run: everything it knows, and its steps in the order in which efi_main takes them.
#pragma once

#include "firmware.h"

#include "address_space.h"
#include "apic.h"
#include "journal.h"
#include "last_run.h"
#include "plan.h"
#include "qr.h"
#include "report.h"
#include "screen.h"
#include "trampoline.h"
#include "wake.h"
#include "wall.h"

// The BSP's state, as far as a wake changes it.
struct bsp_state {
    bool interrupts; // RFLAGS.IF
    EFI_TPL tpl;
    uint64_t cr0, cr3, cr4, efer, apic_base;
    uint64_t pat, mtrr_default; // 0 where the processor has none
    struct hw_tables tables;
    struct apic_settings apic;
};

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

// The screen after the exit.
struct display {
    struct canvas canvas;
    struct wall_layout layout;
    struct screen screen;
    struct qr code;
    struct wall_cpu *cells; // room for so many
    size_t room;
    void *memory; // the cells, then the text's shadow; NULL: there is no screen
    size_t pages;
};

// The volume that the image was loaded from, as this start knows it. One that has refused is not
// asked again: firmware may take a quarter of a minute over each write to a broken one.
struct stick {
    EFI_STATUS refusal; // EFI_SUCCESS: none so far
    bool warned;        // of it
    bool told;          // that something is being saved
};

// Everything a run knows, from its first line to its last.
struct reveille {
    struct firmware firmware;
    struct typed typed;
    struct options options;
    struct console console;
    struct text_screens screens;
    struct display display;
    struct journal journal;
    struct serial_found serial;
    struct last_run last_run;
    struct serial_port port;
    void *journal_memory;
    size_t journal_pages;
    size_t shown; // of the journal, on firmware's screens
    struct problem_log log;
    struct problems problems;
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
    struct stick stick;
    struct note *note; // in memory that outlives a warm reset
    uint32_t resets;   // runs in a row, before this one, that ended in one
    size_t relocations;
    uint32_t low_page_after_exit;
    bool end_told;
    uint32_t accounts; // begun: one more after a fault in the first
    size_t ending;     // steps of the end that were begun

    // With exit=no.
    struct bsp_state firmware_bsp; // as firmware had it
    struct firmware_aps firmware_aps;
    struct census census;
    EFI_TPL tpl; // to go back to
    bool window_is_open;
    bool stopped;       // by a key
    bool start_over;    // with what was typed
    bool fetched;       // the previous run's result was what this start was for
    bool saved;         // this run's beginning, on the volume
    bool unsaved;       // the previous run's result was found, and could not be saved
    bool summary_told;  // of save=nvram: it stays there until what was told is saved
    bool forgets;       // the previous run reset the machine for its result, and none is in memory
    bool resets_itself; // at its end, for the next start to fetch the result
    enum parking parking;
};

// before_exit.c: while an error can still be returned.

// Firmware resets a machine five minutes after it has started a boot entry: not while a person
// types, or while we stay inside.
void run_stop_watchdog(const struct reveille *run);

// Gives everything back, to start once more with what was typed.
EFI_STATUS run_start_over(struct reveille *run);

// Finds firmware's protocols, reads the options silently, and opens the console that they name.
EFI_STATUS run_open(struct reveille *run, EFI_HANDLE handle, EFI_SYSTEM_TABLE *system);

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

// Firmware's screens show the journal, so that lines of APs stand there, too: CPU 0 writes all that
// they have not shown yet, and then, if the journal had no room for it, this line. A console_sink.
void run_show_line(void *run, const char *text);
// Within reach again: what was said meanwhile is shown, and from now on each line is.
void run_show_journal(struct reveille *run);

// bsp.c. While firmware lives, what is taken over is at TPL_HIGH_LEVEL, and handed back as it is
// in run->firmware_bsp.
void bsp_read(const struct reveille *run, struct bsp_state *state);
void bsp_take_over(struct reveille *run);
void bsp_hand_back(const struct reveille *run);
// The name of the first thing that differs, NULL if nothing does.
const char *bsp_difference(const struct bsp_state *before, const struct bsp_state *now);

// firmware_aps.c: one round by MP Services' StartupAllAPs instead of our messages.
void firmware_wake_round(struct reveille *run, uint64_t line_us, struct wake_result *result);

// after_exit.c: no firmware any more, but for what both ways share.

// Leaves boot services; ends the run if that is refused.
void run_leave(struct reveille *run);

void run_keep_note(struct reveille *run, enum note_step step, uint32_t round);

// Before the last record: what the journal had no room for is told, in the room kept for it.
void run_tell_left_out(struct reveille *run);

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

// graphics.c: the frame buffers that firmware has, into run->machine; in another mode only if the
// options name one. And all outputs black, before the exit.
void graphics_gather(struct reveille *run);
void graphics_clear(const struct reveille *run);

// display.c: the console's screen, if there is a frame buffer and firmware will be left: lines are
// collected from now on, and shown whenever the console is flushed after the exit. At the end the
// wall is drawn below them.
void display_open(struct reveille *run);
void display_close(struct reveille *run);
void display_finish(struct reveille *run);

// stick.c: the journal as files on the volume that the image was loaded from, and on no other:
// \\reveille\\NAME.txt has the sentences, NAME.rec the records. False, after telling, if that
// cannot be; what does not get better, and so is not tried again, is told once.
enum stick_end { STICK_BLANK, STICK_CUT };
bool stick_save(struct stick *stick, const struct firmware *firmware, const struct journal *journal,
                const CHAR16 *name, enum stick_end end, const struct problems *problems);

// A mark on that volume: the next start was asked for. Set before the exit, taken at the next
// start; false if it could not be set, or was not there.
bool stick_set_mark(struct stick *stick, const struct firmware *firmware);
bool stick_has_mark(struct stick *stick, const struct firmware *firmware);
bool stick_take_mark(struct stick *stick, const struct firmware *firmware);

// harvest.c: this run's own lines to the volume; a summary that they tell is then not kept in NVRAM
// any longer.
bool run_save(struct reveille *run, const CHAR16 *name, enum stick_end end,
              const struct problems *problems);

// The previous run's result, if one waits in memory, to the volume. Sets run->fetched if this start
// is to end with that. And before the exit: firmware is to start us once more.
void run_harvest(struct reveille *run);
void run_ask_for_another_start(struct reveille *run);

// May the end reset a machine on which nobody can be heard? Where the next start finds the result
// and can save it, and not twice in a row without a result.
void run_allow_reset(struct reveille *run);

// nvram.c: save=nvram. Falls back to save=ram, after telling, where there is little room; writes
// the summary after the wake; and reads the previous run's and tells it (false: there is none), and
// deletes it, if it is there.
void nvram_check(struct reveille *run);
void nvram_save(struct reveille *run);
bool nvram_tell(struct reveille *run);
void nvram_forget(struct reveille *run);

// wait.c: wait=SECONDS. What somebody at the keyboard wants: nothing, an end, or other options,
// which stand in run->typed then.
enum wait_end { WAIT_OVER, WAIT_STOP, WAIT_EDIT };
enum wait_end run_wait(struct reveille *run);

// Before the image returns: a boot manager clears the screen at once, so what was said stays until
// a key, where the end waits for one at all. Not behind a Shell, and not for a start that fetched.
void run_hold_screen(struct reveille *run);
