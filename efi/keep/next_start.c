// The start that will fetch this run's result. Firmware is asked to boot the same entry once more,
// or the end resets the machine. Surprise: on a machine that clears its memory that start finds
// nothing, and would begin all over again, for ever; so a mark on the volume says that it was asked
// for.

#include "next_start.h"

#include "tell.h"

static EFI_STATUS set_next(const struct firmware *firmware)
{
    EFI_GUID global = EFI_GLOBAL_VARIABLE;
    EFI_RUNTIME_SERVICES *runtime = firmware->system->RuntimeServices;
    CHAR16 current[] = L"BootCurrent", next[] = L"BootNext";
    UINT16 entry;
    UINTN bytes = sizeof entry;

    EFI_STATUS status = runtime->GetVariable(current, &global, NULL, &bytes, &entry);
    if (!EFI_ERROR(status) && bytes != sizeof entry)
        status = EFI_COMPROMISED_DATA;
    if (!EFI_ERROR(status))
        status = runtime->SetVariable(next, &global,
                                      EFI_VARIABLE_NON_VOLATILE | EFI_VARIABLE_BOOTSERVICE_ACCESS |
                                          EFI_VARIABLE_RUNTIME_ACCESS,
                                      bytes, &entry);
    return status;
}

bool next_start_ask(struct journal *kept, struct stick *stick, const struct problems *problems)
{
    if (kept && stick_set_mark(stick) && !EFI_ERROR(set_next(stick->firmware))) {
        journal_ask_again(kept); // not before: else a start by hand would wake nobody
        return true;
    }
    if (kept)
        (void)stick_take_mark(stick);
    problem_tell(problems, SEVERITY_WARNING, "no-next-start",
                 "again=yes needs save=ram, memory that outlives a reset, room on the volume, and "
                 "a firmware that takes BootNext: this run ends without another start");
    return false;
}

bool next_start_allows_reset(const struct journal *kept, const struct past *past,
                             struct stick *stick, const struct problems *problems)
{
    if (!kept)
        return false;
    if (!past->forgotten)
        return stick_set_mark(stick);
    problem_tell(problems, SEVERITY_WARNING, "memory-cleared",
                 "the result of the previous run is gone from memory, cleared by its reset or "
                 "switched off before, so this run does not reset the machine: use save=nvram "
                 "to keep a summary");
    return false;
}
