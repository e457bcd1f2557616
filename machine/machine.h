// The machine: every fact that is gathered while firmware lives, in one plain struct. It holds no
// pointer into firmware memory; what it points to lies in memory of ours. Filled by efi/, read by
// everybody.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "clock.h"
#include "fadt.h"
#include "framebuffer.h"
#include "inventory.h"
#include "platform.h"
#include "processor.h"

// A piece of physical memory, page-aligned.
struct range {
    uint64_t phys, bytes;
};

// Where our own image lies, by the rights it needs.
struct image {
    uint64_t base, bytes;
    struct range text, rodata, data;
    uint32_t crc; // CRC-32 of its code and constants: which build it is
};

// Memory of ours that is touched after the exit, by whatever type the map knows it.
struct own_memory {
    const char *name;
    struct range range;
};
#define OWN_MEMORY_MAX 8u

struct machine {
    char firmware[64]; // vendor, ASCII
    uint32_t firmware_revision;
    bool under_qemu; // by its fw_cfg device

    struct processor processor;
    uint64_t apic_base;   // IA32_APIC_BASE of the BSP as firmware left it
    uint32_t bsp_apic_id; // by its own APIC
    uint64_t cr3, cr4;    // of the BSP under firmware
    bool shadow_stack;    // firmware runs the BSP with one (CET)
    struct clock clock;
    const char *clock_check; // what the TSC's rate was compared with, "none"
    uint64_t clock_check_hz; // and what that said

    struct inventory inventory;
    size_t inventory_pages; // of its list
    uint32_t mp_services;   // how many MP Services counts; 0: absent, or absurd
    uint32_t mp_services_enabled;
    bool dmar_x2apic_opt_out;
    struct fadt fadt;
    struct platform platform;
    uint64_t serial_mmio; // the serial port's registers, if they lie in device memory; else 0

    struct range *ram; // everything that the memory map calls memory, merged, ascending
    size_t ram_count;
    size_t ram_pages;                                  // of the list itself
    struct framebuffer framebuffers[FRAMEBUFFERS_MAX]; // distinct and sane; drawn on after the exit
    size_t framebuffer_count;
    struct own_memory own[OWN_MEMORY_MAX];
    size_t own_count;
    struct image image;
    uint32_t low_page; // physical address of the trampoline's page; 0: none yet
};
