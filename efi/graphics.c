// Firmware's graphics outputs: which of them have a frame buffer that can be drawn on when firmware
// is gone. Surprise: several handles may lead to the same one, and the output that firmware itself
// writes to may be a splitter, which has none.

#include "run.h"

#include "canvas.h"
#include "mem.h"

// Modes of one output that are looked through for screen=WIDTHxHEIGHT.
#define MODES_MAX 256u

static const char *format_word(EFI_GRAPHICS_PIXEL_FORMAT format)
{
    static const char *const words[] = {"rgb", "bgr", "masks", "blt-only"};
    return (size_t)format < sizeof words / sizeof words[0] ? words[format] : "unknown";
}

static void set_masks(const EFI_GRAPHICS_OUTPUT_MODE_INFORMATION *info,
                      struct framebuffer *framebuffer)
{
    const uint32_t low = 0xff, middle = 0xff00, high = 0xff0000;

    framebuffer->green_mask = middle;
    framebuffer->red_mask = info->PixelFormat == PixelRedGreenBlueReserved8BitPerColor ? low : high;
    framebuffer->blue_mask =
        info->PixelFormat == PixelRedGreenBlueReserved8BitPerColor ? high : low;
    if (info->PixelFormat == PixelBitMask) {
        framebuffer->red_mask = info->PixelInformation.RedMask;
        framebuffer->green_mask = info->PixelInformation.GreenMask;
        framebuffer->blue_mask = info->PixelInformation.BlueMask;
    }
}

static void choose_mode(const struct firmware *firmware, const struct options *options,
                        EFI_GRAPHICS_OUTPUT_PROTOCOL *output)
{
    for (UINT32 mode = 0; mode < output->Mode->MaxMode && mode < MODES_MAX; mode++) {
        EFI_GRAPHICS_OUTPUT_MODE_INFORMATION *info = NULL;
        UINTN bytes = 0;
        if (EFI_ERROR(output->QueryMode(output, mode, &bytes, &info)))
            continue;
        const bool wanted = bytes >= sizeof *info &&
                            info->HorizontalResolution == options->screen_width &&
                            info->VerticalResolution == options->screen_height;
        firmware->boot->FreePool(info); // it was made for us
        if (!wanted)
            continue;
        if (mode != output->Mode->Mode)
            (void)output->SetMode(output, mode);
        return;
    }
}

// NULL if it can be drawn on; else why not.
static const char *read_output(const EFI_GRAPHICS_OUTPUT_PROTOCOL *output,
                               const struct machine *machine, struct framebuffer *framebuffer)
{
    const EFI_GRAPHICS_OUTPUT_PROTOCOL_MODE *mode = output->Mode;
    const EFI_GRAPHICS_OUTPUT_MODE_INFORMATION *info = mode ? mode->Info : NULL;

    if (!info)
        return "it has no mode";
    if (info->PixelFormat == PixelBltOnly || mode->FrameBufferBase == 0)
        return "it has no frame buffer";
    *framebuffer = (struct framebuffer){
        .phys = mode->FrameBufferBase,
        .bytes = mode->FrameBufferSize,
        .width = info->HorizontalResolution,
        .height = info->VerticalResolution,
        .pitch_pixels = info->PixelsPerScanLine,
    };
    set_masks(info, framebuffer);
    if (!framebuffer_is_sane(framebuffer) || framebuffer->phys >> machine->processor.phys_bits != 0)
        return "its frame buffer contradicts itself";
    for (size_t i = 0; i < machine->framebuffer_count; i++) {
        if (machine->framebuffers[i].phys == framebuffer->phys)
            return "it is another's frame buffer";
    }
    return machine->framebuffer_count == FRAMEBUFFERS_MAX ? "there are too many" : NULL;
}

static void report_output(struct console *console, UINTN index, const struct framebuffer *found,
                          const EFI_GRAPHICS_OUTPUT_PROTOCOL *output, const char *wrong)
{
    char buffer[LINE_BYTES];
    struct line line;

    record_start(&line, buffer, sizeof buffer, "screen");
    record_add_decimal(&line, "gop", index);
    if (wrong) {
        record_add_text(&line, "skipped", wrong);
    } else {
        record_add_decimal(&line, "width", found->width);
        record_add_decimal(&line, "height", found->height);
        record_add_decimal(&line, "pitch", found->pitch_pixels);
        record_add_text(&line, "format", format_word(output->Mode->Info->PixelFormat));
        record_add_hex(&line, "base", found->phys);
    }
    console_record(console, 0, &line);
}

static EFI_GRAPHICS_OUTPUT_PROTOCOL *output_of(const struct firmware *firmware, EFI_HANDLE handle)
{
    EFI_GUID guid = EFI_GRAPHICS_OUTPUT_PROTOCOL_GUID;
    EFI_GRAPHICS_OUTPUT_PROTOCOL *output = NULL;

    return EFI_ERROR(firmware->boot->HandleProtocol(handle, &guid, (void **)&output)) ? NULL
                                                                                      : output;
}

static EFI_HANDLE *find_outputs(const struct firmware *firmware, UINTN *count)
{
    EFI_GUID guid = EFI_GRAPHICS_OUTPUT_PROTOCOL_GUID;
    EFI_HANDLE *handles = NULL;

    *count = 0;
    if (EFI_ERROR(firmware->boot->LocateHandleBuffer(ByProtocol, &guid, NULL, count, &handles)))
        *count = 0;
    return handles;
}

void graphics_gather(struct reveille *run)
{
    struct machine *machine = &run->machine;
    UINTN count;
    EFI_HANDLE *handles = find_outputs(&run->firmware, &count);
    // Only with screen=WIDTHxHEIGHT, and where nobody has to find the screen as it was.
    const bool choose = run->options.screen == SCREEN_MODE && run->options.exit == ANSWER_YES &&
                        run->options.check == ANSWER_NO;

    for (UINTN i = 0; i < count; i++) {
        struct framebuffer found;
        EFI_GRAPHICS_OUTPUT_PROTOCOL *output = output_of(&run->firmware, handles[i]);
        if (!output)
            continue;
        if (choose)
            choose_mode(&run->firmware, &run->options, output);
        const char *wrong = read_output(output, machine, &found);
        if (!wrong && choose &&
            (found.width != run->options.screen_width ||
             found.height != run->options.screen_height))
            report_problem(&run->log, SEVERITY_WARNING, "no-such-mode",
                           "this screen has no such mode; screen= is left as it was");
        report_output(&run->console, i, &found, output, wrong);
        if (!wrong)
            machine->framebuffers[machine->framebuffer_count++] = found;
    }
    if (handles)
        run->firmware.boot->FreePool(handles);
}

void graphics_clear(const struct reveille *run)
{
    EFI_GRAPHICS_OUTPUT_BLT_PIXEL black = {0, 0, 0, 0};
    UINTN count;
    EFI_HANDLE *handles = find_outputs(&run->firmware, &count);

    for (UINTN i = 0; i < count; i++) {
        EFI_GRAPHICS_OUTPUT_PROTOCOL *output = output_of(&run->firmware, handles[i]);
        if (!output || !output->Mode || !output->Mode->Info)
            continue;
        (void)output->Blt(output, &black, EfiBltVideoFill, 0, 0, 0, 0,
                          output->Mode->Info->HorizontalResolution,
                          output->Mode->Info->VerticalResolution, 0);
    }
    if (handles)
        run->firmware.boot->FreePool(handles);
}
