// The volume that the image was loaded from, and no other: the journal as files, and a mark.
#pragma once

#include "console.h"
#include "firmware.h"
#include "journal.h"
#include "problem.h"

// As this start knows it. One that has refused is not asked again: firmware may take a quarter of a
// minute over each write to a broken one.
struct stick {
    const struct firmware *firmware;
    struct console *console; // told before the first write of a start
    EFI_STATUS refusal;      // EFI_SUCCESS: none so far
    bool warned;             // of it
    bool told;               // that something is being saved
};

// \\reveille\\NAME.txt has the journal's sentences, NAME.rec its records. False, after telling, if
// that cannot be; what does not get better, and so is not tried again, is told once.
enum stick_end { STICK_BLANK, STICK_CUT };
bool stick_save(struct stick *stick, const struct journal *journal, const CHAR16 *name,
                enum stick_end end, const struct problems *problems);

// The mark says that the next start was asked for. Set before the exit, false if it could not be;
// and taken away at the next start.
enum stick_mark { STICK_UNMARKED, STICK_MARK_STAYS, STICK_MARK_TAKEN };
bool stick_set_mark(struct stick *stick);
enum stick_mark stick_take_mark(struct stick *stick);
