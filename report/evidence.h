// Evidence: what is known of every processor after the wake, taken at one moment. Whatever is
// counted, printed and drawn of a run is read from here, so that it agrees: a processor that
// arrives late, or faults, while the report is being written changes nothing in it.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hello.h"
#include "inventory.h"
#include "smp.h"

struct evidence {
    // By slot, the BSP's first; the caller's memory, smp_count entries each.
    struct smp_account *accounts;
    const struct hello *hellos;
    bool wrong_sum; // of run=
    // What evidence_take fills, besides the accounts.
    uint32_t count;                          // processors, the BSP included
    uint32_t rounds;                         // that there were
    uint32_t unlisted;                       // processors that found no record of theirs
    uint32_t unlisted_ids[SMP_UNLISTED_MAX]; // of the first of them; SMP_NO_ID: not known yet
};

void evidence_take(const struct smp *smp, struct evidence *evidence);

// The account of the processor with this APIC ID; NULL: it was not to be woken. O(n).
const struct smp_account *evidence_find(const struct evidence *evidence, uint32_t apic_id);

// How many of the unlisted are named.
uint32_t evidence_named(const struct evidence *evidence);
bool evidence_came_unlisted(const struct evidence *evidence, uint32_t apic_id);

// Counts the processors of each kind, the BSP included; unknown are those that never said. False:
// nobody named one, as on all processors whose cores are alike.
bool evidence_count_kinds(const struct evidence *evidence, uint32_t counts[CORE_KINDS]);

// The APIC IDs of processors that started and are in no table of the machine's, each once. Returns
// how many.
size_t evidence_strangers(const struct evidence *evidence, const struct inventory *inventory,
                          uint32_t apic_ids[SMP_UNLISTED_MAX]);
