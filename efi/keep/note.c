// Keeping and reading the note. Whatever is not proved by magic, length, address and CRC is not
// there.

#include "note.h"

#include "crc32.h"
#include "hw.h"
#include "mem.h"

#define NOTE_MAGIC 0x31455450564552ull // "REVNOT1"

static uint32_t crc_of(const struct note *note)
{
    struct note copy;
    memcpy(&copy, note, sizeof copy);
    copy.crc = 0;
    return crc32_add(0, &copy, sizeof copy);
}

void note_keep(struct note *note, const struct smp *smp, enum note_step step, uint32_t round,
               uint32_t resets)
{
    *note = (struct note){
        .magic = NOTE_MAGIC,
        .bytes = sizeof *note,
        .phys = (uintptr_t)note,
        .step = step,
        .round = round,
        .resets = resets,
        .cpus = (uint32_t)smp_count(smp),
        .records_phys = smp_records_phys(smp),
    };
    note->crc = crc_of(note);
    hw_flush(note, sizeof *note);
}

void note_drop(struct note *note)
{
    memset(note, 0, sizeof *note);
    hw_flush(note, sizeof *note);
}

bool note_is_whole(const struct note *note, uint64_t phys)
{
    struct note copy;
    memcpy(&copy, note, sizeof copy);
    return copy.magic == NOTE_MAGIC && copy.bytes == sizeof copy && copy.phys == phys &&
           copy.crc == crc_of(&copy);
}

size_t note_suspects(const struct note *note, const void *records, size_t capacity,
                     struct smp_under_way *suspects)
{
    if (!records || note->step != NOTE_WAKING)
        return 0;
    return smp_read_remains(records, note->cpus, note->round, capacity, suspects);
}

const char *note_word(uint32_t step)
{
    static const char *const words[] = {"nothing", "leaving", "waking", "reporting", "calling"};
    return step <= NOTE_CALLING ? words[step] : words[0];
}

static const char *transition(enum smp_stage stage)
{
    switch (stage) {
    case SMP_STAGE_PROTECTED:
        return "from protected to long mode";
    case SMP_STAGE_LONG:
        return "from long mode to C";
    case SMP_STAGE_C:
        return "through its first steps in C";
    default:
        return "from real to protected mode";
    }
}

void note_tell(const struct note *note, const struct smp_under_way *suspects, size_t count,
               struct line *line)
{
    line_add_text(line, "The previous run ended in a reset while ");
    if (count > 0) {
        line_add_format(line, "CPU %u went %s", (uint64_t)suspects[0].cpu,
                        transition(suspects[0].stage));
        if (count > 1)
            line_add_format(line, " (and %u more were under way)", (uint64_t)count - 1);
        return;
    }
    switch (note->step) {
    case NOTE_LEAVING:
        line_add_text(line, "it left firmware");
        break;
    case NOTE_WAKING:
        line_add_format(line, "it woke the processors, in round %u", (uint64_t)note->round);
        break;
    case NOTE_CALLING:
        line_add_text(line, "its processors did what run= asked for");
        break;
    default:
        line_add_text(line, "it reported, after the wake");
        break;
    }
}
