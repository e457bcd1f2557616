// Fuzzer: frame buffers that firmware describes at random, in every pixel format and rotation, with
// text, wall and code drawn on them. Surprise: the pixels lie in memory of exactly the size that
// was claimed, so that ASan sees one more.
#include "fuzz.h"

#include "canvas.h"
#include "qr.h"
#include "screen.h"
#include "wall.h"

#define BYTES_MOST   (1u << 20)
#define TARGETS_MOST 2u
#define TILES_MOST   300u

static bool is_dark(const void *context, uint32_t x, uint32_t y)
{
    return qr_is_dark(context, x, y);
}

static void write_lines(struct input *input, struct screen *screen)
{
    char line[128];

    for (size_t lines = input_choice(input, 40); lines > 0; lines--) {
        const uint8_t kind = input_u8(input);
        const size_t record =
            kind & 1 ? (size_t)sprintf(line, "REVEILLE ev=%s", kind & 2 ? "error" : "cpu") : 0;
        const size_t more = input_u8(input) % (sizeof line - record);
        memset(line + record, 'x', more);
        input_take(input, line + record, more < 8 ? more : 8);
        line[record + more] = '\0';
        if (kind & 4)
            screen_rewrite_line(screen, line);
        else
            screen_write_line(screen, line);
        MUST(screen->row <= screen->rows && screen->changing <= screen->rows);
        if (kind & 8)
            screen_paint(screen);
    }
}

static void draw_text(struct input *input, const struct canvas *canvas, uint32_t height)
{
    struct screen screen;
    void *shadow = malloc(screen_bytes(canvas, height) + 1);

    MUST(shadow != NULL);
    screen_open(&screen, canvas, height, shadow);
    screen.records = input_u8(input) % 2;
    write_lines(input, &screen);
    screen_paint(&screen);
    free(shadow);
}

static void draw_wall(struct input *input, const struct canvas *canvas,
                      const struct wall_layout *layout)
{
    static struct wall_cpu tiles[TILES_MOST];
    const size_t count = input_u16(input) % (TILES_MOST + 1);
    const uint8_t packages = input_u8(input), cores = input_u8(input);
    char headline[64];

    for (size_t i = 0; i < count; i++) {
        const uint8_t state = input_u8(input);
        tiles[i] = (struct wall_cpu){
            .index = state == 255 ? input_u32(input) : (uint32_t)i,
            .package = packages == 0 ? 0 : (uint32_t)i / packages,
            .core = cores == 0 ? (uint32_t)i : (uint32_t)i % cores,
            .thread = (uint32_t)i % 2,
            .kind = (enum wall_kind)(state / 8 % WALL_KINDS),
            .state = (enum wall_state)(state % WALL_STATES),
            .reached = (enum wall_state)(state / 16 % (WALL_GREETED + 1)),
        };
        for (size_t stage = 0; stage < state % (WALL_STAGES + 1u); stage++)
            tiles[i].us[stage] = state < 250 ? 100 * state + 1 : input_u32(input);
    }
    headline[input_take(input, headline, input_u8(input) % sizeof headline)] = '\0';
    wall_draw(canvas, layout, tiles, count, headline, count % 2);
    for (size_t i = 1; i < count; i++)
        MUST(tiles[i - 1].package <= tiles[i].package); // as they sit
}

static void draw_code(struct input *input, const struct canvas *canvas,
                      const struct wall_layout *layout)
{
    struct qr code;
    char text[QR_TEXT_MOST + 2];
    const size_t length = input_u8(input);

    memset(text, 'q', sizeof text);
    input_take(input, text, length < 16 ? length : 16);
    const bool fits = qr_make(&code, text, length < sizeof text ? length : sizeof text);
    MUST(fits == (length <= QR_TEXT_MOST));
    if (!fits)
        return;
    MUST(code.side >= 21 && code.side <= QR_SIDE_MOST && code.side % 4 == 1);
    if (wall_code_fits(layout, code.side))
        wall_draw_code(canvas, layout, code.side, is_dark, &code);
}

static struct framebuffer take_framebuffer(struct input *input)
{
    static const struct {
        uint32_t bytes, red, green, blue;
    } formats[] = {
        {4, 0xff0000, 0xff00, 0xff},
        {4, 0xff, 0xff00, 0xff0000},
        {4, 0xff000000, 0xff0000, 0xff00},
        {4, 0x3ff00000, 0xffc00, 0x3ff},
        {3, 0xff0000, 0xff00, 0xff},
        {3, 0xff, 0xff00, 0xff0000},
        {2, 0xf800, 0x7e0, 0x1f},
        {2, 0x7c00, 0x3e0, 0x1f},
        {1, 0xe0, 0x1c, 0x3},
    };
    const size_t format = input_choice(input, sizeof formats / sizeof formats[0]);
    const uint8_t odd = input_u8(input);
    struct framebuffer framebuffer = {
        .phys = 0x100000,
        .width = input_u16(input) % 1024,
        .height = input_u16(input) % 1024,
        .red_mask = odd & 1 ? input_u32(input) : formats[format].red,
        .green_mask = odd & 2 ? input_u32(input) : formats[format].green,
        .blue_mask = formats[format].blue,
        .pixel_bytes = odd & 4 ? input_u8(input) % 8 : formats[format].bytes,
    };
    framebuffer.pitch_pixels = framebuffer.width + input_u8(input) % 16;
    framebuffer.bytes = odd & 8 ? input_u32(input) : framebuffer_drawn_bytes(&framebuffer);
    framebuffer.bytes %= BYTES_MOST;
    return framebuffer;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    uint8_t *pixels[TARGETS_MOST];
    struct canvas canvas;
    struct wall_layout layout;

    canvas_open(&canvas);
    const size_t targets = 1 + (input_u8(&input) % 8 == 7);
    for (size_t i = 0; i < targets; i++) {
        const struct framebuffer framebuffer = take_framebuffer(&input);
        pixels[i] = malloc(framebuffer.bytes);
        MUST(pixels[i] != NULL);
        const bool added =
            canvas_add(&canvas, &framebuffer, pixels[i], 90 * (uint32_t)input_choice(&input, 4));
        MUST(added == framebuffer_is_sane(&framebuffer));
        MUST(!added || framebuffer_drawn_bytes(&framebuffer) <= framebuffer.bytes);
    }
    if (canvas.count > 0) {
        wall_plan(&canvas, &layout);
        MUST(layout.text_height <= canvas.height);
        draw_text(&input, &canvas, layout.text_height);
        draw_wall(&input, &canvas, &layout);
        draw_code(&input, &canvas, &layout);
    }
    for (size_t i = 0; i < targets; i++)
        free(pixels[i]);
    return 0;
}
