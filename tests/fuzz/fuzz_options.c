// Fuzzer: any bytes as option file and as load options. What must hold whatever they are: every
// value in its range, every list sorted, every finding one printable sentence, the status as the
// findings say, and an error changes nothing for the worse. Surprise: what an accepted text set is
// written out again and read back, and must come to the same; and load options must set the same
// bare and inside a whole boot entry, which some firmware hands over.
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "line.h"
#include "load_options.h"
#include "options.h"

#define FINDINGS_MAX 101 // 100 one by one, and one that counts the rest

// abort() and not assert(): it must not vanish with NDEBUG.
#define MUST(condition)                                                     \
    do {                                                                    \
        if (!(condition)) {                                                 \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                        \
        }                                                                   \
    } while (0)

struct told {
    size_t findings, errors;
};

static void tell(void *context, enum severity severity, const char *what, const char *detail)
{
    struct told *told = context;
    told->findings++;
    told->errors += severity == SEVERITY_ERROR;
    MUST(what[0] != '\0' && detail[0] != '\0' && strlen(detail) < LINE_BYTES);
    for (const char *c = detail; *c != '\0'; c++) {
        MUST(*c >= 0x20 && *c <= 0x7e);
    }
}

static void check_values(const struct options *o)
{
    MUST(o->wake <= WAKE_FIRMWARE && o->apic <= APIC_XAPIC && o->serial <= SERIAL_PORT);
    MUST(o->log <= LOG_DEBUG && o->end <= END_DEBUG_EXIT);
    MUST(o->init_us <= 10000000 || o->init_us == INIT_US_AUTO);
    MUST(o->sipi_us <= 10000000 && o->sipis <= 4 && o->retries <= 100);
    MUST(o->timeout_us >= 1 && o->timeout_us <= 60000000);
    MUST(o->rounds >= 1 && o->rounds <= 1000000);
    MUST(o->serial != SERIAL_PORT || (o->serial_port >= 0x100 && o->serial_port <= 0xfff8));
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
    MUST(left->serial != SERIAL_PORT || left->serial_port == right->serial_port);
    MUST(left->cpus_count == right->cpus_count && left->help == right->help);
    MUST(memcmp(left->cpus, right->cpus, left->cpus_count * sizeof(left->cpus[0])) == 0);
}

static size_t write_number(char *text, size_t size, const char *key, uint32_t value, uint32_t word)
{
    return (size_t)(value == word ? snprintf(text, size, "%s=auto ", key)
                                  : snprintf(text, size, "%s=%u ", key, value));
}

// Writes all options as a text that sets them.
static size_t write_options(const struct options *o, char *text, size_t size)
{
    static const char *const wake[] = {"parallel", "one-by-one", "broadcast", "firmware"};
    static const char *const apic[] = {"auto", "x2apic", "xapic"};
    static const char *const serial[] = {"auto", "off"};
    static const char *const log[] = {"normal", "quiet", "debug"};
    static const char *const end[] = {"auto", "halt", "poweroff", "reset", "debug-exit"};
    size_t n = write_number(text, size, "init_us", o->init_us, INIT_US_AUTO);
    n += write_number(text + n, size - n, "sipis", o->sipis, SIPIS_AUTO);
    n += (size_t)snprintf(text + n, size - n,
                          "sipi_us=%u timeout_us=%u retries=%u rounds=%u wake=%s apic=%s log=%s "
                          "end=%s %s ",
                          o->sipi_us, o->timeout_us, o->retries, o->rounds, wake[o->wake],
                          apic[o->apic], log[o->log], end[o->end], o->help ? "help" : "");
    n += (size_t)(o->serial == SERIAL_PORT
                      ? snprintf(text + n, size - n, "serial=0x%x cpus=", o->serial_port)
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
    MUST(options_parse(text, bytes, "again", &(struct problems){tell, &told}, &again) == STATUS_OK);
    MUST(told.findings == 0);
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
    MUST(options_parse_load_options(wrapped, sizeof head + size, &(struct problems){tell, &told},
                                    &options) == status);
    free(wrapped);
    check_same(bare, &options);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int way = 0; way < 2; way++) {
        struct told told = {0};
        const struct problems problems = {tell, &told};
        struct options options;
        options_set_defaults(&options);
        enum status status =
            way == 0 ? options_parse((const char *)data, size, "reveille.cfg", &problems, &options)
                     : options_parse_load_options(data, size, &problems, &options);
        MUST(status == (told.errors > 0 ? STATUS_INVALID : STATUS_OK));
        MUST(told.findings <= FINDINGS_MAX);
        check_values(&options);
        check_written_and_read(&options);
        if (way == 1) {
            check_bare_and_wrapped(data, size, &options, status);
        }
    }
    return 0;
}
