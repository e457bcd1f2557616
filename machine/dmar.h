// The DMA Remapping Reporting table (Intel VT-d specification, "DMA Remapping Reporting
// Structure").
#pragma once

#include <stdbool.h>

#include "acpi.h"

// Does it ask the system to stay out of x2APIC mode?
bool dmar_opts_out_of_x2apic(const struct acpi_table *table);
