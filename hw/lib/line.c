// Line: puts one event's text together, character by character, in the caller's memory.
// The one rule that everything here rests on: only add_character() adds to a line, and it never
// writes past capacity. Surprise: no flag says "cut". A full line that is asked for one character
// more turns its last three into dots, and doing so again changes nothing.
#include "line.h"

#include <stdbool.h>

// 2^64 - 1 has 20 decimal digits and 16 hexadecimal ones.
#define DIGITS_MAX 20u

#define ELLIPSIS_BYTES 3u

static void add_character(struct line *line, char character)
{
    if (line->length + 1 < line->capacity) {
        line->text[line->length++] = character;
        line->text[line->length] = '\0';
        return;
    }
    for (size_t i = 1; i <= ELLIPSIS_BYTES; i++) {
        line->text[line->length - i] = '.';
    }
}

static char printable(char character)
{
    return character >= 0x20 && character <= 0x7e ? character : '?';
}

static void add_number(struct line *line, uint64_t value, uint32_t base)
{
    char digits[DIGITS_MAX];
    size_t count = 0;

    do {
        digits[count++] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0);
    while (count > 0) {
        add_character(line, digits[--count]);
    }
}

static bool needs_quotes(const char *value)
{
    if (*value == '\0') {
        return true;
    }
    for (; *value != '\0'; value++) {
        if (*value == ' ' || *value == '"' || *value == '\\') {
            return true;
        }
    }
    return false;
}

static void add_key(struct line *line, const char *key)
{
    add_character(line, ' ');
    line_add_text(line, key);
    add_character(line, '=');
}

void line_start(struct line *line, char *buffer, size_t capacity)
{
    line->text = buffer;
    line->capacity = capacity;
    line->length = 0;
    buffer[0] = '\0';
}

void line_add_text(struct line *line, const char *text)
{
    for (; *text != '\0'; text++) {
        add_character(line, *text);
    }
}

void line_add_foreign(struct line *line, const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        add_character(line, printable(text[i]));
    }
}

void line_add_decimal(struct line *line, uint64_t value)
{
    add_number(line, value, 10);
}

void line_add_hex(struct line *line, uint64_t value)
{
    line_add_text(line, "0x");
    add_number(line, value, 16);
}

void line_add_arguments(struct line *line, const char *format, va_list arguments)
{
    for (; *format != '\0'; format++) {
        if (*format != '%' || format[1] == '\0') {
            add_character(line, *format);
            continue;
        }
        switch (*++format) {
        case 'u':
            line_add_decimal(line, va_arg(arguments, uint64_t));
            break;
        case 'x':
            line_add_hex(line, va_arg(arguments, uint64_t));
            break;
        case 's':
            line_add_text(line, va_arg(arguments, const char *));
            break;
        case '%':
            add_character(line, '%');
            break;
        default:
            add_character(line, '%');
            add_character(line, *format);
            break;
        }
    }
}

void line_add_format(struct line *line, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    line_add_arguments(line, format, arguments);
    va_end(arguments);
}

void record_start(struct line *line, char *buffer, size_t capacity, const char *event)
{
    line_start(line, buffer, capacity);
    line_add_text(line, "REVEILLE ev=");
    line_add_text(line, event);
}

void record_add_text(struct line *line, const char *key, const char *value)
{
    const bool quoted = needs_quotes(value);

    add_key(line, key);
    if (quoted) {
        add_character(line, '"');
    }
    for (; *value != '\0'; value++) {
        if (*value == '"' || *value == '\\') {
            add_character(line, '\\');
        }
        add_character(line, printable(*value));
    }
    if (quoted) {
        add_character(line, '"');
    }
}

void record_add_decimal(struct line *line, const char *key, uint64_t value)
{
    add_key(line, key);
    line_add_decimal(line, value);
}

void record_add_hex(struct line *line, const char *key, uint64_t value)
{
    add_key(line, key);
    line_add_hex(line, value);
}
