// A machine as the planning code sees one: RAM with holes, an image, an APIC, and an arena below 4
// GiB that is real memory at its real address, since records and page tables hold 32-bit addresses
// of each other. Surprise: nothing but the arena is there. The rest is numbers that page tables are
// built from. Header only.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <sys/mman.h>

#include <cmocka.h>

#include "address_space.h"
#include "control.h"
#include "fake_log.h"
#include "lcpu.h"
#include "machine.h"

// Maps the arena's memory, not zero, wherever the host has room below 4 GiB, or at `phys` if that
// is not 0.
static inline void fake_map_arena(struct arena *arena, uint64_t phys)
{
    const int where = phys != 0 ? MAP_FIXED_NOREPLACE : MAP_32BIT;
    uint8_t *memory = mmap((void *)(uintptr_t)phys, arena->bytes, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | where, -1, 0);
    if (memory == MAP_FAILED || (uintptr_t)memory + arena->bytes > UINT32_MAX)
        fake_fail("fake: no room for an arena below 4 GiB on this host");
    memset(memory, 0xa5, arena->bytes);
    arena->phys = (uintptr_t)memory;
}

static inline void fake_unmap_arena(struct arena *arena)
{
    if (arena->phys != 0)
        munmap((void *)(uintptr_t)arena->phys, arena->bytes);
    arena->phys = 0;
}

// ---- a typical machine ----

#define FAKE_MIB      (1ull << 20)
#define FAKE_GIB      (1ull << 30)
#define FAKE_RAM_MAX  256u
#define FAKE_LOW_PAGE 0x9e000u

struct fake_machine {
    struct machine machine;
    struct range ram[FAKE_RAM_MAX];
    struct arena arena;
    struct page_tables tables;
    uint64_t entry; // where APs reach C: inside the image's code
};

static inline void fake_add_ram(struct fake_machine *fake, uint64_t first, uint64_t end)
{
    if (fake->machine.ram_count == FAKE_RAM_MAX)
        fake_fail("fake: too much RAM");
    fake->ram[fake->machine.ram_count++] = (struct range){first, end - first};
}

// A PC with `count` processors in the plan, 640 KiB, a hole, RAM around the image and the arena, a
// hole below 4 GiB with the APIC in it, and RAM above. Arena mapped and prepared, CPU indices and
// APIC IDs ascending.
static inline void fake_machine_start(struct fake_machine *fake, size_t count, uint64_t arena_phys,
                                      void (*entry)(struct lcpu *))
{
    static struct lcpu_plan plans[4096];
    struct machine *machine = &fake->machine;
    const uint64_t image = 32 * FAKE_MIB - 0x5000; // its parts lie on both sides of a 2 MiB border

    memset(fake, 0, sizeof *fake);
    machine->ram = fake->ram;
    machine->processor = (struct processor){.vendor = VENDOR_INTEL,
                                            .x2apic = true,
                                            .no_execute = true,
                                            .gib_pages = true,
                                            .mce = true,
                                            .phys_bits = 40,
                                            .id_leaf = 0xb};
    machine->apic_base = 0xfee00900;
    machine->cr4 = CR4_PAE;
    machine->low_page = FAKE_LOW_PAGE;
    machine->image = (struct image){.base = image,
                                    .bytes = 0x14000,
                                    .text = {image + 0x1000, 0xb000},
                                    .rodata = {image + 0xc000, 0x3000},
                                    .data = {image + 0xf000, 0x5000}};
    fake->entry = image + 0x3210;
    // The RAM list is as firmware's map will be once the arena is allocated, so it holds the
    // arena's range; how many tables that takes does not depend on where it is.
    fake_add_ram(fake, 0, 0xa0000);
    fake_add_ram(fake, FAKE_MIB, 2 * FAKE_GIB - 0x123000);
    fake_add_ram(fake, 4 * FAKE_GIB, 6 * FAKE_GIB);
    arena_plan(count, address_space_bound(machine, count), &fake->arena);
    fake_map_arena(&fake->arena, arena_phys);
    if (fake->arena.phys < 64 * FAKE_MIB ||
        fake->arena.phys + fake->arena.bytes > 2 * FAKE_GIB - 0x123000)
        fake_fail("fake: the arena is outside this machine's RAM");
    for (size_t i = 0; i < count; i++)
        plans[i] = (struct lcpu_plan){.cpu = (uint32_t)i, .apic_id = (uint32_t)i};
    arena_prepare(&fake->arena, plans, entry, NULL);
}

static inline void fake_machine_stop(struct fake_machine *fake)
{
    fake_unmap_arena(&fake->arena);
}
