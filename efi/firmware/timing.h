// What firmware knows of time.
#pragma once

#include "firmware.h"
#include "machine.h"
#include "problem.h"
#include "status.h"

#define TSC_HZ_MAX 10000000000u // no x86-64 processor's TSC is faster

// The TSC's rate, measured against Stall(), into machine->clock and clock_check. STATUS_UNSUPPORTED
// after telling: there is no clock to wait by.
enum status time_calibrate(const struct firmware *firmware, uint16_t pm_timer_port,
                           const struct problems *problems, struct machine *machine);

// Date and time as one number that grows; 0 where firmware has no clock.
uint64_t time_of_day(const struct firmware *firmware);
