// What a person would write on a label: the machine, its firmware, and what they allow.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define PLATFORM_TEXT 48u

enum secure_boot { SECURE_BOOT_NONE, SECURE_BOOT_OFF, SECURE_BOOT_SETUP, SECURE_BOOT_ON };

struct platform {
    // From SMBIOS; "" where it does not tell.
    char maker[PLATFORM_TEXT], product[PLATFORM_TEXT];
    char board_maker[PLATFORM_TEXT], board[PLATFORM_TEXT];
    char bios_maker[PLATFORM_TEXT], bios[PLATFORM_TEXT], bios_date[PLATFORM_TEXT];
    enum secure_boot secure_boot;
    uint32_t microcode; // the revision that is loaded; 0: unknown
    bool apic_locked;   // IA32_XAPIC_DISABLE_STATUS: x2APIC mode cannot be left
    uint32_t low_pages; // that are free below 1 MiB
};
