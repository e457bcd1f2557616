// The processors while firmware lives: how it lets them wait, its own way to wake them, its own
// account of them, and whether it gets them back.
#pragma once

#include "census.h"
#include "run.h"

// Finds out, by a mark that only INIT takes away from a processor. Firmware's APs run twice.
enum parking firmware_parking(const struct firmware *firmware, struct firmware_aps *aps);
const char *parking_word(enum parking parking);

// One round by StartupAllAPs: the same records, the same greetings. firmware_wake_round in run.h.

// What firmware's own wake, tried once more, says of its processors.
struct taken_back {
    uint32_t ran;  // APs that ran and noted it
    bool answered; // StartupAllAPs came back without an error
    bool counts;   // MP Services counts as many as before, and all of them ran
};
struct taken_back firmware_takes_back(struct reveille *run);

// Is everybody back who was sent a message, or came unasked, and does firmware agree?
bool everybody_is_back(const struct reveille *run, const struct taken_back *taken);

// MP Services' table, which processors_read_census has read, is compared and told, and its memory
// given back; `wake` as for census_compare.
void firmware_census_tell(struct reveille *run, const struct wake *wake);
