// Looking at a counter. Surprise: nothing is believed of it, neither that it moves nor that it
// moves forwards; a wait is over all the same.

#include "watch.h"

struct watch watch_start(uint64_t now, uint64_t ticks)
{
    return (struct watch){
        .ticks = ticks,
        .most = ticks / WATCH_SHARE + 1,
        .last = now,
        .stops = WATCH_STOPS,
    };
}

struct watch watch_delay(uint64_t now, uint64_t ticks)
{
    struct watch watch = watch_start(now, ticks);
    watch.stops = 0;
    return watch;
}

bool watch_is_over(struct watch *watch, uint64_t now)
{
    uint64_t passed = now > watch->last ? now - watch->last : 0;

    watch->still = passed == 0 ? watch->still + 1 : 0;
    if (watch->still == WATCH_STILL_LOOKS) {
        watch->still = 0;
        passed = watch->most;
    }
    if (passed > watch->most && watch->stops > 0) {
        watch->stops--;
        passed = watch->most;
    }
    watch->last = now;
    const uint64_t rest = watch->ticks - watch->watched;
    watch->watched += passed < rest ? passed : rest;
    return watch->watched == watch->ticks;
}
