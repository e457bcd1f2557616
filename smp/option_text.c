// Whole option texts: a file and the load options, cut into words for option_table.c.
// Surprise: one cutter serves 8-bit text and UTF-16, since it works on units where they stand;
// nothing is converted, copied or limited in length.
#include "option_text.h"

#include "option_table.h"

// No command line or boot entry is longer (a boot entry is a firmware variable, in practice at most
// 32 KiB). A larger size is a lie that would make us read what is not ours.
#define LOAD_OPTIONS_MAX_BYTES 65536u

#define BYTE_ORDER_MARK 0xfeffu

static bool is_line_end(char c)
{
    return c == '\n' || c == '\r';
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || is_line_end(c);
}

static size_t skip_blanks(struct text text, size_t at)
{
    while (at < text.units && is_blank(text_char(text, at))) {
        at++;
    }
    return at;
}

static void tell(struct option_report *report, enum severity severity, const char *what,
                 const char *sentence, uint64_t number)
{
    struct finding finding;
    finding_start(&finding, report);
    line_add_format(&finding.line, sentence, number);
    finding_tell(&finding, report, severity, what);
}

// Index of the first unit behind the last one that is not NUL.
static size_t end_without_nuls(struct text text)
{
    size_t end = text.units;
    while (end > 0 && text_unit(text, end - 1) == 0) {
        end--;
    }
    return end;
}

// CR, LF and CR LF each end a line: a comment in a file with CR alone must not swallow the rest of
// it.
static void read_words(struct text text, struct option_report *report, struct options *options)
{
    for (size_t at = 0; at < text.units;) {
        char c = text_char(text, at);
        size_t end = at + 1;
        if (c == '#') {
            while (end < text.units && !is_line_end(text_char(text, end))) {
                end++;
            }
        } else if (is_line_end(c)) {
            bool half = c == '\r' && end < text.units && text_char(text, end) == '\n';
            report->line += report->line > 0 && !half;
        } else if (!is_blank(c)) {
            while (end < text.units && !is_blank(text_char(text, end)) &&
                   text_char(text, end) != '#') {
                end++;
            }
            option_read_word(text_slice(text, at, end - at), report, options);
        }
        at = end;
    }
}

static enum status finish(const struct option_report *report)
{
    if (report->findings > OPTION_FINDINGS_MAX) {
        struct option_report last = {.source = report->source, .problems = report->problems};
        tell(&last, report->error ? SEVERITY_ERROR : SEVERITY_WARNING, "more-findings",
             "findings not listed: %u", report->findings - OPTION_FINDINGS_MAX);
    }
    return report->error ? STATUS_INVALID : STATUS_OK;
}

// 8-bit, or UTF-16LE: told by its byte-order mark, or without one by a NUL as second byte, which no
// 8-bit text has.
static struct text file_text(const uint8_t *bytes, size_t count, struct option_report *report)
{
    if (count >= 3 && bytes[0] == 0xef && bytes[1] == 0xbb && bytes[2] == 0xbf) {
        return (struct text){bytes + 3, count - 3, 1};
    }
    if (count >= 2 && bytes[0] == 0xfe && bytes[1] == 0xff) {
        tell(report, SEVERITY_ERROR, "bad-text",
             "UTF-16 big-endian is not read: save it as plain ASCII or UTF-8", 0);
        return (struct text){bytes, 0, 1};
    }
    bool marked = count >= 2 && bytes[0] == 0xff && bytes[1] == 0xfe;
    if (!marked && (count < 2 || bytes[0] == 0 || bytes[1] != 0)) {
        return (struct text){bytes, count, 1};
    }
    if (count % 2 != 0) {
        tell(report, SEVERITY_WARNING, "bad-text",
             "UTF-16 in an odd number of bytes (%u), the last one is ignored", count);
    }
    struct text text = {bytes, count / 2, 2};
    return marked ? text_slice(text, 1, text.units - 1) : text;
}

enum status options_parse(const char *text, size_t bytes, const char *source,
                          const struct problems *problems, struct options *options)
{
    struct option_report report = {.source = source, .problems = problems};
    if (bytes == 0) {
        return STATUS_OK;
    }
    struct text all = file_text((const uint8_t *)text, bytes, &report);
    size_t end = end_without_nuls(all);
    if (end < all.units) {
        tell(&report, SEVERITY_WARNING, "bad-text", "%u NULs at its end are ignored",
             all.units - end);
    }
    report.line = 1;
    read_words(text_slice(all, 0, end), &report, options);
    return finish(&report);
}

static bool is_control(uint16_t unit)
{
    bool space = unit == '\t' || unit == '\r' || unit == '\n';
    return (unit < 0x20 && !space) || (unit >= 0x7f && unit < 0xa0);
}

// Printable ASCII with nothing but NULs behind it: what some tools write into a boot entry, against
// the specification.
static bool is_ascii_text(struct text text)
{
    size_t end = end_without_nuls(text);
    for (size_t i = 0; i < end; i++) {
        if (text_unit(text, i) >= 0x80 || is_control(text_unit(text, i))) {
            return false;
        }
    }
    return true;
}

// No control character, no unpaired surrogate, no noncharacter (erased flash reads 0xFFFF), and at
// least half of it ASCII: most random 16-bit numbers are letters somewhere in Unicode. The GUID
// that EDK II puts into each boot option that it makes itself is an example.
static bool is_utf16_text(struct text text)
{
    size_t ascii = 0;
    for (size_t i = 0; i < text.units; i++) {
        uint16_t unit = text_unit(text, i);
        uint16_t next = i + 1 < text.units ? text_unit(text, i + 1) : 0;
        if (is_control(unit) || unit >= 0xfffe || (unit >= 0xdc00 && unit < 0xe000)) {
            return false;
        }
        if (unit >= 0xd800 && unit < 0xdc00) {
            if (next < 0xdc00 || next >= 0xe000) {
                return false;
            }
            i++;
        }
        ascii += unit < 0x80;
    }
    return 2 * ascii >= text.units;
}

// Finds the text in load options: up to its terminator, if there is one. False: this is no text.
static bool load_options_text(const uint8_t *bytes, size_t count, struct option_report *report,
                              struct text *found)
{
    struct text text = {bytes, count, 1};
    if (is_ascii_text(text)) {
        *found = text_slice(text, 0, end_without_nuls(text));
        return true;
    }
    if (count % 2 != 0) {
        return false;
    }
    text = (struct text){bytes, count / 2, 2};
    if (text_unit(text, 0) == BYTE_ORDER_MARK) {
        text = text_slice(text, 1, text.units - 1);
    }
    *found = text_slice(text, 0, text_find(text, '\0'));
    if (!is_utf16_text(*found)) {
        return false;
    }
    if (end_without_nuls(text) > found->units) {
        tell(report, SEVERITY_WARNING, "bad-text", "%u bytes behind the terminator are ignored",
             2 * (text.units - found->units - 1));
    }
    return true;
}

// Index of the first unit behind the word that starts at `at`, blanks between double quotes being
// part of it. Quotes that are not closed are ordinary characters.
static size_t quoted_word_end(struct text text, size_t at)
{
    size_t unquoted_end = text.units;
    bool quoted = false;
    for (; at < text.units; at++) {
        char c = text_char(text, at);
        if (is_blank(c) && !quoted) {
            return at;
        }
        if (is_blank(c) && unquoted_end == text.units) {
            unquoted_end = at;
        }
        quoted = quoted != (c == '"');
    }
    return quoted ? unquoted_end : at;
}

// The Shell puts the image's name first, as it was typed; a boot entry does not.
static struct text skip_image_name(struct text text, struct option_report *report)
{
    size_t start = skip_blanks(text, 0);
    size_t end = quoted_word_end(text, start);
    struct text word = text_slice(text, start, end - start);
    bool option =
        text_find(word, '=') < word.units || option_word_is_help(word) || text_find(word, '#') == 0;
    if (option) {
        return text;
    }
    if (option_word_is_key(word)) {
        struct finding finding;
        finding_start(&finding, report);
        finding_add(&finding, word);
        line_add_text(&finding.line, " without a value is taken for the name of this program");
        finding_tell(&finding, report, SEVERITY_WARNING, "unknown-word");
    }
    return text_slice(text, end, text.units - end);
}

enum status options_parse_load_options(const void *data, size_t bytes,
                                       const struct problems *problems, struct options *options)
{
    struct option_report report = {.source = "load options", .problems = problems};
    struct text text;
    if (data == NULL || bytes == 0) {
        return STATUS_OK;
    }
    if (bytes > LOAD_OPTIONS_MAX_BYTES || !load_options_text(data, bytes, &report, &text)) {
        tell(&report, SEVERITY_WARNING, "bad-text", "%u bytes that are no text are ignored", bytes);
        return STATUS_OK;
    }
    read_words(skip_image_name(text, &report), &report, options);
    return finish(&report);
}
