// The processors while firmware lives: how it lets them wait, its own way to wake them, and whether
// it gets them back.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "firmware.h"
#include "machine.h"
#include "options.h"
#include "plan.h"
#include "problem.h"
#include "smp.h"
#include "status.h"

// How firmware's idle APs wait, which says how it means to wake them.
enum parking {
    PARKING_UNKNOWN, // MP Services is absent, or does not run a procedure
    PARKING_NOBODY,  // there is no AP
    PARKING_INIT,    // it wakes them by INIT: they may be taken, and it gets them back
    PARKING_OTHER, // a loop or MWAIT that waits for a word in memory: who is taken does not see it
};
const char *parking_word(enum parking parking);

// Finds out, by a mark that only INIT takes away from a processor. Firmware's APs run twice.
enum parking firmware_parking(const struct firmware *firmware);

// Can the processors be given back with exit=no, if they are parked like this, and woken by this
// plan? `low_page` is the page where they start, 0: there is none yet. Tells why not; with
// force=yes the parking is a warning.
enum status firmware_check_return(enum parking parking, const struct plan *plan, uint32_t low_page,
                                  const struct options *options, const struct problems *problems);

// One round by MP Services' StartupAllAPs instead of the engine's messages: the same records, the
// same turns. Tells if firmware does not do it.
void firmware_wake_round(const struct firmware *firmware, struct smp *smp,
                         const struct problems *problems, struct smp_round *round);

// Firmware's own wake, tried once more: is everybody back who was sent a message, or came unasked,
// and does firmware agree?
struct taken_back {
    uint32_t ran;   // APs that ran and noted it
    bool answered;  // StartupAllAPs came back without an error
    bool counts;    // MP Services counts as many as before, and all of them ran
    bool everybody; // is back
};
struct taken_back firmware_takes_back(const struct firmware *firmware, const struct smp *smp,
                                      const struct machine *machine);
