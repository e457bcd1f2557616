// Words of an option text and findings about them; see option_word.h.
// Surprise: a control character or anything outside ASCII is not refused here. It matches no key
// and no value, so it surfaces as an unknown word or a bad value, with '?' in its place.
#include "option_word.h"

#include "tell.h"

// How much of a text from outside a message shows.
#define SHOWN_CHARS 48u

// What text_distance looks at; the longest name of an option has 10 characters.
#define NEAREST_NAME_CHARS 16u
#define NEAREST_TEXT_CHARS 32u

struct text text_of(const char *string)
{
    struct text text = {(const uint8_t *)string, 0, 1};
    while (string[text.units] != '\0') {
        text.units++;
    }
    return text;
}

uint16_t text_unit(struct text text, size_t index)
{
    const uint8_t *unit = text.bytes + index * text.unit_bytes;
    return (uint16_t)(text.unit_bytes == 1 ? unit[0] : unit[0] | unit[1] << 8);
}

char text_char(struct text text, size_t index)
{
    uint16_t unit = text_unit(text, index);
    return unit < 0x80 ? (char)unit : TEXT_FOREIGN;
}

char text_lower(struct text text, size_t index)
{
    char c = text_char(text, index);
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool text_is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

struct text text_slice(struct text text, size_t first, size_t units)
{
    return (struct text){text.bytes + first * text.unit_bytes, units, text.unit_bytes};
}

size_t text_find(struct text text, char wanted)
{
    size_t i = 0;
    while (i < text.units && text_char(text, i) != wanted) {
        i++;
    }
    return i;
}

bool text_equals(struct text text, const char *wanted)
{
    size_t i = 0;
    while (i < text.units && wanted[i] != '\0' && text_char(text, i) == wanted[i]) {
        i++;
    }
    return i == text.units && wanted[i] == '\0';
}

// Levenshtein's distance, row by row.
size_t text_distance(struct text text, const char *wanted)
{
    size_t row[NEAREST_NAME_CHARS + 1];
    size_t length = 0;
    for (; wanted[length] != '\0' && length < NEAREST_NAME_CHARS; length++) {
        row[length] = length;
    }
    row[length] = length;
    for (size_t i = 0; i < text.units && i < NEAREST_TEXT_CHARS; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 1; j <= length; j++) {
            size_t replace = diagonal + (text_lower(text, i) != wanted[j - 1]);
            size_t shift = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = replace < shift ? replace : shift;
        }
    }
    return row[length];
}

bool text_to_number(struct text text, uint32_t base, uint64_t *number)
{
    *number = 0;
    for (size_t i = 0; i < text.units; i++) {
        char c = text_lower(text, i);
        uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                         : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a') + 10
                                                : base;
        if (digit >= base) {
            return false;
        }
        *number = *number > (UINT64_MAX - digit) / base ? UINT64_MAX : *number * base + digit;
    }
    return text.units > 0;
}

void finding_start(struct finding *finding, const struct option_report *report)
{
    line_start(&finding->line, finding->buffer, sizeof(finding->buffer));
    line_add_text(&finding->line, report->source);
    if (report->line > 0) {
        line_add_format(&finding->line, " line %u", (uint64_t)report->line);
    }
    line_add_text(&finding->line, ": ");
}

void finding_add(struct finding *finding, struct text text)
{
    for (size_t i = 0; i < text.units && i < SHOWN_CHARS; i++) {
        char c = text_char(text, i);
        line_add_foreign(&finding->line, &c, 1);
    }
    line_add_text(&finding->line, text.units > SHOWN_CHARS ? "..." : "");
}

void finding_tell(struct finding *finding, struct option_report *report, enum severity severity,
                  const char *what)
{
    report->error = report->error || severity == SEVERITY_ERROR;
    if (report->findings < OPTION_FINDINGS_MAX) {
        problem_tell(report->problems, severity, what, "%s", finding->buffer);
    }
    report->findings++;
}
