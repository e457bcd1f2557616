// save=nvram: a summary in one variable, for machines whose memory a reset clears. Surprise: some
// machines do not start any more when their variable store is full, so it is written only where
// much of the store is free, and deleted once it was read and saved.

#include "run.h"

#include "mem.h"
#include "summary.h"

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

void nvram_check(struct reveille *run)
{
    const EFI_RUNTIME_SERVICES *runtime = run->firmware.system->RuntimeServices;
    UINT64 all = 0, left = 0, largest = 0;

    if (run->options.save != SAVE_NVRAM)
        return;
    if (runtime->Hdr.Revision >= REVISION_2_00 &&
        !EFI_ERROR(runtime->QueryVariableInfo(ATTRIBUTES, &all, &left, &largest)) &&
        left >= ROOM_LEAST && left >= all / 2 && largest >= BYTES_MOST)
        return;
    run->options.save = SAVE_RAM;
    report_problem(&run->log, SEVERITY_WARNING, "no-nvram",
                   "firmware does not say that 5 KiB and half of its variable store are free: "
                   "nothing is written there, and save=ram is used");
}

static EFI_STATUS set_variable(const struct firmware *firmware, char *text, UINTN bytes)
{
    EFI_GUID guid = OF_OURS;
    struct bsp_registers ours;

    bsp_read_registers(firmware->pat != 0, &ours);
    return_to_firmware_tables(firmware);
    const EFI_STATUS status =
        firmware->system->RuntimeServices->SetVariable(name, &guid, ATTRIBUTES, bytes, text);
    hw_disable_interrupts(); // whatever firmware did
    bsp_enter_ours(&ours);
    return status;
}

// In sentences: the last record is written by then.
void nvram_save(struct reveille *run)
{
    char buffer[LINE_BYTES];
    struct line line;

    if (run->options.save != SAVE_NVRAM)
        return;
    line_start(&line, buffer, sizeof buffer);
    summary_write(&run->machine, run->wake.generation > 0 ? &run->wake : NULL, &run->outcome,
                  VERSION, &line);
    console_tell(&run->console, "Saving the summary in NVRAM", 0);
    console_flush(&run->console);
    if (EFI_ERROR(set_variable(&run->firmware, line.text, line.length)))
        console_tell(&run->console,
                     "Firmware refused the variable ReveilleLast: no summary is kept there", 0);
}

// Its length, 0: there is none. A longer variable of this name is somebody else's.
static UINTN read_variable(const struct reveille *run, char text[BYTES_MOST])
{
    EFI_GUID guid = OF_OURS;
    UINTN bytes = BYTES_MOST;

    return EFI_ERROR(
               run->firmware.system->RuntimeServices->GetVariable(name, &guid, NULL, &bytes, text))
               ? 0
               : bytes;
}

bool nvram_tell(struct reveille *run)
{
    char text[BYTES_MOST + 1], buffer[LINE_BYTES];
    struct line line;

    const UINTN bytes = read_variable(run, text);
    if (bytes == 0)
        return false;
    text[bytes] = '\0';
    record_start(&line, buffer, sizeof buffer, "nvram");
    record_add_text(&line, "summary", text);
    console_record(&run->console, 0, &line);
    line_start(&line, buffer, sizeof buffer);
    line_add_text(&line, "The previous run, from NVRAM: ");
    line_add_foreign(&line, text, bytes);
    console_say(&run->console, 0, &line);
    return true;
}

void nvram_forget(struct reveille *run)
{
    const EFI_RUNTIME_SERVICES *runtime = run->firmware.system->RuntimeServices;
    EFI_GUID guid = OF_OURS;
    char text[BYTES_MOST];

    if (read_variable(run, text) != 0 &&
        EFI_ERROR(runtime->SetVariable(name, &guid, ATTRIBUTES, 0, NULL)))
        report_problem(&run->log, SEVERITY_WARNING, "nvram-kept",
                       "firmware did not delete the variable ReveilleLast; delete it by hand");
}
