// The window: the time in which the BSP runs on the engine's tables, in the address space and with
// the handlers that the APs have. After the exit it stays open once it is. While firmware lives
// (exit=no) it is opened and closed around each round; what is said in it is shown behind it.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "bsp.h"
#include "firmware.h"
#include "machine.h"
#include "smp.h"
#include "voice.h"

struct window {
    const struct firmware *firmware;
    struct voice *voice;
    struct smp *smp;
    struct bsp_home home;
    bool firmware_lives; // and gets the BSP back
    bool is_open;
    struct bsp_state before; // with exit=no: the BSP as firmware had it
    EFI_TPL tpl;             // to go back to
};

// Closed. Where firmware lives, reads the BSP's state, to give it back.
enum window_kind { WINDOW_ONCE, WINDOW_BY_ROUND };
void window_start(struct window *window, enum window_kind kind, const struct firmware *firmware,
                  const struct processor *processor, struct voice *voice, struct smp *smp,
                  uint64_t pat);

// The engine sees the trampoline's page where it can be written: in our address space it is
// executable at its own address, and writable in the engine's window onto it. Does nothing if it is
// open.
void window_open(struct window *window);

// Back to firmware, if it lives. Does nothing if the window is closed.
void window_close(struct window *window);

// What the page is written through while the window is open.
uint8_t *window_page_view(const struct window *window);
