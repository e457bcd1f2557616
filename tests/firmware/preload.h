// Firmware that does not forgive, for the boot tests: an application that is started in place of
// the image, changes firmware's behaviour as \firmware.cfg says, and then starts the image itself.
// One file for each behaviour. Surprise: it stays in memory until the image returns or leaves
// firmware, so what it hooks goes on.
#pragma once

#include <efi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct preload {
    EFI_HANDLE handle;
    EFI_SYSTEM_TABLE *system;
    EFI_BOOT_SERVICES *boot;
    EFI_LOADED_IMAGE *loaded; // the preloader's own
    EFI_HANDLE image;         // Reveille, loaded and not started yet
    EFI_LOADED_IMAGE *image_loaded;
};

// A behaviour: the word that asks for it in \firmware.cfg, `name` or `name=value`.
struct behaviour {
    const char *name;
    // `value` is NUL-terminated, "" where there is none. A failure ends the test's run.
    EFI_STATUS (*start)(const struct preload *preload, const char *value);
};

extern const struct behaviour behaviour_execute;
extern const struct behaviour behaviour_fadt;
extern const struct behaviour behaviour_framebuffer;
extern const struct behaviour behaviour_grow_map;
extern const struct behaviour behaviour_idle_uart;
extern const struct behaviour behaviour_load_options;
extern const struct behaviour behaviour_madt;
extern const struct behaviour behaviour_mp_services;
extern const struct behaviour behaviour_pci_uart;
extern const struct behaviour behaviour_protect;
extern const struct behaviour behaviour_refuse_writes;
extern const struct behaviour behaviour_strict;
extern const struct behaviour behaviour_take_places;
extern const struct behaviour behaviour_uefi_2_9;

// The number at the start of a text, decimal or 0x hex; 0 where there is none.
uint64_t preload_number(const char *text);

// Is the text this word, wholly?
bool preload_is(const char *text, const char *word);

// Firmware's ACPI table of this signature, where it lies; NULL if there is none. (ACPI 6.5, "Root
// System Description Pointer (RSDP) Structure".)
uint8_t *preload_table(const struct preload *preload, const char *signature);

// Puts the right checksum into a table (ACPI 6.5, "System Description Table Header").
void preload_mend_table(uint8_t *table);

// Has ACPI list `table` where it lists `before`.
EFI_STATUS preload_replace_table(const struct preload *preload, const uint8_t *before,
                                 const uint8_t *table);

// Says a line on firmware's console.
void preload_say(const struct preload *preload, const CHAR16 *text);

// Puts `hook` in the place of the boot service at `slot`, a field of the boot services' table, and
// mends the table's CRC. Returns what stood there.
void *preload_hook(const struct preload *preload, void *slot, void *hook);
