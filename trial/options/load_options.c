// What firmware hands over as load options; see load_options.h. Every kind that is told apart here
// was seen in public reports: firmware (Dell's whole entries, the marks of EDK II and AMI), boot
// managers, and tools that write boot entries. Surprise: no encoding is believed for its looks
// alone. A reading is proved by an option that it holds, and only where none does, looks decide.
#include "load_options.h"

#include "option_table.h"

struct bytes {
    const uint8_t *at;
    size_t count;
};

static bool starts_with(struct bytes bytes, const uint8_t *wanted, size_t count)
{
    size_t i = 0;
    while (i < count && i < bytes.count && bytes.at[i] == wanted[i]) {
        i++;
    }
    return i == count;
}

static struct bytes without_first(struct bytes bytes, size_t count)
{
    return (struct bytes){bytes.at + count, bytes.count - count};
}

static uint32_t read_u16(struct bytes bytes, size_t at)
{
    return (uint32_t)bytes.at[at] | (uint32_t)bytes.at[at + 1] << 8;
}

// ---- a whole boot entry ----

// EFI_LOAD_OPTION (UEFI 2.10, "Load Options"): attributes (32 bits), length of the path list
// (16 bits), description in UTF-16 with a NUL, path list, and behind it the options proper.
#define ENTRY_HEAD_BYTES 6u
// LOAD_OPTION_ACTIVE, _FORCE_RECONNECT, _HIDDEN and _CATEGORY; the others are reserved. Text has
// others set: two ASCII characters in UTF-16, or four of 8 bits, are a number above this.
#define ENTRY_ATTRIBUTES (0x1u | 0x2u | 0x8u | 0x1f00u)

// Device path nodes (UEFI 2.10, "Generic Device Path Structures"): type, subtype, length.
#define NODE_HEAD_BYTES 4u
#define NODE_END        0x7fu
#define NODE_END_ENTIRE 0xffu

// Nodes up to the last byte, and the last one ends a path. Some firmware lists two paths, each with
// its end.
static bool is_path_list(struct bytes list)
{
    bool ended = false;
    while (list.count > 0) {
        if (list.count < NODE_HEAD_BYTES) {
            return false;
        }
        const size_t node_bytes = read_u16(list, 2);
        if (node_bytes < NODE_HEAD_BYTES || node_bytes > list.count ||
            (list.at[0] == NODE_END && node_bytes != NODE_HEAD_BYTES)) {
            return false;
        }
        ended = list.at[0] == NODE_END && list.at[1] == NODE_END_ENTIRE;
        list = without_first(list, node_bytes);
    }
    return ended;
}

// Are the bytes a whole boot entry? Then only the options in it are left of them.
static bool unwrap_entry(struct bytes *bytes)
{
    if (bytes->count < ENTRY_HEAD_BYTES ||
        ((read_u16(*bytes, 0) | read_u16(*bytes, 2) << 16) & ~ENTRY_ATTRIBUTES) != 0) {
        return false;
    }
    const size_t list_bytes = read_u16(*bytes, 4);
    size_t at = ENTRY_HEAD_BYTES;
    while (bytes->count - at >= 2 && read_u16(*bytes, at) != 0) {
        at += 2;
    }
    if (bytes->count - at < 2 || list_bytes > bytes->count - at - 2 ||
        !is_path_list((struct bytes){bytes->at + at + 2, list_bytes})) {
        return false;
    }
    *bytes = without_first(*bytes, at + 2 + list_bytes);
    return true;
}

// ---- what others put there for themselves ----

// The GUID by which EDK II knows the entries that it made itself, and "BO", by which AMI's does.
static const uint8_t edk2_mark[] = {0x4e, 0xac, 0x08, 0x81, 0x11, 0x9f, 0x59, 0x4d,
                                    0x85, 0x0e, 0xe2, 0x1a, 0x52, 0x2c, 0x59, 0xb2};
static const uint8_t ami_mark[] = {0, 0, 'B', 'O'};

static void drop_mark(struct bytes *bytes, const uint8_t *mark, size_t count)
{
    if (bytes->count >= count &&
        starts_with(without_first(*bytes, bytes->count - count), mark, count)) {
        bytes->count -= count;
    }
}

// bcdedit starts so what it writes into an entry; a number and a BCD object follow.
static const uint8_t windows[] = {'W', 'I', 'N', 'D', 'O', 'W', 'S', 0};

// ---- text ----

static bool is_control(struct text text, size_t index)
{
    const uint16_t unit = text_unit(text, index);
    const bool space = unit == '\t' || unit == '\r' || unit == '\n';
    // In 8 bits 0x80 to 0x9f are parts of UTF-8's characters.
    return (unit < 0x20 && !space) || unit == 0x7f ||
           (text.unit_bytes == 2 && unit >= 0x80 && unit < 0xa0);
}

// No control character, and in UTF-16 no unpaired surrogate and no noncharacter (erased flash reads
// 0xFFFF).
static bool is_text(struct text text)
{
    for (size_t i = 0; i < text.units; i++) {
        const uint16_t unit = text_unit(text, i);
        const uint16_t next = i + 1 < text.units ? text_unit(text, i + 1) : 0;
        if (is_control(text, i) || unit >= 0xfffe || (unit >= 0xdc00 && unit < 0xe000)) {
            return false;
        }
        if (unit >= 0xd800 && unit < 0xdc00) {
            if (next < 0xdc00 || next >= 0xe000) {
                return false;
            }
            i++;
        }
    }
    return true;
}

bool load_options_has_option(struct text piece)
{
    size_t word = 0;
    for (size_t i = 0; i < piece.units; i++) {
        const char c = text_char(piece, i);
        if (c == '=' && option_find(text_slice(piece, word, i - word))) {
            return is_text(piece);
        }
        word = text_is_blank(c) ? i + 1 : word;
    }
    return false;
}

bool load_options_next_piece(struct text text, size_t *at, struct text *piece)
{
    while (*at < text.units && text_unit(text, *at) == 0) {
        ++*at;
    }
    const struct text rest = text_slice(text, *at, text.units - *at);
    *piece = text_slice(rest, 0, text_find(rest, '\0'));
    *at += piece->units;
    return piece->units > 0;
}

static bool is_proved(struct text text)
{
    struct text piece;
    for (size_t at = 0; load_options_next_piece(text, &at, &piece);) {
        if (load_options_has_option(piece)) {
            return true;
        }
    }
    return false;
}

// Without an option in it: text from the first unit to the first NUL, and of UTF-16 at least half
// of it ASCII, since most random 16-bit numbers are letters somewhere in Unicode; of 8 bits all of
// it, and nothing but NULs behind it.
static bool looks_like_text(struct text text)
{
    const struct text first = text_slice(text, 0, text_find(text, '\0'));
    struct text other;
    size_t at = first.units, ascii = 0;

    for (size_t i = 0; i < first.units; i++) {
        ascii += text_unit(first, i) < 0x80;
    }
    if (first.units == 0 || !is_text(first)) {
        return false;
    }
    return text.unit_bytes == 2
               ? 2 * ascii >= first.units
               : ascii == first.units && !load_options_next_piece(text, &at, &other);
}

static bool is_readable(struct text text)
{
    return is_proved(text) || looks_like_text(text);
}

// Of 8 bits, of 16, and, with a byte too many and an option as proof, of 16 behind that byte.
static enum load_options_kind read_text(struct bytes bytes, struct load_options *found)
{
    found->text = (struct text){bytes.at, bytes.count, 1};
    if (is_readable(found->text)) {
        return LOAD_OPTIONS_TEXT;
    }
    const bool odd = bytes.count % 2 != 0;
    found->text = (struct text){bytes.at, bytes.count / 2, 2};
    if (is_readable(found->text)) {
        found->stray_last = odd;
        return LOAD_OPTIONS_TEXT;
    }
    if (odd) {
        found->text = (struct text){bytes.at + 1, bytes.count / 2, 2};
        found->stray_first = is_proved(found->text);
    }
    return found->stray_first ? LOAD_OPTIONS_TEXT : LOAD_OPTIONS_RUBBISH;
}

static bool are_nuls(struct bytes bytes)
{
    size_t i = 0;
    while (i < bytes.count && bytes.at[i] == 0) {
        i++;
    }
    return i == bytes.count;
}

static enum load_options_kind find_kind(struct bytes bytes, struct load_options *found)
{
    static const uint8_t utf8[] = {0xef, 0xbb, 0xbf}, utf16[] = {0xff, 0xfe},
                         swapped[] = {0xfe, 0xff};
    if (starts_with(bytes, windows, sizeof windows)) {
        return LOAD_OPTIONS_WINDOWS;
    }
    if (starts_with(bytes, swapped, sizeof swapped)) {
        return LOAD_OPTIONS_SWAPPED;
    }
    const size_t mark_bytes = starts_with(bytes, utf8, sizeof utf8)     ? sizeof utf8
                              : starts_with(bytes, utf16, sizeof utf16) ? sizeof utf16
                                                                        : 0;
    bytes = without_first(bytes, mark_bytes);
    return are_nuls(bytes) ? LOAD_OPTIONS_NONE : read_text(bytes, found);
}

void load_options_find_text(const void *data, size_t bytes, struct load_options *found)
{
    *found = (struct load_options){.bytes = bytes};
    if (data == NULL || bytes == 0) {
        return;
    }
    if (bytes > LOAD_OPTIONS_MAX_BYTES) {
        found->kind = LOAD_OPTIONS_TOO_LONG;
        return;
    }
    struct bytes options = {data, bytes};
    found->whole_entry = unwrap_entry(&options);
    drop_mark(&options, edk2_mark, sizeof edk2_mark);
    drop_mark(&options, ami_mark, sizeof ami_mark);
    found->bytes = options.count;
    found->kind = find_kind(options, found);
}
