// Firmware's text screens, for lines, until the exit.
#pragma once

#include "firmware.h"

struct text_screens {
    const struct firmware *firmware;
    bool pause; // wait for a key after each page
    size_t row; // of the page, written so far
    SIMPLE_TEXT_OUTPUT_INTERFACE *outputs[8];
    size_t count;
};

// With `everywhere` the whole ConOut, else only screens, since a serial terminal would show each
// line twice.
void text_screens_open(const struct firmware *firmware, bool everywhere,
                       struct text_screens *screens);

void text_screens_write(struct text_screens *screens, const char *text);
