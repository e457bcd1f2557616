// The image's first act: it clears what has no bytes in the file, which not every loader does, and
// adds its base to every pointer in its data. In place of gnu-efi's,
// which knows the long form of relocations only; the short one (RELR) takes a fiftieth of the room.
// Surprise: nothing in here may need a relocation itself.

#include <elf.h>
#include <efi.h>

#include "mem.h"

#define BITS_OF_A_MAP 63u

extern uint8_t image_bss_start[], image_bss_end[];

// Called by gnu-efi's start-up code.
EFI_STATUS _relocate(long base, const Elf64_Dyn *dynamic, EFI_HANDLE handle,
                     const EFI_SYSTEM_TABLE *system);

// An even entry is the address of a word; an odd one a map of the 63 words behind the last.
static void relocate(uint64_t base, const Elf64_Relr *entry, uint64_t count)
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

EFI_STATUS _relocate(long base, const Elf64_Dyn *dynamic, EFI_HANDLE handle,
                     const EFI_SYSTEM_TABLE *system)
{
    uint64_t table = 0, bytes = 0;

    (void)handle, (void)system;
    memset(image_bss_start, 0, (size_t)(image_bss_end - image_bss_start));
    for (; dynamic->d_tag != DT_NULL; dynamic++) {
        if (dynamic->d_tag == DT_RELR)
            table = dynamic->d_un.d_ptr;
        else if (dynamic->d_tag == DT_RELRSZ)
            bytes = dynamic->d_un.d_val;
        else if (dynamic->d_tag == DT_RELASZ && dynamic->d_un.d_val > 0)
            return EFI_LOAD_ERROR; // the build lets none of them through
    }
    relocate((uint64_t)base, (const Elf64_Relr *)(uintptr_t)((uint64_t)base + table),
             bytes / sizeof(Elf64_Relr));
    return EFI_SUCCESS;
}
