// The rounds: after the exit in a window that stays open, and while firmware lives in one around
// each of them; what stops them early, and what must not be woken. Surprise: the trampoline's page
// is real memory below 1 MiB here, since a page of boot services is tried before it is believed.
#include "fake_firmware.h"

#include "aps_fixture.h"
#include "fake_bsp.h"
#include "fake_mp.h"
#include "heard.h"

#include <efishell.h>

#include "report.h"
#include "rounds.h"

#define CPUS       4u
#define ROUNDS_MAX 32u

static struct firmware firmware;
static struct heard heard;
static struct voice voice;
static struct window window;
static struct injector injector;
static struct firmware_times never_timed, timed;
static const struct firmware_times *firmware_times;
static struct pieces pieces;
static struct note note;
static struct hello hellos[CPUS];
static struct drill_ground ground;

// The Shell, and the person before it.
static struct {
    EFI_SHELL_PROTOCOL protocol;
    uint32_t looks, breaks_at; // looks for CTRL+C, counted from 1; 0: never pressed
} shell;

static EFI_STATUS EFIAPI locate(EFI_GUID *guid, VOID *registration, VOID **interface)
{
    EFI_GUID wanted = EFI_SHELL_PROTOCOL_GUID;

    if (memcmp(guid, &wanted, sizeof wanted) != 0)
        return fake_mp_locate(guid, registration, interface);
    *interface = &shell.protocol;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI check_event(EFI_EVENT event)
{
    assert_ptr_equal(event, &shell);
    assert_false(window.is_open); // firmware is called by the BSP as it knows it
    assert_int_equal(hw_read_cr3(), FAKE_BSP_CR3);
    return ++shell.looks == shell.breaks_at ? EFI_SUCCESS : EFI_NOT_READY;
}

// Each AP's line: by the console, which calls nothing of firmware's there.
static bool greet(void *context, const struct smp_self *self)
{
    char buffer[LINE_BYTES];
    struct line line;

    (void)context;
    line_start(&line, buffer, sizeof buffer);
    line_add_format(&line, "hello %u", (uint64_t)self->cpu);
    console_say(&voice.console, self->cpu, &line);
    return true;
}

// Firmware's screen.
static char shown[1024];

static EFI_STATUS EFIAPI show(SIMPLE_TEXT_OUTPUT_INTERFACE *self, CHAR16 *text)
{
    (void)self;
    for (size_t used = strlen(shown); *text && used + 1 < sizeof shown; used++) {
        shown[used] = (char)*text++;
        shown[used + 1] = '\0';
    }
    return EFI_SUCCESS;
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

// And the journal, which firmware's screens show.
static void open_firmwares_screen(void)
{
    static SIMPLE_TEXT_OUTPUT_INTERFACE output = {.OutputString = show};
    static _Alignas(64) char memory[8192];

    shown[0] = '\0';
    voice.screens = (struct text_screens){.outputs = {&output}, .count = 1};
    journal_open(&voice.journal, memory, sizeof memory);
    voice.console.sinks[SINK_JOURNAL] =
        (struct console_sink){.write_line = journal_write_line, .context = &voice.journal};
}

static int set_up(void **state)
{
    (void)state;
    open_voice();
    memset(&shell, 0, sizeof shell);
    memset(&note, 0, sizeof note);
    shell.protocol.ExecutionBreak = (EFI_EVENT)&shell;
    firmware_times = &never_timed;
    firmware = fake_firmware_start(48);
    fake_mp_start(CPUS);
    fake_firmware.boot.LocateProtocol = locate;
    fake_firmware.boot.CheckEvent = check_event;
    fake_map_low(FAKE_PAGE, 1);
    fake_aps_open(&aps, CPUS);
    aps.machine.apic_base = 0xfee00d00;
    aps.host = (struct smp_host){.run = greet, .problems = voice.problems};
    return 0;
}

static int tear_down(void **state)
{
    fake_firmware_clear();
    return aps_tear_down(state);
}

static void open_pieces(uint32_t low_page, uint32_t late_page)
{
    static uint32_t lasts_us[ROUNDS_MAX], medians_us[ROUNDS_MAX];

    pieces = (struct pieces){
        .cpus = aps.plan.cpus,
        .lasts_us = lasts_us,
        .medians_us = medians_us,
        .hellos = hellos,
        .note = &note,
        .low_page = low_page,
        .late_page = late_page,
    };
}

static void prepare(void)
{
    fake_aps_prepare(&aps);
    fake_bsp_start(&fake_firmware.boot);
    firmware.cr4 = FAKE_BSP_CR4;
    memcpy((void *)(uintptr_t)FAKE_PAGE, aps.page, PAGE_BYTES);
    memcpy((void *)(uintptr_t)smp_layout(aps.smp).page_window, aps.page, PAGE_BYTES);
    injector = (struct injector){aps.options.inject, aps.options.inject_count, &aps.plan, 0};
    open_pieces(FAKE_PAGE, 0);
    window_start(&window, aps.options.exit == ANSWER_NO ? WINDOW_BY_ROUND : WINDOW_ONCE, &firmware,
                 &aps.machine.processor, &voice, aps.smp, 0);
}

static struct rounds_done run(void)
{
    const struct rounds_setup setup = {
        .firmware = &firmware,
        .machine = &aps.machine,
        .options = &aps.options,
        .injector = &injector,
        .firmware_times = firmware_times,
        .plan = &aps.plan,
        .pieces = &pieces,
        .voice = &voice,
        .window = &window,
        .smp = aps.smp,
        .ground = &ground,
        .resets = 1,
    };
    return rounds_run(&setup);
}

static size_t times(const char *text)
{
    size_t count = 0;
    for (const char *at = heard.text; (at = strstr(at, text)) != NULL; at++)
        count++;
    return count;
}

static void assert_heard(const char *text)
{
    if (strstr(heard.text, text) == NULL)
        fail_msg("not heard: %s\n%s", text, heard.text);
}

// Who is awake then may come to us as late as it likes: no turn is open.
static void assert_closed(void)
{
    assert_int_equal(atomic_load(&fake_rally(&aps)->turn), TURN_CLOSED);
}

// ---- all rounds ----

static void test_rounds(void **state)
{
    (void)state;
    aps.options.rounds = 3;
    firmware_times = &timed;
    timed = (struct firmware_times){5000, 5000};
    prepare();
    const struct rounds_done done = run();
    assert_int_equal(done.status, STATUS_OK);
    assert_int_equal(done.rounds, 3);
    assert_false(done.stopped);
    assert_true(done.woken != 0);
    assert_int_equal(smp_rounds(aps.smp), 3);
    assert_int_equal(times("Starting CPU "), CPUS - 1);
    assert_int_equal(times("ev=wake "), 3);
    assert_int_equal(times("ev=run "), 0); // nobody asked
    assert_int_equal(done.run_ticks, 0);
    assert_int_equal(aps.greeted_count, CPUS - 1);
    assert_int_equal(times(" ratio="), 1); // the last round's
    assert_true(strstr(heard.text, " ratio=") > strstr(heard.text, "round=3 "));
    assert_int_equal(note.step, NOTE_REPORTING);
    assert_int_equal(note.round, 3);
    assert_int_equal(note.resets, 1);
    assert_true(window.is_open); // for good
    assert_int_equal(shell.looks, 0);
    assert_closed();
}

// What is about to be done is kept before it is done: who resets here is found in that round.
static void look_at_note(struct fake_aps *machine, uint64_t now)
{
    (void)now;
    if (smp_rounds(machine->smp) == 0 || note.step == NOTE_REPORTING)
        return;
    assert_true(note_is_whole(&note, (uintptr_t)&note));
    assert_int_equal(note.step, NOTE_WAKING);
    assert_in_range(note.round, smp_rounds(machine->smp), smp_rounds(machine->smp) + 1);
}

static void test_the_note_goes_before(void **state)
{
    (void)state;
    aps.options.rounds = 3;
    aps.watch = look_at_note;
    prepare();
    assert_int_equal(run().rounds, 3);
}

static void test_while_firmware_lives(void **state)
{
    (void)state;
    aps.options.exit = ANSWER_NO;
    aps.options.rounds = 3;
    prepare();
    const struct rounds_done done = run();
    assert_int_equal(done.rounds, 3);
    assert_false(window.is_open);
    assert_int_equal(hw_read_cr3(), FAKE_BSP_CR3);
    assert_int_equal(fake_tpl, TPL_APPLICATION);
    assert_int_equal(shell.looks, 2); // not behind the last
    assert_closed();
}

static void test_by_firmware(void **state)
{
    (void)state;
    aps.options.exit = ANSWER_NO;
    aps.options.wake = SMP_FIRMWARE;
    aps.options.rounds = 2;
    prepare();
    open_firmwares_screen();
    assert_int_equal(run().rounds, 2);
    assert_int_equal(aps.messages, 0);
    assert_int_equal(mp.calls, 2 + 1); // in the first round they have a turn, too
    assert_int_equal(times("ev=wake "), 2);
    // The screen has the APs' lines before the round's record, as all else has them.
    assert_true(strstr(shown, "hello 1") < strstr(shown, "hello 3"));
    assert_true(strstr(shown, "hello 3") < strstr(shown, "ev=wake "));
}

// Who comes when nobody waits for it any more is late, and not lost.
static void test_who_is_late_is_awaited(void **state)
{
    (void)state;
    aps.aps[2].to_c_ticks = TICKS(150 * MS);
    aps.options.timeout_us = 100 * MS;
    aps.options.retries = 0;
    aps.options.sipis = 1;
    prepare();
    (void)run();
    const struct smp_account account = smp_examine(aps.smp, 2);
    assert_int_equal(smp_verdict(&account), SMP_CAUSE_LATE);
}

// ---- run= ----

static bool spoils_sums;

// APs that wait for calls, and return at once. They stay awake in the last round alone.
static void serve_calls(struct fake_aps *machine, uint64_t now)
{
    const uint32_t parking = atomic_load(&fake_rally(machine)->parking);

    (void)now;
    assert_true(parking == SMP_PARK_INIT ||
                smp_rounds(machine->smp) + 1 >= machine->options.rounds);
    for (uint32_t slot = 1; slot < machine->count && smp_rounds(machine->smp) > 0; slot++) {
        struct lcpu *lcpu = fake_lcpu(machine, slot);
        const uint32_t ticket = atomic_load(&lcpu->call.ticket);
        const uint32_t round = fake_book(machine, slot)->round;
        const bool is_called = ticket != atomic_load(&lcpu->way.ended);
        if (is_called)
            assert_int_equal(note.step, NOTE_CALLING);
        if (is_called || round != atomic_load(&lcpu->way.serving)) // when it looks how to park
            atomic_store(&lcpu->way.parking, parking);
        atomic_store(&lcpu->way.serving, round);
        atomic_store(&lcpu->way.begun, ticket);
        atomic_store(&lcpu->way.ended, ticket);
    }
    if (spoils_sums)
        atomic_fetch_add(&ground.totals[0].sum, 1);
}

static void prepare_calls(enum run_choice what)
{
    memset(&ground, 0, sizeof ground);
    spoils_sums = false;
    aps.options.rounds = 3;
    aps.options.run = what;
    aps.options.park = SMP_PARK_PAUSE;
    aps.watch = serve_calls;
    prepare();
}

static void test_calls(void **state)
{
    (void)state;
    firmware_times = &timed;
    timed = (struct firmware_times){5000, 5000};
    prepare_calls(RUN_CALL);
    const struct rounds_done done = run();
    assert_int_equal(done.rounds, 3);
    assert_int_equal(smp_rounds(aps.smp), 3);
    assert_true(done.run_ticks > 0);
    assert_false(done.wrong_sum);
    assert_int_equal(times("ev=run "), 1);
    assert_heard("ev=run run=call cpus=4 park=pause parking=pause rounds=200 ");
    assert_heard(" ratio=");
    assert_true(strstr(heard.text, "ev=run ") > strstr(heard.text, "round=3 "));
    assert_int_equal(atomic_load(&fake_rally(&aps)->parking), SMP_PARK_INIT);
    assert_int_equal(note.step, NOTE_REPORTING);
    assert_closed();
}

// What firmware lives through meanwhile is one more window. Nobody adds anything up here but CPU 0.
static void test_calls_while_firmware_lives(void **state)
{
    (void)state;
    aps.options.exit = ANSWER_NO;
    prepare_calls(RUN_SUM);
    assert_false(run().wrong_sum);
    assert_heard("ev=run run=sum cpus=4 ");
    assert_heard(" sum=right");
    assert_false(window.is_open);
    assert_int_equal(atomic_load(&fake_rally(&aps)->parking), SMP_PARK_INIT);
    assert_closed();
}

static void test_a_wrong_sum(void **state)
{
    (void)state;
    prepare_calls(RUN_SUM);
    spoils_sums = true;
    assert_true(run().wrong_sum);
    assert_heard(" sum=wrong");
    assert_int_equal(times("what=wrong-sum"), 1);
}

static void test_no_calls_behind_a_key(void **state)
{
    (void)state;
    aps.options.exit = ANSWER_NO;
    shell.breaks_at = 2;
    prepare_calls(RUN_ALL);
    assert_true(run().stopped);
    assert_int_equal(times("ev=run "), 0);
    assert_int_equal(atomic_load(&fake_rally(&aps)->parking), SMP_PARK_INIT);
}

static void test_nobody_takes_calls(void **state)
{
    (void)state;
    prepare_calls(RUN_ALL);
    aps.watch = NULL;
    (void)run();
    assert_int_equal(times("ev=run "), 0);
    assert_int_equal(times("what=nobody-to-call"), 1);
    assert_int_equal(note.step, NOTE_REPORTING);
}

// ---- a key ----

static void test_a_key(void **state)
{
    (void)state;
    aps.options.exit = ANSWER_NO;
    aps.options.rounds = 5;
    shell.breaks_at = 2;
    prepare();
    const struct rounds_done done = run();
    assert_int_equal(done.status, STATUS_OK);
    assert_true(done.stopped);
    assert_int_equal(done.rounds, 2);
    assert_int_equal(smp_rounds(aps.smp), 2);
    assert_heard("ev=warning what=stopped-by-key detail=\"CTRL+C: 2 of 5 rounds were run\"");
    assert_int_equal(note.step, NOTE_REPORTING);
    assert_closed();
}

static void sweep_sipis(size_t count)
{
    aps.options.sweep = (struct sweep){.key = SWEEP_SIPIS, .count = count, .values = {1, 2, 3}};
}

// In a setting: it is told with the rounds that it had, and is the last.
static void test_a_key_in_a_setting(void **state)
{
    (void)state;
    aps.options.exit = ANSWER_NO;
    aps.options.rounds = 3;
    sweep_sipis(3);
    shell.breaks_at = 4; // two looks and one behind the first setting, one in the second
    prepare();
    const struct rounds_done done = run();
    assert_true(done.stopped);
    assert_int_equal(done.rounds, 1);
    assert_int_equal(smp_rounds(aps.smp), 3 + 1);
    assert_heard("CTRL+C: 1 of 3 rounds were run");
    assert_int_equal(times("ev=sweep "), 2);
    assert_int_equal(times("rounds=1 "), 1);
    assert_int_equal(times("what=stopped-by-key"), 1);
    assert_int_equal(times("ev=sweep-result "), 1);
}

static void test_a_key_between_settings(void **state)
{
    (void)state;
    aps.options.exit = ANSWER_NO;
    sweep_sipis(3);
    shell.breaks_at = 2; // one look behind each setting of one round
    prepare();
    const struct rounds_done done = run();
    assert_true(done.stopped);
    assert_int_equal(smp_rounds(aps.smp), 2);
    assert_heard("CTRL+C: 2 of 3 settings were run");
    assert_int_equal(times("ev=sweep "), 2);
}

// ---- sweeps ----

static void test_a_sweep(void **state)
{
    (void)state;
    aps.options.rounds = 2;
    sweep_sipis(3);
    firmware_times = &timed;
    timed = (struct firmware_times){5000, 5000};
    prepare();
    const struct rounds_done done = run();
    assert_int_equal(done.rounds, 2); // of the last setting
    assert_int_equal(smp_rounds(aps.smp), 6);
    assert_int_equal(times("ev=sweep "), 3);
    assert_int_equal(times("ev=sweep-result "), 1);
    assert_int_equal(times(" ratio="), 1);
    assert_true(strstr(heard.text, " ratio=") > strstr(heard.text, "round=6 "));
}

// The engine has each setting's own plan.
static void test_a_sweep_sends_what_it_says(void **state)
{
    (void)state;
    sweep_sipis(3);
    prepare();
    (void)run();
    for (uint32_t cpu = 1; cpu < CPUS; cpu++)
        assert_int_equal(aps.aps[cpu].startups, 1 + 2 + 3);
}

// Firmware's own wake is none that we can send: it is told, and what comes behind it is left out.
static void test_a_setting_that_is_refused(void **state)
{
    (void)state;
    aps.options.sweep = (struct sweep){
        .key = SWEEP_WAKE, .count = 3, .values = {SMP_PARALLEL, SMP_FIRMWARE, SMP_BROADCAST}};
    prepare();
    const struct rounds_done done = run();
    assert_int_equal(done.status, STATUS_OK);
    assert_false(done.stopped);
    assert_int_equal(smp_rounds(aps.smp), 1);
    assert_heard("ev=error what=firmware-wake ");
    assert_int_equal(times("ev=sweep "), 1);
    assert_int_equal(times("ev=sweep-result "), 1);
    assert_closed();
}

// ---- a page of boot services ----

static void test_a_late_page(void **state)
{
    (void)state;
    prepare();
    open_pieces(0, FAKE_PAGE);
    fake_log_kinds(FAKE_WRITE_CR3);
    const struct rounds_done done = run();
    assert_int_equal(done.status, STATUS_OK);
    assert_int_equal(done.rounds, 1);
    // Into the window; and once more, so that what was mapped at the page before is forgotten.
    FAKE_EXPECT_LOG({FAKE_WRITE_CR3, 3, window.home.cr3, 0, 0},
                    {FAKE_WRITE_CR3, 3, window.home.cr3, 0, 0});
    assert_int_equal(times("ev=trampoline "), 1);
    assert_true(strstr(heard.text, "ev=trampoline ") < strstr(heard.text, "Starting CPU "));
    assert_int_equal((uintptr_t)smp_layout(aps.smp).page_view, smp_layout(aps.smp).page_window);
}

static void assert_nobody_was_woken(void)
{
    const struct rounds_done done = run();

    assert_int_equal(done.status, STATUS_NOT_FOUND);
    assert_int_equal(done.rounds, 0);
    assert_int_equal(smp_rounds(aps.smp), 0);
    assert_int_equal(aps.messages, 0);
    assert_true(window.is_open); // the account and the end are given on our side
    assert_heard("ev=error what=no-low-page ");
    assert_int_equal(times("Starting CPU "), 0);
    assert_int_equal(times("ev=wake "), 0);
}

static void test_a_late_page_that_is_no_memory(void **state)
{
    (void)state;
    prepare();
    open_pieces(0, FAKE_PAGE);
    fake_keep_bytes(FAKE_PAGE, 0, PAGE_BYTES);
    assert_nobody_was_woken();
    assert_int_equal(times("ev=error "), 1);
}

static void test_a_late_page_that_cannot_be_named(void **state)
{
    (void)state;
    prepare();
    fake_map_low(0x100000, 1); // no STARTUP reaches it
    open_pieces(0, 0x100000);
    assert_nobody_was_woken();
    assert_heard("ev=error what=low-page ");
}

// What has to be mapped is mapped to something else by now.
static void break_proof(void)
{
    aps.all_regions[0].phys += PAGE_BYTES;
}

static void test_a_late_page_that_does_not_prove(void **state)
{
    (void)state;
    prepare();
    open_pieces(0, FAKE_PAGE);
    break_proof();
    assert_nobody_was_woken();
    assert_int_equal(times("ev=trampoline "), 0);
    assert_int_equal(times("ev=error "), 2);
}

// ---- the null trampolines ----

// They count at once.
static void count_them(struct fake_aps *machine, uint64_t now)
{
    struct null_parameters *shared =
        (struct null_parameters *)(void *)(smp_layout(machine->smp).page_view + NULL_PARAMETERS);

    for (size_t cpu = 1; cpu < machine->count && smp_rounds(machine->smp) == 0; cpu++) {
        struct fake_ap *ap = &machine->aps[cpu];
        if (ap->state != FAKE_AP_STARTED)
            continue;
        ap->state = FAKE_AP_HALTED;
        ap->due = FAKE_NEVER;
        shared->stamp = now;
        atomic_fetch_add(&shared->count, 1);
    }
}

// They stay in our trampoline's way only as long as they are measured.
static void let_them_count(void)
{
    for (uint32_t cpu = 1; cpu < CPUS; cpu++)
        aps.aps[cpu].to_protected_ticks = TICKS(1);
    aps.options.bench = BENCH_NULL;
    aps.watch = count_them;
}

static void test_null_trampolines(void **state)
{
    (void)state;
    let_them_count();
    prepare();
    assert_int_equal(run().rounds, 1);
    assert_int_equal(times("ev=null "), 2);
    assert_int_equal(times("ev=wake wake=parallel round=1 "), 1);
    assert_memory_equal(smp_layout(aps.smp).page_view, aps.page, 64); // the trampoline's again
}

static void test_null_trampolines_that_leave_a_bad_page(void **state)
{
    (void)state;
    for (int sweeps = 0; sweeps <= 1; sweeps++) {
        set_up(state);
        let_them_count();
        if (sweeps)
            sweep_sipis(3);
        prepare();
        break_proof();
        const struct rounds_done done = run();
        assert_int_equal(done.status, STATUS_OK);
        assert_int_equal(done.rounds, 0);
        assert_int_equal(smp_rounds(aps.smp), 0);
        assert_int_equal(times("ev=null "), 2);
        assert_int_equal(times("ev=error "), 1);
        assert_int_equal(times("ev=wake ") + times("ev=sweep"), 0);
        assert_closed();
        tear_down(state);
    }
    set_up(state);
}

// ---- faults on purpose ----

static void test_faults_come_behind_the_proofs(void **state)
{
    (void)state;
    aps.options.inject[0] = (struct injection){.kind = FAULT_HANG_C, .cpu = 2};
    aps.options.inject_count = 1;
    prepare();
    assert_int_equal(fake_lcpu(&aps, 2)->defect, 0);
    assert_int_equal(run().status, STATUS_OK);
    assert_int_not_equal(fake_lcpu(&aps, 2)->defect, 0);
}

static void test_a_journal_that_is_taken_away(void **state)
{
    static _Alignas(PAGE_BYTES) uint8_t journal[2 * PAGE_BYTES];
    static struct smp_region region;

    for (int injected = 0; injected <= 1; injected++) {
        set_up(state);
        region = (struct smp_region){"journal", (uintptr_t)journal, (uintptr_t)journal,
                                     sizeof journal, SMP_WRITE};
        aps.regions = &region;
        aps.region_count = 1;
        voice.journal_memory = journal;
        voice.journal_pages = 2;
        aps.options.inject[0] = (struct injection){.kind = FAULT_BAD_JOURNAL, .cpu = FAULT_ANY_CPU};
        aps.options.inject_count = (size_t)injected;
        prepare();
        (void)run();
        for (size_t page = 0; page < 2; page++)
            assert_int_equal(
                page_tables_walk(&aps.smp->tables, (uintptr_t)journal + page * PAGE_BYTES).mapped,
                !injected);
        tear_down(state);
    }
    set_up(state);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_rounds),
        TEST(test_the_note_goes_before),
        TEST(test_while_firmware_lives),
        TEST(test_by_firmware),
        TEST(test_who_is_late_is_awaited),
        TEST(test_calls),
        TEST(test_calls_while_firmware_lives),
        TEST(test_a_wrong_sum),
        TEST(test_no_calls_behind_a_key),
        TEST(test_nobody_takes_calls),
        TEST(test_a_key),
        TEST(test_a_key_in_a_setting),
        TEST(test_a_key_between_settings),
        TEST(test_a_sweep),
        TEST(test_a_sweep_sends_what_it_says),
        TEST(test_a_setting_that_is_refused),
        TEST(test_a_late_page),
        TEST(test_a_late_page_that_is_no_memory),
        TEST(test_a_late_page_that_cannot_be_named),
        TEST(test_a_late_page_that_does_not_prove),
        TEST(test_null_trampolines),
        TEST(test_null_trampolines_that_leave_a_bad_page),
        TEST(test_faults_come_behind_the_proofs),
        TEST(test_a_journal_that_is_taken_away),
    };
    return cmocka_run_group_tests_name("rounds", tests, aps_set_up, NULL);
}
