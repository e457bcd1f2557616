// Examining: what each processor left, put together as evidence for its verdict.
#pragma once

#include "verdict.h"
#include "wake.h"

// All that is known about the AP in this slot, after the wake.
struct evidence examine(const struct wake *wake, uint32_t slot);

// Has the AP in this slot answered us in this run, however far it came, or was its silence made on
// purpose? Who did neither may ignore whoever calls next as well.
bool examine_answers(const struct wake *wake, uint32_t slot);

// Has a processor with this APIC ID come and found no record of its own?
bool examine_came_unasked(const struct wake *wake, uint32_t apic_id);

// The furthest stage that it shows, by its record or by a mark that is its own alone.
uint32_t evidence_stage(const struct evidence *evidence);
