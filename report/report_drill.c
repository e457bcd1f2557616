// Exercises into lines. Surprise: `cpus` counts this processor, too, which meets and adds up with
// the others; what a sentence says of APs does not.

#include "report_drill.h"

#include "report_line.h"
#include "tell.h"

static const char *parking_word(const struct drill_result *result)
{
    return result->parking == SMP_PARKINGS ? "mixed"
                                           : smp_parking_word((enum smp_parking)result->parking);
}

// One number over another, with one decimal.
static void add_ratio(struct line *line, const char *format, uint64_t over, uint64_t under)
{
    const uint64_t tenths = under > 0 ? over * 10 / under : 0;
    line_add_format(line, format, tenths / 10, tenths % 10);
}

static void add_us(struct line *line, uint32_t ns)
{
    add_ratio(line, "%u.%u us", ns, 1000);
}

static void add_call(struct line *line, const struct drill_result *result, uint32_t firmware_us)
{
    record_add_decimal(line, "one_min_ns", result->one_ns.min);
    record_add_decimal(line, "one_median_ns", result->one_ns.median);
    record_add_decimal(line, "one_max_ns", result->one_ns.max);
    if (firmware_us > 0 && result->rounds > 0 && result->missing == 0)
        add_ratio(line, " ratio=%u.%u", firmware_us * 1000ull, result->all_ns.median);
}

static void add_sum(struct line *line, const struct drill_result *result)
{
    record_add_decimal(line, "items", result->items);
    record_add_decimal(line, "alone_ns", result->alone_ns);
    add_ratio(line, " speedup=%u.%u", result->alone_ns, result->all_ns.median);
    record_add_text(line, "sum", result->right ? "right" : "wrong");
}

static void tell_record(struct console *console, const struct plan *plan,
                        const struct drill_step *step, const struct drill_result *result,
                        uint32_t firmware_us)
{
    struct report_line out;

    struct line *line = report_start_record(&out, "run");
    record_add_text(line, "run", drill_word(step->drill));
    record_add_decimal(line, "cpus", result->aps + 1);
    record_add_text(line, "park", smp_parking_word(step->park));
    record_add_text(line, "parking", parking_word(result));
    record_add_decimal(line, "rounds", result->rounds);
    record_add_decimal(line, "min_ns", result->all_ns.min);
    record_add_decimal(line, "median_ns", result->all_ns.median);
    record_add_decimal(line, "max_ns", result->all_ns.max);
    if (step->drill == DRILL_CALL)
        add_call(line, result, firmware_us);
    if (step->drill == DRILL_SUM && result->rounds > 0)
        add_sum(line, result);
    if (result->lost > 0)
        record_add_decimal(line, "lost", result->lost);
    if (result->missing > 0) {
        record_add_decimal(line, "missing", result->missing);
        record_add_decimal(line, "first_missing", plan->cpus[result->first_missing].cpu);
    }
    console_record(console, 0, line);
}

static void tell_sentence(struct console *console, const struct drill_step *step,
                          const struct drill_result *result)
{
    const uint64_t aps = result->aps, cpus = result->aps + 1ull;
    struct report_line out;

    if (result->rounds == 0)
        return;
    struct line *line = report_start_sentence(&out);
    switch (step->drill) {
    case DRILL_CALL:
        line_add_format(line, aps == 1 ? "A call to %u AP (%s): " : "A call to %u APs (%s): ", aps,
                        parking_word(result));
        add_us(line, result->all_ns.median);
        line_add_text(line, ", at worst ");
        add_us(line, result->all_ns.max);
        line_add_text(line, "; to one of them: ");
        add_us(line, result->one_ns.median);
        break;
    case DRILL_BARRIER:
        line_add_format(line, "A barrier of %u processors: ", cpus);
        add_us(line, result->all_ns.median);
        line_add_text(line, ", at worst ");
        add_us(line, result->all_ns.max);
        break;
    case DRILL_SUM:
        line_add_format(line, "A sum by %u processors: ", cpus);
        add_ratio(line, "%u.%u times as fast as by one", result->alone_ns, result->all_ns.median);
        break;
    }
    console_say(console, 0, line);
}

static void tell_missing(struct console *console, const struct plan *plan,
                         const struct drill_result *result)
{
    const uint64_t cpu = plan->cpus[result->first_missing].cpu;

    if (result->missing == 1)
        console_tell(console, "CPU %u did not return from a call", cpu);
    else if (result->missing > 1)
        console_tell(console, "CPU %u and %u more did not return from a call", cpu,
                     result->missing - 1ull);
}

void report_drill(struct console *console, const struct plan *plan, const struct drill_step *step,
                  const struct drill_result *result, uint32_t firmware_us)
{
    tell_record(console, plan, step, result, firmware_us);
    tell_sentence(console, step, result);
    tell_missing(console, plan, result);
}

void report_drill_problems(const struct problems *problems, const struct drill_step *step,
                           const struct drill_result *result)
{
    if (result->aps == 0 && result->missing == 0)
        problem_tell(problems, SEVERITY_WARNING, "nobody-to-call",
                     "no processor waits for a call: run= has done nothing");
    if (step->drill == DRILL_SUM && result->rounds > 0 && !result->right)
        problem_tell(problems, SEVERITY_WARNING, "wrong-sum",
                     "all processors together came to another sum than CPU 0 alone: one of them "
                     "computes wrongly, or does not see what another has written");
}
