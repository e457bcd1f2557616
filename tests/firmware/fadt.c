// `fadt=no-button`: the FADT names neither a fixed power button nor an 8042, as one machine in ten
// has it. `fadt=extended`: PM1a's events stand in their X_ field only. Surprise: the tables are
// firmware's own, in memory that it has not write-protected, so they are changed where they lie.
// (ACPI 6.5, table 5.9.)

#include "preload.h"

#include "mem.h"

#define LENGTH      4u
#define CHECKSUM    9u
#define PM1A_EVENT  56u
#define BOOT_ARCH   109u
#define FLAGS       112u
#define X_PM1A_PORT 152u

#define BOOT_ARCH_8042  0x02u // in its first byte
#define NO_FIXED_BUTTON 0x10u // the same

static uint64_t load(const uint8_t *bytes, uint32_t count)
{
    uint64_t value = 0;

    memcpy(&value, bytes, count);
    return value;
}

static EFI_STATUS start(const struct preload *preload, const char *value)
{
    uint8_t *fadt = preload_table(preload, "FACP");
    uint8_t sum = 0;

    if (!fadt)
        return EFI_NOT_FOUND;
    if (preload_is(value, "no-button")) {
        fadt[FLAGS] |= NO_FIXED_BUTTON;
        fadt[BOOT_ARCH] &= (uint8_t)~BOOT_ARCH_8042;
    } else if (preload_is(value, "extended")) {
        if (load(fadt + LENGTH, 4) < X_PM1A_PORT + 8 || load(fadt + X_PM1A_PORT, 8) == 0)
            return EFI_UNSUPPORTED;
        memset(fadt + PM1A_EVENT, 0, 4);
    } else {
        return EFI_INVALID_PARAMETER;
    }
    fadt[CHECKSUM] = 0;
    for (uint64_t i = 0; i < load(fadt + LENGTH, 4); i++)
        sum = (uint8_t)(sum + fadt[i]);
    fadt[CHECKSUM] = (uint8_t)-sum;
    preload_say(preload, L"preload: the FADT is another one\r\n");
    return EFI_SUCCESS;
}

const struct behaviour behaviour_fadt = {"fadt", start};
