// Reveille: a bugle call for cores. start() is the table of contents; each step is one call into
// the room that knows how, takes what it needs, and returns what it made. This file owns what the
// steps make, and knows every way back to firmware.
//
// What holds, whatever the machine does:
//   1. until ExitBootServices, what a run changes is given back when it is refused: memory, the
//      serial ports' registers, the decoding of a PCI port. What is meant to stay, stays: files on
//      the volume, the summary in NVRAM, and the screen's mode;
//   2. after it, no firmware is called but for save=nvram, and to switch the machine off;
//   3. with exit=no all is given back but firmware's watchdog, which stays off; what cannot be is
//      told;
//   4. the last record is ev=end, unless the machine is gone.

#include "departure.h"
#include "end.h"
#include "ending.h"
#include "gather.h"
#include "giveback.h"
#include "hw.h"
#include "memory.h"
#include "page.h"
#include "preflight.h"
#include "prepare.h"
#include "report.h"
#include "report_cpus.h"
#include "rounds.h"
#include "serial.h"
#include "wait.h"

// What processors may touch when efi_main is left behind: they write lines, call back, and land
// here with a fault. What else they touch is in the pieces.
static struct voice g_voice;
static struct host g_host;
static struct ending g_ending;

// What the steps make.
static struct firmware g_firmware;
static struct typed g_typed;     // outlives a start
static struct options g_asked;   // written by configure() alone
static struct configured g_read; // whether they could be read
static struct options g_settled; // what is done of them: prepare_plan()
static struct machine g_machine;
static struct past g_past;
static struct stick g_stick;
static struct plan g_plan;
static struct pieces g_pieces;
static struct window g_window;
static struct evidence g_evidence;
static struct smp *g_smp;

// Called by the entry (relocate.c).
EFI_STATUS efi_main(EFI_HANDLE handle, EFI_SYSTEM_TABLE *system);

// ---- the ways back ----

static void give_back(enum keep keep)
{
    pieces_free(&g_firmware, keep, &g_pieces);
    gather_free(&g_firmware, &g_machine);
    memory_free(&g_firmware, g_firmware.map, g_firmware.map_capacity / PAGE_BYTES);
    voice_close(&g_voice, &g_firmware);
}

// The end while firmware lives: the last record, and the files on the volume with it in them,
// unless save=none, or nobody could read whether it is. What cannot be saved is told before the
// last record.
static void tell_end(const struct outcome *outcome, enum stick_end end)
{
    const struct problems nobody = {problems_ignore, NULL};
    CHAR16 name[] = L"last";

    voice_tell_left_out(&g_voice);
    // Twice: what the volume says of the first belongs in the journal, and so does the last record.
    const bool saved =
        g_asked.save != SAVE_NONE && !g_read.unread &&
        harvest_own(&g_voice.journal, name, end, &g_stick, &g_past, &g_voice.problems);
    report_end(&g_voice.console, outcome);
    if (saved)
        (void)harvest_own(&g_voice.journal, name, end, &g_stick, &g_past, &nobody);
}

static enum stick_end end_of_files(void)
{
    return g_asked.check == ANSWER_NO && g_asked.exit == ANSWER_NO ? STICK_CUT : STICK_BLANK;
}

static EFI_STATUS efi_status_of(enum status status)
{
    switch (status) {
    case STATUS_OK:
        return EFI_SUCCESS;
    case STATUS_NOT_FOUND:
        return EFI_NOT_FOUND;
    case STATUS_NO_SPACE:
        return EFI_OUT_OF_RESOURCES;
    case STATUS_TIMEOUT:
        return EFI_TIMEOUT;
    case STATUS_UNSUPPORTED:
        return EFI_UNSUPPORTED;
    case STATUS_TRUNCATED:
        return EFI_VOLUME_CORRUPTED;
    case STATUS_BUSY:
        return EFI_NOT_READY;
    case STATUS_INVALID:
    case STATUS_WRONG_CPU:
        break;
    }
    return EFI_INVALID_PARAMETER;
}

// A run that was stopped by hand (STATUS_OK) is no result; a refusal is one.
static EFI_STATUS refuse(enum status status)
{
    const struct outcome outcome = OUTCOME_OPEN;

    if (status == STATUS_OK)
        report_end(&g_voice.console, &outcome);
    else
        tell_end(&outcome, end_of_files());
    give_back(KEEP_NOTHING);
    if (g_asked.exit == ANSWER_NO || g_asked.check == ANSWER_YES)
        end_inside(&g_asked, EXIT_REFUSED);
    else
        end_refused(&g_machine, &g_asked);
    return efi_status_of(status);
}

// This start was for the previous run's result only.
static EFI_STATUS fetched(void)
{
    const struct outcome outcome = g_past.unsaved ? OUTCOME_OPEN : OUTCOME_DONE;

    report_end(&g_voice.console, &outcome);
    give_back(KEEP_NOTHING);
    end_fetched(&g_firmware, &g_machine, &g_asked, outcome.ok ? EXIT_OK : EXIT_FAILED);
    return EFI_SUCCESS;
}

// check=yes: nobody was to be woken, and nobody was.
static EFI_STATUS checked(void)
{
    const struct outcome outcome = OUTCOME_DONE;

    preflight_page(&g_voice.console, &g_machine, &g_plan, &g_voice.serial, g_pieces.low_page);
    giveback_tell_census(&g_firmware, &g_machine, &g_voice);
    note_drop(g_pieces.note);
    tell_end(&outcome, end_of_files());
    give_back(KEEP_NOTHING);
    end_inside(&g_asked, EXIT_OK);
    return EFI_SUCCESS;
}

static void print_help(void *console, const char *text)
{
    char buffer[LINE_BYTES];
    struct line line;

    line_start(&line, buffer, sizeof buffer);
    line_add_text(&line, text);
    console_record(console, 0, &line);
}

// Every key with its default.
static EFI_STATUS help(void)
{
    const struct outcome outcome = OUTCOME_DONE;

    options_help(print_help, &g_voice.console);
    report_end(&g_voice.console, &outcome);
    give_back(KEEP_NOTHING);
    return EFI_SUCCESS;
}

// exit=no: the processors go back to firmware.
static EFI_STATUS return_inside(enum parking parking, const struct rounds_done *done)
{
    note_drop(g_pieces.note);
    const struct giveback back = giveback(&g_firmware, &g_machine, &g_plan, &g_host.injector,
                                          parking, &g_evidence, &g_window, g_smp, &g_voice);
    const bool good = back.good && g_ending.outcome.ok;

    tell_end(&g_ending.outcome, end_of_files());
    give_back(back.keep);
    end_inside(&g_asked, good ? EXIT_OK : EXIT_FAILED);
    if (!back.good)
        return EFI_DEVICE_ERROR;
    return done->stopped ? EFI_ABORTED : good ? EFI_SUCCESS : EFI_DEVICE_ERROR;
}

// ---- the steps ----

// Firmware, who the machine is, and the voice, which only the options can open: they are read
// silently, since nothing can be told before.
static EFI_STATUS open(EFI_HANDLE handle, EFI_SYSTEM_TABLE *system)
{
    const struct problems nobody = {problems_ignore, NULL};

    const EFI_STATUS status = firmware_open(handle, system, &g_firmware);
    if (EFI_ERROR(status))
        return status;
    gather_identity(&g_firmware, &g_machine);
    (void)configure(&g_firmware, &g_typed, &nobody, &g_asked);
    voice_open(&g_voice, &g_firmware, &g_asked, g_machine.under_qemu);
    const struct uart *uart = &g_voice.console.uart;
    g_machine.serial_mmio = uart->present ? uart->mmio : 0;
    g_stick = (struct stick){.firmware = &g_firmware, .console = &g_voice.console};
    g_past = (struct past){0};
    g_pieces = (struct pieces){0};
    g_host = (struct host){.console = &g_voice.console, .ending = &g_ending};
    return EFI_SUCCESS;
}

static void get_ready(uint64_t pat)
{
    const bool inside = g_asked.exit == ANSWER_NO;

    window_start(&g_window, inside ? WINDOW_BY_ROUND : WINDOW_ONCE, &g_firmware,
                 &g_machine.processor, &g_voice, g_smp, pat);
    g_evidence = (struct evidence){.accounts = g_pieces.accounts, .hellos = g_pieces.hellos};
    g_ending = (struct ending){
        .firmware = &g_firmware,
        .machine = &g_machine,
        .options = &g_settled,
        .window = &g_window,
        .smp = g_smp,
        .voice = &g_voice,
        .note = g_pieces.note,
        .evidence = &g_evidence,
    };
}

static struct rounds_done wake(const struct firmware_times *times)
{
    const struct rounds_setup setup = {
        .firmware = &g_firmware,
        .machine = &g_machine,
        .options = &g_settled,
        .injector = &g_host.injector,
        .firmware_times = times,
        .plan = &g_plan,
        .pieces = &g_pieces,
        .voice = &g_voice,
        .window = &g_window,
        .smp = g_smp,
        .ground = &g_host.ground,
        .resets = g_past.resets,
    };
    return rounds_run(&setup);
}

// What is known of everybody, and the times.
static void report(const struct rounds_done *done, struct run_times *times)
{
    struct console *console = &g_voice.console;
    const struct clock *clock = &g_machine.clock;

    if (g_asked.sweep.count == 0 && done->rounds > 1) {
        const struct spread warm = spread_of(g_pieces.lasts_us + 1, done->rounds - 1);
        report_rounds(console, done->rounds, g_pieces.lasts_us[0], &warm);
    }
    g_evidence.wrong_sum = done->wrong_sum;
    ending_examine(&g_ending);
    const struct stages stages = stages_of(&g_evidence, clock, g_pieces.scratch);
    report_stages(console, &stages);
    report_aswoken(console, &g_evidence, clock);
    report_flags(&g_evidence, &g_voice.problems);
    ending_account(&g_ending);
    times->reported = hw_tsc();
    times->run_ticks = done->run_ticks;
    report_times(console, clock, times);
}

// What comes after a start, besides a status for firmware: an end that somebody is to see, one that
// somebody asked for, or another start with other options.
enum after { AFTER_END, AFTER_STOP, AFTER_EDIT };

// Somebody at the keyboard wants no run, or another one: all is given back.
static EFI_STATUS objected(enum wait_end end, enum after *after)
{
    *after = end == WAIT_STOP ? AFTER_STOP : AFTER_EDIT;
    if (end == WAIT_STOP)
        return refuse(STATUS_OK);
    give_back(KEEP_NOTHING);
    serial_close(&g_voice.port); // the next start reads its registers anew
    return EFI_SUCCESS;
}

// With exit=no: can firmware get its processors back?
static enum status check_return(enum parking *parking)
{
    *parking = firmware_parking(&g_firmware);
    return firmware_check_return(*parking, &g_plan, g_pieces.low_page, &g_asked, &g_voice.problems);
}

static EFI_STATUS start(EFI_HANDLE handle, EFI_SYSTEM_TABLE *system, enum after *after)
{
    struct run_times times = {.start = hw_tsc()};
    struct firmware_times firmware_times;
    enum parking parking = PARKING_UNKNOWN;
    uint64_t pat = 0;

    *after = AFTER_STOP;
    const EFI_STATUS opened = open(handle, system);
    if (EFI_ERROR(opened))
        return opened;
    *after = AFTER_END;
    report_start(&g_voice.console, &g_machine, VERSION, &g_voice.serial);

    // gather
    g_read = configure(&g_firmware, &g_typed, &g_voice.problems, &g_asked); // this time it tells
    enum status status = g_read.status;
    if (g_asked.help)
        return help();
    if (status == STATUS_OK)
        status = prepare_facts(&g_firmware, &g_asked, &g_voice, &g_stick, &g_machine, &g_past);
    if (status != STATUS_OK)
        return refuse(status);
    if (g_past.fetched)
        return fetched();

    // plan
    status = prepare_plan(&g_firmware, &g_past, &g_asked, &g_voice, &g_machine, &g_pieces,
                          &g_host.injector, &g_settled, &g_plan);
    if (status != STATUS_OK)
        return refuse(status);
    prepare_report(&g_firmware, &g_asked, &g_machine, &g_plan, &g_voice, &firmware_times);
    status = prepare_engine(&g_firmware, &g_machine, &g_plan, &g_host, &g_voice, &g_pieces, &pat,
                            &g_smp);
    times.prepared = hw_tsc();
    if (status == STATUS_OK && g_asked.exit == ANSWER_NO)
        status = check_return(&parking);
    if (status != STATUS_OK)
        return refuse(status);
    if (g_asked.check == ANSWER_YES)
        return checked();

    // leave
    const bool inside = g_asked.exit == ANSWER_NO;
    const enum wait_end end = inside ? WAIT_OVER
                                     : wait_for_objection(&g_firmware, &g_asked, &g_voice.console,
                                                          &g_voice.problems, &g_typed);
    if (end != WAIT_OVER)
        return objected(end, after);
    get_ready(pat);
    hello_locate(g_machine.bsp_apic_id, &g_pieces.hellos[0]);
    if (inside) {
        firmware_stop_watchdog(&g_firmware);
    } else if (departure(&g_firmware, &g_machine, &g_settled, &g_plan, g_host.injector.count, g_smp,
                         g_pieces.note, &g_past, &g_stick, &g_voice, &g_ending.next) != STATUS_OK) {
        ending_run(&g_ending);
    }

    // wake, examine, report
    times.left = hw_tsc();
    const struct rounds_done done = wake(&firmware_times);
    if (done.status != STATUS_OK)
        ending_run(&g_ending);
    times.woken = done.woken;
    report(&done, &times);
    if (!inside)
        ending_run(&g_ending);
    if (done.stopped)
        *after = AFTER_STOP;
    return return_inside(parking, &done);
}

EFI_STATUS efi_main(EFI_HANDLE handle, EFI_SYSTEM_TABLE *system)
{
    enum after after;
    EFI_STATUS status;

    do
        status = start(handle, system, &after);
    while (after == AFTER_EDIT);
    // What was said stays where the end waits for a person at all. A start that fetched says
    // nothing new.
    if (after == AFTER_END && !g_past.fetched && end_waits(&g_machine, &g_asked))
        wait_for_reader(&g_firmware, &g_voice.console);
    serial_close(&g_voice.port); // last: nothing can be said there any more
    return status;
}
