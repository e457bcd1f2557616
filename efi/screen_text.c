// Firmware's own text output, while it lives: for the person who has no serial port.
// Surprise: ConOut itself is avoided where our UART works. On many machines it also feeds that UART
// through a terminal driver, and every line would come twice.

#include "firmware.h"

#include "mem.h"

static void add(struct text_screens *screens, SIMPLE_TEXT_OUTPUT_INTERFACE *output)
{
    if (output && screens->count < sizeof screens->outputs / sizeof screens->outputs[0])
        screens->outputs[screens->count++] = output;
}

void text_screens_open(const struct firmware *firmware, bool everywhere,
                       struct text_screens *screens)
{
    EFI_GUID text = SIMPLE_TEXT_OUTPUT_PROTOCOL, graphics = EFI_GRAPHICS_OUTPUT_PROTOCOL_GUID;
    EFI_HANDLE *handles = NULL;
    UINTN count = 0;

    memset(screens, 0, sizeof *screens);
    if (everywhere) {
        add(screens, firmware->system->ConOut);
        return;
    }
    if (EFI_ERROR(firmware->boot->LocateHandleBuffer(ByProtocol, &text, NULL, &count, &handles)))
        return;
    for (UINTN i = 0; i < count; i++) {
        SIMPLE_TEXT_OUTPUT_INTERFACE *output = NULL;
        void *unused = NULL;
        // A text output that stands beside a frame buffer, and is not the splitter that stands for
        // all.
        if (handles[i] == firmware->system->ConsoleOutHandle ||
            EFI_ERROR(firmware->boot->HandleProtocol(handles[i], &graphics, &unused)) ||
            EFI_ERROR(firmware->boot->HandleProtocol(handles[i], &text, (void **)&output)))
            continue;
        add(screens, output);
    }
    firmware->boot->FreePool(handles);
}

static void write_text(SIMPLE_TEXT_OUTPUT_INTERFACE *output, const char *text)
{
    CHAR16 wide[64];
    size_t used = 0;

    for (; *text; text++) {
        wide[used++] = (CHAR16)(unsigned char)*text;
        if (used == sizeof wide / sizeof wide[0] - 1) {
            wide[used] = 0;
            output->OutputString(output, wide);
            used = 0;
        }
    }
    wide[used] = 0;
    output->OutputString(output, wide);
}

void text_screens_write(void *context, const char *text)
{
    const struct text_screens *screens = context;
    for (size_t i = 0; i < screens->count; i++) {
        write_text(screens->outputs[i], text);
        write_text(screens->outputs[i], "\r\n");
    }
}
