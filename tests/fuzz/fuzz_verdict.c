// Random evidence, random trap stacks and random notes: whatever lies there, what comes out is in
// range, and is nothing that the bytes do not say.

#include <stdlib.h>
#include <string.h>

#include "advice.h"
#include "arena.h"
#include "fake_hw.h"
#include "note.h"
#include "smp.h"
#include "trampoline.h"

static void require(int holds)
{
    if (!holds)
        abort();
}

static void judge(const uint8_t *data)
{
    const struct smp_account account = {
        .stage = data[0],
        .mark = data[1],
        .mark_shared = data[2] & 1,
        .arrived = data[2] & 2,
        .done = data[2] & 4,
        .page_damaged = data[2] & 8,
        .stray = data[2] & 16,
        .fault.valid = data[2] & 32,
        .no_nx = data[2] & 64,
        .by_firmware = data[2] & 128,
        .lost = data[3],
    };
    const enum smp_cause cause = smp_verdict(&account);
    require(cause < SMP_CAUSES);
    require(account.fault.valid == (cause == SMP_CAUSE_FAULT));
    require(cause != SMP_CAUSE_NONE || account.done);
    require(cause != SMP_CAUSE_NEVER_FETCHED || (account.mark == 0 && account.stage == 0));
    require(smp_cause_word(cause)[0] && smp_cause_story(cause)[0] && cause_advice(cause)[0]);
    require(smp_stage_word(data[0])[0] && smp_fault_word(data[1])[0]);
}

static void decode(const uint8_t *data, size_t size)
{
    static uint8_t page[4096];
    struct trampoline trampoline;
    struct trap trap;

    require(trampoline_open_builtin(&trampoline) == STATUS_OK);
    memset(page, 0, sizeof page);
    memcpy(page + PAGE_CELLS, data,
           size < CELL_COUNT * CELL_BYTES ? size : CELL_COUNT * CELL_BYTES);
    for (uint32_t id = 0; id < 2 * CELL_COUNT; id++) {
        if (trampoline_trap_in_cell(&trampoline, page, 0x9f000, id, &trap))
            require(trap.vector < TRAP_VECTORS && trap.mode >= STAGE_REAL &&
                    trap.mode <= STAGE_PROTECTED);
    }
    if (trampoline_trap_at(&trampoline, 0x9f000, page + PAGE_CELLS + 64, &trap))
        require(trap.vector < TRAP_VECTORS);
}

static void look_back(const uint8_t *data, size_t size)
{
    static struct lcpu_page pages[2];
    struct smp_under_way suspect;
    struct note note;

    memset(&note, 0, sizeof note);
    memcpy(&note, data, size < sizeof note ? size : sizeof note);
    require(!note_is_whole(&note, (uintptr_t)&note) || note.phys == (uintptr_t)&note);
    memset(pages, 0, sizeof pages);
    memcpy(&pages[1], data, size < sizeof pages[1] ? size : sizeof pages[1]);
    note.cpus = 2;
    require(note_suspects(&note, pages, 1, &suspect) <= 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4)
        return 0;
    judge(data);
    decode(data, size);
    look_back(data, size);
    return 0;
}
