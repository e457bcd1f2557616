// ev=bound against machines where everything goes wrong in the slowest way that is not yet an
// error: the run's own code after the exit, round by round, up to the last record. Nobody arrives,
// or everybody at the last moment and then keeps silent; the local APIC is busy; the serial port
// crawls just within its time-out; and whoever is awake dies with the console in its hands. By the
// fake's clock, which no host makes slower. Surprise: the bound is also held against being far too
// large, since one that no run comes near proves nothing.
#include "fake_firmware.h"

#include <stdio.h>

#include "aps_fixture.h"
#include "fake_bsp.h"

#include "bound.h"
#include "departure.h"
#include "drill.h"
#include "end.h"
#include "ending.h"
#include "host.h"
#include "null.h"
#include "nvram.h"
#include "report.h"
#include "report_cpus.h"
#include "report_rounds.h"
#include "rounds.h"
#include "stages.h"

#define PORT     0x3f8u
#define STEP_US  100u // a look; a run takes minutes
#define CPUS_MAX 64u

// What main.c owns.
static struct firmware firmware;
static struct voice voice;
static struct host host;
static struct pieces pieces;
static struct window window;
static struct evidence evidence;
static struct ending ending;
static struct past past;
static struct stick stick;
static struct drill_ground ground;

static jmp_buf ended;
static struct {
    uint64_t ready;   // when the port takes the next load
    uint64_t load_us; // how long it takes for one
    size_t dead;      // how often somebody dies with the console in its hands
    size_t cpu_records, end_records, bounds;
    uint64_t seconds;     // as told
    const char *fault_at; // in which line of ours we meet a fault
    bool watchdog_is_off;
} world;

// ---- what stands around the run after the exit ----

_Noreturn void end_run(const struct firmware *self, const struct machine *machine,
                       const struct options *options, enum next_start next, struct journal *journal,
                       struct console *console, enum exit_code code)
{
    (void)self, (void)machine, (void)options, (void)journal, (void)console;
    assert_int_equal(next, NEXT_BY_HAND);
    assert_int_equal(code, ending.outcome.ok ? EXIT_OK : EXIT_FAILED);
    longjmp(ended, 1);
}

bool end_resets_itself(const struct machine *machine, const struct options *options)
{
    (void)machine, (void)options;
    return false;
}

void nvram_save(const struct firmware *self, const struct line *summary, struct console *console)
{
    (void)self, (void)summary, (void)console;
    fake_fail("nobody asked for save=nvram");
}

void firmware_wake_round(const struct firmware *self, struct smp *smp,
                         const struct problems *problems, struct smp_round *round)
{
    (void)self, (void)smp, (void)problems, (void)round;
    fake_fail("no firmware any more");
}

bool harvest_own(const struct journal *journal, const CHAR16 *name, enum stick_end end,
                 struct stick *self, struct past *known, const struct problems *problems)
{
    (void)journal, (void)name, (void)end, (void)self, (void)known, (void)problems;
    return true;
}

static EFI_STATUS EFIAPI set_watchdog(UINTN seconds, UINT64 code, UINTN bytes, CHAR16 *data)
{
    (void)code, (void)bytes, (void)data;
    world.watchdog_is_off = seconds == 0;
    return EFI_SUCCESS;
}

// ---- the machine ----

// An exception of CPU 0's in the middle of a line.
static void meet_fault(void)
{
    const struct smp_fault_report report = {.text = "CPU 0 stopped"};

    world.fault_at = NULL;
    aps.host.fault(aps.host.context, &report);
}

static void hear(void *context, const char *text)
{
    unsigned long long seconds;

    (void)context;
    world.cpu_records += strncmp(text, "REVEILLE ev=cpu ", 16) == 0;
    world.end_records += strncmp(text, "REVEILLE ev=end ", 16) == 0;
    if (sscanf(text, "REVEILLE ev=bound seconds=%llu", &seconds) == 1) {
        world.seconds = seconds;
        world.bounds++;
    }
    if (world.fault_at != NULL && strstr(text, world.fault_at) != NULL)
        meet_fault();
    // Somebody takes the console over from us, and dies.
    if (world.dead > 0)
        atomic_store(&voice.console.owner, 1000000 + (uint32_t)world.dead--);
}

static uint64_t read_line_status(void *context, uint64_t address)
{
    (void)context, (void)address;
    return fake_now() >= world.ready ? 0x60 : 0x00;
}

static void write_data(void *context, uint64_t address, uint64_t value)
{
    (void)context, (void)address, (void)value;
    world.ready = fake_now() + TICKS(world.load_us);
}

static void open_machine(size_t count, enum smp_strategy strategy)
{
    memset(&world, 0, sizeof world);
    fake_aps_open(&aps, count);
    aps.options.wake = strategy;
}

static void plug_in(uint16_t divisor)
{
    fake_hook(FAKE_PORT8, PORT + 5, PORT + 5, read_line_status, NULL, NULL);
    fake_hook(FAKE_PORT8, PORT, PORT, NULL, write_data, NULL);
    voice.console.uart =
        (struct uart){.port = PORT, .present = true, .divisor = divisor, .fifo_bytes = 16};
    console_set_rate(&voice.console, FAKE_TICKS_PER_US);
    world.load_us = voice.console.uart.timeout_ticks / FAKE_TICKS_PER_US - 2ull * STEP_US;
}

static void open_voice(uint16_t divisor)
{
    voice = (struct voice){.problems = {report_problem, &voice.console}};
    console_start(&voice.console, aps.options.log, FAKE_TICKS_PER_US);
    if (divisor != 0)
        plug_in(divisor);
    voice.console.sinks[SINK_JOURNAL] = (struct console_sink){.write_line = hear};
}

static void open_firmware(void)
{
    firmware = fake_firmware_start(sizeof(EFI_MEMORY_DESCRIPTOR));
    fake_firmware.boot.SetWatchdogTimer = set_watchdog;
    fake_bsp_start(&fake_firmware.boot);
}

// As prepare.c leaves it: a page that is filled and proved, and memory for all that is written.
static void open_pieces(void)
{
    static uint32_t lasts_us[CPUS_MAX], medians_us[CPUS_MAX], scratch[CPUS_MAX];
    static struct smp_account accounts[CPUS_MAX];
    static struct hello hellos[CPUS_MAX];
    static struct note note;

    memset(hellos, 0, sizeof hellos);
    pieces = (struct pieces){
        .accounts = accounts,
        .cpus = aps.plan.cpus,
        .scratch = scratch,
        .lasts_us = lasts_us,
        .medians_us = medians_us,
        .hellos = hellos,
        .note = &note,
        .low_page = FAKE_PAGE,
    };
    // Our own address space is the fake's: what APs have at the window lies there.
    memcpy((void *)(uintptr_t)smp_layout(aps.smp).page_window, aps.page, PAGE_BYTES);
}

static void build_run(uint16_t divisor)
{
    open_voice(divisor);
    host = (struct host){.console = &voice.console, .ending = &ending};
    aps.host = host_callbacks(&host, &voice.problems);
    fake_aps_prepare(&aps);
    host.injector.plan = &aps.plan;
    open_firmware();
    open_pieces();
    fake_log_kinds(0);
    fake_start_clock(fake_now(), TICKS(STEP_US));
    window_start(&window, WINDOW_ONCE, &firmware, &aps.machine.processor, &voice, aps.smp, 0);
    evidence = (struct evidence){.accounts = pieces.accounts, .hellos = pieces.hellos};
    ending = (struct ending){
        .firmware = &firmware,
        .machine = &aps.machine,
        .options = &aps.options,
        .window = &window,
        .smp = aps.smp,
        .voice = &voice,
        .note = pieces.note,
        .evidence = &evidence,
    };
}

static void leave(void)
{
    fake_set_interrupts(true);
    if (departure(&firmware, &aps.machine, &aps.options, &aps.plan, 0, aps.smp, pieces.note, &past,
                  &stick, &voice, &ending.next) != STATUS_OK)
        fake_fail("firmware was not left");
    // Firmware's handlers are gone, and so is who would have wound its watchdog up.
    assert_false(hw_interrupts_are_on());
    assert_true(world.watchdog_is_off);
}

// All that main.c does behind the exit.
_Noreturn static void run_to_the_end(void)
{
    static const struct firmware_times never_timed;
    struct run_times times = {.start = 0};
    struct rounds_setup setup = {
        .firmware = &firmware,
        .machine = &aps.machine,
        .options = &aps.options,
        .injector = &host.injector,
        .firmware_times = &never_timed,
        .plan = &aps.plan,
        .pieces = &pieces,
        .voice = &voice,
        .window = &window,
        .smp = aps.smp,
        .ground = &ground,
    };

    const struct rounds_done done = rounds_run(&setup);
    if (done.status != STATUS_OK)
        fake_fail("there was a page");
    ending_examine(&ending);
    const struct stages stages = stages_of(&evidence, &aps.machine.clock, pieces.scratch);
    report_stages(&voice.console, &stages);
    report_aswoken(&voice.console, &evidence, &aps.machine.clock);
    report_flags(&evidence, &voice.problems);
    ending_account(&ending);
    report_times(&voice.console, &aps.machine.clock, &times);
    ending_run(&ending);
}

// Runs all of it. `least`: so much of the bound, in per cent, is what this machine takes at least.
// What the bound has for a hypervisor that gives half of the time is left out: here all of it is
// ours.
static void run_all(uint16_t divisor, uint32_t least)
{
    build_run(divisor);
    const struct sweep *sweep = &aps.options.sweep;
    const size_t settings = sweep->count > 0 ? sweep->count : 1;
    const size_t tries = aps.plan.messages.retries + 1;
    volatile uint64_t left = 0;
    if (setjmp(ended) == 0) {
        leave();
        world.dead = aps.plan.want * tries * aps.plan.rounds * settings;
        left = fake_now();
        run_to_the_end();
    }
    assert_int_equal(world.end_records, 1);
    assert_int_equal(world.cpu_records, aps.count);
    assert_int_equal(world.bounds, 1);
    assert_int_equal(smp_rounds(aps.smp), aps.plan.rounds * settings);
    const uint64_t took_us = clock_us(&aps.machine.clock, fake_now() - left);
    print_message("%zu processors: %llu s of %llu\n", aps.count,
                  (unsigned long long)took_us / 1000000, (unsigned long long)world.seconds);
    assert_in_range(took_us, world.seconds * 10000 / 2 * least, world.seconds * 1000000 / 2);
}

static void nobody_arrives(void)
{
    for (uint32_t cpu = 1; cpu < aps.count; cpu++)
        aps.aps[cpu].to_protected_ticks = FAKE_NEVER;
}

// In the last try, just before its end, and then without a word.
static void all_arrive_late_and_keep_silent(void)
{
    for (uint32_t cpu = 1; cpu < aps.count; cpu++) {
        aps.aps[cpu].deaf_inits = aps.options.retries;
        aps.aps[cpu].to_c_ticks = TICKS(aps.options.timeout_us - 2000);
        aps.aps[cpu].to_greeting_ticks = FAKE_NEVER;
    }
}

static void test_nobody_arrives(void **state)
{
    (void)state;
    for (enum smp_strategy wake = SMP_PARALLEL; wake <= SMP_BROADCAST; wake++) {
        open_machine(8, wake);
        nobody_arrives();
        run_all(1, 75);
        fake_aps_close(&aps);
    }
}

static void test_all_keep_silent(void **state)
{
    (void)state;
    for (enum smp_strategy wake = SMP_PARALLEL; wake <= SMP_BROADCAST; wake++) {
        open_machine(8, wake);
        all_arrive_late_and_keep_silent();
        run_all(1, 75);
        fake_aps_close(&aps);
    }
}

static void test_a_busy_apic(void **state)
{
    (void)state;
    open_machine(8, SMP_ONE_BY_ONE);
    aps.options.apic = APIC_XAPIC;
    aps.options.retries = 3;
    aps.options.sipis = 4;
    nobody_arrives();
    aps.busy_from = 1;
    aps.busy_ticks = TICKS(SMP_APIC_IDLE_US - 2 * STEP_US);
    run_all(1, 75);
}

static void test_a_slow_port(void **state)
{
    static const uint16_t divisors[] = {0, 12, 96};
    static const uint32_t least[] = {75, 50, 5}; // at 1200 baud the lines' length is most of it

    (void)state;
    for (size_t i = 0; i < sizeof divisors / sizeof divisors[0]; i++) {
        open_machine(8, SMP_PARALLEL);
        aps.options.log = LOG_DEBUG;
        all_arrive_late_and_keep_silent();
        run_all(divisors[i], least[i]);
        fake_aps_close(&aps);
    }
}

// So many lines that they would take minutes: the port is dropped when its share is used up, and
// the account goes on without it.
static void test_a_port_that_crawls_to_the_end(void **state)
{
    (void)state;
    open_machine(64, SMP_PARALLEL);
    nobody_arrives();
    run_all(1, 75);
    assert_false(voice.console.uart.present);
}

// Nobody arrives, and who is late is awaited for as long once more.
static void test_nobody_arrives_late(void **state)
{
    (void)state;
    open_machine(8, SMP_PARALLEL);
    aps.options.sipis = 1;
    aps.options.retries = 0;
    aps.options.timeout_us = 60000000;
    nobody_arrives();
    run_all(1, 75);
}

static void test_a_sweep(void **state)
{
    (void)state;
    open_machine(5, SMP_PARALLEL);
    aps.options.rounds = 7;
    aps.options.sweep =
        (struct sweep){.key = SWEEP_INIT_US, .count = 3, .values = {10, 10000000, 5000000}};
    aps.options.retries = 0;
    all_arrive_late_and_keep_silent();
    run_all(1, 60);
}

// The null trampolines count, but each time at the last moment.
static void count_late(struct fake_aps *machine, uint64_t now)
{
    struct null_parameters *shared =
        (struct null_parameters *)(void *)(smp_layout(aps.smp).page_view + NULL_PARAMETERS);

    if (smp_rounds(aps.smp) > 0)
        return;
    for (size_t cpu = 1; cpu < machine->count; cpu++) {
        struct fake_ap *ap = &machine->aps[cpu];
        if (ap->state != FAKE_AP_STARTED ||
            now < ap->started + TICKS(machine->options.timeout_us - 4 * STEP_US))
            continue;
        ap->state = FAKE_AP_HALTED;
        shared->stamp = now;
        atomic_fetch_add(&shared->count, 1);
    }
}

static void test_slow_null_trampolines(void **state)
{
    (void)state;
    open_machine(5, SMP_PARALLEL);
    aps.options.bench = BENCH_NULL;
    aps.options.timeout_us = 60000000;
    aps.options.retries = 0;
    nobody_arrives();
    aps.watch = count_late;
    run_all(1, 75);
}

// APs that wait for calls, and return from each just when they have been given up; so they are
// there for the next one.
static void return_too_late(struct fake_aps *machine, uint64_t now)
{
    static uint64_t called[CPUS_MAX];

    for (uint32_t slot = 1; slot < machine->count && smp_rounds(aps.smp) > 0; slot++) {
        struct lcpu *lcpu = fake_lcpu(&aps, slot);
        const uint32_t ticket = atomic_load(&lcpu->call.ticket);
        const uint32_t round = fake_book(&aps, slot)->round;
        const bool is_new = round != atomic_load(&lcpu->way.serving);
        if (ticket == atomic_load(&lcpu->way.ended))
            called[slot] = now;
        const bool returns = now >= called[slot] + TICKS(machine->options.timeout_us + 2 * STEP_US);
        if (is_new || returns) // when it looks how to park
            atomic_store(&lcpu->way.parking, atomic_load(&fake_rally(&aps)->parking));
        atomic_store(&lcpu->way.serving, round);
        atomic_store(&lcpu->way.begun, ticket);
        if (returns)
            atomic_store(&lcpu->way.ended, ticket);
    }
}

static void test_calls_that_return_too_late(void **state)
{
    static const enum run_choice runs[] = {RUN_CALL, RUN_BARRIER, RUN_SUM};
    static const uint32_t least[] = {45, 30, 30}; // here nobody is late at a barrier's third pass

    (void)state;
    for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++) {
        open_machine(4, SMP_PARALLEL);
        aps.options.run = runs[i];
        aps.options.timeout_us = 60000000;
        aps.options.retries = 0;
        for (uint32_t cpu = 1; cpu < aps.count; cpu++)
            aps.aps[cpu].to_c_ticks = TICKS(aps.options.timeout_us - 2000);
        aps.watch = return_too_late;
        run_all(1, least[i]);
        fake_aps_close(&aps);
    }
}

// A fault of the BSP's own in the middle of the account: it begins anew, so that nobody is missing,
// and the end is told once.
static void test_a_fault_in_the_account(void **state)
{
    (void)state;
    open_machine(4, SMP_PARALLEL);
    build_run(0);
    world.fault_at = "REVEILLE ev=cpu cpu=2 ";
    if (setjmp(ended) == 0) {
        leave();
        run_to_the_end();
    }
    assert_int_equal(world.cpu_records, 3 + 4); // CPUs 0 to 2, and all of them
    assert_int_equal(world.end_records, 1);
    assert_false(ending.outcome.ok);
    assert_int_equal(ending.outcome.want, 3);
    assert_int_equal(ending.outcome.up, 3);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);

    const struct CMUnitTest tests[] = {
        APS_TEST(test_a_fault_in_the_account),
        APS_TEST(test_nobody_arrives),
        APS_TEST(test_all_keep_silent),
        APS_TEST(test_a_busy_apic),
        APS_TEST(test_a_slow_port),
        APS_TEST(test_a_port_that_crawls_to_the_end),
        APS_TEST(test_nobody_arrives_late),
        APS_TEST(test_a_sweep),
        APS_TEST(test_slow_null_trampolines),
        APS_TEST(test_calls_that_return_too_late),
    };

    return cmocka_run_group_tests_name("run bound", tests, aps_set_up, NULL);
}
