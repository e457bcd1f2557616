// Everything that can be known, decided, taken and proved while an error can still be returned.
// Each step tells whatever is wrong, and returns STATUS_OK or what to return to firmware.
#pragma once

#include "firmware.h"
#include "harvest.h"
#include "host.h"
#include "machine.h"
#include "options.h"
#include "pieces.h"
#include "plan.h"
#include "report_rounds.h"
#include "smp.h"
#include "status.h"
#include "stick.h"
#include "voice.h"

// The machine, and what the run before this one left: its result goes to the volume.
enum status prepare_facts(struct firmware *firmware, const struct options *asked,
                          struct voice *voice, struct stick *stick, struct machine *machine,
                          struct past *past);

// What is done of what was asked, given the past and the machine; and the plan of it. `settled` is
// `asked`, but without inject= where the previous run did not survive, and with save=ram in place
// of save=nvram where NVRAM has no room; each is told. The injector gets its faults, and the voice
// its screen and its room.
enum status prepare_plan(struct firmware *firmware, const struct past *past,
                         const struct options *asked, struct voice *voice, struct machine *machine,
                         struct pieces *pieces, struct injector *injector, struct options *settled,
                         struct plan *plan);

// For compare=firmware: how long firmware's own wake takes; and what stands in the records of
// before.
void prepare_report(const struct firmware *firmware, const struct options *options,
                    const struct machine *machine, const struct plan *plan, struct voice *voice,
                    struct firmware_times *times);

// The engine, in memory of its own, and the page where APs start, filled and proved; unless that
// page is firmware's until the exit. `pat`: for every processor, 0 where it is left alone.
enum status prepare_engine(struct firmware *firmware, const struct machine *machine,
                           const struct plan *plan, struct host *host, struct voice *voice,
                           struct pieces *pieces, uint64_t *pat, struct smp **smp);
