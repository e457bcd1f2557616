// From texts to options: a file or the load options, cut into words, and each word given its
// meaning; then defaults and help.
// Surprise: one cutter serves 8-bit text and UTF-16, since it works on units where they stand;
// nothing is converted, copied or limited in length.
#include "options.h"

#include "load_options.h"
#include "mem.h"
#include "option_value.h"

// The columns of `help`: key=default, values, text. With a text of at most 42 characters a line has
// at most 100.
#define HELP_VALUES_COLUMN 19u
#define HELP_TEXT_COLUMN   58u

#define ODD_UTF16 "UTF-16 in an odd number of bytes (%u): the last one is ignored"

static bool is_line_end(char c)
{
    return c == '\n' || c == '\r';
}

static size_t skip_blanks(struct text text, size_t at)
{
    while (at < text.units && text_is_blank(text_char(text, at))) {
        at++;
    }
    return at;
}

static void tell_text(struct option_report *report, enum severity severity, const char *what,
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

// ---- one word ----

// The name nearest to `name`, or `best` if none is nearer than that.
static const char *nearest_name(struct text name, const char *best)
{
    size_t best_distance = best ? text_distance(name, best) : SIZE_MAX;
    for (size_t i = 0; i < option_count; i++) {
        const char *const names[] = {option_table[i].name, option_table[i].alias};
        for (size_t j = 0; j < 2 && names[j]; j++) {
            const size_t distance = text_distance(name, names[j]);
            if (distance < best_distance) {
                best = names[j];
                best_distance = distance;
            }
        }
    }
    return best;
}

static void tell_unknown(struct text name, const char *what, const char *nearest,
                         struct option_report *report)
{
    struct finding finding;
    finding_start(&finding, report);
    line_add_text(&finding.line, "\"");
    finding_add(&finding, name);
    line_add_format(&finding.line, "\" is not an option and is ignored; the nearest is %s",
                    nearest);
    finding_tell(&finding, report, SEVERITY_WARNING, what);
}

static void tell_missing_value(const struct assignment *typed, struct option_report *report)
{
    struct finding finding;
    finding_start(&finding, report);
    finding_add(&finding, typed->name);
    line_add_text(&finding.line, " has no value: write ");
    finding_add(&finding, typed->name);
    line_add_text(&finding.line, "=VALUE without blanks, where VALUE is ");
    option_add_values(typed->option, &finding.line);
    finding_tell(&finding, report, SEVERITY_ERROR, "missing-value");
}

static bool is_help(struct text word)
{
    return text_equals(word, "help") || text_equals(word, "--help") || text_equals(word, "-h") ||
           text_equals(word, "-?");
}

static void remember(struct text word, struct options *options)
{
    const size_t blank = options->words_length > 0;

    if (options->words_too_long ||
        word.units + blank > sizeof options->words - options->words_length) {
        options->words_too_long = true;
        options->words_length = 0;
        return;
    }
    if (blank)
        options->words[options->words_length++] = ' ';
    for (size_t i = 0; i < word.units; i++)
        options->words[options->words_length++] = text_char(word, i);
}

static void read_word(struct text word, struct option_report *report, struct options *options)
{
    const size_t equals = text_find(word, '=');
    const bool has_value = equals + 1 < word.units;
    const struct text name = text_slice(word, 0, equals);
    const struct assignment typed = {
        .option = option_find(name),
        .name = name,
        .value =
            text_slice(word, has_value ? equals + 1 : 0, has_value ? word.units - equals - 1 : 0),
    };
    if (is_help(word)) {
        options->help = true;
    } else if (text_equals(word, "-b")) {
        options->pause = true;
        remember(word, options);
    } else if (!typed.option && equals < word.units) {
        tell_unknown(name, "unknown-key", nearest_name(name, NULL), report);
    } else if (!typed.option) {
        tell_unknown(name, "unknown-word", nearest_name(name, "help"), report);
    } else if (!has_value) {
        tell_missing_value(&typed, report);
    } else {
        option_read_value(&typed, report, options);
        remember(word, options);
    }
}

// ---- the words of a text ----

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
        } else if (!text_is_blank(c)) {
            while (end < text.units && !text_is_blank(text_char(text, end)) &&
                   text_char(text, end) != '#') {
                end++;
            }
            read_word(text_slice(text, at, end - at), report, options);
        }
        at = end;
    }
}

static enum status finish(const struct option_report *report)
{
    if (report->findings > OPTION_FINDINGS_MAX) {
        struct option_report last = {.source = report->source, .problems = report->problems};
        tell_text(&last, report->error ? SEVERITY_ERROR : SEVERITY_WARNING, "more-findings",
                  "findings not listed: %u", report->findings - OPTION_FINDINGS_MAX);
    }
    return report->error ? STATUS_INVALID : STATUS_OK;
}

// ---- a file ----

// 8-bit, or UTF-16LE: told by its byte-order mark, or without one by a NUL as second byte, which no
// 8-bit text has.
static struct text file_text(const uint8_t *bytes, size_t count, struct option_report *report)
{
    if (count >= 3 && bytes[0] == 0xef && bytes[1] == 0xbb && bytes[2] == 0xbf) {
        return (struct text){bytes + 3, count - 3, 1};
    }
    if (count >= 2 && bytes[0] == 0xfe && bytes[1] == 0xff) {
        tell_text(report, SEVERITY_ERROR, "bad-text",
                  "UTF-16 big-endian is not supported: save it as plain ASCII or UTF-8", 0);
        return (struct text){bytes, 0, 1};
    }
    bool marked = count >= 2 && bytes[0] == 0xff && bytes[1] == 0xfe;
    if (!marked && (count < 2 || bytes[0] == 0 || bytes[1] != 0)) {
        return (struct text){bytes, count, 1};
    }
    if (count % 2 != 0) {
        tell_text(report, SEVERITY_WARNING, "bad-text", ODD_UTF16, count);
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
        tell_text(&report, SEVERITY_WARNING, "bad-text", "%u NULs at the end are ignored",
                  all.units - end);
    }
    report.line = 1;
    read_words(text_slice(all, 0, end), &report, options);
    return finish(&report);
}

// ---- load options ----

// Index of the first unit behind the word that starts at `at`, blanks between double quotes being
// part of it. Quotes that are not closed are ordinary characters.
static size_t quoted_word_end(struct text text, size_t at)
{
    size_t unquoted_end = text.units;
    bool quoted = false;
    for (; at < text.units; at++) {
        char c = text_char(text, at);
        if (text_is_blank(c) && !quoted) {
            return at;
        }
        if (text_is_blank(c) && unquoted_end == text.units) {
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
    bool option = text_find(word, '=') < word.units || is_help(word) || text_find(word, '#') == 0;
    if (option) {
        return text;
    }
    if (option_find(word)) {
        struct finding finding;
        finding_start(&finding, report);
        finding_add(&finding, word);
        line_add_text(&finding.line, " without a value is taken as the name of this program");
        finding_tell(&finding, report, SEVERITY_WARNING, "unknown-word");
    }
    return text_slice(text, end, text.units - end);
}

// What the bytes are, if that is worth a word. False: there is nothing to read.
static bool tell_load_options(const struct load_options *found, struct option_report *report)
{
    switch (found->kind) {
    case LOAD_OPTIONS_NONE:
        return false;
    case LOAD_OPTIONS_TOO_LONG:
        tell_text(report, SEVERITY_WARNING, "bad-text",
                  "%u bytes are too many for a boot entry and are ignored: put options into "
                  "reveille.cfg",
                  found->bytes);
        return false;
    case LOAD_OPTIONS_SWAPPED:
        tell_text(
            report, SEVERITY_WARNING, "bad-text",
            "UTF-16 big-endian is ignored: write the boot entry as UTF-16 little-endian, or put "
            "options into reveille.cfg",
            0);
        return false;
    case LOAD_OPTIONS_WINDOWS:
        tell_text(
            report, SEVERITY_WARNING, "bad-text",
            "they were written by Windows' bcdedit and are ignored: give Reveille a boot entry "
            "of its own, or put options into reveille.cfg",
            0);
        return false;
    case LOAD_OPTIONS_RUBBISH:
        tell_text(
            report, SEVERITY_WARNING, "bad-text",
            "%u bytes that are not text are ignored: put options into reveille.cfg, or into the "
            "boot entry as UTF-16 text",
            found->bytes);
        return false;
    case LOAD_OPTIONS_TEXT:
        break;
    }
    if (found->whole_entry) {
        tell_text(report, SEVERITY_WARNING, "whole-entry",
                  "firmware handed over its whole boot entry; the options in it are read", 0);
    }
    if (found->stray_first) {
        tell_text(report, SEVERITY_WARNING, "bad-text",
                  "UTF-16 after a stray byte, which is ignored", 0);
    }
    if (found->stray_last) {
        tell_text(report, SEVERITY_WARNING, "bad-text", ODD_UTF16, found->bytes);
    }
    return true;
}

// The first piece is a command line. What stands behind a NUL are more words where an option is
// among them (efibootmgr writes NULs between its arguments), else nothing of ours: a current
// directory, or memory behind a terminator.
static void read_pieces(struct text text, struct option_report *report, struct options *options)
{
    struct text piece;
    size_t at = text_find(text, '\0');
    bool told = false;

    read_words(skip_image_name(text_slice(text, 0, at), report), report, options);
    while (load_options_next_piece(text, &at, &piece)) {
        if (!load_options_has_option(piece)) {
            tell_text(report, SEVERITY_WARNING, "bad-text",
                      "%u bytes after the terminator are ignored",
                      (text.units - at + piece.units) * text.unit_bytes);
            return;
        }
        if (!told) {
            tell_text(report, SEVERITY_WARNING, "bad-text",
                      "NULs between the words are read as blanks", 0);
        }
        told = true;
        read_words(piece, report, options);
    }
}

enum status options_parse_load_options(const void *data, size_t bytes,
                                       const struct problems *problems, struct options *options)
{
    struct option_report report = {.source = "load options", .problems = problems};
    struct load_options found;

    load_options_find_text(data, bytes, &found);
    if (tell_load_options(&found, &report)) {
        read_pieces(found.text, &report, options);
    }
    return finish(&report);
}

// ---- defaults and help ----

void options_set_defaults(struct options *options)
{
    const struct problems nobody = {problems_ignore, NULL};
    struct option_report report = {.source = "default", .problems = &nobody};
    memset(options, 0, sizeof(*options));
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        option_read_value(
            &(struct assignment){option, text_of(option->name), text_of(option->initial)}, &report,
            options);
    }
}

static void pad_to(struct line *line, size_t column)
{
    do {
        line_add_text(line, " ");
    } while (line->length < column);
}

void options_help(void (*tell)(void *context, const char *line), void *context)
{
    char buffer[LINE_BYTES];
    struct line line;
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        line_start(&line, buffer, sizeof(buffer));
        line_add_format(&line, "%s=%s", option->name, option->initial);
        pad_to(&line, HELP_VALUES_COLUMN);
        option_add_values(option, &line);
        pad_to(&line, HELP_TEXT_COLUMN);
        line_add_text(&line, option->help);
        if (option->alias)
            line_add_format(&line, " (alias: %s)", option->alias);
        tell(context, buffer);
    }
    tell(context,
         "Numbers are decimal; a port is hexadecimal, with 0x. The last word for a key wins.");
}
