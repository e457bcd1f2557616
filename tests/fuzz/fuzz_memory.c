// Fuzzer: the memory map as firmware may tell it, with descriptors that wrap, overlap, and have any
// length, sizes that lie, and pages below 1 MiB that are none; and what names the machine, from
// tables in such a map. Surprise: memory below 1 MiB is mapped here, and a page that is ROM forgets
// what was written to it when it is flushed.
#include "memory.h"

#include <sys/mman.h>

#include "acpi.h"
#include "fake_hw.h"
#include "fuzz.h"
#include "gather.h"
#include "lapic.h"
#include "map.h"
#include "page.h"
#include "timing.h"

#define MIB           0x100000ull
#define LOW_FIRST     0x10000u // below it the host maps nothing for anybody
#define LOW_LIMIT     0xa0000u
#define LISTED_MAX    24u
#define BLOCKS_MAX    8u
#define LOW_MAX       20u
#define POINTS        6u
#define NOT_SAID      UINT64_MAX
#define OWN_PIECES    2u
#define SPARE_ENTRIES 4u

static struct {
    EFI_MEMORY_DESCRIPTOR list[LISTED_MAX];
    size_t count;
    UINTN step, told_step, told_bytes; // NOT_SAID: the truth
    EFI_STATUS status;
    size_t refuse_from, asked; // allocations above 1 MiB
    struct {
        void *memory;
        UINTN pages;
    } blocks[BLOCKS_MAX];
    uint64_t low[LOW_MAX]; // what is given below 1 MiB, one after another
    size_t low_count, low_next;
    bool grants_places; // a page that is asked for by its address
    uint64_t given[LOW_MAX * 16];
    size_t given_count;
    uint8_t rom; // pages, by the low bits of their number
} firm;

static bool low_is_mapped;

// ---- firmware ----

static EFI_STATUS EFIAPI get_map(UINTN *bytes, EFI_MEMORY_DESCRIPTOR *map, UINTN *key, UINTN *step,
                                 UINT32 *version)
{
    const UINTN room = *bytes, needed = firm.count * firm.step;

    *bytes = firm.told_bytes != NOT_SAID ? firm.told_bytes : needed;
    *step = firm.told_step != NOT_SAID ? firm.told_step : firm.step;
    *key = *version = 1;
    if (EFI_ERROR(firm.status))
        return firm.status;
    if (room < needed)
        return EFI_BUFFER_TOO_SMALL;
    for (size_t i = 0; i < firm.count; i++)
        memcpy((uint8_t *)map + i * firm.step, &firm.list[i], sizeof firm.list[i]);
    return EFI_SUCCESS;
}

static EFI_STATUS allocate_high(UINTN pages, EFI_PHYSICAL_ADDRESS *address)
{
    if (++firm.asked >= firm.refuse_from || pages == 0 || pages > 0x1000)
        return EFI_OUT_OF_RESOURCES;
    for (size_t i = 0; i < BLOCKS_MAX; i++) {
        if (firm.blocks[i].memory)
            continue;
        firm.blocks[i].memory = malloc(pages * PAGE_BYTES);
        MUST(firm.blocks[i].memory != NULL);
        memset(firm.blocks[i].memory, 0xa5, pages * PAGE_BYTES);
        firm.blocks[i].pages = pages;
        *address = (uintptr_t)firm.blocks[i].memory;
        return EFI_SUCCESS;
    }
    MUST(!"more memory than anybody needs");
    return EFI_OUT_OF_RESOURCES;
}

static EFI_STATUS give_low(uint64_t page)
{
    for (size_t i = 0; i < firm.given_count; i++) {
        if (firm.given[i] == page)
            return EFI_NOT_FOUND;
    }
    MUST(firm.given_count < sizeof firm.given / sizeof firm.given[0]);
    firm.given[firm.given_count++] = page;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI allocate(EFI_ALLOCATE_TYPE how, EFI_MEMORY_TYPE type, UINTN pages,
                                  EFI_PHYSICAL_ADDRESS *address)
{
    (void)type;
    if (how == AllocateMaxAddress && *address >= MIB)
        return allocate_high(pages, address);
    MUST(pages == 1);
    if (how == AllocateAddress) {
        MUST(*address % PAGE_BYTES == 0 && *address < LOW_LIMIT);
        return firm.grants_places && *address >= LOW_FIRST ? give_low(*address) : EFI_NOT_FOUND;
    }
    MUST(*address == LOW_LIMIT - 1);
    if (firm.low_next == firm.low_count)
        return EFI_OUT_OF_RESOURCES;
    *address = firm.low[firm.low_next++];
    return give_low(*address);
}

static EFI_STATUS EFIAPI release(EFI_PHYSICAL_ADDRESS address, UINTN pages)
{
    for (size_t i = 0; i < firm.given_count; i++) {
        if (firm.given[i] != address || pages != 1)
            continue;
        firm.given[i] = firm.given[--firm.given_count];
        return EFI_SUCCESS;
    }
    for (size_t i = 0; i < BLOCKS_MAX; i++) {
        if ((uintptr_t)firm.blocks[i].memory != address)
            continue;
        MUST(firm.blocks[i].pages == pages);
        free(firm.blocks[i].memory);
        firm.blocks[i].memory = NULL;
        return EFI_SUCCESS;
    }
    MUST(!"freed what was not allocated");
    return EFI_NOT_FOUND;
}

static size_t blocks(void)
{
    size_t count = 0;

    for (size_t i = 0; i < BLOCKS_MAX; i++)
        count += firm.blocks[i].memory != NULL;
    return count;
}

static bool is_rom(uint64_t page)
{
    return firm.rom >> page / PAGE_BYTES % 8 & 1;
}

static void forget(const void *memory, uint64_t bytes)
{
    if (is_rom((uintptr_t)memory))
        memset((void *)(uintptr_t)memory, 0x90, bytes);
}

// ---- the map ----

static uint64_t take_address(struct input *input)
{
    switch (input_choice(input, 6)) {
    case 0:
    case 1:
        return input_u8(input) * (uint64_t)PAGE_BYTES; // the first MiB
    case 2:
        return MIB + input_u16(input) * (uint64_t)PAGE_BYTES;
    case 3:
        return (4096 + input_u8(input) - 128) * MIB;
    case 4:
        return input_u32(input);
    default:
        return input_u64(input);
    }
}

static void make_map(struct input *input)
{
    static const UINTN steps[] = {40, 48, 56, 64};
    const uint8_t kind = input_u8(input);

    memset(&firm, 0, sizeof firm);
    firm.step = steps[kind % 4];
    firm.told_step = kind >= 0xf0 ? input_u8(input) : kind == 0xef ? input_u64(input) : NOT_SAID;
    firm.told_bytes = kind == 0xee ? input_u64(input) : kind == 0xed ? input_u16(input) : NOT_SAID;
    firm.status = kind == 0xec ? EFI_DEVICE_ERROR : EFI_SUCCESS;
    firm.refuse_from = kind == 0xeb ? input_u8(input) : SIZE_MAX;
    firm.count = input_choice(input, LISTED_MAX + 1);
    for (size_t i = 0; i < firm.count; i++) {
        EFI_MEMORY_DESCRIPTOR *one = &firm.list[i];
        const uint8_t type = input_u8(input);
        one->Type = type < 0xf0 ? type % (EfiMaxMemoryType + 1) : input_u32(input);
        one->PhysicalStart = take_address(input);
        one->NumberOfPages = type & 0x80 && type & 1 ? input_u64(input) : input_u8(input);
    }
}

// The descriptor at an index of the map that was read; NULL behind the last.
static const EFI_MEMORY_DESCRIPTOR *descriptor_at(const struct firmware *firmware, size_t index)
{
    const UINTN step = firmware->descriptor_bytes;

    return index < firmware->map_bytes / step
               ? (const EFI_MEMORY_DESCRIPTOR *)(const void *)(firmware->map + index * step)
               : NULL;
}

static bool is_whole(const EFI_MEMORY_DESCRIPTOR *one)
{
    uint64_t bytes, end;

    return one->PhysicalStart % PAGE_BYTES == 0 &&
           !__builtin_mul_overflow(one->NumberOfPages, PAGE_BYTES, &bytes) &&
           !__builtin_add_overflow(one->PhysicalStart, bytes, &end) && bytes > 0;
}

// UEFI 2.10, "GetMemoryMap()": what is RAM.
static bool is_ram(const EFI_MEMORY_DESCRIPTOR *one)
{
    return (one->Type >= EfiLoaderCode && one->Type <= EfiConventionalMemory) ||
           one->Type == EfiACPIReclaimMemory || one->Type == EfiACPIMemoryNVS;
}

static bool is_readable(const EFI_MEMORY_DESCRIPTOR *one)
{
    return (is_ram(one) && one->Type != EfiConventionalMemory) ||
           one->Type == EfiReservedMemoryType;
}

static bool covers(const EFI_MEMORY_DESCRIPTOR *one, uint64_t address)
{
    return is_whole(one) && address >= one->PhysicalStart &&
           (address - one->PhysicalStart) / PAGE_BYTES < one->NumberOfPages;
}

static bool any_covers(const struct firmware *firmware, uint64_t address,
                       bool (*wanted)(const EFI_MEMORY_DESCRIPTOR *one))
{
    const EFI_MEMORY_DESCRIPTOR *one;

    for (size_t i = 0; (one = descriptor_at(firmware, i)) != NULL; i++) {
        if (wanted(one) && covers(one, address))
            return true;
    }
    return false;
}

static bool is_in_ranges(const struct machine *machine, uint64_t address)
{
    for (size_t i = 0; i < machine->ram_count; i++) {
        if (address >= machine->ram[i].phys &&
            address - machine->ram[i].phys < machine->ram[i].bytes)
            return true;
    }
    return false;
}

// Ascending, apart, and each beginning and ending where a descriptor does.
static void check_ranges(const struct firmware *firmware, const struct machine *machine)
{
    const EFI_MEMORY_DESCRIPTOR *one;

    for (size_t i = 0; i < machine->ram_count; i++) {
        const struct range range = machine->ram[i];
        MUST(range.bytes > 0 && range.phys % PAGE_BYTES == 0 && range.bytes % PAGE_BYTES == 0);
        MUST(range.phys <= UINT64_MAX - range.bytes);
        MUST(i == 0 || range.phys > machine->ram[i - 1].phys + machine->ram[i - 1].bytes);
        MUST(any_covers(firmware, range.phys, is_ram));
        MUST(any_covers(firmware, range.phys + range.bytes - 1, is_ram));
    }
    for (size_t i = 0; (one = descriptor_at(firmware, i)) != NULL; i++) {
        if (!is_ram(one) || !is_whole(one))
            continue;
        MUST(is_in_ranges(machine, one->PhysicalStart));
        MUST(is_in_ranges(machine, one->PhysicalStart + one->NumberOfPages * PAGE_BYTES - 1));
    }
}

// Beside RAM: what gather.c has proved to be a register, a port, a frame buffer.
static void add_devices(struct input *input, struct machine *machine)
{
    const uint8_t what = input_u8(input);

    machine->fadt.can_reset = what & 1;
    machine->fadt.reset_space = what & 2 ? GAS_MEMORY : GAS_IO;
    machine->fadt.reset_address = 1 + (input_u64(input) >> 12);
    machine->serial_mmio = what & 4 ? input_u32(input) : 0;
    machine->processor.pat = what & 8;
    machine->framebuffer_count = what >> 4 & 1;
    machine->framebuffers[0] = (struct framebuffer){.phys = MIB + input_u32(input),
                                                    .pitch_pixels = 1u + input_u8(input),
                                                    .height = 1u + input_u8(input),
                                                    .pixel_bytes = 4};
    machine->image.text = (struct range){0x200000, input_u8(input) * PAGE_BYTES};
}

static void check_regions(struct machine *machine, struct input *input)
{
    add_devices(input, machine);
    const struct own_memory own[OWN_PIECES] = {
        own_memory_of("stack", (void *)(uintptr_t)input_u32(input), input_u16(input)),
        own_memory_of("none", NULL, 1)};
    const size_t most = map_regions_most(machine, OWN_PIECES);
    struct smp_region *regions = malloc(most * sizeof *regions);
    size_t devices = 0;

    MUST(regions != NULL);
    const size_t count = map_regions(machine, own, OWN_PIECES, regions);
    MUST(count <= most);
    for (size_t i = 0; i < count; i++) {
        MUST(regions[i].bytes > 0 && regions[i].bytes % PAGE_BYTES == 0);
        MUST(regions[i].phys % PAGE_BYTES == 0 && regions[i].virt == regions[i].phys);
        MUST((regions[i].rights & (SMP_WRITE | SMP_EXECUTE)) != (SMP_WRITE | SMP_EXECUTE));
        devices += (regions[i].rights & (SMP_UNCACHED | SMP_COMBINING)) != 0;
    }
    MUST(devices == machine->framebuffer_count + (machine->serial_mmio != 0) +
                        (machine->fadt.can_reset && machine->fadt.reset_space == GAS_MEMORY));
    free(regions);
}

// All bytes of a piece are readable if its first one is, and each at which a descriptor ends.
static void check_view(const struct firmware *firmware, uint64_t address, uint64_t bytes)
{
    const bool fits = address != 0 && bytes <= UINT64_MAX - address;
    const bool bios = fits && address >= 0xe0000 && address + bytes <= MIB;
    bool readable = bytes == 0 || any_covers(firmware, address, is_readable);
    const EFI_MEMORY_DESCRIPTOR *one;

    for (size_t i = 0; fits && (one = descriptor_at(firmware, i)) != NULL; i++) {
        const uint64_t end =
            is_whole(one) ? one->PhysicalStart + one->NumberOfPages * PAGE_BYTES : address;
        if (end > address && end - address < bytes)
            readable &= any_covers(firmware, end, is_readable);
    }
    MUST((memory_view(firmware, address, bytes) != NULL) == (bios || (fits && readable)));
}

static void check_count(const struct firmware *firmware)
{
    const EFI_MEMORY_DESCRIPTOR *one;
    uint64_t pages = 0;

    for (size_t i = 0; (one = descriptor_at(firmware, i)) != NULL; i++) {
        const uint64_t first = one->PhysicalStart / PAGE_BYTES;
        if (one->Type == EfiConventionalMemory && is_whole(one) && first < MIB / PAGE_BYTES)
            pages += first + one->NumberOfPages < MIB / PAGE_BYTES ? one->NumberOfPages
                                                                   : MIB / PAGE_BYTES - first;
    }
    MUST(memory_count_free(firmware, MIB) == pages);
}

static void check_map(struct input *input, struct firmware *firmware)
{
    struct machine machine = {.ram = NULL};

    const enum status status = memory_collect_ram(firmware, &machine);
    MUST(status == STATUS_OK || status == STATUS_INVALID || status == STATUS_NO_SPACE);
    MUST(firmware->map_bytes <= firmware->map_capacity);
    MUST(firmware->descriptor_bytes >= sizeof(EFI_MEMORY_DESCRIPTOR));
    MUST(blocks() == (firmware->map != NULL) + (machine.ram != NULL));
    if (status == STATUS_OK) {
        check_ranges(firmware, &machine);
        check_regions(&machine, input);
    }
    for (size_t i = 0; i < POINTS; i++) {
        const uint64_t address = take_address(input);
        MUST(status != STATUS_OK ||
             memory_is_ram(firmware, address) == is_in_ranges(&machine, address));
        check_view(firmware, address, i % 2 ? input_u16(input) : input_u64(input));
    }
    check_count(firmware);
    memory_free(firmware, machine.ram, machine.ram_pages);
}

// ---- pages below 1 MiB ----

static void take_low_page(struct input *input, struct firmware *firmware)
{
    struct told told = {0};
    const struct problems problems = {told_add, &told};
    uint32_t page = 0, later = 0;

    if (!low_is_mapped)
        return;
    firm.rom = input_u8(input);
    firm.grants_places = input_u8(input) % 2;
    firm.low_count = input_choice(input, LOW_MAX + 1);
    for (size_t i = 0; i < firm.low_count; i++) {
        const uint8_t number = input_u8(input);
        firm.low[i] = number < LOW_FIRST / PAGE_BYTES ? 0 : number * PAGE_BYTES;
    }
    firmware->cr3 = input_u8(input) * PAGE_BYTES;
    firmware->tables.gdt.base = input_u8(input) * PAGE_BYTES;
    const enum status status = memory_take_low_page(firmware, &problems, &page, &later);
    MUST((status == STATUS_OK) == (told.errors == 0) && told.warnings == 0);
    MUST((status == STATUS_OK) == (page != 0 || later != 0) && (page == 0 || later == 0));
    MUST(page % PAGE_BYTES == 0 && page < LOW_LIMIT);
    MUST(later % PAGE_BYTES == 0 && later < LOW_LIMIT);
    MUST(firm.given_count == (page != 0) && (page == 0 || firm.given[0] == page));
    MUST(page == 0 || !is_rom(page));
    MUST(later == 0 || (later != firmware->cr3 && later != firmware->tables.gdt.base));
    MUST(later == 0 || any_covers(firmware, later, is_readable)); // of boot services
    if (page != 0)
        release(page, 1);
}

// ---- all that firmware tells ----

// Where the image lies, as its linker script says; of the host's program nobody asks.
const uint8_t image_start[1], image_text_start[1], image_rodata_start[1], image_data_start[1];
#define SAME_AS(name) __attribute__((alias(name)))
extern const uint8_t image_text_end[1] SAME_AS("image_text_start");
extern const uint8_t image_code_end[1] SAME_AS("image_text_start");
extern const uint8_t image_rodata_end[1] SAME_AS("image_rodata_start");
extern const uint8_t image_constants_end[1] SAME_AS("image_rodata_start");
extern const uint8_t image_data_end[1] SAME_AS("image_data_start");
extern const uint8_t image_end[1] SAME_AS("image_start");

// One page of tables, which is all the memory of this machine that can be read.
enum {
    RSDP = 0,
    SMBIOS3 = 64,
    SMBIOS2 = 128,
    XSDT = 192,
    MADT = 256,
    FADT = 384,
    DMAR = 704,
    NAMES = 768,
    NAMES_BYTES = 1024,
};
static _Alignas(PAGE_BYTES) uint8_t tables[PAGE_BYTES];

static struct {
    uint8_t secure, setup; // 0xff: there is none
    uint8_t fw_cfg;        // bytes of "QEMU" that its port gives
    size_t fw_cfg_read;
    uint64_t stall_ticks;
    bool has_time;
    EFI_TIME time;
} world;

static EFI_STATUS EFIAPI get_variable(CHAR16 *name, EFI_GUID *guid, UINT32 *attributes,
                                      UINTN *bytes, void *data)
{
    const uint8_t value = name[1] == L'e' && name[2] == L'c' ? world.secure : world.setup;

    (void)guid, (void)attributes;
    if (value == 0xff)
        return EFI_NOT_FOUND;
    *bytes = 1;
    *(uint8_t *)data = value;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI locate(EFI_GUID *guid, VOID *registration, VOID **interface)
{
    (void)guid, (void)registration, (void)interface;
    return EFI_NOT_FOUND; // fuzz_lists.c has MP Services
}

static EFI_STATUS EFIAPI stall(UINTN us)
{
    (void)us;
    fake_advance(world.stall_ticks);
    return EFI_SUCCESS;
}

static uint64_t read_fw_cfg(void *context, uint64_t port)
{
    (void)context, (void)port;
    return world.fw_cfg_read < world.fw_cfg ? (uint8_t) "QEMU"[world.fw_cfg_read++ % 4] : 0xff;
}

static void ignore_write(void *context, uint64_t port, uint64_t value)
{
    (void)context, (void)port, (void)value;
}

static EFI_STATUS EFIAPI get_time(EFI_TIME *time, EFI_TIME_CAPABILITIES *capabilities)
{
    (void)capabilities;
    *time = world.time;
    return world.has_time ? EFI_SUCCESS : EFI_DEVICE_ERROR;
}

static EFI_CONFIGURATION_TABLE configuration[SPARE_ENTRIES];
static CHAR16 vendor[80];
static EFI_RUNTIME_SERVICES runtime = {.GetVariable = get_variable, .GetTime = get_time};
static EFI_SYSTEM_TABLE system_table = {.RuntimeServices = &runtime,
                                        .ConfigurationTable = configuration};

static void make_configuration(struct input *input)
{
    static const struct {
        EFI_GUID guid;
        size_t at;
    } known[] = {{ACPI_20_TABLE_GUID, RSDP},
                 {SMBIOS3_TABLE_GUID, SMBIOS3},
                 {SMBIOS_TABLE_GUID, SMBIOS2},
                 {ACPI_TABLE_GUID, RSDP},
                 {MPS_TABLE_GUID, 0}};

    system_table.NumberOfTableEntries = input_choice(input, SPARE_ENTRIES + 1);
    for (size_t i = 0; i < system_table.NumberOfTableEntries; i++) {
        const uint8_t odd = input_u8(input);
        const size_t which = (i + odd) % (sizeof known / sizeof known[0]);
        configuration[i].VendorGuid = known[which].guid;
        configuration[i].VendorTable = tables + (odd & 0x80 ? SMBIOS3 : known[which].at);
    }
    for (size_t i = 0, length = input_u8(input) % 80; i < 80; i++)
        vendor[i] = i < length ? input_u16(input) : 0;
    system_table.FirmwareVendor = input_u8(input) % 8 == 7 ? NULL : vendor;
    vendor[79] = 0;
}

// Two entry points of SMBIOS, whose checksums are right, and structures behind them.
static void make_names(struct input *input)
{
    input_take(input, tables + NAMES, input_u16(input) % NAMES_BYTES);
    for (size_t i = 0; i < 2; i++) {
        uint8_t *entry = tables + (i == 0 ? SMBIOS3 : SMBIOS2);
        const uint64_t at =
            (uintptr_t)tables + (input_u8(input) % 8 == 7 ? input_u16(input) : NAMES);
        const uint16_t length = input_u16(input) % (2 * NAMES_BYTES);
        memcpy(entry, i == 0 ? "_SM3_" : "_SM_", i == 0 ? 5 : 4);
        memcpy(entry + (i == 0 ? 12 : 22), &length, 2);
        memcpy(entry + (i == 0 ? 16 : 24), &at, i == 0 ? 8 : 4);
        entry[4 + (i == 0)] = (uint8_t)-acpi_sum(entry, i == 0 ? 24 : 31);
    }
}

static void make_table(struct input *input, size_t at, const char *name, uint32_t length)
{
    static const char vendors[][7] = {"REVEIL", "BOCHS "};
    uint8_t *bytes = tables + at;

    input_take(input, bytes + ACPI_HEADER_BYTES, length - ACPI_HEADER_BYTES);
    memcpy(bytes, name, 4);
    memcpy(bytes + ACPI_HEADER_LENGTH, &length, sizeof length);
    bytes[ACPI_HEADER_REVISION] = 6;
    memcpy(bytes + ACPI_HEADER_VENDOR, vendors[input_choice(input, 2)], 6);
    bytes[ACPI_HEADER_CHECKSUM] = (uint8_t)-acpi_sum(bytes, length);
}

static void make_acpi(struct input *input)
{
    const size_t listed[] = {MADT, FADT, DMAR};
    const uint64_t xsdt = (uintptr_t)tables + XSDT;

    make_table(input, MADT, "APIC", 44 + 8 * (uint32_t)input_choice(input, 5));
    make_table(input, FADT, "FACP", 276);
    make_table(input, DMAR, "DMAR", 48);
    make_table(input, XSDT, "XSDT", ACPI_HEADER_BYTES + 8 * 3);
    for (size_t i = 0; i < 3; i++) {
        const uint64_t at = (uintptr_t)tables + listed[i];
        memcpy(tables + XSDT + ACPI_HEADER_BYTES + 8 * i, &at, sizeof at);
    }
    memcpy(tables + RSDP, "RSD PTR ", 8);
    tables[RSDP + 15] = 2;
    tables[RSDP + 20] = 36;
    memcpy(tables + RSDP + 24, &xsdt, sizeof xsdt);
    tables[RSDP + 8] = (uint8_t)-acpi_sum(tables + RSDP, 20);
    tables[RSDP + 32] = (uint8_t)-acpi_sum(tables + RSDP, 36);
}

static void make_processor(struct input *input)
{
    const bool intel = input_u8(input) % 4 != 0;
    const uint32_t max = input_u8(input) % 2 ? 7 : 1;

    fake_set_cpuid(0, 0,
                   (struct cpuid){max, intel ? 0x756e6547 : 0, intel ? 0x6c65746e : 0,
                                  intel ? 0x49656e69 : 0});
    fake_set_cpuid(1, 0, (struct cpuid){0, 0, input_u8(input) % 2 ? 1u << 31 : 0, 0});
    if (max == 7)
        fake_set_cpuid(7, 0, (struct cpuid){0, 0, 0, input_u32(input)});
    fake_set_cpuid(0x40000000, 0, (struct cpuid){0, 0, 0, 0});
    fake_set_cpuid(0x80000000, 0, (struct cpuid){0, 0, 0, 0});
    fake_set_cell(FAKE_MSR, MSR_IA32_BIOS_SIGN_ID, input_u64(input));
    fake_set_cell(FAKE_MSR, MSR_IA32_ARCH_CAPABILITIES, input_u32(input));
    fake_set_cell(FAKE_MSR, MSR_IA32_XAPIC_DISABLE, input_u8(input));
    fake_set_cell(FAKE_MSR, MSR_IA32_APIC_BASE, input_u8(input) % 2 ? 0xfee00d00 : 0xfee00900);
    fake_set_cell(FAKE_MSR, MSR_X2APIC(XAPIC_ID), input_u8(input));
    fake_set_cell(FAKE_MSR, MSR_IA32_S_CET, input_u8(input));
    fake_remove_msr(MSR_RESERVED);
    fake_set_cell(FAKE_MMIO, 0xfee00020, (uint32_t)input_u8(input) << 24);
    fake_set_cr(FAKE_CR3, 0x1000);
    fake_set_cr(FAKE_CR4, input_u8(input) % 2 ? 1u << 23 : 0);
    fake_hook(FAKE_PORT16, 0x510, 0x510, NULL, ignore_write, NULL);
    fake_set_cell(FAKE_PORT16, 0x510, 0);
    fake_hook(FAKE_PORT8, 0x511, 0x511, read_fw_cfg, NULL, NULL);
    fake_hook(FAKE_PORT32, 0, UINT16_MAX, read_fw_cfg, NULL, NULL); // any PM timer
    fake_start_clock(0, 1);
    world.stall_ticks = input_u8(input) % 8 ? 10000000 : input_u32(input);
}

static void make_world(struct input *input)
{
    memset(tables, 0, sizeof tables);
    memset(&world, 0, sizeof world);
    make_configuration(input);
    make_names(input);
    make_acpi(input);
    make_processor(input);
    world.secure = input_u8(input) % 4 ? input_u8(input) % 3 : 0xff;
    world.setup = input_u8(input) % 4 ? input_u8(input) % 3 : 0xff;
    world.fw_cfg = input_u8(input) % 8;
    memset(&firm, 0, sizeof firm);
    firm.list[0] = (EFI_MEMORY_DESCRIPTOR){
        .Type = EfiACPIReclaimMemory, .PhysicalStart = (uintptr_t)tables, .NumberOfPages = 1};
    firm.list[1] = (EFI_MEMORY_DESCRIPTOR){
        .Type = EfiBootServicesData, .PhysicalStart = 0x80000000, .NumberOfPages = 16};
    firm.count = 2;
    firm.step = sizeof firm.list[0];
    firm.told_step = firm.told_bytes = NOT_SAID;
    firm.refuse_from = SIZE_MAX;
}

static void must_be_text(const char *text, size_t room)
{
    const size_t length = strnlen(text, room);

    MUST(length < room);
    for (size_t i = 0; i < length; i++)
        MUST(text[i] >= 0x20 && text[i] <= 0x7e);
}

static void check_platform(const struct machine *machine)
{
    const struct platform *platform = &machine->platform;

    must_be_text(machine->firmware, sizeof machine->firmware);
    must_be_text(platform->maker, PLATFORM_TEXT);
    must_be_text(platform->product, PLATFORM_TEXT);
    must_be_text(platform->board_maker, PLATFORM_TEXT);
    must_be_text(platform->board, PLATFORM_TEXT);
    must_be_text(platform->bios_maker, PLATFORM_TEXT);
    must_be_text(platform->bios, PLATFORM_TEXT);
    must_be_text(platform->bios_date, PLATFORM_TEXT);
    MUST(!machine->under_qemu || world.fw_cfg >= 4);
    MUST(platform->secure_boot <= SECURE_BOOT_ON);
}

// What is gathered of a machine that can be run on.
static void check_machine(const struct firmware *firmware, const struct machine *machine)
{
    const struct platform *platform = &machine->platform;
    const struct fadt *fadt = &machine->fadt;

    MUST((platform->secure_boot == SECURE_BOOT_NONE) == (world.secure == 0xff));
    MUST(!platform->apic_locked || machine->processor.vendor == VENDOR_INTEL);
    MUST(platform->low_pages == 0); // this map has none
    MUST(machine->clock.tsc_hz >= 10000000 && machine->clock.tsc_hz <= 10000000000);
    MUST(machine->inventory.cpus[0].apic_id == machine->bsp_apic_id);
    if (fadt->can_reset && fadt->reset_space == GAS_MEMORY)
        MUST(!any_covers(firmware, fadt->reset_address, is_ram) &&
             fadt->reset_address >> machine->processor.phys_bits == 0);
}

// Of two moments the later one is the larger number.
static void check_time(struct input *input, const struct firmware *firmware)
{
    uint64_t numbers[2];
    uint8_t moments[2][7]; // year, month, day, hour, minute, second

    world.has_time = input_u8(input) % 8 != 7;
    for (size_t i = 0; i < 2; i++) {
        input_take(input, moments[i], sizeof moments[i]);
        const uint8_t *at = moments[i];
        world.time = (EFI_TIME){.Year = (UINT16)(at[0] << 8 | at[1]),
                                .Month = at[2],
                                .Day = at[3],
                                .Hour = at[4],
                                .Minute = at[5],
                                .Second = at[6]};
        numbers[i] = time_of_day(firmware);
    }
    const int order = memcmp(moments[0], moments[1], sizeof moments[0]);
    MUST(world.has_time
             ? (numbers[0] > numbers[1]) - (numbers[0] < numbers[1]) == (order > 0) - (order < 0)
             : numbers[0] == 0);
}

static void gather_all(struct input *input, struct firmware *firmware)
{
    const struct options options = {.log = input_u8(input) % 2 ? LOG_DEBUG : LOG_NORMAL};
    struct told told = {0};
    const struct problems problems = {told_add, &told};
    struct machine machine;

    make_world(input);
    gather_identity(firmware, &machine);
    check_platform(&machine);
    const enum status status = gather(firmware, &options, &problems, &machine);
    MUST((status == STATUS_OK) == (told.errors == 0));
    check_platform(&machine);
    if (status == STATUS_OK)
        check_machine(firmware, &machine);
    gather_free(firmware, &machine);
    check_time(input, firmware);
}

static void start(void)
{
    static bool mapped;
    void *const low = (void *)(uintptr_t)LOW_FIRST;

    if (!mapped)
        low_is_mapped = mmap(low, MIB - LOW_FIRST, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == low;
    mapped = true;
    fake_reset();
    fake_log_kinds(0);
    fake_on_flush(forget);
}

static EFI_BOOT_SERVICES boot = {.GetMemoryMap = get_map,
                                 .AllocatePages = allocate,
                                 .FreePages = release,
                                 .LocateProtocol = locate,
                                 .Stall = stall};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct firmware firmware = {.boot = &boot, .system = &system_table};
    struct input input = {data, size};

    start();
    make_map(&input);
    if (input_u8(&input) % 4) {
        check_map(&input, &firmware);
        take_low_page(&input, &firmware);
    } else {
        gather_all(&input, &firmware);
    }
    memory_free(&firmware, firmware.map, firmware.map_capacity / PAGE_BYTES);
    MUST(blocks() == 0);
    return 0;
}
