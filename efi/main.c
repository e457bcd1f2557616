// Reveille: a bugle call for cores. efi_main is the table of contents; each step is one call into
// the room that knows how.
//
// What holds, whatever the machine does:
//   1. until ExitBootServices nothing is changed that is not given back when the run is refused,
//   the
//      registers of the serial port among it, of the one that was found and of all others;
//   2. after it, no firmware is called but for save=nvram, and to switch the machine off;
//   3. with exit=no all is given back, and what cannot be is told;
//   4. the last record is ev=end, unless the machine is gone.

#include "run.h"

#include "wait.h"

// Static, since processors still hold pointers into it when efi_main is left behind.
static struct reveille g_run;

// Called by the entry (relocate.c).
EFI_STATUS efi_main(EFI_HANDLE handle, EFI_SYSTEM_TABLE *system);

static EFI_STATUS start(struct reveille *run, EFI_HANDLE handle, EFI_SYSTEM_TABLE *system)
{
    const EFI_STATUS opened = run_open(run, handle, system);
    if (EFI_ERROR(opened))
        return opened;

    // gather and plan
    report_start(&run->voice.console, &run->machine, VERSION, &run->voice.serial);
    enum status status = run_configure(run);
    if (run->options.help)
        return run_help(run);
    if (status == STATUS_OK)
        status = run_prepare(run);
    if (status != STATUS_OK)
        return run_refuse(run, status);

    if (run->past.fetched)
        return run_fetched(run);
    if (run->options.check == ANSWER_YES)
        return run_checked(run);
    if (run->options.exit == ANSWER_NO)
        return run_inside(run);

    switch (wait_for_objection(&run->firmware, &run->options, &run->voice.console,
                               &run->voice.problems, &run->typed)) {
    case WAIT_STOP:
        run->stopped = true;
        return run_refuse(run, STATUS_OK);
    case WAIT_EDIT:
        return run_start_over(run);
    case WAIT_OVER:
        break;
    }

    // leave
    run_leave(run);

    // wake, examine, report
    run_wake(run);
    run_report(run);
    run_end(run);
}

// What was said stays where the end waits for a person at all. A start that fetched says nothing
// new.
static void hold_screen(struct reveille *run)
{
    if (run->voice.log.console && !run->past.fetched && !run->stopped &&
        end_waits(&run->machine, &run->options))
        wait_for_reader(&run->firmware, &run->voice.console);
}

EFI_STATUS efi_main(EFI_HANDLE handle, EFI_SYSTEM_TABLE *system)
{
    EFI_STATUS status;

    do
        status = start(&g_run, handle, system);
    while (g_run.start_over);
    hold_screen(&g_run);
    serial_close(&g_run.voice.port); // last: nothing can be said there any more
    return status;
}
