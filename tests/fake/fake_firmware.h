// The fake firmware: boot services that a test scripts, for efi/firmware/leave.c and
// efi/firmware/memory.c. Owns one memory map, one model of page allocation, and the log of every
// call. A service that is not modelled ends the program, and so does any service but GetMemoryMap
// and ExitBootServices once ExitBootServices was tried; by UEFI 2.9
// (fake_firmware.system.Hdr.Revision) pages may be allocated and freed even then. Surprise: low
// memory is real. Pages below 640 KiB are mapped where the code under test will touch them, and
// some can be told to keep bytes whatever is written there (fake_keep_bytes), as ROM and nothing at
// all do. Header only, since only the tests are compiled with UEFI's headers.
#pragma once

#define _GNU_SOURCE // registers in a signal's context, MAP_32BIT

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <sys/mman.h>
#include <ucontext.h>

#include <cmocka.h>

#include "fake_log.h"
#include "memory.h"
#include "page.h"

#define FAKE_DESCRIPTORS  8192u
#define FAKE_CALLS        4096u
#define FAKE_REVISION_2_7 (2u << 16 | 70u)
#define FAKE_REVISION_2_9 (2u << 16 | 90u)
#define FAKE_ANSWERS      64u
#define FAKE_LOW_LIMIT    0x100000u
#define FAKE_KEEPERS      4u

// Below this the host maps nothing for anybody (vm.mmap_min_addr's usual value).
#define FAKE_LOW_FIRST 0x10000u

enum fake_service { FAKE_GET_MAP, FAKE_ALLOCATE, FAKE_FREE, FAKE_EXIT };

struct fake_call {
    enum fake_service service;
    EFI_ALLOCATE_TYPE how; // FAKE_ALLOCATE
    EFI_MEMORY_TYPE type;  // FAKE_ALLOCATE
    uint64_t pages;        // FAKE_ALLOCATE, FAKE_FREE
    uint64_t asked;        // FAKE_ALLOCATE: address or limit; FAKE_EXIT: the key
    uint64_t address;      // FAKE_ALLOCATE: as given; FAKE_FREE
    EFI_STATUS status;
};

struct fake_block {
    uint64_t address, pages;
    bool high; // memory of the fake's own, to be unmapped
};

// One page that keeps the bytes [first, end) as they are: written, and back at the next
// instruction.
struct fake_keeper {
    uint8_t *page;
    size_t first, end;
    uint8_t kept[PAGE_BYTES];
};

struct fake_firmware {
    EFI_BOOT_SERVICES boot;
    EFI_SYSTEM_TABLE system;
    EFI_MEMORY_DESCRIPTOR map[FAKE_DESCRIPTORS];
    size_t map_count;
    UINTN descriptor_bytes;
    UINTN key;

    // The script of GetMemoryMap.
    EFI_STATUS map_status; // not EFI_SUCCESS: the answer to every call
    bool lie_about_size;   // then these are told instead of the truth
    UINTN lie_descriptor_bytes;
    bool overrun;       // says that it filled more than the buffer holds
    size_t grow_at_get; // descriptors that appear at each call, before it is answered
    UINTN extra_bytes;  // behind the last whole descriptor
    // Of AllocatePages.
    size_t grow_at_allocate;    // descriptors that appear at each allocation
    size_t refuse_high_from;    // allocations above 1 MiB fail from this one on; 1: the first
    uint64_t low[FAKE_ANSWERS]; // what AllocateMaxAddress below 1 MiB answers, one after another
    size_t low_count, low_next;
    uint64_t
        taken[FAKE_ANSWERS]; // pages that AllocateAddress refuses although the map calls them free
    size_t taken_count;
    // Of ExitBootServices.
    size_t refusals;     // calls that find the key stale, whatever it is
    size_t grow_at_exit; // descriptors that appear in each of these

    bool exit_tried, left;
    size_t high_count;
    struct fake_block owned[FAKE_ANSWERS];
    size_t owned_count;
    struct fake_call calls[FAKE_CALLS];
    size_t call_count;

    uint64_t low_mapped[FAKE_ANSWERS];
    size_t low_mapped_count;
    struct fake_keeper keepers[FAKE_KEEPERS];
    size_t keeper_count;
    struct sigaction other_fault;
};

// One, since a boot service is called without any context of ours.
static struct fake_firmware fake_firmware;

#define FAKE_HANDLE ((EFI_HANDLE)(uintptr_t)0xf1f1f1f0u)

// ---- the memory map ----

static inline void fake_add(EFI_MEMORY_TYPE type, uint64_t phys, uint64_t pages)
{
    if (fake_firmware.map_count == FAKE_DESCRIPTORS)
        fake_fail("fake: the memory map is full");
    fake_firmware.map[fake_firmware.map_count++] = (EFI_MEMORY_DESCRIPTOR){
        .Type = type, .PhysicalStart = phys, .NumberOfPages = pages, .Attribute = EFI_MEMORY_WB};
}

// Descriptors that no test looks at, at addresses that no test uses.
static inline void fake_grow_map(size_t count)
{
    for (size_t i = 0; i < count; i++)
        fake_add(EfiBootServicesData, (1ull << 40) + fake_firmware.map_count * 0x10000ull, 1);
    fake_firmware.key += count != 0;
}

// ---- the services ----

static inline struct fake_call *fake_log_call(enum fake_service service)
{
    static const char *const names[] = {"GetMemoryMap", "AllocatePages", "FreePages",
                                        "ExitBootServices"};
    if (fake_firmware.left)
        fake_fail("fake: %s after boot services had ended", names[service]);
    if (fake_firmware.exit_tried && service != FAKE_GET_MAP && service != FAKE_EXIT &&
        fake_firmware.system.Hdr.Revision < FAKE_REVISION_2_9)
        fake_fail("fake: %s after the first ExitBootServices", names[service]);
    if (fake_firmware.call_count == FAKE_CALLS)
        fake_fail("fake: more than %u calls: a loop without a bound?", FAKE_CALLS);
    struct fake_call *call = &fake_firmware.calls[fake_firmware.call_count++];
    *call = (struct fake_call){.service = service};
    return call;
}

static inline EFI_STATUS EFIAPI fake_get_memory_map(UINTN *bytes, EFI_MEMORY_DESCRIPTOR *map,
                                                    UINTN *key, UINTN *descriptor_bytes,
                                                    UINT32 *version)
{
    struct fake_firmware *fake = &fake_firmware;
    struct fake_call *call = fake_log_call(FAKE_GET_MAP);
    const UINTN capacity = *bytes;

    if (fake->map_status != EFI_SUCCESS)
        return call->status = fake->map_status;
    fake_grow_map(fake->grow_at_get);
    const UINTN needed = fake->map_count * fake->descriptor_bytes + fake->extra_bytes;
    *bytes = needed;
    *descriptor_bytes = fake->lie_about_size ? fake->lie_descriptor_bytes : fake->descriptor_bytes;
    if (capacity < needed)
        return call->status = EFI_BUFFER_TOO_SMALL;
    // What lies behind a descriptor's known part is not for us, and not zero.
    if (needed != 0)
        memset(map, 0xa5, needed);
    for (size_t i = 0; i < fake->map_count; i++)
        memcpy((uint8_t *)map + i * fake->descriptor_bytes, &fake->map[i], sizeof fake->map[i]);
    // What is cut off would be free memory.
    const EFI_MEMORY_DESCRIPTOR cut = {
        .Type = EfiConventionalMemory, .PhysicalStart = 0x40000000, .NumberOfPages = 1};
    if (fake->extra_bytes != 0)
        memcpy((uint8_t *)map + needed - fake->extra_bytes, &cut,
               fake->extra_bytes < sizeof cut ? fake->extra_bytes : sizeof cut);
    if (fake->overrun)
        *bytes = capacity + 1;
    *key = fake->key;
    *version = 1;
    return call->status = EFI_SUCCESS;
}

static inline bool fake_owns(uint64_t address)
{
    for (size_t i = 0; i < fake_firmware.owned_count; i++) {
        const struct fake_block *block = &fake_firmware.owned[i];
        if (address >= block->address && address - block->address < block->pages * PAGE_BYTES)
            return true;
    }
    return false;
}

static inline void fake_own(uint64_t address, uint64_t pages, bool high)
{
    if (fake_firmware.owned_count == FAKE_ANSWERS)
        fake_fail("fake: too many blocks are owned");
    fake_firmware.owned[fake_firmware.owned_count++] =
        (struct fake_block){.address = address, .pages = pages, .high = high};
    fake_firmware.key++;
    fake_grow_map(fake_firmware.grow_at_allocate);
}

// Memory below 4 GiB that is not zero, and a page behind it that must not be touched.
static inline EFI_STATUS fake_allocate_high(uint64_t pages, EFI_PHYSICAL_ADDRESS *address)
{
    struct fake_firmware *fake = &fake_firmware;

    fake->high_count++;
    if (pages == 0 || pages > 0x10000 ||
        (fake->refuse_high_from != 0 && fake->high_count >= fake->refuse_high_from))
        return EFI_OUT_OF_RESOURCES;
    uint8_t *memory = mmap(NULL, (pages + 1) * PAGE_BYTES, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    if (memory == MAP_FAILED)
        fake_fail("fake: no memory below 4 GiB on this host");
    memset(memory, 0xa5, pages * PAGE_BYTES);
    if (mprotect(memory + pages * PAGE_BYTES, PAGE_BYTES, PROT_NONE) != 0)
        fake_fail("fake: mprotect");
    *address = (uintptr_t)memory;
    fake_own(*address, pages, true);
    return EFI_SUCCESS;
}

static inline EFI_STATUS fake_allocate_low(EFI_PHYSICAL_ADDRESS *address)
{
    struct fake_firmware *fake = &fake_firmware;

    if (fake->low_next == fake->low_count)
        return EFI_OUT_OF_RESOURCES;
    *address = fake->low[fake->low_next++];
    fake_own(*address, 1, false);
    return EFI_SUCCESS;
}

static inline EFI_STATUS fake_allocate_at(uint64_t pages, uint64_t address)
{
    struct fake_firmware *fake = &fake_firmware;
    bool free_by_map = false;

    for (size_t i = 0; i < fake->map_count; i++) {
        const EFI_MEMORY_DESCRIPTOR *descriptor = &fake->map[i];
        free_by_map |=
            descriptor->Type == EfiConventionalMemory && address >= descriptor->PhysicalStart &&
            (address - descriptor->PhysicalStart) / PAGE_BYTES + pages <= descriptor->NumberOfPages;
    }
    for (size_t i = 0; i < fake->taken_count; i++)
        free_by_map &= fake->taken[i] != address;
    if (address % PAGE_BYTES != 0 || !free_by_map || fake_owns(address))
        return EFI_NOT_FOUND;
    fake_own(address, pages, false);
    return EFI_SUCCESS;
}

static inline EFI_STATUS EFIAPI fake_allocate_pages(EFI_ALLOCATE_TYPE how, EFI_MEMORY_TYPE type,
                                                    UINTN pages, EFI_PHYSICAL_ADDRESS *address)
{
    struct fake_call *call = fake_log_call(FAKE_ALLOCATE);

    call->how = how;
    call->type = type;
    call->pages = pages;
    call->asked = *address;
    if (how == AllocateAddress)
        call->status = fake_allocate_at(pages, *address);
    else if (how != AllocateMaxAddress)
        fake_fail("fake: AllocatePages of kind %d: nothing says where", (int)how);
    else if (*address < FAKE_LOW_LIMIT)
        call->status = fake_allocate_low(address);
    else
        call->status = fake_allocate_high(pages, address);
    call->address = *address;
    return call->status;
}

static inline EFI_STATUS EFIAPI fake_free_pages(EFI_PHYSICAL_ADDRESS address, UINTN pages)
{
    struct fake_firmware *fake = &fake_firmware;
    struct fake_call *call = fake_log_call(FAKE_FREE);

    call->address = address;
    call->pages = pages;
    for (size_t i = 0; i < fake->owned_count; i++) {
        const struct fake_block block = fake->owned[i];
        if (block.address != address || block.pages != pages)
            continue;
        if (block.high && munmap((void *)(uintptr_t)address, (pages + 1) * PAGE_BYTES) != 0)
            fake_fail("fake: munmap");
        fake->owned[i] = fake->owned[--fake->owned_count];
        fake->key++;
        return call->status = EFI_SUCCESS;
    }
    fake_fail("fake: FreePages(0x%llx, %llu) was never allocated", (unsigned long long)address,
              (unsigned long long)pages);
}

static inline EFI_STATUS EFIAPI fake_exit_boot_services(EFI_HANDLE handle, UINTN key)
{
    struct fake_firmware *fake = &fake_firmware;
    struct fake_call *call = fake_log_call(FAKE_EXIT);

    if (handle != FAKE_HANDLE)
        fake_fail("fake: ExitBootServices with another image's handle");
    call->asked = key;
    fake->exit_tried = true;
    if (fake->refusals > 0) {
        fake->refusals--;
        fake->key++;
        fake_grow_map(fake->grow_at_exit);
        return call->status = EFI_INVALID_PARAMETER;
    }
    if (key != fake->key)
        return call->status = EFI_INVALID_PARAMETER;
    fake->left = true;
    return call->status = EFI_SUCCESS;
}

static inline EFI_STATUS EFIAPI fake_forbidden(void)
{
    fake_fail("fake: a boot service that is not modelled");
}

// ---- low memory ----

// Maps pages below 1 MiB where the code under test will find them; zero at first. Skips the test
// where the host does not allow it.
static inline void fake_map_low(uint64_t phys, size_t pages)
{
    struct fake_firmware *fake = &fake_firmware;

    for (size_t i = 0; i < pages; i++, phys += PAGE_BYTES) {
        void *const wanted = (void *)(uintptr_t)phys;
        if (mmap(wanted, PAGE_BYTES, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != wanted) {
            print_message("0x%llx cannot be mapped here (vm.mmap_min_addr)\n",
                          (unsigned long long)phys);
            skip();
        }
        if (fake->low_mapped_count == FAKE_ANSWERS)
            fake_fail("fake: too many low pages");
        fake->low_mapped[fake->low_mapped_count++] = phys;
    }
}

// A write to a keeper's page arrives here: let this one instruction through, and stop behind it.
static inline void fake_on_fault(int signal_number, siginfo_t *info, void *context)
{
    ucontext_t *processor = context;

    for (size_t i = 0; i < fake_firmware.keeper_count; i++) {
        struct fake_keeper *keeper = &fake_firmware.keepers[i];
        if ((uintptr_t)info->si_addr - (uintptr_t)keeper->page >= PAGE_BYTES)
            continue;
        mprotect(keeper->page, PAGE_BYTES, PROT_READ | PROT_WRITE);
        processor->uc_mcontext.gregs[REG_EFL] |= 0x100; // TF
        return;
    }
    sigaction(signal_number, &fake_firmware.other_fault, NULL);
}

static inline void fake_on_step(int signal_number, siginfo_t *info, void *context)
{
    ucontext_t *processor = context;

    (void)signal_number, (void)info;
    processor->uc_mcontext.gregs[REG_EFL] &= ~0x100ll;
    for (size_t i = 0; i < fake_firmware.keeper_count; i++) {
        struct fake_keeper *keeper = &fake_firmware.keepers[i];
        mprotect(keeper->page, PAGE_BYTES, PROT_READ | PROT_WRITE);
        for (size_t at = keeper->first; at < keeper->end; at++)
            keeper->page[at] = keeper->kept[at];
        mprotect(keeper->page, PAGE_BYTES, PROT_READ);
    }
}

// From now on the bytes [first, end) of this page, mapped before, stay as they are.
static inline void fake_keep_bytes(uint64_t phys, size_t first, size_t end)
{
    struct fake_firmware *fake = &fake_firmware;
    struct sigaction action = {.sa_flags = SA_SIGINFO, .sa_sigaction = fake_on_fault};

    if (fake->keeper_count == FAKE_KEEPERS)
        fake_fail("fake: too many pages that keep their bytes");
    if (fake->keeper_count == 0) {
        sigaction(SIGSEGV, &action, &fake->other_fault);
        action.sa_sigaction = fake_on_step;
        sigaction(SIGTRAP, &action, NULL);
    }
    struct fake_keeper *keeper = &fake->keepers[fake->keeper_count++];
    *keeper = (struct fake_keeper){(uint8_t *)(uintptr_t)phys, first, end, {0}};
    memcpy(keeper->kept, keeper->page, PAGE_BYTES);
    mprotect(keeper->page, PAGE_BYTES, PROT_READ);
}

// ---- set-up ----

// Unmaps all that a test has left.
static inline void fake_firmware_clear(void)
{
    struct fake_firmware *fake = &fake_firmware;

    for (size_t i = 0; i < fake->owned_count; i++) {
        const struct fake_block *block = &fake->owned[i];
        if (block->high)
            munmap((void *)(uintptr_t)block->address, (block->pages + 1) * PAGE_BYTES);
    }
    for (size_t i = 0; i < fake->low_mapped_count; i++)
        munmap((void *)(uintptr_t)fake->low_mapped[i], PAGE_BYTES);
    memset(fake, 0, sizeof *fake);
}

// A firmware with an empty map, that gives memory above 1 MiB and none below, and lets itself be
// left.
static inline struct firmware fake_firmware_start(UINTN descriptor_bytes)
{
    struct fake_firmware *fake = &fake_firmware;
    uint8_t *const services = (uint8_t *)&fake->boot + sizeof fake->boot.Hdr;
    EFI_STATUS(EFIAPI *const forbidden)(void) = fake_forbidden;

    fake_firmware_clear();
    fake->descriptor_bytes = descriptor_bytes;
    fake->key = 1000;
    for (size_t at = 0; at + sizeof fake->boot.Hdr < sizeof fake->boot; at += sizeof forbidden)
        memcpy(services + at, &forbidden, sizeof forbidden);
    fake->system.Hdr.Revision = FAKE_REVISION_2_7;
    fake->boot.GetMemoryMap = fake_get_memory_map;
    fake->boot.AllocatePages = fake_allocate_pages;
    fake->boot.FreePages = fake_free_pages;
    fake->boot.ExitBootServices = fake_exit_boot_services;
    return (struct firmware){.handle = FAKE_HANDLE, .system = &fake->system, .boot = &fake->boot};
}

static inline size_t fake_count(enum fake_service service)
{
    size_t count = 0;
    for (size_t i = 0; i < fake_firmware.call_count; i++)
        count += fake_firmware.calls[i].service == service;
    return count;
}

// The services that were called, in order: one letter each, m a f x.
static inline const char *fake_story(void)
{
    static char story[FAKE_CALLS + 1];
    for (size_t i = 0; i < fake_firmware.call_count; i++)
        story[i] = "mafx"[fake_firmware.calls[i].service];
    story[fake_firmware.call_count] = '\0';
    return story;
}
