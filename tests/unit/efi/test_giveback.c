// The processors go back to a firmware that lives on: each way in which something is not as it was
// is told, costs the good end, and decides what memory stays. Surprise: what is kept must be safe
// without this image, which firmware unloads, so its every entry leads into the page.
#include "fake_firmware.h"

#include "aps_fixture.h"
#include "fake_bsp.h"
#include "fake_mp.h"
#include "heard.h"

#include "giveback.h"
#include "report.h"

#define CPUS 4u
#define PARK (FAKE_PAGE + 0x780u)

static struct firmware firmware;
static struct heard heard;
static struct voice voice;
static struct window window;
static struct smp_account accounts[CPUS];
static struct hello hellos[CPUS];
static struct evidence evidence;
static struct injector injector;
static enum parking parking;

static struct {
    bool refuses, dead;
    uint32_t looks;     // until it ticks
    int created, armed; // events
} timer;

// ---- firmware's timer ----

static EFI_STATUS EFIAPI create_event(UINT32 type, EFI_TPL tpl, EFI_EVENT_NOTIFY notify,
                                      void *context, EFI_EVENT *event)
{
    (void)tpl, (void)notify, (void)context;
    assert_int_equal(type, EVT_TIMER);
    if (timer.refuses)
        return EFI_OUT_OF_RESOURCES;
    *event = &timer;
    timer.created++;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI set_timer(EFI_EVENT event, EFI_TIMER_DELAY type, UINT64 time)
{
    assert_ptr_equal(event, &timer);
    assert_int_equal(type, TimerRelative);
    assert_int_equal(time, 10000);
    timer.armed++;
    return EFI_SUCCESS;
}

static EFI_STATUS EFIAPI check_event(EFI_EVENT event)
{
    assert_ptr_equal(event, &timer);
    assert_int_equal(fake_tpl, TPL_APPLICATION);
    return timer.dead || timer.looks-- > 0 ? EFI_NOT_READY : EFI_SUCCESS;
}

static EFI_STATUS EFIAPI close_event(EFI_EVENT event)
{
    assert_ptr_equal(event, &timer);
    timer.created--;
    return EFI_SUCCESS;
}

// ---- set-up ----

static void open_voice(void)
{
    voice = (struct voice){.problems = {report_problem, &voice.console}};
    heard_start(&heard, LOG_NORMAL);
    console_start(&voice.console, LOG_NORMAL, 1);
    voice.console.sinks[SINK_JOURNAL] =
        (struct console_sink){.write_line = heard_line, .context = &heard};
}

static int set_up(void **state)
{
    (void)state;
    memset(&timer, 0, sizeof timer);
    timer.looks = 20;
    memset(hellos, 0, sizeof hellos);
    injector = (struct injector){.plan = &aps.plan};
    parking = PARKING_INIT;
    firmware = fake_firmware_start(48);
    fake_mp_start(CPUS);
    fake_firmware.boot.CreateEvent = create_event;
    fake_firmware.boot.SetTimer = set_timer;
    fake_firmware.boot.CheckEvent = check_event;
    fake_firmware.boot.CloseEvent = close_event;
    fake_aps_open(&aps, CPUS);
    aps.options.exit = ANSWER_NO;
    aps.machine.apic_base = 0xfee00d00;
    aps.machine.processor.pat = aps.machine.processor.mtrr = true;
    aps.machine.mp_services = aps.machine.mp_services_enabled = CPUS;
    return 0;
}

static int tear_down(void **state)
{
    fake_firmware_clear();
    return aps_tear_down(state);
}

// Up to the report, as main.c does it.
static void run(void)
{
    struct smp_round round;

    fake_aps_prepare(&aps);
    fake_bsp_start(&fake_firmware.boot);
    firmware.cr4 = FAKE_BSP_CR4;
    // Our two views of the page: outside the window, and in it.
    fake_map_low(FAKE_PAGE, 1);
    memcpy((void *)(uintptr_t)FAKE_PAGE, aps.page, PAGE_BYTES);
    memcpy((void *)(uintptr_t)smp_layout(aps.smp).page_window, aps.page, PAGE_BYTES);
    open_voice();
    window_start(&window, WINDOW_BY_ROUND, &firmware, &aps.machine.processor, &voice, aps.smp, 0);
    window_open(&window);
    smp_wake(aps.smp, &round);
    (void)smp_take_turns(aps.smp);
    smp_close_turns(aps.smp);
    window_close(&window);
    evidence = (struct evidence){.accounts = accounts, .hellos = hellos};
    evidence_take(aps.smp, &evidence);
}

static struct giveback give(void)
{
    const struct giveback back = giveback(&firmware, &aps.machine, &aps.plan, &injector, parking,
                                          &evidence, &window, aps.smp, &voice);
    assert_false(window.is_open);
    assert_int_equal(timer.created, 0);
    return back;
}

static void assert_heard(const char *text)
{
    if (strstr(heard.text, text) == NULL)
        fail_msg("not heard: %s\n%s", text, heard.text);
}

static size_t warnings(void)
{
    size_t count = 0;
    for (const char *at = heard.text; (at = strstr(at, "ev=warning")) != NULL; at++)
        count++;
    return count;
}

static bool is_sealed(void)
{
    for (uint32_t slot = 0; slot < smp_count(aps.smp); slot++) {
        if (fake_lcpu(&aps, slot)->entry != PARK)
            return false;
    }
    return true;
}

// Nobody is lost, but something else is not as it was: the memory goes back all the same.
static void assert_bad(const struct giveback *back, const char *what)
{
    assert_false(back->good);
    assert_int_equal(back->keep, KEEP_NOTHING);
    assert_false(is_sealed());
    assert_heard(" freed=1 ");
    assert_heard(what);
    assert_int_equal(warnings(), 1);
}

// Somebody is not back, or firmware was never asked.
static void assert_kept(const char *record)
{
    const struct giveback back = give();

    assert_false(back.good);
    assert_int_equal(back.keep, KEEP_WHAT_APS_TOUCH);
    assert_true(is_sealed());
    assert_heard(record);
    assert_heard("what=not-back ");
}

// ---- all is well ----

// Each message went out by the BSP in our address space.
static void assert_sent_from_inside(size_t wanted)
{
    uint64_t cr3 = FAKE_BSP_CR3;
    size_t sent = 0;

    for (size_t i = 0; i < fake_log_count(); i++) {
        const struct fake_event *event = fake_log_at(i);
        if (event->kind == FAKE_WRITE_CR3)
            cr3 = event->value;
        if (event->kind != FAKE_WRMSR || event->address != 0x830)
            continue;
        assert_int_equal(cr3, window.home.cr3);
        sent++;
    }
    assert_int_equal(sent, wanted);
    assert_int_equal(cr3, FAKE_BSP_CR3);
}

static void test_all_is_as_it_was(void **state)
{
    (void)state;
    run();
    fake_log_kinds(FAKE_WRITE_CR3 | FAKE_WRMSR);
    fake_log_clear();
    const struct giveback back = give();
    assert_sent_from_inside(CPUS - 1);
    assert_true(back.good);
    assert_int_equal(back.keep, KEEP_NOTHING);
    assert_false(is_sealed());
    assert_heard("REVEILLE ev=giveback parking=init aps=3 back=3 timer=1 bsp=same freed=1 "
                 "answered=1 counts=same\n");
    assert_heard("REVEILLE ev=mp ");
    assert_int_equal(warnings(), 0);
    assert_int_equal(fake_firmware.owned_count, 0);
    for (uint32_t cpu = 1; cpu < CPUS; cpu++) {
        assert_int_equal(aps.aps[cpu].state, FAKE_AP_WAITS); // held, before firmware was asked
        assert_int_equal(aps.aps[cpu].inits, 2);
    }
    assert_int_equal(mp.calls, 1);
}

static void test_nobody_was_to_be_woken(void **state)
{
    (void)state;
    aps.count = 1;
    mp.count = 1;
    parking = PARKING_NOBODY;
    aps.machine.mp_services = aps.machine.mp_services_enabled = 1;
    run();
    assert_true(give().good);
    assert_heard("parking=nobody aps=0 back=0 timer=1 bsp=same freed=1 ");
    assert_int_equal(mp.calls, 0);
}

// Firmware has woken them itself: no message of ours.
static void test_firmwares_own_wake(void **state)
{
    (void)state;
    run();
    parking = PARKING_OTHER;
    aps.plan.messages.strategy = SMP_FIRMWARE;
    const uint64_t messages = aps.messages;
    assert_true(give().good);
    assert_int_equal(aps.messages, messages);
    assert_heard("parking=other aps=3 back=3 ");
}

// ---- something is not as it was, and nobody is lost ----

static void test_the_timer_is_dead(void **state)
{
    (void)state;
    timer.dead = true;
    run();
    const struct giveback back = give();
    assert_int_equal(timer.armed, 1);
    assert_heard(" timer=0 bsp=same ");
    assert_bad(&back, "what=timer-dead ");
}

static void test_there_is_no_event(void **state)
{
    (void)state;
    timer.refuses = true;
    run();
    const struct giveback back = give();
    assert_int_equal(timer.armed, 0);
    assert_bad(&back, "what=timer-dead ");
}

static void test_the_bsp_is_another(void **state)
{
    (void)state;
    run();
    fake_set_cell(FAKE_MSR, 0x2ff, 0xc00);
    const struct giveback back = give();
    assert_heard(" timer=1 bsp=IA32_MTRR_DEF_TYPE ");
    assert_bad(&back, "what=bsp-changed ");
}

// ---- somebody is not back ----

static void test_one_does_not_come(void **state)
{
    (void)state;
    run();
    mp.lost[2] = true;
    assert_kept(" back=2 timer=1 bsp=same freed=0 answered=1 counts=other\n");
}

static void test_firmware_does_not_answer(void **state)
{
    (void)state;
    run();
    mp.times_out = true;
    assert_kept(" back=3 timer=1 bsp=same freed=0 answered=0 counts=same\n");
}

static void assert_never_asked(void)
{
    assert_kept(" back=0 timer=1 bsp=same freed=0 answered=0 counts=other\n");
    assert_int_equal(mp.calls, 0);
}

// ---- and firmware is not asked, since it would wait without end ----

static void test_they_wait_for_memory(void **state)
{
    static const enum parking others[] = {PARKING_UNKNOWN, PARKING_OTHER, PARKING_NOBODY};

    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        set_up(state);
        run();
        parking = others[i];
        assert_never_asked();
        tear_down(state);
    }
    set_up(state);
}

static void test_one_has_ignored_us(void **state)
{
    (void)state;
    aps.aps[2].to_protected_ticks = FAKE_NEVER;
    run();
    assert_never_asked();
}

static void test_no_mp_services(void **state)
{
    (void)state;
    run();
    mp.absent = true;
    assert_never_asked();
    assert_null(strstr(heard.text, "ev=mp "));
}

static void test_one_has_no_name(void **state)
{
    (void)state;
    run();
    mp.nameless[1] = true;
    assert_never_asked();
}

// The local APIC takes no INIT: they may be anywhere.
static void test_one_is_not_held(void **state)
{
    static const uint32_t registers[] = {0x30,  0x80,  0xf0,  0x320, 0x330,
                                         0x340, 0x350, 0x360, 0x370};

    (void)state;
    aps.machine.apic_base = 0xfee00900;
    for (size_t i = 0; i < sizeof registers / sizeof registers[0]; i++)
        fake_set_cell(FAKE_MMIO, FAKE_MMIO_APIC + registers[i], 0x50014);
    run();
    aps.busy_from = aps.messages + 1;
    aps.busy_ticks = TICKS(1000 * SMP_APIC_IDLE_US);
    assert_never_asked();
    assert_heard("what=not-held ");
}

// ---- the account of firmware alone ----

static void test_the_census(void **state)
{
    (void)state;
    fake_aps_prepare(&aps);
    open_voice();
    mp.disabled[3] = true;
    giveback_tell_census(&firmware, &aps.machine, &voice);
    assert_heard("REVEILLE ev=mp ");
    assert_int_equal(fake_firmware.owned_count, 0);
    heard.text[0] = '\0';
    mp.absent = true;
    giveback_tell_census(&firmware, &aps.machine, &voice);
    assert_string_equal(heard.text, "");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_all_is_as_it_was),     TEST(test_nobody_was_to_be_woken),
        TEST(test_firmwares_own_wake),   TEST(test_the_timer_is_dead),
        TEST(test_there_is_no_event),    TEST(test_the_bsp_is_another),
        TEST(test_one_does_not_come),    TEST(test_firmware_does_not_answer),
        TEST(test_they_wait_for_memory), TEST(test_one_has_ignored_us),
        TEST(test_no_mp_services),       TEST(test_one_has_no_name),
        TEST(test_one_is_not_held),      TEST(test_the_census),
    };
    return cmocka_run_group_tests_name("giveback", tests, aps_set_up, NULL);
}
