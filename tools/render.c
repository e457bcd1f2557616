// render WIDTH HEIGHT ROTATE CPUS FAILED TEXT [P E] > picture.ppm: the last screen as it would
// look, on this machine, with TEXT as its code; of the processors P are on performance cores, E on
// efficiency cores, the others on low-power ones. For whoever changes report/screen/ and wants to
// see it.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qr.h"
#include "screen.h"
#include "smp.h"
#include "summary.h"
#include "wall.h"

static void write_ppm(const uint32_t *pixels, uint32_t width, uint32_t height)
{
    printf("P6 %u %u 255\n", width, height);
    for (size_t i = 0; i < (size_t)width * height; i++) {
        putchar((int)(pixels[i] >> 16 & 0xff));
        putchar((int)(pixels[i] >> 8 & 0xff));
        putchar((int)(pixels[i] & 0xff));
    }
}

static bool is_dark(const void *context, uint32_t x, uint32_t y)
{
    return qr_is_dark(context, x, y);
}

static enum wall_kind kind_of(uint32_t cpu, uint32_t p, uint32_t e)
{
    return cpu < p ? WALL_P_CORE : cpu < p + e ? WALL_E_CORE : WALL_LP_CORE;
}

int main(int argc, char **argv)
{
    if (argc != 7 && argc != 9) {
        fprintf(stderr, "render WIDTH HEIGHT ROTATE CPUS FAILED TEXT [P E] > picture.ppm\n");
        return 2;
    }
    const uint32_t width = (uint32_t)atoi(argv[1]), height = (uint32_t)atoi(argv[2]);
    const uint32_t count = (uint32_t)atoi(argv[4]), failed = (uint32_t)atoi(argv[5]);
    uint32_t *pixels = calloc((size_t)width * height, sizeof *pixels);
    struct wall_cpu *cpus = calloc(count, sizeof *cpus);
    const struct framebuffer framebuffer = {
        4, (uint64_t)width * height * 4, width, height, width, 0xff0000, 0xff00, 0xff, 4};
    struct canvas canvas;
    struct wall_layout layout;
    struct screen screen;
    struct outcome outcome = {.want = count - 1, .failed = failed, .ok = failed == 0};
    char buffer[80];
    struct line headline;
    struct qr code;

    canvas_open(&canvas);
    if (!pixels || !cpus || !canvas_add(&canvas, &framebuffer, pixels, (uint32_t)atoi(argv[3])))
        return 1;
    wall_plan(&canvas, &layout);
    void *cells = malloc(screen_bytes(&canvas, layout.text_height) + 1);
    screen_open(&screen, &canvas, layout.text_height, cells);
    for (uint32_t i = 0; i < count; i++) {
        char line[80];
        const bool lost = i > 0 && failed > 0 && i % (count / failed ? count / failed : 1) == 1;
        cpus[i] = (struct wall_cpu){
            .index = i,
            .package = i / 64,
            .core = i / 2,
            .thread = i % 2,
            .kind = argc == 9 ? kind_of(i, (uint32_t)atoi(argv[7]), (uint32_t)atoi(argv[8]))
                              : WALL_ANY_CORE,
            .state = i == 0 ? WALL_BSP
                     : lost ? WALL_FAILED
                            : WALL_GREETED,
            .reached = WALL_LONG,
            .us = {500 + i * 7, 560 + i * 7, 600 + i * 7, lost ? 0 : 640 + i * 9},
        };
        if (lost)
            snprintf(line, sizeof line, "CPU %u failed: %s", i, smp_cause_story(SMP_CAUSE_FAULT));
        else
            snprintf(line, sizeof line, "Hello from CPU %u! APIC ID: %u", i, i);
        screen_write_line(&screen, line);
    }
    screen_paint(&screen);
    line_start(&headline, buffer, sizeof buffer);
    summary_headline(&outcome, &headline);
    wall_draw(&canvas, &layout, cpus, count, headline.text, outcome.ok);
    if (!qr_make(&code, argv[6], strlen(argv[6]))) {
        fprintf(stderr, "render: TEXT is too long for a code\n");
        return 1;
    }
    if (!wall_code_fits(&layout, code.side))
        fprintf(stderr, "render: the code does not fit\n");
    else
        wall_draw_code(&canvas, &layout, code.side, is_dark, &code);
    write_ppm(pixels, width, height);
    free(cells);
    free(cpus);
    free(pixels);
    return 0;
}
