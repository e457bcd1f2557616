// Memory, as firmware gives and describes it. All memory is allocated here, before the exit;
// nothing is freed but on the way back.
#pragma once

#include "firmware.h"
#include "machine.h"
#include "problem.h"
#include "status.h"

// `pages` of 4 KiB below 4 GiB; NULL where there is none.
void *memory_allocate(const struct firmware *firmware, size_t pages);
void memory_free(const struct firmware *firmware, void *memory, size_t pages);

// Reads the memory map into the buffer, allocating or growing the buffer where needed.
enum status memory_read_map(struct firmware *firmware);

// Fills machine->ram: everything that the map calls memory, merged and ascending.
enum status memory_collect_ram(struct firmware *firmware, struct machine *machine);

// Can these bytes be read without a fault, as far as the map knows? For phys.h.
const void *memory_view(const void *firmware, uint64_t address, uint64_t bytes);

// Is this address memory, as the map says?
bool memory_is_ram(const struct firmware *firmware, uint64_t address);

// How many pages below `limit` are free.
uint32_t memory_count_free(const struct firmware *firmware, uint64_t limit);

// The page for the trampoline. Returns STATUS_OK with *page set, or with *page = 0 and *after_exit
// set to a boot-services page that is ours after the exit. STATUS_NOT_FOUND after telling every
// descriptor below 1 MiB; or, told as well, what memory_read_map returns.
enum status memory_take_low_page(struct firmware *firmware, const struct problems *problems,
                                 uint32_t *page, uint32_t *after_exit);

// A boot-services page below 0xa0000 that will be ours after the exit, and holds nothing vital
// until then. Tells and returns as memory_take_low_page.
enum status memory_find_late_page(struct firmware *firmware, const struct problems *problems,
                                  uint32_t *page);

// Writes two patterns and reads them back; the bytes are restored.
bool memory_is_writable(uint64_t phys);
