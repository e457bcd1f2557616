// Words for whoever has no others: a sentence for each status and for each account.

#include "line.h"
#include "smp.h"

const char *smp_status_story(enum status status)
{
    switch (status) {
    case STATUS_OK:
        return "done";
    case STATUS_INVALID:
        return "what was given contradicts itself or the manual";
    case STATUS_TRUNCATED:
        return "a length reaches beyond what is there";
    case STATUS_NOT_FOUND:
        return "what was looked for does not exist";
    case STATUS_NO_SPACE:
        return "the memory given is too small";
    case STATUS_TIMEOUT:
        return "a bounded wait ended without an answer";
    case STATUS_UNSUPPORTED:
        return "this machine cannot do that";
    case STATUS_BUSY:
        return "no processor waits for that: a call is under way, or nobody was woken";
    case STATUS_WRONG_CPU:
        return "only the processor of slot 0 may ask for that";
    }
    return "no status of the engine's";
}

const char *smp_parking_word(enum smp_parking parking)
{
    static const char *const words[SMP_PARKINGS] = {"init", "nmi", "mwait", "pause"};
    return parking < SMP_PARKINGS ? words[parking] : "none";
}

size_t smp_sentence(const struct smp_account *account, char *buffer, size_t bytes)
{
    const enum smp_cause cause = smp_verdict(account);
    const struct smp_fault *fault = &account->fault;
    char text[SMP_SENTENCE_BYTES];
    struct line line;
    size_t length;

    line_start(&line, text, sizeof text);
    line_add_format(&line, "CPU %u (APIC ID %u) ", (uint64_t)account->cpu,
                    (uint64_t)account->apic_id);
    if (cause == SMP_CAUSE_NONE)
        line_add_format(&line, "started in %u us", account->us);
    else
        line_add_format(&line, "%s: %s",
                        account->stage >= SMP_STAGE_READY ? "failed" : "failed to start",
                        smp_cause_story(cause));
    if (cause == SMP_CAUSE_FAULT)
        line_add_format(&line, ": %s in %s mode, error code %x, IP %x, CR2 %x",
                        smp_fault_word(fault->vector),
                        fault->mode <= SMP_STAGE_PROTECTED ? smp_stage_word(fault->mode) : "long",
                        (uint64_t)fault->error, fault->ip, fault->cr2);
    for (length = 0; length < line.length && length + 1 < bytes; length++)
        buffer[length] = text[length];
    buffer[length] = '\0';
    return length;
}
