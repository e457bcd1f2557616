// machine.c: what GRUB handed over, memory, ACPI's tables, exceptions, the end.
//
// Surprise: memory is taken from GRUB's own map, whose entry becomes shorter; and what GRUB hands
// over lies in memory that the map calls free.
#include "machine.h"

#define PAGE   4096ull
#define MAPPED 0x100000000ull
#define FREE   1u // in the memory map

enum tag_type { TAG_END, TAG_COMMAND_LINE, TAG_MEMORY = 6, TAG_RSDP_1 = 14, TAG_RSDP_2 = 15 };

struct tag {
    uint32_t type, bytes;
    union {
        char text[1];
        struct {
            uint32_t entry_bytes, version;
        } memory;
        struct __attribute__((packed)) { // ACPI 6.5, "Root System Description Pointer"
            uint8_t head[16];
            uint32_t rsdt, bytes;
            uint64_t xsdt;
        } rsdp;
    };
};

struct memory {
    uint64_t phys, bytes;
    uint32_t type, reserved;
};

struct table {
    char signature[4];
    uint32_t bytes;
    uint8_t rest[28];
};

extern uint8_t vectors[]; // boot.S
_Noreturn void machine_fault(const uint64_t *stack);

static uint8_t *loader; // what it handed over
static uint32_t loader_bytes;

void *machine_view(uint64_t phys)
{
    return (void *)(0xffff800000000000 + phys);
}

static struct tag *find_tag(enum tag_type type, size_t bytes)
{
    for (uint32_t at = 8; at + 8 <= loader_bytes;) {
        struct tag *tag = (struct tag *)(loader + at);
        if (tag->type == TAG_END || tag->bytes < 8 || tag->bytes > loader_bytes - at)
            return NULL;
        if (tag->type == type && tag->bytes >= 8 + bytes)
            return tag;
        at += (tag->bytes + 7) & -8u;
    }
    return NULL;
}

bool machine_begin(uint32_t multiboot_phys)
{
    static uint64_t idt[32][2];
    struct __attribute__((packed)) {
        uint16_t limit;
        void *base;
    } idtr = {sizeof(idt) - 1, idt};
    for (size_t i = 0; i < 32; i++) {
        uint64_t entry = (uint64_t)(vectors + 16 * i);
        idt[i][0] = (entry & 0xffff0000) << 32 | 0x8e0000080000 | (entry & 0xffff);
        idt[i][1] = entry >> 32;
    }
    __asm__ volatile("lidt %0" : : "m"(idtr));
    out8(COM1 + 3, 0x80); // 115200 baud,
    out8(COM1, 1);
    out8(COM1 + 1, 0);
    out8(COM1 + 3, 3); // 8 bits,
    out8(COM1 + 1, 0); // and no interrupts
    loader = machine_view(multiboot_phys);
    loader_bytes = *(uint32_t *)loader;
    const struct tag *map = find_tag(TAG_MEMORY, sizeof(map->memory));
    bool good = map && map->memory.entry_bytes >= sizeof(struct memory);
    if (!good)
        print("The boot loader hands over no memory map\n");
    return good;
}

uint32_t machine_option(const char *name)
{
    const struct tag *line = find_tag(TAG_COMMAND_LINE, 1);
    size_t length = 0, bytes = line ? line->bytes - 8 : 0;
    uint32_t value = 0;
    while (name[length])
        length++;
    for (size_t at = 0; at + length < bytes; at++) {
        const char *word = line->text + at;
        if ((at == 0 || word[-1] == ' ') && !memcmp(word, name, length) && word[length] == '=')
            for (word += length + 1; *word >= '0' && *word <= '9'; word++) // a 0 ends it
                value = 10 * value + (uint32_t)(*word - '0');
    }
    return value;
}

uint64_t machine_take(uint64_t bytes, uint64_t below)
{
    const uint64_t kernel = (uint64_t)kernel_begin - KERNEL, end = (uint64_t)kernel_end - KERNEL;
    const uint64_t info = (uint64_t)loader - (uint64_t)machine_view(0);
    struct tag *map = find_tag(TAG_MEMORY, sizeof(map->memory));
    struct memory *best = NULL;
    uint64_t phys = 0;
    for (uint32_t at = 16; at + sizeof(*best) <= map->bytes; at += map->memory.entry_bytes) {
        struct memory *m = (struct memory *)((uint8_t *)map + at);
        uint64_t last = m->phys + m->bytes < below ? m->phys + m->bytes : below;
        uint64_t from = (last - bytes) & -PAGE, to = from + bytes;
        if (m->type == FREE && last >= bytes && from >= m->phys && from > phys &&
            (from >= end || to <= kernel) && (from >= info + loader_bytes || to <= info))
            best = m, phys = from;
    }
    if (best)
        best->bytes = phys - best->phys;
    return phys;
}

static const struct table *table_at(uint64_t phys)
{
    const struct table *table = machine_view(phys);
    uint8_t sum = 0;
    if (phys == 0 || phys > MAPPED - sizeof(*table) || table->bytes < sizeof(*table) ||
        table->bytes > MAPPED - phys)
        return NULL;
    for (uint32_t i = 0; i < table->bytes; i++)
        sum = (uint8_t)(sum + ((const uint8_t *)table)[i]);
    return sum == 0 ? table : NULL;
}

const void *machine_table(const char *signature, size_t *bytes)
{
    const struct tag *tag = find_tag(TAG_RSDP_2, sizeof(tag->rsdp)),
                     *old = find_tag(TAG_RSDP_1, 20);
    const struct table *root = tag ? table_at(tag->rsdp.xsdt) : NULL;
    const size_t step = root ? 8 : 4;
    if (!root)
        root = tag || old ? table_at((tag ? tag : old)->rsdp.rsdt) : NULL;
    for (size_t at = sizeof(*root); root && at + step <= root->bytes; at += step) {
        uint64_t phys = 0;
        memcpy(&phys, (const uint8_t *)root + at, step);
        const struct table *table = table_at(phys);
        if (table && !memcmp(table->signature, signature, 4)) {
            *bytes = table->bytes;
            return table;
        }
    }
    return NULL;
}

void machine_fault(const uint64_t *stack)
{
    print("The kernel took exception %lu: 0x%lx 0x%lx\n", stack[0], stack[1], stack[2]);
    machine_end(0xff);
}

void machine_end(uint32_t status)
{
    out8(0xf4, (uint8_t)(status >> 1)); // isa-debug-exit: QEMU's status is twice that and one
    for (;;)
        __asm__ volatile("cli; hlt");
}
