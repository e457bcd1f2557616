// The window: what the BSP is inside it and outside, through which address the trampoline's page is
// written, and that firmware gets back what it had, to the bit, as often as the window is opened.
#include "fake_firmware.h"

#include "aps_fixture.h"
#include "fake_bsp.h"

#include "window.h"

#define CPUS 3u

static struct firmware firmware;
static struct voice voice;
static struct window window;

static int set_up(void **state)
{
    (void)state;
    firmware = fake_firmware_start(48);
    fake_aps_open(&aps, CPUS);
    aps.machine.apic_base = 0xfee00d00;
    aps.machine.processor.pat = aps.machine.processor.mtrr = true;
    fake_aps_prepare(&aps);
    fake_bsp_start(&fake_firmware.boot);
    firmware.cr4 = FAKE_BSP_CR4;
    voice = (struct voice){.problems = {problems_ignore, NULL}};
    console_start(&voice.console, LOG_NORMAL, 1);
    voice_show_firmware(&voice);
    return 0;
}

static int tear_down(void **state)
{
    fake_firmware_clear();
    return aps_tear_down(state);
}

static void start(enum window_kind kind)
{
    window_start(&window, kind, &firmware, &aps.machine.processor, &voice, aps.smp,
                 SMP_PAT_WITH_COMBINING);
    fake_log_clear();
}

static const char *difference(void)
{
    struct bsp_state now;

    bsp_read(&firmware, &aps.machine.processor, &now);
    return bsp_difference(&window.before, &now);
}

// On the engine's tables, in the APs' address space, where firmware is out of reach.
static void assert_inside(void)
{
    const struct smp_tables tables = smp_tables(aps.smp);
    const struct hw_tables now = hw_read_tables();
    const struct smp_layout layout = smp_layout(aps.smp);

    assert_true(window.is_open);
    assert_int_equal(hw_read_cr3(), tables.cr3);
    assert_int_equal(now.gdt.base, tables.gdt);
    assert_int_equal(now.gdt.limit, tables.gdt_limit);
    assert_int_equal(now.idt.limit, tables.idt_limit);
    assert_int_equal(now.segments.cs, tables.code);
    assert_int_equal(now.segments.ss, tables.data);
    assert_int_equal(fake_cell(FAKE_MSR, 0x277), SMP_PAT_WITH_COMBINING);
    assert_true(fake_cell(FAKE_MSR, 0xc0000080) & 1u << 11); // NX, as the APs' tables have it
    assert_false(hw_interrupts_are_on());
    assert_null(voice.console.firmware.write_line);
    assert_int_equal((uintptr_t)layout.page_view, layout.page_window);
    assert_ptr_equal(window_page_view(&window), layout.page_view);
}

// ---- after the exit ----

static void test_once_and_for_good(void **state)
{
    const struct smp_tables tables = smp_tables(aps.smp);

    (void)state;
    start(WINDOW_ONCE);
    assert_false(window.is_open);
    assert_int_equal(fake_log_count(), 0); // nothing of firmware is asked
    window_open(&window);
    assert_inside();
    assert_int_equal(hw_read_tables().task, tables.task);
    assert_int_equal(hw_read_tables().idt.base, tables.idt); // with stacks of its own
    fake_log_clear();
    window_close(&window);
    window_open(&window);
    window_close(&window);
    assert_int_equal(fake_log_count(), 0);
    assert_inside();
}

// ---- while firmware lives ----

static void test_by_round(void **state)
{
    (void)state;
    start(WINDOW_BY_ROUND);
    for (int round = 0; round < 3; round++) {
        assert_false(window.is_open);
        assert_null(difference());
        window_open(&window);
        assert_inside();
        assert_int_equal(fake_tpl, TPL_HIGH_LEVEL);
        assert_int_equal(hw_read_tables().task, fake_bsp_tables.task); // none of ours
        assert_int_equal(hw_read_tables().idt.base, smp_tables(aps.smp).early_idt);
        window_close(&window);
        assert_int_equal(fake_tpl, TPL_APPLICATION);
        assert_true(hw_interrupts_are_on());
        assert_non_null(voice.console.firmware.write_line);
        assert_int_equal((uintptr_t)smp_layout(aps.smp).page_view, FAKE_PAGE);
    }
    assert_null(difference());
}

// Whoever opens or closes it twice does so once: firmware's TPL would be lost else.
static void test_twice_is_once(void **state)
{
    (void)state;
    start(WINDOW_BY_ROUND);
    window_close(&window);
    assert_int_equal(fake_log_count(), 0);
    window_open(&window);
    fake_log_clear();
    window_open(&window);
    assert_int_equal(fake_log_count(), 0);
    assert_inside();
    window_close(&window);
    fake_log_clear();
    window_close(&window);
    assert_int_equal(fake_log_count(), 0);
    assert_null(difference());
}

// Firmware that runs us at a TPL of its own, and with interrupts off, finds both.
static void test_another_tpl(void **state)
{
    (void)state;
    fake_tpl = TPL_CALLBACK;
    fake_set_interrupts(false);
    start(WINDOW_BY_ROUND);
    window_open(&window);
    assert_int_equal(fake_tpl, TPL_HIGH_LEVEL);
    window_close(&window);
    assert_int_equal(fake_tpl, TPL_CALLBACK);
    assert_false(hw_interrupts_are_on());
    assert_null(difference());
}

// What was said inside stands on firmware's screens behind it.
static CHAR16 shown[256];

static EFI_STATUS EFIAPI show(SIMPLE_TEXT_OUTPUT_INTERFACE *self, CHAR16 *text)
{
    size_t used = 0, i = 0;

    (void)self;
    while (shown[used])
        used++;
    for (; text[i] && used + i + 1 < sizeof shown / sizeof shown[0]; i++)
        shown[used + i] = text[i];
    shown[used + i] = 0;
    return EFI_SUCCESS;
}

static void test_what_is_said_inside_is_shown_behind(void **state)
{
    static SIMPLE_TEXT_OUTPUT_INTERFACE output = {.OutputString = show};
    static _Alignas(64) char memory[4096];

    (void)state;
    memset(shown, 0, sizeof shown);
    voice.screens = (struct text_screens){.outputs = {&output}, .count = 1};
    journal_open(&voice.journal, memory, sizeof memory);
    voice.console.sinks[SINK_JOURNAL] =
        (struct console_sink){.write_line = journal_write_line, .context = &voice.journal};
    start(WINDOW_BY_ROUND);
    console_tell(&voice.console, "before", 0);
    assert_memory_equal(shown, L"before\r\n", sizeof L"before\r\n");
    window_open(&window);
    console_tell(&voice.console, "inside", 0);
    assert_memory_equal(shown, L"before\r\n", sizeof L"before\r\n");
    window_close(&window);
    assert_memory_equal(shown, L"before\r\ninside\r\n", sizeof L"before\r\ninside\r\n");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_once_and_for_good),
        TEST(test_by_round),
        TEST(test_twice_is_once),
        TEST(test_another_tpl),
        TEST(test_what_is_said_inside_is_shown_behind),
    };
    return cmocka_run_group_tests_name("window", tests, aps_set_up, NULL);
}
