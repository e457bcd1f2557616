// The voice: everything that a line goes through, under one owner. APs write through the console,
// so it must live as long as they may, and never moves.
#pragma once

#include "console.h"
#include "display.h"
#include "firmware.h"
#include "journal.h"
#include "machine.h"
#include "options.h"
#include "problem.h"
#include "report.h"
#include "screen_text.h"
#include "serial.h"

struct voice {
    struct console console;   // the serial port's registers among it
    struct problems problems; // each becomes a record
    struct serial_port port;
    struct serial_found serial;
    struct text_screens screens; // firmware's
    struct journal journal;
    void *journal_memory; // NULL: there is no journal
    size_t journal_pages;
    size_t shown; // of the journal, on firmware's screens
    struct display display;
    void *display_memory; // NULL: there is no screen after the exit
    size_t display_pages;
};

// Opens what the options name: log, serial port, and the pauses on firmware's screens; and a
// journal. Reads the memory map.
void voice_open(struct voice *voice, struct firmware *firmware, const struct options *options,
                bool under_qemu);

// The screen after the exit, if there is a frame buffer and firmware will be left: lines are
// collected from now on, those before among them, and shown whenever the console is flushed after
// the exit.
void voice_add_display(struct voice *voice, const struct firmware *firmware,
                       const struct machine *machine, const struct options *options);

// Room in the journal for so many processors and rounds, where the next start finds it unless
// save=none. Without it the run goes on, and says what was left out.
void voice_grow(struct voice *voice, const struct firmware *firmware, size_t cpus, uint64_t rounds,
                enum save_choice save);

// Firmware out of reach, and within it again: then its screens show what was said meanwhile.
void voice_hide_firmware(struct voice *voice);
void voice_show_firmware(struct voice *voice);

// Before the last record: what the journal had no room for is told, in the room kept for it.
void voice_tell_left_out(struct voice *voice);

// Gives all memory back. The serial port and firmware's screens still hear what is said.
void voice_close(struct voice *voice, const struct firmware *firmware);
