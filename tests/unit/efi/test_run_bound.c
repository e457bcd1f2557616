// ev=bound against machines where everything goes wrong in the slowest way that is not yet an
// error: the run's own code after the exit, round by round, up to the last record. Nobody comes, or
// everybody at the last moment and then keeps silent; the local APIC is busy; the serial port
// crawls just within its time-out; and whoever is awake dies with the console in its hands. By the
// fake's clock, which no host makes slower. Surprise: the bound is also held against being far too
// large, since one that no run comes near proves nothing.
#include "fake_firmware.h"
#include "fake_aps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "bound.h"
#include "mem.h"
#include "prepare.h"
#include "nvram.h"
#include "run.h"

#define PORT      0x3f8u
#define TICKS(us) ((uint64_t)(us)*FAKE_TICKS_PER_US)
#define STEP_US   100u // a look; a run takes minutes

static struct fake_aps aps;
static struct reveille run;
static jmp_buf ended;
static struct {
    uint64_t ready;   // when the port takes the next load
    uint64_t load_us; // how long it takes for one
    size_t dead;      // how often somebody dies with the console in its hands
    size_t cpu_records, end_records, bounds;
    uint64_t seconds;     // as told
    const char *fault_at; // in which line of ours we meet a fault
} world;

static void fail_test(const char *message)
{
    fail_msg("%s", message);
}

static int set_up(void **state)
{
    (void)state;
    fake_on_failure(fail_test);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_aps_close(&aps);
    return 0;
}

// ---- what stands around the run after the exit ----

_Noreturn void end_run(const struct firmware *firmware, const struct machine *machine,
                       const struct options *options, enum next_start next, struct journal *journal,
                       struct console *console, enum exit_code code)
{
    (void)firmware, (void)machine, (void)options, (void)next, (void)journal, (void)console;
    (void)code;
    longjmp(ended, 1);
}

bool end_resets_itself(const struct machine *machine, const struct options *options)
{
    (void)machine, (void)options;
    return false;
}

void bsp_take_over(const struct firmware *firmware, const struct bsp_home *home)
{
    (void)firmware, (void)home;
}

EFI_TPL bsp_borrow(const struct firmware *firmware, const struct bsp_home *home)
{
    (void)firmware, (void)home;
    fake_fail("no firmware any more");
}

void bsp_hand_back(const struct firmware *firmware, const struct bsp_state *state, EFI_TPL tpl)
{
    (void)firmware, (void)state, (void)tpl;
    fake_fail("no firmware any more");
}

void nvram_save(const struct firmware *firmware, const struct line *summary,
                struct console *console)
{
    (void)firmware, (void)summary, (void)console;
}

enum status run_fill_page(struct reveille *self, uint8_t *view)
{
    (void)self, (void)view;
    return STATUS_OK;
}

enum status prepare_page(const struct machine *machine, const struct arena *arena,
                         const struct trampoline *trampoline,
                         const struct trampoline_parameters *parameters, uint64_t entry,
                         const struct problems *problems, const struct page_tables *tables,
                         uint8_t *view, size_t *relocations)
{
    (void)machine, (void)arena, (void)trampoline, (void)parameters, (void)entry, (void)problems;
    (void)tables, (void)relocations;
    memcpy(view, aps.page, PAGE_BYTES);
    return STATUS_OK;
}

void firmware_wake_round(struct reveille *self, uint64_t line_us, struct wake_result *result)
{
    (void)self, (void)line_us, (void)result;
    fake_fail("no firmware any more");
}

bool harvest_own(const struct journal *journal, const CHAR16 *name, enum stick_end end,
                 struct stick *stick, struct past *past, const struct problems *problems)
{
    (void)journal, (void)name, (void)end, (void)stick, (void)past, (void)problems;
    return true;
}

static EFI_STATUS EFIAPI set_watchdog(UINTN seconds, UINT64 code, UINTN bytes, CHAR16 *data)
{
    (void)seconds, (void)code, (void)bytes, (void)data;
    return EFI_SUCCESS;
}

// ---- the machine ----

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
    if (world.fault_at != NULL && strstr(text, world.fault_at) != NULL) {
        world.fault_at = NULL;
        console_let_go(&run.voice.console, 0);
        arena_rally(&run.arena)->bsp_stopped(arena_rally(&run.arena)->bsp_context);
    }
    // Somebody takes the console over from us, and dies.
    if (world.dead > 0)
        atomic_store(&run.voice.console.owner, 1000000 + (uint32_t)world.dead--);
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

static void open_machine(size_t count, enum wake_strategy wake)
{
    memset(&run, 0, sizeof run);
    memset(&world, 0, sizeof world);
    fake_aps_open(&aps, count);
    aps.options.wake = wake;
}

static void plug_in(uint16_t divisor)
{
    fake_hook(FAKE_PORT8, PORT + 5, PORT + 5, read_line_status, NULL, NULL);
    fake_hook(FAKE_PORT8, PORT, PORT, NULL, write_data, NULL);
    run.voice.console.uart =
        (struct uart){.port = PORT, .present = true, .divisor = divisor, .fifo_bytes = 16};
    console_set_rate(&run.voice.console, FAKE_TICKS_PER_US);
    world.load_us = run.voice.console.uart.timeout_ticks / FAKE_TICKS_PER_US - 2ull * STEP_US;
}

static void build_run(uint16_t divisor)
{
    static uint32_t numbers[2][64];
    static struct note note;

    fake_aps_prepare(&aps);
    fake_aps_fill_page(&aps);
    fake_log_kinds(0);
    fake_start_clock(fake_now(), TICKS(STEP_US));
    fake_set_interrupts(true);
    fake_set_cell(FAKE_MSR, MSR_IA32_APIC_BASE,
                  aps.plan.apic == &apic_x2apic ? 0xfee00d00 : 0xfee00900);
    run.firmware = fake_firmware_start(sizeof(EFI_MEMORY_DESCRIPTOR));
    fake_firmware.boot.SetWatchdogTimer = set_watchdog;
    run.machine = aps.machine;
    run.options = aps.options;
    run.plan = aps.plan;
    run.arena = aps.arena;
    run.trampoline = aps.trampoline;
    run.parameters = aps.parameters;
    run.wake.missing = aps.missing;
    run.wake.values = aps.values;
    run.rounds_us = numbers[0];
    run.medians_us = numbers[1];
    run.note = &note;
    run.voice.log.console = &run.voice.console;
    run.voice.problems = (struct problems){report_problem, &run.voice.log};
    memcpy((void *)(uintptr_t)(run.arena.phys + run.arena.window_offset), aps.page, PAGE_BYTES);
    console_start(&run.voice.console, run.options.log, FAKE_TICKS_PER_US);
    if (divisor != 0)
        plug_in(divisor);
    arena_rally(&run.arena)->console = &run.voice.console;
    run.voice.console.sinks[SINK_JOURNAL] =
        (struct console_sink){.write_line = hear, .context = &run.voice.journal};
}

// Runs all of it. `least`: so much of the bound, in per cent, is what this machine takes at least.
// What the bound has for a hypervisor that gives half of the time is left out: here all of it is
// ours.
static void run_all(uint16_t divisor, uint32_t least)
{
    build_run(divisor);
    const size_t settings = run.options.sweep.count > 0 ? run.options.sweep.count : 1;
    const size_t dead = run.plan.want * (run.plan.retries + 1) * run.plan.rounds * settings;
    volatile uint64_t left = 0;
    if (setjmp(ended) == 0) {
        run_leave(&run);
        world.dead = dead;
        left = fake_now();
        run_wake(&run);
        run_report(&run);
        run_end(&run);
    }
    assert_int_equal(world.end_records, 1);
    assert_int_equal(world.cpu_records, aps.count);
    assert_int_equal(world.bounds, 1);
    const uint64_t took_us = clock_us(&run.machine.clock, fake_now() - left);
    print_message("%zu processors: %llu s of %llu\n", aps.count,
                  (unsigned long long)took_us / 1000000, (unsigned long long)world.seconds);
    assert_in_range(took_us, world.seconds * 10000 / 2 * least, world.seconds * 1000000 / 2);
}

static void nobody_comes(void)
{
    for (uint32_t cpu = 1; cpu < aps.count; cpu++)
        aps.aps[cpu].to_protected_ticks = FAKE_NEVER;
}

// In the last try, just before its end, and then without a word.
static void all_come_late_and_keep_silent(void)
{
    for (uint32_t cpu = 1; cpu < aps.count; cpu++) {
        aps.aps[cpu].deaf_inits = aps.options.retries;
        aps.aps[cpu].to_c_ticks = TICKS(aps.options.timeout_us - 2000);
        aps.aps[cpu].to_greeting_ticks = FAKE_NEVER;
    }
}

static void test_nobody_comes(void **state)
{
    (void)state;
    for (enum wake_strategy wake = WAKE_PARALLEL; wake <= WAKE_BROADCAST; wake++) {
        open_machine(8, wake);
        nobody_comes();
        run_all(1, 75);
        fake_aps_close(&aps);
    }
}

static void test_all_keep_silent(void **state)
{
    (void)state;
    for (enum wake_strategy wake = WAKE_PARALLEL; wake <= WAKE_BROADCAST; wake++) {
        open_machine(8, wake);
        all_come_late_and_keep_silent();
        run_all(1, 75);
        fake_aps_close(&aps);
    }
}

static void test_a_busy_apic(void **state)
{
    (void)state;
    open_machine(8, WAKE_ONE_BY_ONE);
    aps.options.apic = APIC_XAPIC;
    aps.options.retries = 3;
    aps.options.sipis = 4;
    nobody_comes();
    aps.busy_from = 1;
    aps.busy_ticks = TICKS(APIC_IDLE_US - 2 * STEP_US);
    run_all(1, 75);
}

static void test_a_slow_port(void **state)
{
    static const uint16_t divisors[] = {0, 12, 96};
    static const uint32_t least[] = {75, 50, 5}; // at 1200 baud the lines' length is most of it

    (void)state;
    for (size_t i = 0; i < sizeof divisors / sizeof divisors[0]; i++) {
        open_machine(8, WAKE_PARALLEL);
        aps.options.log = LOG_DEBUG;
        all_come_late_and_keep_silent();
        run_all(divisors[i], least[i]);
        fake_aps_close(&aps);
    }
}

// So many lines that they would take minutes: the port is dropped when its share is used up, and
// the account goes on without it.
static void test_a_port_that_crawls_to_the_end(void **state)
{
    (void)state;
    open_machine(64, WAKE_PARALLEL);
    nobody_comes();
    run_all(1, 75);
    assert_false(run.voice.console.uart.present);
}

// Nobody comes, and who is late is awaited for as long once more.
static void test_nobody_comes_late(void **state)
{
    (void)state;
    open_machine(8, WAKE_PARALLEL);
    aps.options.sipis = 1;
    aps.options.retries = 0;
    aps.options.timeout_us = 60000000;
    nobody_comes();
    run_all(1, 75);
}

static void test_a_sweep(void **state)
{
    (void)state;
    open_machine(5, WAKE_PARALLEL);
    aps.options.rounds = 7;
    aps.options.sweep =
        (struct sweep){.key = SWEEP_INIT_US, .count = 3, .values = {10, 10000000, 5000000}};
    aps.options.retries = 0;
    all_come_late_and_keep_silent();
    run_all(1, 60);
}

// The null trampolines count, but each time at the last moment.
static void count_late(struct fake_aps *machine, uint64_t now)
{
    struct null_parameters *shared =
        (struct null_parameters *)(void *)(run.wake.page_view + NULL_PARAMETERS);

    if (run.wake.generation > 0)
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
    open_machine(5, WAKE_PARALLEL);
    aps.options.bench = BENCH_NULL;
    aps.options.timeout_us = 60000000;
    aps.options.retries = 0;
    nobody_comes();
    aps.watch = count_late;
    run_all(1, 75);
}

// As many as there may be, each delay as long as it may be: a number all the same.
static void test_the_largest_plan(void **state)
{
    (void)state;
    open_machine(8, WAKE_ONE_BY_ONE);
    aps.options.rounds = 1000000;
    aps.options.timeout_us = 60000000;
    aps.options.sipi_us = aps.options.init_us = 10000000;
    aps.options.sipis = 4;
    aps.options.retries = 100;
    build_run(96);
    run.plan.want = 4095;
    run.options.sweep = (struct sweep){.key = SWEEP_SIPIS, .count = 32};
    const uint64_t us =
        bound_run_us(&run.options, &run.machine, &run.plan, &run.voice.console, 1 << 25);
    assert_true(us > 1ull << 62);
    assert_true(clock_ticks(&run.machine.clock, us) == UINT64_MAX);
}

// A fault of the BSP's own in the middle of the account: it begins anew, so that nobody is missing,
// and the end is told once.
static void test_a_fault_in_the_account(void **state)
{
    (void)state;
    open_machine(4, WAKE_PARALLEL);
    build_run(0);
    world.fault_at = "REVEILLE ev=cpu cpu=2 ";
    if (setjmp(ended) == 0) {
        run_leave(&run);
        run_wake(&run);
        run_report(&run);
        run_end(&run);
    }
    assert_int_equal(world.cpu_records, 3 + 4); // CPUs 0 to 2, and all of them
    assert_int_equal(world.end_records, 1);
    assert_false(run.outcome.ok);
    assert_int_equal(run.outcome.want, 3);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);

    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_fault_in_the_account, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nobody_comes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_all_keep_silent, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_busy_apic, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_slow_port, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_port_that_crawls_to_the_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nobody_comes_late, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_sweep, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_slow_null_trampolines, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_largest_plan, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
