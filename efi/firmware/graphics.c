// Firmware's graphics outputs: which of them have a frame buffer that can be drawn on when firmware
// is gone. Surprise: several handles may lead to the same one, the output that firmware itself
// writes to may be a splitter, which has none, and what firmware says of a frame buffer's place may
// be wrong: what is painted there must be nobody's.

#include "graphics.h"

#include "lapic.h"
#include "canvas.h"
#include "page.h"
#include "report_line.h"
#include "tell.h"

// Modes of one output that are looked through for screen=WIDTHxHEIGHT.
#define MODES_MAX 256u
#define MODE_NONE MODES_MAX

// Text memory, option ROMs and the BIOS below, the I/O APICs, timers, APICs and flash above: a PC
// has them at these places, whatever its memory map leaves out.
#define MIB           0x100000u
#define CHIPSET_PHYS  0xfec00000u
#define CHIPSET_BYTES 0x1400000u

static const char *format_word(EFI_GRAPHICS_PIXEL_FORMAT format)
{
    static const char *const words[] = {"rgb", "bgr", "masks", "blt-only"};
    return (size_t)format < sizeof words / sizeof words[0] ? words[format] : "unknown";
}

// A mode as a frame buffer that lies nowhere yet. False: firmware alone can draw on it.
static bool describe(const EFI_GRAPHICS_OUTPUT_MODE_INFORMATION *info,
                     struct framebuffer *framebuffer)
{
    const uint32_t low = 0xff, middle = 0xff00, high = 0xff0000;
    const EFI_PIXEL_BITMASK *masks = &info->PixelInformation;

    *framebuffer = (struct framebuffer){
        .width = info->HorizontalResolution,
        .height = info->VerticalResolution,
        .pitch_pixels = info->PixelsPerScanLine,
        .green_mask = middle,
        .pixel_bytes = sizeof(uint32_t),
    };
    switch (info->PixelFormat) {
    case PixelRedGreenBlueReserved8BitPerColor:
        framebuffer->red_mask = low;
        framebuffer->blue_mask = high;
        return true;
    case PixelBlueGreenRedReserved8BitPerColor:
        framebuffer->red_mask = high;
        framebuffer->blue_mask = low;
        return true;
    case PixelBitMask:
        framebuffer->red_mask = masks->RedMask;
        framebuffer->green_mask = masks->GreenMask;
        framebuffer->blue_mask = masks->BlueMask;
        framebuffer->pixel_bytes = framebuffer_pixel_bytes(masks->RedMask | masks->GreenMask |
                                                           masks->BlueMask | masks->ReservedMask);
        return true;
    default:
        return false;
    }
}

// How well a mode can be drawn: 32 bits in a known order before masks, and of these the more bits.
// 0: not at all.
static uint32_t rank_of(const EFI_GRAPHICS_OUTPUT_MODE_INFORMATION *info)
{
    struct framebuffer framebuffer;

    if (!describe(info, &framebuffer))
        return 0;
    framebuffer.phys = MIB; // as if it had a place, and room enough
    framebuffer.bytes = UINT64_MAX - MIB;
    if (!framebuffer_is_sane(&framebuffer))
        return 0;
    return info->PixelFormat == PixelBitMask ? framebuffer.pixel_bytes : sizeof(uint32_t) + 1;
}

// The mode of the wanted size that can be drawn best; of equals the one that is set, or the first.
// MODE_NONE if none can be drawn.
static UINT32 find_mode(const struct firmware *firmware, const struct options *options,
                        EFI_GRAPHICS_OUTPUT_PROTOCOL *output)
{
    UINT32 best = MODE_NONE;
    uint32_t best_rank = 0;

    for (UINT32 mode = 0; mode < output->Mode->MaxMode && mode < MODES_MAX; mode++) {
        EFI_GRAPHICS_OUTPUT_MODE_INFORMATION *info = NULL;
        UINTN bytes = 0;
        if (EFI_ERROR(output->QueryMode(output, mode, &bytes, &info)) || !info)
            continue;
        const bool wanted = bytes >= sizeof *info &&
                            info->HorizontalResolution == options->screen_width &&
                            info->VerticalResolution == options->screen_height;
        const uint32_t rank = wanted ? rank_of(info) : 0;
        firmware->boot->FreePool(info); // it was made for us
        if (rank > best_rank || (rank != 0 && rank == best_rank && mode == output->Mode->Mode)) {
            best = mode;
            best_rank = rank;
        }
    }
    return best;
}

static bool overlaps(const struct framebuffer *framebuffer, uint64_t phys, uint64_t bytes)
{
    return framebuffer->phys < phys + bytes &&
           phys < framebuffer->phys + framebuffer_drawn_bytes(framebuffer);
}

// NULL if the frame buffer lies where one can be; else where it lies. Surprise: memory that the map
// calls reserved may well be one, as graphics that take their memory from RAM have it.
static const char *misplaced(const struct machine *machine, const struct framebuffer *framebuffer)
{
    if ((framebuffer->phys + framebuffer_drawn_bytes(framebuffer) - 1) >>
            machine->processor.phys_bits !=
        0)
        return "its frame buffer lies beyond what the processor can address";
    if (overlaps(framebuffer, 0, MIB))
        return "its frame buffer lies below 1 MiB";
    for (size_t i = 0; i < machine->ram_count; i++) {
        if (overlaps(framebuffer, machine->ram[i].phys, machine->ram[i].bytes))
            return "its frame buffer lies in RAM that is in use";
    }
    if (overlaps(framebuffer, CHIPSET_PHYS, CHIPSET_BYTES) ||
        overlaps(framebuffer, APIC_MMIO_PHYS(machine->apic_base), PAGE_BYTES) ||
        (machine->serial_mmio != 0 &&
         overlaps(framebuffer, machine->serial_mmio / PAGE_BYTES * PAGE_BYTES, PAGE_BYTES)))
        return "its frame buffer lies over another device";
    return NULL;
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
    if (!describe(info, framebuffer))
        return "its pixel format is unknown";
    framebuffer->phys = mode->FrameBufferBase;
    framebuffer->bytes = mode->FrameBufferSize;
    if (!framebuffer_is_sane(framebuffer))
        return "its frame buffer contradicts itself";
    return misplaced(machine, framebuffer);
}

static const char *no_room(const struct machine *machine, const struct framebuffer *framebuffer)
{
    for (size_t i = 0; i < machine->framebuffer_count; i++) {
        const struct framebuffer *other = &machine->framebuffers[i];
        if (overlaps(framebuffer, other->phys, framebuffer_drawn_bytes(other)))
            return "it is another's frame buffer";
    }
    return machine->framebuffer_count == FRAMEBUFFERS_MAX ? "there are too many" : NULL;
}

// Sets the mode that screen= names. Where that cannot be, or what it then has cannot be drawn on,
// the output has the mode that it had.
static void choose_mode(const struct firmware *firmware, const struct options *options,
                        const struct machine *machine, EFI_GRAPHICS_OUTPUT_PROTOCOL *output)
{
    struct framebuffer framebuffer;

    if (!output->Mode)
        return;
    const UINT32 before = output->Mode->Mode, mode = find_mode(firmware, options, output);
    if (mode == MODE_NONE || mode == before || EFI_ERROR(output->SetMode(output, mode)))
        return;
    if (read_output(output, machine, &framebuffer) != NULL)
        (void)output->SetMode(output, before);
}

static void report_output(struct console *console, UINTN index, const struct framebuffer *found,
                          const EFI_GRAPHICS_OUTPUT_PROTOCOL *output, const char *wrong)
{
    struct report_line out;

    struct line *line = report_start_record(&out, "screen");
    record_add_decimal(line, "gop", index);
    if (wrong) {
        record_add_text(line, "skipped", wrong);
    } else {
        record_add_decimal(line, "width", found->width);
        record_add_decimal(line, "height", found->height);
        record_add_decimal(line, "pitch", found->pitch_pixels);
        record_add_text(line, "format", format_word(output->Mode->Info->PixelFormat));
        if (output->Mode->Info->PixelFormat == PixelBitMask)
            record_add_decimal(line, "bits", 8 * found->pixel_bytes);
        record_add_hex(line, "base", found->phys);
    }
    console_record(console, 0, line);
}

static const EFI_GUID graphics_output = EFI_GRAPHICS_OUTPUT_PROTOCOL_GUID;

// Why this screen, which can be drawn on, is not in the mode that screen= names.
static void tell_unmet(const struct firmware *firmware, const struct options *options,
                       const struct problems *problems, EFI_GRAPHICS_OUTPUT_PROTOCOL *output)
{
    if (find_mode(firmware, options, output) == MODE_NONE)
        problem_tell(problems, SEVERITY_WARNING, "no-such-mode",
                     "this screen has no usable mode of the size that screen= names; it keeps the "
                     "mode that it has, as with screen=auto");
    else
        problem_tell(problems, SEVERITY_WARNING, "mode-refused",
                     "firmware refuses the mode that screen= names, or sets it up unusably; the "
                     "screen keeps the mode that it had: use screen=auto");
}

void graphics_gather(const struct firmware *firmware, const struct options *options,
                     struct console *console, const struct problems *problems,
                     struct machine *machine)
{
    UINTN count;
    EFI_HANDLE *handles = firmware_handles(firmware, &graphics_output, &count);
    // Only with screen=WIDTHxHEIGHT, and where nobody has to find the screen as it was.
    const bool choose = options->screen == SCREEN_MODE && options->exit == ANSWER_YES &&
                        options->check == ANSWER_NO;

    // All first: a mode that is set through one handle changes what another leads to.
    for (UINTN i = 0; choose && i < count; i++) {
        EFI_GRAPHICS_OUTPUT_PROTOCOL *output =
            firmware_protocol(firmware, handles[i], &graphics_output);
        if (output)
            choose_mode(firmware, options, machine, output);
    }
    for (UINTN i = 0; i < count; i++) {
        struct framebuffer found;
        EFI_GRAPHICS_OUTPUT_PROTOCOL *output =
            firmware_protocol(firmware, handles[i], &graphics_output);
        if (!output)
            continue;
        const char *wrong = read_output(output, machine, &found);
        if (!wrong)
            wrong = no_room(machine, &found);
        report_output(console, i, &found, output, wrong);
        if (wrong)
            continue;
        if (choose &&
            (found.width != options->screen_width || found.height != options->screen_height))
            tell_unmet(firmware, options, problems, output);
        machine->framebuffers[machine->framebuffer_count++] = found;
    }
    if (count > 0 && machine->framebuffer_count == 0 && options->exit == ANSWER_YES)
        problem_tell(problems, SEVERITY_WARNING, "no-screen",
                     "no screen can be drawn on after the exit: read the result on the serial "
                     "port or on the stick, or use exit=no");
    if (handles)
        firmware->boot->FreePool(handles);
}

// Whether what this output shows now is one of those that are drawn on, in the same mode.
static bool is_taken(const EFI_GRAPHICS_OUTPUT_PROTOCOL *output, const struct machine *machine)
{
    struct framebuffer now;

    if (read_output(output, machine, &now) != NULL)
        return false;
    for (size_t i = 0; i < machine->framebuffer_count; i++) {
        const struct framebuffer *taken = &machine->framebuffers[i];
        if (taken->phys == now.phys && taken->width == now.width && taken->height == now.height &&
            taken->pitch_pixels == now.pitch_pixels)
            return true;
    }
    return false;
}

// Surprise: the display may be in another mode than firmware says. GRUB, where it shows graphics,
// drives the VGA of QEMU and VirtualBox by itself and leaves it so; then each row that is
// drawn has the wrong length. On bare hardware GRUB asks firmware for its mode, and a mode that is
// set again would only make the monitor go dark for a second. An output that is not drawn on keeps
// its mode: it may lead to the same displays as others do, and believe in a mode of the past.
void graphics_clear(const struct firmware *firmware, const struct machine *machine)
{
    EFI_GRAPHICS_OUTPUT_BLT_PIXEL black = {0, 0, 0, 0};
    const bool virtual = machine->under_qemu || machine->processor.hypervisor[0];
    UINTN count;
    EFI_HANDLE *handles = firmware_handles(firmware, &graphics_output, &count);

    for (UINTN i = 0; i < count; i++) {
        EFI_GRAPHICS_OUTPUT_PROTOCOL *output =
            firmware_protocol(firmware, handles[i], &graphics_output);
        if (!output || !output->Mode || !output->Mode->Info)
            continue;
        if (virtual && is_taken(output, machine))
            (void)output->SetMode(output, output->Mode->Mode);
        (void)output->Blt(output, &black, EfiBltVideoFill, 0, 0, 0, 0,
                          output->Mode->Info->HorizontalResolution,
                          output->Mode->Info->VerticalResolution, 0);
    }
    if (handles)
        firmware->boot->FreePool(handles);
}
