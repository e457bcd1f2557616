// Where firmware enters the image. The first act is to clear what has no bytes in the file, which
// not every loader does, and to add the base to every pointer in the data. The linker is told to
// write the short form of relocations (RELR): a table takes a fiftieth of the room.
// Surprise: nothing in here may need a relocation itself, so what lies elsewhere is declared hidden
// and found from where the code runs.

#include <elf.h>
#include <efi.h>

#include "mem.h"

#define BITS_OF_A_MAP 63u

#define HIDDEN __attribute__((visibility("hidden")))

// Made by the linker and its script.
extern HIDDEN const Elf64_Dyn _DYNAMIC[];
extern HIDDEN uint8_t image_start[], image_bss_start[], image_bss_end[];

HIDDEN EFI_STATUS efi_main(EFI_HANDLE handle, EFI_SYSTEM_TABLE *system);
EFI_STATUS EFIAPI image_entry(EFI_HANDLE handle, EFI_SYSTEM_TABLE *system);

// A loader that moves the image wants base relocations (PE/COFF, "The .reloc Section"). There is
// nothing for it to do: one block, of the image's first page with code, whose two entries are of
// type 0, which is padding.
#define BLOCK_PAGE  4096u
#define BLOCK_BYTES 12u
__attribute__((used, section(".reloc"))) static const uint32_t base_relocations[] = {
    BLOCK_PAGE, BLOCK_BYTES, 0};
_Static_assert(sizeof(base_relocations) == BLOCK_BYTES, "a block has its own length in it");

// An even entry is the address of a word; an odd one a map of the 63 words behind the last.
static void apply(uint64_t base, const Elf64_Relr *entry, uint64_t count)
{
    uint64_t *word = 0;

    for (; count > 0; count--, entry++) {
        if ((*entry & 1) == 0) {
            word = (uint64_t *)(uintptr_t)(base + *entry);
            *word++ += base;
            continue;
        }
        for (uint32_t bit = 0; bit < BITS_OF_A_MAP; bit++) {
            if (*entry >> (bit + 1) & 1)
                word[bit] += base;
        }
        word += BITS_OF_A_MAP;
    }
}

static EFI_STATUS relocate(void)
{
    const uint64_t base = (uint64_t)(uintptr_t)image_start;
    uint64_t table = 0, bytes = 0;

    for (const Elf64_Dyn *dynamic = _DYNAMIC; dynamic->d_tag != DT_NULL; dynamic++) {
        if (dynamic->d_tag == DT_RELR)
            table = dynamic->d_un.d_ptr;
        else if (dynamic->d_tag == DT_RELRSZ)
            bytes = dynamic->d_un.d_val;
        else if (dynamic->d_tag == DT_RELASZ && dynamic->d_un.d_val > 0)
            return EFI_LOAD_ERROR; // the build lets none of them through
    }
    apply(base, (const Elf64_Relr *)(uintptr_t)(base + table), bytes / sizeof(Elf64_Relr));
    return EFI_SUCCESS;
}

EFI_STATUS EFIAPI image_entry(EFI_HANDLE handle, EFI_SYSTEM_TABLE *system)
{
    memset(image_bss_start, 0, (size_t)(image_bss_end - image_bss_start));
    const EFI_STATUS status = relocate();
    return EFI_ERROR(status) ? status : efi_main(handle, system);
}
