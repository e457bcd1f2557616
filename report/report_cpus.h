// The report of the processors: one record for each, and what a person should know of those who
// failed.
#pragma once

#include "clock.h"
#include "console.h"
#include "evidence.h"
#include "inventory.h"
#include "problem.h"
#include "smp.h"

// One ev=cpu for each processor of the inventory, in its order, and for each that started and is
// not in it; and ev=kinds where cores are of several kinds. NULL evidence: nothing was woken.
void report_cpus(struct console *console, const struct inventory *inventory,
                 const struct evidence *evidence);

// That of one AP, and if it failed what happened and where to look next.
void report_ap(struct console *console, const struct cpu *cpu, const struct smp_account *account,
               const struct hello *hello);

// ev=aswoken for each AP that reached at least protected mode in the last round: what INIT left it,
// and when it reached each stage. Only with log=debug.
void report_aswoken(struct console *console, const struct evidence *evidence,
                    const struct clock *clock);

// Warns of each AP that bears the BSP flag.
void report_flags(const struct evidence *evidence, const struct problems *problems);
