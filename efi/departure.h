// Leaving firmware: the last words, and the exit.
#pragma once

#include "ending.h"
#include "firmware.h"
#include "harvest.h"
#include "machine.h"
#include "options.h"
#include "plan.h"
#include "status.h"
#include "stick.h"
#include "voice.h"

// ev=bound, the beginning of this run to the volume, and how its result will be fetched; then
// ExitBootServices, after which interrupts are off and `next` says what brings about the next
// start. STATUS_INVALID or STATUS_NO_SPACE, after telling: firmware refused, and boot services must
// not be used either.
enum status departure(struct firmware *firmware, const struct machine *machine,
                      const struct options *options, const struct plan *plan, size_t faults,
                      const struct smp *smp, struct note *note, struct past *past,
                      struct stick *stick, struct voice *voice, enum next_start *next);
