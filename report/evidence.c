// Taking evidence. Surprise: an ID among the unlisted may be any that the machine has, once or many
// times. A processor whose record bears another ID finds no record, and neither does one that was
// left out, each time that a broadcast reaches it.

#include "evidence.h"

void evidence_take(const struct smp *smp, struct evidence *evidence)
{
    evidence->count = (uint32_t)smp_count(smp);
    for (uint32_t slot = 0; slot < evidence->count; slot++)
        evidence->accounts[slot] = smp_examine(smp, slot);
    evidence->rounds = smp_rounds(smp);
    evidence->unlisted = smp_unlisted_count(smp);
    for (uint32_t place = 0; place < evidence_named(evidence); place++)
        evidence->unlisted_ids[place] = smp_unlisted_id(smp, place);
}

const struct smp_account *evidence_find(const struct evidence *evidence, uint32_t apic_id)
{
    for (uint32_t slot = 0; slot < evidence->count; slot++) {
        if (evidence->accounts[slot].apic_id == apic_id)
            return &evidence->accounts[slot];
    }
    return NULL;
}

uint32_t evidence_named(const struct evidence *evidence)
{
    return evidence->unlisted < SMP_UNLISTED_MAX ? evidence->unlisted : SMP_UNLISTED_MAX;
}

bool evidence_came_unlisted(const struct evidence *evidence, uint32_t apic_id)
{
    for (uint32_t place = 0; place < evidence_named(evidence); place++) {
        if (evidence->unlisted_ids[place] == apic_id)
            return apic_id != SMP_NO_ID;
    }
    return false;
}

bool evidence_count_kinds(const struct evidence *evidence, uint32_t counts[CORE_KINDS])
{
    for (size_t kind = 0; kind < CORE_KINDS; kind++)
        counts[kind] = 0;
    for (uint32_t slot = 0; slot < evidence->count; slot++) {
        const struct hello *hello = &evidence->hellos[slot];
        const bool known = atomic_load_explicit(&hello->known, memory_order_acquire);
        counts[known ? hello->place.kind : CORE_UNKNOWN]++;
    }
    return counts[CORE_UNKNOWN] < evidence->count;
}

static bool is_listed(const struct inventory *inventory, uint32_t apic_id)
{
    for (size_t cpu = 0; cpu < inventory->count; cpu++) {
        if (inventory->cpus[cpu].apic_id == apic_id)
            return true;
    }
    return false;
}

size_t evidence_strangers(const struct evidence *evidence, const struct inventory *inventory,
                          uint32_t apic_ids[SMP_UNLISTED_MAX])
{
    size_t count = 0;

    for (uint32_t place = 0; place < evidence_named(evidence); place++) {
        const uint32_t apic_id = evidence->unlisted_ids[place];
        bool told = apic_id == SMP_NO_ID || is_listed(inventory, apic_id);
        for (size_t i = 0; i < count && !told; i++)
            told = apic_ids[i] == apic_id;
        if (!told)
            apic_ids[count++] = apic_id;
    }
    return count;
}
