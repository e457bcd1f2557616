// Somebody else's kernel, as far as build/engine/example.c can tell: an EFI application that gives
// it what a kernel has, calls wake_every_processor() and run_on_all(), and says what came of it. It
// is compiled with the engine's two files, and with nothing of this tree's engine. Surprise:
// firmware stays, but nothing of it runs while interrupts are off, and its own processors are gone
// afterwards, so the machine ends here.

#include <efi.h>
#include <efilib.h>

#include "mem.h"
#include "reveille.h"

#define COM1           0x3f8
#define LINE_STATUS    (COM1 + 5)
#define CAN_SEND       (1u << 5)
#define PATIENCE_LOOKS 1000000u // for a byte; at 115200 baud one takes 87 us
#define DEBUG_EXIT     0xf4
#define ALL_CAME       0x10
#define NOT_ALL_CAME   0x11

#define FOUR_GIB    0xffffffffull
#define HALF_A_MIB  0x7ffffull
#define PAGE        4096u
#define RSDP_XSDT   24u
#define ACPI_HEADER 36u
#define ACPI_LENGTH 4u

#define ITEMS   1000000u
#define WAIT_US 1000000u

// What example.c asks for, and what it gives.
void kernel_log(const char *text);
void *kernel_pages(uint64_t bytes, uint64_t *phys);
void *kernel_low_page(uint32_t *phys);
uint64_t kernel_device(uint64_t phys);
const void *kernel_madt(size_t *bytes);
void kernel_interrupts(int on);
struct rv *wake_every_processor(uint32_t *awake);
bool run_on_all(struct rv *rv, uint64_t count, void *context,
                void (*body)(void *context, uint64_t first, uint64_t end,
                             const struct rv_self *self));

EFI_STATUS efi_main(EFI_HANDLE handle, EFI_SYSTEM_TABLE *system);

extern uint8_t image_text_start[], image_text_end[], image_rodata_start[], image_rodata_end[],
    image_data_start[], image_data_end[];

struct rv_region kernel_regions[3];
const size_t kernel_region_count = 3;

static const EFI_SYSTEM_TABLE *firmware;

static void out8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static uint8_t in8(uint16_t port)
{
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static void put(char character)
{
    for (uint32_t looks = 0; looks < PATIENCE_LOOKS && !(in8(LINE_STATUS) & CAN_SEND); looks++)
        ;
    out8(COM1, (uint8_t)character);
}

void kernel_log(const char *text)
{
    while (*text)
        put(*text++);
    put('\r');
    put('\n');
}

static void log_number(const char *text, uint64_t value)
{
    char line[80], digits[20];
    size_t length = 0, count = 0;

    while (text[length])
        line[length] = text[length], length++;
    do {
        digits[count++] = (char)('0' + value % 10);
    } while (value /= 10);
    while (count > 0)
        line[length++] = digits[--count];
    line[length] = '\0';
    kernel_log(line);
}

static void *pages_below(uint64_t limit, uint64_t bytes, uint64_t *phys)
{
    EFI_PHYSICAL_ADDRESS at = limit;

    if (EFI_ERROR(firmware->BootServices->AllocatePages(AllocateMaxAddress, EfiLoaderData,
                                                        (bytes + PAGE - 1) / PAGE, &at)))
        return NULL;
    *phys = at;
    return (void *)(uintptr_t)at;
}

void *kernel_pages(uint64_t bytes, uint64_t *phys)
{
    return pages_below(FOUR_GIB, bytes, phys);
}

void *kernel_low_page(uint32_t *phys)
{
    uint64_t at = 0;
    void *page = pages_below(HALF_A_MIB, PAGE, &at);

    *phys = (uint32_t)at;
    return at == 0 ? NULL : page;
}

uint64_t kernel_device(uint64_t phys)
{
    return phys; // firmware maps everything at its own address
}

static uint64_t number_at(const uint8_t *bytes, size_t count)
{
    uint64_t value = 0;

    memcpy(&value, bytes, count);
    return value;
}

const void *kernel_madt(size_t *bytes)
{
    static const EFI_GUID guid = ACPI_20_TABLE_GUID;
    const uint8_t *xsdt = NULL;

    for (UINTN i = 0; i < firmware->NumberOfTableEntries; i++) {
        const EFI_CONFIGURATION_TABLE *entry = &firmware->ConfigurationTable[i];
        if (memcmp(&entry->VendorGuid, &guid, sizeof guid) == 0)
            xsdt = (const uint8_t *)(uintptr_t)number_at(
                (const uint8_t *)entry->VendorTable + RSDP_XSDT, 8);
    }
    *bytes = 0;
    if (!xsdt)
        return NULL;
    for (uint64_t at = ACPI_HEADER; at + 8 <= number_at(xsdt + ACPI_LENGTH, 4); at += 8) {
        const uint8_t *table = (const uint8_t *)(uintptr_t)number_at(xsdt + at, 8);
        if (memcmp(table, "APIC", 4) != 0)
            continue;
        *bytes = number_at(table + ACPI_LENGTH, 4);
        return table;
    }
    return NULL;
}

void kernel_interrupts(int on)
{
    if (on)
        __asm__ volatile("sti" ::: "memory");
    else
        __asm__ volatile("cli" ::: "memory");
}

static struct rv_region region(const char *name, const uint8_t *start, const uint8_t *end,
                               uint32_t rights)
{
    return (struct rv_region){name, (uintptr_t)start, (uintptr_t)start, (uint64_t)(end - start),
                              rights | RV_NEEDED};
}

static void add_up(void *context, uint64_t first, uint64_t end, const struct rv_self *self)
{
    uint64_t sum = 0;

    (void)self;
    for (uint64_t item = first; item < end; item++)
        sum += item;
    __atomic_fetch_add((uint64_t *)context, sum, __ATOMIC_RELAXED);
}

// ---- a processor that is given away, and taken back ----

static uint64_t given, worked;

// Where one that is given away lives, on a stack of this kernel's.
static void live_here(uint64_t number)
{
    __atomic_store_n(&given, number, __ATOMIC_RELEASE);
    for (;;)
        __asm__ volatile("pause");
}

static void work(void *context, const struct rv_self *self)
{
    (void)self;
    __atomic_fetch_add((uint64_t *)context, 1, __ATOMIC_RELAXED);
}

static bool is_given(const struct rv *rv, uint64_t number)
{
    for (uint32_t look = 0; look < 1000; look++) {
        if (__atomic_load_n(&given, __ATOMIC_ACQUIRE) == number)
            return true;
        rv_wait_us(rv, 1000);
    }
    return false;
}

// CPU 1, from this way of waiting: away, not to be called there, back, and at work again.
static bool give_and_take(struct rv *rv, enum rv_parking parking)
{
    static _Alignas(16) uint8_t stack[4096];
    const uint64_t number = parking + 1u;
    const uint32_t slot = 1;
    const struct rv_handover to = {.entry = (uintptr_t)live_here,
                                   .stack = (uintptr_t)(stack + sizeof stack),
                                   .argument = number};
    struct rv_calls calls;
    struct rv_round round;

    return rv_park(rv, parking, WAIT_US, &calls) == RV_STATUS_OK &&
           rv_hand_over(rv, slot, &to, WAIT_US) == RV_STATUS_OK && is_given(rv, number) &&
           rv_call_of(rv, slot).state == RV_CALL_GONE &&
           rv_call(rv, slot, work, &worked) == RV_STATUS_BUSY &&
           rv_wake_slots(rv, &slot, 1, &round) == RV_STATUS_OK && round.arrived == 1 &&
           rv_call(rv, slot, work, &worked) == RV_STATUS_OK &&
           rv_wait(rv, WAIT_US, &calls) == RV_STATUS_OK && worked == number;
}

static bool give_and_take_each_way(struct rv *rv)
{
    bool good = true;

    kernel_interrupts(0);
    for (uint32_t parking = 0; parking < RV_PARKINGS && good; parking++)
        good = give_and_take(rv, (enum rv_parking)parking);
    kernel_interrupts(1);
    log_number("example: given and taken back ", worked);
    return good;
}

// Called by the start-up code.
EFI_STATUS efi_main(EFI_HANDLE handle, EFI_SYSTEM_TABLE *system)
{
    static uint64_t sum;
    uint32_t awake = 0;

    (void)handle;
    firmware = system;
    kernel_regions[0] = region("code", image_text_start, image_text_end, RV_EXECUTE);
    kernel_regions[1] = region("constants", image_rodata_start, image_rodata_end, RV_READ);
    kernel_regions[2] = region("data", image_data_start, image_data_end, RV_WRITE);
    kernel_log("example: Reveille " RV_VERSION);
    struct rv *rv = wake_every_processor(&awake);
    log_number("example: awake ", awake);
    const bool whole = rv && run_on_all(rv, ITEMS, &sum, add_up);
    log_number("example: sum ", sum);
    const bool back = whole && give_and_take_each_way(rv);
    kernel_interrupts(0);
    out8(DEBUG_EXIT, back ? ALL_CAME : NOT_ALL_CAME);
    for (;;)
        __asm__ volatile("hlt");
}
