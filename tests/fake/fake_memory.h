// An engine's memory as its two sides have it: the same bytes at a "physical" address below 4 GiB,
// where APs find them, and at another that is the caller's view. Full of rubbish. Header only.
#pragma once

#ifndef _GNU_SOURCE
#error "MAP_32BIT and memfd_create: define _GNU_SOURCE before the first header"
#endif

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fake_log.h"
#include "page.h"
#include "smp.h"

// At `phys`, or, if that is 0, wherever the host has room below 4 GiB. Rubbish fills the pages up
// to `rubbish_bytes`: all of a large engine's would take a test long.
static inline struct smp_memory fake_map_memory(uint64_t bytes, uint64_t phys,
                                                uint64_t rubbish_bytes)
{
    const int where = phys != 0 ? MAP_FIXED_NOREPLACE : MAP_32BIT;
    const int file = memfd_create("engine", 0);

    if (file < 0 || ftruncate(file, (off_t)bytes) != 0)
        fake_fail("fake: no %zu bytes", (size_t)bytes);
    void *low =
        mmap((void *)(uintptr_t)phys, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | where, file, 0);
    void *view = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (low == MAP_FAILED || view == MAP_FAILED || (uintptr_t)low + bytes > 1ull << 32 ||
        (uintptr_t)view < 1ull << 32)
        fake_fail("fake: no %zu bytes below 4 GiB, and again above", (size_t)bytes);
    memset(view, 0xa5, bytes < rubbish_bytes ? bytes : rubbish_bytes);
    return (struct smp_memory){(uintptr_t)low, view, bytes};
}

static inline void fake_unmap_memory(struct smp_memory *memory)
{
    if (memory->view != NULL) {
        munmap((void *)(uintptr_t)memory->phys, memory->bytes);
        munmap(memory->view, memory->bytes);
    }
    *memory = (struct smp_memory){0};
}
