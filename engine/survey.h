// What has to be known before a struct smp_setup can be filled in, for a kernel, which has no
// firmware to ask: which processors there are, what they can do, and how fast the TSC runs.
// Surprise: nothing is sent and nothing switched on here. One thing is borrowed, the PIT's channel
// 2, which drives the loudspeaker and no kernel's tick.
//
//     struct engine_processor processor;
//     if (engine_describe_processor(&problems, &processor) != STATUS_OK)
//         return;                                          // problems has said why
//     uint64_t apic = kernel_map_device(processor.apic_phys);
//
//     struct engine_madt madt = {
//         .table = acpi_madt, .bytes = acpi_madt_bytes,    // as the table's header says
//         .own_apic_id = engine_own_apic_id(apic), .apic_mode = processor.apic_mode,
//         .problems = problems,
//     };
//     madt.room_bytes = engine_room_bytes(&madt);
//     madt.room = kernel_allocate(madt.room_bytes);
//     struct engine_list list;
//     engine_read_madt(&madt, &list);                      // list.cpus, list.count
//
//     uint64_t tsc_hz;
//     engine_measure_tsc(&problems, &tsc_hz);
//
// Who may call: the processor that is to wake the others, in 64-bit mode at privilege level 0,
// before smp_open, with a GDT and an IDT of the host's own that are mapped: a register that may not
// exist is read on a copy of that IDT, be it an empty one. Each call returns within a bounded time.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "problem.h"
#include "smp.h"
#include "status.h"

// ---- this processor ----

struct engine_processor {
    struct smp_features features;
    enum smp_apic_mode apic_mode; // that this processor's APIC is in now
    bool has_x2apic;    // SMP_X2APIC may be asked for: needed for APIC IDs above 254. It changes
                        // the mode of the caller's APIC for good
    uint64_t apic_phys; // of the xAPIC's registers
    uint32_t init_us;   // for smp_plan.init_us: what this family needs between INIT and STARTUP.
                        // For init_retry_us SMP_INIT_MANUAL_US is right with any
};

// By CPUID, CR4 and IA32_APIC_BASE. STATUS_UNSUPPORTED, told: a guest whose processors no INIT
// reaches (SEV, TDX), or a processor that is not flagged as the BSP: an INIT to the one that is
// restarts the machine. (SDM vol. 3A, "MP Initialization Protocol Algorithm".)
enum status engine_describe_processor(const struct problems *problems,
                                      struct engine_processor *processor);

// The caller's APIC ID, by its own APIC in the mode that it is in: CPUID has another on some.
// `apic_view` is where the caller sees the xAPIC's registers; not looked at in x2APIC mode.
uint32_t engine_own_apic_id(uint64_t apic_view);

// ---- which processors there are ----

struct engine_madt {
    const void *table; // the MADT, from its signature on; as hostile as it may be
    size_t bytes;      // that may be read there: what its header claims is not believed
    uint32_t own_apic_id;
    enum smp_apic_mode apic_mode; // that the setup will have: who cannot be named in it is left out
    void *room;                   // aligned to 8 bytes; holds the list in the end
    size_t room_bytes;            // at least engine_room_bytes of this very MADT
    struct problems problems;
};

struct engine_list {
    struct smp_cpu *cpus; // in the room, for smp_setup.cpus: [0] is the caller, then in the MADT's
                          // order, each APIC ID once, `cpu` counted from 0
    size_t count;
    uint32_t disabled;    // entries that are not enabled: empty sockets, or switched off in setup
    uint32_t duplicate;   // enabled entries that repeat an APIC ID
    uint32_t impossible;  // enabled entries with the broadcast ID
    uint32_t unreachable; // processors that this mode cannot name; not in the list
    bool own_listed;      // false: no enabled entry has own_apic_id. It is cpus[0] all the same
    bool wakeup_mailbox;  // an entry of type 0x10: firmware expects no INIT
};

// How much room the list of this MADT takes; `room` and `room_bytes` are not looked at.
size_t engine_room_bytes(const struct engine_madt *madt);

// The enabled processors of types 0 and 9, in any order and mixed. What is wrong is told, and what
// could be read is kept. STATUS_OK; STATUS_TRUNCATED (damaged, with what could be read);
// STATUS_INVALID (no MADT: an empty list); STATUS_NO_SPACE (too little room: an empty list).
// (ACPI 6.5, "Multiple APIC Description Table (MADT)".)
enum status engine_read_madt(const struct engine_madt *madt, struct engine_list *list);

// ---- the clock ----

// The TSC's rate, for smp_setup.tsc_hz: as CPUID leaf 0x15 tells it, else measured against the
// PIT's channel 2 (30 ms, by polling: with interrupts off it is more exact), else the base clock of
// leaf 0x16. STATUS_UNSUPPORTED, told: there is no clock to wait by, or none that moves.
enum status engine_measure_tsc(const struct problems *problems, uint64_t *tsc_hz);
