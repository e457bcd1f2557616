// Every option, once. To add one: an entry here, and a field in struct options. Defaults, parsing,
// `help`, sweeps and the search for the nearest name are all made from this table.
// Surprise: a default is text and goes through the parser, so a default that a user could not type
// cannot exist.
#include "option_table.h"

// ---- words ----

static const char *const wake_words[] = {"parallel", "one-by-one", "broadcast", "firmware"};

static uint32_t wake_count(void)
{
    return sizeof wake_words / sizeof wake_words[0];
}

const char *wake_word(uint32_t strategy)
{
    return wake_words[strategy];
}

static const char *const fault_words[FAULT_KINDS] = {
    [FAULT_NO_INIT] = "no-init",
    [FAULT_NO_SIPI] = "no-sipi",
    [FAULT_LOST_SIPI] = "lost-sipi",
    [FAULT_BAD_VECTOR] = "bad-vector",
    [FAULT_BAD_COPY] = "bad-copy",
    [FAULT_HANG_REAL] = "hang-real",
    [FAULT_HANG_PROTECTED] = "hang-protected",
    [FAULT_HANG_LONG] = "hang-long",
    [FAULT_HANG_C] = "hang-c",
    [FAULT_UD_REAL] = "ud-real",
    [FAULT_UD_PROTECTED] = "ud-protected",
    [FAULT_UD_LONG] = "ud-long",
    [FAULT_UD_C] = "ud-c",
    [FAULT_BAD_STACK] = "bad-stack",
    [FAULT_BAD_ENTRY] = "bad-entry",
    [FAULT_BAD_CR3] = "bad-cr3",
    [FAULT_WRONG_ID] = "wrong-id",
    [FAULT_LATE] = "late",
    [FAULT_MUTE] = "mute",
    [FAULT_GHOST] = "ghost",
    [FAULT_UNLISTED] = "unlisted",
    [FAULT_NMI] = "nmi",
    [FAULT_DUPLICATE] = "duplicate",
    [FAULT_NO_LOW_PAGE] = "no-low-page",
    [FAULT_UD_IDLE] = "ud-idle",
    [FAULT_BAD_JOURNAL] = "bad-journal",
};

const char *fault_word(enum fault_kind kind)
{
    return fault_words[kind];
}

// ---- options ----

// clang-format off
#define FIELD(member) \
    {(uint16_t)offsetof(struct options, member), sizeof(((const struct options *)0)->member)}
#define CHOICES(...) (const struct choice[]){__VA_ARGS__, {NULL, 0}}
// clang-format on
#define NO_OR_YES CHOICES({"no", ANSWER_NO}, {"yes", ANSWER_YES})

const struct option option_table[] = {
    {.name = "wake",
     .initial = "parallel",
     .kind = KIND_WORD,
     .field = FIELD(wake),
     .words = {wake_count, wake_word},
     .sweep = SWEEP_WAKE,
     .help = "how APs are woken; firmware: needs exit=no"},
    {.name = "init_us",
     .initial = "auto",
     .kind = KIND_NUMBER,
     .field = FIELD(init_us),
     .choices = CHOICES({"auto", INIT_US_AUTO}),
     .range = {0, 10000000},
     .sweep = SWEEP_INIT_US,
     .help = "us from INIT to STARTUP; auto: by family"},
    {.name = "sipi_us",
     .initial = "200",
     .kind = KIND_NUMBER,
     .field = FIELD(sipi_us),
     .range = {0, 10000000},
     .sweep = SWEEP_SIPI_US,
     .help = "us from one STARTUP to the next"},
    {.name = "sipis",
     .initial = "auto",
     .kind = KIND_NUMBER,
     .field = FIELD(sipis),
     .choices = CHOICES({"auto", SIPIS_AUTO}),
     .range = {1, 4},
     .sweep = SWEEP_SIPIS,
     .help = "STARTUPs per AP; auto: a 2nd if needed"},
    {.name = "timeout_us",
     .initial = "1000000",
     .kind = KIND_NUMBER,
     .field = FIELD(timeout_us),
     .range = {1, 60000000},
     .help = "us allowed from the last STARTUP to C"},
    {.name = "retries",
     .initial = "1",
     .kind = KIND_NUMBER,
     .field = FIELD(retries),
     .range = {0, 100},
     .help = "more full sequences for a silent AP"},
    {.name = "apic",
     .initial = "auto",
     .kind = KIND_WORD,
     .field = FIELD(apic),
     .choices = CHOICES({"auto", APIC_AUTO}, {"x2apic", APIC_X2APIC}, {"xapic", APIC_XAPIC}),
     .help = "auto: as firmware left it, else x2APIC"},
    {.name = "cpus",
     .initial = "all",
     .kind = KIND_CPUS,
     .field = FIELD(cpus_count),
     .choices = CHOICES({"all", 0}),
     .help = "CPU indices to wake; the BSP is 0"},
    {.name = "rounds",
     .initial = "1",
     .kind = KIND_NUMBER,
     .field = FIELD(rounds),
     .range = {1, 1000000},
     .help = "how many times the whole wake is run"},
    {.name = "serial",
     .initial = "auto",
     .kind = KIND_PORT,
     .field = FIELD(serial),
     .choices = CHOICES({"auto", SERIAL_AUTO}, {"off", SERIAL_OFF}),
     .range = {0x100, 0xfff8},
     .help = "where records and sentences go"},
    {.name = "log",
     .initial = "normal",
     .kind = KIND_WORD,
     .field = FIELD(log),
     .choices = CHOICES({"normal", LOG_NORMAL}, {"quiet", LOG_QUIET}, {"debug", LOG_DEBUG}),
     .help = "quiet: records only"},
    {.name = "end",
     .initial = "auto",
     .kind = KIND_WORD,
     .field = FIELD(end),
     .choices = CHOICES({"auto", END_AUTO}, {"halt", END_HALT}, {"poweroff", END_POWEROFF},
                        {"reset", END_RESET}, {"debug-exit", END_DEBUG_EXIT}),
     .help = "auto: leave QEMU; elsewhere wait for a key"},
    {.name = "compare",
     .initial = "none",
     .kind = KIND_WORD,
     .field = FIELD(compare),
     .choices = CHOICES({"none", COMPARE_NONE}, {"firmware", COMPARE_FIRMWARE}),
     .help = "firmware: time its StartupAllAPs as well"},
    {.name = "bench",
     .initial = "none",
     .kind = KIND_WORD,
     .field = FIELD(bench),
     .choices = CHOICES({"none", BENCH_NONE}, {"null", BENCH_NULL}, {"null-long", BENCH_NULL_LONG}),
     .help = "null: time trampolines that only count"},
    {.name = "sweep",
     .initial = "none",
     .kind = KIND_SWEEP,
     .field = FIELD(sweep.count),
     .choices = CHOICES({"none", 0}),
     .help = "all rounds with each of these values"},
    {.name = "exit",
     .initial = "yes",
     .kind = KIND_WORD,
     .field = FIELD(exit),
     .choices = CHOICES({"yes", ANSWER_YES}, {"no", ANSWER_NO}),
     .help = "no: wake, report, and return to firmware"},
    {.name = "check",
     .alias = "dry-run",
     .initial = "no",
     .kind = KIND_WORD,
     .field = FIELD(check),
     .choices = NO_OR_YES,
     .help = "yes: stop before the wake"},
    {.name = "force",
     .initial = "no",
     .kind = KIND_WORD,
     .field = FIELD(force),
     .choices = NO_OR_YES,
     .help = "yes: wake even if firmware may hang"},
    {.name = "screen",
     .initial = "auto",
     .kind = KIND_SIZE,
     .field = FIELD(screen),
     .choices = CHOICES({"auto", SCREEN_AUTO}, {"off", SCREEN_OFF}),
     .help = "auto: every frame buffer, mode unchanged"},
    {.name = "rotate",
     .initial = "auto",
     .kind = KIND_WORD,
     .field = FIELD(rotate),
     .choices = CHOICES({"auto", ROTATE_AUTO}, {"0", 0}, {"90", 90}, {"180", 180}, {"270", 270}),
     .help = "degrees clockwise; auto: by its shape"},
    {.name = "save",
     .initial = "ram",
     .kind = KIND_WORD,
     .field = FIELD(save),
     .choices = CHOICES({"ram", SAVE_RAM}, {"none", SAVE_NONE}, {"nvram", SAVE_NVRAM}),
     .help = "for the next start; nvram: a summary, too"},
    {.name = "harvest",
     .initial = "auto",
     .kind = KIND_WORD,
     .field = FIELD(harvest),
     .choices = CHOICES({"auto", HARVEST_AUTO}, {"only", HARVEST_ONLY}),
     .help = "only: fetch the last result, then return"},
    {.name = "again",
     .initial = "no",
     .kind = KIND_WORD,
     .field = FIELD(again),
     .choices = NO_OR_YES,
     .help = "yes: boot once more, to save the result"},
    {.name = "wait",
     .initial = "0",
     .kind = KIND_NUMBER,
     .field = FIELD(wait_s),
     .range = {0, 3600},
     .help = "seconds in which a key stops the run"},
    {.name = "linger",
     .initial = "60",
     .kind = KIND_NUMBER,
     .field = FIELD(linger_s),
     .range = {0, 3600},
     .help = "s to a reset if no key or button works"},
    {.name = "inject",
     .initial = "none",
     .kind = KIND_FAULTS,
     .field = FIELD(inject_count),
     .choices = CHOICES({"none", 0}),
     .help = "faults on purpose; see docs/faults.md"},
};

const size_t option_count = sizeof option_table / sizeof option_table[0];

const struct option *option_find(struct text name)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &option_table[i];
        if (text_equals(name, option->name) || (option->alias && text_equals(name, option->alias)))
            return option;
    }
    return NULL;
}

const struct option *option_of_sweep(enum sweep_key key)
{
    const struct option *option = option_table;
    while (option->sweep != key)
        option++;
    return option;
}
