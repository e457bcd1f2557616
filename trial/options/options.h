// Options: what a user can ask for, after parsing. Plain values; owned by whoever declares the
// struct. The keys, their defaults and their meaning are listed once, in trial/options/option_table.c; `help`
// prints that list.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "injection.h"
#include "log_level.h"

enum wake_strategy { WAKE_PARALLEL, WAKE_ONE_BY_ONE, WAKE_BROADCAST, WAKE_FIRMWARE };
enum apic_choice { APIC_AUTO, APIC_X2APIC, APIC_XAPIC };
enum serial_choice { SERIAL_AUTO, SERIAL_OFF, SERIAL_PORT };
enum compare_choice { COMPARE_NONE, COMPARE_FIRMWARE };
enum bench_choice { BENCH_NONE, BENCH_NULL, BENCH_NULL_LONG };
enum sweep_key { SWEEP_INIT_US, SWEEP_SIPI_US, SWEEP_SIPIS, SWEEP_WAKE };
enum answer { ANSWER_NO, ANSWER_YES };
enum screen_choice { SCREEN_AUTO, SCREEN_OFF, SCREEN_MODE };
enum save_choice { SAVE_RAM, SAVE_NONE, SAVE_NVRAM };
enum harvest_choice { HARVEST_AUTO, HARVEST_ONLY };
enum end_choice { END_AUTO, END_HALT, END_POWEROFF, END_RESET, END_DEBUG_EXIT };

#define INIT_US_AUTO UINT32_MAX // by processor family, see plan.c
#define ROTATE_AUTO  UINT32_MAX // by the shape of the screen
#define SIPIS_AUTO   0u         // a second STARTUP only for those who have not answered

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
    enum wake_strategy wake;
    uint32_t init_us;    // INIT_US_AUTO, or 0..10,000,000
    uint32_t sipi_us;    // 0..10,000,000
    uint32_t sipis;      // SIPIS_AUTO, or 1..4
    uint32_t timeout_us; // 1..60,000,000
    uint32_t retries;    // 0..100
    enum apic_choice apic;
    struct cpu_range cpus[CPU_RANGES_MAX]; // sorted, disjoint, not adjacent
    size_t cpus_count;                     // 0: all
    uint32_t rounds;                       // 1..1,000,000
    enum serial_choice serial;
    uint16_t serial_port; // I/O port, if serial is SERIAL_PORT
    enum log_level log;
    enum end_choice end;
    enum compare_choice compare;
    enum bench_choice bench; // what to measure besides
    struct sweep sweep;
    enum answer exit;  // leave boot services
    enum answer check; // stop before anything is woken
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

// Is this CPU index among those that `cpus=` names (or is it `all`)? The BSP, 0, is asked about in
// vain: it cannot be named, and `all` holds it.
bool options_cpu_wanted(const struct options *options, uint32_t cpu);
