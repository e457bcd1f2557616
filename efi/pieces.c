// Taking memory. Surprise: a decoy page must be full of HLT instructions before anybody starts
// there, so that a processor under a wrong vector ends in memory that is nobody's.

#include "pieces.h"

#include "last_run.h"
#include "mem.h"
#include "memory.h"
#include "page.h"
#include "tell.h"

#define HALT 0xf4 // HLT

static size_t pages_of(uint64_t bytes)
{
    return (size_t)((bytes + PAGE_BYTES - 1) / PAGE_BYTES);
}

static enum status refuse(const struct problems *problems, const char *text)
{
    problem_tell(problems, SEVERITY_ERROR, "no-memory", text);
    return STATUS_NO_SPACE;
}

enum status pieces_take_lists(const struct firmware *firmware, size_t cpus, size_t regions,
                              uint32_t rounds, const struct problems *problems,
                              struct pieces *pieces)
{
    const size_t bytes = cpus * (sizeof *pieces->accounts + sizeof *pieces->cpus) +
                         regions * sizeof *pieces->regions + cpus * sizeof(uint32_t) +
                         2 * (size_t)rounds * sizeof(uint32_t);

    pieces->list_pages = pages_of(bytes);
    pieces->lists = memory_allocate(firmware, pieces->list_pages);
    if (!pieces->lists)
        return refuse(problems, "no memory below 4 GiB for the plan");
    pieces->accounts = pieces->lists; // what needs to be aligned most comes first
    pieces->regions = (struct smp_region *)(void *)(pieces->accounts + cpus);
    pieces->cpus = (struct smp_cpu *)(void *)(pieces->regions + regions);
    pieces->scratch = (uint32_t *)(void *)(pieces->cpus + cpus);
    pieces->lasts_us = pieces->scratch + cpus;
    pieces->medians_us = pieces->lasts_us + rounds;
    return STATUS_OK;
}

enum status pieces_take_hellos(const struct firmware *firmware, size_t cpus,
                               const struct problems *problems, struct pieces *pieces)
{
    pieces->hello_pages = pages_of(cpus * sizeof *pieces->hellos);
    pieces->hellos = memory_allocate(firmware, pieces->hello_pages);
    if (!pieces->hellos)
        return refuse(problems, "no memory below 4 GiB for what processors say of themselves");
    memset(pieces->hellos, 0, pieces->hello_pages * PAGE_BYTES);
    return STATUS_OK;
}

enum status pieces_take_engine(const struct firmware *firmware, size_t cpus, uint64_t bytes,
                               const struct problems *problems, struct pieces *pieces,
                               struct smp_memory *memory)
{
    pieces->note_pages = 1 + pages_of(bytes);
    pieces->note = last_run_allocate(firmware, pieces->note_pages);
    if (pieces->note) {
        uint8_t *const behind = (uint8_t *)pieces->note + PAGE_BYTES;
        note_drop(pieces->note);
        *memory = (struct smp_memory){(uintptr_t)behind, behind, bytes};
        return STATUS_OK;
    }
    problem_tell(
        problems, SEVERITY_ERROR, "no-memory",
        "%u processors need %u bytes in one piece below 4 GiB, and there is no such piece; wake "
        "fewer with cpus=",
        (uint64_t)cpus, bytes);
    return STATUS_NO_SPACE;
}

enum status pieces_take_page(struct firmware *firmware, enum pieces_page which,
                             const struct problems *problems, struct pieces *pieces)
{
    if (which == PIECES_LATE_PAGE)
        return memory_find_late_page(firmware, problems, &pieces->late_page);
    return memory_take_low_page(firmware, problems, &pieces->low_page, &pieces->late_page);
}

enum status pieces_take_decoy(struct firmware *firmware, const struct problems *problems,
                              struct pieces *pieces)
{
    uint32_t after_exit;
    const enum status status =
        memory_take_low_page(firmware, problems, &pieces->decoy_page, &after_exit);

    if (status == STATUS_OK && pieces->decoy_page == 0)
        problem_tell(problems, SEVERITY_ERROR, "no-low-page",
                     "inject=bad-vector needs a second page below 1 MiB, and firmware has none");
    if (pieces->decoy_page == 0)
        return STATUS_NOT_FOUND;
    memset((void *)(uintptr_t)pieces->decoy_page, HALT, PAGE_BYTES);
    return STATUS_OK;
}

void pieces_free(const struct firmware *firmware, enum keep keep, struct pieces *pieces)
{
    if (keep == KEEP_NOTHING) {
        memory_free(firmware, (void *)(uintptr_t)pieces->low_page, pieces->low_page != 0);
        memory_free(firmware, (void *)(uintptr_t)pieces->decoy_page, pieces->decoy_page != 0);
        memory_free(firmware, pieces->note, pieces->note_pages);
        memory_free(firmware, pieces->hellos, pieces->hello_pages);
    }
    memory_free(firmware, pieces->lists, pieces->list_pages);
    *pieces = (struct pieces){0};
}
