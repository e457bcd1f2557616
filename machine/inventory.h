// The inventory: which processors the MADT lists, each once. Pure; also the host program
// build/host/madt. Firmware without a MADT gets one from us (madt_edit.h), made of what MP Services
// lists, so that there is one way only. Three numbers that are never the same thing: the CPU index
// is ours (0 is the BSP, then MADT order), the APIC ID is the hardware's, the ACPI processor UID is
// the namespace's.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "acpi.h"
#include "problem.h"
#include "status.h"

enum cpu_listing {
    CPU_BSP,
    CPU_LISTED,   // enabled: can be woken
    CPU_DISABLED, // an entry with Enabled = 0
};

// The UID of a BSP that is listed nowhere, and of everybody by MP Services, which has none; as a
// UID in the MADT it would mean "all processors".
#define CPU_UID_UNKNOWN UINT32_MAX

// Whose list it is.
enum inventory_source { INVENTORY_MADT, INVENTORY_MP_SERVICES };

struct cpu {
    uint32_t apic_id;
    uint32_t uid;
    enum cpu_listing listing;
    bool repeated; // a disabled entry whose ID stands before it: no processor of its own
};

// `cpus` is the caller's memory. After inventory_read: [0] is the BSP, [1..enabled-1] the other
// enabled processors in MADT order, [enabled..enabled+disabled-1] the disabled entries in MADT
// order.
struct inventory {
    struct cpu *cpus;
    size_t capacity;
    enum inventory_source source; // for the sentences
    size_t count;                 // enabled + disabled
    uint32_t revision;            // of the MADT
    uint32_t enabled;             // distinct processors that can be woken, BSP included
    uint32_t disabled;            // entries with Enabled = 0, as they stand, repeats included
    uint32_t duplicate;           // enabled entries that repeat an enabled ID
    uint32_t
        impossible; // enabled entries whose ID cannot be addressed: type 0 0xFF, type 9 0xFFFFFFFF
    bool truncated;
    bool checksum_ok;
    bool bsp_listed;     // false: the BSP's ID stands in no enabled entry; it was added as CPU 0
    bool wakeup_mailbox; // a type 0x10 entry: processors are woken by mailbox, not by INIT
};

#define BSP_UNKNOWN UINT32_MAX // take the first enabled processor for the BSP

// An upper bound for the number of cpus that inventory_read needs for this table, BSP included (it
// may be listed nowhere), and of keys. O(length); never hangs on an entry of length 0.
size_t inventory_capacity(const struct acpi_table *madt);

// Reads the MADT (types 0 and 9, in any order and mixed, unknown types passed over by their
// length). inventory->cpus, capacity and source are set by the caller; `keys` are `capacity`
// words of working memory. O(n log n). What is wrong is told; what could be read is kept.
// Returns STATUS_OK; STATUS_TRUNCATED (damaged, with what could be read); STATUS_INVALID (no MADT:
// signature or header length); STATUS_NO_SPACE (capacity too small).
enum status inventory_read(const struct acpi_table *madt, uint32_t bsp_apic_id, uint64_t *keys,
                           const struct problems *problems, struct inventory *inventory);

// "the MADT", "MP Services": for a sentence.
const char *inventory_source_name(enum inventory_source source);
