// What the engine has to know of a processor, made of what CPUID says of it. Pure.
#pragma once

#include "processor.h"
#include "smp.h"

// `cr4` of the processor that wakes the others.
struct smp_features cpu_features_of(const struct processor *processor, uint64_t cr4);

// From INIT to the first STARTUP, in microseconds.
uint32_t cpu_features_init_us(const struct processor *processor);
