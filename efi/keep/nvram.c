// save=nvram: a summary in one variable, for machines whose memory a reset clears. Surprise: some
// machines do not start any more when their variable store is full, so it is written only where
// much of the store is free, and deleted once it was read and saved.

#include "nvram.h"

#include "bsp.h"
#include "tell.h"

#define BYTES_MOST 1000u
#define ROOM_LEAST 5120u // bytes that must be free, and half of the store

#define REVISION_2_00 (2u << 16) // the first with QueryVariableInfo

#define OF_OURS                                            \
    {                                                      \
        0x7a9d2c1e, 0x53f4, 0x4b0a,                        \
        {                                                  \
            0x9c, 0x6e, 0x21, 0xd8, 0x3f, 0x57, 0xb4, 0x90 \
        }                                                  \
    }
#define ATTRIBUTES \
    (EFI_VARIABLE_NON_VOLATILE | EFI_VARIABLE_BOOTSERVICE_ACCESS | EFI_VARIABLE_RUNTIME_ACCESS)

_Static_assert(LINE_BYTES <= BYTES_MOST, "a summary is one line");

static CHAR16 name[] = L"ReveilleLast";
static EFI_GUID guid = OF_OURS;

bool nvram_has_room(const struct firmware *firmware, const struct problems *problems)
{
    const EFI_RUNTIME_SERVICES *runtime = firmware->system->RuntimeServices;
    UINT64 all = 0, left = 0, largest = 0;

    if (runtime->Hdr.Revision >= REVISION_2_00 &&
        !EFI_ERROR(runtime->QueryVariableInfo(ATTRIBUTES, &all, &left, &largest)) &&
        left >= ROOM_LEAST && left >= all / 2 && largest >= BYTES_MOST)
        return true;
    problem_tell(problems, SEVERITY_WARNING, "no-nvram",
                 "firmware does not say that 5 KiB and half of its variable store are free: "
                 "nothing is written there, and save=ram is used");
    return false;
}

// In sentences: the last record is written by then.
void nvram_save(const struct firmware *firmware, const struct line *summary,
                struct console *console)
{
    struct bsp_registers ours;

    console_tell(console, "Saving the summary in NVRAM");
    console_flush(console);
    bsp_visit_firmware(firmware, &ours);
    const EFI_STATUS status = firmware->system->RuntimeServices->SetVariable(
        name, &guid, ATTRIBUTES, summary->length, summary->text);
    bsp_return(&ours);
    if (EFI_ERROR(status))
        console_tell(console,
                     "Firmware refused the variable ReveilleLast: no summary is kept there");
}

// Its length, 0: there is none. A longer variable of this name is somebody else's.
static UINTN read_variable(const struct firmware *firmware, char text[BYTES_MOST])
{
    UINTN bytes = BYTES_MOST;

    const EFI_STATUS status =
        firmware->system->RuntimeServices->GetVariable(name, &guid, NULL, &bytes, text);
    return !EFI_ERROR(status) && bytes <= BYTES_MOST ? bytes : 0;
}

bool nvram_tell(const struct firmware *firmware, struct console *console)
{
    char text[BYTES_MOST + 1], buffer[LINE_BYTES];
    struct line line;

    const UINTN bytes = read_variable(firmware, text);
    if (bytes == 0)
        return false;
    text[bytes] = '\0';
    record_start(&line, buffer, sizeof buffer, "nvram");
    record_add_text(&line, "summary", text);
    console_record(console, 0, &line);
    line_start(&line, buffer, sizeof buffer);
    line_add_text(&line, "The previous run, from NVRAM: ");
    line_add_foreign(&line, text, bytes);
    console_say(console, 0, &line);
    return true;
}

void nvram_forget(const struct firmware *firmware, const struct problems *problems)
{
    const EFI_RUNTIME_SERVICES *runtime = firmware->system->RuntimeServices;
    char text[BYTES_MOST];

    if (read_variable(firmware, text) != 0 &&
        EFI_ERROR(runtime->SetVariable(name, &guid, ATTRIBUTES, 0, NULL)))
        problem_tell(problems, SEVERITY_WARNING, "nvram-kept",
                     "firmware did not delete the variable ReveilleLast; delete it by hand");
}
