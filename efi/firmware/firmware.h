// Firmware, as one handle that this room passes around: the only place with UEFI types.
#pragma once

#include <efi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hw.h"

struct firmware {
    EFI_HANDLE handle;
    EFI_SYSTEM_TABLE *system;
    EFI_BOOT_SERVICES *boot;
    EFI_LOADED_IMAGE *loaded;
    // The memory map's buffer: allocated once, with room to grow, before the first use.
    uint8_t *map;
    UINTN map_capacity, map_bytes, map_key, descriptor_bytes;
    // The firmware's own address space and tables, to go back to for runtime services.
    uint64_t cr0, cr3, cr4, efer;
    uint64_t pat; // 0: there is none
    struct hw_tables tables;
    uint64_t stack_top; // of the firmware's stack that we run on, as efi_main found it
};

// Notes what is as it was at the image's start. Returns what firmware says where it does not even
// tell where the image was loaded from.
EFI_STATUS firmware_open(EFI_HANDLE handle, EFI_SYSTEM_TABLE *system, struct firmware *firmware);

// What a handle offers under this name; NULL: nothing.
void *firmware_protocol(const struct firmware *firmware, EFI_HANDLE handle, const EFI_GUID *name);

// All handles that offer it, to be given back by FreePool; NULL where there are none, and then
// `count` is 0.
EFI_HANDLE *firmware_handles(const struct firmware *firmware, const EFI_GUID *name, UINTN *count);

// Firmware resets a machine five minutes after it has started a boot entry: not while a person
// types, or while we stay inside.
void firmware_stop_watchdog(const struct firmware *firmware);
