// Hello: what each AP does in its turn, on its own stack: it notes where it sits and what kind of
// core it is, then says its line. Only CPUID on that very processor knows.
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "console.h"
#include "inject.h"
#include "processor.h"
#include "smp.h"
#include "topology.h"

// What a processor says of itself. Each writes its own; to be all 0 before.
struct hello {
    struct topology place;
    uint32_t microcode; // its revision; 0: not asked (log=debug does), or not told
    enum missing_msr missing_msr;
    _Atomic bool known; // the place was read; written behind it
};

// The context of hello_say. APs read it, and write what `of_slot` points to.
struct hellos {
    struct console *console;
    struct hello *of_slot;           // one for each processor, the BSP included
    const struct injector *injector; // may make an AP mute
};

// For smp_host.run; `context` is a struct hellos. False: it is mute.
bool hello_say(void *context, const struct smp_self *self);

// The place alone, of the processor that calls.
void hello_locate(uint32_t apic_id, struct hello *hello);
