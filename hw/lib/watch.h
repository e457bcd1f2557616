// A wait, measured in time that somebody watched. Surprise: it is not the time that has passed. A
// processor that an SMI or a hypervisor has stopped sees nothing, and those it waits for may have
// been stopped with it; so of the time between two looks only a share counts. What the caller waits
// for is looked at after the clock, so that the last look is always one at the thing itself.
#pragma once

#include <stdbool.h>
#include <stdint.h>

// A look counts for a sixteenth of the wait at most: a stop, however long, takes no more than that
// from the other side's time.
#define WATCH_SHARE 16u

// And no wait forgives more than four of them. Four stops with the quarter of the wait that they
// count for leave three quarters that were watched; from the fifth on the time counts in full, so a
// processor that is stopped at each look waits no longer for it. A wait takes its length, and the
// length of its first four stops.
#define WATCH_STOPS 4u

// The counter itself may stand still, or go back: so many looks in a row without progress count as
// the longest one. A look takes 10 ns at least, so they take 0.6 ms; the slowest counter (10 MHz)
// makes a step every 100 ns. Then a wait is over after 16 * 65,536 looks.
#define WATCH_STILL_LOOKS 65536u

struct watch {
    uint64_t ticks; // to be watched
    uint64_t most;  // that a look behind a stop counts
    uint64_t last, watched;
    uint32_t stops; // that are still forgiven
    uint32_t still; // looks in a row without progress
};

// Starts a wait of so many ticks of the counter, which stands at `now`.
struct watch watch_start(uint64_t now, uint64_t ticks);

// The same for a delay, in which nothing is waited for: all time counts.
struct watch watch_delay(uint64_t now, uint64_t ticks);

// A look, with the counter at `now`: is the wait over?
bool watch_is_over(struct watch *watch, uint64_t now);
