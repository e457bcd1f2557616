// Fuzzer: any bytes as option file and as load options. What must hold whatever they are: every
// value in its range, every list sorted, every finding one printable sentence, the status as the
// findings say, and an error changes nothing for the worse. Surprise: what an accepted text set is
// written out again and read back, and must come to the same; and load options must set the same
// bare and inside a whole boot entry, which some firmware hands over.
#include "fuzz.h"

#include "load_options.h"
#include "options.h"

#define FINDINGS_MAX 101 // 100 one by one, and one that counts the rest

// A text that is being read, and what was told of it.
struct reading {
    struct told told;
    const char *source;
    size_t lines; // that it can have at most; 0: its lines have no numbers
};

// Every finding names the text, and every error in a file its line.
static void tell(void *context, enum severity severity, const char *what, const char *detail)
{
    struct reading *reading = context;
    const size_t name = strlen(reading->source);
    char *end = NULL;

    told_add(&reading->told, severity, what, detail);
    MUST(strncmp(detail, reading->source, name) == 0);
    if (strncmp(detail + name, " line ", 6) == 0) {
        const size_t line = strtoul(detail + name + 6, &end, 10);
        MUST(line >= 1 && line <= reading->lines && *end == ':');
    } else {
        MUST(detail[name] == ':');
        MUST(severity != SEVERITY_ERROR || reading->lines == 0 || strcmp(what, "bad-text") == 0 ||
             strcmp(what, "more-findings") == 0);
    }
}

static size_t lines_of(const uint8_t *data, size_t size)
{
    size_t lines = 1;

    for (size_t i = 0; i < size; i++)
        lines += data[i] == '\n' || data[i] == '\r';
    return lines;
}

static void check_values(const struct options *o);

// Each setting is a set of options that could have been typed.
static void check_sweep(const struct options *o)
{
    for (size_t i = 0; i < o->sweep.count; i++) {
        struct options one;
        sweep_options(o, i, &one);
        MUST(memcmp(&one.sweep, &o->sweep, sizeof one.sweep) == 0);
        one.sweep.count = 0;
        check_values(&one);
        MUST(o->sweep.key != SWEEP_WAKE || one.wake != SMP_FIRMWARE);
    }
}

static void check_values(const struct options *o)
{
    MUST(o->wake <= SMP_FIRMWARE && o->apic <= APIC_XAPIC && o->serial <= SERIAL_PORT);
    MUST(o->log <= LOG_DEBUG && o->end <= END_DEBUG_EXIT);
    MUST(o->init_us <= 10000000 || o->init_us == INIT_US_AUTO);
    MUST(o->sipi_us <= 10000000 && o->sipis <= 4 && o->retries <= 100);
    MUST(o->timeout_us >= 1 && o->timeout_us <= 60000000);
    MUST(o->rounds >= 1 && o->rounds <= 1000000);
    const struct uart_place *place = &o->serial_place;
    MUST(o->serial != SERIAL_PORT || uart_place_is_sane(place));
    MUST(o->serial != SERIAL_PORT || place->base >= (place->stride == 0 ? 0x100u : 0x100000u));
    MUST(o->compare <= COMPARE_FIRMWARE && o->bench <= BENCH_NULL_LONG);
    MUST(o->exit <= ANSWER_YES && o->check <= ANSWER_YES && o->force <= ANSWER_YES);
    MUST(o->screen <= SCREEN_MODE && o->save <= SAVE_NVRAM && o->harvest <= HARVEST_ONLY);
    MUST(o->screen != SCREEN_MODE || (o->screen_width > 0 && o->screen_height > 0));
    MUST(o->rotate == ROTATE_AUTO || (o->rotate <= 270 && o->rotate % 90 == 0));
    MUST(o->again <= ANSWER_YES && o->wait_s <= 3600 && o->linger_s <= 3600);
    MUST(o->inject_count <= INJECTIONS_MAX && o->sweep.count <= SWEEP_MAX);
    for (size_t i = 0; i < o->inject_count; i++) {
        MUST(o->inject[i].kind < FAULT_KINDS && o->inject[i].cpu > 0);
    }
    check_sweep(o);
    MUST(o->cpus_count <= CPU_RANGES_MAX);
    uint64_t free_from = 1;
    for (size_t i = 0; i < o->cpus_count; i++) {
        struct cpu_range range = o->cpus[i];
        MUST(range.first >= free_from && range.first <= range.last && range.last < UINT32_MAX);
        MUST(options_cpu_wanted(o, range.first) && options_cpu_wanted(o, range.last));
        MUST(!options_cpu_wanted(o, range.first - 1) && !options_cpu_wanted(o, range.last + 1));
        free_from = (uint64_t)range.last + 2;
    }
}

static void check_same(const struct options *left, const struct options *right)
{
    MUST(left->wake == right->wake && left->init_us == right->init_us);
    MUST(left->sipi_us == right->sipi_us && left->sipis == right->sipis);
    MUST(left->timeout_us == right->timeout_us && left->retries == right->retries);
    MUST(left->apic == right->apic && left->rounds == right->rounds);
    MUST(left->serial == right->serial && left->log == right->log && left->end == right->end);
    MUST(left->serial != SERIAL_PORT || (left->serial_place.base == right->serial_place.base &&
                                         left->serial_place.stride == right->serial_place.stride &&
                                         left->serial_place.access == right->serial_place.access));
    MUST(left->cpus_count == right->cpus_count && left->help == right->help);
    MUST(memcmp(left->cpus, right->cpus, left->cpus_count * sizeof(left->cpus[0])) == 0);
    MUST(left->compare == right->compare && left->bench == right->bench);
    MUST(left->exit == right->exit && left->check == right->check && left->force == right->force);
    MUST(left->screen == right->screen && left->rotate == right->rotate);
    MUST(left->screen != SCREEN_MODE || (left->screen_width == right->screen_width &&
                                         left->screen_height == right->screen_height));
    MUST(left->save == right->save && left->harvest == right->harvest);
    MUST(left->again == right->again && left->wait_s == right->wait_s);
    MUST(left->linger_s == right->linger_s && left->inject_count == right->inject_count);
    MUST(memcmp(left->inject, right->inject, left->inject_count * sizeof left->inject[0]) == 0);
    MUST(left->sweep.count == right->sweep.count);
    MUST(left->sweep.count == 0 || left->sweep.key == right->sweep.key);
    MUST(memcmp(left->sweep.values, right->sweep.values,
                left->sweep.count * sizeof left->sweep.values[0]) == 0);
}

static size_t write_number(char *text, size_t size, const char *key, uint32_t value, uint32_t word)
{
    return (size_t)(value == word ? snprintf(text, size, "%s=auto ", key)
                                  : snprintf(text, size, "%s=%u ", key, value));
}

static size_t write_lists(const struct options *o, char *text, size_t size)
{
    size_t n = (size_t)snprintf(text, size, "inject=%s", o->inject_count == 0 ? "none" : "");
    for (size_t i = 0; i < o->inject_count; i++) {
        n += (size_t)snprintf(text + n, size - n, "%s%s", i > 0 ? "," : "",
                              fault_word(o->inject[i].kind));
        if (o->inject[i].cpu != FAULT_ANY_CPU) {
            n += (size_t)snprintf(text + n, size - n, ":%u", o->inject[i].cpu);
        }
    }
    n += (size_t)snprintf(text + n, size - n, " sweep=%s",
                          o->sweep.count == 0 ? "none" : sweep_word(o->sweep.key));
    for (size_t i = 0; i < o->sweep.count; i++) {
        char digits[SWEEP_DIGITS];
        n += (size_t)snprintf(text + n, size - n, "%s%s", i > 0 ? "," : ":",
                              sweep_value(&o->sweep, i, digits));
    }
    return n + (size_t)snprintf(text + n, size - n, " ");
}

static size_t write_screen(const struct options *o, char *text, size_t size)
{
    size_t n = (size_t)(o->rotate == ROTATE_AUTO ? snprintf(text, size, "rotate=auto ")
                                                 : snprintf(text, size, "rotate=%u ", o->rotate));
    return n + (size_t)(o->screen == SCREEN_MODE
                            ? snprintf(text + n, size - n, "screen=%ux%u ", o->screen_width,
                                       o->screen_height)
                            : snprintf(text + n, size - n, "screen=%s ",
                                       o->screen == SCREEN_OFF ? "off" : "auto"));
}

// Writes all options as a text that sets them.
static size_t write_options(const struct options *o, char *text, size_t size)
{
    static const char *const wake[] = {"parallel", "one-by-one", "broadcast", "firmware"};
    static const char *const apic[] = {"auto", "x2apic", "xapic"};
    static const char *const serial[] = {"auto", "off"};
    static const char *const log[] = {"normal", "quiet", "debug"};
    static const char *const end[] = {"auto", "halt", "poweroff", "reset", "debug-exit"};
    static const char *const save[] = {"ram", "none", "nvram"};
    static const char *const bench[] = {"none", "null", "null-long"};
    static const char *const answer[] = {"no", "yes"};
    size_t n = write_lists(o, text, size);
    n += write_screen(o, text + n, size - n);
    n += (size_t)snprintf(text + n, size - n,
                          "compare=%s bench=%s save=%s harvest=%s exit=%s dry-run=%s force=%s "
                          "again=%s wait=%u linger=%u ",
                          o->compare == COMPARE_NONE ? "none" : "firmware", bench[o->bench],
                          save[o->save], o->harvest == HARVEST_AUTO ? "auto" : "only",
                          answer[o->exit], answer[o->check], answer[o->force], answer[o->again],
                          o->wait_s, o->linger_s);
    n += write_number(text + n, size - n, "init_us", o->init_us, INIT_US_AUTO);
    n += write_number(text + n, size - n, "sipis", o->sipis, SMP_SIPIS_AUTO);
    n += (size_t)snprintf(text + n, size - n,
                          "sipi_us=%u timeout_us=%u retries=%u rounds=%u wake=%s apic=%s log=%s "
                          "end=%s %s ",
                          o->sipi_us, o->timeout_us, o->retries, o->rounds, wake[o->wake],
                          apic[o->apic], log[o->log], end[o->end], o->help ? "help" : "");
    n += (size_t)(o->serial == SERIAL_PORT
                      ? snprintf(text + n, size - n, "serial=%s0x%lx cpus=",
                                 o->serial_place.stride == 0   ? ""
                                 : o->serial_place.stride == 1 ? "mmio:"
                                                               : "mmio32:",
                                 (unsigned long)o->serial_place.base)
                      : snprintf(text + n, size - n, "serial=%s cpus=", serial[o->serial]));
    for (size_t i = 0; i < o->cpus_count; i++) {
        n += (size_t)snprintf(text + n, size - n, "%s%u-%u", i > 0 ? "," : "", o->cpus[i].first,
                              o->cpus[i].last);
    }
    return n + (size_t)snprintf(text + n, size - n, "%s", o->cpus_count == 0 ? "all" : "");
}

static void check_written_and_read(const struct options *options)
{
    char text[4096];
    struct told told = {0};
    struct options again;
    size_t bytes = write_options(options, text, sizeof(text));
    MUST(bytes < sizeof(text));
    options_set_defaults(&again);
    MUST(options_parse(text, bytes, "again", &(struct problems){told_add, &told}, &again) ==
         STATUS_OK);
    MUST(told.warnings + told.errors == 0);
    check_same(options, &again);
}

// A text lies inside the bytes that it was found in, and whoever says what they are reads no more.
static void check_found(const uint8_t *data, size_t size, const struct load_options *found)
{
    MUST(found->kind <= LOAD_OPTIONS_RUBBISH && found->bytes <= size);
    MUST(!(found->stray_first && found->stray_last));
    if (found->kind == LOAD_OPTIONS_TEXT) {
        MUST(found->text.units > 0 && found->text.bytes >= data);
        MUST(found->text.bytes + found->text.units * found->text.unit_bytes <= data + size);
        MUST(!(found->stray_first || found->stray_last) || found->text.unit_bytes == 2);
    }
}

static void check_bare_and_wrapped(const uint8_t *data, size_t size, const struct options *bare,
                                   enum status status)
{
    static const uint8_t head[] = {0x01, 0,    0, 0, 0x0d, 0, // attributes, path list's bytes
                                   'R',  0,    0, 0,          // description
                                   5,    1,    9, 0, 0x12, 0, 0, 0, 0, // a node, and the end
                                   0x7f, 0xff, 4, 0};
    struct told told = {0};
    struct load_options found;
    struct options options;

    load_options_find_text(data, size, &found);
    check_found(data, size, &found);
    if (found.whole_entry || size > LOAD_OPTIONS_MAX_BYTES - sizeof head) {
        return;
    }
    uint8_t *wrapped = malloc(sizeof head + size);
    MUST(wrapped != NULL);
    memcpy(wrapped, head, sizeof head);
    if (size > 0) {
        memcpy(wrapped + sizeof head, data, size);
    }
    options_set_defaults(&options);
    MUST(options_parse_load_options(wrapped, sizeof head + size,
                                    &(struct problems){told_add, &told}, &options) == status);
    free(wrapped);
    check_same(bare, &options);
}

// options.h: a line has at most 100 characters.
static void check_help(void *context, const char *line)
{
    size_t *lines = context;

    must_be_printable(line);
    MUST(strlen(line) <= 100);
    ++*lines;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int way = 0; way < 2; way++) {
        struct reading reading = {.source = way == 0 ? "reveille.cfg" : "load options",
                                  .lines = way == 0 ? lines_of(data, size) : 0};
        const struct told *told = &reading.told;
        const struct problems problems = {tell, &reading};
        struct options options;
        options_set_defaults(&options);
        enum status status =
            way == 0 ? options_parse((const char *)data, size, "reveille.cfg", &problems, &options)
                     : options_parse_load_options(data, size, &problems, &options);
        MUST(status == (told->errors > 0 ? STATUS_INVALID : STATUS_OK));
        MUST(told->warnings + told->errors <= FINDINGS_MAX);
        check_values(&options);
        check_written_and_read(&options);
        if (options.help) {
            size_t lines = 0;
            options_help(check_help, &lines);
            MUST(lines > 25);
        }
        if (way == 1) {
            check_bare_and_wrapped(data, size, &options, status);
        }
    }
    return 0;
}
