// Pixels. Every shape ends in fill_target: a rectangle, cut to the target, turned, and written line
// by line as the panel is wired.

#include "canvas.h"

// A run of ones: where it begins and how long it is. Bits 0 if the mask is none.
static struct channel channel_of(uint32_t mask)
{
    struct channel channel = {0, 0};

    if (mask == 0)
        return channel;
    while ((mask & 1) == 0) {
        mask >>= 1;
        channel.shift++;
    }
    while (mask & 1) {
        mask >>= 1;
        channel.bits++;
    }
    if (mask != 0)
        channel.bits = 0;
    return channel;
}

uint32_t framebuffer_pixel_bytes(uint32_t masks)
{
    uint32_t bytes = 0;

    for (; masks != 0; masks >>= 8)
        bytes++;
    return bytes;
}

bool framebuffer_is_sane(const struct framebuffer *framebuffer)
{
    const uint32_t red = framebuffer->red_mask, green = framebuffer->green_mask,
                   blue = framebuffer->blue_mask;

    if (framebuffer->phys == 0 || framebuffer->phys % sizeof(uint32_t) != 0 ||
        framebuffer->width == 0 || framebuffer->height == 0 ||
        framebuffer->pitch_pixels < framebuffer->width ||
        framebuffer->phys + framebuffer->bytes < framebuffer->phys)
        return false;
    if ((red & green) | (red & blue) | (green & blue) || channel_of(red).bits == 0 ||
        channel_of(green).bits == 0 || channel_of(blue).bits == 0)
        return false;
    if (framebuffer->pixel_bytes > sizeof(uint32_t) ||
        framebuffer->pixel_bytes < framebuffer_pixel_bytes(red | green | blue))
        return false;
    return (uint64_t)framebuffer->pitch_pixels * framebuffer->height <=
           framebuffer->bytes / framebuffer->pixel_bytes;
}

void canvas_open(struct canvas *canvas)
{
    *canvas = (struct canvas){.count = 0};
}

bool canvas_add(struct canvas *canvas, const struct framebuffer *framebuffer, void *pixels,
                uint32_t rotate)
{
    const bool turned = rotate == 90 || rotate == 270;
    const uint32_t width = turned ? framebuffer->height : framebuffer->width;
    const uint32_t height = turned ? framebuffer->width : framebuffer->height;

    if (canvas->count == FRAMEBUFFERS_MAX || !framebuffer_is_sane(framebuffer))
        return false;
    canvas->targets[canvas->count++] = (struct canvas_target){
        .pixels = pixels,
        .width = framebuffer->width,
        .height = framebuffer->height,
        .pitch = framebuffer->pitch_pixels,
        .pixel_bytes = framebuffer->pixel_bytes,
        .rotate = rotate,
        .red = channel_of(framebuffer->red_mask),
        .green = channel_of(framebuffer->green_mask),
        .blue = channel_of(framebuffer->blue_mask),
    };
    canvas->width = canvas->count == 1 || width < canvas->width ? width : canvas->width;
    canvas->height = canvas->count == 1 || height < canvas->height ? height : canvas->height;
    return true;
}

uint64_t canvas_pixels(const struct canvas *canvas)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < canvas->count; i++)
        sum += (uint64_t)canvas->targets[i].width * canvas->targets[i].height;
    return sum;
}

// Eight bits of a colour, in as many as the panel has.
static uint32_t put_channel(struct channel channel, uint32_t value)
{
    return channel.bits >= 8 ? value << (channel.bits - 8) << channel.shift
                             : value >> (8 - channel.bits) << channel.shift;
}

static uint32_t pixel_of(const struct canvas_target *target, color wanted)
{
    return put_channel(target->red, wanted >> 16 & 0xff) |
           put_channel(target->green, wanted >> 8 & 0xff) |
           put_channel(target->blue, wanted & 0xff);
}

// From logical coordinates to the panel's.
static struct box turn(const struct canvas_target *target, struct box box)
{
    switch (target->rotate) {
    case 90: // the logical top is the panel's right edge
        return (struct box){target->width - box.y - box.height, box.x, box.height, box.width};
    case 180:
        return (struct box){target->width - box.x - box.width, target->height - box.y - box.height,
                            box.width, box.height};
    case 270:
        return (struct box){box.y, target->height - box.x - box.width, box.height, box.width};
    default:
        return box;
    }
}

// One line of one colour. Few and wide stores: a frame buffer may be uncached.
static void fill_line(uint8_t *line, uint32_t pixel_bytes, uint32_t width, uint32_t pixel)
{
    volatile uint32_t *words = (volatile uint32_t *)(void *)line;

    if (pixel_bytes == sizeof *words) {
        for (uint32_t x = 0; x < width; x++)
            words[x] = pixel;
        return;
    }
    for (uint32_t step; width > 0; width -= step, line += step * pixel_bytes) {
        if (pixel_bytes == 3 && width >= 4 && (uintptr_t)line % sizeof *words == 0) {
            words = (volatile uint32_t *)(void *)line; // three for four pixels
            words[0] = pixel << 24 | pixel;
            words[1] = pixel << 16 | pixel >> 8;
            words[2] = pixel << 8 | pixel >> 16;
            step = 4;
        } else {
            for (uint32_t i = 0; i < pixel_bytes; i++)
                ((volatile uint8_t *)line)[i] = (uint8_t)(pixel >> 8 * i);
            step = 1;
        }
    }
}

// The box lies within the canvas, and so within every target.
static void fill_target(const struct canvas_target *target, struct box logical, uint32_t pixel)
{
    const struct box box = turn(target, logical);

    for (uint32_t y = box.y; y < box.y + box.height; y++)
        fill_line(target->pixels + ((size_t)y * target->pitch + box.x) * target->pixel_bytes,
                  target->pixel_bytes, box.width, pixel);
}

void canvas_fill(const struct canvas *canvas, uint32_t x, uint32_t y, uint32_t width,
                 uint32_t height, color fill)
{
    if (x >= canvas->width || y >= canvas->height)
        return;
    const struct box box = {x, y, width < canvas->width - x ? width : canvas->width - x,
                            height < canvas->height - y ? height : canvas->height - y};
    for (size_t i = 0; i < canvas->count; i++)
        fill_target(&canvas->targets[i], box, pixel_of(&canvas->targets[i], fill));
}

static bool glyph_pixel(const struct font *font, const uint8_t *glyph, uint32_t x, uint32_t y)
{
    const uint32_t row_bytes = (font->width + 7u) / 8u;
    return glyph[y * row_bytes + x / 8] >> (7 - x % 8) & 1;
}

void canvas_glyph(const struct canvas *canvas, const struct font *font, uint32_t scale, uint32_t x,
                  uint32_t y, char character, color ink, color paper)
{
    uint8_t glyph[FONT_BYTES_MOST];

    font_unpack(font, character, glyph);
    // Runs of one colour, line by line.
    for (uint32_t row = 0; row < font->height; row++) {
        for (uint32_t from = 0, to; from < font->width; from = to) {
            const bool inked = glyph_pixel(font, glyph, from, row);
            for (to = from + 1; to < font->width && glyph_pixel(font, glyph, to, row) == inked;)
                to++;
            canvas_fill(canvas, x + from * scale, y + row * scale, (to - from) * scale, scale,
                        inked ? ink : paper);
        }
    }
}

uint32_t canvas_text(const struct canvas *canvas, const struct font *font, uint32_t scale,
                     uint32_t x, uint32_t y, const char *text, color ink, color paper)
{
    for (; *text; text++, x += font->width * scale)
        canvas_glyph(canvas, font, scale, x, y, *text, ink, paper);
    return x;
}
