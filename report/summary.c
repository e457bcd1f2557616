// One pass for each cause that there is, so that a cause is named once.

#include "summary.h"

#define ROOM_FOR_A_CPU 48u // a cause, an index, and what comes behind the list

static void add_cause(const struct evidence *evidence, enum smp_cause cause, struct line *line)
{
    bool named = false;

    for (uint32_t slot = 1; slot < evidence->count; slot++) {
        const struct smp_account *account = &evidence->accounts[slot];
        if (smp_verdict(account) != cause)
            continue;
        if (line->length + ROOM_FOR_A_CPU > line->capacity) {
            line_add_text(line, named ? ",..." : "");
            return;
        }
        if (!named)
            line_add_format(line, " %s=", smp_cause_word(cause));
        line_add_format(line, named ? ",%u" : "%u", (uint64_t)account->cpu);
        named = true;
    }
}

// Of a processor with several kinds of cores, those that there are.
static void add_kinds(const struct evidence *evidence, struct line *line)
{
    uint32_t counts[CORE_KINDS];

    if (!evidence_count_kinds(evidence, counts))
        return;
    for (size_t kind = CORE_UNKNOWN + 1; kind < CORE_KINDS; kind++) {
        if (counts[kind] > 0)
            line_add_format(line, " %s=%u", core_kind_word((enum core_kind)kind),
                            (uint64_t)counts[kind]);
    }
}

void summary_write(const struct machine *machine, const struct evidence *evidence,
                   const struct outcome *outcome, const char *version, struct line *line)
{
    line_add_format(line, "REVEILLE %s image=", version);
    line_add_hex(line, machine->image.crc);
    line_add_format(line, " want=%u up=%u failed=%u", (uint64_t)outcome->want,
                    (uint64_t)outcome->up, (uint64_t)outcome->failed);
    if (evidence)
        add_kinds(evidence, line);
    for (int cause = SMP_CAUSE_NONE + 1; evidence && cause < SMP_CAUSES; cause++)
        add_cause(evidence, (enum smp_cause)cause, line);
    const char *product = machine->platform.product;
    line_add_format(line, " on %s%s%s", product, product[0] ? ", " : "", machine->processor.brand);
}

static const char *how_they_failed(const struct outcome *outcome)
{
    return outcome->unreturned == 0                 ? "failed to start"
           : outcome->unreturned == outcome->failed ? "did not return from a call"
                                                    : "failed";
}

void summary_headline(const struct outcome *outcome, struct line *line)
{
    if (outcome->failed > 0)
        line_add_format(line, "%u of %u processors %s", (uint64_t)outcome->failed,
                        (uint64_t)outcome->want, how_they_failed(outcome));
    else if (outcome->wrong_sum)
        line_add_text(line, "The processors came to a wrong sum");
    else if (!outcome->ok)
        line_add_text(line, "The run was cut short");
    else if (outcome->want == 1)
        line_add_text(line, "The processor started");
    else
        line_add_format(line, "All %u processors started", (uint64_t)outcome->want);
}
