// The end of a run, and a fault of CPU 0's in each of its steps: the account is whole, the last
// record is told once, and the end comes, wherever the fault broke in. Surprise: what returns from
// a step in these tests is the processor that goes on behind its fault, as a handler does that
// never goes back.
#include "fake_firmware.h"

#include "aps_fixture.h"

#include "end.h"
#include "ending.h"
#include "heard.h"
#include "nvram.h"

#define CPUS 4u

static struct heard heard;
static struct voice voice;
static struct window window;
static struct smp_account *accounts;
static struct hello hellos[CPUS];
static struct evidence evidence;
static struct note note;
static struct ending ending;
static jmp_buf gone;

// Where CPU 0 meets its faults, each once: in which step, or in the line that has this in it.
enum step { NOWHERE, IN_LEFT_OUT, IN_DISPLAY, IN_SUMMARY, IN_END };
static struct {
    enum step fault_in;
    const char *fault_at; // of a line
    uint32_t faults;      // that are still to come there
} world;

static struct {
    char steps[64]; // by their letters, in order: l d s e
    bool display_has_evidence;
    struct outcome outcome;
    char summary[LINE_BYTES];
    enum exit_code code;
} did;

// ---- what stands around it ----

static void step(char letter, enum step step)
{
    assert_true(strlen(did.steps) + 1 < sizeof did.steps);
    did.steps[strlen(did.steps)] = letter;
    if (world.fault_in != step || world.faults == 0)
        return;
    world.faults--;
    ending_after_fault(&ending);
}

void voice_tell_left_out(struct voice *of)
{
    assert_ptr_equal(of, &voice);
    step('l', IN_LEFT_OUT);
}

void display_finish(struct display *display, const struct machine *machine,
                    const struct evidence *known, const struct outcome *outcome,
                    struct console *console)
{
    (void)display, (void)machine, (void)console;
    did.display_has_evidence = known != NULL;
    did.outcome = *outcome;
    step('d', IN_DISPLAY);
}

void nvram_save(const struct firmware *of, const struct line *summary, struct console *console)
{
    (void)of, (void)console;
    strcpy(did.summary, summary->text);
    step('s', IN_SUMMARY);
}

_Noreturn void end_run(const struct firmware *of, const struct machine *machine,
                       const struct options *options, enum next_start next, struct journal *journal,
                       struct console *console, enum exit_code code)
{
    (void)of, (void)machine, (void)options, (void)console;
    assert_int_equal(next, NEXT_BY_RESET);
    assert_ptr_equal(journal, &voice.journal);
    did.code = code;
    step('e', IN_END);
    longjmp(gone, 1);
}

static void hear(void *context, const char *text)
{
    heard_line(context, text);
    if (world.fault_at == NULL || world.faults == 0 || strstr(text, world.fault_at) == NULL)
        return;
    world.faults--;
    console_let_go(&voice.console, 0);
    ending_after_fault(&ending);
}

static int set_up(void **state)
{
    static struct firmware firmware;

    (void)state;
    memset(&world, 0, sizeof world);
    memset(&did, 0, sizeof did);
    memset(hellos, 0, sizeof hellos);
    memset(&voice, 0, sizeof voice);
    fake_aps_open(&aps, CPUS);
    fake_aps_prepare(&aps);
    heard_start(&heard, LOG_NORMAL);
    console_start(&voice.console, LOG_NORMAL, 1);
    voice.console.sinks[SINK_JOURNAL] =
        (struct console_sink){.write_line = hear, .context = &heard};
    accounts = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    evidence = (struct evidence){.accounts = accounts, .hellos = hellos};
    window = (struct window){.is_open = true};
    note_keep(&note, aps.smp, NOTE_WAKING, 1, 0);
    ending = (struct ending){
        .firmware = &firmware,
        .machine = &aps.machine,
        .options = &aps.options,
        .window = &window,
        .smp = aps.smp,
        .voice = &voice,
        .note = &note,
        .evidence = &evidence,
        .next = NEXT_BY_RESET,
    };
    return 0;
}

static int tear_down(void **state)
{
    munmap(accounts, PAGE_BYTES);
    return aps_tear_down(state);
}

static void wake_all(void)
{
    struct smp_round round;

    smp_wake(aps.smp, &round);
    (void)smp_take_turns(aps.smp);
}

// As main.c does it behind the rounds.
static void account_and_end(void)
{
    if (setjmp(gone) == 0) {
        ending_examine(&ending);
        ending_account(&ending);
        ending_run(&ending);
    }
}

static size_t times(const char *text)
{
    size_t count = 0;
    for (const char *at = heard.text; (at = strstr(at, text)) != NULL; at++)
        count++;
    return count;
}

// ---- without a fault ----

static void test_a_good_end(void **state)
{
    (void)state;
    wake_all();
    account_and_end();
    assert_string_equal(did.steps, "lde");
    assert_int_equal(times("ev=cpu "), CPUS);
    assert_int_equal(times("ev=end ok=1 want=3 up=3 failed=0\n"), 1);
    assert_int_equal(times("ev=end "), 1);
    assert_int_equal(did.code, EXIT_OK);
    assert_true(did.display_has_evidence && did.outcome.ok);
    assert_false(note_is_whole(&note, (uintptr_t)&note));
}

static void test_a_failure(void **state)
{
    (void)state;
    aps.aps[2].to_protected_ticks = FAKE_NEVER;
    wake_all();
    account_and_end();
    assert_int_equal(times("ev=end ok=0 want=3 up=2 failed=1\n"), 1);
    assert_int_equal(did.code, EXIT_FAILED);
}

// What came after the evidence was taken changes nothing: all that is told of a run agrees.
static void test_the_evidence_is_of_one_moment(void **state)
{
    (void)state;
    wake_all();
    if (setjmp(gone) == 0) {
        ending_examine(&ending);
        atomic_store(&fake_lcpu(&aps, 2)->fault.valid, 1);
        ending_account(&ending);
        ending_run(&ending);
    }
    assert_int_equal(times("state=failed"), 0);
    assert_int_equal(times("ev=end ok=1 "), 1);
}

// save=nvram, and only where the BSP is on our side: elsewhere firmware's code would run in a place
// that it does not know.
static void test_a_summary(void **state)
{
    (void)state;
    wake_all();
    aps.options.save = SAVE_NVRAM;
    account_and_end();
    assert_string_equal(did.steps, "ldse");
    assert_non_null(strstr(did.summary, " want=3 up=3 failed=0"));
}

static void test_the_window_was_never_opened(void **state)
{
    (void)state;
    aps.options.save = SAVE_NVRAM;
    window.is_open = false; // the exit was refused
    if (setjmp(gone) == 0)
        ending_run(&ending);
    assert_string_equal(did.steps, "le");
    assert_int_equal(times("ev=cpu "), 0);
    assert_int_equal(times("ev=end ok=0 want=0 up=0 failed=0\n"), 1);
    assert_int_equal(did.code, EXIT_FAILED);
}

// ---- with a fault ----

static void assert_cut_short(const char *steps, size_t cpu_records)
{
    assert_string_equal(did.steps, steps);
    assert_int_equal(times("ev=cpu "), cpu_records);
    assert_int_equal(times("ev=end "), 1);
    assert_int_equal(times("ev=end ok=0 want=3 up=3 failed=0\n"), 1);
    assert_int_equal(did.code, EXIT_FAILED);
}

static void test_a_fault_in_the_wake(void **state)
{
    (void)state;
    wake_all();
    if (setjmp(gone) == 0)
        ending_after_fault(&ending);
    assert_cut_short("lde", CPUS);
}

// It begins once more, so that nobody is missing; and not a third time.
static void test_a_fault_in_the_account(void **state)
{
    static const size_t records[] = {CPUS, 3 + CPUS, 3 + 3, 3 + 3};

    for (uint32_t faults = 1; faults <= 3; faults++) {
        set_up(state);
        wake_all();
        world.fault_at = "ev=cpu cpu=2 ";
        world.faults = faults;
        account_and_end();
        assert_cut_short("lde", records[faults]);
        tear_down(state);
    }
    set_up(state);
}

// The end goes on behind the step that the fault broke into.
static void test_a_fault_in_each_step(void **state)
{
    static const enum step steps[] = {IN_LEFT_OUT, IN_DISPLAY, IN_SUMMARY};

    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        set_up(state);
        wake_all();
        aps.options.save = SAVE_NVRAM;
        world.fault_in = steps[i];
        world.faults = 1;
        account_and_end();
        assert_string_equal(did.steps, "ldse"); // each once
        assert_int_equal(times("ev=cpu "), 2 * CPUS);
        assert_int_equal(times("ev=end "), 1);
        assert_int_equal(did.code, EXIT_FAILED);
        tear_down(state);
    }
    set_up(state);
}

// The record itself, which a sink broke: it is told again on what is left, and once more at most.
static void test_a_fault_in_the_last_record(void **state)
{
    (void)state;
    wake_all();
    world.fault_at = "ev=end ";
    world.faults = 1;
    account_and_end();
    assert_string_equal(did.steps, "lde");
    assert_int_equal(times("ev=end ok=1 "), 1);
    assert_int_equal(times("ev=end ok=0 "), 1);
    assert_int_equal(did.code, EXIT_FAILED);
}

// Nothing is left to be tried: it halts.
static void test_a_fault_in_the_way_out(void **state)
{
    (void)state;
    wake_all();
    world.fault_in = IN_END;
    world.faults = 1;
    FAKE_UNTIL_HALT(account_and_end());
    assert_string_equal(did.steps, "lde");
    assert_int_equal(times("ev=end "), 1);
}

// ---- before the first round ----

// Nobody was woken: the account says what is known of each, the wall and the summary accuse nobody.
static void test_a_fault_before_the_first_round(void **state)
{
    (void)state;
    aps.options.save = SAVE_NVRAM;
    if (setjmp(gone) == 0)
        ending_after_fault(&ending);
    assert_string_equal(did.steps, "ldse");
    assert_int_equal(times("ev=cpu "), CPUS);
    assert_int_equal(times("ev=end ok=0 want=3 up=0 failed=3\n"), 1);
    assert_false(did.display_has_evidence);
    assert_null(strstr(did.summary, "never-fetched"));
}

// ---- a fault that comes each time ----

static void on_page_fault(int number)
{
    (void)number;
    ending_after_fault(&ending);
}

// The evidence lies where nobody can write: each account of it is a fault. It is given up.
static void test_evidence_that_cannot_be_written(void **state)
{
    struct sigaction other, ours = {.sa_handler = on_page_fault, .sa_flags = SA_NODEFER};

    (void)state;
    wake_all();
    assert_int_equal(mprotect(accounts, PAGE_BYTES, PROT_NONE), 0);
    sigaction(SIGSEGV, &ours, &other);
    account_and_end();
    sigaction(SIGSEGV, &other, NULL);
    assert_string_equal(did.steps, "lde");
    assert_int_equal(times("ev=cpu "), 0);
    assert_int_equal(times("ev=end ok=0 "), 1);
    assert_int_equal(did.code, EXIT_FAILED);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_good_end),
        TEST(test_a_failure),
        TEST(test_the_evidence_is_of_one_moment),
        TEST(test_a_summary),
        TEST(test_the_window_was_never_opened),
        TEST(test_a_fault_in_the_wake),
        TEST(test_a_fault_in_the_account),
        TEST(test_a_fault_in_each_step),
        TEST(test_a_fault_in_the_last_record),
        TEST(test_a_fault_in_the_way_out),
        TEST(test_a_fault_before_the_first_round),
        TEST(test_evidence_that_cannot_be_written),
    };
    return cmocka_run_group_tests_name("ending", tests, aps_set_up, NULL);
}
