// What the run before this one left in memory that outlives a warm reset.
#pragma once

#include "firmware.h"
#include "journal.h"

// Finds a whole journal and opens it for reading. Returns its head, to be dropped once the text is
// safe; NULL if there is none. `again`: that run asked for this start.
struct journal_head *last_run_find_journal(const struct firmware *firmware, struct journal *found,
                                           bool *again);

// Does a journal with this head lie where the next start looks for it? Not if it is NULL.
bool last_run_keeps(const struct journal_head *head);
