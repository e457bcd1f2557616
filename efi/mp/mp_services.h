// EFI MP Services, as far as we ask it (PI 1.8, volume 2, "MP Services Protocol"). gnu-efi has a
// header for it from 4.0 on only.
#pragma once

#include <efi.h>
#include <stdbool.h>

#define MP_SERVICES_GUID                                   \
    {                                                      \
        0x3fdda605, 0xa76e, 0x4f46,                        \
        {                                                  \
            0xad, 0x29, 0x12, 0xf4, 0x53, 0x1b, 0x3d, 0x08 \
        }                                                  \
    }

// Of mp_information.status.
#define MP_IS_BSP     (1u << 0)
#define MP_IS_ENABLED (1u << 1)
#define MP_IS_HEALTHY (1u << 2)

// What firmware knows of one processor; later revisions write a longer location behind it.
struct mp_information {
    UINT64 apic_id;
    UINT32 status;
    UINT32 package, core, thread;
    UINT32 extended[8];
};

// The longest that we let StartupAllAPs take: a hundred times what it takes with 255 processors
// under emulation.
#define MP_TIMEOUT_US 10000000u

struct mp_services {
    EFI_STATUS(EFIAPI *get_number_of_processors)
    (struct mp_services *self, UINTN *count, UINTN *enabled);
    EFI_STATUS(EFIAPI *get_processor_info)
    (struct mp_services *self, UINTN number, struct mp_information *information);
    // With no event it returns when all APs have run `procedure`, or after the time-out (us; 0:
    // never).
    EFI_STATUS(EFIAPI *startup_all_aps)
    (struct mp_services *self, void(EFIAPI *procedure)(void *argument), BOOLEAN one_by_one,
     EFI_EVENT event, UINTN timeout_us, void *argument, UINTN **failed);
    // Further members are not used.
};

// NULL: firmware has none.
static inline struct mp_services *mp_services_find(EFI_BOOT_SERVICES *boot)
{
    EFI_GUID guid = MP_SERVICES_GUID;
    struct mp_services *services = NULL;

    return EFI_ERROR(boot->LocateProtocol(&guid, NULL, (void **)&services)) ? NULL : services;
}

// How many processors there are, the BSP and disabled ones included, and how many are enabled: as
// firmware says, and not checked.
struct mp_count {
    UINTN all, enabled;
};

// False where firmware has no MP Services, or where they do not say.
static inline bool mp_services_count(EFI_BOOT_SERVICES *boot, struct mp_count *count)
{
    struct mp_services *services = mp_services_find(boot);

    *count = (struct mp_count){0, 0};
    return services &&
           !EFI_ERROR(services->get_number_of_processors(services, &count->all, &count->enabled));
}
