// The wake, round by round, whether firmware is left or not.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "drill.h"
#include "firmware.h"
#include "firmware_aps.h"
#include "inject.h"
#include "machine.h"
#include "options.h"
#include "pieces.h"
#include "plan.h"
#include "report_rounds.h"
#include "smp.h"
#include "status.h"
#include "voice.h"
#include "window.h"

// What the rounds are run by, and what with. All but the plan is the caller's.
struct rounds_setup {
    const struct firmware *firmware;
    const struct machine *machine;
    const struct options *options;
    const struct injector *injector;
    const struct firmware_times *firmware_times; // for the last round's ratio
    const struct plan *plan;
    struct pieces *pieces;
    struct voice *voice;
    struct window *window;
    struct smp *smp;
    struct drill_ground *ground; // run=; all 0
    uint32_t resets;             // runs in a row that ended in one
};

struct rounds_done {
    enum status status; // STATUS_NOT_FOUND after telling: there is no page, and nobody was woken
    uint32_t rounds;    // of the last setting, in pieces->lasts_us
    bool stopped;       // by a key
    uint64_t woken;     // TSC behind the last
    uint64_t run_ticks; // that run= took
    bool wrong_sum;     // in it
};

// All rounds, with their greetings and records, and what run= asks for behind them; the window is
// open afterwards where firmware is left.
struct rounds_done rounds_run(const struct rounds_setup *setup);
