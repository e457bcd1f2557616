#include "dmar.h"

#define FLAGS       37u
#define INTR_REMAP  (1u << 0) // without it the other flag means nothing
#define X2APIC_STAY (1u << 1)

bool dmar_opts_out_of_x2apic(const struct acpi_table *table)
{
    return table->length > FLAGS &&
           (table->bytes[FLAGS] & (INTR_REMAP | X2APIC_STAY)) == (INTR_REMAP | X2APIC_STAY);
}
