// The end of a run that has left firmware: the last record, the wall, the summary, and the way out
// of the machine; from wherever it is reached, also from the middle of itself.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "evidence.h"
#include "firmware.h"
#include "machine.h"
#include "next_start.h"
#include "note.h"
#include "options.h"
#include "outcome.h"
#include "smp.h"
#include "voice.h"
#include "window.h"

struct ending {
    // What it needs. Set before the window is opened for the first time.
    const struct firmware *firmware;
    const struct machine *machine;
    const struct options *options;
    const struct window *window;
    const struct smp *smp;
    struct voice *voice;
    struct note *note;
    struct evidence *evidence; // memory for it
    enum next_start next;

    // How far it is.
    struct outcome outcome;
    uint32_t accounts; // of every processor, begun: one more after a fault in the first
    size_t step;       // steps of the end that were begun
    bool told;         // the last record
};

// Takes the evidence of every processor, and counts it.
void ending_examine(struct ending *ending);

// The account of every processor, from that.
void ending_account(struct ending *ending);

// The last record, and the end that the options name. Called again after a fault on its way, it
// continues behind the step that the fault broke into.
_Noreturn void ending_run(struct ending *ending);

// After a fault of the BSP's own: the account of what is known, from its beginning if the fault
// broke into it, and the end.
_Noreturn void ending_after_fault(struct ending *ending);
