// The processors while firmware lives: how it lets them wait, its own way to wake them, its own
// account of them, and whether it gets them back.
#pragma once

#include "census.h"
#include "run.h"

// Finds out, by a mark that only INIT takes away from a processor. Firmware's APs run twice.
enum parking firmware_parking(const struct firmware *firmware, struct firmware_aps *aps);
const char *parking_word(enum parking parking);

// One round by StartupAllAPs: the same records, the same greetings. firmware_wake_round in run.h.

// Lets every AP of firmware's run once more and note that it did; returns how many did.
uint32_t firmware_takes_back(struct reveille *run);

// Is everybody back who was sent a message, or came unasked?
bool everybody_is_back(const struct reveille *run);

// MP Services' table, read into memory of its own and compared; `wake` as for census_compare.
void firmware_census(struct reveille *run, const struct wake *wake);
