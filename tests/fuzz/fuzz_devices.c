// Fuzzer: devices as firmware names them: device paths, serial ports by an SPCR, a DBG2, by
// drivers, by PCI and by a probe, and graphics outputs with their modes. Surprise: the UARTs here
// keep their registers, so it is seen that each that is not taken, or given back, is as it was.
#include "device_path.h"

#include "canvas.h"
#include "fake_hw.h"
#include "fuzz.h"
#include "graphics.h"
#include "lapic.h"
#include "page.h"
#include "serial.h"

#define MIB        (1ull << 20)
#define NODES_MOST 32u // that are looked at
#define NODES_MAX  40u
#define UARTS      7u
#define DEVICES    3u
#define DRIVERS    2u
#define OUTPUTS    6u
#define MODES      3u
#define CLOCK_STEP 4000u // us, at one tick each: a wait is over in a hundred looks

// ---- device paths ----

struct device_path {
    uint8_t *bytes; // of exactly its size
    size_t length;
    size_t nodes; // in front of its end, or of where it breaks off
};

// Its nodes have the lengths that they tell, or break it off: nobody can see where a path ends that
// tells another length than it has. With so many nodes that none is looked at, it has no end.
static struct device_path make_path(struct input *input)
{
    static const uint8_t kinds[] = {HARDWARE_DEVICE_PATH, ACPI_DEVICE_PATH, MESSAGING_DEVICE_PATH,
                                    MEDIA_DEVICE_PATH};
    uint8_t bytes[NODES_MAX * 16 + 4];
    struct device_path path = {.length = 0};
    bool broken = false;

    const size_t count = input_choice(input, NODES_MAX + 1);
    for (size_t i = 0; i < count && !broken; i++) {
        uint8_t *node = bytes + path.length;
        const uint8_t kind = input_u8(input);
        broken = kind >= 0xf8;
        const uint8_t length = broken ? kind & 3 : 4 + input_u8(input) % 13;
        node[0] = kind == 0xf0 ? input_u8(input) & 0x7e : kinds[kind % 4];
        node[1] = input_u8(input) % 4;
        node[2] = length;
        node[3] = 0;
        path.length += broken ? 4 : length;
        if (length > 4)
            input_take(input, node + 4, length - 4u);
        if (length >= 12 && node[0] == ACPI_DEVICE_PATH && kind < 0x80) // PNP0501, and its number
            memcpy(node + 4, (const uint8_t[]){0xd0, 0x41, 0x01, 0x05, kind >> 2 & 7, 0, 0, 0}, 8);
        path.nodes += !broken;
    }
    if (!broken && count < NODES_MOST) {
        memcpy(bytes + path.length, (const uint8_t[]){0x7f, 0xff, 4, 0}, 4);
        path.length += 4;
    }
    path.bytes = malloc(path.length);
    MUST(path.bytes != NULL);
    memcpy(path.bytes, bytes, path.length);
    return path;
}

static struct {
    size_t asked;
    uint8_t type;
    const struct device_path *path;
} wish;

static bool is_wished(const uint8_t *node, size_t bytes)
{
    wish.asked++;
    MUST(node >= wish.path->bytes && bytes >= 4);
    MUST(bytes <= wish.path->length - (size_t)(node - wish.path->bytes));
    return node[0] == wish.type;
}

static void look_for_node(struct input *input)
{
    struct device_path path = make_path(input);

    wish.asked = 0;
    wish.type = input_u8(input) & 7;
    wish.path = &path;
    const uint8_t *found =
        device_path_find((const EFI_DEVICE_PATH_PROTOCOL *)(const void *)path.bytes, is_wished);
    MUST(wish.asked <= NODES_MOST && wish.asked <= path.nodes);
    MUST(found != NULL || wish.asked == path.nodes || wish.asked == NODES_MOST);
    MUST(found == NULL || found[0] == wish.type);
    free(path.bytes);
}

// ---- UARTs ----

// What is written is what is read, but for what a UART that is odd, or nobody's, does not keep.
struct uart_model {
    uint64_t base;
    uint32_t stride; // 0: ports
    bool there, has_scratch, has_loopback, has_fifo, stuck;
    bool touched; // written to
    uint8_t ier, lcr, mcr, scr, fcr, divisor[2];
};

static struct uart_model uarts[UARTS], before[UARTS];

static uint8_t modem_status(const struct uart_model *uart)
{
    const uint8_t outputs = uart->mcr;

    if (!uart->has_loopback || (outputs & 0x10) == 0)
        return 0;
    return (uint8_t)((outputs & 2) << 3 | (outputs & 1) << 5 | (outputs & 4) << 4 |
                     (outputs & 8) << 4);
}

static uint8_t read_uart(const struct uart_model *uart, uint64_t reg)
{
    const bool latch = (uart->lcr & 0x80) != 0;

    if (!uart->there)
        return 0xff;
    switch (reg) {
    case 0:
        return latch ? uart->divisor[0] : 0;
    case 1:
        return latch ? uart->divisor[1] : uart->ier;
    case 2:
        return uart->has_fifo && (uart->fcr & 1) ? 0xc1 : 0x01;
    case 3:
        return uart->lcr;
    case 4:
        return uart->mcr;
    case 5:
        return uart->stuck ? 0 : 0x60;
    case 6:
        return modem_status(uart);
    default:
        return uart->has_scratch ? uart->scr : 0;
    }
}

static void write_uart(struct uart_model *uart, uint64_t reg, uint8_t value)
{
    const bool latch = (uart->lcr & 0x80) != 0;

    uart->touched = true;
    MUST(uart->there); // nothing is written where nothing has answered
    if (reg <= 1 && latch)
        uart->divisor[reg] = value;
    else if (reg == 1)
        uart->ier = value;
    else if (reg == 2)
        uart->fcr = value;
    else if (reg == 3)
        uart->lcr = value;
    else if (reg == 4)
        uart->mcr = value;
    else if (reg == 7)
        uart->scr = value;
}

// The UART behind an address, and which of its registers that is; NULL: nobody.
static struct uart_model *find_uart(uint64_t address, bool ports, uint64_t *reg)
{
    for (size_t i = 0; i < UARTS; i++) {
        struct uart_model *uart = &uarts[i];
        const uint64_t step = uart->stride == 0 ? 1 : uart->stride;
        if ((uart->stride == 0) != ports || address < uart->base)
            continue;
        *reg = (address - uart->base) / step;
        if (*reg <= 7 && (address - uart->base) % step == 0)
            return uart;
    }
    return NULL;
}

static bool debug_console;

static uint64_t read_port(void *context, uint64_t address)
{
    uint64_t reg;
    const struct uart_model *uart = find_uart(address, true, &reg);

    (void)context;
    if (address == UART_DEBUG_CONSOLE)
        return debug_console ? UART_DEBUG_CONSOLE : 0xff;
    return uart ? read_uart(uart, reg) : 0xff;
}

// A port that a table names may overlap a UART's, and so be taken for one that answers.
static bool is_beside_a_uart(uint64_t address)
{
    for (size_t i = 0; i < UARTS; i++) {
        if (uarts[i].stride == 0 && address + 7 >= uarts[i].base && address <= uarts[i].base + 14)
            return true;
    }
    return false;
}

static void write_port(void *context, uint64_t address, uint64_t value)
{
    uint64_t reg;
    struct uart_model *uart = find_uart(address, true, &reg);

    (void)context;
    if (address == UART_DEBUG_CONSOLE && debug_console)
        return;
    MUST(uart != NULL || is_beside_a_uart(address));
    if (uart)
        write_uart(uart, reg, (uint8_t)value);
}

static uint64_t read_memory(void *context, uint64_t address)
{
    uint64_t reg;
    const struct uart_model *uart = find_uart(address, false, &reg);

    (void)context;
    return uart ? read_uart(uart, reg) : 0xff;
}

static void write_memory(void *context, uint64_t address, uint64_t value)
{
    uint64_t reg;
    struct uart_model *uart = find_uart(address, false, &reg);

    (void)context;
    MUST(uart != NULL);
    write_uart(uart, reg, (uint8_t)value);
}

static void make_uart(struct input *input, size_t which, uint64_t base, uint32_t stride)
{
    const uint8_t kind = input_u8(input);
    struct uart_model *uart = &uarts[which];

    *uart = (struct uart_model){.base = base,
                                .stride = stride,
                                .there = kind & 1,
                                .has_scratch = !(kind & 2),
                                .has_loopback = !(kind & 4),
                                .has_fifo = !(kind & 8),
                                .stuck = kind & 16 && kind & 32};
    uint8_t registers[7];
    input_take(input, registers, sizeof registers);
    uart->ier = registers[0];
    uart->lcr = registers[1];
    uart->mcr = registers[2];
    uart->scr = registers[3];
    uart->fcr = registers[4] & 1;
    memcpy(uart->divisor, registers + 5, 2);
}

// As it was: what is not taken, and what is given back. FCR can only be read by what IIR says of
// it.
static void must_be_untouched(size_t which)
{
    const struct uart_model *now = &uarts[which], *then = &before[which];

    if (!now->touched)
        return;
    MUST(now->ier == then->ier && now->lcr == then->lcr && now->mcr == then->mcr);
    MUST(now->scr == then->scr || !now->has_scratch);
    MUST(memcmp(now->divisor, then->divisor, 2) == 0);
    MUST((now->fcr & 1) == (then->fcr & 1) || !now->has_fifo);
}

// ---- firmware's devices ----

static struct pci {
    EFI_PCI_IO_PROTOCOL protocol; // first: a handle leads to it
    uint32_t vendor, class_code, bars[6];
    uint32_t bar_bytes; // of each
    size_t number;      // on bus 0
    uint16_t command, command_before;
    uint8_t mute; // how many reads are answered
} devices[DEVICES];

static struct driver {
    struct device_path path;
    size_t device; // behind the path; DEVICES: none
} drivers[DRIVERS];

static size_t device_count, driver_count, output_count, pools;

static EFI_STATUS EFIAPI read_config(EFI_PCI_IO_PROTOCOL *self, EFI_PCI_IO_PROTOCOL_WIDTH width,
                                     UINT32 offset, UINTN count, VOID *buffer)
{
    struct pci *device = (struct pci *)(void *)self;

    MUST(count == 1);
    if (device->mute-- == 0)
        return EFI_DEVICE_ERROR;
    const bool is_bar = offset >= 0x10 && offset < 0x28 && offset % 4 == 0;
    const uint32_t value = offset == 0   ? device->vendor
                           : offset == 8 ? device->class_code
                           : is_bar      ? device->bars[(offset - 0x10) / 4]
                                         : device->command;
    MUST(offset == 0 || offset == 8 || offset == 4 || is_bar);
    MUST(width == EfiPciIoWidthUint32 || (width == EfiPciIoWidthUint16 && offset == 4));
    memcpy(buffer, &value, width == EfiPciIoWidthUint16 ? 2 : 4);
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI write_config(EFI_PCI_IO_PROTOCOL *self, EFI_PCI_IO_PROTOCOL_WIDTH width,
                                      UINT32 offset, UINTN count, VOID *buffer)
{
    MUST(width == EfiPciIoWidthUint16 && offset == 4 && count == 1);
    memcpy(&((struct pci *)(void *)self)->command, buffer, 2);
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI get_location(EFI_PCI_IO_PROTOCOL *self, UINTN *segment, UINTN *bus,
                                      UINTN *number, UINTN *function)
{
    *segment = *bus = *function = 0;
    *number = ((struct pci *)(void *)self)->number;
    return *number == 31 ? EFI_DEVICE_ERROR : EFI_SUCCESS;
}

// As firmware does: by the size of the BAR, which it knows.
static EFI_STATUS EFIAPI read_bar(EFI_PCI_IO_PROTOCOL *self, EFI_PCI_IO_PROTOCOL_WIDTH width,
                                  UINT8 which, UINT64 offset, UINTN count, VOID *buffer)
{
    const struct pci *device = (struct pci *)(void *)self;
    const size_t bytes = width == EfiPciIoWidthUint32 ? 4 : 1;

    MUST(which < 6 && count == 1);
    if (offset >= device->bar_bytes || device->bar_bytes - offset < bytes)
        return EFI_INVALID_PARAMETER;
    memset(buffer, 0, bytes);
    return EFI_SUCCESS;
}

static struct output {
    EFI_GRAPHICS_OUTPUT_PROTOCOL protocol;
    EFI_GRAPHICS_OUTPUT_PROTOCOL_MODE mode;
    EFI_GRAPHICS_OUTPUT_MODE_INFORMATION modes[MODES], now;
    UINT32 first; // mode
    uint8_t odd;
    size_t sets;
} outputs[OUTPUTS];

static EFI_STATUS EFIAPI locate_handles(EFI_LOCATE_SEARCH_TYPE type, EFI_GUID *guid, VOID *key,
                                        UINTN *count, EFI_HANDLE **handles)
{
    static const EFI_GUID pci = EFI_PCI_IO_PROTOCOL_GUID, serial = EFI_SERIAL_IO_PROTOCOL_GUID;
    const bool is_pci = memcmp(guid, &pci, sizeof pci) == 0,
               is_serial = memcmp(guid, &serial, sizeof serial) == 0;

    (void)type, (void)key;
    *count = is_pci ? device_count : is_serial ? driver_count : output_count;
    if (*count == 0)
        return EFI_NOT_FOUND;
    *handles = malloc(*count * sizeof **handles);
    MUST(*handles != NULL);
    pools++;
    for (UINTN i = 0; i < *count; i++)
        (*handles)[i] = is_pci      ? (EFI_HANDLE)&devices[i]
                        : is_serial ? (EFI_HANDLE)&drivers[i]
                                    : (EFI_HANDLE)&outputs[i];
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI handle_protocol(EFI_HANDLE handle, EFI_GUID *guid, VOID **found)
{
    static const EFI_GUID paths = DEVICE_PATH_PROTOCOL;
    const size_t output = (size_t)((struct output *)handle - outputs);

    if (memcmp(guid, &paths, sizeof paths) == 0)
        *found = ((struct driver *)handle)->path.bytes;
    else
        *found = handle;
    return output < OUTPUTS && outputs[output].odd == 7 ? EFI_UNSUPPORTED : EFI_SUCCESS;
}

static EFI_STATUS EFIAPI locate_path(EFI_GUID *guid, EFI_DEVICE_PATH_PROTOCOL **path,
                                     EFI_HANDLE *device)
{
    (void)guid;
    for (size_t i = 0; i < driver_count; i++) {
        if ((uint8_t *)*path != drivers[i].path.bytes || drivers[i].device >= device_count)
            continue;
        *device = &devices[drivers[i].device];
        return EFI_SUCCESS;
    }
    return EFI_NOT_FOUND;
}

static EFI_STATUS EFIAPI free_pool(VOID *memory)
{
    MUST(memory != NULL);
    free(memory);
    pools--;
    return EFI_SUCCESS;
}

// ---- the SPCR and the DBG2, in memory that the map knows ----

static _Alignas(PAGE_BYTES) uint8_t tables[PAGE_BYTES];
static size_t pages;

static EFI_STATUS EFIAPI get_map(UINTN *bytes, EFI_MEMORY_DESCRIPTOR *map, UINTN *key,
                                 UINTN *descriptor_bytes, UINT32 *version)
{
    const UINTN room = *bytes;

    *bytes = *descriptor_bytes = sizeof *map;
    if (room < sizeof *map)
        return EFI_BUFFER_TOO_SMALL;
    *key = *version = 1;
    *map = (EFI_MEMORY_DESCRIPTOR){
        .Type = EfiACPIReclaimMemory, .PhysicalStart = (uintptr_t)tables, .NumberOfPages = 1};
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI allocate(EFI_ALLOCATE_TYPE how, EFI_MEMORY_TYPE type, UINTN count,
                                  EFI_PHYSICAL_ADDRESS *address)
{
    (void)how, (void)type;
    void *memory = malloc(count * PAGE_BYTES);
    MUST(memory != NULL);
    *address = (uintptr_t)memory;
    pages += count;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI release(EFI_PHYSICAL_ADDRESS address, UINTN count)
{
    free((void *)(uintptr_t)address);
    pages -= count;
    return EFI_SUCCESS;
}

static void store(size_t at, uint64_t value, size_t bytes)
{
    memcpy(tables + at, &value, bytes);
}

// Where the SPCR has its port: one of those that are there, or anywhere.
static uint64_t take_base(struct input *input, bool ports)
{
    const uint8_t which = input_u8(input);

    if (which < 32)
        return input_u64(input);
    return ports ? uarts[which % 5].base : uarts[5 + which % 2].base;
}

static void make_spcr(struct input *input)
{
    const size_t xsdt = 64, spcr = 256, dbg2 = 512, gas = spcr + 40;
    const uint8_t kind = input_u8(input);
    const size_t length = kind == 255 ? input_u8(input) : 80;

    memset(tables, 0, sizeof tables);
    memcpy(tables, "RSD PTR ", 8);
    tables[15] = 2;
    store(20, 36, 4);
    store(24, (uintptr_t)tables + xsdt, 8);
    tables[8] = (uint8_t)-acpi_sum(tables, 20);
    tables[32] = (uint8_t)-acpi_sum(tables, 36);
    memcpy(tables + xsdt, "XSDT", 4);
    store(xsdt + 4, 52, 4);
    store(xsdt + 44, (uintptr_t)tables + dbg2, 8);
    store(xsdt + 36, kind % 4 == 3 ? 0 : (uintptr_t)tables + spcr, 8);
    memcpy(tables + spcr, "SPCR", 4);
    store(spcr + 4, length, 4);
    tables[spcr + 36] = kind & 4 ? input_u8(input) % 0x14 : 0;
    tables[gas] = kind & 8 ? 1 : input_u8(input) % 8 ? 0 : 2;
    tables[gas + 1] = kind & 8 ? 8 : (const uint8_t[]){0, 8, 16, 32, 64}[input_choice(input, 5)];
    tables[gas + 2] = input_u8(input) % 16 == 1;
    tables[gas + 3] = input_u8(input) % 5;
    store(gas + 4, take_base(input, kind & 8), 8);
    tables[spcr + 58] = input_u8(input) % 9;
}

// Its ports; an entry may be cut, or of another kind.
static void make_dbg2(struct input *input)
{
    const size_t dbg2 = 512, entry_bytes = 48;
    const uint8_t kind = input_u8(input);
    const size_t count = input_choice(input, 4);

    memcpy(tables + dbg2, kind % 2 ? "DBG2" : "NONE", 4);
    store(dbg2 + 4, kind == 255 ? input_u8(input) : 44 + count * entry_bytes, 4);
    store(dbg2 + 36, 44, 4);
    store(dbg2 + 40, count, 4);
    for (size_t i = 0; i < count; i++) {
        const size_t entry = dbg2 + 44 + i * entry_bytes, gas = entry + 22;
        const uint8_t what = input_u8(input);
        store(entry + 1, what & 1 ? entry_bytes : input_u16(input), 2);
        tables[entry + 3] = 1;
        store(entry + 12, what & 2 ? 0x8000 : 0x8000 + input_u8(input) % 4, 2);
        store(entry + 14, what & 4 ? 0 : input_u8(input) % 0x15, 2);
        store(entry + 18, what & 8 ? 22 : input_u8(input), 2);
        tables[gas] = (what & 16) != 0;
        tables[gas + 1] = what & 32 ? 32 : 8;
        store(gas + 4, take_base(input, what & 16), 8);
    }
}

// ---- the world ----

static bool secure;

static EFI_STATUS EFIAPI get_variable(CHAR16 *name, EFI_GUID *guid, UINT32 *attributes,
                                      UINTN *bytes, void *data)
{
    (void)name, (void)guid, (void)attributes;
    *bytes = 1;
    *(uint8_t *)data = secure;
    return EFI_SUCCESS;
}

static EFI_RUNTIME_SERVICES runtime = {.GetVariable = get_variable};
static EFI_CONFIGURATION_TABLE configuration = {.VendorGuid = ACPI_20_TABLE_GUID,
                                                .VendorTable = tables};
static EFI_BOOT_SERVICES boot = {.LocateHandleBuffer = locate_handles,
                                 .HandleProtocol = handle_protocol,
                                 .LocateDevicePath = locate_path,
                                 .FreePool = free_pool,
                                 .GetMemoryMap = get_map,
                                 .AllocatePages = allocate,
                                 .FreePages = release};
static EFI_SYSTEM_TABLE system_table = {
    .RuntimeServices = &runtime, .NumberOfTableEntries = 1, .ConfigurationTable = &configuration};

static void make_serial(struct input *input)
{
    static const uint16_t legacy[] = {0x3f8, 0x2f8, 0x3e8, 0x2e8};

    for (size_t i = 0; i < 4; i++)
        make_uart(input, i, legacy[i], 0);
    make_uart(input, 4, 0xc000, 0);
    make_uart(input, 5, 0xfe030000, 4);
    make_uart(input, 6, 0xfe040ff0, 1);
    memcpy(before, uarts, sizeof before);
    debug_console = input_u8(input) & 1;
    device_count = input_choice(input, DEVICES + 1);
    for (size_t i = 0; i < device_count; i++) {
        const uint8_t kind = input_u8(input);
        devices[i] = (struct pci){
            .protocol = {.Pci = {.Read = read_config, .Write = write_config},
                         .Io.Read = read_bar,
                         .Mem.Read = read_bar,
                         .GetLocation = get_location},
            .vendor = 0x00021b36,
            .bar_bytes = 8,
            .class_code = kind & 1 ? input_u32(input) : 0x07000200,
            .bars = {kind & 2 ? input_u32(input) & ~4u : 0xc001}, // eight, where eight can be
            .command = input_u16(input),
            .mute = kind & 4 ? kind >> 4 : 255,
        };
        devices[i].command_before = devices[i].command;
    }
    driver_count = input_choice(input, DRIVERS + 1);
    for (size_t i = 0; i < driver_count; i++)
        drivers[i] = (struct driver){make_path(input), input_choice(input, DEVICES + 1)};
    make_spcr(input);
}

// A card may have its registers in memory, a port in another BAR, or be AMT's.
static void change_cards(struct input *input)
{
    static const uint32_t sizes[] = {8, 16, 32, 4096};

    for (size_t i = 0; i < device_count; i++) {
        const uint8_t kind = input_u8(input);
        struct pci *device = &devices[i];
        if (kind & 1)
            device->bars[0] = (uint32_t)uarts[5 + kind / 128].base | (kind & 2 ? 4 : 0);
        if (kind & 4) {
            device->vendor = 0x1c3d8086;
            device->number = kind & 8 ? 22 : 31;
        }
        device->bars[kind & 8 ? 5 : 1] = kind & 16 ? 0xc001 : (uint32_t)uarts[5].base;
        device->bar_bytes = sizes[kind / 32 % 4];
    }
}

static void open_serial(struct input *input, struct firmware *firmware)
{
    static const struct uart_place named[] = {
        {.base = 0xfff8},     {.base = 0x3f8, .baud = 115200}, {0xfe030000, 4, 4, 0},
        {.base = 0xc000},     {0xfe040ff0, 1, 1, 0},           {.base = 0x2e8},
        {0x7fffe000, 4, 4, 0}};
    struct options options = {
        .serial =
            (enum serial_choice)(input_u8(input) % 8 == 7 ? input_choice(input, 3) : SERIAL_AUTO),
        .serial_place = named[input_choice(input, sizeof named / sizeof named[0])]};
    const uint8_t rest = input_u8(input);
    const bool under_qemu = rest % 2;
    secure = rest & 2;
    struct uart uart = {.present = false};
    struct serial_port port = {.uart = &uart};

    make_dbg2(input);
    change_cards(input);
    const struct serial_found found = serial_open(firmware, &options, under_qemu, 1, &port);
    const bool none = strcmp(found.found, "none") == 0 || strcmp(found.found, "off") == 0 ||
                      strcmp(found.found, "no-answer") == 0;
    MUST(uart.present == !none && found.by[0] != '\0');
    MUST(!found.refused || (secure && options.serial == SERIAL_PORT));
    MUST(found.spcr == NULL || found.spcr[0] != '\0');
    MUST(found.dbg2 == NULL || found.dbg2[0] != '\0');
    MUST(!uart.present || uart.mmio != 0 || uart.port <= 0xfff8);
    MUST(!uart.present || (uart.divisor >= 1 && uart.divisor <= 96));
    for (size_t i = 0; i < UARTS; i++) {
        const bool taken = uart.present && uarts[i].base == (uart.mmio ? uart.mmio : uart.port);
        if (!taken)
            must_be_untouched(i);
    }
    for (size_t i = 0; i < device_count; i++)
        MUST(devices[i].command == devices[i].command_before ||
             port.on.device == &devices[i].protocol);
    (void)uart_write(&uart, "REVEILLE", 8);
    serial_close(&port);
    serial_close(&port); // twice is once
    for (size_t i = 0; i < UARTS; i++)
        must_be_untouched(i);
    for (size_t i = 0; i < device_count; i++)
        MUST(devices[i].command == devices[i].command_before);
    for (size_t i = 0; i < driver_count; i++)
        free(drivers[i].path.bytes);
}

// ---- graphics ----

static EFI_GRAPHICS_OUTPUT_MODE_INFORMATION take_mode(struct input *input)
{
    static const uint32_t sizes[][2] = {{800, 600}, {1024, 768}, {1280, 800}};
    static const EFI_PIXEL_BITMASK masks[] = {{0xff0000, 0xff00, 0xff, 0},
                                              {0xf800, 0x7e0, 0x1f, 0},
                                              {0xff0000, 0xff00, 0xff, 0xff000000},
                                              {0xff00ff, 0xff00, 0xff, 0}};
    const size_t size = input_choice(input, 8);
    EFI_GRAPHICS_OUTPUT_MODE_INFORMATION info = {
        .HorizontalResolution = size < 7 ? sizes[size % 3][0] : input_u32(input),
        .VerticalResolution = size < 7 ? sizes[size % 3][1] : input_u32(input),
        .PixelFormat = (EFI_GRAPHICS_PIXEL_FORMAT)input_choice(input, PixelFormatMax + 1),
        .PixelInformation = masks[input_choice(input, sizeof masks / sizeof masks[0])],
    };
    info.PixelsPerScanLine =
        input_u8(input) % 16 == 1 ? input_u32(input) : info.HorizontalResolution;
    return info;
}

static EFI_STATUS EFIAPI query_mode(EFI_GRAPHICS_OUTPUT_PROTOCOL *self, UINT32 number, UINTN *bytes,
                                    EFI_GRAPHICS_OUTPUT_MODE_INFORMATION **info)
{
    const struct output *output = (const struct output *)(const void *)self;

    if (number >= MODES || output->odd == 1)
        return EFI_DEVICE_ERROR;
    *bytes = output->odd == 2 ? 8 : sizeof **info;
    *info = malloc(*bytes);
    MUST(*info != NULL);
    memcpy(*info, &output->modes[number], *bytes);
    pools++;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI set_mode(EFI_GRAPHICS_OUTPUT_PROTOCOL *self, UINT32 number)
{
    struct output *output = (struct output *)(void *)self;

    MUST(number < MODES);
    output->sets++;
    if (output->odd == 3)
        return EFI_DEVICE_ERROR;
    output->mode.Mode = number;
    output->now = output->modes[number];
    if (output->odd == 4)
        output->mode.FrameBufferBase += 16 * MIB;
    if (output->odd == 5)
        output->mode.FrameBufferSize /= 4;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI blt(EFI_GRAPHICS_OUTPUT_PROTOCOL *self,
                             EFI_GRAPHICS_OUTPUT_BLT_PIXEL *pixel,
                             EFI_GRAPHICS_OUTPUT_BLT_OPERATION operation, UINTN from_x,
                             UINTN from_y, UINTN x, UINTN y, UINTN width, UINTN height, UINTN delta)
{
    (void)self, (void)pixel, (void)operation, (void)from_x, (void)from_y, (void)x, (void)y,
        (void)width, (void)height, (void)delta;
    return EFI_SUCCESS;
}

static void make_output(struct input *input, struct output *output)
{
    static const uint64_t bases[] = {0xc0000000, 0xc1000000, 0x4000000000, 0xa0000,
                                     0x10000000, 0xfec00000, 0xfe030000,   0};
    const size_t base = input_choice(input, 10);

    *output =
        (struct output){.odd = input_u8(input) % 32, .first = (UINT32)input_choice(input, MODES)};
    for (size_t i = 0; i < MODES; i++)
        output->modes[i] = take_mode(input);
    output->now = output->modes[output->first];
    output->mode = (EFI_GRAPHICS_OUTPUT_PROTOCOL_MODE){
        .MaxMode = output->odd == 6 ? UINT32_MAX : MODES,
        .Mode = output->first,
        .Info = output->odd == 8 ? NULL : &output->now,
        .SizeOfInfo = sizeof output->now,
        .FrameBufferBase = base < 8 ? bases[base] : input_u64(input),
        .FrameBufferSize = base < 8 ? 16 * MIB : input_u64(input)};
    output->protocol =
        (EFI_GRAPHICS_OUTPUT_PROTOCOL){.QueryMode = query_mode,
                                       .SetMode = set_mode,
                                       .Blt = blt,
                                       .Mode = output->odd == 9 ? NULL : &output->mode};
}

static bool overlap(uint64_t a, uint64_t a_bytes, uint64_t b, uint64_t b_bytes)
{
    return a < b + b_bytes && b < a + a_bytes;
}

static void check_framebuffer(const struct machine *machine, size_t which)
{
    const struct framebuffer *one = &machine->framebuffers[which];
    const uint64_t bytes = framebuffer_drawn_bytes(one);

    MUST(framebuffer_is_sane(one) && bytes <= one->bytes);
    MUST((one->phys + bytes - 1) >> machine->processor.phys_bits == 0 && one->phys >= MIB);
    MUST(!overlap(one->phys, bytes, APIC_MMIO_PHYS(machine->apic_base), PAGE_BYTES));
    for (size_t i = 0; i < machine->ram_count; i++)
        MUST(!overlap(one->phys, bytes, machine->ram[i].phys, machine->ram[i].bytes));
    for (size_t i = 0; i < which; i++)
        MUST(!overlap(one->phys, bytes, machine->framebuffers[i].phys,
                      framebuffer_drawn_bytes(&machine->framebuffers[i])));
}

static void gather_graphics(struct input *input, const struct firmware *firmware)
{
    struct range ram[] = {{0, 0xa0000}, {MIB, 1024 * MIB}};
    struct machine machine = {.processor.phys_bits = 36 + input_u8(input) % 12,
                              .apic_base = 0xfee00900,
                              .serial_mmio = input_u8(input) % 2 ? 0xfe030000 : 0,
                              .ram = ram,
                              .ram_count = 2};
    struct options options = {.exit = input_u8(input) % 8 ? ANSWER_YES : ANSWER_NO,
                              .check = input_u8(input) % 8 ? ANSWER_NO : ANSWER_YES,
                              .screen = input_u8(input) % 4 ? SCREEN_MODE : SCREEN_AUTO,
                              .screen_width = 1024,
                              .screen_height = 768};
    struct told told = {0};
    struct heard heard = {0};
    const struct problems problems = {told_add, &told};
    struct console console;
    size_t reachable = 0;

    console_start(&console, LOG_NORMAL, 1);
    console.sinks[SINK_JOURNAL] =
        (struct console_sink){.write_line = heard_line, .context = &heard};
    output_count = input_choice(input, OUTPUTS + 1);
    for (size_t i = 0; i < output_count; i++) {
        make_output(input, &outputs[i]);
        reachable += outputs[i].odd != 7;
    }
    graphics_gather(firmware, &options, &console, &problems, &machine);
    MUST(machine.framebuffer_count <= FRAMEBUFFERS_MAX && told.errors == 0);
    MUST(heard.records == reachable && heard.sentences == 0);
    for (size_t i = 0; i < machine.framebuffer_count; i++)
        check_framebuffer(&machine, i);
    for (size_t i = 0; i < output_count; i++) {
        const struct output *output = &outputs[i];
        const bool wanted = output->modes[output->mode.Mode].HorizontalResolution == 1024 &&
                            output->modes[output->mode.Mode].VerticalResolution == 768;
        MUST(output->sets == 0 || (options.screen == SCREEN_MODE && options.exit == ANSWER_YES &&
                                   options.check == ANSWER_NO));
        MUST(output->mode.Mode == output->first || wanted);
    }
    machine.under_qemu = options.screen == SCREEN_MODE;
    UINT32 before[OUTPUTS];
    for (size_t i = 0; i < output_count; i++)
        before[i] = outputs[i].mode.Mode;
    graphics_clear(firmware, &machine);
    for (size_t i = 0; i < output_count; i++)
        MUST(outputs[i].mode.Mode == before[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    struct firmware firmware = {.boot = &boot, .system = &system_table};

    fake_reset();
    fake_log_kinds(0);
    fake_start_clock(0, CLOCK_STEP);
    fake_hook(FAKE_PORT8, 0, UINT16_MAX, read_port, write_port, NULL);
    fake_hook(FAKE_MMIO, 0, UINT64_MAX, read_memory, write_memory, NULL);
    if (input_u8(&input) % 2) {
        gather_graphics(&input, &firmware);
    } else {
        look_for_node(&input);
        output_count = 0;
        make_serial(&input);
        open_serial(&input, &firmware);
        if (firmware.map)
            release((uintptr_t)firmware.map, firmware.map_capacity / PAGE_BYTES);
    }
    MUST(pools == 0 && pages == 0);
    return 0;
}
