// The BSP's processor as CPUID describes it: what later decisions need, read once through the seam.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum vendor { VENDOR_OTHER, VENDOR_INTEL, VENDOR_AMD, VENDOR_HYGON };

// Guests whose memory or registers are hidden from their host, so that what we do to a processor
// kills it: the switch to page tables without the encryption bit (SEV), INIT and what needs a #VC
// handler (SEV-ES, SEV-SNP), or a #VE handler (TDX).
enum guest { GUEST_NONE, GUEST_SEV, GUEST_SEV_ES, GUEST_SEV_SNP, GUEST_TDX };

// What a read of an MSR that no processor has gives: the fault that it is to be, or a value, as
// some hypervisors answer.
enum missing_msr { MISSING_MSR_UNKNOWN, MISSING_MSR_FAULT, MISSING_MSR_VALUE };

struct processor {
    enum vendor vendor;
    uint32_t family;     // display family: extended family added
    char hypervisor[13]; // its signature, "" on bare hardware; printable ASCII
    char brand[49];      // the processor's own name, "" if it has none; as above
    bool x2apic;
    bool no_execute;
    bool gib_pages;
    bool mce;
    bool pat;           // has a page attribute table
    bool mtrr;          // has memory type range registers
    uint32_t phys_bits; // MAXPHYADDR
    uint32_t id_leaf;   // 0xB where it tells the x2APIC ID, else 1
    uint64_t tsc_hz;    // from leaf 0x15 or 0x16, 0 if neither tells
    bool tsc_exact;     // by leaf 0x15: 0x16 has the base clock in whole MHz, and some emulators
                        // make that up
    bool tsc_invariant; // the TSC runs at one rate, whatever the processor's clock does
    enum guest guest;
    enum missing_msr missing_msr; // asked with log=debug only
};

void processor_read(struct processor *processor);

// Why no processor of such a guest can be woken: a short word, "an SEV", and a clause. Not of
// GUEST_NONE.
struct guest_story {
    const char *what, *name, *why;
};
struct guest_story guest_story(enum guest guest);

// The highest extended CPUID leaf; 0: there is none.
uint32_t processor_extended_max(void);

// Tries it on the processor that calls.
enum missing_msr processor_read_missing_msr(void);
const char *missing_msr_word(enum missing_msr missing);

// The revision of the microcode of the processor that calls; 0: it does not say.
uint32_t processor_read_microcode(void);
