// Options: what a user can ask for, and the only header of this room that another one includes. The
// struct is plain values, owned by whoever declares it, and constant once the texts are parsed:
// what a run makes of a wish is no option. The options themselves, with defaults and help, stand in
// option_table.c. Texts are `key=value` words, blanks or line ends between them, `#` to the end of
// the line a comment.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "injection.h"
#include "problem.h"
#include "smp.h"
#include "status.h"
#include "log_level.h"
#include "uart_place.h"

enum apic_choice { APIC_AUTO, APIC_X2APIC, APIC_XAPIC };
enum serial_choice { SERIAL_AUTO, SERIAL_OFF, SERIAL_PORT };
enum compare_choice { COMPARE_NONE, COMPARE_FIRMWARE };
enum bench_choice { BENCH_NONE, BENCH_NULL, BENCH_NULL_LONG };
enum run_choice { RUN_NONE, RUN_CALL, RUN_PARK, RUN_BARRIER, RUN_SUM, RUN_ALL };
enum sweep_key { SWEEP_NONE, SWEEP_INIT_US, SWEEP_SIPI_US, SWEEP_SIPIS, SWEEP_WAKE };
enum answer { ANSWER_NO, ANSWER_YES };
enum screen_choice { SCREEN_AUTO, SCREEN_OFF, SCREEN_MODE };
enum save_choice { SAVE_RAM, SAVE_NONE, SAVE_NVRAM };
enum harvest_choice { HARVEST_AUTO, HARVEST_ONLY };
enum end_choice { END_AUTO, END_HALT, END_POWEROFF, END_RESET, END_DEBUG_EXIT };

#define INIT_US_AUTO UINT32_MAX // by processor family, see plan.c
#define ROTATE_AUTO  UINT32_MAX // by the shape of the screen

// A closed range of CPU indices, first <= last.
struct cpu_range {
    uint32_t first, last;
};

// How many separate ranges `cpus=` can name. Ranges that overlap or touch are merged as they come;
// a list with more separate ones at any moment is an error that says so.
#define CPU_RANGES_MAX 64u

// One option that takes one value after another in a single run (`sweep=`), as parsed for its own
// key.
#define SWEEP_MAX 32u

struct sweep {
    enum sweep_key key;
    size_t count; // 0: none
    uint32_t values[SWEEP_MAX];
};

#define OPTION_WORDS_BYTES 256u

struct options {
    enum smp_strategy wake;
    uint32_t init_us;    // INIT_US_AUTO, or 0..10,000,000
    uint32_t sipi_us;    // 0..10,000,000
    uint32_t sipis;      // SMP_SIPIS_AUTO, or 1..4
    uint32_t timeout_us; // 1..60,000,000
    uint32_t retries;    // 0..100
    enum apic_choice apic;
    struct cpu_range cpus[CPU_RANGES_MAX]; // sorted, disjoint, not adjacent
    size_t cpus_count;                     // 0: all
    uint32_t rounds;                       // 1..1,000,000
    enum serial_choice serial;
    struct uart_place serial_place; // if serial is SERIAL_PORT, in I/O or device memory
    enum log_level log;
    enum end_choice end;
    enum compare_choice compare;
    enum bench_choice bench; // what to measure besides
    struct sweep sweep;
    enum run_choice run;   // exercises for the APs behind the last round
    enum smp_parking park; // how they wait in them
    enum answer exit;      // leave boot services
    enum answer check;     // stop before anything is woken
    enum answer force;
    enum screen_choice screen;
    uint16_t screen_width, screen_height; // pixels, if screen is SCREEN_MODE
    uint32_t rotate;                      // degrees clockwise, or ROTATE_AUTO
    enum save_choice save;
    enum harvest_choice harvest;
    enum answer again;                       // boot once more, to harvest
    uint32_t wait_s;                         // seconds in which a key stops the run; 0..3600
    uint32_t linger_s;                       // before a reset that nobody can ask for; 0..3600
    struct injection inject[INJECTIONS_MAX]; // as typed; a CPU may bear several
    size_t inject_count;                     // 0: none
    bool help;
    bool pause; // after each page; the Shell's -b
    // The words that were taken, as they were written, the earlier ones first, with single blanks.
    // All of them, or none if they need more room.
    char words[OPTION_WORDS_BYTES];
    size_t words_length;
    bool words_too_long;
};

// ---- from text ----

// Sets every option to its default.
void options_set_defaults(struct options *options);

// Reads `bytes` bytes of text over what `options` holds already; the last word for a key wins.
// ASCII or UTF-8, with or without a byte-order mark, or UTF-16LE as Notepad writes it; no
// terminator needed, any rubbish survived. `source` names the text in problems, for example
// "reveille.cfg".
//
// An unknown key or word is a warning with the nearest known key. A bad value, and a known key
// without a value, is an error, and the option keeps what it had. Everything wrong is told before
// this returns: the first 100 findings one by one, then their number. Returns STATUS_OK, or
// STATUS_INVALID if there was an error.
enum status options_parse(const char *text, size_t bytes, const char *source,
                          const struct problems *problems, struct options *options);

// Reads load options as firmware hands them over, in every form that load_options.h knows. A first
// word that cannot be an option (no '=', not `help`) is the image's own name, as the Shell passes
// it, quoted or not, and is skipped. Words go on behind a NUL if an option is among them. What is
// no text is told as a warning that says what to do, and ignored whole, and so is what is no option
// behind a NUL: some firmware passes binary rubbish there. `data` may be NULL. Findings and the
// answer are as above.
enum status options_parse_load_options(const void *data, size_t bytes,
                                       const struct problems *problems, struct options *options);

// One line of `help` for each key, in the order of the table, and a last one on how numbers are
// written: calls `tell` with finished lines, without line end, at most 100 characters wide.
void options_help(void (*tell)(void *context, const char *line), void *context);

// ---- what was asked ----

// Is this CPU index among those that `cpus=` names (or is it `all`)? The BSP, 0, is asked about in
// vain: it cannot be named, and `all` holds it.
bool options_cpu_wanted(const struct options *options, uint32_t cpu);

// The options of one setting, 0..sweep.count-1: the same but for the key that is swept.
void sweep_options(const struct options *options, size_t setting, struct options *one);

// ---- words, as a user types them ----

const char *fault_word(enum fault_kind kind);

// The key that is swept, not SWEEP_NONE ("init_us").
const char *sweep_word(enum sweep_key key);

// The value of one setting: a word ("auto", "broadcast"), or decimal digits, which stand in
// `digits`.
#define SWEEP_DIGITS 16u
const char *sweep_value(const struct sweep *sweep, size_t setting, char digits[SWEEP_DIGITS]);

// Is it a number, and no word?
bool sweep_is_number(const struct sweep *sweep, size_t setting);
