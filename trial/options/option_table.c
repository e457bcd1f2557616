// The table of options: every key with its values, default and meaning stands here and nowhere else
// in C. Defaults, parsing, `help` and the search for the nearest key are all made from it.
// Surprise: a default is text and goes through the parser, so a default that a user could not type
// cannot exist.
#include "option_table.h"

#include "mem.h"
#include "option_cpus.h"
#include "option_faults.h"
#include "option_sweep.h"
#include "option_text.h"

#define CHOICES_MAX 5u

// Nearest key: over this many characters of a key and of the text; the longest key has 10.
#define NEAREST_KEY_CHARS  16u
#define NEAREST_TEXT_CHARS 32u

// The columns of `help`: key=default, values, meaning. With a meaning of at most 42 characters a
// line has at most 100.
#define HELP_VALUES_COLUMN  19u
#define HELP_MEANING_COLUMN 58u

enum value_kind {
    VALUE_WORD,   // nothing but the choices
    VALUE_NUMBER, // or a decimal number
    VALUE_PORT,   // or a number in hexadecimal, with 0x
    VALUE_CPUS,   // or a list of CPU indices and ranges of them
    VALUE_FAULTS, // or a list of faults to inject
    VALUE_SIZE,   // or pixels across and down
    VALUE_SWEEP,  // or another key and values of its own
};

struct choice {
    const char *word;
    uint32_t value;
};

struct option_key {
    const char *name;
    const char *initial; // the default, as a user would type it
    enum value_kind kind;
    uint32_t least, most; // of a number
    size_t offset;        // in struct options, of the 32 bits that take the number or the choice
    struct choice choices[CHOICES_MAX + 1]; // values that are words, up to one that is NULL
    const char *meaning;
};

// What lies at `offset`. The port, and the list of CPUs, are named where they are stored.
#define FIELD(field) offsetof(struct options, field)
_Static_assert(sizeof(enum wake_strategy) == sizeof(uint32_t), "enums are stored as 32 bits");

static const struct option_key keys[] = {
    {.name = "wake",
     .initial = "parallel",
     .kind = VALUE_WORD,
     .offset = FIELD(wake),
     .choices = {{"parallel", WAKE_PARALLEL},
                 {"one-by-one", WAKE_ONE_BY_ONE},
                 {"broadcast", WAKE_BROADCAST},
                 {"firmware", WAKE_FIRMWARE}},
     .meaning = "shared waits; one at a time; all but self"},
    {.name = "init_us",
     .initial = "auto",
     .kind = VALUE_NUMBER,
     .least = 0,
     .most = 10000000,
     .offset = FIELD(init_us),
     .choices = {{"auto", INIT_US_AUTO}},
     .meaning = "us from INIT to STARTUP; auto: by family"},
    {.name = "sipi_us",
     .initial = "200",
     .kind = VALUE_NUMBER,
     .least = 0,
     .most = 10000000,
     .offset = FIELD(sipi_us),
     .meaning = "us from one STARTUP to the next"},
    {.name = "sipis",
     .initial = "auto",
     .kind = VALUE_NUMBER,
     .least = 1,
     .most = 4,
     .offset = FIELD(sipis),
     .choices = {{"auto", SIPIS_AUTO}},
     .meaning = "STARTUPs for an AP; auto: a 2nd if needed"},
    {.name = "timeout_us",
     .initial = "1000000",
     .kind = VALUE_NUMBER,
     .least = 1,
     .most = 60000000,
     .offset = FIELD(timeout_us),
     .meaning = "us from the last STARTUP to C"},
    {.name = "retries",
     .initial = "1",
     .kind = VALUE_NUMBER,
     .least = 0,
     .most = 100,
     .offset = FIELD(retries),
     .meaning = "further full sequences for a silent AP"},
    {.name = "apic",
     .initial = "auto",
     .kind = VALUE_WORD,
     .offset = FIELD(apic),
     .choices = {{"auto", APIC_AUTO}, {"x2apic", APIC_X2APIC}, {"xapic", APIC_XAPIC}},
     .meaning = "auto: as firmware left it, else x2APIC"},
    {.name = "cpus",
     .initial = "all",
     .kind = VALUE_CPUS,
     .choices = {{"all", 0}},
     .meaning = "CPU indices to wake; the BSP is 0"},
    {.name = "rounds",
     .initial = "1",
     .kind = VALUE_NUMBER,
     .least = 1,
     .most = 1000000,
     .offset = FIELD(rounds),
     .meaning = "how often the whole wake is repeated"},
    {.name = "serial",
     .initial = "auto",
     .kind = VALUE_PORT,
     .least = 0x100,
     .most = 0xfff8,
     .offset = FIELD(serial),
     .choices = {{"auto", SERIAL_AUTO}, {"off", SERIAL_OFF}},
     .meaning = "where records and sentences go"},
    {.name = "log",
     .initial = "normal",
     .kind = VALUE_WORD,
     .offset = FIELD(log),
     .choices = {{"normal", LOG_NORMAL}, {"quiet", LOG_QUIET}, {"debug", LOG_DEBUG}},
     .meaning = "quiet: records only"},
    {.name = "end",
     .initial = "auto",
     .kind = VALUE_WORD,
     .offset = FIELD(end),
     .choices = {{"auto", END_AUTO},
                 {"halt", END_HALT},
                 {"poweroff", END_POWEROFF},
                 {"reset", END_RESET},
                 {"debug-exit", END_DEBUG_EXIT}},
     .meaning = "auto: leave QEMU, wait for a key elsewhere"},
    {.name = "compare",
     .initial = "none",
     .kind = VALUE_WORD,
     .offset = FIELD(compare),
     .choices = {{"none", COMPARE_NONE}, {"firmware", COMPARE_FIRMWARE}},
     .meaning = "firmware: time its StartupAllAPs as well"},
    {.name = "bench",
     .initial = "none",
     .kind = VALUE_WORD,
     .offset = FIELD(bench),
     .choices = {{"none", BENCH_NONE}, {"null", BENCH_NULL}, {"null-long", BENCH_NULL_LONG}},
     .meaning = "null: time trampolines that only count"},
    {.name = "sweep",
     .initial = "none",
     .kind = VALUE_SWEEP,
     .choices = {{"none", 0}},
     .meaning = "all rounds with each of these values"},
    {.name = "exit",
     .initial = "yes",
     .kind = VALUE_WORD,
     .offset = FIELD(exit),
     .choices = {{"yes", ANSWER_YES}, {"no", ANSWER_NO}},
     .meaning = "no: wake, report, and return to firmware"},
    {.name = "check",
     .initial = "no",
     .kind = VALUE_WORD,
     .offset = FIELD(check),
     .choices = {{"no", ANSWER_NO}, {"yes", ANSWER_YES}},
     .meaning = "yes: everything but the wake, then return"},
    {.name = "dry-run",
     .initial = "no",
     .kind = VALUE_WORD,
     .offset = FIELD(check),
     .choices = {{"no", ANSWER_NO}, {"yes", ANSWER_YES}},
     .meaning = "the same as check"},
    {.name = "force",
     .initial = "no",
     .kind = VALUE_WORD,
     .offset = FIELD(force),
     .choices = {{"no", ANSWER_NO}, {"yes", ANSWER_YES}},
     .meaning = "yes: wake even if firmware may hang"},
    {.name = "screen",
     .initial = "auto",
     .kind = VALUE_SIZE,
     .offset = FIELD(screen),
     .choices = {{"auto", SCREEN_AUTO}, {"off", SCREEN_OFF}},
     .meaning = "frame buffers as they are; off: none"},
    {.name = "rotate",
     .initial = "auto",
     .kind = VALUE_WORD,
     .offset = FIELD(rotate),
     .choices = {{"auto", ROTATE_AUTO}, {"0", 0}, {"90", 90}, {"180", 180}, {"270", 270}},
     .meaning = "degrees clockwise; auto: by its shape"},
    {.name = "save",
     .initial = "ram",
     .kind = VALUE_WORD,
     .offset = FIELD(save),
     .choices = {{"ram", SAVE_RAM}, {"none", SAVE_NONE}, {"nvram", SAVE_NVRAM}},
     .meaning = "for the next start; nvram: a summary, too"},
    {.name = "harvest",
     .initial = "auto",
     .kind = VALUE_WORD,
     .offset = FIELD(harvest),
     .choices = {{"auto", HARVEST_AUTO}, {"only", HARVEST_ONLY}},
     .meaning = "only: fetch the last result, return"},
    {.name = "again",
     .initial = "no",
     .kind = VALUE_WORD,
     .offset = FIELD(again),
     .choices = {{"no", ANSWER_NO}, {"yes", ANSWER_YES}},
     .meaning = "yes: boot once more, to save the result"},
    {.name = "wait",
     .initial = "0",
     .kind = VALUE_NUMBER,
     .least = 0,
     .most = 3600,
     .offset = FIELD(wait_s),
     .meaning = "seconds in which a key stops the run"},
    {.name = "linger",
     .initial = "60",
     .kind = VALUE_NUMBER,
     .least = 0,
     .most = 3600,
     .offset = FIELD(linger_s),
     .meaning = "s to a reset where no key or button works"},
    {.name = "inject",
     .initial = "none",
     .kind = VALUE_FAULTS,
     .choices = {{"none", 0}},
     .meaning = "faults on purpose: docs/faults.md has them"},
};

#define KEYS (sizeof(keys) / sizeof(keys[0]))

static const struct option_key *find_key(struct text name)
{
    for (size_t i = 0; i < KEYS; i++) {
        if (text_equals(name, keys[i].name)) {
            return &keys[i];
        }
    }
    return NULL;
}

// Levenshtein's distance, blind to case, row by row.
static size_t edit_distance(struct text text, const char *key)
{
    size_t row[NEAREST_KEY_CHARS + 1];
    size_t length = 0;
    for (; key[length] != '\0' && length < NEAREST_KEY_CHARS; length++) {
        row[length] = length;
    }
    row[length] = length;
    for (size_t i = 0; i < text.units && i < NEAREST_TEXT_CHARS; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 1; j <= length; j++) {
            size_t replace = diagonal + (text_lower(text, i) != key[j - 1]);
            size_t shift = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = replace < shift ? replace : shift;
        }
    }
    return row[length];
}

// The key nearest to `name`, or `best` if none is nearer than that.
static const char *nearest_key(struct text name, const char *best)
{
    size_t best_distance = best != NULL ? edit_distance(name, best) : SIZE_MAX;
    for (size_t i = 0; i < KEYS; i++) {
        size_t distance = edit_distance(name, keys[i].name);
        if (distance < best_distance) {
            best = keys[i].name;
            best_distance = distance;
        }
    }
    return best;
}

static bool read_number(const struct option_key *key, struct text value, uint32_t *number)
{
    uint32_t base = 10;
    if (key->kind == VALUE_PORT) {
        if (value.units < 2 || !text_equals(text_slice(value, 0, 2), "0x")) {
            return false;
        }
        value = text_slice(value, 2, value.units - 2);
        base = 16;
    }
    uint64_t wide;
    if (!text_to_number(value, base, &wide) || wide < key->least || wide > key->most) {
        return false;
    }
    *number = (uint32_t)wide;
    return true;
}

// "1280x800".
static bool read_size(struct text value, struct options *options)
{
    const size_t cross = text_find(value, 'x');
    uint64_t width, height;

    if (cross == value.units || !text_to_number(text_slice(value, 0, cross), 10, &width) ||
        !text_to_number(text_slice(value, cross + 1, value.units - cross - 1), 10, &height) ||
        width == 0 || width > UINT16_MAX || height == 0 || height > UINT16_MAX) {
        return false;
    }
    options->screen_width = (uint16_t)width;
    options->screen_height = (uint16_t)height;
    return true;
}

// "parallel|one-by-one", "auto|1..4", "auto|off|0x100..0xfff8", "all|1,3,5-8".
static void add_values(struct line *line, const struct option_key *key)
{
    const char *separator = "";
    for (const struct choice *choice = key->choices; choice->word != NULL; choice++) {
        line_add_text(line, separator);
        line_add_text(line, choice->word);
        separator = "|";
    }
    if (key->kind == VALUE_NUMBER) {
        line_add_format(line, "%s%u..%u", separator, (uint64_t)key->least, (uint64_t)key->most);
    } else if (key->kind == VALUE_PORT) {
        line_add_format(line, "%s%x..%x", separator, (uint64_t)key->least, (uint64_t)key->most);
    } else if (key->kind == VALUE_CPUS) {
        line_add_format(line, "%s1,3,5-8", separator);
    } else if (key->kind == VALUE_FAULTS) {
        line_add_format(line, "%sFAULT[:CPU][,...]", separator);
    } else if (key->kind == VALUE_SIZE) {
        line_add_format(line, "%s1280x800", separator);
    } else if (key->kind == VALUE_SWEEP) {
        line_add_format(line, "%sinit_us:0,10,100", separator);
    }
}

static void tell_bad_value(const struct option_key *key, struct text value,
                           struct option_report *report)
{
    struct finding finding;
    finding_start(&finding, report);
    line_add_format(&finding.line, "%s=", key->name);
    finding_add(&finding, value);
    line_add_text(&finding.line, " is none of ");
    add_values(&finding.line, key);
    line_add_text(&finding.line, key->kind == VALUE_NUMBER ? ", in decimal" : "");
    finding_tell(&finding, report, SEVERITY_ERROR, "bad-value");
}

static void store(const struct option_key *key, uint32_t value, struct options *options)
{
    memcpy((uint8_t *)options + key->offset, &value, sizeof(value));
}

static void read_value(const struct option_key *key, struct text value,
                       struct option_report *report, struct options *options)
{
    for (const struct choice *choice = key->choices; choice->word != NULL; choice++) {
        if (text_equals(value, choice->word)) {
            if (key->kind == VALUE_CPUS) {
                options->cpus_count = choice->value;
            } else if (key->kind == VALUE_FAULTS) {
                options->inject_count = choice->value;
            } else if (key->kind == VALUE_SWEEP) {
                options->sweep.count = choice->value;
            } else {
                store(key, choice->value, options);
            }
            return;
        }
    }
    uint32_t number;
    if (key->kind == VALUE_CPUS) {
        option_read_cpus(value, report, options);
    } else if (key->kind == VALUE_FAULTS) {
        option_read_faults(value, report, options);
    } else if (key->kind == VALUE_SIZE && read_size(value, options)) {
        store(key, SCREEN_MODE, options);
    } else if (key->kind == VALUE_SWEEP) {
        option_read_sweep(value, report, &options->sweep);
    } else if (key->kind == VALUE_WORD || key->kind == VALUE_SIZE ||
               !read_number(key, value, &number)) {
        tell_bad_value(key, value, report);
    } else if (key->kind == VALUE_PORT) {
        store(key, SERIAL_PORT, options);
        options->serial_port = (uint16_t)number;
    } else {
        store(key, number, options);
    }
}

bool option_read_scalar(struct text name, struct text value, uint32_t *number)
{
    const struct option_key *key = find_key(name);

    for (const struct choice *choice = key->choices; choice->word != NULL; choice++) {
        if (text_equals(value, choice->word)) {
            *number = choice->value;
            return true;
        }
    }
    return key->kind == VALUE_NUMBER && read_number(key, value, number);
}

static void tell_missing_value(const struct option_key *key, struct option_report *report)
{
    struct finding finding;
    finding_start(&finding, report);
    line_add_format(&finding.line, "%s has no value: write %s=VALUE without blanks, VALUE being ",
                    key->name, key->name);
    add_values(&finding.line, key);
    finding_tell(&finding, report, SEVERITY_ERROR, "missing-value");
}

static void tell_unknown(struct text name, const char *what, const char *nearest,
                         struct option_report *report)
{
    struct finding finding;
    finding_start(&finding, report);
    line_add_text(&finding.line, "\"");
    finding_add(&finding, name);
    line_add_format(&finding.line, "\" is no option and is ignored; the nearest is %s", nearest);
    finding_tell(&finding, report, SEVERITY_WARNING, what);
}

bool option_word_is_help(struct text word)
{
    return text_equals(word, "help") || text_equals(word, "--help") || text_equals(word, "-h") ||
           text_equals(word, "-?");
}

bool option_word_is_key(struct text word)
{
    return find_key(word) != NULL;
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

void option_read_word(struct text word, struct option_report *report, struct options *options)
{
    size_t equals = text_find(word, '=');
    struct text name = text_slice(word, 0, equals);
    const struct option_key *key = find_key(name);
    if (option_word_is_help(word)) {
        options->help = true;
    } else if (text_equals(word, "-b")) {
        options->pause = true;
        remember(word, options);
    } else if (key == NULL && equals < word.units) {
        tell_unknown(name, "unknown-key", nearest_key(name, NULL), report);
    } else if (key == NULL) {
        tell_unknown(name, "unknown-word", nearest_key(name, "help"), report);
    } else if (equals + 1 >= word.units) {
        tell_missing_value(key, report);
    } else {
        read_value(key, text_slice(word, equals + 1, word.units - equals - 1), report, options);
        remember(word, options);
    }
}

static void tell_nobody(void *context, enum severity severity, const char *what, const char *detail)
{
    (void)context, (void)severity, (void)what, (void)detail;
}

void options_set_defaults(struct options *options)
{
    const struct problems nobody = {tell_nobody, NULL};
    struct option_report report = {.source = "default", .problems = &nobody};
    memset(options, 0, sizeof(*options));
    for (size_t i = 0; i < KEYS; i++) {
        struct text value = {(const uint8_t *)keys[i].initial, 0, 1};
        while (keys[i].initial[value.units] != '\0') {
            value.units++;
        }
        read_value(&keys[i], value, &report, options);
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
    for (size_t i = 0; i < KEYS; i++) {
        line_start(&line, buffer, sizeof(buffer));
        line_add_format(&line, "%s=%s", keys[i].name, keys[i].initial);
        pad_to(&line, HELP_VALUES_COLUMN);
        add_values(&line, &keys[i]);
        pad_to(&line, HELP_MEANING_COLUMN);
        line_add_text(&line, keys[i].meaning);
        tell(context, buffer);
    }
    tell(context,
         "Numbers are decimal, a port is hexadecimal with 0x. The last word for a key wins.");
}
