// machine.c: what GRUB handed over, memory, ACPI's tables, the end.
//
// Surprise: memory is taken from GRUB's own map, whose entry becomes shorter; and what GRUB hands
// over lies in memory that the map calls free.
#include "machine.h"

enum tag_type { TAG_END, TAG_COMMAND_LINE, TAG_MEMORY = 6, TAG_RSDP_1 = 14, TAG_RSDP_2 = 15 };

struct tag {
    uint32_t type, bytes;
    union {
        uint32_t entry_bytes; // of the memory map, whose entries follow
        struct {
            uint32_t head[4], rsdt, bytes, xsdt[2]; // ACPI 6.5, "Root System Description Pointer"
        } rsdp;
    };
};

struct memory {
    uint64_t phys, bytes;
    uint32_t type, reserved; // type 1: free
};

static uint8_t *loader; // what it handed over: its length, 4 bytes, tags
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
            break;
        if (tag->type == type && tag->bytes >= 8 + bytes)
            return tag;
        at += (tag->bytes + 7) & -8u;
    }
    return NULL;
}

bool machine_begin(uint32_t multiboot_phys)
{
    console_begin();
    loader = machine_view(multiboot_phys);
    loader_bytes = *(uint32_t *)loader;
    const struct tag *map = find_tag(TAG_MEMORY, 8);
    return map && map->entry_bytes >= sizeof(struct memory);
}

uint32_t machine_option(const char *name)
{
    const struct tag *line = find_tag(TAG_COMMAND_LINE, 1);
    uint32_t value = 0;
    for (uint32_t at = 8; line && at < line->bytes; at++) {
        const char *word = (const char *)line + at, *wanted = name;
        const bool begins = at == 8 || word[-1] == ' ';
        while (*wanted && *wanted == *word) // a 0 ends both
            wanted++, word++;
        if (begins && *wanted == 0 && *word++ == '=')
            for (; *word >= '0' && *word <= '9'; word++)
                value = 10 * value + (uint32_t)(*word - '0');
    }
    return value;
}

void *machine_take(uint64_t bytes, uint64_t below, uint64_t *phys)
{
    const uint64_t kernel = (uint64_t)kernel_begin - KERNEL, end = (uint64_t)kernel_end - KERNEL;
    const uint64_t info = (uint64_t)loader - (uint64_t)machine_view(0);
    struct tag *map = find_tag(TAG_MEMORY, 8);
    struct memory *best = NULL;
    *phys = 0;
    for (uint32_t at = 16; at + sizeof(*best) <= map->bytes; at += map->entry_bytes) {
        struct memory *m = (struct memory *)((uint8_t *)map + at);
        uint64_t last = m->phys + m->bytes < below ? m->phys + m->bytes : below;
        uint64_t from = (last - bytes) & -4096ull, to = from + bytes;
        if (m->type == 1 && last >= bytes && from >= m->phys && from > *phys &&
            (from >= end || to <= kernel) && (from >= info + loader_bytes || to <= info))
            best = m, *phys = from;
    }
    if (best)
        best->bytes = *phys - best->phys;
    return best ? machine_view(*phys) : NULL;
}

// Its second word is its length; its head has 36 bytes. NULL: the bytes do not add up to 0.
static const uint32_t *table_at(uint64_t phys)
{
    const uint32_t *table = machine_view(phys);
    uint8_t sum = 0;
    if (phys == 0 || phys > UINT32_MAX - 36 || table[1] > UINT32_MAX - phys || table[1] < 36)
        return NULL;
    for (uint32_t i = 0; i < table[1]; i++)
        sum = (uint8_t)(sum + ((const uint8_t *)table)[i]);
    return sum == 0 ? table : NULL;
}

const void *machine_table(const char *signature, size_t *bytes)
{
    const struct tag *tag = find_tag(TAG_RSDP_2, 36), *old = find_tag(TAG_RSDP_1, 20);
    const uint32_t step = tag ? 8 : 4, *root = NULL;
    if (tag)
        root = table_at(tag->rsdp.xsdt[0] | (uint64_t)tag->rsdp.xsdt[1] << 32);
    else if (old)
        root = table_at(old->rsdp.rsdt);
    for (uint32_t at = 36; root && at + step <= root[1]; at += step) {
        const uint64_t high = tag ? root[at / 4 + 1] : 0;
        const uint32_t *table = table_at(root[at / 4] | high << 32);
        if (table && !memcmp(table, signature, 4)) {
            *bytes = table[1];
            return table;
        }
    }
    return NULL;
}

void machine_end(uint32_t status)
{
    out8(0xf4, (uint8_t)(status >> 1)); // isa-debug-exit: QEMU's status is twice that and one
    for (;;)
        __asm__ volatile("cli; hlt");
}
