// Surprise: the flag that asks for xAPIC mode means nothing unless the one beside it, for interrupt
// remapping, is set as well.
#include "dmar.h"

#define FLAGS       37u
#define INTR_REMAP  (1u << 0) // the machine can
#define X2APIC_STAY (1u << 1)

bool dmar_opts_out_of_x2apic(const struct acpi_table *table)
{
    return table->length > FLAGS &&
           (table->bytes[FLAGS] & (INTR_REMAP | X2APIC_STAY)) == (INTR_REMAP | X2APIC_STAY);
}
