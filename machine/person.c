// Surprise: keyboard and mouse send through the same register, and a key sends something when it is
// released, too. Only a key that goes down is a wish.

#include "person.h"

#include "hw.h"
#include "watch.h"

// The 8042 and its scan codes, as the IBM PC/AT Technical Reference has them.
#define KEYBOARD_DATA   0x60u
#define KEYBOARD_STATUS 0x64u
#define STATUS_FULL     0x01u // the controller has a byte for us
#define STATUS_MOUSE    0x20u // and it is the mouse's
#define STATUS_FLOATING 0xffu
#define SCAN_CODE_UP    0x80u // a key was released; also every answer to a command
#define BYTES_WAITING   32u   // more than any controller keeps

// ACPI 6.5, "PM1 Status Registers": written as 1, the bit is cleared.
#define POWER_BUTTON (1u << 8)

static bool take_byte(uint8_t *status, uint8_t *byte)
{
    *status = hw_in8(KEYBOARD_STATUS);
    if (*status == STATUS_FLOATING || (*status & STATUS_FULL) == 0)
        return false;
    *byte = hw_in8(KEYBOARD_DATA);
    return true;
}

bool person_has_keys(const struct fadt *fadt)
{
    return fadt->has_8042 && hw_in8(KEYBOARD_STATUS) != STATUS_FLOATING;
}

void person_listen(const struct fadt *fadt)
{
    uint8_t status, byte;

    for (uint32_t i = 0; fadt->has_8042 && i < BYTES_WAITING && take_byte(&status, &byte); i++)
        ;
    if (fadt->power_status == 0)
        return;
    hw_out16(fadt->power_status, POWER_BUTTON);
    hw_out16(fadt->power_enable, (uint16_t)(hw_in16(fadt->power_enable) | POWER_BUTTON));
}

enum wish person_asks(const struct fadt *fadt)
{
    uint8_t status, byte;

    if (fadt->has_8042 && take_byte(&status, &byte) && (status & STATUS_MOUSE) == 0 && byte != 0 &&
        (byte & SCAN_CODE_UP) == 0)
        return WISH_KEY;
    if (fadt->power_status != 0 && (hw_in16(fadt->power_status) & POWER_BUTTON) != 0)
        return WISH_POWER;
    return WISH_NOTHING;
}

void person_count_down(const struct clock *clock, uint32_t seconds,
                       void (*tell)(void *context, uint32_t left), void *context)
{
    for (uint32_t left = seconds; left > 0; left--) {
        struct watch watch = watch_delay(hw_tsc(), clock_ticks(clock, 1000000));
        tell(context, left);
        while (!watch_is_over(&watch, hw_tsc()))
            hw_pause();
    }
}
