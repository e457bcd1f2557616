// Evidence made by hand, for what reads it: no engine, no machine. Header only.
#pragma once

#include <stdint.h>
#include <string.h>

#include "evidence.h"

#define FAKE_EVIDENCE_MAX 64u

struct fake_evidence {
    struct evidence evidence;
    struct smp_account accounts[FAKE_EVIDENCE_MAX];
    struct hello hellos[FAKE_EVIDENCE_MAX];
};

// The account of an AP that came at once and said hello: 100 us for each CPU before it and itself,
// by a counter of 1 GHz that stood at 1000000 when the round began.
static inline struct smp_account fake_account(uint32_t cpu, uint32_t apic_id)
{
    const uint64_t started = 1000000, arrival = started + cpu * 100000u;

    return (struct smp_account){
        .slot = cpu,
        .cpu = cpu,
        .apic_id = apic_id,
        .stage = SMP_STAGE_DONE,
        .mark = SMP_STAGE_PROTECTED,
        .arrived = true,
        .done = true,
        .tries = 1,
        .us = cpu * 100u,
        .started = started,
        .tsc_real = arrival - 3000,
        .tsc_protected = arrival - 2000,
        .tsc_long = arrival - 1000,
        .tsc_c = arrival,
        .apic_base = 0xfee00800,
    };
}

// One round of `count` processors, the BSP included, all up; slot, CPU index and APIC ID are the
// same.
static inline struct evidence *fake_evidence_start(struct fake_evidence *fake, uint32_t count)
{
    memset(fake, 0, sizeof *fake);
    fake->accounts[0] = (struct smp_account){.started = 1000000};
    for (uint32_t slot = 1; slot < count; slot++)
        fake->accounts[slot] = fake_account(slot, slot);
    fake->evidence = (struct evidence){
        .accounts = fake->accounts, .hellos = fake->hellos, .count = count, .rounds = 1};
    return &fake->evidence;
}

static inline void fake_evidence_add_unlisted(struct fake_evidence *fake, uint32_t apic_id)
{
    struct evidence *evidence = &fake->evidence;

    if (evidence->unlisted < SMP_UNLISTED_MAX)
        evidence->unlisted_ids[evidence->unlisted] = apic_id;
    evidence->unlisted++;
}
