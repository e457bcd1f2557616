// MP Services as firmware might have them: absent, deaf, slow, with a processor disabled or lost,
// with a park that no INIT reaches. Surprise: its processors run a procedure one after another on
// the test's own, with a CR2 and an x2APIC ID of their own. Header only; behind fake_firmware.h.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "fake_firmware.h"
#include "fake_hw.h"
#include "mp_services.h"

#define FAKE_MP_MAX  8u
#define FAKE_MP_APIC 0x802u // the MSR of a processor's own ID

struct fake_mp {
    struct mp_services services;
    bool absent, refuses, parks_by_memory, times_out;
    uint32_t count; // processors, number and APIC ID alike; 0 is the BSP
    bool lies;      // tells these counts instead of the truth
    UINTN told_count, told_enabled;
    bool disabled[FAKE_MP_MAX], lost[FAKE_MP_MAX];
    bool nameless[FAKE_MP_MAX]; // counted, and no word about it
    uint64_t cr2[FAKE_MP_MAX];
    uint32_t calls; // of StartupAllAPs
};

// One, since a service's self is not ours.
static struct fake_mp mp;

static inline EFI_STATUS EFIAPI fake_mp_locate(EFI_GUID *guid, VOID *registration, VOID **interface)
{
    (void)registration;
    if (mp.absent || guid->Data1 != 0x3fdda605)
        return EFI_NOT_FOUND;
    *interface = &mp.services;
    return EFI_SUCCESS;
}

static inline EFI_STATUS EFIAPI fake_mp_numbers(struct mp_services *self, UINTN *count,
                                                UINTN *enabled)
{
    (void)self;
    *count = mp.count;
    *enabled = 0;
    for (uint32_t i = 0; i < mp.count; i++)
        *enabled += !mp.disabled[i];
    if (mp.lies) {
        *count = mp.told_count;
        *enabled = mp.told_enabled;
    }
    return EFI_SUCCESS;
}

static inline EFI_STATUS EFIAPI fake_mp_information(struct mp_services *self, UINTN number,
                                                    struct mp_information *information)
{
    (void)self;
    if (number >= mp.count || mp.nameless[number])
        return EFI_NOT_FOUND;
    *information = (struct mp_information){
        .apic_id = number,
        .status = MP_IS_HEALTHY | (number == 0 ? MP_IS_BSP : 0) |
                  (mp.disabled[number] ? 0 : MP_IS_ENABLED),
    };
    return EFI_SUCCESS;
}

static inline EFI_STATUS EFIAPI fake_mp_startup(struct mp_services *self,
                                                void(EFIAPI *procedure)(void *), BOOLEAN one_by_one,
                                                EFI_EVENT event, UINTN timeout_us, void *argument,
                                                UINTN **failed)
{
    (void)self, (void)failed;
    assert_false(one_by_one);
    assert_null(event);
    assert_int_not_equal(timeout_us, 0); // firmware is never asked to wait for ever
    mp.calls++;
    if (mp.refuses)
        return EFI_DEVICE_ERROR;
    for (uint32_t i = 1; i < mp.count; i++) {
        if (mp.disabled[i] || mp.lost[i])
            continue;
        fake_set_cr(FAKE_CR2, mp.parks_by_memory ? mp.cr2[i] : 0);
        fake_set_cell(FAKE_MSR, FAKE_MP_APIC, i);
        procedure(argument);
        mp.cr2[i] = hw_read_cr2();
    }
    fake_set_cell(FAKE_MSR, FAKE_MP_APIC, 0);
    return mp.times_out ? EFI_TIMEOUT : EFI_SUCCESS;
}

// Sound ones, of `count` processors, in the fake firmware that was started before.
static inline void fake_mp_start(uint32_t count)
{
    memset(&mp, 0, sizeof mp);
    mp.count = count;
    mp.services.get_number_of_processors = fake_mp_numbers;
    mp.services.get_processor_info = fake_mp_information;
    mp.services.startup_all_aps = fake_mp_startup;
    fake_firmware.boot.LocateProtocol = fake_mp_locate;
}
