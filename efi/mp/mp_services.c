// Finding MP Services, and asking how many they know.

#include "mp_services.h"

struct mp_services *mp_services_find(EFI_BOOT_SERVICES *boot)
{
    EFI_GUID guid = MP_SERVICES_GUID;
    struct mp_services *services = NULL;

    return EFI_ERROR(boot->LocateProtocol(&guid, NULL, (void **)&services)) ? NULL : services;
}

bool mp_services_count(EFI_BOOT_SERVICES *boot, struct mp_count *count)
{
    struct mp_services *services = mp_services_find(boot);

    *count = (struct mp_count){0, 0};
    return services &&
           !EFI_ERROR(services->get_number_of_processors(services, &count->all, &count->enabled));
}
