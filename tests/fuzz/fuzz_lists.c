// Fuzzer: who is there. A MADT and MP Services, each right, wrong, or absent, beside each other and
// beside what processors say themselves: the inventory, the faults that inject= puts into it, the
// plan, the census. APIC IDs are few, so that the lists meet. Surprise: what the census tells is
// counted a second time here, sentence by sentence, the slow way.
#include "fuzz.h"

#include "census.h"
#include "inject.h"
#include "lapic.h"
#include "madt.h"
#include "mp_services.h"
#include "page.h"
#include "plan.h"
#include "processors.h"
#include "survey.h"

#define RSDP_PHYS 0x1000u
#define RSDT_PHYS 0x2000u
#define MADT_PHYS 0x3000u

#define RSDP_BYTES 20u
#define BLOCKS_MAX 8u
#define LISTED_MAX 24u
#define FAULTS_MAX 6u
#define CPUS_MAX   128u

// ---- a machine of three tables, each in memory of exactly its size ----

static struct table {
    uint64_t phys;
    uint8_t *bytes;
    size_t length;
} tables[3];

static const void *view(const void *context, uint64_t address, uint64_t bytes)
{
    (void)context;
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        const struct table *table = &tables[i];
        if (table->bytes && address >= table->phys && address - table->phys <= table->length &&
            bytes <= table->length - (address - table->phys))
            return table->bytes + (address - table->phys);
    }
    return NULL;
}

static void store32(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, sizeof value);
}

static uint8_t *make_table(size_t which, uint64_t phys, size_t length)
{
    tables[which] = (struct table){phys, calloc(1, length + 1), length};
    MUST(tables[which].bytes != NULL);
    return tables[which].bytes;
}

static void finish_table(uint8_t *bytes, const char *signature, size_t length, uint32_t claimed)
{
    memcpy(bytes, signature, 4);
    store32(bytes + ACPI_HEADER_LENGTH, claimed);
    bytes[ACPI_HEADER_CHECKSUM] = 0;
    bytes[ACPI_HEADER_CHECKSUM] = (uint8_t)-acpi_sum(bytes, length);
}

// Sixteen IDs, and those that are not one.
static uint32_t take_id(struct input *input)
{
    static const uint32_t odd[] = {0xfe, 0xff, 0x100, UINT32_MAX - 1, UINT32_MAX};
    const uint8_t choice = input_u8(input);

    return choice < 240 ? choice % 16 : odd[choice % (sizeof odd / sizeof odd[0])];
}

static size_t make_entry(struct input *input, uint8_t *entry)
{
    static const uint8_t types[] = {MADT_LOCAL_APIC, MADT_X2APIC, MADT_WAKEUP_MAILBOX, 0x01};
    static const uint8_t lengths[] = {MADT_LOCAL_APIC_BYTES, MADT_X2APIC_BYTES, 16, 12};
    const uint8_t kind = input_u8(input), flags = input_u8(input);
    const size_t which = kind < 200 ? kind % 2 : kind % 4;
    const uint32_t id = take_id(input);

    memset(entry, 0, 16);
    entry[MADT_TYPE] = types[which];
    entry[MADT_LENGTH] = kind == 255 ? input_u8(input) : lengths[which];
    if (which == 0) {
        entry[MADT_LOCAL_APIC_ID] = (uint8_t)id;
        store32(entry + MADT_LOCAL_APIC_FLAGS, flags % 8 != 0);
    } else if (which == 1) {
        store32(entry + MADT_X2APIC_ID, id);
        store32(entry + MADT_X2APIC_FLAGS, flags % 8 != 0);
    }
    return lengths[which];
}

static void make_madt(struct input *input)
{
    uint8_t entries[LISTED_MAX * 16];
    size_t bytes = 0;

    const uint8_t wrong = input_u8(input);
    for (size_t i = input_choice(input, LISTED_MAX); i > 0; i--)
        bytes += make_entry(input, entries + bytes);
    const size_t length = wrong == 1 ? input_u8(input) : MADT_HEADER_BYTES + bytes;
    uint8_t *madt = make_table(2, MADT_PHYS, length);
    if (length > MADT_HEADER_BYTES)
        memcpy(madt + MADT_HEADER_BYTES, entries,
               bytes < length - MADT_HEADER_BYTES ? bytes : length - MADT_HEADER_BYTES);
    if (length >= ACPI_HEADER_BYTES)
        finish_table(madt, wrong == 2 ? "APIX" : "APIC", length,
                     wrong == 3 ? input_u16(input) : (uint32_t)length);
    if (wrong == 4 && length > 0)
        madt[input_u16(input) % length] ^= input_u8(input);
}

static void make_machine(struct input *input)
{
    const uint32_t madts = (uint32_t)input_choice(input, 3); // the second is the same once more
    const size_t rsdt_bytes = ACPI_HEADER_BYTES + 4 * madts;

    memset(tables, 0, sizeof tables);
    uint8_t *rsdp = make_table(0, RSDP_PHYS, RSDP_BYTES);
    memcpy(rsdp, "RSD PTR ", 8);
    store32(rsdp + 16, RSDT_PHYS);
    rsdp[8] = (uint8_t)-acpi_sum(rsdp, RSDP_BYTES);
    uint8_t *rsdt = make_table(1, RSDT_PHYS, rsdt_bytes);
    for (uint32_t i = 0; i < madts; i++)
        store32(rsdt + ACPI_HEADER_BYTES + 4 * i, MADT_PHYS);
    finish_table(rsdt, "RSDT", rsdt_bytes, (uint32_t)rsdt_bytes);
    if (madts > 0)
        make_madt(input);
}

static void free_machine(void)
{
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
        free(tables[i].bytes);
}

// ---- firmware ----

static struct {
    struct mp_services services;
    bool absent, mute;
    UINTN all, enabled, known;
    struct mp_information list[LISTED_MAX];
    size_t refuse_from, asked; // allocations
    struct {
        void *memory;
        UINTN pages;
    } blocks[BLOCKS_MAX];
} firm;

static EFI_STATUS EFIAPI allocate(EFI_ALLOCATE_TYPE how, EFI_MEMORY_TYPE type, UINTN pages,
                                  EFI_PHYSICAL_ADDRESS *address)
{
    (void)type;
    MUST(how == AllocateMaxAddress && pages > 0);
    if (++firm.asked >= firm.refuse_from)
        return EFI_OUT_OF_RESOURCES;
    for (size_t i = 0; i < BLOCKS_MAX; i++) {
        if (firm.blocks[i].memory)
            continue;
        firm.blocks[i].memory = malloc(pages * PAGE_BYTES);
        firm.blocks[i].pages = pages;
        MUST(firm.blocks[i].memory != NULL);
        memset(firm.blocks[i].memory, 0xa5, PAGE_BYTES);
        *address = (uintptr_t)firm.blocks[i].memory;
        return EFI_SUCCESS;
    }
    MUST(!"more memory than anybody needs");
    return EFI_OUT_OF_RESOURCES;
}

static EFI_STATUS EFIAPI release(EFI_PHYSICAL_ADDRESS address, UINTN pages)
{
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

static EFI_STATUS EFIAPI locate(EFI_GUID *guid, VOID *registration, VOID **interface)
{
    (void)guid, (void)registration;
    *interface = &firm.services;
    return firm.absent ? EFI_NOT_FOUND : EFI_SUCCESS;
}

static EFI_STATUS EFIAPI numbers(struct mp_services *self, UINTN *count, UINTN *enabled)
{
    (void)self;
    *count = firm.all;
    *enabled = firm.enabled;
    return firm.mute ? EFI_DEVICE_ERROR : EFI_SUCCESS;
}

static EFI_STATUS EFIAPI information(struct mp_services *self, UINTN number,
                                     struct mp_information *answer)
{
    (void)self;
    if (number >= firm.known || (firm.list[number].extended[0] & 1) != 0)
        return EFI_NOT_FOUND;
    *answer = firm.list[number];
    return EFI_SUCCESS;
}

static EFI_BOOT_SERVICES boot = {
    .AllocatePages = allocate, .FreePages = release, .LocateProtocol = locate};
static const struct firmware firmware = {.boot = &boot};

static void make_services(struct input *input)
{
    memset(&firm, 0, sizeof firm);
    firm.services.get_number_of_processors = numbers;
    firm.services.get_processor_info = information;
    const uint8_t wrong = input_u8(input);
    firm.absent = wrong == 1;
    firm.mute = wrong == 2;
    firm.known = input_choice(input, LISTED_MAX);
    for (size_t i = 0; i < firm.known; i++) {
        struct mp_information *one = &firm.list[i];
        const uint8_t status = input_u8(input), place = input_u8(input);
        one->apic_id = take_id(input) | (status == 255 ? (uint64_t)input_u32(input) << 32 : 0);
        one->status = (status & 1 ? 0 : MP_IS_ENABLED) | (status & 2 ? 0 : MP_IS_HEALTHY) |
                      (status & 4 ? MP_IS_BSP : 0);
        one->extended[0] = (status & 0xf0) == 0xf0; // counted, and no word about it
        one->package = place & 1;
        one->core = place >> 1 & 3;
        one->thread = place >> 3 & 1;
        firm.enabled += !(status & 1);
    }
    firm.all = wrong == 3 ? input_u64(input) : firm.known + (wrong == 4 ? input_u8(input) : 0);
    firm.enabled = wrong == 5 ? input_u64(input) : firm.enabled;
    firm.refuse_from = wrong == 6 ? input_u8(input) : SIZE_MAX;
}

// ---- what was asked for ----

static void take_options(struct input *input, struct options *options)
{
    options_set_defaults(options);
    options->wake = (enum smp_strategy)input_choice(input, smp_strategy_count());
    options->exit = input_u8(input) % 8 == 0 ? ANSWER_NO : ANSWER_YES;
    options->apic = (enum apic_choice)(input_u8(input) % 8 == 0 ? input_choice(input, 3) : 0);
    options->cpus_count = input_u8(input) % 8 == 0;
    if (options->cpus_count > 0) {
        options->cpus[0].first = 1 + input_u8(input) % 32;
        options->cpus[0].last = options->cpus[0].first + input_u8(input) % 8;
    }
    options->inject_count = input_choice(input, FAULTS_MAX);
    for (size_t i = 0; i < options->inject_count; i++) {
        const uint8_t cpu = input_u8(input);
        options->inject[i].kind = (enum fault_kind)input_choice(input, FAULT_KINDS);
        options->inject[i].cpu = cpu < 128 ? FAULT_ANY_CPU : 1 + cpu % 16;
    }
}

// ---- the inventory ----

static void check_inventory(const struct machine *machine)
{
    const struct inventory *inventory = &machine->inventory;
    size_t repeated = 0;

    MUST(inventory->enabled > 0 && inventory->cpus[0].apic_id == machine->bsp_apic_id);
    MUST(inventory->count == (size_t)inventory->enabled + inventory->disabled);
    MUST(inventory->count <= inventory->capacity && !inventory->truncated);
    for (size_t i = 0; i < inventory->count; i++) {
        const struct cpu *cpu = &inventory->cpus[i];
        bool before = false;
        MUST(cpu->listing == (i == 0                   ? CPU_BSP
                              : i < inventory->enabled ? CPU_LISTED
                                                       : CPU_DISABLED));
        for (size_t j = 0; j < i; j++)
            before |= inventory->cpus[j].apic_id == cpu->apic_id;
        MUST(cpu->repeated == before && (!before || i >= inventory->enabled));
        repeated += cpu->repeated;
    }
    MUST(repeated <= inventory->disabled);
}

// Does MP Services name a processor? Then no MADT is needed, unless there is no memory for a list.
static bool is_named(const struct machine *machine)
{
    for (size_t i = 0; i < firm.known && i < machine->mp_services; i++) {
        if ((firm.list[i].extended[0] & 1) == 0)
            return true;
    }
    return false;
}

// Of MP Services' list every ID is enabled that it has enabled and that can be one; and no other.
static void check_by_services(const struct machine *machine)
{
    const enum smp_apic_mode mode = machine->apic_base & APIC_BASE_EXTD ? SMP_X2APIC : SMP_XAPIC;
    const struct inventory *inventory = &machine->inventory;
    size_t found = 0;

    for (size_t i = 0; i < inventory->enabled; i++) {
        bool named = false;
        for (size_t j = 0; j < firm.known && j < machine->mp_services; j++) {
            const struct mp_information *one = &firm.list[j];
            named |= (one->extended[0] & 1) == 0 && (one->status & MP_IS_ENABLED) != 0 &&
                     (uint32_t)one->apic_id == inventory->cpus[i].apic_id &&
                     smp_can_address(mode, (uint32_t)one->apic_id);
        }
        MUST(named || (i == 0 && !inventory->bsp_listed));
        found += named;
    }
    MUST(found + !inventory->bsp_listed == inventory->enabled);
    MUST(inventory->checksum_ok && inventory->disabled <= firm.known);
}

static void check_counts(const struct machine *machine)
{
    MUST(machine->mp_services_enabled <= machine->mp_services);
    MUST(machine->mp_services == 0 || (!firm.absent && !firm.mute));
    MUST(machine->mp_services == 0 || machine->mp_services == firm.all);
}

// ---- the plan and its faults ----

// A message is withheld or changed only by a fault that is one of messages.
static void check_messages(struct input *input, const struct injector *injector)
{
    static const uint32_t commands[] = {ICR_INIT, ICR_STARTUP(0x9e), ICR_NMI};

    for (size_t i = 0; i < 4 && injector->plan->want > 0; i++) {
        struct smp_message message = {
            .slot = (uint32_t)(input_u8(input) % (injector->plan->want + 1)),
            .round = 1 + input_u8(input),
            .attempt = 1 + input_u8(input) % 2,
            .command = commands[input_choice(input, sizeof commands / sizeof commands[0])]};
        const struct smp_message before = message;
        const bool sent = inject_filter((void *)(uintptr_t)injector, &message);
        MUST(inject_has_messages(injector) || (sent && message.command == before.command));
        MUST(sent || (before.slot > 0 && before.attempt == 1));
        MUST(message.command == before.command || inject_has(injector, FAULT_BAD_VECTOR));
        MUST((message.command ^ before.command) <= 0xff);
    }
}

static void check_faults(struct input *input, const struct injector *injector)
{
    struct told told = {0};
    const struct problems problems = {told_add, &told};

    const enum status status = inject_check(injector, &problems);
    MUST(told.warnings + told.errors == injector->count);
    MUST((status == STATUS_OK) == (told.errors == 0));
    for (uint32_t slot = 1; slot <= injector->plan->want; slot++)
        MUST(!inject_is_mute(injector, slot) || inject_has(injector, FAULT_MUTE));
    check_messages(input, injector);
}

static bool make_plan(const struct machine *machine, const struct options *options,
                      struct smp_cpu *cpus, struct plan *plan)
{
    struct told told = {0};
    const struct problems problems = {told_add, &told};

    const enum status status = plan_make(machine, options, &problems, cpus, plan);
    MUST((status == STATUS_OK) == (told.errors == 0));
    MUST(plan->want < machine->inventory.enabled && cpus[0].cpu == 0);
    for (size_t slot = 1; slot <= plan->want; slot++) {
        const uint32_t cpu = cpus[slot].cpu;
        MUST(cpu > cpus[slot - 1].cpu && cpu < machine->inventory.enabled);
        MUST(cpus[slot].apic_id == machine->inventory.cpus[cpu].apic_id);
        MUST(smp_can_address(plan->apic_mode, cpus[slot].apic_id));
        MUST(options_cpu_wanted(options, cpu));
    }
    return status == STATUS_OK;
}

// ---- the census ----

enum sentence {
    DISABLED_BY_MP,
    ENABLED_BY_MP,
    CALLED_BSP,
    NOT_CALLED_BSP,
    UNHEALTHY,
    ELSEWHERE,
    UNKNOWN_TO_MP,
    NOT_IN_MADT,
    TWICE,
    SENTENCES,
};

static const char *const sentences[SENTENCES] = {
    [DISABLED_BY_MP] = "enabled in the MADT, disabled",
    [ENABLED_BY_MP] = "disabled in the MADT, enabled",
    [CALLED_BSP] = "MP Services calls it the BSP",
    [NOT_CALLED_BSP] = "MP Services does not call it the BSP",
    [UNHEALTHY] = "failed its self-test",
    [ELSEWHERE] = "its own CPUID gives another",
    [UNKNOWN_TO_MP] = "unknown to MP Services",
    [NOT_IN_MADT] = "not in the MADT",
    [TWICE] = "two handles of MP Services",
};

struct counted {
    size_t times[SENTENCES];
};

static void count_sentence(void *context, enum severity severity, const char *what,
                           const char *detail)
{
    struct counted *counted = context;
    size_t known = 0;

    MUST(severity == SEVERITY_WARNING && strcmp(what, "mp-disagrees") == 0);
    must_be_printable(detail);
    for (size_t i = 0; i < SENTENCES; i++) {
        const bool same = strstr(detail, sentences[i]) != NULL;
        counted->times[i] += same;
        known += same;
    }
    MUST(known == 1);
}

static const struct cpu *listed(const struct inventory *inventory, uint32_t apic_id)
{
    for (size_t i = 0; i < inventory->count; i++) {
        if (inventory->cpus[i].apic_id == apic_id)
            return &inventory->cpus[i];
    }
    return NULL;
}

// The first handle that has this ID.
static const struct census_entry *handle_of(const struct census *census, uint32_t apic_id)
{
    const struct census_entry *found = NULL;

    for (size_t i = 0; i < census->count; i++) {
        const struct census_entry *entry = &census->entries[i];
        if (entry->apic_id == apic_id && (!found || entry->handle < found->handle))
            found = entry;
    }
    return found;
}

static bool is_elsewhere(const struct evidence *evidence, const struct census_entry *entry)
{
    for (uint32_t slot = 0; evidence && slot < evidence->count; slot++) {
        const struct hello *own = &evidence->hellos[slot];
        if (evidence->accounts[slot].apic_id == entry->apic_id)
            return own->known &&
                   (own->place.package != entry->package || own->place.core != entry->core ||
                    own->place.thread != entry->thread);
    }
    return false;
}

static void count_anew(const struct census *census, const struct machine *machine,
                       const struct evidence *evidence, struct counted *counted)
{
    const struct inventory *inventory = &machine->inventory;
    const bool madt = inventory->source == INVENTORY_MADT;

    for (size_t i = 0; i < census->count; i++) {
        const struct census_entry *entry = &census->entries[i];
        const struct cpu *cpu = listed(inventory, entry->apic_id);
        const bool first = handle_of(census, entry->apic_id) == entry, enabled = entry->enabled;
        const bool bsp = entry->apic_id == machine->bsp_apic_id;
        counted->times[TWICE] += !first;
        counted->times[NOT_IN_MADT] += madt && !cpu;
        counted->times[ELSEWHERE] += is_elsewhere(evidence, entry);
        if (!cpu || !first)
            continue;
        counted->times[DISABLED_BY_MP] += madt && cpu->listing != CPU_DISABLED && !enabled;
        counted->times[ENABLED_BY_MP] += madt && cpu->listing == CPU_DISABLED && enabled;
        counted->times[CALLED_BSP] += entry->bsp && !bsp;
        counted->times[NOT_CALLED_BSP] += !entry->bsp && bsp;
        counted->times[UNHEALTHY] += !entry->healthy;
    }
    for (size_t i = 0; madt && i < inventory->count; i++) {
        const struct cpu *cpu = &inventory->cpus[i];
        counted->times[UNKNOWN_TO_MP] +=
            cpu->listing != CPU_DISABLED && !handle_of(census, cpu->apic_id);
    }
}

static void check_comparison(const struct census *census, const struct machine *machine,
                             const struct evidence *evidence)
{
    struct counted told = {{0}}, wanted = {{0}};
    const struct problems problems = {count_sentence, &told};
    struct heard heard = {0};
    struct console console;

    for (size_t i = 0; i < census->count; i++)
        census->entries[i].listed = false;
    census_compare(census->entries, census->count, machine, evidence, &problems);
    count_anew(census, machine, evidence, &wanted);
    for (size_t i = 0; i < SENTENCES; i++)
        MUST(told.times[i] == wanted.times[i]);
    for (size_t i = 1; i < census->count; i++)
        MUST(census->entries[i - 1].apic_id <= census->entries[i].apic_id);
    console_start(&console, LOG_NORMAL, 1);
    console.sinks[SINK_JOURNAL] =
        (struct console_sink){.write_line = heard_line, .context = &heard};
    census_report(&console, census->entries, census->count, evidence);
    MUST(heard.records == census->count && heard.sentences == 0);
}

// May firmware be asked for all of them? Only if it may be for each.
static void check_asking(const struct census *census, const struct evidence *evidence,
                         const struct injector *injector)
{
    bool each = true;

    for (size_t i = 0; i < census->count; i++)
        each &= census_allows_asking(&census->entries[i], 1, evidence, injector);
    MUST(census_allows_asking(census->entries, census->count, evidence, injector) == each);
}

static void take_evidence(struct input *input, const struct plan *plan, struct evidence *evidence,
                          struct hello *hellos)
{
    evidence->count = (uint32_t)plan->want + 1;
    evidence->rounds = 1 + input_u8(input) % 2;
    for (uint32_t slot = 0; slot <= plan->want; slot++) {
        const uint8_t how = input_u8(input), place = input_u8(input);
        evidence->accounts[slot] = (struct smp_account){
            .slot = slot,
            .cpu = plan->cpus[slot].cpu,
            .apic_id = plan->cpus[slot].apic_id,
            .arrived = how & 1,
            .stage = how & 1 ? SMP_STAGE_READY : SMP_STAGE_NONE,
            .lost = how & 1 ? 0 : evidence->rounds,
            .mark = how >> 1 & 1,
            .mark_shared = how >> 2 & 1,
            .stray = (how >> 3 & 7) == 7,
        };
        hellos[slot].known = place & 0x80;
        hellos[slot].place.package = place & 1;
        hellos[slot].place.core = place >> 1 & 3;
        hellos[slot].place.thread = place >> 3 & 1;
    }
}

static void take_census(struct input *input, const struct machine *machine,
                        const struct injector *injector, bool planned)
{
    struct smp_account accounts[CPUS_MAX] = {{0}};
    struct hello hellos[CPUS_MAX] = {{0}};
    struct evidence evidence = {.accounts = accounts, .hellos = hellos};
    struct census census;

    processors_read_census(&firmware, machine->mp_services, &census);
    MUST(census.entries != NULL || census.count == 0);
    MUST(census.count <= machine->mp_services);
    if (census.entries) {
        check_comparison(&census, machine, NULL);
        if (planned) {
            take_evidence(input, injector->plan, &evidence, hellos);
            check_comparison(&census, machine, &evidence);
            check_asking(&census, &evidence, injector);
        }
        release((uintptr_t)census.entries, census.pages);
    }
}

// The same table, as a kernel hands it over: each ID once and one that can be named, the caller's
// first; and room for exactly what was asked for.
static void read_as_a_kernel(uint32_t own_apic_id, enum smp_apic_mode mode)
{
    struct told told = {0};
    struct engine_madt madt = {
        .table = tables[2].bytes,
        .bytes = tables[2].length,
        .own_apic_id = own_apic_id,
        .apic_mode = mode,
        .problems = {told_add, &told},
    };
    struct engine_list list;

    madt.room_bytes = engine_room_bytes(&madt);
    madt.room = malloc(madt.room_bytes);
    MUST(madt.room != NULL);
    const enum status status = engine_read_madt(&madt, &list);
    MUST((status == STATUS_OK) == (told.errors == 0));
    MUST((status == STATUS_INVALID) == (list.count == 0));
    for (uint32_t i = 0; i < list.count; i++) {
        MUST(list.cpus[i].cpu == i && (list.cpus[i].apic_id == own_apic_id) == (i == 0));
        MUST(i == 0 || smp_can_address(mode, list.cpus[i].apic_id));
        for (uint32_t other = 0; other < i; other++)
            MUST(list.cpus[i].apic_id != list.cpus[other].apic_id);
    }
    madt.room_bytes--;
    MUST(engine_read_madt(&madt, &list) == STATUS_NO_SPACE && list.count == 0);
    free(madt.room);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    const struct phys phys = {view, NULL};
    struct told told = {0};
    const struct problems problems = {told_add, &told};
    struct smp_cpu cpus[CPUS_MAX];
    struct machine machine = {.bsp_apic_id = 0};
    struct options options;
    struct plan plan;

    machine.apic_base = APIC_BASE_EN | (input_u8(&input) % 8 != 0 ? APIC_BASE_BSP : 0) |
                        (input_u8(&input) % 2 != 0 ? APIC_BASE_EXTD : 0);
    machine.bsp_apic_id = input_u8(&input) % 16;
    make_services(&input);
    take_options(&input, &options);
    make_machine(&input);
    read_as_a_kernel(machine.bsp_apic_id, SMP_XAPIC);
    read_as_a_kernel(machine.bsp_apic_id, SMP_X2APIC);
    const enum status status =
        processors_gather(&firmware, &phys, RSDP_PHYS, &options, &problems, &machine);
    MUST((status == STATUS_OK) == (told.errors == 0));
    check_counts(&machine);
    MUST(blocks() == (machine.inventory.cpus != NULL));
    MUST(status == STATUS_OK || !is_named(&machine) || firm.refuse_from != SIZE_MAX);
    if (status == STATUS_OK) {
        check_inventory(&machine);
        if (machine.inventory.source == INVENTORY_MP_SERVICES && options.inject_count == 0)
            check_by_services(&machine);
        MUST(machine.inventory.count <= CPUS_MAX);
        const bool planned = make_plan(&machine, &options, cpus, &plan);
        const struct injector injector = {options.inject, options.inject_count, &plan, 0x9f000};
        check_faults(&input, &injector);
        take_census(&input, &machine, &injector, planned);
    }
    if (machine.inventory.cpus)
        release((uintptr_t)machine.inventory.cpus, machine.inventory_pages);
    MUST(blocks() == 0);
    free_machine();
    return 0;
}
