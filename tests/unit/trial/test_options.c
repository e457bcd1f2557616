// Options: every key, every kind of mistake, every encoding; both ways in. Table driven: a case is
// a text, what it changes, and the findings about it, word for word. Surprise: inputs are copied to
// memory of exactly their size, so that ASan sees a read of one byte too many.
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "options.h"

#define TOLD_BYTES 65536

// All findings of one run, a line each: "error bad-value: sentence".
static char told[TOLD_BYTES];
static size_t told_count;

static void tell(void *context, enum severity severity, const char *what, const char *detail)
{
    assert_ptr_equal(context, &told_count);
    for (const char *c = detail; *c != '\0'; c++) {
        assert_in_range(*c, 0x20, 0x7e);
    }
    size_t used = strlen(told);
    int more = snprintf(told + used, TOLD_BYTES - used, "%s %s: %s\n",
                        severity == SEVERITY_ERROR ? "error" : "warning", what, detail);
    assert_in_range(more, 1, TOLD_BYTES - used - 1);
    told_count++;
}

static const struct problems listener = {tell, &told_count};

static void forget(void)
{
    told[0] = '\0';
    told_count = 0;
}

// What differs from the defaults of the contract, in an order and a form of its own.
static void render(const struct options *o, char *text, size_t size)
{
    size_t n = 0;
    text[0] = '\0';
#define SHOW(differs, ...)                                      \
    if (differs) {                                              \
        n += (size_t)snprintf(text + n, size - n, __VA_ARGS__); \
        assert_in_range(n, 0, size - 1);                        \
    }
    SHOW(o->wake != SMP_PARALLEL, "wake:%d ", (int)o->wake)
    SHOW(o->init_us != INIT_US_AUTO, "init_us:%u ", o->init_us)
    SHOW(o->sipi_us != 200, "sipi_us:%u ", o->sipi_us)
    SHOW(o->sipis != SMP_SIPIS_AUTO, "sipis:%u ", o->sipis)
    SHOW(o->timeout_us != 1000000, "timeout_us:%u ", o->timeout_us)
    SHOW(o->retries != 1, "retries:%u ", o->retries)
    SHOW(o->apic != APIC_AUTO, "apic:%d ", (int)o->apic)
    for (size_t i = 0; i < o->cpus_count; i++) {
        SHOW(true, "%u-%u ", o->cpus[i].first, o->cpus[i].last)
    }
    SHOW(o->rounds != 1, "rounds:%u ", o->rounds)
    SHOW(o->serial == SERIAL_OFF, "serial:off ")
    SHOW(o->serial == SERIAL_PORT, "serial:%lx", (unsigned long)o->serial_place.base)
    SHOW(o->serial == SERIAL_PORT && o->serial_place.stride != 0, "/%u/%u", o->serial_place.stride,
         o->serial_place.access)
    SHOW(o->serial == SERIAL_PORT, o->serial_place.baud != 0 ? " " : " as it is ")
    SHOW(o->log != LOG_NORMAL, "log:%d ", (int)o->log)
    SHOW(o->end != END_AUTO, "end:%d ", (int)o->end)
    SHOW(o->bench != BENCH_NONE, "bench:%d ", (int)o->bench)
    SHOW(o->sweep.count > 0, "sweep:%d", (int)o->sweep.key)
    for (size_t i = 0; i < o->sweep.count; i++) {
        SHOW(true, ",%u%s", o->sweep.values[i], i + 1 == o->sweep.count ? " " : "")
    }
    SHOW(o->run != RUN_NONE, "run:%d ", (int)o->run)
    SHOW(o->park != SMP_PARK_MWAIT, "park:%d ", (int)o->park)
    SHOW(o->compare != COMPARE_NONE, "compare:%d ", (int)o->compare)
    SHOW(o->exit != ANSWER_YES, "exit:%d ", (int)o->exit)
    SHOW(o->check != ANSWER_NO, "check:%d ", (int)o->check)
    SHOW(o->force != ANSWER_NO, "force:%d ", (int)o->force)
    SHOW(o->screen == SCREEN_OFF, "screen:off ")
    SHOW(o->screen == SCREEN_MODE, "screen:%ux%u ", o->screen_width, o->screen_height)
    SHOW(o->rotate != ROTATE_AUTO, "rotate:%u ", o->rotate)
    SHOW(o->save != SAVE_RAM, "save:%d ", (int)o->save)
    SHOW(o->harvest != HARVEST_AUTO, "harvest:%d ", (int)o->harvest)
    SHOW(o->again != ANSWER_NO, "again:%d ", (int)o->again)
    SHOW(o->wait_s != 0, "wait:%u ", o->wait_s)
    SHOW(o->linger_s != 60, "linger:%u ", o->linger_s)
    for (size_t i = 0; i < o->inject_count; i++) {
        SHOW(true, "inject:%d,%u ", (int)o->inject[i].kind, o->inject[i].cpu)
    }
    SHOW(o->pause, "pause ")
    SHOW(o->help, "help ")
#undef SHOW
}

static void *copy(const void *bytes, size_t count)
{
    void *exact = malloc(count > 0 ? count : 1);
    assert_non_null(exact);
    return memcpy(exact, bytes, count);
}

static enum status parse(const char *text, size_t bytes, struct options *options)
{
    char *exact = copy(text, bytes);
    enum status status = options_parse(exact, bytes, "reveille.cfg", &listener, options);
    free(exact);
    return status;
}

static enum status load(const void *data, size_t bytes, struct options *options)
{
    void *exact = copy(data, bytes);
    enum status status = options_parse_load_options(exact, bytes, &listener, options);
    free(exact);
    return status;
}

static size_t to_utf16(const char *text, uint8_t *to)
{
    size_t units = strlen(text);
    for (size_t i = 0; i < units; i++) {
        to[2 * i] = (uint8_t)text[i];
        to[2 * i + 1] = 0;
    }
    return 2 * units;
}

struct text_case {
    const char *text;
    const char *changed;
    const char *findings;
};

static void check(const struct text_case *c, enum status status, const struct options *options)
{
    char changed[4096];
    render(options, changed, sizeof(changed));
    if (strcmp(changed, c->changed) != 0 || strcmp(told, c->findings) != 0) {
        print_error("text: %s\n", c->text);
    }
    assert_string_equal(changed, c->changed);
    assert_string_equal(told, c->findings);
    assert_int_equal(status, strstr(told, "error ") != NULL ? STATUS_INVALID : STATUS_OK);
}

static void run_text_cases(const struct text_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct options options;
        forget();
        options_set_defaults(&options);
        enum status status = parse(cases[i].text, strlen(cases[i].text), &options);
        check(&cases[i], status, &options);
    }
}
#define RUN_TEXT_CASES(cases) run_text_cases(cases, sizeof(cases) / sizeof(cases[0]))

static void test_defaults(void **state)
{
    (void)state;
    struct options options;
    char changed[256];
    memset(&options, 0xa5, sizeof(options));
    options_set_defaults(&options);
    render(&options, changed, sizeof(changed));
    assert_string_equal(changed, "");
    assert_int_equal(options.serial, SERIAL_AUTO);
    assert_int_equal(options.cpus_count, 0);
    assert_false(options.help);
}

static void test_good_values(void **state)
{
    (void)state;
    static const struct text_case cases[] = {
        {"", "", ""},
        {"wake=parallel", "", ""},
        {"wake=one-by-one init_us=10000 sipi_us=200 sipis=2", "wake:1 init_us:10000 sipis:2 ", ""},
        {"wake=broadcast", "wake:2 ", ""},
        {"init_us=0", "init_us:0 ", ""},
        {"init_us=10000000", "init_us:10000000 ", ""},
        {"init_us=10 init_us=auto", "", ""},
        {"sipi_us=0", "sipi_us:0 ", ""},
        {"sipi_us=010", "sipi_us:10 ", ""},
        {"sipis=1", "sipis:1 ", ""},
        {"sipis=4", "sipis:4 ", ""},
        {"sipis=4 sipis=auto", "", ""},
        {"timeout_us=1", "timeout_us:1 ", ""},
        {"timeout_us=60000000", "timeout_us:60000000 ", ""},
        {"retries=0", "retries:0 ", ""},
        {"retries=100", "retries:100 ", ""},
        {"apic=x2apic", "apic:1 ", ""},
        {"apic=xapic", "apic:2 ", ""},
        {"apic=xapic apic=auto", "", ""},
        {"rounds=1000000", "rounds:1000000 ", ""},
        {"serial=off", "serial:off ", ""},
        {"serial=0x2f8", "serial:2f8 ", ""},
        {"serial=0x2F8", "serial:2f8 ", ""},
        {"serial=0x100", "serial:100 ", ""},
        {"serial=0xfff8", "serial:fff8 ", ""},
        {"serial=0x2f8 serial=auto", "", ""},
        {"serial=mmio32:0xfe034000", "serial:fe034000/4/4 as it is ", ""},
        {"serial=mmio:0xFE034FF8", "serial:fe034ff8/1/1 as it is ", ""},
        {"serial=mmio:0x100000", "serial:100000/1/1 as it is ", ""},
        {"serial=mmio32:0xffffffe0", "serial:ffffffe0/4/4 as it is ", ""},
        {"log=quiet", "log:1 ", ""},
        {"log=debug", "log:2 ", ""},
        {"end=halt", "end:1 ", ""},
        {"end=poweroff", "end:2 ", ""},
        {"end=reset", "end:3 ", ""},
        {"end=debug-exit", "end:4 ", ""},
        {"bench=null", "bench:1 ", ""},
        {"sweep=init_us:0", "sweep:1,0 ", ""},
        {"sweep=init_us:0,10,auto", "sweep:1,0,10,4294967295 ", ""},
        {"sweep=sipi_us:200,0", "sweep:2,200,0 ", ""},
        {"sweep=sipis:auto,1,4", "sweep:3,0,1,4 ", ""},
        {"sweep=wake:broadcast,parallel", "sweep:4,2,0 ", ""},
        {"sweep=sipi_us:200,0 sweep=init_us:0", "sweep:1,0 ", ""},
        {"sweep=sipis:1 sweep=none", "", ""},
        {"help", "help ", ""},
        {"-h", "help ", ""},
        {"-?", "help ", ""},
        {"--help rounds=2", "rounds:2 help ", ""},
        {"rounds=2 rounds=3", "rounds:3 ", ""},
        {"wake=firmware", "wake:3 ", ""},
        {"bench=null-long", "bench:2 ", ""},
        {"compare=firmware exit=no force=yes", "compare:1 exit:0 force:1 ", ""},
        {"screen=off", "screen:off ", ""},
        {"screen=1280x800", "screen:1280x800 ", ""},
        {"screen=1x65535 screen=auto", "", ""},
        {"rotate=0", "rotate:0 ", ""},
        {"rotate=90 rotate=180", "rotate:180 ", ""},
        {"rotate=270 rotate=auto", "", ""},
        {"save=none", "save:1 ", ""},
        {"save=nvram harvest=only again=yes", "save:2 harvest:1 again:1 ", ""},
        {"wait=3600 linger=0", "wait:3600 linger:0 ", ""},
        {"run=call park=init", "run:1 park:0 ", ""},
        {"run=park park=nmi", "run:2 park:1 ", ""},
        {"run=barrier park=pause", "run:3 park:3 ", ""},
        {"run=sum park=mwait", "run:4 ", ""},
        {"run=all run=none", "", ""},
        {"run=all", "run:5 ", ""},
        {"inject=hang-call:2", "inject:26,2 ", ""},
        {"inject=no-init,bad-journal:7", "inject:0,4294967295 inject:25,7 ", ""},
        {"inject=late inject=none", "", ""},
        // The last word for a list is the whole list, whether it is shorter or longer.
        {"inject=late,no-init:2 inject=bad-journal:7", "inject:25,7 ", ""},
        {"inject=bad-journal:7 inject=no-init,bad-journal:7", "inject:0,4294967295 inject:25,7 ",
         ""},
        {"-b", "pause ", ""},
        // One option under two names.
        {"check=yes", "check:1 ", ""},
        {"dry-run=yes", "check:1 ", ""},
        {"check=yes dry-run=no", "", ""},
        {"dry-run=no check=yes", "check:1 ", ""},
    };
    RUN_TEXT_CASES(cases);
}

// What one option sets, no other option and no other field of the struct feels: whatever the width
// of the field is.
static void test_neighbours(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "wake=firmware", "init_us=auto", "sipi_us=9",        "sipis=4",    "timeout_us=9",
        "retries=9",     "apic=xapic",   "rounds=9",         "serial=off", "log=debug",
        "end=reset",     "bench=null",   "compare=firmware", "exit=no",    "dry-run=yes",
        "force=yes",     "screen=off",   "rotate=270",       "save=nvram", "harvest=only",
        "again=yes",     "wait=9",       "linger=9",         "cpus=all",   "inject=none",
        "sweep=none",    "run=all",      "park=init",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct options before, after;
        memset(&before, 0xa5, sizeof before);
        before.words_length = before.words_too_long = 0;
        after = before;
        forget();
        assert_int_equal(parse(texts[i], strlen(texts[i]), &after), STATUS_OK);
        after.words_length = 0;
        memcpy(after.words, before.words, sizeof after.words);
        size_t changed = 0, first = sizeof after, last = 0;
        for (size_t byte = 0; byte < sizeof after; byte++) {
            if (((uint8_t *)&before)[byte] != ((uint8_t *)&after)[byte]) {
                first = first < byte ? first : byte;
                last = byte;
                changed++;
            }
        }
        // A list's count is a size_t; everything else takes 32 bits.
        const bool list = strstr("cpus=all inject=none sweep=none", texts[i]) != NULL;
        assert_int_equal(changed, list ? sizeof(size_t) : sizeof(uint32_t));
        assert_int_equal(last - first + 1, changed);
    }
}

static void test_words_and_comments(void **state)
{
    (void)state;
    static const struct text_case cases[] = {
        {"  \t\r\n\n ", "", ""},
        {"# rounds=2", "", ""},
        {"#rounds=2\nrounds=3", "rounds:3 ", ""},
        {"#rounds=2\rrounds=3", "rounds:3 ", ""},
        {"rounds=2#rounds=3", "rounds:2 ", ""},
        {"\trounds=2\r\n  log=debug # \xe4\xb8\xad\xe6\x96\x87 \x01\r\nend=halt",
         "rounds:2 log:2 end:1 ", ""},
        {"a=1\r\n\r\nb=1\rc=1\n\n d=1", "",
         "warning unknown-key: reveille.cfg line 1: \"a\" is not an option and is ignored; the "
         "nearest "
         "is "
         "wake\n"
         "warning unknown-key: reveille.cfg line 3: \"b\" is not an option and is ignored; the "
         "nearest "
         "is "
         "log\n"
         "warning unknown-key: reveille.cfg line 4: \"c\" is not an option and is ignored; the "
         "nearest "
         "is "
         "apic\n"
         "warning unknown-key: reveille.cfg line 6: \"d\" is not an option and is ignored; the "
         "nearest "
         "is "
         "end\n"},
    };
    RUN_TEXT_CASES(cases);
}

#define UNKNOWN(what, name, nearest)                         \
    "warning unknown-" what ": reveille.cfg line 1: \"" name \
    "\" is not an option and is ignored; "                   \
    "the nearest is " nearest "\n"

static void test_unknown_keys(void **state)
{
    (void)state;
    static const struct text_case cases[] = {
        {"wkae=broadcast", "", UNKNOWN("key", "wkae", "wake")},
        {"WAKE=broadcast", "", UNKNOWN("key", "WAKE", "wake")},
        {"END=halt", "", UNKNOWN("key", "END", "end")},
        {"Serial=off", "", UNKNOWN("key", "Serial", "serial")},
        {"init-us=1", "", UNKNOWN("key", "init-us", "init_us")},
        {"timeout=1", "", UNKNOWN("key", "timeout", "timeout_us")},
        {"cpu=1", "", UNKNOWN("key", "cpu", "cpus")},
        {"sipi=1", "", UNKNOWN("key", "sipi", "sipis")},
        {"round=1", "", UNKNOWN("key", "round", "rounds")},
        {"retry=1", "", UNKNOWN("key", "retry", "retries")},
        {"ends=1", "", UNKNOWN("key", "ends", "end")},
        {"lapic=1", "", UNKNOWN("key", "lapic", "apic")},
        {"=1", "", UNKNOWN("key", "", "log")},
        {"=", "", UNKNOWN("key", "", "log")},
        {"verbose", "", UNKNOWN("word", "verbose", "retries")},
        {"hlep", "", UNKNOWN("word", "hlep", "help")},
        {"HELP", "", UNKNOWN("word", "HELP", "help")},
        {"l\xc3\xb6g=1", "", UNKNOWN("key", "l??g", "log")},
        {"\x01\x7f\x1b[31m=1", "", UNKNOWN("key", "???[31m", "wake")},
        {"an_unknown_key_that_is_longer_than_any_key_there_is_or_ever_will_be=1", "",
         UNKNOWN("key", "an_unknown_key_that_is_longer_than_any_key_there...", "rotate")},
        {"dryrun=yes", "", UNKNOWN("key", "dryrun", "dry-run")},
        {"dry_run=yes", "", UNKNOWN("key", "dry_run", "dry-run")},
        {"chek=yes", "", UNKNOWN("key", "chek", "check")},
        {"rounds=2 foo=1 log=debug", "rounds:2 log:2 ", UNKNOWN("key", "foo", "log")},
    };
    RUN_TEXT_CASES(cases);
}

#define BAD(word, values) \
    "error bad-value: reveille.cfg line 1: " word " is not valid: write " values "\n"
#define WAKE_VALUES "parallel|one-by-one|broadcast|firmware"
#define INIT_VALUES "auto|0..10000000, in decimal"
#define PORT_VALUES "auto|off|0x100..0xfff8|mmio[32]:ADDR"
#define SIZE_VALUES "auto|off|1280x800"
#define MISSING(key, values)                                                     \
    "error missing-value: reveille.cfg line 1: " key " has no value: write " key \
    "=VALUE without blanks, where VALUE is " values "\n"

#define SWEEP(value, item, wrong) \
    "error bad-value: reveille.cfg line 1: sweep=" value ": \"" item "\" is " wrong "\n"
#define NO_SWEEP(value)                                                            \
    "error bad-value: reveille.cfg line 1: sweep=" value " is not a sweep: write " \
    "KEY:VALUE,VALUE with one of the keys wake init_us sipi_us sipis\n"
#define NO_VALUE "not a value of this option: see help"

static void test_bad_values(void **state)
{
    (void)state;
    static const struct text_case cases[] = {
        {"wake=paralel", "", BAD("wake=paralel", WAKE_VALUES)},
        {"wake=Parallel", "", BAD("wake=Parallel", WAKE_VALUES)},
        {"wake=parallel,", "", BAD("wake=parallel,", WAKE_VALUES)},
        {"wake==parallel", "", BAD("wake==parallel", WAKE_VALUES)},
        {"wake=0", "", BAD("wake=0", WAKE_VALUES)},
        {"wake=", "", MISSING("wake", WAKE_VALUES)},
        {"wake", "", MISSING("wake", WAKE_VALUES)},
        {"init_us=10us", "", BAD("init_us=10us", INIT_VALUES)},
        {"init_us=0x10", "", BAD("init_us=0x10", INIT_VALUES)},
        {"init_us=a", "", BAD("init_us=a", INIT_VALUES)},
        {"init_us=+1", "", BAD("init_us=+1", INIT_VALUES)},
        {"init_us=-1", "", BAD("init_us=-1", INIT_VALUES)},
        {"init_us=1.5", "", BAD("init_us=1.5", INIT_VALUES)},
        {"init_us=10000001", "", BAD("init_us=10000001", INIT_VALUES)},
        {"init_us=4294967295", "", BAD("init_us=4294967295", INIT_VALUES)},
        {"init_us=4294967296", "", BAD("init_us=4294967296", INIT_VALUES)},
        {"init_us=18446744073709551616", "", BAD("init_us=18446744073709551616", INIT_VALUES)},
        {"init_us=18446744073709551626", "", BAD("init_us=18446744073709551626", INIT_VALUES)},
        {"sipi_us=auto", "", BAD("sipi_us=auto", "0..10000000, in decimal")},
        {"sipis=0", "", BAD("sipis=0", "auto|1..4, in decimal")},
        {"sipis=5", "", BAD("sipis=5", "auto|1..4, in decimal")},
        {"timeout_us=0", "", BAD("timeout_us=0", "1..60000000, in decimal")},
        {"timeout_us=60000001", "", BAD("timeout_us=60000001", "1..60000000, in decimal")},
        {"retries=101", "", BAD("retries=101", "0..100, in decimal")},
        {"rounds=0", "", BAD("rounds=0", "1..1000000, in decimal")},
        {"rounds=1000001", "", BAD("rounds=1000001", "1..1000000, in decimal")},
        {"apic=x2", "", BAD("apic=x2", "auto|x2apic|xapic")},
        {"serial=0x2f8h", "", BAD("serial=0x2f8h", PORT_VALUES)},
        {"serial=2f8", "", BAD("serial=2f8", PORT_VALUES)},
        {"serial=760", "", BAD("serial=760", PORT_VALUES)},
        {"serial=0x", "", BAD("serial=0x", PORT_VALUES)},
        {"serial=0", "", BAD("serial=0", PORT_VALUES)},
        {"serial=0xff", "", BAD("serial=0xff", PORT_VALUES)},
        {"serial=0xfff9", "", BAD("serial=0xfff9", PORT_VALUES)},
        {"serial=0x102f8", "", BAD("serial=0x102f8", PORT_VALUES)},
        {"serial=mmio32", "", BAD("serial=mmio32", PORT_VALUES)},
        {"serial=mmio32:", "", BAD("serial=mmio32:", PORT_VALUES)},
        {"serial=:0xfe034000", "", BAD("serial=:0xfe034000", PORT_VALUES)},
        {"serial=io:0x3f8", "", BAD("serial=io:0x3f8", PORT_VALUES)},
        {"serial=mmio:fe034000", "", BAD("serial=mmio:fe034000", PORT_VALUES)},
        {"serial=mmio32:0xfe034002", "", BAD("serial=mmio32:0xfe034002", PORT_VALUES)},
        {"serial=mmio32:0xfe034fe4", "", BAD("serial=mmio32:0xfe034fe4", PORT_VALUES)},
        {"serial=mmio:0xfe034ff9", "", BAD("serial=mmio:0xfe034ff9", PORT_VALUES)},
        {"serial=mmio:0xfffff", "", BAD("serial=mmio:0xfffff", PORT_VALUES)},
        {"serial=mmio:0xfee00000", "", BAD("serial=mmio:0xfee00000", PORT_VALUES)},
        {"serial=mmio32:0x100000000", "", BAD("serial=mmio32:0x100000000", PORT_VALUES)},
        {"serial=0x100000000000002f8", "", BAD("serial=0x100000000000002f8", PORT_VALUES)},
        {"log=verbose", "", BAD("log=verbose", "normal|quiet|debug")},
        {"end=\x1b[2J", "", BAD("end=?[2J", "auto|halt|poweroff|reset|debug-exit")},
        {"log=quiet\xc2\xa0", "", BAD("log=quiet??", "normal|quiet|debug")},
        {"sweep", "", MISSING("sweep", "none|init_us:0,10,100")},
        {"sweep=init_us", "", NO_SWEEP("init_us")},
        {"sweep=:1", "", NO_SWEEP(":1")},
        {"sweep=rounds:1,2", "", NO_SWEEP("rounds:1,2")},
        {"sweep=dry-run:yes", "", NO_SWEEP("dry-run:yes")},
        {"sweep=init_us:", "", SWEEP("init_us:", "", NO_VALUE)},
        {"sweep=init_us:1,", "", SWEEP("init_us:1,", "", NO_VALUE)},
        {"sweep=init_us:1,,x", "",
         SWEEP("init_us:1,,x", "", NO_VALUE) SWEEP("init_us:1,,x", "x", NO_VALUE)},
        {"sweep=init_us:10000001", "", SWEEP("init_us:10000001", "10000001", NO_VALUE)},
        {"sweep=sipi_us:auto", "", SWEEP("sipi_us:auto", "auto", NO_VALUE)},
        {"sweep=sipis:5", "", SWEEP("sipis:5", "5", NO_VALUE)},
        {"sweep=wake:0", "", SWEEP("wake:0", "0", NO_VALUE)},
        {"sweep=init_us:7,07", "", SWEEP("init_us:7,07", "07", "listed twice")},
        {"sweep=wake:firmware", "",
         SWEEP("wake:firmware", "firmware",
               "not a wake by Reveille itself: use wake=firmware in a run of its own")},
        {"sweep=sipi_us:0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,"
         "28,29,30,31,32",
         "",
         SWEEP("sipi_us:0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16...", "32",
               "one value too many: the limit is 32")},
        {"sweep=sipis:4 sweep=sipis:1,x", "sweep:3,4 ", SWEEP("sipis:1,x", "x", NO_VALUE)},
        {"inject=", "", MISSING("inject", "none|FAULT[:CPU][,...]")},
        {"inject=late:2,slow", "",
         "error bad-value: reveille.cfg line 1: inject=late:2,slow: \"slow\" is not a fault that "
         "can "
         "be injected: docs/faults.md lists them\n"},
        {"inject=late:0", "",
         "error bad-value: reveille.cfg line 1: inject=late:0: \"late:0\" is not a fault of an AP: "
         "write FAULT:CPU, where CPU is an index from 1 on\n"},
        {"screen=1280", "", BAD("screen=1280", SIZE_VALUES)},
        {"screen=1280x", "", BAD("screen=1280x", SIZE_VALUES)},
        {"screen=x800", "", BAD("screen=x800", SIZE_VALUES)},
        {"screen=0x800", "", BAD("screen=0x800", SIZE_VALUES)},
        {"screen=1280x65536", "", BAD("screen=1280x65536", SIZE_VALUES)},
        {"screen=1280x800x2", "", BAD("screen=1280x800x2", SIZE_VALUES)},
        {"rotate=45", "", BAD("rotate=45", "auto|0|90|180|270")},
        {"check=maybe", "", BAD("check=maybe", "no|yes")},
        {"dry-run=maybe", "", BAD("dry-run=maybe", "no|yes")},
        {"dry-run", "", MISSING("dry-run", "no|yes")},
        // A bad value leaves what was there, and a good one later does not excuse it.
        {"rounds=7 rounds=x rounds=", "rounds:7 ",
         BAD("rounds=x", "1..1000000, in decimal") MISSING("rounds", "1..1000000")},
        {"serial=0x2f8 serial=x", "serial:2f8 ", BAD("serial=x", PORT_VALUES)},
        {"rounds=x rounds=7", "rounds:7 ", BAD("rounds=x", "1..1000000, in decimal")},
        {"wake = broadcast", "",
         MISSING("wake", WAKE_VALUES) UNKNOWN("key", "", "log")
             UNKNOWN("word", "broadcast", "rounds")},
    };
    RUN_TEXT_CASES(cases);
}

#define CPUS(value, item, wrong) \
    "error bad-value: reveille.cfg line 1: cpus=" value ": \"" item "\" is " wrong "\n"
#define EMPTY    "empty: write a CPU index or a range between two commas"
#define NEITHER  "neither a decimal number nor a range such as 5-8"
#define BEYOND   "above 4294967294, the highest possible index"
#define BACKWARD "a range that runs backwards"
#define IS_BSP   "out of range: CPU 0 is the BSP, which is awake already; APs count from 1"

static void test_cpus(void **state)
{
    (void)state;
    static const struct text_case cases[] = {
        {"cpus=all", "", ""},
        {"cpus=1", "1-1 ", ""},
        {"cpus=1,3,5-8", "1-1 3-3 5-8 ", ""},
        {"cpus=5-8,3,1", "1-1 3-3 5-8 ", ""},
        {"cpus=1,1,1", "1-1 ", ""},
        {"cpus=3,2,1", "1-3 ", ""},
        {"cpus=1-3,2-6,8", "1-6 8-8 ", ""},
        {"cpus=2-4,1-9", "1-9 ", ""},
        {"cpus=1-9,2-4", "1-9 ", ""},
        {"cpus=1,3,5,7,2-6", "1-7 ", ""},
        {"cpus=10,20,30,15-25", "10-10 15-25 30-30 ", ""},
        {"cpus=4294967294,1", "1-1 4294967294-4294967294 ", ""},
        {"cpus=1-4294967294,4294967294", "1-4294967294 ", ""},
        {"cpus=1 cpus=2", "2-2 ", ""},
        {"cpus=1 cpus=all", "", ""},
        {"cpus=0", "", CPUS("0", "0", IS_BSP)},
        {"cpus=0-3", "", CPUS("0-3", "0-3", IS_BSP)},
        {"cpus=8-5", "", CPUS("8-5", "8-5", BACKWARD)},
        {"cpus=1-0", "", CPUS("1-0", "1-0", BACKWARD)},
        {"cpus=1,,3", "", CPUS("1,,3", "", EMPTY)},
        {"cpus=1,", "", CPUS("1,", "", EMPTY)},
        {"cpus=,1", "", CPUS(",1", "", EMPTY)},
        {"cpus=,", "", CPUS(",", "", EMPTY) CPUS(",", "", EMPTY)},
        {"cpus=1-", "", CPUS("1-", "1-", NEITHER)},
        {"cpus=-1", "", CPUS("-1", "-1", NEITHER)},
        {"cpus=1-2-3", "", CPUS("1-2-3", "1-2-3", NEITHER)},
        {"cpus=0x1", "", CPUS("0x1", "0x1", NEITHER)},
        {"cpus=1,all", "", CPUS("1,all", "all", NEITHER)},
        {"cpus=1;2", "", CPUS("1;2", "1;2", NEITHER)},
        {"cpus=4294967295", "", CPUS("4294967295", "4294967295", BEYOND)},
        {"cpus=1-99999999999999999999", "",
         CPUS("1-99999999999999999999", "1-99999999999999999999", BEYOND)},
        {"cpus=7 cpus=1,0,x,3", "7-7 ", CPUS("1,0,x,3", "0", IS_BSP) CPUS("1,0,x,3", "x", NEITHER)},
        {"cpus=", "", MISSING("cpus", "all|1,3,5-8")},
        {"cpus=1,\x80", "", CPUS("1,?", "?", NEITHER)},
    };
    RUN_TEXT_CASES(cases);
}

// 64 separate CPUs fit; the 65th does not, and says so once.
static void test_cpus_full(void **state)
{
    (void)state;
    for (uint32_t wanted = 64; wanted <= 80; wanted += 16) {
        char text[512] = "cpus=1";
        for (uint32_t i = 1; i < wanted; i++) {
            snprintf(text + strlen(text), sizeof(text) - strlen(text), ",%u", 2 * i + 1);
        }
        struct options options;
        forget();
        options_set_defaults(&options);
        enum status status = parse(text, strlen(text), &options);
        assert_int_equal(status, wanted == 64 ? STATUS_OK : STATUS_INVALID);
        assert_int_equal(told_count, wanted == 64 ? 0 : 1);
        assert_int_equal(options.cpus_count, wanted == 64 ? 64 : 0);
        assert_string_equal(
            told, wanted == 64 ? ""
                               : CPUS("1,3,5,7,9,11,13,15,17,19,21,23,25,27,29,31,33,35...", "129",
                                      "one separate range too many: the limit is 64"));
    }
    // A full list still takes what touches one of its ranges.
    struct options options;
    char text[512] = "cpus=";
    for (uint32_t i = 64; i >= 1; i--) {
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%u,", 3 * i);
    }
    strcat(text, "4,5,193");
    forget();
    options_set_defaults(&options);
    assert_int_equal(parse(text, strlen(text), &options), STATUS_OK);
    assert_int_equal(options.cpus_count, 63);
    assert_int_equal(options.cpus[0].first, 3);
    assert_int_equal(options.cpus[0].last, 6);
    assert_int_equal(options.cpus[62].last, 193);
}

static void test_cpu_wanted(void **state)
{
    (void)state;
    struct options options;
    forget();
    options_set_defaults(&options);
    assert_true(options_cpu_wanted(&options, 1));
    assert_true(options_cpu_wanted(&options, UINT32_MAX));
    assert_int_equal(parse("cpus=2,5-7", 10, &options), STATUS_OK);
    for (uint32_t cpu = 0; cpu < 10; cpu++) {
        assert_int_equal(options_cpu_wanted(&options, cpu), cpu == 2 || (cpu >= 5 && cpu <= 7));
    }
    assert_false(options_cpu_wanted(&options, UINT32_MAX));
}

struct bytes_case {
    const char *bytes;
    size_t count;
    const char *changed;
    const char *findings;
};
#define BYTES(literal) literal, sizeof(literal) - 1

// The text of a file as editors write it.
static void test_file_encodings(void **state)
{
    (void)state;
    static const struct bytes_case cases[] = {
        {BYTES("\xef\xbb\xbfrounds=2"), "rounds:2 ", ""},
        {BYTES("\xef\xbb\xbf"), "", ""},
        {BYTES("\xff\xfer\0o\0u\0n\0d\0s\0=\0\x32\0\r\0\n\0l\0o\0g\0=\0d\0e\0b\0u\0g\0"),
         "rounds:2 log:2 ", ""},
        {BYTES("r\0o\0u\0n\0d\0s\0=\0\x32\0"), "rounds:2 ", ""},
        {BYTES("\xff\xfe"), "", ""},
        {BYTES("\xff\xfel\0o\0g\0=\0\x2d\x4e"), "", BAD("log=?", "normal|quiet|debug")},
        {BYTES("\xff\xfer\0o\0u\0n\0d\0s\0=\0\x32\0\n"), "rounds:2 ",
         "warning bad-text: reveille.cfg: UTF-16 in an odd number of bytes (19): the last one is "
         "ignored\n"},
        {BYTES("\xfe\xff\0r\0o\0u\0n\0d\0s\0=\0\x32"), "",
         "error bad-text: reveille.cfg: UTF-16 big-endian is not supported: save it as plain ASCII "
         "or "
         "UTF-8\n"},
        {BYTES("rounds=2\0\0\0"), "rounds:2 ",
         "warning bad-text: reveille.cfg: 3 NULs at the end are ignored\n"},
        {BYTES("\0\0\0\0"), "", "warning bad-text: reveille.cfg: 4 NULs at the end are ignored\n"},
        {BYTES("log=de\0bug"), "", BAD("log=de?bug", "normal|quiet|debug")},
        {BYTES("rounds=2\n\0\0\n"), "rounds:2 ",
         "warning unknown-word: reveille.cfg line 2: \"??\" is not an option and is ignored; the "
         "nearest is log\n"},
        {BYTES("rounds=2\r\n\x1a"), "rounds:2 ",
         "warning unknown-word: reveille.cfg line 2: \"?\" is not an option and is ignored; the "
         "nearest is log\n"},
        {BYTES("\xff"), "", UNKNOWN("word", "?", "log")},
        {BYTES("\xef\xbb"), "", UNKNOWN("word", "??", "log")},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct options options;
        forget();
        options_set_defaults(&options);
        enum status status = parse(cases[i].bytes, cases[i].count, &options);
        char name[32];
        snprintf(name, sizeof(name), "case %zu", i);
        check(&(struct text_case){name, cases[i].changed, cases[i].findings}, status, &options);
    }
}

// Each as UTF-16 with and without a terminator, and as ASCII.
static void test_load_options_text(void **state)
{
    (void)state;
    static const struct text_case cases[] = {
        {"BOOTX64.EFI wake=broadcast rounds=2", "wake:2 rounds:2 ", ""},
        {"FS0:\\EFI\\BOOT\\BOOTX64.EFI wake=broadcast", "wake:2 ", ""},
        {"\"FS0:\\my tools\\BOOTX64.EFI\" wake=broadcast", "wake:2 ", ""},
        {"\"FS0:\\my tools\"\\BOOTX64.EFI wake=broadcast", "wake:2 ", ""},
        {" \t BOOTX64.EFI  help ", "help ", ""},
        {"BOOTX64.EFI -h", "help ", ""},
        {"BOOTX64.EFI", "", ""},
        {"\"FS0:\\my tools\\BOOTX64.EFI\"", "", ""},
        {"wake=broadcast rounds=2", "wake:2 rounds:2 ", ""},
        {"help", "help ", ""},
        {"-? rounds=2", "rounds:2 help ", ""},
        {"# rounds=2", "", ""},
        {"BOOTX64.EFI rounds=2 # rounds=3", "rounds:2 ", ""},
        {"x", "", ""},
        {" ", "", ""},
        {"\"BOOTX64.EFI rounds=2", "rounds:2 ", ""},
        {"\"\" rounds=2", "rounds:2 ", ""},
        {"wake rounds=2", "rounds:2 ",
         "warning unknown-word: load options: wake without a value is taken as the name of this "
         "program\n"},
        {"BOOTX64.EFI wake", "",
         "error missing-value: load options: wake has no value: write wake=VALUE without blanks, "
         "where VALUE is " WAKE_VALUES "\n"},
        {"\"wake=broadcast\"", "",
         "warning unknown-key: load options: \"\"wake\" is not an option and is ignored; the "
         "nearest "
         "is "
         "wake\n"},
        {"BOOTX64.EFI serail", "",
         "warning unknown-word: load options: \"serail\" is not an option and is ignored; the "
         "nearest is serial\n"},
        {"rounds=2\r\nrounds=0", "rounds:2 ",
         "error bad-value: load options: rounds=0 is not valid: write 1..1000000, in decimal\n"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (size_t form = 0; form < 4; form++) {
            uint8_t data[512] = {0xff, 0xfe};
            size_t units = strlen(cases[i].text);
            size_t bytes = form == 0   ? to_utf16(cases[i].text, data)
                           : form == 1 ? to_utf16(cases[i].text, data) + 2
                           : form == 2 ? to_utf16(cases[i].text, data + 2) + 2
                                       : units + 1;
            if (form == 1) {
                data[bytes - 2] = data[bytes - 1] = 0;
            } else if (form == 3) {
                memcpy(data, cases[i].text, units + 1);
            }
            struct options options;
            forget();
            options_set_defaults(&options);
            enum status status = load(data, bytes, &options);
            check(&cases[i], status, &options);
        }
    }
}

#define NO_TEXT(count)                                                                    \
    "warning bad-text: load options: " count " bytes that are not text are ignored: put " \
    "options into reveille.cfg, or into the boot entry as UTF-16 text\n"
#define BEHIND(count) \
    "warning bad-text: load options: " count " bytes after the terminator are ignored\n"
#define SEPARATED "warning bad-text: load options: NULs between the words are read as blanks\n"
#define ODD(count)                                                                            \
    "warning bad-text: load options: UTF-16 in an odd number of bytes (" count "): the last " \
    "one is ignored\n"
#define STRAY_FIRST "warning bad-text: load options: UTF-16 after a stray byte, which is ignored\n"
#define SWAPPED                                                                              \
    "warning bad-text: load options: UTF-16 big-endian is ignored: write the boot entry as " \
    "UTF-16 little-endian, or put options into reveille.cfg\n"
#define TOO_LONG(count)                                                                  \
    "warning bad-text: load options: " count " bytes are too many for a boot entry and " \
    "are ignored: put options into reveille.cfg\n"
#define WINDOWS                                                                      \
    "warning bad-text: load options: they were written by Windows' bcdedit and are " \
    "ignored: give Reveille a boot entry of its own, or put options into reveille.cfg\n"
#define WHOLE_ENTRY                                                                              \
    "warning whole-entry: load options: firmware handed over its whole boot entry; the options " \
    "in it are read\n"

static void run_load_cases(const struct bytes_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct options options;
        forget();
        options_set_defaults(&options);
        enum status status = load(cases[i].bytes, cases[i].count, &options);
        char name[32];
        snprintf(name, sizeof(name), "case %zu", i);
        check(&(struct text_case){name, cases[i].changed, cases[i].findings}, status, &options);
    }
}
#define RUN_LOAD_CASES(cases) run_load_cases(cases, sizeof(cases) / sizeof(cases[0]))

// The same words in the encodings that boot entries have been seen with.
#define WORDS16 "r\0o\0u\0n\0d\0s\0=\0\x32\0"

static void test_load_options_encodings(void **state)
{
    (void)state;
    static const struct bytes_case cases[] = {
        {BYTES("\xff\xfe" WORDS16), "rounds:2 ", ""},
        {BYTES("\xff\xfe" WORDS16 "\0\0"), "rounds:2 ", ""},
        {BYTES("\xff\xfe"), "", ""},
        {BYTES("\xff\xfe\0"), "", ""},
        {BYTES("\xfe\xff\0r\0o\0u\0n\0d\0s\0=\0\x32"), "", SWAPPED},
        {BYTES("\0r\0o\0u\0n\0d\0s\0=\0\x32"), "", NO_TEXT("16")},
        {BYTES("\xef\xbb\xbfrounds=2"), "rounds:2 ", ""},
        {BYTES("\xef\xbb\xbf"), "", ""},
        // A name in UTF-8, and in Latin-1, which is no UTF-8; the latter is no text by itself.
        {BYTES("Gr\xc3\xb6\xc3\x9f"
               "e.efi rounds=2"),
         "rounds:2 ", ""},
        {BYTES("Gr\xf6\xdf"
               "e.efi rounds=2"),
         "rounds:2 ", ""},
        {BYTES("Gr\xf6\xdf"
               "e.efi"),
         "", NO_TEXT("9")},
        // UTF-16 beyond ASCII: a name of which less than half is ASCII, with options behind it.
        {BYTES("\x85\x8d\x85\x8d\x85\x8d\x85\x8d\x85\x8d\x85\x8d\x85\x8d\x85\x8d\x85\x8d\x85\x8d "
               "\0" WORDS16),
         "rounds:2 ", ""},
        {BYTES("\x85\x8d\x85\x8d\x85\x8d \0"), "", NO_TEXT("8")},
        {BYTES(WORDS16 " \0l\0o\0g\0=\0\x85\x8d"), "rounds:2 ",
         "error bad-value: load options: log=? is not valid: write normal|quiet|debug\n"},
    };
    RUN_LOAD_CASES(cases);
}

// One byte more than UTF-16 has: what `echo` ends a line with, half a terminator, a size that is
// wrong by one.
static void test_load_options_stray_byte(void **state)
{
    (void)state;
    static const struct bytes_case cases[] = {
        {BYTES(WORDS16 "x"), "rounds:2 ", ODD("17")},
        {BYTES(WORDS16 "\n"), "rounds:2 ", ODD("17")},
        {BYTES(WORDS16 "\0"), "rounds:2 ", ODD("17")},
        {BYTES(WORDS16 "\0\0\xff"), "rounds:2 ", ODD("19")},
        {BYTES("\xff\xfe" WORDS16 "x"), "rounds:2 ", ODD("19")},
        {BYTES("a\0.\0e\0f\0i\0 \0" WORDS16 "x"), "rounds:2 ", ODD("29")},
        {BYTES("a\0=\0\x32\0x"), "",
         ODD("7") "warning unknown-key: load options: \"a\" is not an option and is ignored; the "
                  "nearest is wake\n"},
        {BYTES("x" WORDS16), "rounds:2 ", STRAY_FIRST},
        {BYTES("\0" WORDS16 "\0\0"), "rounds:2 ", STRAY_FIRST},
        // Not where nothing proves it, and never by losing a character at the end.
        {BYTES("xa\0=\0\x32\0"), "", NO_TEXT("7")},
        {BYTES("x" WORDS16 "0"), "", NO_TEXT("18")},
        {BYTES("\0\0x"), "", NO_TEXT("3")},
    };
    RUN_LOAD_CASES(cases);
}

// NULs before, between and behind words: a terminator, many of them, efibootmgr's separators, the
// current directory that old Shells add, memory that is not ours.
static void test_load_options_nuls(void **state)
{
    (void)state;
    static const struct bytes_case cases[] = {
        {BYTES(WORDS16 "\0\0\0\0\0\0\0\0\0\0\0\0"), "rounds:2 ", ""},
        {BYTES("rounds=2\0\0\0\0\0\0\0"), "rounds:2 ", ""},
        {BYTES(WORDS16 "\0\0l\0o\0g\0=\0d\0e\0b\0u\0g\0"), "rounds:2 log:2 ", SEPARATED},
        {BYTES("rounds=2\0log=debug\0wake=broadcast\0\0"), "wake:2 rounds:2 log:2 ", SEPARATED},
        {BYTES("BOOTX64.EFI\0rounds=2"), "rounds:2 ", SEPARATED},
        {BYTES("rounds=2\0log=debug\0\x07\x08"), "rounds:2 log:2 ", SEPARATED BEHIND("2")},
        {BYTES("rounds=2\0\x07\x08\0log=debug"), "rounds:2 ", BEHIND("12")},
        {BYTES(WORDS16 " \0\0\0f\0s\0\x30\0:\0\\\0\0\0"), "rounds:2 ", BEHIND("12")},
        {BYTES("\0\0" WORDS16), "rounds:2 ", SEPARATED},
        {BYTES("\0rounds=2"), "rounds:2 ", SEPARATED},
        {BYTES("\0\0\\\0E\0F\0I\0"), "", NO_TEXT("10")},
        {BYTES("\0\\EFI"), "", NO_TEXT("5")},
        {BYTES("BOOTX64.EFI\0\x07"), "", NO_TEXT("13")},
    };
    RUN_LOAD_CASES(cases);
}

// What firmware and others put there for themselves: nobody lost an option, so nothing is told but
// of Windows, whose entry somebody may have pointed to this program.
#define EDK2_MARK "\x4e\xac\x08\x81\x11\x9f\x59\x4d\x85\x0e\xe2\x1a\x52\x2c\x59\xb2"

static void test_load_options_of_others(void **state)
{
    (void)state;
    static const struct bytes_case cases[] = {
        {BYTES(EDK2_MARK), "", ""},
        {BYTES(WORDS16 EDK2_MARK), "rounds:2 ", ""},
        {BYTES(WORDS16 "\0\0" EDK2_MARK), "rounds:2 ", ""},
        {BYTES("rounds=2" EDK2_MARK), "rounds:2 ", ""},
        {BYTES("\0\0BO"), "", ""},
        {BYTES("RC"), "", ""},
        {BYTES("FJ\0"), "", ""},
        {BYTES("WINDOWS\0\x01\0\0\0\x88\0\0\0x\0\0\0B\0C\0D\0O\0B\0J\0E\0C\0T\0=\0{\0"), "",
         WINDOWS},
        {BYTES("WINDOWS\0"), "", WINDOWS},
        {BYTES("WINDOWS\0rounds=2"), "", WINDOWS},
        {BYTES("WINDOWS rounds=2"), "rounds:2 ", ""},
    };
    RUN_LOAD_CASES(cases);
}

// A boot entry as the specification has it (EFI_LOAD_OPTION), part by part, so that each can lie.
#define ACTIVE      "\x01\0\0\0"
#define DESCRIPTION "R\0e\0v\0\0\0"
#define FILE_NODE   "\x04\x04\x0e\0\\\0a\0.\0x\0\0\0"
#define END_NODE    "\x7f\xff\x04\0"
#define PATHS       FILE_NODE END_NODE
#define ENTRY       ACTIVE "\x12\0" DESCRIPTION PATHS

static void test_load_options_whole_entry(void **state)
{
    (void)state;
    static const struct bytes_case cases[] = {
        {BYTES(ENTRY WORDS16), "rounds:2 ", WHOLE_ENTRY},
        {BYTES(ENTRY WORDS16 "\0\0"), "rounds:2 ", WHOLE_ENTRY},
        {BYTES(ENTRY " \0a\0 \0" WORDS16), "rounds:2 ", WHOLE_ENTRY},
        {BYTES(ENTRY "rounds=2"), "rounds:2 ", WHOLE_ENTRY},
        {BYTES(ENTRY "rounds=x"), "",
         WHOLE_ENTRY
         "error bad-value: load options: rounds=x is not valid: write 1..1000000, in decimal\n"},
        {BYTES(ENTRY WORDS16 "x"), "rounds:2 ", WHOLE_ENTRY ODD("17")},
        {BYTES(ENTRY WORDS16 EDK2_MARK), "rounds:2 ", WHOLE_ENTRY},
        {BYTES(ENTRY), "", ""},
        {BYTES(ENTRY "\0\0"), "", ""},
        {BYTES(ENTRY EDK2_MARK), "", ""},
        {BYTES(ENTRY "\x01\x02\x03"), "", NO_TEXT("3")},
        {BYTES(ENTRY "WINDOWS\0\x01\0\0\0"), "", WINDOWS},
        // Every attribute that there is, no description, nodes of odd length, two paths in the
        // list, each with an end of its own, as some firmware has for its network cards.
        {BYTES("\x0b\x1f\0\0\x12\0" DESCRIPTION PATHS WORDS16), "rounds:2 ", WHOLE_ENTRY},
        {BYTES(ACTIVE "\x12\0\0\0" PATHS WORDS16), "rounds:2 ", WHOLE_ENTRY},
        {BYTES(ACTIVE "\x0d\0" DESCRIPTION "\x05\x01\x09\0\x12\0\0\0\0" END_NODE WORDS16),
         "rounds:2 ", WHOLE_ENTRY},
        {BYTES(ACTIVE "\x24\0" DESCRIPTION PATHS PATHS WORDS16), "rounds:2 ", WHOLE_ENTRY},
        {BYTES(ACTIVE "\x16\0" DESCRIPTION "\x7f\x01\x04\0" PATHS WORDS16), "rounds:2 ",
         WHOLE_ENTRY},
        // Only the outermost: nobody has seen an entry in an entry.
        {BYTES(ENTRY ENTRY), "", NO_TEXT("32")},
    };
    RUN_LOAD_CASES(cases);
}

// Any of its lengths may lie, and text must never be taken for an entry: what is none is rubbish.
static void test_load_options_no_entry(void **state)
{
    (void)state;
    static const struct bytes_case cases[] = {
        {BYTES("\x11\0\0\0\x12\0" DESCRIPTION PATHS "\x07"), "", NO_TEXT("33")},
        {BYTES("\x05\0\0\0\x12\0" DESCRIPTION PATHS "\x07"), "", NO_TEXT("33")},
        {BYTES("\x01\x20\0\0\x12\0" DESCRIPTION PATHS "\x07"), "", NO_TEXT("33")},
        {BYTES("\x01\0\x01\0\x12\0" DESCRIPTION PATHS "\x07"), "", NO_TEXT("33")},
        {BYTES("\x01\0\0\x80\x12\0" DESCRIPTION PATHS "\x07"), "", NO_TEXT("33")},
        // The list of paths: none, one byte short, one more, beyond the end, without an end.
        {BYTES(ACTIVE "\0\0" DESCRIPTION PATHS "\x07"), "", NO_TEXT("33")},
        {BYTES(ACTIVE "\x11\0" DESCRIPTION PATHS "\x07"), "", NO_TEXT("33")},
        {BYTES(ACTIVE "\x13\0" DESCRIPTION PATHS "\x07"), "", NO_TEXT("33")},
        {BYTES(ACTIVE "\x14\0" DESCRIPTION PATHS "\x07"), "", NO_TEXT("33")},
        {BYTES(ACTIVE "\xff\xff" DESCRIPTION PATHS "\x07"), "", NO_TEXT("33")},
        {BYTES(ACTIVE "\x0e\0" DESCRIPTION FILE_NODE "\x07"), "", NO_TEXT("29")},
        {BYTES(ACTIVE "\x12\0" DESCRIPTION FILE_NODE "\x7f\x01\x04\0\x07"), "", NO_TEXT("33")},
        {BYTES(ACTIVE "\x16\0" DESCRIPTION PATHS "\x04\x04\x04\0\x07"), "", NO_TEXT("37")},
        // A node: shorter than its head, longer than the list; an end that has content.
        {BYTES(ACTIVE "\x08\0" DESCRIPTION "\x04\x04\0\0" END_NODE "\x07"), "", NO_TEXT("23")},
        {BYTES(ACTIVE "\x08\0" DESCRIPTION "\x04\x04\x03\0" END_NODE "\x07"), "", NO_TEXT("23")},
        {BYTES(ACTIVE "\x08\0" DESCRIPTION "\x04\x04\x09\0" END_NODE "\x07"), "", NO_TEXT("23")},
        {BYTES(ACTIVE "\x08\0" DESCRIPTION "\x7f\xff\x08\0\0\0\0\0\x07"), "", NO_TEXT("23")},
        {BYTES(ACTIVE "\x0c\0" DESCRIPTION "\x04\x04\x03\0\x05\x05\0\0" END_NODE "\x07"), "",
         NO_TEXT("27")},
        {BYTES(ACTIVE "\x04\0" DESCRIPTION "\x7f\xff\x04"), "", NO_TEXT("17")},
        // The description: no end, an end beyond which there is nothing, an end at an odd place.
        {BYTES(ACTIVE "\x12\0R\0e\0v\0"), "", NO_TEXT("12")},
        {BYTES(ACTIVE "\x12\0R\0e\0v\0\0"), "", NO_TEXT("13")},
        {BYTES(ACTIVE "\x12\0" DESCRIPTION), "", NO_TEXT("14")},
        {BYTES(ACTIVE "\x04\0RRR\0\0" END_NODE "\x07"), "", NO_TEXT("16")},
        {BYTES(ACTIVE "\x12\0"), "", NO_TEXT("6")},
        {BYTES(ACTIVE), "", NO_TEXT("4")},
    };
    RUN_LOAD_CASES(cases);
}

static void test_load_options_rubbish(void **state)
{
    (void)state;
    static const struct bytes_case cases[] = {
        {BYTES(""), "", ""},
        {BYTES("\0"), "", ""},
        {BYTES("\0\0"), "", ""},
        {BYTES("\x80"), "", NO_TEXT("1")},
        {BYTES("\x01"), "", NO_TEXT("1")},
        {BYTES("rounds=2\x01"), "", NO_TEXT("9")},
        {BYTES("rounds=2\x7f"), "", NO_TEXT("9")},
        {BYTES("r\0o\0u\0n\0d\0s\0=\0\x32\0\x07\0"), "", NO_TEXT("18")},
        {BYTES("r\0o\0u\0n\0d\0s\0=\0\x32\0\x85\0"), "", NO_TEXT("18")},
        {BYTES("r\0o\0u\0n\0d\0s\0=\0\x32\0\0\xd8"), "", NO_TEXT("18")},
        {BYTES("r\0o\0u\0n\0d\0s\0=\0\x32\0\0\xdc"), "", NO_TEXT("18")},
        {BYTES("r\0o\0u\0n\0d\0s\0=\0\x32\0\0\xd8 \0"), "", NO_TEXT("20")},
        {BYTES("r\0o\0u\0n\0d\0s\0=\0\x32\0\x3d\xd8\0\xe0"), "", NO_TEXT("20")},
        {BYTES("r\0o\0u\0n\0d\0s\0=\0\x32\0\xff\xff"), "", NO_TEXT("18")},
        {BYTES("\xff\xff\xff\xff"), "", NO_TEXT("4")},
        // A GUID.
        {BYTES("\x01\xac\x08\x81\x11\x9f\x59\x4d\x85\x0e\xe2\x1a\x52\x2c\x59\xb2"), "",
         NO_TEXT("16")},
        // A surrogate pair in a name is text; so is a letter outside ASCII.
        {BYTES("\x3d\xd8\x00\xde.\0E\0F\0I\0 \0r\0o\0u\0n\0d\0s\0=\0\x32\0"), "rounds:2 ", ""},
        {BYTES("\xe4\0.\0E\0F\0I\0 \0r\0o\0u\0n\0d\0s\0=\0\x32\0"), "rounds:2 ", ""},
        {BYTES("r\0o\0u\0n\0d\0s\0=\0\x32\0\0\0\x01\x02\x03\x04"), "rounds:2 ", BEHIND("4")},
        {BYTES("r\0o\0u\0n\0d\0s\0=\0\x32\0\0\0\0\0\0\0"), "rounds:2 ", ""},
    };
    RUN_LOAD_CASES(cases);
    // A size that no variable has is not believed: nothing is read. 64 KiB itself is.
    struct options options;
    static char large[65537] = "rounds=2";
    forget();
    options_set_defaults(&options);
    assert_int_equal(options_parse_load_options("rounds=2", SIZE_MAX, &listener, &options),
                     STATUS_OK);
    assert_int_equal(load(large, 65537, &options), STATUS_OK);
    assert_string_equal(told, TOO_LONG("18446744073709551615") TOO_LONG("65537"));
    assert_int_equal(options.rounds, 1);
    forget();
    assert_int_equal(load(large, 65536, &options), STATUS_OK);
    assert_int_equal(told_count, 0);
    assert_int_equal(options.rounds, 2);
    assert_int_equal(options_parse_load_options(NULL, 100, &listener, &options), STATUS_OK);
    assert_int_equal(told_count, 0);
}

// The later source wins, and keeps what it does not name.
static void test_two_sources(void **state)
{
    (void)state;
    struct options options;
    uint8_t data[64];
    char changed[256];
    forget();
    options_set_defaults(&options);
    assert_int_equal(parse("rounds=2 cpus=1,3 log=debug", 27, &options), STATUS_OK);
    assert_int_equal(load(data, to_utf16("X.EFI rounds=5 cpus=2", data), &options), STATUS_OK);
    render(&options, changed, sizeof(changed));
    assert_string_equal(changed, "2-2 rounds:5 log:2 ");
}

// What was taken can be edited: the words of both sources in one line, without comments and without
// what is no option.
static void test_words_taken(void **state)
{
    (void)state;
    static const char all[] = "rounds=2 cpus=1,3 -b rounds=5";
    struct options options;
    uint8_t data[64];
    forget();
    options_set_defaults(&options);
    assert_int_equal(options.words_length, 0);
    assert_int_equal(parse("rounds=2 # cpus=9\r\n\tcpus=1,3 colour=red", 39, &options), STATUS_OK);
    assert_int_equal(load(data, to_utf16("X.EFI -b rounds=5", data), &options), STATUS_OK);
    assert_int_equal(options.words_length, sizeof all - 1);
    assert_memory_equal(options.words, all, sizeof all - 1);
    // Until they need more room: then none.
    while (options.words_length + 9 < sizeof options.words)
        assert_int_equal(parse("rounds=3", 8, &options), STATUS_OK);
    assert_false(options.words_too_long);
    assert_int_equal(parse("rounds=3", 8, &options), STATUS_OK);
    assert_int_equal(parse("rounds=3", 8, &options), STATUS_OK);
    assert_true(options.words_too_long);
    assert_int_equal(options.words_length, 0);
}

// A file that is no text does not keep the port busy: 100 findings, then their number, and no error
// is lost.
static void test_findings_bounded(void **state)
{
    (void)state;
    struct options options;
    char text[1024] = "";
    for (int i = 0; i < 150; i++) {
        strcat(text, "a=1 ");
    }
    forget();
    options_set_defaults(&options);
    assert_int_equal(parse(text, strlen(text), &options), STATUS_OK);
    assert_int_equal(told_count, 101);
    assert_non_null(strstr(told, "warning more-findings: reveille.cfg: findings not listed: 50\n"));
    strcat(text, "rounds=0 rounds=2");
    forget();
    assert_int_equal(parse(text, strlen(text), &options), STATUS_INVALID);
    assert_int_equal(told_count, 101);
    assert_non_null(strstr(told, "error more-findings: reveille.cfg: findings not listed: 51\n"));
    assert_int_equal(options.rounds, 2);
}

struct help_lines {
    char lines[32][128];
    size_t count;
};

static void collect(void *context, const char *line)
{
    struct help_lines *help = context;
    assert_in_range(help->count, 0, 31);
    assert_in_range(strlen(line), 1, 100);
    strcpy(help->lines[help->count++], line);
}

static const char *const contract_defaults[] = {
    "wake=parallel", "init_us=auto", "sipi_us=200",  "sipis=auto",   "timeout_us=1000000",
    "retries=1",     "apic=auto",    "cpus=all",     "rounds=1",     "serial=auto",
    "log=normal",    "end=auto",     "compare=none", "bench=none",   "sweep=none",
    "run=none",      "park=mwait",   "exit=yes",     "check=no",     "force=no",
    "screen=auto",   "rotate=auto",  "save=ram",     "harvest=auto", "again=no",
    "wait=0",        "linger=60",    "inject=none",
};
#define CONTRACT_KEYS (sizeof(contract_defaults) / sizeof(contract_defaults[0]))

static void test_help(void **state)
{
    (void)state;
    static struct help_lines help;
    options_help(collect, &help);
    assert_int_equal(help.count, CONTRACT_KEYS + 1);
    for (size_t i = 0; i < CONTRACT_KEYS; i++) {
        size_t length = strlen(contract_defaults[i]);
        assert_memory_equal(help.lines[i], contract_defaults[i], length);
        assert_int_equal(help.lines[i][length], ' ');
        assert_true(strlen(help.lines[i]) > 59);
        assert_int_equal(help.lines[i][57], ' ');
        assert_int_not_equal(help.lines[i][58], ' ');
    }
    assert_non_null(strstr(help.lines[0], " parallel|one-by-one|broadcast|firmware "));
    assert_non_null(strstr(help.lines[1], " auto|0..10000000 "));
    assert_non_null(strstr(help.lines[2], " 0..10000000 "));
    assert_non_null(strstr(help.lines[7], " all|1,3,5-8 "));
    assert_non_null(strstr(help.lines[9], " auto|off|0x100..0xfff8|mmio[32]:ADDR "));
    assert_non_null(strstr(help.lines[11], " auto|halt|poweroff|reset|debug-exit "));
    assert_non_null(strstr(help.lines[14], " none|init_us:0,10,100 "));
    assert_non_null(strstr(help.lines[20], " auto|off|1280x800 "));
    assert_non_null(strstr(help.lines[27], " none|FAULT[:CPU][,...] "));
    // A second name stands with the first one, and nowhere else.
    for (size_t i = 0; i < help.count; i++)
        assert_int_equal(strstr(help.lines[i], "dry-run") != NULL, i == 18);
    assert_non_null(strstr(help.lines[18], " (alias: dry-run)"));
}

// What is swept, setting by setting: the words, and the options that a round gets.
static void test_sweeps(void **state)
{
    (void)state;
    static const struct {
        const char *text, *key;
        const char *values[3];
        const char *changed[3];
        bool number[3];
    } cases[] = {
        {"sweep=init_us:0,auto,10000000",
         "init_us",
         {"0", "auto", "10000000"},
         {"init_us:0 ", "", "init_us:10000000 "},
         {true, false, true}},
        {"sweep=sipi_us:0,7,200",
         "sipi_us",
         {"0", "7", "200"},
         {"sipi_us:0 ", "sipi_us:7 ", ""},
         {true, true, true}},
        {"sweep=sipis:4,auto,1",
         "sipis",
         {"4", "auto", "1"},
         {"sipis:4 ", "", "sipis:1 "},
         {true, false, true}},
        {"sweep=wake:broadcast,one-by-one,parallel",
         "wake",
         {"broadcast", "one-by-one", "parallel"},
         {"wake:2 ", "wake:1 ", ""},
         {false, false, false}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct options options;
        forget();
        options_set_defaults(&options);
        assert_int_equal(parse(cases[i].text, strlen(cases[i].text), &options), STATUS_OK);
        assert_string_equal(sweep_word(options.sweep.key), cases[i].key);
        assert_int_equal(options.sweep.count, 3);
        for (size_t setting = 0; setting < 3; setting++) {
            char digits[SWEEP_DIGITS], changed[256];
            struct options one;
            sweep_options(&options, setting, &one);
            assert_memory_equal(&one.sweep, &options.sweep, sizeof one.sweep);
            one.sweep.count = 0;
            render(&one, changed, sizeof changed);
            assert_string_equal(changed, cases[i].changed[setting]);
            assert_string_equal(sweep_value(&options.sweep, setting, digits),
                                cases[i].values[setting]);
            assert_int_equal(sweep_is_number(&options.sweep, setting), cases[i].number[setting]);
        }
    }
    // The largest number that any option takes has room.
    char digits[SWEEP_DIGITS];
    const struct sweep largest = {.key = SWEEP_SIPI_US, .count = 1, .values = {UINT32_MAX}};
    assert_string_equal(sweep_value(&largest, 0, digits), "4294967295");
}

static void test_words(void **state)
{
    (void)state;
    assert_string_equal(smp_strategy_word(SMP_PARALLEL), "parallel");
    assert_string_equal(smp_strategy_word(SMP_ONE_BY_ONE), "one-by-one");
    assert_string_equal(smp_strategy_word(SMP_BROADCAST), "broadcast");
    assert_string_equal(smp_strategy_word(SMP_FIRMWARE), "firmware");
    assert_string_equal(fault_word(FAULT_LATE), "late");
}

// The file that lands on the stick: changes nothing as it is, and names every default in a comment.
static void test_shipped_file(void **state)
{
    (void)state;
    char text[8192];
    FILE *file = fopen("esp/reveille.cfg", "rb");
    if (file == NULL) {
        fail_msg("esp/reveille.cfg not found: run this from the root of the tree");
    }
    size_t bytes = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[bytes] = '\0';
    struct options options;
    char changed[256];
    forget();
    options_set_defaults(&options);
    assert_int_equal(parse(text, bytes, &options), STATUS_OK);
    render(&options, changed, sizeof(changed));
    assert_string_equal(changed, "");
    assert_string_equal(told, "");

    size_t found = 0;
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        assert_in_range(strlen(line), 1, 100);
        assert_int_equal(line[0], '#');
        if (strchr(line, '=') != NULL && line[1] != ' ') {
            assert_in_range(found, 0, CONTRACT_KEYS - 1);
            assert_string_equal(line + 1, contract_defaults[found]);
            found++;
        }
    }
    assert_int_equal(found, CONTRACT_KEYS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_good_values),
        cmocka_unit_test(test_neighbours),
        cmocka_unit_test(test_words_and_comments),
        cmocka_unit_test(test_unknown_keys),
        cmocka_unit_test(test_bad_values),
        cmocka_unit_test(test_cpus),
        cmocka_unit_test(test_cpus_full),
        cmocka_unit_test(test_cpu_wanted),
        cmocka_unit_test(test_file_encodings),
        cmocka_unit_test(test_load_options_text),
        cmocka_unit_test(test_load_options_encodings),
        cmocka_unit_test(test_load_options_stray_byte),
        cmocka_unit_test(test_load_options_nuls),
        cmocka_unit_test(test_load_options_of_others),
        cmocka_unit_test(test_load_options_whole_entry),
        cmocka_unit_test(test_load_options_no_entry),
        cmocka_unit_test(test_load_options_rubbish),
        cmocka_unit_test(test_two_sources),
        cmocka_unit_test(test_words_taken),
        cmocka_unit_test(test_findings_bounded),
        cmocka_unit_test(test_help),
        cmocka_unit_test(test_sweeps),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_shipped_file),
    };
    return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
