// Waiting for somebody at the keyboard: before the exit, who may stop the run or change its
// options; and before the image returns, who may want to read. Surprise: the wait for an answer has
// an end even after the first key, since whoever typed may have gone away.

#include "wait.h"

#include "mem.h"
#include "shell.h"
#include "tell.h"

#define KEYS_MOST        256u
#define LOOK_US          50000u
#define LOOKS_PER_SECOND (1000000u / LOOK_US)
#define TYPING_S         600u // without a key: whoever typed has gone away
#define LOOKING_S        600u // the same of whoever looked

#define BACKSPACE   L'\b'
#define ENTER       L'\r'
#define ESCAPE_SCAN 0x17u // UEFI 2.10, table "EFI Scan Codes"

static bool take_key(const struct firmware *firmware, EFI_INPUT_KEY *key)
{
    SIMPLE_INPUT_INTERFACE *keys = firmware->system->ConIn;
    return keys && !EFI_ERROR(keys->ReadKeyStroke(keys, key));
}

// What was typed before does not count; a keyboard that never ends is one that is pressed.
static void drain_keys(const struct firmware *firmware)
{
    EFI_INPUT_KEY key;

    for (uint32_t keys = 0; keys < KEYS_MOST && take_key(firmware, &key); keys++)
        ;
}

static bool wait_for_key(const struct firmware *firmware, uint64_t seconds, EFI_INPUT_KEY *key)
{
    for (uint64_t looks = seconds * LOOKS_PER_SECOND; looks > 0; looks--) {
        if (take_key(firmware, key))
            return true;
        firmware->boot->Stall(LOOK_US);
    }
    return false;
}

static void echo(const struct firmware *firmware, CHAR16 *text)
{
    SIMPLE_TEXT_OUTPUT_INTERFACE *output = firmware->system->ConOut;
    if (output)
        output->OutputString(output, text);
}

static void echo_line(const struct firmware *firmware, const struct typed *typed)
{
    CHAR16 wide[sizeof typed->text + 1];

    for (size_t i = 0; i < typed->length; i++)
        wide[i] = (CHAR16)typed->text[i];
    wide[typed->length] = 0;
    echo(firmware, wide);
}

// Goes on from what stands in `typed`. False: ESC, or nobody there any more.
static bool edit_line(const struct firmware *firmware, struct typed *typed)
{
    EFI_INPUT_KEY key;

    echo_line(firmware, typed);
    while (wait_for_key(firmware, TYPING_S, &key)) {
        CHAR16 shown[] = {key.UnicodeChar, 0}, rub_out[] = L"\b \b", line_end[] = L"\r\n";
        if (key.UnicodeChar == ENTER || key.ScanCode == ESCAPE_SCAN) {
            echo(firmware, line_end);
            return key.UnicodeChar == ENTER;
        }
        if (key.UnicodeChar == BACKSPACE && typed->length > 0) {
            typed->length--;
            echo(firmware, rub_out);
        } else if (key.UnicodeChar >= 0x20 && key.UnicodeChar < 0x7f &&
                   typed->length < sizeof typed->text) {
            typed->text[typed->length++] = (char)key.UnicodeChar;
            echo(firmware, shown);
        }
    }
    return false;
}

static enum wait_end edit(const struct firmware *firmware, const struct options *options,
                          struct console *console, const struct problems *problems,
                          struct typed *typed)
{
    if (options->words_too_long)
        console_ask(console, "The options have more than %u characters: type the whole line again",
                    OPTION_WORDS_BYTES);
    console_ask(console, "Edit the options: ENTER starts the run with them, ESC stops it", 0);
    memcpy(typed->text, options->words, options->words_length);
    typed->length = options->words_length;
    typed->given = edit_line(firmware, typed);
    if (typed->given)
        return WAIT_EDIT;
    problem_tell(problems, SEVERITY_WARNING, "stopped",
                 "nothing was entered: no processor was woken, and firmware continues");
    return WAIT_STOP;
}

enum wait_end wait_for_objection(const struct firmware *firmware, const struct options *options,
                                 struct console *console, const struct problems *problems,
                                 struct typed *typed)
{
    EFI_INPUT_KEY key;

    if (options->wait_s == 0)
        return WAIT_OVER;
    firmware_stop_watchdog(firmware);
    drain_keys(firmware);
    console_ask(console,
                "Leaving firmware in %u s: press e to edit the options, any other key to stop",
                options->wait_s);
    if (!wait_for_key(firmware, options->wait_s, &key))
        return WAIT_OVER;
    if (key.UnicodeChar == L'e' || key.UnicodeChar == L'E')
        return edit(firmware, options, console, problems, typed);
    problem_tell(problems, SEVERITY_WARNING, "stopped",
                 "a key was pressed: no processor was woken, and firmware continues");
    return WAIT_STOP;
}

void wait_for_reader(const struct firmware *firmware, struct console *console)
{
    EFI_INPUT_KEY key;

    if (shell_started(firmware))
        return;
    firmware_stop_watchdog(firmware);
    drain_keys(firmware);
    console_ask(console, "Press a key to return to firmware; it happens by itself after %u s",
                LOOKING_S);
    (void)wait_for_key(firmware, LOOKING_S, &key);
}
