// `protect`: the free memory between 16 and 96 MiB cannot be read (EFI_MEMORY_RP), as firmware that
// follows Project Mu has it for all that is not allocated. `protect=probe` then reads it, for the
// proof. It is opened by AllocatePages, and closed again by FreePages. Surprise: firmware's own
// calls of its core do not go through these hooks; they take memory from the top, far above.

#include "preload.h"

#define FROM      (16ull << 20)
#define TO        (96ull << 20)
#define PAGE_MASK 0xfffull

// The CPU architectural protocol, as far as we call it (PI 1.7, vol. 2, "CPU Architectural
// Protocol").
struct cpu_arch {
    void *flush_data_cache, *enable_interrupt, *disable_interrupt, *get_interrupt_state, *init,
        *register_interrupt_handler, *get_timer_value;
    EFI_STATUS(EFIAPI *set_memory_attributes)
    (struct cpu_arch *cpu, EFI_PHYSICAL_ADDRESS base, UINT64 bytes, UINT64 attributes);
};

static struct cpu_arch *cpu;
static EFI_STATUS(EFIAPI *allocate)(EFI_ALLOCATE_TYPE, EFI_MEMORY_TYPE, UINTN,
                                    EFI_PHYSICAL_ADDRESS *);
static EFI_STATUS(EFIAPI *release)(EFI_PHYSICAL_ADDRESS, UINTN);

static EFI_STATUS set(EFI_PHYSICAL_ADDRESS from, EFI_PHYSICAL_ADDRESS to, UINT64 attributes)
{
    from = from < FROM ? FROM : from;
    to = to > TO ? TO : to;
    return from < to ? cpu->set_memory_attributes(cpu, from, to - from, attributes) : EFI_SUCCESS;
}

static EFI_STATUS EFIAPI allocate_open(EFI_ALLOCATE_TYPE type, EFI_MEMORY_TYPE memory, UINTN pages,
                                       EFI_PHYSICAL_ADDRESS *address)
{
    const EFI_STATUS status = allocate(type, memory, pages, address);
    if (!EFI_ERROR(status))
        (void)set(*address, *address + pages * (PAGE_MASK + 1), 0);
    return status;
}

static EFI_STATUS EFIAPI release_closed(EFI_PHYSICAL_ADDRESS address, UINTN pages)
{
    const EFI_STATUS status = release(address, pages);
    if (!EFI_ERROR(status))
        (void)set(address, address + pages * (PAGE_MASK + 1), EFI_MEMORY_RP);
    return status;
}

static EFI_STATUS protect_free(const struct preload *preload)
{
    static uint8_t map[64 * 1024];
    UINTN bytes = sizeof map, key, step;
    UINT32 version;

    EFI_STATUS status = preload->boot->GetMemoryMap(&bytes, (EFI_MEMORY_DESCRIPTOR *)(void *)map,
                                                    &key, &step, &version);
    for (UINTN at = 0; !EFI_ERROR(status) && at + step <= bytes; at += step) {
        const EFI_MEMORY_DESCRIPTOR *one = (const EFI_MEMORY_DESCRIPTOR *)(const void *)(map + at);
        if (one->Type == EfiConventionalMemory)
            status = set(one->PhysicalStart,
                         one->PhysicalStart + one->NumberOfPages * (PAGE_MASK + 1), EFI_MEMORY_RP);
    }
    return status;
}

static EFI_STATUS start(const struct preload *preload, const char *value)
{
    EFI_GUID guid = {0x26baccb1, 0x6f42, 0x11d4, {0xbc, 0xe7, 0x00, 0x80, 0xc7, 0x3c, 0x88, 0x81}};

    EFI_STATUS status = preload->boot->LocateProtocol(&guid, NULL, (void **)&cpu);
    if (!EFI_ERROR(status))
        status = protect_free(preload);
    if (EFI_ERROR(status))
        return status;
    allocate = preload_hook(preload, &preload->boot->AllocatePages, allocate_open);
    release = preload_hook(preload, &preload->boot->FreePages, release_closed);
    preload_say(preload, L"preload: free memory from 16 to 96 MiB cannot be read\r\n");
    if (*value)
        (void)*(volatile const uint8_t *)(uintptr_t)((FROM + TO) / 2);
    return EFI_SUCCESS;
}

const struct behaviour behaviour_protect = {"protect", start};
