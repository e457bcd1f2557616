// The BSP's processor as CPUID describes it: what later decisions need, read once through the seam.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum vendor { VENDOR_OTHER, VENDOR_INTEL, VENDOR_AMD, VENDOR_HYGON };

struct processor {
    enum vendor vendor;
    uint32_t family;     // display family: extended family added
    char hypervisor[13]; // its signature, "" on bare hardware
    char brand[49];      // the processor's own name, "" if it has none
    bool x2apic;
    bool no_execute;
    bool gib_pages;
    bool mce;
    bool pat;           // has a page attribute table
    bool mtrr;          // has memory type range registers
    uint32_t phys_bits; // MAXPHYADDR
    uint32_t id_leaf;   // 0xB where it tells the x2APIC ID, else 1
    uint64_t tsc_hz;    // from leaf 0x15 or 0x16, 0 if neither tells
    bool tdx_guest;     // CPUID 0x21: INIT and STARTUP do not reach its processors
    bool snp_guest;     // SEV_STATUS bit 2: neither here
};

void processor_read(struct processor *processor);
