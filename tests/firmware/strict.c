// `strict`: no page is both written and executed, as a strict shim and firmware have it: the
// sections of the image have the rights of their headers, and all memory that is not code cannot be
// executed, by the Memory Attribute protocol, which only new firmware has. (UEFI 2.10, "Memory
// Attribute Protocol"; PE/COFF, "Section Table".) Surprise: firmware knows nothing of it, and
// clears an image's memory once that has returned; so the image is called here, and lifted behind.

#include "preload.h"

#include "mem.h"

#define PAGE_BYTES 4096ull

#ifndef EFI_MEMORY_RO // since UEFI 2.5
#define EFI_MEMORY_RO 0x20000ull
#endif

// Offsets in the headers: from the file's start, from the file header, from a section's.
#define PE_OFFSET       0x3cu
#define SIGNATURE_BYTES 4u
#define SECTION_COUNT   2u
#define OPTIONAL_BYTES  16u
#define FILE_BYTES      20u
#define ENTRY           (FILE_BYTES + 16u)
#define SECTION_BYTES   40u
#define VIRTUAL_SIZE    8u
#define RVA             12u
#define CHARACTERISTICS 36u
#define EXECUTE         0x20000000u
#define WRITE           0x80000000u

struct memory_attribute {
    EFI_STATUS(EFIAPI *get)
    (struct memory_attribute *self, EFI_PHYSICAL_ADDRESS base, UINT64 bytes, UINT64 *attributes);
    EFI_STATUS(EFIAPI *set)
    (struct memory_attribute *self, EFI_PHYSICAL_ADDRESS base, UINT64 bytes, UINT64 attributes);
    EFI_STATUS(EFIAPI *clear)
    (struct memory_attribute *self, EFI_PHYSICAL_ADDRESS base, UINT64 bytes, UINT64 attributes);
};

static struct memory_attribute *attribute;
static EFI_SYSTEM_TABLE *system;
static const uint8_t *image;
static uint64_t image_bytes;
static EFI_STATUS(EFIAPI *allocate)(EFI_ALLOCATE_TYPE, EFI_MEMORY_TYPE, UINTN,
                                    EFI_PHYSICAL_ADDRESS *);

static bool is_code(UINT32 type)
{
    return type == EfiLoaderCode || type == EfiBootServicesCode || type == EfiRuntimeServicesCode;
}

static bool is_data(UINT32 type)
{
    return type == EfiLoaderData || type == EfiBootServicesData || type == EfiConventionalMemory;
}

static EFI_STATUS forbid(EFI_PHYSICAL_ADDRESS base, UINT64 bytes, UINT64 rights)
{
    const EFI_STATUS status =
        attribute->clear(attribute, base, bytes, EFI_MEMORY_RP | EFI_MEMORY_RO | EFI_MEMORY_XP);
    return EFI_ERROR(status) || rights == 0 ? status
                                            : attribute->set(attribute, base, bytes, rights);
}

static EFI_STATUS EFIAPI allocate_by_type(EFI_ALLOCATE_TYPE how, EFI_MEMORY_TYPE type, UINTN pages,
                                          EFI_PHYSICAL_ADDRESS *address)
{
    const EFI_STATUS status = allocate(how, type, pages, address);
    if (!EFI_ERROR(status))
        (void)forbid(*address, pages * PAGE_BYTES, is_code(type) ? 0 : EFI_MEMORY_XP);
    return status;
}

static EFI_STATUS forbid_data(const struct preload *preload)
{
    static uint8_t map[64 * 1024];
    UINTN bytes = sizeof map, key, step;
    UINT32 version;

    EFI_STATUS status = preload->boot->GetMemoryMap(&bytes, (EFI_MEMORY_DESCRIPTOR *)(void *)map,
                                                    &key, &step, &version);
    for (UINTN at = 0; !EFI_ERROR(status) && at + step <= bytes; at += step) {
        const EFI_MEMORY_DESCRIPTOR *one = (const EFI_MEMORY_DESCRIPTOR *)(const void *)(map + at);
        if (is_data(one->Type))
            status = attribute->set(attribute, one->PhysicalStart, one->NumberOfPages * PAGE_BYTES,
                                    EFI_MEMORY_XP);
    }
    return status;
}

static uint32_t number(const uint8_t *at, size_t bytes)
{
    uint32_t value = 0;

    memcpy(&value, at, bytes);
    return value;
}

static const uint8_t *file_header(void)
{
    return image + number(image + PE_OFFSET, 4) + SIGNATURE_BYTES;
}

static EFI_STATUS forbid_image(void)
{
    const uint8_t *file = file_header();
    const uint8_t *section = file + FILE_BYTES + number(file + OPTIONAL_BYTES, 2);

    EFI_STATUS status = forbid((uintptr_t)image, PAGE_BYTES, EFI_MEMORY_RO | EFI_MEMORY_XP);
    for (uint32_t i = number(file + SECTION_COUNT, 2); i > 0 && !EFI_ERROR(status); i--) {
        const uint32_t rights = number(section + CHARACTERISTICS, 4);
        const uint64_t bytes = (number(section + VIRTUAL_SIZE, 4) + PAGE_BYTES - 1) / PAGE_BYTES;
        status =
            forbid((uintptr_t)image + number(section + RVA, 4), bytes * PAGE_BYTES,
                   (rights & WRITE ? 0 : EFI_MEMORY_RO) | (rights & EXECUTE ? 0 : EFI_MEMORY_XP));
        section += SECTION_BYTES;
    }
    return status;
}

static EFI_STATUS EFIAPI start_image(EFI_HANDLE handle, UINTN *bytes, CHAR16 **data)
{
    const EFI_IMAGE_ENTRY_POINT entry =
        (EFI_IMAGE_ENTRY_POINT)(uintptr_t)(image + number(file_header() + ENTRY, 4));

    (void)bytes, (void)data;
    const EFI_STATUS status = entry(handle, system);
    (void)forbid((uintptr_t)image, image_bytes, 0);
    return status;
}

static EFI_STATUS start(const struct preload *preload, const char *value)
{
    EFI_GUID guid = {0xf4560cf6, 0x40ec, 0x4b4a, {0xa1, 0x92, 0xbf, 0x1d, 0x57, 0xd0, 0xb1, 0x89}};

    (void)value;
    system = preload->system;
    image = preload->image_loaded->ImageBase;
    image_bytes = preload->image_loaded->ImageSize;
    EFI_STATUS status = preload->boot->LocateProtocol(&guid, NULL, (void **)&attribute);
    if (!EFI_ERROR(status))
        status = forbid_data(preload);
    if (!EFI_ERROR(status))
        status = forbid_image();
    if (EFI_ERROR(status))
        return status;
    (void)preload_hook(preload, &preload->boot->StartImage, start_image);
    allocate = preload_hook(preload, &preload->boot->AllocatePages, allocate_by_type);
    preload_say(preload, L"preload: no page is both written and executed\r\n");
    return EFI_SUCCESS;
}

const struct behaviour behaviour_strict = {"strict", start};
