// The fake machine's log: a fixed array, compared as a whole with a test's literal list.
// Surprise: fake_fail() never comes back, but it may leave by a handler's longjmp, so everything
// here is consistent before it is called.
#include "fake_log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "fake_hw.h"

#define EVENTS_MAX    (1u << 17)
#define MESSAGE_BYTES 512u

// How many lines a dump shows at most, and how many of them before the first difference.
#define DUMP_LINES_MAX    60u
#define DUMP_LINES_BEFORE 20u

static struct fake_event events[EVENTS_MAX];
static size_t event_count;
static unsigned log_kinds = FAKE_LOG_DEFAULT;
static void (*failure_handler)(const char *message);

static uint64_t wait_before(size_t index)
{
    return index == 0 ? 0 : events[index].tsc - events[index - 1].tsc;
}

static bool matches(size_t index, const struct fake_expected *expected)
{
    const struct fake_event *event = &events[index];

    if (event->kind != expected->kind || event->address != expected->address ||
        event->value != expected->value) {
        return false;
    }
    return expected->wait_max == 0 ||
           (wait_before(index) >= expected->wait_min && wait_before(index) <= expected->wait_max);
}

static void show_expected(const struct fake_expected *expected)
{
    char wait[64] = "";

    if (expected->wait_max == FAKE_FOR_EVER) {
        snprintf(wait, sizeof wait, "+%" PRIu64 "..", expected->wait_min);
    } else if (expected->wait_max != 0) {
        snprintf(wait, sizeof wait, "+%" PRIu64 "..%" PRIu64, expected->wait_min,
                 expected->wait_max);
    }
    fprintf(stderr, "%-9s %#10" PRIx64 " %#18" PRIx64 " %-22s", fake_kind_name(expected->kind),
            expected->address, expected->value, wait);
}

static void show_event(size_t index)
{
    const struct fake_event *event = &events[index];

    fprintf(stderr, "%-9s %#10" PRIx64 " %#18" PRIx64 " +%" PRIu64 " = %" PRIu64,
            fake_kind_name(event->kind), event->address, event->value, wait_before(index),
            event->tsc);
}

static void dump(const struct fake_expected *expected, size_t count, size_t first_difference)
{
    const size_t total = count > event_count ? count : event_count;
    const size_t start =
        first_difference > DUMP_LINES_BEFORE ? first_difference - DUMP_LINES_BEFORE : 0;
    const size_t end = total - start > DUMP_LINES_MAX ? start + DUMP_LINES_MAX : total;

    fprintf(stderr, "  %5s %-62s | %s\n", "", "expected", "seen, + ticks since the one before");
    for (size_t i = start; i < end; i++) {
        const bool both = i < count && i < event_count;

        fprintf(stderr, "%c %5zu ", both && matches(i, &expected[i]) ? ' ' : '>', i);
        if (i < count) {
            show_expected(&expected[i]);
        } else {
            fprintf(stderr, "%-62s", "(nothing)");
        }
        fprintf(stderr, " | ");
        if (i < event_count) {
            show_event(i);
        } else {
            fprintf(stderr, "(nothing)");
        }
        fprintf(stderr, "\n");
    }
    if (end < total) {
        fprintf(stderr, "  and %zu more\n", total - end);
    }
}

void fake_fail(const char *format, ...)
{
    char message[MESSAGE_BYTES];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    if (failure_handler != NULL) {
        failure_handler(message);
    }
    fprintf(stderr, "%s\n", message);
    abort();
}

void fake_on_failure(void (*handler)(const char *message))
{
    failure_handler = handler;
}

const char *fake_kind_name(enum fake_kind kind)
{
    static const struct {
        enum fake_kind kind;
        const char *name;
    } names[] = {
        {FAKE_RDMSR, "rdmsr"},
        {FAKE_WRMSR, "wrmsr"},
        {FAKE_FENCE, "fence"},
        {FAKE_IN8, "in8"},
        {FAKE_OUT8, "out8"},
        {FAKE_IN32, "in32"},
        {FAKE_OUT32, "out32"},
        {FAKE_READ32, "read32"},
        {FAKE_WRITE32, "write32"},
        {FAKE_WRITE_CR3, "write_cr3"},
        {FAKE_CPUID, "cpuid"},
        {FAKE_TSC, "tsc"},
        {FAKE_PAUSE, "pause"},
        {FAKE_HALT, "halt"},
        {FAKE_NOTE, "note"},
        {FAKE_OUT16, "out16"},
        {FAKE_WRITE_CR4, "write_cr4"},
        {FAKE_DISABLE_INTERRUPTS, "cli"},
        {FAKE_WRITE_TABLES, "tables"},
        {FAKE_UNDEFINED, "undefined"},
        {FAKE_FLUSH, "flush"},
        {FAKE_WRITE_CR0, "write_cr0"},
        {FAKE_IN16, "in16"},
        {FAKE_READ8, "read8"},
        {FAKE_WRITE8, "write8"},
        {FAKE_JUMP, "jump"},
        {FAKE_ENABLE_INTERRUPTS, "sti"},
        {FAKE_DRAIN, "drain"},
    };

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (names[i].kind == kind) {
            return names[i].name;
        }
    }
    return "?";
}

void fake_log_event(enum fake_kind kind, uint64_t address, uint64_t value)
{
    if ((log_kinds & (unsigned)kind) == 0) {
        return;
    }
    if (event_count == EVENTS_MAX) {
        fake_fail("fake: more than %u events; log fewer kinds, or clear the log", EVENTS_MAX);
    }
    events[event_count++] = (struct fake_event){kind, address, value, fake_now()};
}

void fake_log_kinds(unsigned kinds)
{
    log_kinds = kinds;
}

void fake_note(uint64_t address, uint64_t value)
{
    fake_log_event(FAKE_NOTE, address, value);
}

size_t fake_log_count(void)
{
    return event_count;
}

const struct fake_event *fake_log_at(size_t index)
{
    if (index >= event_count) {
        fake_fail("fake: event %zu asked for, %zu logged", index, event_count);
    }
    return &events[index];
}

void fake_log_clear(void)
{
    event_count = 0;
}

void fake_log_reset(void)
{
    event_count = 0;
    log_kinds = FAKE_LOG_DEFAULT;
}

void fake_expect_log(const char *file, int line, const struct fake_expected *expected, size_t count)
{
    size_t i = 0;

    while (i < count && i < event_count && matches(i, &expected[i])) {
        i++;
    }
    if (i < count || i < event_count) {
        dump(expected, count, i);
        fake_fail("%s:%d: event %zu is not as expected (%zu expected, %zu seen)", file, line, i,
                  count, event_count);
    }
}
