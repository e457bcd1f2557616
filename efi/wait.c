// The last moment in which somebody at the keyboard can stop the run.

#include "run.h"

#define KEYS_MOST        256u
#define LOOK_US          50000u
#define LOOKS_PER_SECOND (1000000u / LOOK_US)

static bool key_is_pressed(const struct firmware *firmware)
{
    SIMPLE_INPUT_INTERFACE *keys = firmware->system->ConIn;
    EFI_INPUT_KEY key;
    return keys && !EFI_ERROR(keys->ReadKeyStroke(keys, &key));
}

bool run_is_stopped(struct reveille *run)
{
    char buffer[LINE_BYTES];
    struct line line;

    if (run->options.wait_s == 0)
        return false;
    // What was typed before does not count; a keyboard that never ends is one that is pressed.
    for (uint32_t keys = 0; keys < KEYS_MOST && key_is_pressed(&run->firmware); keys++)
        ;
    line_start(&line, buffer, sizeof buffer);
    line_add_format(&line, "Leaving firmware in %u s: any key stops it",
                    (uint64_t)run->options.wait_s);
    console_say(&run->console, 0, &line);
    for (uint64_t looks = (uint64_t)run->options.wait_s * LOOKS_PER_SECOND; looks > 0; looks--) {
        if (key_is_pressed(&run->firmware)) {
            report_problem(&run->log, SEVERITY_WARNING, "stopped",
                           "a key was pressed: nobody was woken, and firmware goes on");
            return true;
        }
        run->firmware.boot->Stall(LOOK_US);
    }
    return false;
}
