// One pass for each cause that there is, so that a cause is named once.

#include "summary.h"

#include "examine.h"
#include "verdict.h"

#define ROOM_FOR_A_CPU 48u // a cause, an index, and what comes behind the list

static enum cause cause_of(const struct wake *wake, uint32_t slot)
{
    const struct evidence evidence = examine(wake, slot);
    return verdict(&evidence);
}

static void add_cause(const struct wake *wake, enum cause cause, struct line *line)
{
    bool named = false;

    for (uint32_t slot = 1; slot <= wake->plan->want; slot++) {
        if (cause_of(wake, slot) != cause)
            continue;
        if (line->length + ROOM_FOR_A_CPU > line->capacity) {
            line_add_text(line, named ? ",..." : "");
            return;
        }
        if (!named)
            line_add_format(line, " %s=", cause_word(cause));
        line_add_format(line, named ? ",%u" : "%u",
                        (uint64_t)arena_account(wake->arena, slot)->cpu);
        named = true;
    }
}

void summary_write(const struct machine *machine, const struct wake *wake,
                   const struct outcome *outcome, const char *version, struct line *line)
{
    bool met[CAUSE_COUNT] = {false};

    line_add_format(line, "REVEILLE %s image=", version);
    line_add_hex(line, machine->image.crc);
    line_add_format(line, " want=%u up=%u failed=%u", (uint64_t)outcome->want,
                    (uint64_t)outcome->up, (uint64_t)outcome->failed);
    for (uint32_t slot = 1; wake && slot <= wake->plan->want; slot++)
        met[cause_of(wake, slot)] = true;
    for (int cause = CAUSE_NONE + 1; cause < CAUSE_COUNT; cause++) {
        if (met[cause])
            add_cause(wake, (enum cause)cause, line);
    }
    const char *product = machine->platform.product;
    line_add_format(line, " on %s%s%s", product, product[0] ? ", " : "", machine->processor.brand);
}
