// Rounds into lines. Surprise: `up` of a round counts the APs that arrived in it, and `up` of the
// run (outcome.h) those that have no cause.

#include "report_rounds.h"

#include "report_line.h"

void report_firmware(struct console *console, const struct machine *machine,
                     const struct firmware_times *times)
{
    struct report_line out;

    struct line *line = report_start_record(&out, "firmware");
    record_add_decimal(line, "cpus", machine->mp_services_enabled);
    record_add_decimal(line, "cold_us", times->cold_us);
    record_add_decimal(line, "warm_us", times->warm_us);
    console_record(console, 0, line);
}

// Firmware's time over ours, with one decimal.
static void add_ratio(struct line *line, uint64_t firmware_us, uint64_t our_us)
{
    const uint64_t tenths = our_us > 0 ? firmware_us * 10 / our_us : 0;
    line_add_format(line, " ratio=%u.%u", tenths / 10, tenths % 10);
}

void report_wake(struct console *console, const struct plan *plan, const struct smp_round *round,
                 const struct firmware_times *times)
{
    struct report_line out;

    struct line *line = report_start_record(&out, "wake");
    record_add_text(line, "wake", smp_strategy_word(plan->messages.strategy));
    record_add_decimal(line, "round", round->round);
    record_add_decimal(line, "want", plan->want);
    record_add_decimal(line, "up", round->arrived);
    record_add_decimal(line, "icr_writes", round->icr_writes);
    record_add_decimal(line, "first_us", round->first_us);
    record_add_decimal(line, "median_us", round->median_us);
    record_add_decimal(line, "last_us", round->last_us);
    record_add_decimal(line, "send_us", round->send_us);
    record_add_decimal(line, "retried", round->retried);
    if (round->helped > 0)
        record_add_decimal(line, "helped", round->helped);
    if (round->unsent > 0)
        record_add_decimal(line, "unsent", round->unsent);
    if (times && times->warm_us > 0 && round->arrived > 0 && round->arrived == plan->want)
        add_ratio(line, times->warm_us, round->last_us);
    console_record(console, 0, line);
}

void report_null(struct console *console, size_t want, enum null_mode mode,
                 const struct null_times *times)
{
    struct report_line out;

    struct line *line = report_start_record(&out, "null");
    record_add_text(line, "mode", mode == NULL_REAL ? "real" : "long");
    record_add_decimal(line, "cpus", want);
    record_add_decimal(line, "up", times->counted);
    record_add_decimal(line, "cold_us", times->cold_us);
    record_add_decimal(line, "warm_min_us", times->warm_us.min);
    record_add_decimal(line, "warm_median_us", times->warm_us.median);
    record_add_decimal(line, "warm_max_us", times->warm_us.max);
    console_record(console, 0, line);
}

void report_sweep(struct console *console, const struct plan *plan, const struct sweep *sweep,
                  size_t setting, const struct sweep_result *result)
{
    char digits[SWEEP_DIGITS];
    struct report_line out;

    struct line *line = report_start_record(&out, "sweep");
    record_add_text(line, "key", sweep_word(sweep->key));
    record_add_text(line, "value", sweep_value(sweep, setting, digits));
    record_add_decimal(line, "rounds", plan->rounds);
    record_add_decimal(line, "want", plan->want);
    record_add_decimal(line, "first_try", result->first_try);
    record_add_decimal(line, "up", result->arrived);
    record_add_decimal(line, "lost", result->lost);
    record_add_decimal(line, "first_us", result->first_us);
    record_add_decimal(line, "median_us", result->median_us.median);
    record_add_decimal(line, "last_us", result->last_us.median);
    record_add_decimal(line, "slowest_us", result->last_us.max);
    record_add_decimal(line, "icr_writes", result->icr_writes);
    console_record(console, 0, line);
}

void report_sweep_end(struct console *console, const struct sweep *sweep, size_t best, size_t count)
{
    const char *what = sweep->key == SWEEP_WAKE ? "fastest" : "smallest";
    char digits[SWEEP_DIGITS];
    struct report_line out;

    const char *value = best < count ? sweep_value(sweep, best, digits) : "none";
    struct line *line = report_start_record(&out, "sweep-result");
    record_add_text(line, "key", sweep_word(sweep->key));
    record_add_text(line, what, value);
    console_record(console, 0, line);
    if (best < count)
        console_tell(console, "The %s %s that never lost a processor: %s", what,
                     sweep_word(sweep->key), value);
    else
        console_tell(console, "Every value of %s lost a processor at the first try",
                     sweep_word(sweep->key));
}

void report_rounds(struct console *console, uint32_t rounds, uint32_t cold_us,
                   const struct spread *warm_us)
{
    struct report_line out;

    if (rounds < 2)
        return;
    struct line *line = report_start_record(&out, "rounds");
    record_add_decimal(line, "rounds", rounds);
    record_add_decimal(line, "cold_us", cold_us);
    record_add_decimal(line, "warm_min_us", warm_us->min);
    record_add_decimal(line, "warm_median_us", warm_us->median);
    record_add_decimal(line, "warm_max_us", warm_us->max);
    console_record(console, 0, line);
}

void report_stages(struct console *console, const struct stages *stages)
{
    const struct {
        const char *min, *median, *max;
        const struct spread *ns;
    } keys[] = {
        {"real_min_ns", "real_median_ns", "real_max_ns", &stages->real},
        {"protected_min_ns", "protected_median_ns", "protected_max_ns", &stages->protected},
        {"long_min_ns", "long_median_ns", "long_max_ns", &stages->long_mode},
        {"c_min_ns", "c_median_ns", "c_max_ns", &stages->c},
    };
    struct report_line out;

    struct line *line = report_start_record(&out, "stages");
    record_add_decimal(line, "cpus", stages->cpus);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        record_add_decimal(line, keys[i].min, keys[i].ns->min);
        record_add_decimal(line, keys[i].median, keys[i].ns->median);
        record_add_decimal(line, keys[i].max, keys[i].ns->max);
    }
    console_record(console, 0, line);
}
