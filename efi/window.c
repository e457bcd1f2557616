// Opening and closing. Nothing here can fail, and nothing ends the run.

#include "window.h"

#include "mem.h"

static struct bsp_home home_of(const struct smp *smp, const struct processor *processor,
                               uint64_t pat)
{
    const struct smp_tables tables = smp_tables(smp);

    return (struct bsp_home){
        .cr3 = tables.cr3,
        .pat = pat,
        .no_execute = processor->no_execute,
        .gdt = {tables.gdt_limit, tables.gdt},
        .early_idt = {tables.idt_limit, tables.early_idt},
        .idt = {tables.idt_limit, tables.idt},
        .segments = {tables.code, tables.data, tables.data, tables.data},
        .task = tables.task,
    };
}

void window_start(struct window *window, enum window_kind kind, const struct firmware *firmware,
                  const struct processor *processor, struct voice *voice, struct smp *smp,
                  uint64_t pat)
{
    memset(window, 0, sizeof *window);
    window->firmware = firmware;
    window->voice = voice;
    window->smp = smp;
    window->home = home_of(smp, processor, pat);
    window->firmware_lives = kind == WINDOW_BY_ROUND;
    if (window->firmware_lives)
        bsp_read(firmware, processor, &window->before);
}

uint8_t *window_page_view(const struct window *window)
{
    return (uint8_t *)(uintptr_t)smp_layout(window->smp).page_window;
}

void window_open(struct window *window)
{
    if (window->is_open)
        return;
    voice_hide_firmware(window->voice);
    if (window->firmware_lives)
        window->tpl = bsp_borrow(window->firmware, &window->home);
    else
        bsp_take_over(window->firmware, &window->home);
    window->is_open = true;
    smp_set_page_view(window->smp, window_page_view(window));
}

void window_close(struct window *window)
{
    if (!window->firmware_lives || !window->is_open)
        return;
    bsp_hand_back(window->firmware, &window->before, window->tpl);
    window->is_open = false;
    smp_set_page_view(window->smp, (uint8_t *)(uintptr_t)smp_layout(window->smp).page_phys);
    voice_show_firmware(window->voice);
}
