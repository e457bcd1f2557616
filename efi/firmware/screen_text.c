// Firmware's own text output, while it lives: for the person who has no serial port.
// Surprise: ConOut itself is avoided where our UART works. On many machines it also feeds that UART
// through a terminal driver, and every line would come twice.

#include "screen_text.h"

#include "shell.h"

static void add(struct text_screens *screens, SIMPLE_TEXT_OUTPUT_INTERFACE *output)
{
    if (output && screens->count < sizeof screens->outputs / sizeof screens->outputs[0])
        screens->outputs[screens->count++] = output;
}

void text_screens_open(const struct firmware *firmware, bool everywhere,
                       struct text_screens *screens)
{
    static const EFI_GUID text = SIMPLE_TEXT_OUTPUT_PROTOCOL,
                          graphics = EFI_GRAPHICS_OUTPUT_PROTOCOL_GUID, path = DEVICE_PATH_PROTOCOL;
    UINTN count;

    screens->count = 0;
    screens->firmware = firmware;
    if (everywhere) {
        add(screens, firmware->system->ConOut);
        return;
    }
    EFI_HANDLE *handles = firmware_handles(firmware, &text, &count);
    for (UINTN i = 0; i < count; i++) {
        // A text output that stands beside a frame buffer, and is a device: the splitter, which
        // stands for all, has no path. Its handle is ConOut's only where no Shell came between.
        if (firmware_protocol(firmware, handles[i], &path) &&
            firmware_protocol(firmware, handles[i], &graphics))
            add(screens, firmware_protocol(firmware, handles[i], &text));
    }
    if (handles)
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

// How many lines this one takes, and how many there are: of the first output, which people look at.
static void pause_at_page_end(struct text_screens *screens, const char *text)
{
    SIMPLE_TEXT_OUTPUT_INTERFACE *output = screens->outputs[0];
    UINTN columns = 0, rows = 0;
    size_t length = 0;

    if (!screens->pause || screens->count == 0 ||
        EFI_ERROR(output->QueryMode(output, (UINTN)output->Mode->Mode, &columns, &rows)) ||
        columns == 0 || rows < 3)
        return;
    while (text[length] != '\0')
        length++;
    const size_t lines = length / columns + 1;
    if (screens->row + lines >= rows - 1) {
        write_text(output, "-- a key for more, q for all --");
        screens->pause = shell_wait_for_key(screens->firmware);
        write_text(output, "\r\n");
        screens->row = 0;
    }
    screens->row += lines;
}

void text_screens_write(struct text_screens *screens, const char *text)
{
    pause_at_page_end(screens, text);
    for (size_t i = 0; i < screens->count; i++) {
        write_text(screens->outputs[i], text);
        write_text(screens->outputs[i], "\r\n");
    }
}
