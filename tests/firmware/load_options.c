// `load-options=KIND`: the image gets load options as firmware and tools have been seen to make
// them. `whole-entry`: the whole boot entry with the options in it, as Dell's firmware has it;
// `stray-byte`: UTF-16 with one byte more; `windows`: those of a boot entry that bcdedit wrote;
// anything else, with a + for each blank, is them. Surprise: they start at an odd address, and no
// terminator stands behind them.

#include "preload.h"

#include "mem.h"

static const CHAR16 words[] = L"cpus=2 rounds=2";
#define WORDS_BYTES (sizeof words - sizeof words[0])

static uint8_t memory[4096];
static size_t used = 1;

static void add(const void *bytes, size_t count)
{
    memcpy(memory + used, bytes, count);
    used += count;
}

static void add_whole_entry(void)
{
    static const uint8_t attributes[] = {1, 0, 0, 0}; // active
    static const CHAR16 description[] = L"Reveille";
    // A partition by its GUID, a file on it, and the end (UEFI 2.10, "Media Device Path").
    static const uint8_t disk[0x2a] = {4, 1, 0x2a, 0, 1, [0x28] = 2, 2};
    static const CHAR16 name[] = L"\\EFI\\BOOT\\BOOTX64.EFI";
    static const uint8_t file[] = {4, 4, 4 + sizeof name, 0}, end[] = {0x7f, 0xff, 4, 0};
    static const uint8_t path_bytes[] = {sizeof disk + sizeof file + sizeof name + sizeof end, 0};

    add(attributes, sizeof attributes);
    add(path_bytes, sizeof path_bytes);
    add(description, sizeof description);
    add(disk, sizeof disk);
    add(file, sizeof file);
    add(name, sizeof name);
    add(end, sizeof end);
    add(words, WORDS_BYTES);
}

static void add_windows(void)
{
    static const uint8_t head[] = {'W', 'I', 'N',  'D', 'O', 'W', 'S', 0, 1, 0,
                                   0,   0,   0x88, 0,   0,   0,   'x', 0, 0, 0};
    static const CHAR16 object[] = L"BCDOBJECT={9dea862c-5cdd-4e70-acc1-f32b344d4795}";

    add(head, sizeof head);
    add(object, sizeof object);
}

// The configuration has at most half as many characters as there is room for here.
static void add_text(const char *text)
{
    for (; *text; text++)
        add((const uint8_t[]){(uint8_t)(*text == '+' ? ' ' : *text), 0}, sizeof(CHAR16));
}

static EFI_STATUS start(const struct preload *preload, const char *value)
{
    if (preload_is(value, "whole-entry")) {
        add_whole_entry();
    } else if (preload_is(value, "stray-byte")) {
        add(words, WORDS_BYTES);
        add("\n", 1);
    } else if (preload_is(value, "windows")) {
        add_windows();
    } else {
        add_text(value);
    }
    preload->image_loaded->LoadOptions = memory + 1;
    preload->image_loaded->LoadOptionsSize = (UINT32)(used - 1);
    preload_say(preload, L"preload: load options are set\r\n");
    return EFI_SUCCESS;
}

const struct behaviour behaviour_load_options = {"load-options", start};
