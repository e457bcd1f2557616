// Everything before the exit that can be refused: no refusal is without a line, no option is
// rewritten, and what APs and CPU 0 touch afterwards is mapped, whatever the memory map calls it.
// Surprise: gathering is the test's own, since only firmware knows a machine.
#include "fake_firmware.h"

#include "aps_fixture.h"
#include "heard.h"

#include "compare.h"
#include "gather.h"
#include "graphics.h"
#include "harvest.h"
#include "nvram.h"
#include "prepare.h"

#define CPUS     4u
#define LOW_PAGE 0x60000u
#define DECOY    0x61000u
#define STACK    0x7f00800u

static struct firmware firmware;
static struct heard heard;
static struct voice voice;
static struct machine machine;
static struct cpu cpus[CPUS];
static struct range ram[2];
static struct options asked, settled, before;
static struct past past;
static struct stick stick;
static struct pieces pieces;
static struct host host;
static struct plan plan;
static struct smp *smp;
static uint64_t pat;

static struct {
    enum status gather;
    struct past past;
    bool has_room, compares;
    uint32_t gathered, harvested, drawn;
} world;

// ---- what firmware would say ----

static void say(const char *text)
{
    console_tell(&voice.console, text, 0);
}

enum status gather(struct firmware *self, const struct options *options,
                   const struct problems *problems, struct machine *found)
{
    (void)self, (void)options, (void)problems, (void)found;
    world.gathered++;
    return world.gather;
}

struct past harvest(const struct options *options, const struct journal *own, struct last_run *last,
                    struct stick *volume, const struct problems *problems)
{
    (void)own, (void)last, (void)problems;
    assert_ptr_equal(options, &asked);
    assert_ptr_equal(volume, &stick);
    world.harvested++;
    return world.past;
}

void graphics_gather(const struct firmware *self, const struct options *options,
                     struct console *console, const struct problems *problems,
                     struct machine *found)
{
    (void)self, (void)options, (void)console, (void)problems, (void)found;
    world.drawn++;
    say("the frame buffers");
}

bool nvram_has_room(const struct firmware *self, const struct problems *problems)
{
    (void)self;
    if (!world.has_room)
        problems->tell(problems->context, SEVERITY_WARNING, "no-nvram", "there is no room");
    return world.has_room;
}

bool compare_firmware(const struct firmware *self, const struct machine *of,
                      struct firmware_times *times)
{
    (void)self, (void)of;
    *times = (struct firmware_times){2000, 1000};
    return world.compares;
}

static EFI_STATUS EFIAPI get_time(EFI_TIME *time, EFI_TIME_CAPABILITIES *capabilities)
{
    (void)capabilities;
    *time = (EFI_TIME){.Year = 2026, .Month = 11, .Day = 28};
    return EFI_SUCCESS;
}

_Noreturn void ending_after_fault(struct ending *ending)
{
    (void)ending;
    fake_fail("nobody has met a fault");
}

// ---- set-up ----

static void open_voice(void)
{
    voice = (struct voice){.problems = {report_problem, &voice.console}};
    heard_start(&heard, LOG_NORMAL);
    console_start(&voice.console, LOG_NORMAL, 1);
    voice.console.sinks[SINK_SCREEN] =
        (struct console_sink){.write_line = heard_line, .context = &heard};
}

static void open_journal(void)
{
    voice.journal_pages = 2;
    voice.journal_memory = memory_allocate(&firmware, voice.journal_pages);
    journal_open(&voice.journal, voice.journal_memory, voice.journal_pages * PAGE_BYTES);
}

// The image's code is where this program has the APs' entry.
static void open_machine(void)
{
    const uint64_t entry = (uintptr_t)ap_main / PAGE_BYTES * PAGE_BYTES;

    for (uint32_t cpu = 0; cpu < CPUS; cpu++)
        cpus[cpu] = (struct cpu){cpu, cpu, cpu == 0 ? CPU_BSP : CPU_LISTED, false};
    ram[0] = (struct range){0, 0xa0000};
    ram[1] = (struct range){0x100000, 0x200000};
    machine = (struct machine){
        .processor = {.vendor = VENDOR_INTEL,
                      .family = 6,
                      .x2apic = true,
                      .no_execute = true,
                      .gib_pages = true,
                      .phys_bits = 46,
                      .id_leaf = 0xb},
        .apic_base = 0xfee00900,
        .clock = {.tsc_hz = 1000000000},
        .clock_check = "",
        .inventory = {.cpus = cpus, .capacity = CPUS, .count = CPUS, .enabled = CPUS},
        .inventory_pages = 1,
        .ram = ram,
        .ram_count = 2,
        .image = {.base = entry, .bytes = 2 * PAGE_BYTES, .text = {entry, 2 * PAGE_BYTES}},
    };
}

static int set_up(void **state)
{
    static EFI_RUNTIME_SERVICES runtime = {.GetTime = get_time};

    (void)state;
    fake_reset();
    fake_start_clock(1, 10);
    memset(&world, 0, sizeof world);
    world.has_room = true;
    firmware = fake_firmware_start(48);
    firmware.stack_top = STACK;
    fake_firmware.system.RuntimeServices = &runtime;
    fake_map_low(LOW_PAGE, 2);
    fake_firmware.low[0] = LOW_PAGE;
    fake_firmware.low[1] = DECOY;
    fake_firmware.low_count = 2;
    options_set_defaults(&asked);
    memset(&settled, 0xa5, sizeof settled);
    past = (struct past){0};
    stick = (struct stick){.firmware = &firmware, .console = &voice.console};
    pieces = (struct pieces){0};
    host = (struct host){.console = &voice.console};
    open_voice();
    open_machine();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_firmware_clear();
    return 0;
}

static enum status facts(void)
{
    before = asked;
    const enum status status = prepare_facts(&firmware, &asked, &voice, &stick, &machine, &past);
    assert_memory_equal(&asked, &before, sizeof asked);
    return status;
}

static enum status make_plan(void)
{
    before = asked;
    const enum status status = prepare_plan(&firmware, &past, &asked, &voice, &machine, &pieces,
                                            &host.injector, &settled, &plan);
    assert_memory_equal(&asked, &before, sizeof asked);
    return status;
}

static enum status open_engine(void)
{
    return prepare_engine(&firmware, &machine, &plan, &host, &voice, &pieces, &pat, &smp);
}

static size_t times(const char *text)
{
    size_t count = 0;
    for (const char *at = heard.text; (at = strstr(at, text)) != NULL; at++)
        count++;
    return count;
}

static void assert_refused(enum status status, enum status wanted, const char *what)
{
    assert_int_equal(status, wanted);
    if (strstr(heard.text, what) == NULL)
        fail_msg("not told: %s\n%s", what, heard.text);
}

// ---- facts ----

static void test_facts(void **state)
{
    (void)state;
    world.past = (struct past){.unsaved = true};
    assert_int_equal(facts(), STATUS_OK);
    assert_int_equal(world.gathered, 1);
    assert_int_equal(world.harvested, 1);
    assert_true(past.unsaved);
    assert_int_equal(past.resets, 0);
    assert_string_equal(heard.text, "");
    assert_int_equal(fake_firmware.owned_count, 0);
}

// A guest in which a look at the wrong place kills is not looked at.
static void test_a_guest_is_refused_first(void **state)
{
    (void)state;
    machine.processor.guest = GUEST_TDX;
    assert_refused(facts(), STATUS_UNSUPPORTED, "ev=error what=tdx-guest ");
    assert_int_equal(world.gathered, 0);
    assert_int_equal(world.harvested, 0);
}

static void test_what_gathering_refuses(void **state)
{
    (void)state;
    world.gather = STATUS_INVALID;
    assert_int_equal(facts(), STATUS_INVALID);
    assert_int_equal(world.harvested, 0);
}

static void test_no_effect(void **state)
{
    (void)state;
    asked.exit = ANSWER_NO;
    assert_int_equal(facts(), STATUS_OK);
    assert_int_equal(times("what=no-effect"), 0);
    asked.save = SAVE_NVRAM;
    assert_int_equal(facts(), STATUS_OK);
    assert_int_equal(times("what=no-effect"), 1);
    asked.save = SAVE_RAM;
    asked.again = ANSWER_YES;
    assert_int_equal(facts(), STATUS_OK);
    assert_int_equal(times("what=no-effect"), 2);
    asked.exit = ANSWER_YES;
    assert_int_equal(facts(), STATUS_OK);
    assert_int_equal(times("what=no-effect"), 2);
}

// ---- the plan ----

static void test_options_stay_as_they_are(void **state)
{
    (void)state;
    asked.rounds = 7;
    asked.save = SAVE_NVRAM;
    asked.inject[0] = (struct injection){.kind = FAULT_LATE, .cpu = 2};
    asked.inject_count = 1;
    assert_int_equal(make_plan(), STATUS_OK);
    assert_memory_equal(&settled, &asked, sizeof asked);
    assert_int_equal(plan.want, CPUS - 1);
    assert_int_equal(plan.rounds, 7);
    assert_ptr_equal(plan.cpus, pieces.cpus);
    assert_int_equal(host.injector.count, 1);
    assert_ptr_equal(host.injector.plan, &plan);
}

// The plan is of what is done: it keeps firmware's APIC mode only where a summary is kept.
static void test_nvram_without_room(void **state)
{
    (void)state;
    asked.save = SAVE_NVRAM;
    assert_int_equal(make_plan(), STATUS_OK);
    assert_int_equal(plan.apic_mode, SMP_XAPIC);
    pieces_free(&firmware, KEEP_NOTHING, &pieces);
    world.has_room = false;
    assert_int_equal(make_plan(), STATUS_OK);
    assert_int_equal(plan.apic_mode, SMP_X2APIC);
    assert_int_equal(settled.save, SAVE_RAM);
    settled.save = SAVE_NVRAM;
    assert_memory_equal(&settled, &asked, sizeof asked); // and nothing else
    assert_int_equal(times("what=no-nvram"), 1);
}

static void test_nvram_is_not_asked_without_need(void **state)
{
    (void)state;
    world.has_room = false;
    for (enum save_choice save = SAVE_NONE; save <= SAVE_NVRAM; save++) {
        asked.save = save;
        assert_int_equal(make_plan(), STATUS_OK);
        assert_int_equal(times("what=no-nvram"), save == SAVE_NVRAM);
        pieces_free(&firmware, KEEP_NOTHING, &pieces);
        heard.text[0] = '\0';
    }
}

// A fault on purpose is not committed twice.
static void test_behind_a_reset(void **state)
{
    (void)state;
    past.resets = 1;
    asked.inject[0] = (struct injection){.kind = FAULT_BAD_CR3, .cpu = 2};
    asked.inject_count = 1;
    assert_int_equal(make_plan(), STATUS_OK);
    assert_int_equal(host.injector.count, 0);
    assert_int_equal(settled.inject_count, 0);
    settled.inject_count = 1;
    assert_memory_equal(&settled, &asked, sizeof asked);
    assert_int_equal(times("this one injects nothing"), 1);
    assert_int_equal(times("ON PURPOSE"), 0);
}

static void test_behind_two_resets(void **state)
{
    (void)state;
    past.resets = 2;
    assert_refused(make_plan(), STATUS_UNSUPPORTED, "ev=error what=keeps-resetting ");
    assert_int_equal(world.drawn, 0);
    assert_int_equal(fake_firmware.owned_count, 0);
}

static void test_no_screen(void **state)
{
    (void)state;
    asked.screen = SCREEN_OFF;
    assert_int_equal(make_plan(), STATUS_OK);
    assert_int_equal(world.drawn, 0);
}

static void test_the_order_of_lines(void **state)
{
    (void)state;
    past.resets = 1;
    world.has_room = false;
    asked.save = SAVE_NVRAM;
    asked.bench = BENCH_NULL;
    asked.inject_count = 1;
    machine.inventory.wakeup_mailbox = true;
    assert_int_equal(make_plan(), STATUS_OK);
    const char *at = heard.text;
    static const char *const lines[] = {"what=inject", "the frame buffers", "what=no-nvram",
                                        "what=null-broadcasts", "what=wakeup-mailbox"};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        at = strstr(at, lines[i]);
        assert_non_null(at);
    }
}

// Who is never called cannot hang in a call.
static void test_a_hang_without_a_call(void **state)
{
    (void)state;
    asked.inject[0] = (struct injection){.kind = FAULT_HANG_CALL, .cpu = 1};
    asked.inject_count = 1;
    asked.run = RUN_SUM;
    assert_int_equal(make_plan(), STATUS_OK);
    assert_int_equal(times("what=no-effect"), 0);
    asked.run = RUN_NONE;
    assert_int_equal(make_plan(), STATUS_OK);
    assert_int_equal(times("what=no-effect"), 1);
}

static void test_plans_that_are_refused(void **state)
{
    (void)state;
    asked.cpus[0] = (struct cpu_range){7, 7};
    asked.cpus_count = 1;
    assert_refused(make_plan(), STATUS_INVALID, "ev=error what=no-such-cpu ");
    asked.cpus_count = 0;
    asked.inject[0] = (struct injection){.kind = FAULT_LATE, .cpu = 77};
    asked.inject_count = 1;
    assert_refused(make_plan(), STATUS_INVALID, "ev=error what=inject ");
}

// Room for every line: a page for four processors, and for sixteen lines of the rounds.
static void test_the_journal_grows(void **state)
{
    (void)state;
    open_journal();
    asked.rounds = 160;
    asked.sweep = (struct sweep){.key = SWEEP_SIPIS, .count = 2, .values = {1, 2}};
    assert_int_equal(make_plan(), STATUS_OK);
    assert_int_equal(voice.journal_pages, 16 + CPUS / 4 + 160 * 2 / 16);
}

// ---- the comparison ----

static void test_the_comparison(void **state)
{
    struct firmware_times found;

    (void)state;
    assert_int_equal(make_plan(), STATUS_OK);
    world.compares = true;
    prepare_report(&firmware, &asked, &machine, &plan, &voice, &found);
    assert_int_equal(found.warm_us, 0); // not asked for
    asked.compare = COMPARE_FIRMWARE;
    prepare_report(&firmware, &asked, &machine, &plan, &voice, &found);
    assert_int_equal(found.warm_us, 1000);
    assert_int_equal(times("ev=firmware "), 1);
    world.compares = false;
    prepare_report(&firmware, &asked, &machine, &plan, &voice, &found);
    assert_int_equal(times("what=no-comparison"), 1);
}

// ---- the engine ----

static void test_an_engine(void **state)
{
    (void)state;
    assert_int_equal(make_plan(), STATUS_OK);
    assert_int_equal(open_engine(), STATUS_OK);
    const struct smp_layout layout = smp_layout(smp);
    assert_int_equal(smp_count(smp), CPUS);
    assert_int_equal(layout.page_phys, LOW_PAGE);
    assert_int_equal((uintptr_t)layout.page_view, LOW_PAGE);
    assert_int_equal(pat, 0);
    assert_ptr_equal(host.hellos.of_slot, pieces.hellos);
    const char *at = heard.text;
    static const char *const lines[] = {"Initialized CPU 1: ", "Initialized CPU 3: ", "ev=memory ",
                                        "ev=trampoline "};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        at = strstr(at, lines[i]);
        assert_non_null(at);
    }
    assert_int_equal(times("ev=error") + times("ev=warning"), 0);
}

static void test_a_page_that_is_firmwares_until_the_exit(void **state)
{
    (void)state;
    fake_firmware.low_count = 0;
    fake_add(EfiBootServicesData, 0x70000, 1);
    assert_int_equal(make_plan(), STATUS_OK);
    assert_int_equal(open_engine(), STATUS_OK);
    assert_int_equal(pieces.low_page, 0);
    assert_int_equal(pieces.late_page, 0x70000);
    assert_int_equal(smp_layout(smp).page_phys, 0);
    assert_int_equal(times("ev=memory "), 1);
    assert_int_equal(times("ev=trampoline "), 0);
}

static void inject(enum fault_kind kind)
{
    asked.inject[0] = (struct injection){.kind = kind, .cpu = FAULT_ANY_CPU};
    asked.inject_count = 1;
}

static void test_no_low_page_on_purpose(void **state)
{
    (void)state;
    inject(FAULT_NO_LOW_PAGE);
    fake_add(EfiBootServicesData, 0x70000, 1);
    assert_int_equal(make_plan(), STATUS_OK);
    assert_int_equal(open_engine(), STATUS_OK);
    assert_int_equal(pieces.low_page, 0);
    assert_int_equal(pieces.late_page, 0x70000);
}

static void test_a_decoy_for_a_wrong_vector(void **state)
{
    (void)state;
    inject(FAULT_BAD_VECTOR);
    assert_int_equal(make_plan(), STATUS_OK);
    assert_int_equal(open_engine(), STATUS_OK);
    assert_int_equal(host.injector.decoy_page, DECOY);
}

// Write-combining is for a screen, where the processor has a PAT at all.
static void test_the_pat(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 4; i++) {
        set_up(state);
        assert_int_equal(make_plan(), STATUS_OK);
        machine.processor.pat = i & 1;
        if (i & 2) {
            voice.display_pages = 1;
            voice.display_memory = memory_allocate(&firmware, 1);
        }
        assert_int_equal(open_engine(), STATUS_OK);
        assert_int_equal(pat, i == 3 ? SMP_PAT_WITH_COMBINING : 0);
    }
}

// ---- memory of ours ----

static void assert_mapped(const char *name, const void *memory, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += PAGE_BYTES) {
        const struct page_walk walk = page_tables_walk(&smp->tables, (uintptr_t)memory + at);
        if (!walk.mapped || !walk.writable || walk.phys != (uintptr_t)memory + at)
            fail_msg("%s: %#zx is not mapped as ours", name, at);
    }
}

// None of it is in the RAM that the memory map knows.
static void test_own_memory_is_mapped(void **state)
{
    (void)state;
    open_journal();
    assert_int_equal(make_plan(), STATUS_OK);
    voice.display_pages = 3;
    voice.display_memory = memory_allocate(&firmware, voice.display_pages);
    assert_int_equal(open_engine(), STATUS_OK);
    assert_mapped("stack", (const void *)(uintptr_t)(STACK - 32 * 1024), 32 * 1024 + PAGE_BYTES);
    assert_mapped("journal", voice.journal_memory, voice.journal_pages * PAGE_BYTES);
    assert_mapped("lists", pieces.lists, pieces.list_pages * PAGE_BYTES);
    assert_mapped("inventory", (void *)((uintptr_t)cpus / PAGE_BYTES * PAGE_BYTES), sizeof cpus);
    assert_mapped("screen", voice.display_memory, voice.display_pages * PAGE_BYTES);
    assert_mapped("hellos", pieces.hellos, pieces.hello_pages * PAGE_BYTES);
    assert_mapped("note", pieces.note, PAGE_BYTES);
}

// ---- no refusal without a word ----

// The map's buffer, the lists, the hellos, the engine: each of them is refused once.
static void test_each_allocation_that_fails_is_told(void **state)
{
    uint32_t refused = 0;

    for (size_t from = 1; from <= 8; from++) {
        set_up(state);
        fake_firmware.refuse_high_from = from;
        enum status status = make_plan();
        if (status == STATUS_OK)
            status = open_engine();
        if (status != STATUS_OK)
            assert_refused(status, STATUS_NO_SPACE, "ev=error what=no-memory ");
        refused += status != STATUS_OK;
        pieces_free(&firmware, KEEP_NOTHING, &pieces);
        assert_int_equal(fake_firmware.owned_count, 0);
    }
    assert_int_equal(refused, 3);
}

static void test_no_page_is_told(void **state)
{
    (void)state;
    fake_firmware.low_count = 0;
    assert_int_equal(make_plan(), STATUS_OK);
    assert_refused(open_engine(), STATUS_NOT_FOUND, "ev=error what=no-low-page ");
}

static void test_no_map_is_told(void **state)
{
    (void)state;
    fake_firmware.low_count = 0;
    assert_int_equal(make_plan(), STATUS_OK);
    fake_firmware.map_status = EFI_DEVICE_ERROR;
    assert_refused(open_engine(), STATUS_INVALID, "ev=error what=no-memory-map ");
}

static void test_no_decoy_is_told(void **state)
{
    (void)state;
    inject(FAULT_BAD_VECTOR);
    fake_firmware.low_count = 1;
    assert_int_equal(make_plan(), STATUS_OK);
    assert_refused(open_engine(), STATUS_NOT_FOUND, "ev=error what=no-low-page ");
}

// Own memory that cannot be mapped: on a machine whose firmware's stack lies beyond its addresses.
static void test_own_memory_that_cannot_be_mapped_is_told(void **state)
{
    (void)state;
    firmware.stack_top = 1ull << 50;
    assert_int_equal(make_plan(), STATUS_OK);
    assert_refused(open_engine(), STATUS_INVALID, "the BSP's stack");
    assert_int_equal(times("ev=error what=page-tables "), 1);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_facts),
        TEST(test_a_guest_is_refused_first),
        TEST(test_what_gathering_refuses),
        TEST(test_no_effect),
        TEST(test_options_stay_as_they_are),
        TEST(test_nvram_without_room),
        TEST(test_nvram_is_not_asked_without_need),
        TEST(test_behind_a_reset),
        TEST(test_behind_two_resets),
        TEST(test_no_screen),
        TEST(test_the_order_of_lines),
        TEST(test_a_hang_without_a_call),
        TEST(test_plans_that_are_refused),
        TEST(test_the_journal_grows),
        TEST(test_the_comparison),
        TEST(test_an_engine),
        TEST(test_a_page_that_is_firmwares_until_the_exit),
        TEST(test_no_low_page_on_purpose),
        TEST(test_a_decoy_for_a_wrong_vector),
        TEST(test_the_pat),
        TEST(test_own_memory_is_mapped),
        TEST(test_each_allocation_that_fails_is_told),
        TEST(test_no_page_is_told),
        TEST(test_no_map_is_told),
        TEST(test_no_decoy_is_told),
        TEST(test_own_memory_that_cannot_be_mapped_is_told),
    };
    return cmocka_run_group_tests_name("prepare", tests, aps_set_up, NULL);
}
